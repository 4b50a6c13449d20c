"""Lines: framing laws against a naive reader, and each kind of line once."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.frame.lines import Lines, as_utf8, plain
from tests.kit.records import Found, cut_in_windows, found_in, window_sizes

BOM = b"\xef\xbb\xbf"
pieces = st.sampled_from(
    [
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\0\0\0",
        BOM,
        b'{"a":1}',
        b"x",
        b" ",
        "\u00fc".encode(),
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
    ]
)
sources = st.lists(pieces, max_size=30).map(b"".join) | st.binary(max_size=80)


def naive(source: bytes) -> tuple[list[Found], Counter[str]]:
    """The rules of the module, one line after the other."""
    found: list[Found] = []
    skipped: Counter[str] = Counter()
    for line in re.finditer(rb"[^\n]*\n|[^\n]+", source):
        text, marks = line[0], []
        if text.endswith(b"\n"):
            text = text[:-1]
        else:
            marks.append("unterminated")
        if text.endswith(b"\r"):
            text = text[:-1]
        if line.start() == 0 and text.startswith(BOM):
            text = text[3:]
        nuls = text.count(0)
        text = bytes(byte for byte in text if byte)
        try:
            text.decode()
        except UnicodeDecodeError:
            marks.append("invalid_utf8")
            text = "".join(
                chr(ord(char) - 0xDC00) if "\udc80" <= char <= "\udcff" else char
                for char in text.decode("utf-8", "surrogateescape")
            ).encode()
        skipped["nul"] += nuls
        if text:
            found.append((line.start(), line.end(), text, tuple(marks)))
        else:
            skipped["blank"] += line.end() - line.start() - nuls
    return found, +skipped


@settings(deadline=None)
@given(sources, window_sizes)
def test_records_are_those_of_a_naive_reader_however_the_source_is_cut(source: bytes, sizes: list[int]) -> None:
    """The same spans, texts, marks and counts of skipped bytes for any windows, resumed at any record."""
    assert cut_in_windows(Lines(), source, sizes) == naive(source)


@settings(deadline=None)
@given(sources, window_sizes)
def test_every_byte_is_in_one_record_or_counted_when_a_source_is_read(source: bytes, sizes: list[int]) -> None:
    """Spans are ordered and disjoint; what lies outside of them is what was counted as skipped."""
    found, skipped = cut_in_windows(Lines(), source, sizes)
    at, inside = 0, 0
    for start, stop, _, _ in found:
        assert at <= start < stop <= len(source)
        at, inside = stop, inside + source[start:stop].count(0)
    outside = len(source) - sum(stop - start for start, stop, _, _ in found)
    assert outside == skipped.total() - inside


@settings(deadline=None)
@given(sources)
def test_an_unfinished_line_is_left_when_more_may_follow(source: bytes) -> None:
    """Without `final` exactly the terminated lines are taken."""
    cut = Lines().cut(source, 0, final=False)
    assert cut.next_offset == source.rfind(b"\n") + 1
    assert [one[:3] for one in found_in(cut, 0)] == [one[:3] for one in naive(source[: cut.next_offset])[0]]


@settings(deadline=None)
@given(st.lists(st.sampled_from([b'{"a":1}', b"x\ry", "\u00fc".encode()]), min_size=1))
def test_a_common_block_goes_on_as_the_same_object(rows: list[bytes]) -> None:
    """Nothing is copied where every line is a record as it stands."""
    block = b"\n".join(rows) + b"\n"
    cut = Lines().cut(block, 10, final=False)
    assert cut.block is block
    assert (cut.count, cut.origin, cut.flags, cut.skipped) == (len(rows), None, {}, {})
    assert plain(block, 10) == [row + b"\n" for row in rows]


@settings(deadline=None)
@given(st.binary(max_size=20))
def test_stray_bytes_can_be_turned_back_when_the_text_is_ascii_besides(row: bytes) -> None:
    """Each byte that is not UTF-8 becomes the character of its number, as Latin-1 has it."""
    stray = bytes(byte if byte < 0x80 else byte & 0xBF | 0x80 for byte in row)  # continuation bytes alone are never UTF-8
    assert as_utf8(stray).decode().encode("latin-1") == stray


@pytest.mark.parametrize(
    ("source", "expected", "skipped"),
    [
        (b"", [], {}),
        (b"\n", [], {"blank": 1}),
        (b"\r\n\n", [], {"blank": 3}),
        (b"a", [(0, 1, b"a", ("unterminated",))], {}),
        (b"a\r\nb\n", [(0, 3, b"a", ()), (3, 5, b"b", ())], {}),
        (b"a\rb\n", [(0, 4, b"a\rb", ())], {}),
        (b"\0\0\0\n", [], {"nul": 3, "blank": 1}),
        (b'\0\0{"a":1}\n', [(0, 10, b'{"a":1}', ())], {"nul": 2}),
        (BOM + b"a\n" + BOM + b"b\n", [(0, 5, b"a", ()), (5, 10, BOM + b"b", ())], {}),
        (BOM + b"\n", [], {"blank": 4}),
        (b"Stadtwerke W\xfclfrath\n", [(0, 20, "Stadtwerke W\u00fclfrath".encode(), ("invalid_utf8",))], {}),
        (b"\xff\xfe", [(0, 2, "\u00ff\u00fe".encode(), ("unterminated", "invalid_utf8"))], {}),
        (b" \n", [(0, 2, b" ", ())], {}),
    ],
)
def test_a_line_becomes_its_record_when_it_is_of_a_known_kind(
    source: bytes, expected: list[Found], skipped: dict[str, int]
) -> None:
    """CRLF, lone CR, blank lines, NUL runs, byte order marks, invalid UTF-8, no newline at the end."""
    cut = Lines().cut(source, 0, final=True)
    assert found_in(cut, 0) == expected
    assert dict(cut.skipped) == skipped
    assert cut.next_offset == len(source)
