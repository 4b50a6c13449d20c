"""The real server itself: what the other tests of this directory rely on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.real import node as servers
from tests.real.node import Client, Node


def bulk(index: str, ids: range) -> bytes:
    """A bulk body that creates one small document for each id."""
    lines = []
    for number in ids:
        lines += [json.dumps({"create": {"_index": index, "_id": f"id-{number}"}}), json.dumps({"n": number})]
    return "\n".join([*lines, ""]).encode()


def statuses(reply: object) -> list[int]:
    """The status of each item of a bulk reply."""
    assert isinstance(reply, dict)
    return [item["create"]["status"] for item in reply["items"]]


def alive(pid: int) -> bool:
    """Whether the process is there; one that ended and was not waited for is not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_node_answers_with_the_version_that_was_asked_for(node: Client) -> None:
    """The server says its version, although `GET /` is not to be had on it."""
    assert node.request("GET", "_cluster/health")[0] == 200
    if isinstance(node, Node):
        assert node.version() == node.server.version


def test_create_answers_409_when_the_id_is_there_already(node: Client, prefix: str) -> None:
    """A second `create` with the same `_id` is refused item by item, which is what makes a resend harmless."""
    index = f"{prefix}-a"
    before = node.indexed()
    assert statuses(node.ask("POST", "_bulk", bulk(index, range(3)))) == [201, 201, 201]
    assert statuses(node.ask("POST", "_bulk", bulk(index, range(2, 4)))) == [409, 201]
    assert node.count(index) == 4
    assert node.indexed() - before == 4


def test_documents_reads_everything_when_there_are_several_pages(node: Client, prefix: str) -> None:
    """All documents come, each once, with index and id; a pattern without an index gives none."""
    node.ask("POST", "_bulk", bulk(f"{prefix}-a", range(5200)))
    node.ask("POST", "_bulk", bulk(f"{prefix}-b", range(3)))
    found = list(node.documents(f"{prefix}-*"))
    assert len(found) == 5203
    assert {(index, name) for index, name, _ in found if index.endswith("b")} == {(f"{prefix}-b", f"id-{n}") for n in range(3)}
    assert all(name == f"id-{document['n']}" for _, name, document in found)
    assert list(node.documents("nowhere-*")) == []
    assert node.count("nowhere-*") == 0


def test_indexed_keeps_its_count_when_the_index_is_deleted(node: Client, prefix: str) -> None:
    """The count of the session does not shrink when a test cleans up."""
    before = node.indexed()
    node.ask("POST", "_bulk", bulk(f"{prefix}-a", range(7)))
    node.delete(f"{prefix}-a")
    assert node.indices(f"{prefix}-*") == []
    assert node.indexed() - before == 7


@pytest.mark.own_node
def test_node_keeps_documents_when_it_is_killed_and_started(node: Node, prefix: str) -> None:
    """After SIGKILL what was acknowledged is there, on the same port, and counted once."""
    index, before = f"{prefix}-a", node.indexed()
    node.ask("POST", "_bulk", bulk(index, range(10)))
    node.kill()
    assert not node.running
    with pytest.raises(OSError):
        node.request("GET", "_cluster/health")
    node.start()
    assert node.count(index) == 10
    assert node.indexed() - before == 10


@pytest.mark.own_node
def test_node_ends_when_its_session_is_killed(node: Node) -> None:
    """A second session that gets SIGKILL leaves no server behind."""
    key = next(key for key, server in servers.SERVERS.items() if server == node.server)
    code = f"""
import time
from tests.real.node import SERVERS, Node
node = Node(SERVERS[{key!r}])
print(node.pid, node.folder, flush=True)
time.sleep(600)
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        pid, folder = session.stdout.readline().split()
        session.send_signal(signal.SIGKILL)
    give_up_at = time.monotonic() + 60
    while alive(int(pid)) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert not alive(int(pid))
    shutil.rmtree(folder)


def test_chosen_names_the_known_versions_when_one_is_unknown() -> None:
    """A typing error in SHIPPER_TEST_SERVERS is answered with what may be written."""
    assert [server.version for server in servers.chosen({})] == ["8.19.21", "9.5.3"]
    assert [server.name for server in servers.chosen({"SHIPPER_TEST_SERVERS": "7.17.29, opensearch-3.6.0"})] == [
        "elasticsearch 7.17.29",
        "opensearch 3.6.0",
    ]
    assert len(servers.chosen({"SHIPPER_TEST_SERVERS": "all"})) == len(servers.SERVERS)
    with pytest.raises(ValueError, match=r"unknown 8\.0\.0; known are 8\.19\.21"):
        servers.chosen({"SHIPPER_TEST_SERVERS": "8.0.0"})


def test_free_port_lies_below_the_ports_of_outgoing_connections() -> None:
    """A client that keeps trying a stopped node must not be able to connect to itself."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]) if Path("/proc/sys").exists() else 32768
    assert all(1024 < servers.free_port() < lowest for _ in range(20))


def test_unzip_restores_the_permission_to_execute(tmp_path: Path) -> None:
    """The start script of an unpacked distribution can be run, and everybody may read it."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name, mode in (("top/bin/run", 0o755), ("top/lib/a.jar", 0o600)):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            packed.writestr(entry, "x")
    top = servers._unzip(tmp_path / "a.zip", tmp_path)
    assert top == tmp_path / "top"
    assert (top / "bin/run").stat().st_mode & 0o777 == 0o755
    assert (top / "lib/a.jar").stat().st_mode & 0o777 == 0o644
