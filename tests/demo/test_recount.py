"""The recount balances exactly when everything came once and nothing can be read, and names what is wrong otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shipper.demo.recount import Document, Recount, Written, read_elasticsearch, read_local, recount, table

CARD = "4111 1111 1111 1111"


def record(number: int, level: str = "INFO", kind: str = "-", secret: str = "-") -> Written:
    """What a program noted."""
    return Written(f"orders-1-{number:06d}", level, kind, secret)


def document(one: Written, **fields: Any) -> Document:
    """What came of it."""
    return "analytics-2026.02.05", f"_{one.id}", {"id": one.id, "level": one.level, "message": "done", **fields}


def summary(first: Written, count: int, **fields: Any) -> Document:
    """What stands for records that were held back."""
    sample = json.dumps({"id": first.id, "level": first.level})
    throttle = {"throttle": {"count": count, "sample": sample}}
    return "analytics-errors-2026.02.05", "s", {"message": f"throttled {count} records", "shipper": throttle, **fields}


def test_recount_balances_when_everything_came_or_was_held_back() -> None:
    """Delivered and throttled add up, masks are counted by rule, documents of others are left alone."""
    written = [record(1), record(2, "ERROR"), record(3, "ERROR"), record(4, "INFO", "card", CARD)]
    documents = [
        document(written[0], shipper={"flags": ["unterminated"]}),
        summary(written[1], 2),
        document(written[3], message="card [REDACTED:card]", form={"password": "[REDACTED:password]"}),
        ("analytics-2026.02.05", "x", {"id": "of-somebody-else"}),
        summary(record(99, "ERROR"), 7),
    ]
    found = recount(written, documents)
    assert found.balanced
    assert (found.written, found.delivered, found.throttled, found.summaries, found.foreign) == (4, 2, 2, 1, 2)
    assert found.masked == {"card": 1, "password": 1}
    assert found.carried == {"card": 1}
    assert found.indices == {"analytics-2026.02.05": 2, "analytics-errors-2026.02.05": 1}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_recount_tells_each_kind_of_fault(fates: list[int]) -> None:
    """Law: 0 delivered, 1 held back, 2 lost, 3 delivered twice; each is counted as what it is, whatever the mixture."""
    written = [record(number, "ERROR" if fate == 1 else "INFO") for number, fate in enumerate(fates)]
    documents = [document(one) for one, fate in zip(written, fates, strict=True) for _ in range((1, 0, 0, 2)[fate])]
    held = [one for one, fate in zip(written, fates, strict=True) if fate == 1]
    documents += [summary(held[0], len(held))] if held else []
    found = recount(written, documents)
    assert found.delivered == sum(fate in (0, 3) for fate in fates)
    assert (found.throttled, found.missing, found.duplicates) == (fates.count(1), fates.count(2), fates.count(3))
    assert found.balanced == (set(fates) <= {0, 1})


def test_lost_record_is_not_excused_by_a_summary() -> None:
    """Only errors are throttled: a summary's count cannot stand for another record."""
    written = [record(1), record(2, "ERROR")]
    found = recount(written, [document(written[1]), summary(written[1], 1)])
    assert found.missing == 1
    assert not found.balanced


def test_summary_that_counts_too_much_is_told() -> None:
    """A record that was delivered and held back at once is an error of the agent."""
    written = [record(1, "ERROR")]
    found = recount(written, [document(written[0]), summary(written[0], 1)])
    assert (found.surplus, found.balanced) == (1, False)


def test_secret_is_found_wherever_it_stands() -> None:
    """In nested values, keys, numbers and summaries; a masked one is not."""
    written = [record(number, "ERROR", "card", f"411{number}") for number in range(5)]
    documents = [
        document(written[0], deep=[{"a": ["x4110y"]}]),
        document(written[1], **{"key 4111": 1}),
        document(written[2], number=4112),
        document(written[3], message="[REDACTED:card]"),
        summary(written[4], 1, message="first of them: 4114"),
    ]
    found = recount(written, documents)
    assert found.visible == 4
    assert sorted(found.examples) == [f"visible card: {one.id}" for one in (*written[:3], written[4])]


def test_cut_long_record_is_told() -> None:
    """A text whose length is not the one its writer noted was cut or joined wrongly."""
    one = record(1)
    assert recount([one], [document(one, payload="ab", payload_chars=2)]).balanced
    assert recount([one], [document(one, payload="a", payload_chars=2)]).damaged == 1


def test_local_output_is_read_in_bulk_form(tmp_path: Path) -> None:
    """Index and id come from the action lines, documents from the lines after them."""
    (tmp_path / "a-2026.02.05.ndjson").write_text('{"create":{"_index":"a-2026.02.05","_id":"1"}}\n{"id":"x"}\n')
    (tmp_path / "b.ndjson").write_text('{"create":{"_id":"2"}}\n{"id":"y"}\n')
    assert list(read_local(tmp_path)) == [("a-2026.02.05", "1", {"id": "x"}), ("b", "2", {"id": "y"})]


def test_elasticsearch_is_read_page_by_page() -> None:
    """It refreshes, searches, and scrolls until a page is empty."""
    hits = [{"_index": "a", "_id": str(number), "_source": {"n": number}} for number in range(3)]
    asked: list[tuple[str, str]] = []

    def ask(method: str, path: str, body: object) -> Any:
        asked.append((method, path.split("?")[0]))
        if path.startswith("/_search/scroll"):
            assert body == {"scroll": "1m", "scroll_id": "c"}
        page = [hits[:2], hits[2:], []][len(asked) - 2] if len(asked) > 1 else []
        return {"_scroll_id": "c", "hits": {"hits": page}}

    assert [number for _, number, _ in read_elasticsearch(ask, "analytics*")] == ["0", "1", "2"]
    assert asked[:2] == [("POST", "/analytics%2A/_refresh"), ("POST", "/analytics%2A/_search")]


def test_table_fits_eighty_columns_and_says_whether_it_balances() -> None:
    """All counts stand in it, and what is wrong is marked."""
    found = Recount(written=1_000_000, delivered=900_000, throttled=100_000, summaries=12)
    found.masked.update({"x" * 90: 3})
    found.examples.append("missing: " + "y" * 90)
    text = table(found)
    assert max(map(len, text.splitlines())) <= 80
    assert "  delivered                                900,000  counted in the documents" in text
    assert text.endswith("balanced: written = delivered + throttled")
    found.missing = 1
    assert "must be 0" in table(found)
    assert table(found).endswith("NOT BALANCED")
