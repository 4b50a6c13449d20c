"""Syntax: what PyYAML says about broken YAML, in the words of somebody who wrote a pipeline.

libyaml names the place where it gave up, which for an open quote is the end of the file; its context mark is the beginning.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml

_QUOTE = "a value with one of { } [ ] , inside of { } or [ ] needs quotes"
_INDENT = "look at the indentation: keys of one mapping begin in the same column"
_EXPLAINED = (
    ("mapping values are not allowed", "a second `:` in one value", 'a value with ": " in it needs quotes'),
    ("found unknown escape character", "unknown escape in double quotes", r"write the backslash twice, or use single quotes"),
    ("found a tab character", "a tab cannot indent YAML", "indent with spaces"),
    ("expected alphabetic or numeric", "expected a name after * or &", 'a value that begins with * or & needs quotes: "*.log"'),
    ("expected ',' or '}'", "expected , or }", _QUOTE),
    ("expected ',' or ']'", "expected , or ]", _QUOTE),
    ("expected '-' indicator", "expected - for the next item of the list", _INDENT),
    ("did not find expected key", "expected a key", _INDENT + "; text after a closing quote needs quotes too"),
    ("could not find expected ':'", "expected : after the key", "write `key: value`, with a blank after the colon"),
    ("exceeded maximum nesting depth", "more than 64 levels of nesting", ""),
    ("found incompatible YAML document", "unknown version of YAML", "leave the %YAML line out"),
)
_START = re.compile(r"\S\S*")


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[int, int, str, str]:
    """Return (start, stop, message, hint) for an error of the parser."""
    mark, context = error.problem_mark, error.context_mark
    problem = error.problem or "this is not YAML"
    if context is not None and ("unexpected end of stream" in problem or "document indicator" in problem):
        return context.index, _line_end(text, context.index), "this quote is never closed", ""
    start = mark.index if mark is not None else 0
    if "cannot start any token" in problem:
        return _token(text, start)
    for part, message, hint in _EXPLAINED:
        if part in problem:
            return start, start + 1, message, hint
    return start, start + 1, f"{problem} {error.context or ''}".strip(), ""


def _token(text: str, start: int) -> tuple[int, int, str, str]:
    character = text[start : start + 1]
    if character == "\t":
        return start, start + 1, "a tab cannot indent YAML", "indent with spaces"
    found = _START.match(text, start)
    stop = found.end() if found else start + 1
    return start, stop, f"a value cannot begin with {character}", "put it in quotes"


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
