"""Supervisor: what systemd hears, by a socket of its kind, of a real agent too."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.edge.supervisor import Supervisor
from tests.kit.fake_elastic import Server
from tests.kit.site import WAIT_S, Site, check_whole

RECORDS = [{"timestamp": "2026-02-05T14:30:45Z", "n": number} for number in range(5)]


@contextlib.contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """The service manager's socket; `@name` is one in the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + address[1:] if address.startswith("@") else address)
        ear.settimeout(WAIT_S)
        yield ear


def fill(address: str) -> None:
    """Send until the socket takes nothing more from anybody, as nobody reads from it. Each sender has a bound of its own besides."""
    for _ in range(10_000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
            mouth.setblocking(False)
            mouth.connect(address)
            try:
                mouth.send(b"full")
            except BlockingIOError:
                return
    raise AssertionError("it is not to be filled")


def rest(ear: socket.socket) -> list[bytes]:
    """What is there to be heard now."""
    heard: list[bytes] = []
    ear.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            heard.append(ear.recv(100))
    return heard


@pytest.mark.parametrize("abstract", [False, True])
def test_the_supervisor_hears_when_the_agent_is_ready_and_when_it_stops(tmp_path: Path, abstract: bool) -> None:  # noqa: FBT001
    """At a path, or at a name in the abstract namespace."""
    address = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with listening(address) as ear:
        supervisor = Supervisor({"NOTIFY_SOCKET": address})
        supervisor.ready()
        supervisor.stopping()
        assert rest(ear) == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", ["", "gone", "@gone", "vsock:2:1234", "x" * 200, "@" + "x" * 200, "/", "/dev/null", "@"])
def test_nothing_happens_when_nobody_listens(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable, when the supervisor is gone, and for an address that is none of ours."""
    monkeypatch.chdir(tmp_path)
    Supervisor({"NOTIFY_SOCKET": address} if address else {}).ready()


def test_a_supervisor_that_does_not_listen_does_not_stop_the_agent(tmp_path: Path) -> None:
    """Its socket is full: what is said is forgotten."""
    address = str(tmp_path / "notify")
    with listening(address) as ear:
        fill(address)
        telling = threading.Thread(target=Supervisor({"NOTIFY_SOCKET": address}).ready, daemon=True)
        telling.start()
        telling.join(WAIT_S)
        assert not telling.is_alive()
        assert b"READY=1" not in rest(ear)


@pytest.mark.parametrize("abstract", [False, True])
def test_a_real_agent_is_ready_when_its_sources_are_open_and_tells_when_it_stops(site: Site, abstract: bool) -> None:  # noqa: FBT001
    """Once each, in this order: at READY its listener takes a connection, and what is there is shipped whole in the end."""
    site.write(RECORDS)
    door = site.folder / "door"
    files, http = {"type": "file", "include": [f"{site.logs}/*.log"]}, {"type": "http", "listen": f"unix:{door}"}
    site.configure(sources=[files, http])
    address = f"@{site.folder}" if abstract else str(site.folder / "notify")
    with listening(address) as ear:
        process = site.start("run", "--json", "--state", site.state, site.pipeline, NOTIFY_SOCKET=address)
        assert ear.recv(100) == b"READY=1"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.connect(str(door))
        process.send_signal(signal.SIGTERM)
        assert ear.recv(100) == b"STOPPING=1"
        told = site.wait(process)
        assert told.code == 0 and rest(ear) == []


def test_an_agent_is_ready_while_its_elasticsearch_is_down(site: Site) -> None:
    """It reads, and waits for it: a manager that waited too would give up, and start it again and again."""
    site.write(RECORDS)
    server = Server()
    server._http.server_close()
    site.configure(output={"type": "elasticsearch", "hosts": [server.url]})
    with listening(str(site.folder / "notify")) as ear:
        process = site.start("run", "--state", site.state, site.pipeline, NOTIFY_SOCKET=str(site.folder / "notify"))
        assert ear.recv(100) == b"READY=1"
        process.kill()
        process.wait()


def test_an_agent_that_cannot_start_is_never_ready(site: Site) -> None:
    """Its output refuses to open: the manager must not believe that logs are shipped."""
    site.out.write_text("no directory")
    with listening(str(site.folder / "notify")) as ear:
        told = site.wait(site.start("run", "--state", site.state, site.pipeline, NOTIFY_SOCKET=str(site.folder / "notify")))
        assert told.code == 1 and rest(ear) == []


def test_an_agent_ships_while_its_supervisor_hears_nothing(site: Site) -> None:
    """The socket is full from the start on."""
    site.write(RECORDS)
    address = str(site.folder / "notify")
    with listening(address):
        fill(address)
        check_whole(site.wait(site.start(*site.words(), NOTIFY_SOCKET=address)), len(RECORDS))
    assert os.path.exists(address)
