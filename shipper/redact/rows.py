"""Rows: redact one row, given where the screen fired in it.

THEORY
For each rule the exact pattern is searched from `reach` bytes before the screen's end, on the shadow of the row; what it finds
is what `finditer` over the whole row would find, since every match contains an end. A match the validator refuses is retried one
byte further. The regions of all rules are then merged where they overlap (leftmost first, then the longest, then the rule
listed first gives the name), fitted into the JSON around them, and replaced.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from shipper.redact.action import STRICTNESS, Replacer
from shipper.redact.escapes import CONTINUE_BACKSLASH, shadow, snap
from shipper.redact.keys import MASKED, KeyFinder, is_json
from shipper.redact.members import enclosing, in_key, members, removals
from shipper.redact.pem import is_open
from shipper.redact.rule import NESTED_ESCAPE, KeyRule, Rule, at_boundary
from shipper.redact.validators import VALIDATORS, Validator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.redact.screen import Hits

KEYS = 1 << 16
"""The number under which the screen of all key rules reports."""

EVERYWHERE = -1
"""The end of a hit that stands for the whole row."""

_RUN_MAX = 256
BEFORE_MAX = 64
"""Bytes before a hit that `unless` sees."""
_FLAGS_MAX = 32
_LITERAL = re.compile(rb"[0-9.eE+-]+|true|false")
_LITERAL_CHARACTERS = b"0123456789.eE+-truefalsn"
_SEPARATOR = re.compile(rb"[:=]")


Edits = list[tuple[int, int, bytes]]
"""(start, end, replacement), in order, without overlap."""


class _Search(NamedTuple):
    """A rule compiled: `bounded` says that `at_boundary` must hold at its start."""

    pattern: re.Pattern[bytes]
    bounded: bool
    validator: Validator | None
    group: int
    reach: int
    before: bytes
    longest: int
    unless: re.Pattern[bytes] | None


class Region(msgspec.Struct, gc=False):
    """A part of a row to be replaced."""

    start: int
    end: int
    number: int
    """The rule that names it."""
    action: str
    literal: bool = False
    """Whether it is a whole JSON value other than a string: it becomes null."""


class Redacted(msgspec.Struct, gc=False):
    """What became of a row."""

    edits: Edits = []
    """(start, end, replacement) in the row, in order."""
    hits: list[str] = []
    """A rule id for each region."""
    flags: tuple[str, ...] = ()
    dropped: str = ""
    """The rule that drops the whole row."""
    open_block: int = -1
    """Where a block began (see `pem.py`) whose end is not in the row."""


NOTHING = Redacted()
"""A row with nothing to redact. Never changed."""


class RowRedactor:
    """The rules, compiled for use on rows."""

    def __init__(
        self, rules: Sequence[Rule | KeyRule], behind: Mapping[int, tuple[int, ...]], keys: KeyFinder, hash_key: bytes
    ) -> None:
        """Take the rules in order of precedence; `behind` says which stand behind a number the screen reports."""
        self.rules = rules
        self.behind = behind
        self._keys = keys
        self._searches: dict[int, _Search] = {}
        self._actions = [rule.action for rule in rules]
        kinds = [rule.validator if isinstance(rule, Rule) else "none" for rule in rules]
        self._replacers = [Replacer(rule.id, kind, hash_key) for rule, kind in zip(rules, kinds, strict=True)]
        self.block_rule = kinds.index("pem") if "pem" in kinds else -1
        """The rule whose hits may go on in following rows, or -1."""

    def redact(self, row: bytes, hits: Hits, extra: Sequence[tuple[int, int]] = ()) -> Redacted:
        """Redact `row`; `hits` are the screen's (end, number) in it, ordered; `extra` are more regions of the block rule."""
        text = shadow(row) if b"\\" in row else row
        regions = self._regions(row, text, hits)
        if extra:
            regions += [self._region(text, start, end, self.block_rule) for start, end in extra]
        if not regions:
            return NOTHING
        if len(regions) > 1:
            regions = _merged(regions)
        simple = self._masked_in_string(text, regions[0]) if len(regions) == 1 else None
        return simple or self._replaced(row, text, regions)

    def every_place(self, row: bytes) -> Hits:
        """Hits that make `redact` search the whole row for every rule: what to do without a screen."""
        hits = [(found.end(), KEYS) for found in _SEPARATOR.finditer(row)]
        return [(EVERYWHERE, number) for number in self.behind] + hits

    def _regions(self, row: bytes, text: bytes, hits: Hits) -> list[Region]:
        regions: list[Region] = []
        done: dict[int, int] = {}
        for end, reported in hits:
            if reported == KEYS:
                if done.get(KEYS, 0) < end and (found := self._keys.find(row, text, end)):
                    done[KEYS] = found.end
                    regions.append(self._region(text, found.start, found.end, found.rule, literal=found.literal))
                continue
            for number in self.behind[reported]:
                past = done.get(number, 0)
                if end == EVERYWHERE or past < end:
                    done[number] = self._search(text, end, number, past, regions)
        return regions

    def _search(self, text: bytes, end: int, number: int, past: int, regions: list[Region]) -> int:
        """Search for one rule, add what is found; return up to where the row is dealt with for this rule."""
        pattern, bounded, validator, group, reach, before, longest, unless = self._searches.get(number) or self._made(number)
        start = past if reach < 0 or end == EVERYWHERE or end - reach < past else end - reach
        stop = end + longest if longest and end != EVERYWHERE else len(text)
        while found := pattern.search(text, start, stop):
            first, last = found.span(group)
            start, past = found.start() + 1, found.end()
            if before:
                first = _run_start(text, first, before)
                if first == start - 1:
                    continue
            if (
                first >= last
                or (bounded and not at_boundary(text, start - 1))
                or (text[first] == 0x5B and (masked := MASKED.match(text, first)) and masked.end() >= last)
            ):
                continue
            kept = validator(text[first:last]) if validator else last - first
            if kept == 0:
                continue
            if kept < last - first:
                last = past = first + kept
            if unless and unless.search(text, max(0, first - BEFORE_MAX), last):
                continue
            regions.append(self._region(text, first, last, number))
            start = max(past, start)
            if end != EVERYWHERE:
                return start
        return end if stop < len(text) else len(text) + 1

    def _made(self, number: int) -> _Search:
        """Compile a rule when it first fires: most never do."""
        rule = self.rules[number]
        assert isinstance(rule, Rule)
        pattern, bounded = rule.exact()
        validator = None if rule.validator in ("none", "pem") else VALIDATORS[rule.validator]
        made = self._searches[number] = _Search(
            pattern, bounded, validator, rule.group, rule.reach, rule.run_before(), rule.longest, rule.exception()
        )
        return made

    def _region(self, text: bytes, start: int, end: int, number: int, *, literal: bool = False) -> Region:
        if text[start] > 0x7E or text[start] < 0x20 or (end < len(text) and (text[end] > 0x7E or text[end] < 0x20)):
            start, end = snap(text, start, end)
        return Region(start, end, number, self._actions[number], literal)

    def _masked_in_string(self, text: bytes, region: Region) -> Redacted | None:
        """The common case at once: one hit, to be masked, within one string of a JSON row, or in plain text."""
        start, end, number = region.start, region.end, region.number
        if region.action != "mask" or region.literal or number == self.block_rule:
            return None
        mask = self._replacers[number].mask
        if text.count(b'"', 0, start) & 1 == 0 or text.find(b'"', start, end) >= 0:
            if is_json(text):
                return None
            if text[start:end].isdigit() and len(text.strip()) == end - start:
                mask = b'"%s"' % mask  # a row that is nothing but a number is JSON, too
        return Redacted([(start, end, mask)], [self.rules[number].id])

    def _replaced(self, row: bytes, text: bytes, regions: list[Region]) -> Redacted:
        outcome = Redacted()
        for region in regions:
            outcome.hits.append(self.rules[region.number].id)
            if region.action == "drop_event":
                outcome.dropped = self.rules[region.number].id
            if region.number == self.block_rule and is_open(row[region.start : region.end]):
                outcome.open_block = region.start
        if outcome.dropped:
            outcome.edits = [(0, len(row), b"{}")]
        elif is_json(row) and _is_valid(row):
            self._edit_json(row, text, _fitted(text, regions), outcome)
        else:
            outcome.edits = [(region.start, region.end, self._replacement(row, text, region)) for region in regions]
        return outcome

    def _edit_json(self, row: bytes, text: bytes, regions: list[Region], outcome: Redacted) -> None:
        """Replace within valid JSON so that it stays valid, has no key twice, and says which fields became null or went."""
        special = [region for region in regions if region.literal or region.action == "drop_field"]
        found = members(row) if special else []
        holders = enclosing(found, [region.start for region in special])
        fields = dict.fromkeys(f"redacted:{member.path}" for member in holders if member)
        outcome.flags = tuple(islice(fields, _FLAGS_MAX))
        gone = [member for region, member in zip(special, holders, strict=True) if member and region.action == "drop_field"]
        cuts = removals(found, gone)
        names = at = 0
        for region in regions:
            while at < len(cuts) and cuts[at][1] < region.end:
                at += 1
            if at < len(cuts) and cuts[at][0] <= region.start:
                continue
            made = b"null" if region.literal else self._replacement(row, text, region)
            if not region.literal and len(regions) > 1 and in_key(text, region.end):
                names += 1
                made = made if names == 1 else b"%s#%d]" % (made[:-1], names)
            outcome.edits.append((region.start, region.end, made))
        if cuts:
            outcome.edits = sorted([*outcome.edits, *((start, end, b"") for start, end in cuts)])

    def _replacement(self, row: bytes, text: bytes, region: Region) -> bytes:
        part = slice(region.start, region.end)
        return self._replacers[region.number].replacement(region.action, row[part], text[part])


