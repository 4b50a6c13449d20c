"""Supervisor: what systemd hears, by a socket of its kind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from shipper.edge.supervisor import Supervisor


@pytest.mark.parametrize("abstract", [False, True])
def test_the_supervisor_hears_when_the_agent_is_ready_and_when_it_stops(tmp_path: Path, abstract: bool) -> None:  # noqa: FBT001
    """At a path, or at a name in the abstract namespace."""
    address = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + address[1:] if abstract else address)
        supervisor = Supervisor({"NOTIFY_SOCKET": address})
        supervisor.ready()
        supervisor.stopping()
        assert [ear.recv(100), ear.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_nothing_happens_when_nobody_listens(tmp_path: Path) -> None:
    """Without the variable, and when the supervisor is gone."""
    Supervisor({}).ready()
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_supervisor_that_does_not_listen_does_not_stop_the_agent(tmp_path: Path) -> None:
    """Its socket is full: what is said is forgotten."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(address)
        for _ in range(10_000):
            Supervisor({"NOTIFY_SOCKET": address}).ready()
        assert ear.recv(100) == b"READY=1"
