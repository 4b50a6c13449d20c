"""Globs: what a pattern matches."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.edge import globs

NAMES = st.text("ab.[]*-", min_size=1, max_size=6).filter(lambda name: not name.startswith("."))


@given(st.text("ab.?*", min_size=1, max_size=6), NAMES)
def test_a_component_matches_as_fnmatch_does(pattern: str, name: str) -> None:
    """For names that do not begin with a dot."""
    if not pattern.startswith("."):
        assert bool(globs.translate(pattern).fullmatch(name)) == fnmatchcase(name, pattern)


def test_a_leading_dot_must_be_written_out() -> None:
    """As in a shell."""
    assert not globs.translate("*.log").fullmatch(".app.log")
    assert globs.translate(".*.log").fullmatch(".app.log")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.gz", "/var/log/deep/app.gz", True),
        ("*.gz", "/var/log/app.gz.log", False),
        ("/var/log/*.log", "/var/log/app.log", True),
        ("/var/log/*.log", "/var/log/deep/app.log", False),
        ("/var/**/app.log", "/var/app.log", True),
        ("/var/**/app.log", "/var/log/deep/app.log", True),
        ("/var/**/app.log", "/var/log/myapp.log", False),
        ("/var/log/**", "/var/log/a/b", True),
        ("/var/log/[!a]*.log", "/var/log/app.log", False),
        ("/var/log/[!b]*.log", "/var/log/app.log", True),
        ("/var/log/[z-a]*.log", "/var/log/app.log", False),
        ("/var/log[!x]app.log", "/var/log/app.log", False),
    ],
)
def test_a_path_is_matched_by_its_components(pattern: str, path: str, matches: bool) -> None:
    """`**` is any number of directories; a pattern without a slash is for the name alone."""
    assert bool(globs.translate_path(pattern).fullmatch(path)) == matches


def test_the_literal_part_of_a_pattern_ends_at_its_first_wildcard() -> None:
    """It is a root that the user named."""
    assert globs.literal_directory("/var/log/**/*.log") == "/var/log"
    assert globs.literal_directory("/var/log/app.log") == "/var/log"
    assert globs.literal_directory("/*/x.log") == "/"


def test_a_walk_finds_what_any_depth_holds_and_does_not_loop(tmp_path: Path) -> None:
    """A link to a directory above is not followed by `**`."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    for place in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        (place / "x.log").write_text("x\n")
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    walk = globs.Walk()
    found = [os.path.relpath(entry.path, tmp_path) for entry in walk.find(f"{tmp_path}/**/*.log")]
    assert sorted(found) == ["a/b/x.log", "a/x.log", "x.log"]
    assert walk.complete


def test_a_linked_directory_is_followed_when_a_component_names_it(tmp_path: Path) -> None:
    """`/var/log/pods/*/*.log` where the pods' directories are links."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.log").write_text("x\n")
    (tmp_path / "links").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "links" / "pod")
    assert [entry.name for entry in globs.Walk().find(f"{tmp_path}/links/*/*.log")] == ["x.log"]


def test_a_walk_says_so_when_it_met_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing then is not gone."""
    monkeypatch.setattr(globs, "ENTRIES", 5)
    for number in range(10):
        (tmp_path / f"{number}.log").write_text("")
    walk = globs.Walk()
    assert len(list(walk.find(f"{tmp_path}/*.log"))) == 5
    assert not walk.complete


def test_a_missing_directory_is_no_error() -> None:
    """It may come later."""
    walk = globs.Walk()
    assert list(walk.find("/nonexistent/dir/*.log")) == []
    assert walk.complete