def _run_start(text: bytes, place: int, characters: bytes) -> int:
    """Where the run of `characters` before `place` begins, the letter of a nested escape in front of it left out."""
    window = text[max(0, place - _RUN_MAX) : place]
    start = place - len(window) + len(window.rstrip(characters))
    if start > 0 and text[start - 1] == CONTINUE_BACKSLASH:
        escape = NESTED_ESCAPE.match(text, start - 1, place)
        return escape.end() if escape and escape.end() < place else start
    return start


def _is_valid(row: bytes) -> bool:
    """Whether the row is one JSON text; bytes that are not UTF-8 are let pass."""
    try:
        msgspec.json.decode(row.decode("utf-8", "replace"))
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _merged(regions: list[Region]) -> list[Region]:
    """Regions without overlap: each the union of those that overlapped, named by the first of those with the strictest action."""
    regions.sort(key=lambda region: (region.start, -region.end, region.number))
    merged = [regions[0]]
    for region in regions[1:]:
        last = merged[-1]
        if region.start >= last.end:
            merged.append(region)
            continue
        if STRICTNESS[region.action] > STRICTNESS[last.action]:
            last.action, last.number = region.action, region.number
        if region.end > last.end:
            last.end = region.end
            last.literal = last.literal and region.literal
    return merged


