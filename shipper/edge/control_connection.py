"""The machine of one connection to the control address, HTTP/1.1 on h11.

RULES
- GET and HEAD, without a body. What else comes is refused, and the connection ends with the answer.
- One request at a time: where further bytes came with it, the connection ends behind the answer, so that a client that does not
  read can make us hold one answer and not thousands.
- The head has `HEAD_BYTES_MAX` at most, and comes within `REQUEST_S` of its first byte, however slowly it drips. A connection that
  says nothing ends after `IDLE_S`.
- Nothing here raises for what a peer sends. What it sent is in no answer and in no log.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11

from shipper.edge.control import told
from shipper.source.push import Close, Send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shipper.edge.control import Page
    from shipper.source.push import Command

HEAD_BYTES_MAX = 8 << 10
REQUEST_S = 10.0
IDLE_S = 60.0
"""Prometheus asks every 15 to 60 s, and opens a new connection where the old one is gone."""
_METHODS = (b"GET", b"HEAD")
_HEADERS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


class ControlConnection:
    """As `source.push.Connection`, with nothing to deliver."""

    def __init__(self, answer: Callable[[str | None, str], Page], now: float) -> None:
        """`answer(host, path)` makes the page; `host` is None where an HTTP/1.0 client names none."""
        self._answer = answer
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._request: h11.Request | None = None
        self._began: float | None = None
        """When the first byte of the request came that is being read."""
        self._deadline: float | None = now + REQUEST_S
        self._closed = False

    def received(self, data: bytes, now: float) -> Sequence[Command]:
        """Read on, as far as the bytes go."""
        if not data or self._closed:
            return ()
        self._h11.receive_data(data)
        return list(self._read(now))

    def ended(self, now: float) -> Sequence[Command]:
        """The peer sends nothing more: all that was whole is answered."""
        del now
        return () if self._closed else [self._close()]

    def durable(self, number: int, now: float) -> Sequence[Command]:
        """Nothing was delivered."""
        del number, now
        raise AssertionError

    refused = durable

    def deadline(self) -> float | None:
        """When the request must be whole, or the connection has been silent for too long."""
        return self._deadline

    def expire(self, now: float) -> Sequence[Command]:
        """Give up on a client that is too slow, or silent."""
        if self._deadline is None or now < self._deadline:
            return ()
        if self._began is None:
            return [self._close()]
        return list(self._refuse(told(408, f"the request was not whole after {REQUEST_S:.0f} s")))

    def _read(self, now: float) -> Iterator[Command]:
        """Go through what h11 has, until it needs more."""
        while not self._closed:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                yield from self._refuse(told(error.error_status_hint, "this is not HTTP/1.1, or its head is too large"))
                return
            if isinstance(event, h11.Request):
                yield from self._begin(event)
            elif isinstance(event, h11.EndOfMessage):
                yield from self._finish(now)
            elif isinstance(event, h11.ConnectionClosed):
                yield self._close()
            else:
                self._wait(now)
                return

    def _wait(self, now: float) -> None:
        """Set the deadline of a request that has begun; a byte more does not move it."""
        if self._began is None and (self._h11.trailing_data[0] or self._request is not None):
            self._began, self._deadline = now, now + REQUEST_S

    def _begin(self, request: h11.Request) -> Iterator[Command]:
        self._request = request
        told_of = {name for name, value in request.headers if value != b"0"}
        if request.method not in _METHODS:
            yield from self._refuse(told(405, "GET and HEAD are all there is"), ("Allow", "GET, HEAD"))
        elif told_of & {b"content-length", b"transfer-encoding"}:
            yield from self._refuse(told(400, "a request to this address has no body"))

    def _finish(self, now: float) -> Iterator[Command]:
        """The request is whole: answer it."""
        assert self._request is not None
        host = next((value.decode("latin-1") for name, value in self._request.headers if name == b"host"), None)
        try:
            path = urlsplit(self._request.target.decode("latin-1")).path
        except ValueError:
            path = ""
        yield Send(self._sent(self._answer(host, path), last=bool(self._h11.trailing_data[0])))
        self._request = self._began = None
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._deadline = now + IDLE_S
        else:
            yield self._close()

    def _refuse(self, page: Page, *headers: tuple[str, str]) -> Iterator[Command]:
        """Answer before the end of a request, and end."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            yield Send(self._sent(page, *headers, last=True))
        yield self._close()

    def _close(self) -> Close:
        self._closed, self._deadline = True, None
        return Close()

    def _sent(self, page: Page, *headers: tuple[str, str], last: bool) -> bytes:
        """The bytes of an answer."""
        lines = [("Content-Type", page.kind), ("Content-Length", str(len(page.body))), *_HEADERS, *headers]
        if last:
            lines.append(("Connection", "close"))
        head = h11.Response(status_code=page.status, headers=lines, reason=HTTPStatus(page.status).phrase)
        is_head = self._request is not None and self._request.method == b"HEAD"
        events: list[h11.Event] = [head, *([] if is_head else [h11.Data(data=page.body)]), h11.EndOfMessage()]
        return b"".join(self._h11.send(event) or b"" for event in events)
