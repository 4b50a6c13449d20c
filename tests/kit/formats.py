"""Formats: what every text format keeps, whatever its lines say. Used by the tests of the decoders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from shipper.decode.layout import TextDecoder
from tests.kit.records import PlainGate, batch_of

Document = tuple[dict[str, Any], str, dict[str, object]]
"""A record, its flags in one text, and its columns."""

texts = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=10)
hostile = st.sampled_from(
    ['"', "\\", "\x00", "\x01", "\x1b[0m", "[", "]", " - ", " ", "", "=", "'", "\ufffd", "ü", "{", "\r", "\t", '" "']
)
anything = st.lists(texts | hostile, max_size=6).map("".join)
"""Any text on one line, rich in what formats are made of."""


def damaged(line: str) -> st.SearchStrategy[str]:
    """A line with something cut out, put in or repeated."""
    at = st.integers(0, len(line))
    return st.builds(lambda a, b, put: line[: min(a, b)] + put + line[max(a, b) :], at, at, hostile | texts) | st.builds(
        lambda a, put: line[:a] + put + line[a:], at, hostile | texts
    )


def wrapped(text: str) -> bytes:
    """A record of several lines, as a frame puts it together."""
    return b'{"message":%b}' % json.dumps(text, ensure_ascii=False).encode()


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), names
    return dict(pairs)


def documents(decoder: TextDecoder, lines: Sequence[bytes], reads: Sequence[str] = ()) -> list[Document]:
    """What a decoder makes of some lines. No member comes twice, and a column says what the record says."""
    columns = decoder.decode(PlainGate({}).admit(batch_of(lines, 0)))
    names = [*reads, "@timestamp", *(member.name for member in decoder.members)]
    found = []
    for row, text in enumerate(columns.rows):
        record = json.loads(text + b"}", object_pairs_hook=_members)
        told = {name: columns.column(name)[row] for name in names}
        assert {name: told[name] for name in names if name in record} == {name: record[name] for name in names if name in record}
        absent = [name for name in names if name not in record and name.partition(".")[0] not in record]
        assert [name for name in absent if name != "@timestamp" and told[name]] == []
        found.append((record, " ".join(columns.flags.get(row, ())), told))
    return found


class Plainly:
    """A decoder whose lines all go the careful way."""

    def __init__(self, decoder: TextDecoder) -> None:
        """Take the decoder; it is not changed for others."""
        self.decoder = decoder

    def documents(self, lines: Sequence[bytes], reads: Sequence[str] = ()) -> list[Document]:
        """As `documents`."""
        self.decoder.quick = lambda _lines: None  # type: ignore[method-assign]
        try:
            return documents(self.decoder, lines, reads)
        finally:
            del self.decoder.quick


def hold_together(decoder: TextDecoder, lines: Sequence[bytes], reads: Sequence[str] = ()) -> list[Document]:
    """The documents of some lines; each is the one that its line gives alone, and the one that the careful way gives."""
    found = documents(decoder, lines, reads)
    assert found == [documents(decoder, [line], reads)[0] for line in lines]
    assert found == Plainly(decoder).documents(lines, reads)
    return found