def _fitted(text: bytes, regions: list[Region]) -> list[Region]:
    """The parts of ordered regions that can be replaced without breaking the valid JSON around them. O(row)."""
    parts: list[Region] = []
    inside, counted = False, 0
    for region in regions:
        inside ^= text.count(b'"', counted, region.start) % 2 == 1
        counted = region.start
        crosses = text.find(b'"', region.start, region.end) >= 0
        if (inside and not crosses) or (region.literal and not inside):
            parts.append(region)
        else:
            parts += _pieces(text, region, inside=inside)
    return [part for number, part in enumerate(parts) if number == 0 or part.start >= parts[number - 1].end]


def _pieces(text: bytes, region: Region, *, inside: bool) -> list[Region]:
    """A region cut at the quotes in it: what is inside strings as it is, outside them the literals it touches."""
    parts: list[Region] = []
    at = region.start
    for piece in text[region.start : region.end].split(b'"'):
        if inside and piece:
            parts.append(msgspec.structs.replace(region, start=at, end=at + len(piece), literal=False))
        elif not inside:
            parts += [_whole_literal(text, region, at + found.start(), at + found.end()) for found in _LITERAL.finditer(piece)]
        at += len(piece) + 1
        inside = not inside
    return parts


def _whole_literal(text: bytes, region: Region, start: int, end: int) -> Region:
    """The JSON literal that [start, end) is part of: half a number must not be left."""
    while start > 0 and text[start - 1] in _LITERAL_CHARACTERS:
        start -= 1
    while end < len(text) and text[end] in _LITERAL_CHARACTERS:
        end += 1
    return msgspec.structs.replace(region, start=start, end=end, literal=True)
