"""Conditions row by row, in the plainest way: the oracle of `when`; and what may be asked of a field.

What is a level or an address, their modules say.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from shipper.model import level
from shipper.model.address import parsed_address
from tests.kit.laws import hostile

LEVEL_FIELDS = ("level", "log.level")


def holds(condition: Mapping[str, Any], row: Mapping[str, object]) -> bool:
    """Whether a condition holds for one row."""
    return all(_term_holds(key, value, row) for key, value in condition.items())


def _term_holds(key: str, value: Any, row: Mapping[str, object]) -> bool:
    if key == "has":
        return all(row.get(field) is not None for field in (value if isinstance(value, list) else [value]))
    if key == "not":
        return not holds(value, row)
    if key in ("any", "all"):
        return {"any": any, "all": all}[key](holds(part, row) for part in value)
    found = row.get(key)
    if isinstance(value, dict):
        return all(_asked(name, operand, found) for name, operand in value.items())
    return any(_equal(key, found, item) for item in (value if isinstance(value, list) else [value]))


def _equal(field: str, found: object, item: object) -> bool:
    if field in LEVEL_FIELDS and level_of(item) is not None:
        return level_of(found) == level_of(item)
    if isinstance(found, (list, dict)) or isinstance(found, bool) != isinstance(item, bool):
        return False
    return found == item


def level_of(value: object) -> int | None:
    """The rank of the level that a value names."""
    return level.rank(value, level.numbers_of("level") or {})


def _asked(name: str, operand: Any, found: object) -> bool:
    if name in ("gt", "gte", "lt", "lte"):
        return _compares(name, operand, found)
    words = operand if isinstance(operand, list) else [operand]
    return isinstance(found, str) and any(TEXT_TESTS[name](found, word) for word in words)


def _compares(name: str, operand: Any, found: object) -> bool:
    if isinstance(operand, str):
        rank, wanted = level_of(found), level_of(operand)
        return rank is not None and wanted is not None and _compare(name, rank, wanted)
    return isinstance(found, (int, float)) and not isinstance(found, bool) and _compare(name, found, operand)


def _compare(name: str, found: float, bound: float) -> bool:
    return {"gt": found > bound, "gte": found >= bound, "lt": found < bound, "lte": found <= bound}[name]


def _in_network(found: str, network: str) -> bool:
    address = parsed_address(found)
    return address is not None and address in ipaddress.ip_network(network)


TEXT_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
    "glob": fnmatch.fnmatchcase,
    "regex": lambda found, pattern: re.search(pattern.replace("$", r"\Z"), found, re.ASCII) is not None,
    "cidr": _in_network,
}

SCALARS = st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, 2.5, 30, "ERROR", "warn", "INFO", "", "1", "eror"])
_WORDS = st.sampled_from(["a", "ab", "b\n", "\nb", "ERR", "/api/", "ü", "\u2028", "x" * 300])
_GLOBS = [
    "*",
    "a*",
    "*b",
    "*a*",
    "ab",
    "?",
    "a?",
    "[ab]*",
    "[!a]?",
    "**",
    "*a*b*",
    "[",
    "[]]",
    "*[*]",
    "/a*/*",
    "ü*",
    "a.b",
    "[a^]*",
]
_PATTERNS = [
    *(
        "a",
        "^a",
        "b$",
        "^$",
        "a|b",
        r"\d+",
        "(?i)err",
        r"^a.*b$",
        "[^a]",
        "(a)(b)?",
        r"\bb",
        "ü+",
        r"\Aa",
        "(?s)a.b",
        "a\nb",
        "(?i-m:A)",
    ),
]
_NETWORKS = ["10.0.0.0/8", "81.2.69.142", "2001:218::/32", "::/0", "1.128.0.0/11", "0.0.0.0/0"]
_BOUNDS = st.sampled_from([0, 1, 2.5, -1e308, 10**30])


def _several(words: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    return words | st.lists(words, min_size=1, max_size=3)


OPERANDS: Mapping[str, st.SearchStrategy[object]] = {
    **{name: _several(_WORDS) for name in ("prefix", "suffix", "contains")},
    "glob": _several(st.sampled_from(_GLOBS)),
    "regex": _several(st.sampled_from(_PATTERNS)),
    "cidr": _several(st.sampled_from(_NETWORKS)),
    **{name: _BOUNDS for name in ("gt", "gte", "lt", "lte")},
}
"""What the operators may be given."""
ASKED = st.one_of(
    *(st.fixed_dictionaries({name: operand}) for name, operand in OPERANDS.items()),
    st.fixed_dictionaries({"gte": _BOUNDS, "lt": _BOUNDS}),
    st.fixed_dictionaries({"prefix": OPERANDS["prefix"], "regex": OPERANDS["regex"]}),
)
"""What may be asked of a field."""
TEXTS = [
    "a",
    "ab",
    "a\nb",
    "b",
    "axb\n",
    "ERR",
    "Fatal ",
    "3",
    "10.1.2.3",
    "::ffff:10.1.2.3",
    "/api/x",
    "ü\u2028",
    "a[",
    "x" * 301,
    "",
]
VALUES = SCALARS | st.sampled_from(TEXTS) | st.just([1]) | st.just({"a": 1}) | hostile | st.text("ab\n/üE1.", max_size=6)
"""Values of a field."""
