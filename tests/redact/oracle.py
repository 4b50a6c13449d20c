"""The gate as it would be written first: every rule with plain `re` over every row, no screen, no windows, no shortcuts.

It shares the rules' exact patterns, validators, the escapes and the search for named values with the gate; what it does again in the simplest
way is where to look, how hits are merged, and how rows are rebuilt.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from shipper.redact.escapes import canonical, shadow, snap
from shipper.redact.keys import MASKED, KeyFinder
from shipper.redact.packs import chosen_rules
from shipper.redact.rule import NESTED_ESCAPE, KeyRule, Rule, at_boundary
from shipper.redact.validators import VALIDATORS

if TYPE_CHECKING:
    from shipper.redact.settings import RedactConfig


class Oracle:
    """Redacts single rows under the action `mask`."""

    def __init__(self, config: RedactConfig) -> None:
        """Take the configuration a gate was made with."""
        self.rules = chosen_rules(config)
        self.keys = KeyFinder([(number, rule) for number, rule in enumerate(self.rules) if isinstance(rule, KeyRule)])

    def redact(self, row: bytes) -> bytes:
        """Return the row with every hit masked; unchanged, escapes too, where there is none."""
        text = canonical(row)
        hits = self.hits(text)
        return self._painted(text, hits) if hits else row

    def hits(self, row: bytes) -> list[tuple[int, int, int, bool]]:
        """Return (start, -end, rule, literal) of all hits of all rules, sorted."""
        text = shadow(row)
        found: list[tuple[int, int, int, bool]] = []
        for number, rule in enumerate(self.rules):
            if isinstance(rule, Rule):
                found += [(*snap(text, *span), number, False) for span in value_hits(rule, text)]
        past = 0
        for place, sign in enumerate(row):
            if sign in b":=" and place >= past and (value := self.keys.find(row, text, place + 1)):
                past = value.end
                found.append((*snap(text, value.start, value.end), value.rule, value.literal))
        return sorted((start, -end, number, literal) for start, end, number, literal in found)

    def _painted(self, row: bytes, hits: list[tuple[int, int, int, bool]]) -> bytes:
        """Give every byte the first hit that reaches it by overlapping, then write one mask for each run of a colour."""
        text, valid = shadow(row), is_valid(row)
        colour: list[tuple[int, int, int, bool] | None] = [None] * len(row)
        for hit in hits:
            start, end = hit[0], -hit[1]
            first = next((colour[place] for place in range(start, end) if colour[place]), None) or hit
            colour[start:end] = [first] * (end - start)
            if colour[start] is not None and -first[1] < end:
                joined = (first[0], -end, first[2], first[3] and hit[3])
                colour[first[0] : end] = [joined] * (end - first[0])
        out, at = b"", 0
        while at < len(row):
            hit = colour[at]
            if hit is None:
                out, at = out + row[at : at + 1], at + 1
                continue
            end = at
            while end < len(row) and colour[end] == hit:
                end += 1
            bare = valid and text.count(b'"', 0, at) % 2 == 0
            out += b"null" if hit[3] or bare else b"[REDACTED:%s]" % self.rules[hit[2]].id.encode()
            at = end
        return out.replace(out.strip(), b'"%s"' % out.strip()) if row.strip().isdigit() and len(hits) == 1 else out


_COMPILED: dict[int, tuple[Rule, tuple[re.Pattern[bytes], bool], re.Pattern[bytes] | None]] = {}


def compiled(rule: Rule) -> tuple[tuple[re.Pattern[bytes], bool], re.Pattern[bytes] | None]:
    """Return a rule's exact pattern and exception, compiled once for each rule there is."""
    if id(rule) not in _COMPILED:
        _COMPILED[id(rule)] = rule, rule.exact(), rule.exception()
    return _COMPILED[id(rule)][1:]


def value_hits(rule: Rule, text: bytes) -> list[tuple[int, int]]:
    """Return where a rule's pattern holds in a shadow, leftmost first, a refused match tried again one byte further."""
    (pattern, bounded), unless = compiled(rule)
    check = VALIDATORS[rule.validator]
    spans, start = [], 0
    while found := pattern.search(text, start):
        first, last = found.span(rule.group)
        start = found.start() + 1
        if rule.before:
            while first > 0 and text[first - 1] in rule.run_before() and found.start() - first < 256:
                first -= 1
            if first == found.start():
                continue
            if first and (escape := NESTED_ESCAPE.match(text, first - 1, found.start())) and escape.end() < found.start():
                first = escape.end()
        if (masked := MASKED.match(text, first)) and masked.end() >= last:
            continue
        if first >= 0 and (not bounded or at_boundary(text, found.start())) and (kept := check(text[first:last])):
            if unless and unless.search(text[: first + kept], max(0, first - 64)):
                continue
            spans.append((first, first + kept))
            start = max(start, found.end() if kept == last - first else first + kept)
    return spans


def is_valid(row: bytes) -> bool:
    """Return whether the row is a JSON object or array."""
    try:
        return isinstance(msgspec.json.decode(row), dict | list)
    except ValueError:
        return False
