"""The machine of one HTTP/1.1 connection, on h11.

RULES
- One request at a time. A client that sends further ones before it is answered (pipelining) is read up to `AHEAD_MAX` bytes
  ahead; what goes beyond is left unread, and the connection ends with the answer that is due.
- A body is read up to `max_body`; larger ones are refused at once, also where only their length is told. The body of a request
  that is refused by its head is read past without keeping it, so that the connection can go on; where the client waits for
  `100 Continue` it is answered instead.
- A request is answered after each part of its records is durable or refused.
- After an answer before the end of a request the connection ends; the listener reads past what still comes, as else the peer's
  system would throw the answer away (RFC 9112, 9.6).
- A request that takes longer than `timeout` from its first byte to its last is answered with 408. Idle connections end silently.
- Nothing here raises for what a peer sends: h11 refuses what is no HTTP, and its reasons stay here.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import h11
import msgspec

from shipper.source import http_elastic
from shipper.source.http_body import RefusedError
from shipper.source.http_request import Answer, Request, Router, parsed, refused
from shipper.source.push import DELIVERY_BYTES_MAX, DELIVERY_ROWS_MAX, Close, Command, Deliver, Delivery, Note, Send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shipper.source.http import Http
    from shipper.source.http_request import Job, Route

HEAD_BYTES_MAX = 16 << 10
"""Request line and headers; 431 beyond."""
AHEAD_MAX = 1 << 20
_NOTES = {401: "unauthorized", 408: "slow", 413: "too_large", 429: "refused"}
"""How refusals are noted; others with a status from 400 on are `malformed`, and 404 and 405 are not noted."""


class _Exchange:
    """A request, and what came of its body."""

    def __init__(self, request: Request, route: Route | Answer) -> None:
        self.request, self.route = request, route
        self.pieces: list[bytes] = []
        self.size = 0


class _Waiting(msgspec.Struct):
    """A job whose records are not all stored yet."""

    job: Job
    parts: dict[int, range]
    """Number of each delivery that is not answered, and the places of its records."""
    busy: set[int]


class HttpConnection:
    """Reads requests, delivers their records, and answers when these are stored."""

    def __init__(self, config: Http.Config, peer: str, random: Callable[[int], bytes], now: float) -> None:
        """`now` is in monotonic seconds; see `Listens.connection`."""
        self._config, self._peer = config, peer
        self._router = Router(config, random)
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._exchange: _Exchange | None = None
        self._waiting: _Waiting | None = None
        self._number = 0
        self._began: float | None = None
        """When the first byte of the request came that is being read."""
        self._deadline: float | None = now + config.timeout
        self._ahead = 0
        """Bytes that came while an answer was due."""
        self._last = False
        """Bytes were left unread: no request can follow the answer that is due."""
        self._closed = False

    def received(self, data: bytes, now: float) -> Sequence[Command]:
        """Read on, as far as the bytes go."""
        if not data or self._closed or self._last:
            return ()
        if self._waiting is not None:
            self._ahead += len(data)
            if self._ahead > AHEAD_MAX:
                self._last = True
                return [self._note("too_large", 0)]
        self._h11.receive_data(data)
        return () if self._waiting is not None else list(self._read(now))

    def ended(self, now: float) -> Sequence[Command]:
        """The peer sends nothing more; an answer that is due it still gets."""
        if self._closed or self._last:
            return ()
        self._h11.receive_data(b"")
        if self._waiting is not None:
            return ()
        if self._began is not None:
            return [self._note("cut_off", 0), *self._close("ended within a request")]
        return list(self._read(now))

    def durable(self, number: int, now: float) -> Sequence[Command]:
        """Answer, if this was the last part."""
        return self._settled(number, now, stored=True)

    def refused(self, number: int, now: float) -> Sequence[Command]:
        """Answer, if this was the last part, that not all was taken."""
        return self._settled(number, now, stored=False)

    def deadline(self) -> float | None:
        """When the request must be whole, or the connection has been idle for too long."""
        return self._deadline

    def expire(self, now: float) -> Sequence[Command]:
        """Give up on a client that is too slow, or silent."""
        if self._deadline is None or now < self._deadline:
            return ()
        if self._began is None:
            return self._close()
        answer = refused(RefusedError(408, "timeout", f"the request was not whole after {self._config.timeout:g} s"))
        return list(self._refuse(answer))

    def _settled(self, number: int, now: float, *, stored: bool) -> Sequence[Command]:
        waiting = self._waiting
        if waiting is None or number not in waiting.parts:
            return ()
        places = waiting.parts.pop(number)
        if not stored:
            waiting.busy.update(places)
        if waiting.parts:
            return ()
        self._waiting, self._ahead = None, 0
        notes = [self._note("refused", 429, count=len(waiting.busy))] if waiting.busy else []
        return [*notes, *self._answered(waiting.job.answer(waiting.busy, now)), *self._read(now)]

    def _read(self, now: float) -> Iterator[Command]:
        """Go through what h11 has, until it needs more or an answer is due."""
        while self._waiting is None and not self._closed:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                status = error.error_status_hint
                answer = refused(RefusedError(status, "protocol_error", "this is not HTTP/1.1, or its head is too large"))
                yield from self._refuse(answer)
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                self._arm(now)
                return
            if isinstance(event, h11.ConnectionClosed):
                yield from self._close()
                return
            yield from self._take(event, now)

    def _arm(self, now: float) -> None:
        """Set the deadline by what is being waited for."""
        if self._exchange is None and not self._h11.trailing_data[0]:
            self._began = None
            self._deadline = now + self._config.idle
        elif self._began is None:
            self._began = now
        if self._began is not None:
            self._deadline = self._began + self._config.timeout

    def _take(self, event: object, now: float) -> Iterator[Command]:
        if isinstance(event, h11.Request):
            yield from self._begin(event, now)
        elif isinstance(event, h11.Data) and self._exchange is not None:
            self._exchange.size += len(event.data)
            if self._exchange.size > self._config.max_body:
                yield from self._refuse(self._too_large())
            elif not isinstance(self._exchange.route, Answer):
                self._exchange.pieces.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage) and self._exchange is not None:
            yield from self._finish(self._exchange, now)

    def _begin(self, head: h11.Request, now: float) -> Iterator[Command]:
        if self._began is None:
            self._began = now
        request = parsed(head.method, head.target, head.headers, self._began)
        self._exchange = _Exchange(request, self._router.route(request))
        length = request.headers.get("content-length", "0")
        early = self._exchange.route
        if int(length) > self._config.max_body and not isinstance(early, Answer):
            early = self._too_large()
        waits = self._h11.they_are_waiting_for_100_continue
        if isinstance(early, Answer) and (waits or int(length) > self._config.max_body):
            yield from self._refuse(early)
        elif waits:
            go_on = self._h11.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
            yield Send(go_on or b"")

    def _too_large(self) -> Answer:
        return refused(RefusedError(413, "too_large", f"a body is at most {self._config.max_body} bytes long"))

    def _finish(self, exchange: _Exchange, now: float) -> Iterator[Command]:
        """The request is whole: deliver its records, or answer."""
        self._deadline = None
        outcome: Answer | Job
        try:
            body = b"".join(exchange.pieces)
            exchange.pieces = []
            outcome = exchange.route if isinstance(exchange.route, Answer) else exchange.route(exchange.request, body)
        except RefusedError as refusal:
            outcome = refused(refusal)
        if isinstance(outcome, Answer):
            yield from self._noted(outcome)
            yield from self._answered(outcome)
        elif not outcome.delivery.rows:
            yield from self._answered(outcome.answer((), now))
        else:
            self._waiting = _Waiting(outcome, {}, set())
            self._ahead = len(self._h11.trailing_data[0])
            for places in _parts(outcome.delivery.rows):
                self._number += 1
                self._waiting.parts[self._number] = places
                yield Deliver(self._number, _part(outcome.delivery, places))

    def _answered(self, answer: Answer) -> Iterator[Command]:
        """Send an answer to a request that was read to its end."""
        yield Send(self._sent(answer, last=self._last))
        self._exchange = self._began = None
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            yield from self._close()

    def _refuse(self, answer: Answer) -> Iterator[Command]:
        """Send an answer before the end of a request, and end."""
        yield from self._noted(answer)
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            yield Send(self._sent(answer, last=True))
        yield from self._close()

    def _close(self, reason: str = "") -> Sequence[Command]:
        self._closed = True
        self._exchange = self._deadline = None
        return [Close(reason)]

    def _sent(self, answer: Answer, *, last: bool) -> bytes:
        """The bytes of an answer."""
        request = None if self._exchange is None else self._exchange.request
        body = msgspec.json.encode(answer.document)
        headers = [
            ("Content-Type", request.answered_as if request else "application/json"),
            ("Content-Length", str(len(body))),
            http_elastic.PRODUCT,
            *answer.headers,
            *([("Connection", "close")] if last else []),
        ]
        events: list[h11.Event] = [
            h11.Response(status_code=answer.status, headers=headers, reason=HTTPStatus(answer.status).phrase)
        ]
        if request is None or request.method != "HEAD":
            events.append(h11.Data(data=body))
        return b"".join(self._h11.send(event) or b"" for event in [*events, h11.EndOfMessage()])

    def _noted(self, answer: Answer) -> Iterator[Note]:
        if answer.status >= 400 and answer.status not in (404, 405):
            yield self._note(_NOTES.get(answer.status, "malformed"), answer.status)

    def _note(self, kind: str, status: int, **fields: object) -> Note:
        return Note(kind, {"peer": self._peer, **({"status": status} if status else {}), **fields})


def _parts(rows: Sequence[bytes]) -> Iterator[range]:
    """Places of records that go into one delivery each."""
    start = size = 0
    for number, row in enumerate(rows):
        if number > start and (size + len(row) > DELIVERY_BYTES_MAX or number - start == DELIVERY_ROWS_MAX):
            yield range(start, number)
            start, size = number, 0
        size += len(row)
    yield range(start, len(rows))


def _part(whole: Delivery, places: range) -> Delivery:
    some = slice(places.start, places.stop)
    tags = None if whole.tags is None else whole.tags[some]
    ids = None if whole.ids is None else whole.ids[some]
    return Delivery(whole.rows[some], tags=tags, ids=ids)
