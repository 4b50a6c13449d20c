"""Control: the address at which the agent says how it is. HTTP, GET and HEAD, on loopback unless the settings say otherwise.

RULES
- Nothing here changes anything: there is no page that does. Pages show counts, names of files as the log shows them, and no content.
- An address that cannot be had is a warning: logs are shipped without it.
- Bounds: `CONNECTIONS` at a time, see `listener.py`; what one may cost, see `control_connection.py`.
- On loopback a request must be addressed to this machine (`Host`: localhost or a number), or a page in somebody's browser could
  read the answers by having its own name lead here (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import msgspec

from shipper.config.fields import Endpoint
from shipper.edge import log
from shipper.edge.listener import Listener
from shipper.model.errors import HostError
from shipper.source.push import ListenConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shipper.config.fields import Address
    from shipper.edge.control_connection import ControlConnection
    from shipper.source.push import Delivery

CONNECTIONS = 32
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Page(msgspec.Struct, frozen=True):
    """An answer."""

    status: int
    kind: str
    """Its media type."""
    body: bytes


class Control:
    """See the module. Lives in the event loop."""

    def __init__(self, address: Address, pages: Mapping[str, Callable[[], Page]]) -> None:
        """`pages` has what makes the page of a path, `/health`; called in the loop at each request."""
        self.address = ""
        """Where it listens, with the real port; empty: nowhere."""
        self._wanted, self._pages = address, pages
        config = ListenConfig(listen=[Endpoint(address)], max_connections=CONNECTIONS)
        self._listener = Listener(config, self, _nothing_is_delivered, _noted)

    async def open(self) -> None:
        """Listen, or warn and do without."""
        try:
            await self._listener.open()
        except (HostError, UnicodeError) as error:
            reason = str(error).partition("\n")[0]
            log.write("warning", "the control address cannot be had; the agent goes on without it", reason=reason)
            return
        self.address = self._listener.addresses[0]
        log.write("info", "control address open", address=self.address)

    async def close(self) -> None:
        """Answer nothing more."""
        await self._listener.close(grace=0.0)

    def connection(self, peer: str, random: Callable[[int], bytes], now: float) -> ControlConnection:
        """The machine of a new connection; as `Listens` asks for."""
        del peer, random
        from shipper.edge.control_connection import ControlConnection  # with h11, when somebody asks

        return ControlConnection(self._answer, now)

    def _answer(self, host: str | None, path: str) -> Page:
        """The page of a path; a bug in one must not end the agent, nor tell its reason to whoever asks."""
        if host is not None and not self._is_addressed(host):
            return told(421, "this request is addressed to another host")
        if path == "/":
            return told(200, *sorted(self._pages))
        if path not in self._pages:
            return told(404, "there is no such page; there are", *sorted(self._pages))
        try:
            return self._pages[path]()
        except Exception as error:  # see above
            log.write("error", "a page of the control address failed", page=path, error=type(error).__name__)
            return told(500, "this page failed; the agent's log has the kind of error")

    def _is_addressed(self, host: str) -> bool:
        """Whether `Host` names this machine, as far as that can be said."""
        if not _is_loopback(self._wanted.host):
            return True
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        return name.lower() in ("localhost", self._wanted.host.lower()) or _is_number(name.strip("[]"))


def told(status: int, *lines: str) -> Page:
    """A page of some lines of text."""
    return Page(status, TEXT, "".join(f"{line}\n" for line in lines).encode())


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)


def _noted(kind: str, fields: Mapping[str, object]) -> None:
    log.write("warning", "a connection to the control address was not served", kind=kind, **fields)


def _nothing_is_delivered(delivery: Delivery, answer: Callable[[bool], None]) -> None:
    del delivery, answer
    raise AssertionError("the control address takes no records")
