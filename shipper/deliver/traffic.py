"""What goes to and from the courier: its settings, the events it takes and the commands it gives.

Events are past tense, commands imperative (`model/machine.py`). Sizes are bytes, durations seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.model.payload import Payload

MIB = 1 << 20


class CourierSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one courier. The defaults: four posts of 4 MiB fill the window, and hide the latency of most networks."""

    in_flight_bytes_max: int = 16 * MIB
    """Bodies held at most, queued and in flight; while reached, the agent stops reading (`Courier.is_full`)."""
    post_bytes_max: int = 4 * MIB
    """Documents of one post together; one single document may be larger. Learned smaller from a 413."""
    posts_max: int = 4
    """Posts in flight at a time; 1 keeps strict order, retries included."""
    gather_s: float = 0.0
    """While a post is in flight, how long the queue may gather for another one that is not full. A post costs about as much CPU
    as 200 records in it: sent as they come, small ones are a fifth of the whole."""
    retry_wait_s_first: float = 0.1
    """Back-off: attempt n waits random() * min(retry_wait_s_max, retry_wait_s_first * 2 ** n), "full jitter"
    (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015)."""
    retry_wait_s_max: float = 30.0
    retry_after_s_max: float = 300.0
    """A longer Retry-After is cut to this, so that a wrong one does not stop delivery for a day."""


class Queued(msgspec.Struct, frozen=True):
    """The chain made a payload. The courier owns it from now on."""

    payload: Payload


class Durable(msgspec.Struct, frozen=True):
    """The checkpoint of this generation is on disk: payloads with `durable <= generation` may be sent."""

    generation: int


class Replied(msgspec.Struct, frozen=True):
    """The output answered a post with an HTTP status and a body, read whole and within its cap."""

    post_id: int
    status: int
    body: bytes
    retry_after_s: float | None = None


class Accepted(msgspec.Struct, frozen=True):
    """An output without item statuses took every document of the post."""

    post_id: int


class Failed(msgspec.Struct, frozen=True):
    """No usable answer: `connect`, `timeout`, `tls`, `cut`, `too_large_reply`, `disk`. What was applied is not known."""

    post_id: int
    kind: str


class Buried(msgspec.Struct, frozen=True):
    """The letters of this burial are on disk (fsynced)."""

    burial_id: int


class BurialFailed(msgspec.Struct, frozen=True):
    """The letters could not be written: `full` or the error's name. They will be handed over again after a wait."""

    burial_id: int
    kind: str


class Stopping(msgspec.Struct, frozen=True):
    """The agent ends: nothing new is sent. What is in flight is still settled; the rest stays unsettled at its source."""


Event = Queued | Durable | Replied | Accepted | Failed | Buried | BurialFailed | Stopping


class Post(msgspec.Struct, frozen=True):
    """Send these documents. Answer once, with `Replied`, `Accepted` or `Failed` for `post_id`."""

    post_id: int
    body_parts: list[bytes]
    """Slices of bulk bodies, in order; each holds whole documents and ends in a newline. Not to be changed."""
    documents: int
    size: int
    """Bytes of all parts."""


class Settle(msgspec.Struct, frozen=True):
    """These rows of the ticket have their verdict (`model/verdicts.py`). No row is ever settled twice."""

    ticket: int
    rows: Sequence[int] | None
    """Rows of the batch; None for all of them, where document i is row i."""
    verdict: int
    reason: str
    """Empty, or the type of the error for dead rows: a word of Elasticsearch's, never text that quotes values."""
    indices: Mapping[str, int]
    """Documents by index, for rows created or duplicate; otherwise empty."""


class Letter(msgspec.Struct, frozen=True):
    """A document that the output refuses for good, redacted as it was sent."""

    id: str
    index: str
    document: bytes
    error_type: str
    error_field: str
    status: int


class Bury(msgspec.Struct, frozen=True):
    """Write these letters to the dead letters, fsync, then say `Buried`."""

    burial_id: int
    letters: list[Letter]


class Note(msgspec.Struct, frozen=True):
    """Something for the agent's own log and metrics. Words and numbers only, nothing of a document."""

    kind: str
    """`retry`, `refused`, `recovered`, `unknown_outcome`, `split`, `rejected`, `dead`, `burial_failed`."""
    fields: Mapping[str, str | int | float]


Command = Post | Settle | Bury | Note
