"""Names of rotated files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.source.names import (
    day,
    family,
    is_compressed,
    is_packed,
    is_related,
    is_rotated,
    is_temporary,
    is_unreadable,
    origins,
    stem_and_suffix,
)  # fmt: skip

SUFFIXES = [
    ".1", ".10", "-20260205", "-20260205-1770300000", ".2026-02-05", ".2026-02-05_14", ".20260205-143045", ".old", ".bak", ".1.gz",
    "-20260205.zst", "_2026.02.05", ".save", "-2026-02-05T14:30:45.123Z",
]  # fmt: skip
BETWEEN = ["-1", ".1", "_20260205", "-2026-02-05T14-30-45.123", ".old"]
LIVE = st.from_regex(r"\A[a-z][a-z_-]{0,8}[a-z](\.log)?\Z")


@given(LIVE, st.sampled_from(SUFFIXES))
def test_a_rotation_suffix_behind_the_name_is_recognised(live: str, suffix: str) -> None:
    """As logrotate, Python and the kubelet write it."""
    assert is_rotated(live, live + suffix)
    assert is_related(live, live + suffix)
    assert f"/var/log/{live}" in origins(f"/var/log/{live}{suffix}")


@given(LIVE.filter(lambda live: "." in live), st.sampled_from(BETWEEN))
def test_a_rotation_mark_before_the_suffix_is_recognised(live: str, mark: str) -> None:
    """As lumberjack and log4j write it."""
    stem, suffix = stem_and_suffix(live)
    assert is_rotated(live, stem + mark + suffix)
    assert f"/d/{live}" in origins(f"/d/{stem}{mark}{suffix}")


@given(LIVE)
def test_a_name_is_no_rotation_of_itself(live: str) -> None:
    """And its own family."""
    assert not is_rotated(live, live)
    assert is_related(live, live)
    assert family(f"/var/log/{live}") == f"/var/log/{live}"


@pytest.mark.parametrize(
    ("live", "name"),
    [("app.log", "app-web.log"), ("app.log", "app.logger"), ("app.log", "app.log.tmp"), ("app.log", "app.txt"), ("app", "app-1.log"),
     ("app.log", "application.log"), ("app.log", "app.log.audit")],
)  # fmt: skip
def test_another_programs_name_is_no_rotation(live: str, name: str) -> None:
    """What begins alike need not belong together; kubelet's temporary files are left alone."""
    assert not is_rotated(live, name)


@pytest.mark.parametrize(
    ("path", "live"),
    [("/l/app.log.3", "/l/app.log"), ("/l/app.log-20260205.gz", "/l/app.log"), ("/l/0.log.20260205-143045", "/l/0.log"),
     ("/l/app.log", "/l/app.log"), ("/l/syslog.1", "/l/syslog")],
)  # fmt: skip
def test_the_family_is_the_live_name(path: str, live: str) -> None:
    """By the name alone."""
    assert family(path) == live


@pytest.mark.parametrize(
    ("name", "packed", "unreadable", "temporary"),
    [("app.log.1.gz", True, False, False), ("app.log.zst", True, False, False), ("a.xz", True, False, False), ("a.bz2", True, False, False),
     ("a.lz4", False, True, False), ("a.Z", False, True, False), ("backup.tar.gz", False, True, False), ("app.gz.log", False, False, False),
     ("0.log.20260205-143045.tmp", False, False, True), ("0.log.20260205-143045.gz.tmp", False, False, True)],
)  # fmt: skip
def test_a_name_says_what_can_be_read_of_it(name: str, packed: bool, unreadable: bool, temporary: bool) -> None:
    """By its ending: compressed logs, archives, files in the making (row 84)."""
    assert (is_packed(name), is_unreadable(name), is_temporary(name)) == (packed, unreadable, temporary)


@pytest.mark.parametrize(
    ("name", "digits"),
    [("app.log-20260205", "20260205"), ("0.log.20260205-143045.gz", "20260205143045"), ("app.log.1", ""),
     ("app-2026-02-05T14-30-45.123.log", "20260205143045")],
)  # fmt: skip
def test_the_date_of_a_rotated_name_is_found(name: str, digits: str) -> None:
    """It orders what a compressor gave another time."""
    assert day(name) == digits


def test_compressed_names_are_known() -> None:
    """By their ending."""
    assert is_compressed("/var/log/app.log.1.gz")
    assert not is_compressed("/var/log/app.gz.log")
