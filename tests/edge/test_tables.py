"""Tables: real mmdb files opened, refused, replaced, damaged and restored."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import FilePath
from shipper.edge.tables import MmdbTable, Note, Tables, packaged_database
from shipper.model.columns import Columns
from shipper.model.errors import ComponentError
from shipper.stages.geoip import Geoip, MissingTableError

DATA = Path(__file__).parents[1] / "data" / "geoip"
BIG, BROKEN, CUT_TREE = (DATA / f"GeoIP2-City-Test{kind}.mmdb" for kind in ("", "-Broken-Double-Format", "-Invalid-Node-Count"))
CITY = packaged_database("GeoLite2-City-Test.mmdb")
ASN = packaged_database("GeoLite2-ASN-Test.mmdb")
assert CITY is not None
assert ASN is not None
LONDON = "81.2.69.142"
ONLY_BIG = "149.101.100.0"
"""In GeoIP2-City-Test, not in GeoLite2-City-Test."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy of the small City database, to be replaced."""
    assert CITY is not None
    return Path(shutil.copy(CITY, tmp_path / "city.mmdb"))


def replace(path: Path, new: Path | bytes) -> None:
    """Put another version in place as geoipupdate does: written beside, then renamed."""
    beside = path.with_name("new")
    beside.write_bytes(new if isinstance(new, bytes) else new.read_bytes())
    beside.replace(path)


def settle(tables: Tables) -> list[Note]:
    """Refresh often enough that a change counts as stable; the notes of all calls."""
    return [note for _ in range(3) for note in tables.refresh()]


def city(table: MmdbTable, address: str = LONDON) -> object:
    """The English name of the address's city."""
    record = table.find(address)[0]
    return record and record["city"]["names"]["en"]


