"""Supervisor: telling the service manager how the agent is, by systemd's protocol (sd_notify(3)).

RULES
- Where `NOTIFY_SOCKET` is not set nobody listens, and nothing is said.
- What cannot be sent is forgotten: a supervisor that went away must not stop the logs. The socket never blocks.

A datagram of `NAME=value` lines is all there is to it; the libraries for it are as long as this and no longer kept up.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Supervisor:
    """The service manager's ear."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Take the environment; `NOTIFY_SOCKET` is a path, or a name behind `@` in Linux' abstract namespace."""
        address = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """All sources and outputs are open."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The agent delivers what is in flight, and ends."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.setblocking(False)
            ear.connect(self._address)
            ear.send(text.encode())
