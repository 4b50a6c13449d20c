r"""The source `syslog`: messages over TCP, TLS, UDP and unix sockets, as JSON objects with ECS names.

RULES
- Streams (RFC 6587): a message with its length before it (`83 <34>1 …`) is so many bytes long, newlines and all; any other ends
  with LF or NUL (which glibc sends). Which of them is told for each message anew. Datagrams (RFC 5426): one is one message.
- What is read by one call goes on together. Syslog knows no answer: a sender is never told that anything was taken, and what
  the spool refuses is lost to it, which is noted with its count. Use `forward` or `http` where this must not happen.
- A message longer than `max_message` is cut: its head goes on, the rest is read past in constant memory, `too_large` is noted.
- A connection that ends inside a message delivers what came of it; `cut_off` is noted where the length said that more should.
- The time of arrival decides the year of RFC 3164 dates. Whoever makes the source gives it a clock; without one such records
  have no time of their own.

THEORY
A connection is a buffer of at most `max_message` bytes and a count of bytes to read past. One regular expression tells messages
with a length apart; it needs the priority too, so that a text which begins with a number does not swallow what follows.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated

import msgspec

from shipper.config.fields import Endpoint, Size
from shipper.model.localtime import Timezone
from shipper.model.syslog import COUNTED, COUNTED_BEGUN, Reader
from shipper.source.push import DELIVERY_BYTES_MAX, DELIVERY_ROWS_MAX, Command, Deliver, Delivery, ListenConfig, Note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TRAILER = re.compile(rb"[\n\0]")
_DATAGRAMS = ("udp", "unixgram")
_LINE = -1
"""Read past up to a trailer, not a number of bytes."""


class Syslog:
    """Listen for syslog, RFC 5424 and RFC 3164, on TCP, TLS, UDP and unix sockets.

    A message becomes a JSON object with ECS names: `message`, `@timestamp`, `host.hostname`, `process.name`, `process.pid`,
    `log.level` and `log.syslog.*`. Syslog has no acknowledgement: what the agent cannot store at once is lost, and counted.
    """

    class Config(ListenConfig):
        """Settings of the source syslog."""

        timezone: Timezone = Timezone("UTC")
        """Zone of times that have none, such as `Europe/Berlin`: RFC 3164 sends local time."""
        max_message: Annotated[Size, msgspec.Meta(ge=480, le=256 << 10)] = Size(64 << 10)
        """Longest message; of longer ones the head is kept, and they are counted. RFC 5424 wants 2 KiB at least."""

    def __init__(self, config: Config, clock: Callable[[], float] | None = None) -> None:
        """Take the settings; `clock` tells the Unix time, in seconds, for dates without a year."""
        self._config = config
        self._reader = Reader(config.timezone)
        self._clock = clock

    def connection(self, peer: str, random: Callable[[int], bytes], now: float) -> Messages:  # noqa: ARG002
        """Return the machine of a connection; of a datagram socket where `peer` is the endpoint of one."""
        kind = Datagrams if Endpoint(peer).transport in _DATAGRAMS else Streamed
        return kind(Outlet(self._reader, peer, self._clock), self._config.max_message)


class Outlet:
    """Turns messages into deliveries, and remembers how many rows each unanswered one has."""

    def __init__(self, reader: Reader, peer: str, clock: Callable[[], float] | None) -> None:
        """`clock` tells the Unix time, where it is known."""
        self._reader, self._peer, self._clock = reader, peer, clock
        self._number = 0
        self._open: dict[int, int] = {}

    def deliver(self, messages: Sequence[bytes]) -> Iterator[Command]:
        """Deliver messages, in parts where they are too many or too large for one."""
        arrival = None if self._clock is None else self._clock()
        rows: list[bytes] = []
        size = 0
        for message in messages:
            row = self._reader.row(message, arrival)
            if rows and (size + len(row) > DELIVERY_BYTES_MAX or len(rows) == DELIVERY_ROWS_MAX):
                yield self._delivered(rows)
                rows, size = [], 0
            rows.append(row)
            size += len(row)
        if rows:
            yield self._delivered(rows)

    def _delivered(self, rows: list[bytes]) -> Deliver:
        self._number += 1
        self._open[self._number] = len(rows)
        return Deliver(self._number, Delivery(rows))

    def settled(self, number: int) -> int:
        """Forget a delivery; how many rows it has."""
        return self._open.pop(number, 0)

    def note(self, kind: str, **fields: object) -> Note:
        """Return a note about the peer."""
        return Note(kind, {"peer": self._peer, **fields})


class Messages(ABC):
    """What datagrams and streams have in common: no peer hears anything, and none is too slow."""

    def __init__(self, outlet: Outlet, max_message: int) -> None:
        """`max_message` is in bytes."""
        self._outlet, self._max = outlet, max_message
        self._cut: list[int] = []
        """Bytes left out, of each message that was cut."""
        self._cut_off = 0
        """Bytes that a length promised and that did not come."""

    def received(self, data: bytes, now: float) -> Sequence[Command]:  # noqa: ARG002
        """Deliver the messages in what came."""
        return self._commands(list(self._messages(data)))

    def ended(self, now: float) -> Sequence[Command]:  # noqa: ARG002
        """Deliver what came of an unfinished message."""
        commands = self._commands(self._rest())
        return [*commands, self._outlet.note("cut_off", bytes=self._cut_off)] if self._cut_off else commands

    def durable(self, number: int, now: float) -> Sequence[Command]:  # noqa: ARG002
        """Nobody waits for it."""
        self._outlet.settled(number)
        return ()

    def refused(self, number: int, now: float) -> Sequence[Command]:  # noqa: ARG002
        """The messages are lost, as their sender keeps nothing; say how many."""
        return [self._outlet.note("refused", count=self._outlet.settled(number))]

    def deadline(self) -> float | None:
        """Never: senders are silent for days."""
        return None

    def expire(self, now: float) -> Sequence[Command]:  # noqa: ARG002
        """Nothing."""
        return ()

    def _commands(self, messages: Sequence[bytes]) -> list[Command]:
        commands: list[Command] = list(self._outlet.deliver(messages))
        if self._cut:
            commands.append(self._outlet.note("too_large", count=len(self._cut), bytes=sum(self._cut)))
            self._cut = []
        return commands

    @abstractmethod
    def _messages(self, data: bytes) -> Iterator[bytes]:
        """The messages that end in `data`, each at most `max_message` long."""

    @abstractmethod
    def _rest(self) -> Sequence[bytes]:
        """What there is of a message that does not end."""


class Datagrams(Messages):
    """The machine of a datagram socket."""

    def _messages(self, data: bytes) -> Iterator[bytes]:
        message = data.rstrip(b"\n\r\0")
        if len(message) > self._max:
            self._cut.append(len(message) - self._max)
        if message:
            yield message[: self._max]

    def _rest(self) -> Sequence[bytes]:
        return ()


class Streamed(Messages):
    """The machine of a TCP, TLS or unix stream."""

    def __init__(self, outlet: Outlet, max_message: int) -> None:
        """Start with nothing read."""
        super().__init__(outlet, max_message)
        self._buffer = b""
        self._past = 0
        """Bytes still to be read past; `_LINE`: all up to a trailer."""
        self._lost = 0
        """Bytes left out so far of a line that is being read past."""

    def _messages(self, data: bytes) -> Iterator[bytes]:
        data = self._buffer + data
        at = self._read_past(data, 0)
        while at < len(data):
            stop, message = self._next(data, at)
            if stop == at:
                break
            if message.rstrip(b"\r"):
                yield message
            at = self._read_past(data, stop)
        self._buffer = data[at:]

    def _read_past(self, data: bytes, at: int) -> int:
        """Where the rest of a message that was cut ends, as far as it is there."""
        if self._past != _LINE:
            step = min(self._past, len(data) - at)
            self._past -= step
            return at + step
        trailer = _TRAILER.search(data, at)
        self._lost += (trailer.start() if trailer else len(data)) - at
        if trailer is None:
            return len(data)
        self._end_line()
        return trailer.end()

    def _end_line(self) -> None:
        self._cut.append(self._lost)
        self._past = self._lost = 0

    def _next(self, data: bytes, at: int) -> tuple[int, bytes]:
        """The message at `at`, and where to go on: at `at` again if it is not whole."""
        head = COUNTED.match(data, at)
        if head is not None:
            size = int(head[1])
            stop = head.end() + min(size, self._max)
            if stop > len(data):
                return at, b""
            if size > self._max:
                self._past = size - self._max
                self._cut.append(self._past)
            return stop, data[head.end() : stop]
        if COUNTED_BEGUN.fullmatch(data, at):
            return at, b""
        return self._next_line(data, at)

    def _next_line(self, data: bytes, at: int) -> tuple[int, bytes]:
        trailer = _TRAILER.search(data, at)
        if trailer is None:
            if len(data) - at <= self._max + 1:  # one more: it may be the CR of the line's end
                return at, b""
            self._past = _LINE
            return at + self._max, data[at : at + self._max]
        message = data[at : trailer.start()].removesuffix(b"\r")
        if len(message) > self._max:
            self._cut.append(trailer.start() - at - self._max)
        return trailer.end(), message[: self._max]

    def _rest(self) -> Sequence[bytes]:
        if self._past == _LINE:
            self._end_line()
        rest, self._buffer = self._buffer, b""
        self._cut_off, self._past = self._past, 0
        head = COUNTED.match(rest)
        if head is not None:
            self._cut_off = int(head[1]) - (len(rest) - head.end())
            rest = rest[head.end() :]
        rest = rest.rstrip(b"\r")
        return [rest[: self._max]] if rest else []
