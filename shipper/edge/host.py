"""Host: what is known of the machine, for documents that shall say where they come from. Asked once, when it is first wanted."""

from __future__ import annotations

import os
import platform
import socket
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES = {"linux": "linux", "darwin": "macos", "win32": "windows"}
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses kept for documentation (RFC 5737, RFC 3849): nobody has them, and all routes to elsewhere lead there."""
_DISCARD = 9


@cache
def facts() -> Mapping[str, object]:
    """The machine by ECS name below `host`: `architecture`, `ip`, `os.type` and more of `os`; what is not known is left out."""
    machine = os.uname()
    found: dict[str, object] = {
        "architecture": machine.machine,
        "ip": addresses(),
        "os.type": _TYPES.get(sys.platform, ""),
        "os.kernel": machine.release,
    }
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    found.update({"os.platform": release.get("ID"), "os.name": release.get("NAME"), "os.version": release.get("VERSION_ID")})
    return {name: value for name, value in found.items() if value}


def addresses() -> list[str]:
    """The addresses that the machine speaks from when it speaks to others, IPv4 first. Nothing is sent to find out."""
    found = []
    for family, elsewhere in _ELSEWHERE:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            try:
                asking.connect((elsewhere, _DISCARD))
                found.append(str(asking.getsockname()[0]))
            except OSError:  # no route, or the family is switched off
                continue
    return found