@pytest.mark.parametrize("cut", [1, 100, 4000, 12_000, 20_000, 22_568])
def test_table_is_refused_when_its_file_was_truncated(tmp_path: Path, cut: int) -> None:
    """Whatever is missing from the end, the user reads what is wrong and what to do."""
    short = tmp_path / "city.mmdb"
    short.write_bytes(BIG.read_bytes()[:cut])
    with pytest.raises(ComponentError, match=r"city.mmdb is not a usable mmdb file: ") as refused:
        Tables(tmp_path).table(str(short))
    assert ("databases", True) == (refused.value.field, "geoipupdate" in refused.value.hint)
    assert [short] == list(tmp_path.iterdir()), "no copy is left behind"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_table_is_refused_or_taken_when_its_bytes_are_damaged(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Random damage ends in a ComponentError or in a table, never in another error or the end of the process.

    What is not asserted: lookups in records that the check did not sample. The C extension may crash on those.
    """
    content = bytearray(BIG.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = tmp_path_factory.mktemp("damaged") / "city.mmdb"
    damaged.write_bytes(content)
    try:
        assert 1 == Tables().table(str(damaged)).generation
    except ComponentError as error:
        assert "not a usable mmdb file" in error.message


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "it is empty"), (b"<html>404</html>", "its end is missing"), (BROKEN, "bad data"), (CUT_TREE, "search tree")],
    ids=["empty", "html", "broken double", "invalid node count"],
)
def test_table_is_refused_when_its_file_is_no_working_database(tmp_path: Path, content: Path | bytes, words: str) -> None:
    """MaxMind's own broken test databases among them."""
    bad = tmp_path / "city.mmdb"
    replace(bad, content)
    with pytest.raises(ComponentError, match=f"not a usable mmdb file: .*{words}") as refused:
        Tables().table(str(bad))
    assert ".mmdb-" not in refused.value.message, "the private copy is nobody's business"


def test_table_is_refused_as_missing_when_there_is_no_file(tmp_path: Path) -> None:
    """The error is of the kind that `optional` forgives."""
    with pytest.raises(MissingTableError, match="no database at .*city.mmdb") as refused:
        Tables().table(str(tmp_path / "city.mmdb"))
    assert "optional" in refused.value.hint


def test_table_is_refused_when_the_path_is_a_directory(tmp_path: Path) -> None:
    """A directory is there, and is no database."""
    with pytest.raises(ComponentError, match="directory"):
        Tables(tmp_path).table(str(tmp_path))


def test_table_answers_and_tells_its_kind_and_age(path: Path) -> None:
    """Type and build time come from the file's metadata."""
    table = Tables().table(str(path))
    assert ("London", None) == (city(table), table.find("10.0.0.1")[0])
    assert ("GeoLite2-City", 1_770_245_369, 1, "") == (table.kind, table.built_at, table.generation, table.fault)


def test_table_raises_value_error_when_asked_for_no_address(path: Path) -> None:
    """As its protocol says."""
    with pytest.raises(ValueError, match="nonsense"):
        Tables().table(str(path)).find("nonsense")


def test_tables_open_a_path_once_for_all_stages(path: Path) -> None:
    """Two stages share one table."""
    tables = Tables()
    assert tables.table(str(path)) is tables.table(str(path))


def test_missing_database_is_replaced_by_test_data_of_that_name_with_a_warning(tmp_path: Path) -> None:
    """`GeoLite2-City-Test.mmdb` beside a pipeline need not be there; a file that is there goes first."""
    tables = Tables()
    assert "London" == city(tables.table(str(tmp_path / "GeoLite2-City-Test.mmdb")))
    notes = tables.refresh()
    assert [("warning", True), ("info", False)] == [(note.level, "test data" in note.message) for note in notes]
    own = tmp_path / "own" / "GeoLite2-City-Test.mmdb"
    own.parent.mkdir()
    shutil.copy(BIG, own)
    assert "GeoIP2-City" == Tables().table(str(own)).kind


def test_missing_database_of_another_name_is_not_replaced() -> None:
    """Production never runs on test data by accident."""
    assert packaged_database("GeoLite2-City.mmdb") is None
    assert packaged_database("Nowhere-Test.mmdb") is None


@pytest.mark.parametrize("scratch", [True, False])
def test_refresh_takes_a_new_version_into_use_when_it_stood_still(path: Path, scratch: bool) -> None:
    """Not at the first sight of the change, at the second; then addresses are answered from the new file."""
    tables = Tables(path.parent if scratch else None)
    table = tables.table(str(path))
    tables.refresh()
    assert table.find(ONLY_BIG)[0] is None
    replace(path, BIG)
    assert ([], 1) == (tables.refresh(), table.generation)
    notes = tables.refresh()
    assert [("info", "lookup table reloaded")] == [(note.level, note.message) for note in notes]
    assert (2, "GeoIP2-City", True) == (table.generation, table.kind, table.find(ONLY_BIG)[0] is not None)
    assert ([], 2) == (settle(tables), table.generation)


def test_refresh_waits_when_the_file_is_still_being_written(path: Path) -> None:
    """A file that grows between calls is not judged; once whole it is taken."""
    tables = Tables(path.parent)
    table = tables.table(str(path))
    whole = BIG.read_bytes()
    for size in range(4000, len(whole), 4000):
        replace(path, whole[:size])
        assert all(note.level == "info" for note in tables.refresh())
        assert ("London", "") == (city(table), table.fault)
    replace(path, whole)
    settle(tables)
    assert (2, "") == (table.generation, table.fault)


@pytest.mark.parametrize("bad", [BROKEN, CUT_TREE, b"", b"half", ASN], ids=["double", "nodes", "empty", "text", "another kind"])
def test_refresh_keeps_the_old_version_and_flags_it_when_the_new_one_is_broken(path: Path, bad: Path | bytes) -> None:
    """One warning, lookups as before, no new generation; a good version ends the fault."""
    tables = Tables(path.parent)
    table = tables.table(str(path))
    tables.refresh()
    replace(path, bad)
    notes = settle(tables)
    assert [("warning", table.fault)] == [(note.level, note.fields["fault"]) for note in notes]
    assert table.fault
    assert ("London", 1, []) == (city(table), table.generation, settle(tables))
    replace(path, BIG)
    settle(tables)
    assert ("", 2) == (table.fault, table.generation)


def test_refresh_keeps_the_old_version_when_the_file_is_gone_and_forgives_when_it_is_back(path: Path) -> None:
    """Deleted and restored: flagged in between, answered all the time."""
    tables = Tables()
    table = tables.table(str(path))
    tables.refresh()
    aside = path.rename(path.with_name("aside"))
    assert ["the file is gone"] == [note.fields["fault"] for note in settle(tables)]
    assert "London" == city(table)
    aside.rename(path)
    assert ([], "", 1) == (settle(tables), table.fault, table.generation)


def test_table_still_answers_when_its_file_is_truncated_in_place(path: Path) -> None:
    """The private copy is mapped: a `cp` over the file does not end the process by SIGBUS."""
    tables = Tables(path.parent)
    table = tables.table(str(path))
    assert [path] == list(path.parent.iterdir()), "the copy has no name any more"
    os.truncate(path, 0)
    assert "London" == city(table)
    settle(tables)
    assert ("London", True) == (city(table), "empty" in table.fault)


def test_table_is_mapped_in_place_with_a_warning_when_there_is_no_room_for_a_copy(path: Path) -> None:
    """An unusable scratch directory costs the protection, not the table."""
    tables = Tables(path.parent / "nowhere")
    assert "London" == city(tables.table(str(path)))
    assert "warning" == tables.refresh()[0].level


OLD_FORMAT = BIG.read_bytes().replace(b"binary_format_major_version\xa1\x02", b"binary_format_major_version\xa1\x01")
LEGACY = b"\x00\x00\x00" * 4000 + b"GEO-106FREE 20180327 Build 1 Copyright (c) 2018 MaxMind Inc All Rights Reserved"
VERSIONS: dict[str, Path | bytes | None] = {
    "small": CITY,
    "big": BIG,
    "broken double": BROKEN,
    "cut tree": CUT_TREE,
    "another kind": ASN,
    "half": BIG.read_bytes()[:9000],
    "empty": b"",
    "older format": OLD_FORMAT,
    "legacy format": LEGACY,
    "gone": None,
}
"""What may stand in a database's place; the first two are good."""


@settings(max_examples=12, deadline=None)
@given(swaps=st.lists(st.tuples(st.sampled_from(list(VERSIONS)), st.integers(0, 3)), min_size=1, max_size=8))
def test_swapping_files_under_load_never_costs_a_row_its_place(
    swaps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Law: each batch is answered by one good version, whole: the last one that stood still; each bad one is noted once."""
    path = tmp_path_factory.mktemp("swapped") / "city.mmdb"
    replace(path, VERSIONS["small"] or b"")
    tables = Tables(path.parent)
    geoip = Geoip(Geoip.Config(field="ip", databases=[FilePath(path)]), tables)
    tables.refresh()
    good, before, judged, still = "small", "small", "small", 0
    for version, refreshes in swaps:
        content = VERSIONS[version]
        path.unlink(missing_ok=True) if content is None else replace(path, content)
        if not refreshes:  # nobody looked
            continue
        still = still if version == before == "gone" else 0
        notes = [note.message for _ in range(refreshes) for note in tables.refresh()]
        is_good = version in ("small", "big")
        message = "lookup table reloaded" if is_good else "new version of lookup table refused, the old one stays in use"
        is_judged = still < 2 <= still + refreshes
        assert notes == [message] * (is_judged and not version == judged == "gone")
        before, still, judged = version, still + refreshes, version if is_judged else judged
        good = version if is_good and still >= 2 else good
        assert _known(geoip) == {LONDON: True, ONLY_BIG: good == "big", "nonsense": False}


def _known(geoip: Geoip) -> dict[str, bool]:
    """Which addresses have a place, in each row of a batch of a hundred."""
    values = [LONDON, ONLY_BIG, "nonsense"] * 100
    columns = Columns("s", [b"{"] * len(values), {"ip": values})
    geoip.process(columns, 0.0)
    found = [b'"geo":' in b"".join(pieces[row] for pieces in columns.fragments) for row in range(len(values))]
    assert found == found[:3] * 100
    return dict(zip(values[:3], found, strict=False))


def test_tables_may_be_refreshed_by_a_thread_while_batches_are_looked_up(path: Path) -> None:
    """No row fails or waits while versions come and go, good and bad ones, and readers are closed behind the last lookup."""
    assert CITY is not None
    tables = Tables(path.parent)
    geoip = Geoip(Geoip.Config(field="ip", databases=[FilePath(path)], cache_max=2), tables)
    contents = [BIG.read_bytes(), BROKEN.read_bytes(), CITY.read_bytes(), b"", OLD_FORMAT]
    done = threading.Event()

    def swap() -> None:
        for number in range(10):
            replace(path, contents[number % len(contents)])
            settle(tables)
        done.set()

    swapping = threading.Thread(target=swap)
    swapping.start()
    while not done.is_set():
        assert _known(geoip)[LONDON]
    swapping.join()
    assert 5 == tables.table(str(path)).generation, "the first one, and four good ones of ten"
