"""Fixtures of the tests that run the whole agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.site import Site


@pytest.fixture(scope="session")
def rule_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for compiled rules, so that they are compiled once a session."""
    return tmp_path_factory.mktemp("rules")


@pytest.fixture
def site(tmp_path: Path, rule_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site of the test's own; processes that are left are killed after it."""
    monkeypatch.setenv("SHIPPER_STATE", str(rule_cache))
    monkeypatch.setenv("SHIPPER_HOST_NAME", "web-1")
    made = Site(tmp_path, rule_cache)
    yield made
    made.close()
