"""Tests against real servers: which ones, what happens where they cannot run, and the count that shows that they did.

- `node` (session): a running server, once for each version that can run here; with SHIPPER_TEST_ELASTICSEARCH_URL the one given.
- `prefix`: index names of a test's own; what begins with it is deleted after the test.
- `world`: a log folder, a state directory and a pipeline of a test's own into `node`; agents that are left are killed after it.
- Marker `own_node`: the test stops the node or changes its settings, so it is left out for a server that is not ours.
- Without Java or Maven these tests are deselected, with one line; under SHIPPER_REQUIRE_REAL=1 that is an error, and so is a
  session in which a server indexed nothing.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.real import node as servers
from tests.real.world import World


class Plan(msgspec.Struct):
    """What this session runs, and what came of it."""

    url: str
    required: bool
    runnable: list[servers.Server]
    missing: dict[str, str]
    """What is lacking, by the name of the server."""
    tally: dict[str, int] = msgspec.field(default_factory=dict)
    """Documents indexed, by the name of the server."""
    deselected: int = 0


PLAN = pytest.StashKey[Plan]()
GIVEN = "the server of SHIPPER_TEST_ELASTICSEARCH_URL"


def pytest_configure(config: pytest.Config) -> None:
    """Look what can run here, once. Raises UsageError for unknown versions."""
    config.addinivalue_line("markers", "real: needs a real Elasticsearch (Java and Maven, or SHIPPER_TEST_ELASTICSEARCH_URL)")
    config.addinivalue_line("markers", "own_node: stops the node or changes its settings, so needs one that the session started")
    url = os.environ.get("SHIPPER_TEST_ELASTICSEARCH_URL", "")
    plan = Plan(url, os.environ.get("SHIPPER_REQUIRE_REAL") == "1", [], {})
    if not url:
        try:
            asked = servers.chosen(os.environ)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None
        lacks = {server.name: servers.lacking(server) for server in asked}
        plan.runnable = [server for server in asked if not lacks[server.name]]
        plan.missing = {name: lack for name, lack in lacks.items() if lack}
    config.stash[PLAN] = plan


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses `node` once for each server."""
    if "node" in metafunc.fixturenames:
        plan = metafunc.config.stash[PLAN]
        params: list[servers.Server | None] = list(plan.runnable) or [None]
        names = ["given" if plan.url else server.name.replace(" ", "-") if server else "none" for server in params]
        metafunc.parametrize("node", params, ids=names, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses `node`, and leave out what cannot run. Raises UsageError when it is required to."""
    plan = config.stash[PLAN]
    left_out = []
    for item in items:
        if "node" not in getattr(item, "fixturenames", ()):
            continue
        item.add_marker("real")
        if plan.url and item.get_closest_marker("own_node") or not plan.url and not plan.runnable:
            left_out.append(item)
    if plan.required and _lacking(plan) and not plan.url:
        raise pytest.UsageError(f"SHIPPER_REQUIRE_REAL=1, and real-server tests cannot run: {_lacking(plan)}")
    if left_out:
        plan.deselected = len(left_out)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _lacking(plan: Plan) -> str:
    """Why something cannot run. A version of the default list beside one that can run is a bonus, not a lack."""
    if plan.runnable and not os.environ.get("SHIPPER_TEST_SERVERS"):
        return ""
    return "; ".join(f"{name} needs {lack}, which was not found" for name, lack in plan.missing.items())


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest) -> Iterator[servers.Client]:
    """A running server, and its count of indexed documents taken when the last test is done with it."""
    plan: Plan = request.config.stash[PLAN]
    server: servers.Server | None = request.param
    if server is None:
        given = servers.Client(plan.url)
        before = given.indexed()
        yield given
        plan.tally[f"{GIVEN} ({given.version()})"] = given.indexed() - before
        return
    plan.tally[server.name] = 0
    own = servers.Node(server)
    try:
        yield own
        plan.tally[server.name] = own.indexed()
    finally:
        own.close()


@pytest.fixture
def prefix(node: servers.Client) -> Iterator[str]:
    """A prefix for the index names of one test, `t-1f0c9a52`; its indices are deleted afterwards."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    if getattr(node, "running", True):
        node.delete(f"{name}*")


@pytest.fixture(scope="session")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where agents keep their compiled rules, so that one test alone waits for them."""
    return tmp_path_factory.mktemp("rules")


@pytest.fixture
def world(node: servers.Client, prefix: str, tmp_path: Path, rules: Path) -> Iterator[World]:
    """Everything for a test that runs agents."""
    made = World(node, prefix, tmp_path, rules)
    yield made
    made.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under SHIPPER_REQUIRE_REAL=1 a session without documents in a real server has failed."""
    plan = session.config.stash[PLAN]
    if plan.required and _idle(plan) and not session.config.option.collectonly and session.exitstatus in (0, 5):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _idle(plan: Plan) -> list[str]:
    """Servers that indexed nothing; one placeholder when none ran at all."""
    return [name for name, count in plan.tally.items() if not count] if plan.tally else ["any real server"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, and what the servers counted."""
    plan = config.stash[PLAN]
    if plan.deselected and plan.url:
        terminalreporter.write_line(
            f"deselected {plan.deselected} real-server tests: they stop the node, and {GIVEN} is not ours"
        )
    elif plan.deselected:
        terminalreporter.write_line(f"deselected {plan.deselected} real-server tests: {_lacking(plan)}", yellow=True)
    for name, count in plan.tally.items():
        terminalreporter.write_line(f"{name}: {count} documents indexed in this session (_stats)")
    if plan.required and not config.option.collectonly:
        for name in _idle(plan):
            terminalreporter.write_line(f"SHIPPER_REQUIRE_REAL=1: no document was indexed in {name}", red=True)
