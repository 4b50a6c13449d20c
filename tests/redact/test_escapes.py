"""Escapes: the shadow has the row's positions, the canonical row has the row's meaning."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.redact.escapes import ESCAPED, canonical, shadow, snap

texts = st.text(alphabet='aZ09 @/"\\\n\t\x00\x7füß€😀\u00a0\u2028\ud800', max_size=20)


def escaped(text: str, draw: st.DataObject) -> str:
    """Return a JSON string in which any character may be written as an escape."""
    out = ""
    for sign in json.dumps(text, ensure_ascii=draw.draw(st.booleans()))[1:-1]:
        plain = sign.isascii() and sign.isprintable() and sign not in '"\\' and not out.endswith("\\")
        out += f"\\u{ord(sign):04x}" if plain and sign not in "u0123456789abcdef" and draw.draw(st.booleans()) else sign
    return out.replace("/", draw.draw(st.sampled_from(["/", "\\/"])))


@given(texts.filter(lambda text: "\\/" not in text), st.data())
def test_canonical_means_the_same_json_and_has_no_escape_of_printable_ascii_left(text: str, data: st.DataObject) -> None:
    """Law: decoding gives the same text; what is left needs no rewriting."""
    row = f'{{"a":"{escaped(text, data)}"}}'.encode("utf-8", "surrogatepass")
    made = canonical(row)
    assert json.loads(made.decode("utf-8", "surrogatepass")) == json.loads(row.decode("utf-8", "surrogatepass"))
    assert canonical(made) == made


@given(texts)
def test_canonical_keeps_the_meaning_of_nested_json(text: str) -> None:
    """Law: an inner JSON text keeps its meaning, too, when its escapes are resolved."""
    inner = json.dumps(text).replace("@", "\\u0040").replace("/", "\\u002f")
    row = json.dumps({"a": inner})
    assert json.loads(json.loads(canonical(row.encode()))["a"]) == text


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (rb"\u0040", b"@"),
        (rb"\\u0040", b"@"),
        (rb"\\\u0040", rb"\\@"),
        (rb"\u0022", rb"\""),
        (rb"\u005c", rb"\\"),
        (rb"\u005Cn", rb"\\n"),
        (rb"\\u0022", rb"\\\""),
        (rb"\\u005c", rb"\\\\"),
        (rb"\/", b"/"),
        (rb"\\/", rb"/"),
        (rb"\\\/", rb"\\/"),
        (rb"\\\\\\u0040", rb"\\\\@"),
        (rb"\u007f\u00fc\u001f\n\"", rb"\u007f\u00fc\u001f\n\""),
    ],
)
def test_canonical_respects_the_parity_of_backslashes(row: bytes, wanted: bytes) -> None:
    """A backslash that is itself escaped escapes nothing."""
    assert canonical(row) == wanted
    assert bool(ESCAPED.search(row)) or row == wanted


@given(st.binary(max_size=60) | texts.map(lambda text: json.dumps(text).encode()))
def test_shadow_has_the_length_of_the_row_and_changes_escapes_only(row: bytes) -> None:
    """Law: every position of the shadow is a position of the row."""
    text = shadow(row)
    assert len(text) == len(row)
    if b"\\" not in row:
        assert text is row


@given(texts, st.integers(0, 200), st.integers(0, 200))
def test_snap_never_cuts_an_escape_or_a_character(text: str, first: int, last: int) -> None:
    """Law: a region of a JSON string, snapped and replaced, leaves a JSON string."""
    for ascii_only in (True, False):
        if not ascii_only and "\ud800" in text:
            continue
        row = json.dumps(text, ensure_ascii=ascii_only).encode()
        inside = len(row) - 2
        start, end = sorted((1 + first % (inside + 1), 1 + last % (inside + 1)))
        start, end = snap(shadow(row), start, end)
        assert 1 <= start <= max(end, start) <= len(row) - 1
        if start < end:
            json.loads(row[:start] + b"|" + row[end:])


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (rb"a\nb", b"a \x0cb"),
        (rb"a\\nb", b"a\x01\x02nb"),
        (rb"\"", b"\x04\x05"),
        (rb"\u00fcx", b"\xf5\xff\xff\xff\xff\xffx"),
        (rb"\u00a0x", b" \x0c\x0c\x0c\x0c\x0cx"),
        (rb"\ud83d\ude00", b"\xf5" + b"\xff" * 11),
        (rb"\ud83dx", b"\xf5\xff\xff\xff\xff\xffx"),
        (rb"\x", rb"\x"),
    ],
)
def test_shadow_gives_each_kind_of_escape_the_bytes_a_pattern_reads_rightly(row: bytes, wanted: bytes) -> None:
    """Control characters are blanks, letters beyond ASCII are letters, a surrogate pair is one character."""
    assert shadow(row) == wanted
