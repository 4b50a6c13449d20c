"""Fixtures of the tests that run the whole agent, and the marker of tests that need programs of the machine.

`@pytest.mark.needs("logrotate", "/lib/systemd/systemd-journal-remote")`: where one is missing the test is deselected, with one line
for all of them; under SHIPPER_REQUIRE_REAL=1 that is an error. `needs("$SHIPPER_PUBLIC_LOGS")` asks for a directory that a variable
names; that it is not set is no error anywhere, as the logs are not the project's to give. Nor is it that NAMESPACES are missing, the
right to take rights away: no package brings it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.site import Site

NAMESPACES = "root with namespaces"
"""Root, and not in a container that keeps it from mounts of its own."""
LEFT_OUT = pytest.StashKey[dict[str, int]]()


def program(name: str) -> str | None:
    """Where a program is, also those of the administrator; None where it is not. `$NAME` is a directory that a variable names."""
    if name.startswith("$"):
        place = os.environ.get(name[1:], "")
        return place if os.path.isdir(place) else None
    if name == NAMESPACES:
        return name if _may_unshare() else None
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@functools.cache
def _may_unshare() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False).returncode == 0


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the marker."""
    config.addinivalue_line("markers", "needs(*programs): needs these programs on the machine")
    config.stash[LEFT_OUT] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what lacks a program. Raises UsageError when it is required to run."""
    lacking = config.stash[LEFT_OUT]
    left_out = []
    for item in items:
        needed = {name for mark in item.iter_markers("needs") for name in mark.args}
        missing = sorted(name for name in needed if program(name) is None)
        if missing:
            left_out.append(item)
            lacking[missing[0]] = lacking.get(missing[0], 0) + 1
    programs = sorted(name for name in lacking if not name.startswith("$") and name != NAMESPACES)
    if programs and os.environ.get("SHIPPER_REQUIRE_REAL") == "1":
        raise pytest.UsageError(f"SHIPPER_REQUIRE_REAL=1, and programs are missing: {', '.join(programs)}")
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for all that was left out."""
    lacking = config.stash[LEFT_OUT]
    if lacking:
        told = ", ".join(f"{name} ({count} tests)" for name, count in sorted(lacking.items()))
        terminalreporter.write_line(f"not run, as these are not here: {told}")


@pytest.fixture(scope="session")
def rule_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for compiled rules, so that they are compiled once a session."""
    return tmp_path_factory.mktemp("rules")


@pytest.fixture(scope="session", autouse=True)
def _no_control_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Agents of tests listen at no control address, unless they say so: there is one port, and its loss is a line in the log."""
    settings = tmp_path_factory.mktemp("agent") / "shipper.yaml"
    settings.write_text("control: off\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIPPER_AGENT", str(settings))
        yield


@pytest.fixture
def site(tmp_path: Path, rule_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site of the test's own; processes that are left are killed after it."""
    monkeypatch.setenv("SHIPPER_STATE", str(rule_cache))
    monkeypatch.setenv("SHIPPER_HOST_NAME", "web-1")
    made = Site(tmp_path, rule_cache)
    yield made
    made.close()
