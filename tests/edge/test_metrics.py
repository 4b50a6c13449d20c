"""Metrics: bounded labels, counters that never fall, an exposition that Prometheus can read, and a page that lists them all."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from shipper.edge import metrics
from shipper.edge.figures import CheckpointFigures, Figures, OutputFigures, SpoolFigures, TableFigures
from shipper.progress.ledger import LOST_FILES_MAX, Account, Ledger
from tests.kit.site import ROOT

ROW = re.compile(r"^\| `(shipper_[a-z_]+)` \| ([^|]*) \|", re.MULTILINE)


def figures(**more: Any) -> Figures:
    """Of a pipeline that did a little of everything."""
    output = OutputFigures(
        destination="http://es:9200", queued_bytes=7, in_flight_bytes=5, in_flight_posts=1, is_full=False, failing_s=None, waiting_s=None,
        answers={"2xx": 3, "timeout": 1}, setbacks={"retry": 1}, burial_failure="",
    )  # fmt: skip
    spool = SpoolFigures(
        source="forward", size=56, size_max=1000, is_full=False, quarantined_bytes=0, dropped_rows=2, connections=3
    )
    table = TableFigures(database="/db/City.mmdb", kind="GeoLite2-City", age_s=86_400.0, fault="", failures=0)
    plain: dict[str, Any] = {
        "pipeline": "app", "account": Account(read=10, created=6, dropped=Counter(throttled=4)), "in_flight": 0, "unaccounted": 0,
        "held": 0, "turned_s": 0.1, "files": 2, "files_open": 1, "files_unreadable": 0, "prefixes": {"app": 6}, "evicted": 0,
        "stage_errors": {}, "stage_failed_s": None, "spools": [spool], "tables": [table], "output": output,
        "checkpoint": CheckpointFigures(age_s=1.0, overdue_s=0.0, failure=""), "disk": None,
    }  # fmt: skip
    return Figures(**{**plain, **more})


def samples(page: bytes) -> dict[tuple[str, ...], float]:
    """By name and values of labels."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_figures_of_two_pipelines_stand_beside_each_other() -> None:
    """Each under its name, with its labels."""
    found = samples(metrics.render([figures(), figures(pipeline="web", account=Account(read=1))]))
    assert found["shipper_records_read_total", "app"] == 10 and found["shipper_records_read_total", "web"] == 1
    assert found["shipper_records_dropped_total", "app", "throttled"] == 4
    assert found["shipper_posts_total", "2xx", "app"] == 3 and found["shipper_retries_total", "app", "retry"] == 1
    assert found["shipper_spool_bytes", "app", "forward"] == 56 and found["shipper_connections", "app", "forward"] == 3
    assert found["shipper_geoip_database_age_seconds", "/db/City.mmdb", "GeoLite2-City", "app"] == 86_400
    assert ("process_resident_memory_bytes",) in found and ("process_start_time_seconds",) in found
    assert any(name == "shipper_build_info" for name, *_ in found)


counts = st.dictionaries(st.text(max_size=12), st.integers(0, 1000), max_size=12)


@given(counts, counts, st.integers(1, 8))
def test_bounded_labels_lose_nothing_and_never_fall(before: dict[str, int], more: dict[str, int], most: int) -> None:
    """Law: sums are kept, at most one name more than the bound, and growing counts make growing series."""
    after = {**before}
    for name, count in more.items():
        after[name] = after.get(name, 0) + count
    first, then = metrics.bounded(before, most), metrics.bounded(after, most)
    assert (sum(first.values()), sum(then.values())) == (sum(before.values()), sum(after.values()))
    assert len(then) <= most + 1
    assert all(then[name] >= count for name, count in first.items())


@given(st.dictionaries(st.text(max_size=300), st.integers(0, 1000), max_size=5))
def test_any_text_in_a_label_leaves_the_page_whole(reasons: dict[str, int]) -> None:
    """Names of files and words of the sink: newlines, quotes, backslashes do not forge a line."""
    account = Account(dead=Counter(reasons), lost_files=Counter(reasons))
    found = samples(metrics.render([figures(account=account)]))
    expected = metrics.bounded(reasons)
    assert {key[2]: value for key, value in found.items() if key[0] == "shipper_records_dead_total"} == expected
    assert {key[1]: value for key, value in found.items() if key[0] == "shipper_lost_file_bytes_total"} == expected


def test_files_beyond_what_the_account_keeps_are_one_series() -> None:
    """Bytes lost by file: as many series as files in the account, and `other`."""
    ledger = Ledger()
    for number in range(LOST_FILES_MAX + 5):
        ledger.lose(f"/logs/{number:05}.log", 3, "vanished")
    found = samples(metrics.render([figures(account=ledger.account)]))
    by_file = {key[1]: value for key, value in found.items() if key[0] == "shipper_lost_file_bytes_total"}
    assert len(by_file) == LOST_FILES_MAX + 1 and by_file["other"] == 15
    assert sum(by_file.values()) == found["shipper_lost_bytes_total", "vanished", "app"]


def test_one_table_in_two_stages_is_one_series() -> None:
    """A series that stands twice would have the whole page refused."""
    table = figures().tables[0]
    page = metrics.render([figures(tables=[table, table])])
    assert page.count(b"shipper_geoip_database_age_seconds{") == 1


def test_the_manual_lists_exactly_what_is_exposed() -> None:
    """Every metric with its labels, none that is not there."""
    listed = {name: re.findall(r"`([a-z_]+)`", labels) for name, labels in ROW.findall((ROOT / "docs/metrics.md").read_text())}
    exposed = {spec.name: ["pipeline", *spec.labels] for spec in metrics.SPECS}
    assert listed == {**exposed, "shipper_build_info": ["version", "python"]}
    page = metrics.render([figures()]).decode()
    assert {name for name in re.findall(r"^# HELP (\w+) ", page, re.MULTILINE) if name.startswith("shipper_")} == {*listed}


def test_every_metric_is_explained_and_named_as_prometheus_wants_it() -> None:
    """A sentence for each; counters end in `_total`; units are bytes and seconds."""
    for spec in metrics.SPECS:
        assert spec.help.endswith(".") and len(spec.help) > 15, spec.name
        assert not re.search(r"(_ms|_kb|_mb|_count|_milliseconds)(_|$)", spec.name)
        assert len({*spec.labels}) == len(spec.labels) <= 2
