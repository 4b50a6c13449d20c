"""Console: prints documents for looking at. Keeps no progress; every run begins anew."""

from __future__ import annotations

import asyncio
import re
import sys
from itertools import islice
from typing import TYPE_CHECKING, TextIO

import orjson

from shipper.config.fields import ComponentConfig
from shipper.deliver.traffic import Accepted, CourierSettings, Post
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_KEY = re.compile(r'^( *)("(?:[^"\\]|\\.)*")(?=: )', re.MULTILINE)
# What a terminal may take for a command although JSON lets it stand: DEL and the C1 controls (ECMA-48, 8-bit CSI is U+009B).
_CONTROLS = re.compile("[\x7f-\x9f]")
_BOLD, _BLUE, _PLAIN = "\x1b[1m", "\x1b[34m", "\x1b[0m"
_COLOURED = rf"\1{_BLUE}\2{_PLAIN}"
_LINES_A_PAIR = 2


class Console:
    """Print documents to standard output, indented, with colours where that is a terminal."""

    kind = "console"
    keeps_state = False
    destination = "console"

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of the output `console`: none."""

    def __init__(self, config: Config, out: TextIO | None = None) -> None:
        """`out` is standard output unless given."""
        self._config = config
        self._out = out if out is not None else sys.stdout
        self._is_colourful = self._out.isatty()

    def describe(self) -> str:
        """For people."""
        return "standard output"

    def courier_settings(self) -> CourierSettings:
        """One post at a time, small ones: what is seen is in order and soon."""
        return CourierSettings(posts_max=1, post_bytes_max=256 * 1024)

    async def restore(self, state: Mapping[str, int] | None) -> None:
        """Nothing to restore."""

    async def open(self) -> None:
        """Nothing to open."""

    def state(self) -> Mapping[str, int]:
        """None."""
        return {}

    async def sync(self) -> None:
        """Nothing to make durable."""

    async def close(self) -> None:
        """Nothing to close."""

    async def post(self, post: Post) -> Accepted:
        """Print a post's documents. Raises HostError when nobody reads standard output any more."""
        try:
            await asyncio.to_thread(self._print, post.body_parts)
        except OSError:
            raise HostError("standard output was closed") from None
        return Accepted(post.post_id)

    def _print(self, parts: Sequence[bytes]) -> None:
        """Runs in a thread, as a pipe may block."""
        for part in parts:
            self._out.write("".join(map(self._pretty, *_columns(part))))
        self._out.flush()

    def _pretty(self, action: bytes, document: bytes) -> str:
        """One document: its index, then the fields."""
        index = str(orjson.loads(action)["create"]["_index"])
        try:
            shown = orjson.dumps(orjson.loads(document), option=orjson.OPT_INDENT_2)
        except orjson.JSONDecodeError:  # a number beyond a double: as it stands
            shown = document
        text = _CONTROLS.sub(_escape, shown.decode())
        if not self._is_colourful:
            return f"{index}\n{text}\n"
        return f"{_BOLD}{index}{_PLAIN}\n{_KEY.sub(_COLOURED, text)}\n"


def _columns(part: bytes) -> tuple[Iterator[bytes], Iterator[bytes]]:
    """Action lines and document lines."""
    lines = part.split(b"\n")[:-1]
    return islice(lines, 0, None, _LINES_A_PAIR), islice(lines, 1, None, _LINES_A_PAIR)


def _escape(found: re.Match[str]) -> str:
    """As JSON would write it."""
    return f"\\u{ord(found[0]):04x}"
