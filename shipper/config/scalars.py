"""Scalars: what a plain YAML word means, by the core schema of YAML 1.2 (section 10.3.2).

PyYAML follows YAML 1.1, where `no` is false, `1:30` is 90 and `2026-02-05` a date. Here only `true`, `false`, `null` and
numbers are anything but text.
"""

from __future__ import annotations

import re

_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
NUMBER_CHARACTERS_MAX = 40
"""Longer digits stay text: nothing here is that large, and Python refuses to read very long ones."""


def resolve(text: str) -> object:
    """Return None, a bool, an int, a float or `text` itself."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > NUMBER_CHARACTERS_MAX:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    return text
