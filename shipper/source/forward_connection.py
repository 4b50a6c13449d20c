"""One connection of the forward protocol v1: bytes in, deliveries and acknowledgements out. The machine.

RULES
- A chunk is acknowledged after the last delivery that holds rows of it is durable; one of them refused, or a fault found in the
  message, means that it is not. A chunk without events is acknowledged at once.
- Messages that came together go together: rows of several share a delivery, up to its limits.
- No more than `DELIVERIES_OPEN` are unanswered; what came beyond is taken up as they are answered. So a message that expands to
  hundreds of megabytes is expanded piece by piece, as the spool takes it.
- After a fault nothing more is taken; the connection ends when what was delivered before is answered.
- A sender has `HANDSHAKE_S` for its PING, `PAUSE_S` between two parts of a message and `MESSAGE_S` for all of it.
- Bounds: one message (`max_message`), which is in memory twice while it is taken apart, and the `Account` of all connections. Who would exceed it is disconnected: the sender, if it
  asks for acknowledgement, comes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.source.forward_handshake import PING_BYTES_MAX
from shipper.source.forward_messages import Message, Walker, batches
from shipper.source.forward_pack import ForwardError, Splitter, pack
from shipper.source.push import DELIVERY_BYTES_MAX, DELIVERY_ROWS_MAX, Close, Command, Deliver, Delivery, Note, Send

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shipper.source.forward_handshake import Handshake
    from shipper.source.forward_messages import Batch, Limits

HANDSHAKE_S = 10.0
PAUSE_S = 60.0
MESSAGE_S = 600.0
DELIVERIES_OPEN = 4
MESSAGES_AT_ONCE = 4096


class Account:
    """Bytes that the connections of one source buffer together."""

    def __init__(self, most: int) -> None:
        """Take the limit."""
        self.most = most
        self.used = 0


class _Filling:
    """A delivery in the making: rows of messages that all have a chunk, or all have none."""

    def __init__(self) -> None:
        self.delivery = Delivery([], [], [], None)
        self.messages: list[Message] = []
        self.size = 0

    def fits(self, message: Message, batch: Batch) -> bool:
        """Whether these rows may join."""
        if not self.messages:
            return True
        rows = len(self.delivery.rows) + len(batch.rows)
        alike = (self.delivery.ids is None) == (not message.key)
        return alike and rows <= DELIVERY_ROWS_MAX and self.size + batch.size <= DELIVERY_BYTES_MAX

    def add(self, message: Message, batch: Batch) -> None:
        """Take rows in."""
        delivery = self.delivery
        assert delivery.tags is not None
        assert delivery.times is not None
        delivery.rows += batch.rows
        delivery.times += batch.times
        delivery.tags += [message.tag] * len(batch.rows)
        if message.key:
            delivery.ids = (delivery.ids or []) + batch.ids
        self.size += batch.size
        if not self.messages or self.messages[-1] is not message:
            self.messages.append(message)
            message.open += 1


class ForwardConnection:
    """The machine of one connection; see `push.Connection`."""

    def __init__(self, limits: Limits, account: Account, handshake: Handshake | None, now: float, *, keepalive: bool) -> None:
        """`handshake` is None where no key is asked for."""
        self._limits, self._account, self._handshake, self._keepalive = limits, account, handshake, keepalive
        self._splitter = Splitter(limits.message)
        self._walker: Walker | None = None
        self._message: Message | None = None
        self._batches: Iterator[Batch] = iter(())
        self._filling = _Filling()
        self._waiting: dict[int, list[Message]] = {}
        """Messages of the unanswered deliveries."""
        self._number = 0
        self._charged = 0
        """Bytes in the account."""
        self._stopped: str | None = None
        """Why nothing more is taken."""
        self._greeted = self._ended = self._closed = self._used = False
        self._since = self._last = now
        """When the unfinished message (or the connection) began, and when its last bytes came."""
        self._commands: list[Command] = []

    def received(self, data: bytes, now: float) -> Sequence[Command]:
        """Take bytes; the first call, without any, says HELO."""
        if self._handshake is not None and not self._greeted:
            self._greeted = True
            self._commands.append(Send(self._handshake.helo()))
        if data and self._stopped is None:
            if not self._splitter.held and self._handshake is None:
                self._since = now
            self._last = now
            self._splitter.feed(data)
            self._shake_hands(now)
        return self._go_on()

    def ended(self, now: float) -> Sequence[Command]:  # noqa: ARG002  the contract of push.Connection
        """Deliver what is whole; what is not is noted."""
        self._ended = True
        return self._go_on()

    def durable(self, number: int, now: float) -> Sequence[Command]:
        """Acknowledge the chunks that end with this delivery, and take up what waited for room."""
        for message in self._waiting.pop(number):
            message.open -= 1
            self._settle(message)
        if not self._waiting:
            self._last = self._since = now
        return self._go_on()

    def refused(self, number: int, now: float) -> Sequence[Command]:  # noqa: ARG002
        """Its chunks are never acknowledged, and the connection ends, so that the sender knows soon."""
        for message in self._waiting.pop(number):
            message.open -= 1
            message.refused = True
        self._stop("refused", "the records were not taken")
        return self._go_on()

    def deadline(self) -> float | None:
        """When the sender is too slow; never while we are the ones who are waited for."""
        if self._stopped is not None or self._waiting or self._ended:
            return None
        if self._handshake is not None:
            return self._since + HANDSHAKE_S
        return min(self._last + PAUSE_S, self._since + MESSAGE_S) if self._splitter.held else None

    def expire(self, now: float) -> Sequence[Command]:
        """Give up on the sender."""
        deadline = self.deadline()
        if deadline is not None and deadline <= now:
            self._stop("slow", "the handshake takes too long" if self._handshake is not None else "a message takes too long")
        return self._go_on()

    def _shake_hands(self, now: float) -> None:
        """Answer the PING, if it is whole."""
        if self._handshake is None:
            return
        try:
            ping = self._splitter.take(1)
            if not ping and self._splitter.held > PING_BYTES_MAX:
                raise ForwardError("refused", "a PING is too large")
            pong, refusal = self._handshake.pong(ping) if ping else (b"", "")
        except ForwardError as error:
            self._stop("refused", error.reason)
            return
        if pong:
            self._commands.append(Send(pong))
        if refusal:
            self._stop("refused", refusal)
        elif pong:
            self._handshake, self._since = None, now

    def _go_on(self) -> Sequence[Command]:
        """Make deliveries while there is room for them; return all commands that gathered."""
        while self._stopped is None and self._handshake is None and len(self._waiting) < DELIVERIES_OPEN:
            try:
                if not self._step():
                    break
            except ForwardError as error:
                self._stop(error.kind, error.reason)
        self._charge()
        idle = not self._waiting and not self._filling.messages
        if idle and self._stopped is None and self._message is None:
            self._rest()
        if idle and self._stopped is not None and not self._closed:
            self._closed = True
            self._commands.append(Close(self._stopped))
        commands, self._commands = self._commands, []
        return commands

    def _rest(self) -> None:
        """Nothing can be done before more comes."""
        held = self._splitter.held
        if self._ended and held:
            self._commands.append(Note("truncated", {"bytes": held}))
        if self._ended or (self._used and not self._keepalive and not held and self._handshake is None):
            self._stopped = ""
            self._drop()

    def _step(self) -> bool:
        """Take up a message, or hand over some rows of it. False when there is nothing to do."""
        if self._message is None:
            self._message = self._next()
            if self._message is None:
                self._flush()
                return False
            self._batches = batches(self._message, self._limits)
        batch = next(self._batches, None)
        if batch is None:
            self._finish(self._message)
        elif batch.rows:
            if not self._filling.fits(self._message, batch):
                self._flush()
            self._filling.add(self._message, batch)
        return True

    def _next(self) -> Message | None:
        """The next whole message."""
        while True:
            if self._walker is None:
                run = self._splitter.take(MESSAGES_AT_ONCE)
                if not run:
                    return None
                self._walker = Walker(run)
                self._since = self._last
            message = self._walker.next()
            if message is not None:
                return message
            self._walker = None

    def _finish(self, message: Message) -> None:
        """All rows of a message are handed over."""
        self._message = None
        message.whole = self._used = True
        if message.size is not None and message.size != message.count:
            message.counts["size"] += 1
        self._tell(message)
        self._settle(message)

    def _tell(self, message: Message) -> None:
        self._commands += [Note(kind, {"count": count}) for kind, count in message.counts.items()]
        message.counts.clear()

    def _settle(self, message: Message) -> None:
        """Acknowledge a chunk that is on disk as a whole."""
        if message.whole and not message.open and not message.refused and message.chunk is not None:
            self._commands.append(Send(pack({"ack": message.chunk})))

    def _flush(self) -> None:
        filling = self._filling
        if filling.messages:
            self._filling = _Filling()
            self._waiting[self._number] = filling.messages
            self._commands.append(Deliver(self._number, filling.delivery))
            self._number += 1

    def _stop(self, kind: str, reason: str) -> None:
        """Take nothing more. What was made of whole messages before still goes."""
        if self._stopped is not None:
            return
        self._stopped = reason
        if self._message is not None:
            self._tell(self._message)
        self._commands.append(Note(kind, {"reason": reason}))
        self._flush()
        self._drop()

    def _drop(self) -> None:
        """Let go of what was buffered."""
        self._message, self._walker, self._batches = None, None, iter(())
        self._splitter = Splitter(self._limits.message)
        self._charge()

    def _charge(self) -> None:
        """Keep the account; whose unfinished message would exceed it goes."""
        held = self._splitter.held + (self._walker.size if self._walker else 0)
        held += len(self._message.packed) if self._message else 0
        self._account.used += held - self._charged
        self._charged = held
        if self._splitter.held and self._account.used > self._account.most:
            self._stop("too_large", "all connections together buffer too much")
