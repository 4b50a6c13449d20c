"""The source `stdin`: `program | shipper run -`. A record a line, kept in a spool until it is delivered."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shipper.config.fields import ComponentConfig, Size
from shipper.source.push import SPOOL_BYTES_MIN


class Stdin:
    """Take the lines of standard input.

    They are durable in the agent's spool before more is read, and the run ends when the input has ended and all is delivered.
    One pipeline of an agent may have it.
    """

    inlet = "pipe"

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of the source stdin."""

        spool: Annotated[Size, msgspec.Meta(ge=SPOOL_BYTES_MIN)] = Size(256 << 20)
        """Bytes on disk for what is read and not yet delivered, 16MiB at least; when it is full, nothing is read."""
        when_full: Literal["block"] = "block"
        """Nothing is dropped: the writer waits."""
