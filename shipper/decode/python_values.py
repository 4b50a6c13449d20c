r"""Python values: what `repr` wrote of them, and where it ends, as JSON.

RULES
- Texts in quotes, numbers, `True`, `False`, `None`, lists, tuples and dicts of these become JSON; everything else is a text as it
  stands: `UUID('…')`, `<Job 7>`, sets, `nan`, dicts whose keys are no texts, and what is nested deeper than 20 levels.
- A number that JSON cannot have, or of more than 40 digits, is a text.
- A lone surrogate becomes U+FFFD, as UTF-8 has no such characters.
"""

from __future__ import annotations

import re
from math import isfinite

import orjson

_QUOTED = r"'[^'\\]*+(?:\\.[^'\\]*+)*+'|\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\""
_STRING = re.compile(_QUOTED, re.DOTALL)
_ESCAPE = re.compile(r"\\(?:([\\'\"nrt])|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
_CHARACTERS = {"n": "\n", "r": "\r", "t": "\t"}
NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,39})(?:\.\d{1,40})?(?:e[+-]?\d{1,3})?", re.ASCII)
_WORDS = {"True": "true", "False": "false", "None": "null"}
_PART = re.compile(rf"\s*(?:({_QUOTED})|({NUMBER.pattern})|(True|False|None)|([\[({{])|([\])}}])|([,:]))", re.DOTALL | re.ASCII)
_CLOSED = {"[": "]", "(": ")", "{": "}"}
_SIMPLE = re.compile(r"[^ '\"\[\](){}<>]*+(?= |\Z)")
_MARK = re.compile(r"'[^'\\]*+(?:\\.[^'\\]*+)*+('?)|\"[^\"\\]*+(?:\\.[^\"\\]*+)*+(\"?)|[\[({<]|[\])}>]| ", re.DOTALL)
"""What counts where a value is looked through; a quote that is not closed goes on to the end."""
_LENGTH_MAX = 1 << 16
"""Characters of a value with quotes or brackets; one that is longer does not close."""
_NESTED_MAX = 20
"""Objects that are deeper are refused by Elasticsearch (`index.mapping.depth.limit`)."""


def end_of(text: str, start: int) -> int:
    """Where a value ends that begins at `start`: at the first blank outside of quotes and brackets, or at the end.

    -1 where quotes or brackets do not close.
    """
    if simple := _SIMPLE.match(text, start):
        return simple.end()
    depth = 0
    for mark in _MARK.finditer(text, start, start + _LENGTH_MAX):
        found = mark[0]
        if found == " " and not depth:
            return mark.start()
        if found in "[({<":
            depth += 1
        elif found in "])}>":
            depth = max(depth - 1, 0)
        elif found[0] in "'\"" and not mark[1] and not mark[2]:
            return -1
    return -1 if depth or len(text) > start + _LENGTH_MAX else len(text)


def as_json(text: str) -> bytes:
    """What a value says, as JSON."""
    if NUMBER.fullmatch(text):
        return text.encode() if "e" not in text or isfinite(float(text)) else orjson.dumps(text)
    if text in _WORDS:
        return _WORDS[text].encode()
    if text[:1] in ("'", '"') and _STRING.fullmatch(text):
        return orjson.dumps(unquoted(text))
    if text[:1] in _CLOSED:
        return _container(text) or dumped(text)
    return dumped(text)


def unquoted(text: str) -> str:
    """A text in quotes without them, and without its escapes."""
    inner = text[1:-1]
    return sound(_ESCAPE.sub(_character, inner)) if "\\" in inner else inner


def dumped(text: str) -> bytes:
    """A text as JSON."""
    return orjson.dumps(text)


def sound(text: str) -> str:
    """The text without lone surrogates."""
    return re.sub(r"[\ud800-\udfff]", "\ufffd", text)


def _character(escape: re.Match[str]) -> str:
    if escape[1]:
        return _CHARACTERS.get(escape[1], escape[1])
    code = int(escape[2] or escape[3] or escape[4], 16)
    return chr(code) if code <= 0x10FFFF else escape[0]


def _container(text: str) -> bytes:
    """A list, tuple or dict as JSON; nothing for what is none."""
    parts: list[str] = []
    around: list[str] = []
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or len(around) > _NESTED_MAX:
            return b""
        string, number, word, opened, closed, mark = part.groups()
        if string:
            parts.append(orjson.dumps(unquoted(string)).decode())
        elif opened:
            around.append(_CLOSED[opened])
            parts.append("[" if opened == "(" else opened)
        elif closed:
            if not around or around.pop() != closed:
                return b""
            if closed == ")" and parts[-1] == ",":
                parts.pop()
            parts.append("]" if closed == ")" else closed)
        else:
            parts.append(number or _WORDS.get(word or "", mark))
        at = part.end()
    try:
        return orjson.dumps(orjson.loads("".join(parts)))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return b""
