"""The account as a page: every number of the account is on it, within 80 columns."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shipper.edge import account as pages
from shipper.progress.ledger import Account

EMPTY: dict[str, Any] = {
    **msgspec.to_builtins(Account()),
    "in_flight": 0,
    "unaccounted": 0,
    "files": 0,
    "unreadable": 0,
    "stopped": "",
}
counts = st.dictionaries(st.text("abz09_.-", min_size=1, max_size=50), st.integers(1, 10**9), max_size=4)


@given(
    st.fixed_dictionaries(
        {name: counts for name in ("dropped", "dead", "lost_bytes", "masked", "flagged", "skipped_bytes", "indices")}
    )
)
def test_every_part_of_the_account_is_on_the_page(parts: dict[str, dict[str, int]]) -> None:
    """Law: each reason, rule, index with its number; no line wider than 80 columns."""
    created = sum(parts["indices"].values())
    page = pages.render({**EMPTY, **parts, "created": created, "read": created + 1}).splitlines()
    words = [line.split() for line in page]
    for found in parts.values():
        for name, count in found.items():
            assert [name, f"{count:,}"] in words
        assert not found or any(line[-1] == f"{sum(found.values()):,}" for line in words)
    assert max(map(len, page)) <= 80


def test_page_begins_with_what_must_be_zero() -> None:
    """`unaccounted` first: what was read and has no verdict would be a bug."""
    page = pages.render({**EMPTY, "unaccounted": 3, "read": 10, "read_bytes": 12345}).splitlines()
    assert page[0].split() == ["unaccounted", "3"]
    assert page[1].split() == ["records", "read", "10", "12,345", "bytes"]


def test_page_says_what_was_not_delivered_and_why() -> None:
    """What is in flight at the end is kept at its source."""
    last = pages.render({**EMPTY, "read": 5, "in_flight": 5, "stopped": "the output took nothing for 5 s"}).splitlines()[-1]
    assert last.split("  ")[0] == "not delivered, kept" and last.endswith("5   the output took nothing for 5 s")


def test_page_says_why_nothing_was_read() -> None:
    """All files read, no file there, files that cannot be read: three different things."""
    assert (
        pages.render({**EMPTY, "files": 3}).splitlines()[-1]
        == "all 3 files already read to the end; --from-start reads them again"
    )
    assert pages.render(EMPTY).splitlines()[-1] == "no file is there that the sources include"
    assert pages.render({**EMPTY, "files": 3, "unreadable": 2}).splitlines()[-1].split()[:6] == [
        "files",
        "that",
        "cannot",
        "be",
        "read",
        "2",
    ]
    assert "already read" not in pages.render({**EMPTY, "files": 3, "read": 1, "created": 1})


def test_page_tells_duplicates_and_summaries_only_where_there_are_any() -> None:
    """Lines without a message are left out."""
    assert "already there" not in pages.render(EMPTY) and "summaries" not in pages.render(EMPTY)
    page = pages.render({**EMPTY, "duplicate": 4, "generated": 2})
    assert "already there" in page and "summaries made" in page
