"""The gate: nothing goes on unredacted. Takes a `Batch`, returns the only `SafeBatch` there is of it.

RULES
- The whole block is scanned before any decode; only rows where something fired are looked at one by one.
- It never raises. What cannot be redacted does not go on: the batch is done again row by row, and a row that fails again is replaced
  by `{"shipper":{"gate_error":"<exception class>"}}` and counted as `gate_error`.
- Rows keep their number and order; a row stays one row. A block without hits is passed on as it is, the same object.
- It knows no time and no randomness: the same batches in the same order give the same bytes, with either engine.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shipper.model.batch import Batch, SafeBatch, row_bounds
from shipper.model.errors import ComponentError
from shipper.redact.engine import choose_engine, make_screen
from shipper.redact.escapes import CANONICAL_GUARD, ESCAPED, canonical, shadow
from shipper.redact.keys import KeyFinder
from shipper.redact.packs import chosen_rules
from shipper.redact.pem import Blocks
from shipper.redact.rebuild import Rebuild, spliced
from shipper.redact.rows import KEYS, Redacted, RowRedactor
from shipper.redact.rule import KeyRule, Rule
from shipper.redact.screen import DatabaseCache, Hits, Screen, ScreenError, TooManyHitsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shipper.redact.settings import RedactConfig

__all__ = ["DatabaseCache", "Gate", "choose_engine"]

GATE_ERROR = "gate_error"
"""Counts rows that the gate could not redact, in `SafeBatch.masked`."""
LANES = 4
"""Databases; see `Rule.lane`."""
_ESCAPES = "\0escapes"


class _SpreadError(Exception):
    """A private key goes on in following rows: the batch is done row by row."""


class Gate:
    """The redaction boundary of one pipeline. Remembers only private keys that are spread over rows, per stream."""

    def __init__(
        self,
        config: RedactConfig,
        *,
        hash_key: bytes,
        engine: str = "hyperscan",
        cache: DatabaseCache | None = None,
        guards: Mapping[str, bytes] | None = None,
    ) -> None:
        """Compile the rules. Raises ComponentError for a rule that cannot work or whose examples fail.

        `hash_key` is used unless the configuration has its own; `guards` are more patterns whose firing anywhere in a block is
        told in `SafeBatch.marks`.
        """
        rules = chosen_rules(config)
        self.engine = engine
        self.rules = tuple(rule.id for rule in rules)
        try:
            finder = KeyFinder([(number, rule) for number, rule in enumerate(rules) if isinstance(rule, KeyRule)])
        except ValueError as error:
            raise ComponentError(str(error), "keys") from None
        key = config.hash_key.encode() if config.hash_key else hash_key
        lanes, behind = _lanes(rules, len(config.rules))
        lanes[0] |= dict.fromkeys(finder.screens, KEYS)
        self._rows = RowRedactor(rules, behind, finder, key)
        self._guards = frozenset(guards or ())
        patterns = [[(number, pattern) for pattern, number in lane.items()] for lane in lanes]
        try:
            self._screen: Screen = make_screen(engine, patterns, {**(guards or {}), _ESCAPES: CANONICAL_GUARD}, cache)
        except ScreenError as error:
            raise ComponentError("the pattern cannot be compiled for scanning", f"rules.{error.number}.screen") from None
        self._blocks = Blocks()
        for number in range(len(config.rules)):
            self._check_own(number, rules)

    def admit(self, batch: Batch) -> SafeBatch:
        """Redact a batch. Never raises; the batch may be forgotten afterwards."""
        try:
            return self._by_block(batch)
        except Exception:
            return self._row_by_row(batch)

    def text(self, value: str) -> str:
        """Redact a plain text such as a path or a label. Never raises: what fails becomes `[REDACTED:gate_error]`."""
        row = value.encode("utf-8", "surrogateescape")
        try:
            scanned, outcome = self._one_row(row, [])
        except Exception:
            return f"[REDACTED:{GATE_ERROR}]"
        if outcome.dropped:
            return f"[REDACTED:{outcome.dropped}]"
        return spliced(scanned, outcome.edits).decode("utf-8", "surrogateescape") if outcome.edits else value

    def _by_block(self, batch: Batch) -> SafeBatch:
        """The fast way: one scan, and work only on rows where something fired. Raises where it is not enough."""
        block, ends = batch.block, batch.ends
        if self._blocks.get(batch.stream.id):
            raise _SpreadError
        hits, marks = self._screen.scan(block)
        rebuild = Rebuild(batch)
        done = self._rewrite_escapes(batch, rebuild) if _ESCAPES in marks else frozenset()
        at, count = 0, len(hits)
        while at < count:
            start, end = row_bounds(block, ends, hits[at][0] - 1)
            row_hits: Hits = []
            while at < count and hits[at][0] <= end + 1:
                row_hits.append((hits[at][0] - start, hits[at][1]))
                at += 1
            if start in done:
                continue
            row = block[start:end]
            outcome = self._rows.redact(row, row_hits)
            if outcome.open_block >= 0:
                raise _SpreadError
            rebuild.take(start, end, row, outcome)
        return rebuild.finished(marks - {_ESCAPES}, self.text)

    def _rewrite_escapes(self, batch: Batch, rebuild: Rebuild) -> frozenset[int]:
        """Scan rows that hold escapes of printable ASCII in their canonical form; return where these rows start."""
        block = batch.block
        places: list[tuple[int, int]] = []
        past = 0
        while found := ESCAPED.search(block, past):
            start, end = row_bounds(block, batch.ends, found.start())
            places.append((start, end))
            past = end + 1
        rows = [canonical(block[start:end]) for start, end in places]
        hits = self._screen.scan(b"\n".join(rows))[0]
        at, offset, count = 0, 0, len(hits)
        for row, (start, end) in zip(rows, places, strict=True):
            row_hits: Hits = []
            while at < count and hits[at][0] <= offset + len(row) + 1:
                row_hits.append((hits[at][0] - offset, hits[at][1]))
                at += 1
            offset += len(row) + 1
            if row_hits:
                outcome = self._rows.redact(row, row_hits)
                if outcome.open_block >= 0:
                    raise _SpreadError
                rebuild.take(start, end, row, outcome)
        return frozenset(start for start, _ in places)

    def _row_by_row(self, batch: Batch) -> SafeBatch:
        """The slow way: one row that fails is replaced, and does not take the others with it."""
        try:
            marks = self._screen.scan(batch.block)[1]
        except Exception:
            marks = self._guards
        rebuild = Rebuild(batch)
        for start, end in _bounds(batch):
            row = batch.block[start:end]
            try:
                self._one_of_stream(batch.stream.id, row, start, rebuild)
            except Exception as error:
                marker = b'{"shipper":{"gate_error":"%s"}}' % type(error).__name__.encode("ascii", "replace")
                rebuild.take(start, end, row, Redacted(edits=[(0, len(row), marker)], hits=[GATE_ERROR]))
        return rebuild.finished(marks - {_ESCAPES}, self.text)

    def _one_of_stream(self, stream: str, row: bytes, start: int, rebuild: Rebuild) -> None:
        inside = self._blocks.get(stream) is not None
        extra = self._blocks.content(stream, shadow(row)) if inside else []
        scanned, outcome = self._one_row(row, extra)
        if outcome.open_block >= 0:
            self._blocks.begin(stream, shadow(scanned), outcome.open_block)
        rebuild.take(start, start + len(row), scanned, outcome)

    def _one_row(self, row: bytes, extra: list[tuple[int, int]]) -> tuple[bytes, Redacted]:
        """Scan one row alone: (the row as it was scanned, what is to be done to it)."""
        if ESCAPED.search(row):
            row = canonical(row)
        try:
            hits = self._screen.scan(row)[0]
        except TooManyHitsError:
            hits = self._rows.every_place(row)
        return row, self._rows.redact(row, hits, extra)

    def _check_own(self, number: int, rules: Sequence[Rule | KeyRule]) -> None:
        """Hold a rule of the user's own to its examples."""
        rule = rules[number]
        for field, wanted, examples in (("match", True, rule.match), ("no_match", False, rule.no_match)):
            for place, example in enumerate(examples):
                row = example.encode()
                hits = [(end, number) for end, found in self._screen.scan(row)[0] if number in self._rows.behind[found]]
                if bool(self._rows.redact(row, hits).hits) is not wanted:
                    said = "is not found by" if wanted else "is found by"
                    raise ComponentError(f"the example {said} the rule {rule.id!r}", f"rules.{number}.{field}.{place}")


def _bounds(batch: Batch) -> Iterator[tuple[int, int]]:
    """[start, end) of each row of the block."""
    start = 0
    for row in range(batch.count):
        end = batch.ends[row] if batch.ends is not None else batch.block.find(b"\n", start)
        end = len(batch.block) if end < 0 else end
        yield start, end
        start = end + 1


def _lanes(rules: Sequence[Rule | KeyRule], own: int) -> tuple[list[dict[bytes, int]], dict[int, tuple[int, ...]]]:
    """Screens by lane, each with the number it reports; and the rules that stand behind a number. The first `own` are the user's.

    Raises ComponentError for a pattern of the user's that cannot be compiled.
    """
    lanes: list[dict[bytes, int]] = [{} for _ in range(LANES)]
    behind: dict[int, tuple[int, ...]] = {}
    for number, rule in enumerate(rules):
        if isinstance(rule, KeyRule):
            continue
        try:
            if number < own:
                rule.exact()
                rule.exception()
            first = lanes[rule.lane].setdefault(rule.screened(), number)
        except (ValueError, re.error) as error:
            raise ComponentError(str(error), f"rules.{number}.pattern") from None
        behind[first] = (*behind.get(first, ()), number)
    return lanes, behind
