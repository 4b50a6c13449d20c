"""Scanning: looking for secrets in files with the rules of the gate. `shipper redact scan FILE...`, also for use in CI.

RULES
- The rules, and what they find, are those of a pipeline with these packs; what is shown of a line has passed the gate.
- Files are read in pieces of whole lines, lines longer than `LINE_BYTES_MAX` in parts: memory does not grow with the file.
- What a rule costs is what a gate of this rule alone takes for the sample, less what one of no rule takes. In a gate of all rules
  they share their scans, so the sum of the prices is more than the price of all.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from shipper.edge import store
from shipper.frame.lines import as_utf8, is_utf8
from shipper.model.batch import Batch, Stream, split_rows
from shipper.model.excerpt import excerpt
from shipper.redact.gate import Gate, choose_engine
from shipper.redact.packs import chosen_rules
from shipper.redact.settings import RedactConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PIECE_BYTES = 1 << 18
LINE_BYTES_MAX = 1 << 20
_MASK = re.compile(r"\[REDACTED:([a-z0-9_-]{1,64})\]")
_ROUNDS = 3
_RECORD = (
    '{"timestamp":"2026-02-05T14:30:45.123Z","level":"INFO","logger":"shop.orders","message":"order %d accepted after %d ms","user_id":"u-%d",'
    '"trace_id":"%032x","client_ip":"203.0.113.%d","path":"/api/v1/orders/%d","status_code":200}'
)


class Hit(msgspec.Struct, frozen=True):
    """One secret that was found."""

    file: str
    line: int
    column: int
    """Where its mask begins in the masked line, counted from 1."""
    rule: str
    context: str
    """The line around it, masked, and a second line with a mark under it."""


class Price(msgspec.Struct, frozen=True):
    """What a rule costs by itself."""

    rule: str
    ns_per_record: float
    hits: int


class Scanner:
    """The gate of some packs, for files."""

    def __init__(self, packs: Sequence[str], env: Mapping[str, str]) -> None:
        """Compile the rules, or take the compiled ones from the state directory. Raises ComponentError."""
        self._packs, self._env = packs, env
        self._gate = self._made([])
        self.found: Counter[str] = Counter()
        """Hits by rule."""

    def scan(self, name: str, file: BinaryIO) -> Iterator[Hit]:
        """Find what is in a file, in order. `name` is what hits call it."""
        stream = Stream(name[-22:].rjust(22, "-"), b"", name, 0.0)
        before = 0
        for piece, lines in _pieces(file):
            yield from self._in(stream, piece, before)
            before += lines

    def _in(self, stream: Stream, piece: bytes, before: int) -> Iterator[Hit]:
        safe = self._gate.admit(Batch(stream, piece, piece.count(b"\n"), before))
        self.found.update(safe.masked)
        rows = split_rows(safe.block, None) if safe.changed else []
        for number in safe.changed:
            text = rows[number].decode("utf-8", "replace")
            told = list(_MASK.finditer(text))
            for mask in told:
                yield _hit(stream.path, before + number + 1, text, mask.start(), mask[1])
            if number in safe.dropped or not told:  # dropped whole, or a number that became null
                rule = safe.dropped.get(number, "redacted:key").partition(":")[2]
                yield _hit(stream.path, before + number + 1, text, 0, rule)

    def prices(self, sample: bytes) -> list[Price]:
        """What each rule costs for the records of a sample, one a line; the dearest first."""
        rules = [rule.id for rule in chosen_rules(RedactConfig(packs=list(self._packs)))]  # type: ignore[arg-type]
        records = max(sample.count(b"\n"), 1)
        bare = _took(self._made(rules), sample)[0]
        found = []
        for rule in dict.fromkeys(rules):
            seconds, hits = _took(self._made([other for other in rules if other != rule]), sample)
            found.append(Price(rule, max(0.0, seconds - bare) / records * 1e9, hits))
        return sorted(found, key=lambda price: -price.ns_per_record)

    def price_of_all(self, sample: bytes) -> float:
        """What the gate of all rules takes for a record, in nanoseconds."""
        return _took(self._gate, sample)[0] / max(sample.count(b"\n"), 1) * 1e9

    def _made(self, disabled: list[str]) -> Gate:
        config = RedactConfig(packs=list(self._packs), disable=disabled)  # type: ignore[arg-type]
        cache = store.RuleCache(store.default_directory(self._env) / "rules") if not disabled else None
        return Gate(config, hash_key=b"scan" * 8, engine=choose_engine(self._env.get("SHIPPER_REDACT_ENGINE")), cache=cache)


def sample(records: int = 4000) -> bytes:
    """Records of an application without a secret, to measure what rules cost where they find nothing."""
    lines = (_RECORD % (at, at % 97, at % 1000, at * 7919 << 64, at % 254, at) for at in range(records))
    return "".join(f"{line}\n" for line in lines).encode()


def _took(gate: Gate, text: bytes) -> tuple[float, int]:
    """The least CPU seconds of some rounds, and hits."""
    stream, best, hits = Stream("-" * 22, b"", "-", 0.0), float("inf"), 0
    for _ in range(_ROUNDS):
        began = time.process_time()
        hits = sum(gate.admit(Batch(stream, text, text.count(b"\n"), 0)).masked.values())
        best = min(best, time.process_time() - began)
    return best, hits


def _hit(file: str, line: int, text: str, at: int, rule: str) -> Hit:
    shown, mark = excerpt(text, at + 1, len(f"[REDACTED:{rule}]"))
    return Hit(file, line, at + 1, rule, f"{shown}\n{mark}")


def _pieces(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The file as UTF-8 in pieces of whole lines, each line ended, and how many lines end in each.

    A part of a line that is too long is a piece in which none ends. What is no UTF-8 is characters of the same numbers.
    """
    rest = b""
    while data := file.read(PIECE_BYTES):
        whole, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            yield _clean(whole), whole.count(b"\n") + 1
        while len(rest) > LINE_BYTES_MAX:
            yield _clean(rest[:LINE_BYTES_MAX]), 0
            rest = rest[LINE_BYTES_MAX:]
    if rest:
        yield _clean(rest), 1


def _clean(lines: bytes) -> bytes:
    return (lines if is_utf8(lines) else as_utf8(lines)) + b"\n"
