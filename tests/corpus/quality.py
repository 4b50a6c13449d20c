"""Quality of redaction, measured: `make quality` runs the whole corpus through the gate and prints precision and recall.

RULES
- The gate is the one a pipeline has that says nothing about `redact`: the packs secrets and pii, the action `mask`. Entries with
  `gate: truncate_ips` pass one that has this switch besides.
- A positive is found when none of its secrets, nor any part of one longer than four characters, stands in the admitted rows, in
  any reading of their escapes, beyond what the action keeps (`truncate` keeps the network, see shipper/redact/action.py; `mask` nothing)
  and beyond what stands in the record outside of its secrets anyway.
- A masked span of a positive is true when it lies in what is labelled: it takes a part of a secret, and beyond secrets and
  what `may` go with them at most four letters or digits. Every other masked span of a positive, and each of a negative, is a false hit.
- Recall = positives found / positives. Precision = true spans / all spans. Per kind of label, and per rule as its mask names it.
- Below 0.99 in either, in all: exit code 1. SHIPPER_PUBLIC_LOGS names a directory with *.log files of no secrets: on
  these any hit of a rule for values but `email` is a false one, and exit code 1 too. Addresses there are real.

THEORY
Spans are read off the rows: what stands between masks in the admitted row stands in the original, in order, so a pattern of the admitted row
with a gap for each mask finds what each mask took. Nothing in the gate is asked or replaced.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter, defaultdict
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shipper.frame.docker import Docker
from shipper.model.batch import Batch, SafeBatch, Stream, split_rows
from shipper.redact.action import truncated
from shipper.redact.escapes import canonical
from shipper.redact.gate import Gate, choose_engine
from shipper.redact.settings import RedactConfig
from tests.corpus.make import MADE, REAL, entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.corpus.forms import Entry

LEAST = 0.99
PART = 5
"""Letters of a secret that may not stand together."""
BEYOND = 4
"""Letters and digits that a mask may take beyond what is labelled."""
WIDTH = 80
POSITIVES = tuple(name for name in MADE if name.startswith("positives"))
NEGATIVES = (*(name for name in MADE if name.startswith("negatives")), REAL)

_MASK = re.compile(rb'"?\[(?:REDACTED|HMAC):([a-z0-9-]+)[^\]"]*\]"?')
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Span(NamedTuple):
    """A masked part of a record."""

    rule: str
    taken: str


class Judged(NamedTuple):
    """What became of one entry."""

    entry: Entry
    true: list[Span]
    false: list[Span]
    left: str
    """A part of a secret that survived; empty where none did."""


@cache
def gate(extra: str) -> Gate:
    """Return a gate with the packs, as a pipeline has it by default, and one switch more."""
    engine = choose_engine(os.environ.get("SHIPPER_REDACT_ENGINE"))
    return Gate(RedactConfig(truncate_ips=extra == "truncate_ips"), hash_key=b"corpus", engine=engine)


def batch(entry: Entry, number: int) -> Batch:
    """Return the rows of an entry as a batch of a stream of its own; parts of docker are joined by its frame."""
    stream = Stream(id=f"corpus-{number}", common=b"", path="x.log", first_seen=0.0)
    rows = entry.record if isinstance(entry.record, list) else [entry.record]
    block = "".join(f"{row}\n" for row in rows).encode("utf-8", "surrogateescape")
    if entry.form != "docker_parts":
        return Batch(stream, block, len(rows), 0)
    cut = Docker().cut(block, 0, final=True)
    return Batch(stream, cut.block, cut.count, 0, cut.origin)


def readings(text: str) -> list[str]:
    """Return a text as it stands and with its escapes resolved, up to three times."""
    found = [text]
    while len(found) < 4 and "\\" in found[-1]:
        found.append(_ESCAPE.sub(lambda one: chr(int(one[1], 16)) if one[1] else _PLAIN.get(one[2], one[2]), found[-1]))
    return found


def spans_of(before: bytes, after: bytes) -> list[Span]:
    """Return what the masks of an admitted row took from the row as it was."""
    if before == after:
        return []
    before = canonical(before)
    pieces, rules, at = [], [], 0
    for found in re.finditer(_MASK.pattern + rb"|\bnull\b", after):
        pieces.append(re.escape(after[at : found.start()]))
        rules.append((found[1] or b"null").decode())
        at = found.end()
    pattern = rb"(.*?)".join([*pieces, re.escape(after[at:])])
    aligned = re.compile(pattern, re.DOTALL).fullmatch(before)
    if aligned is None:
        return [Span("unaligned", before.decode("utf-8", "replace"))]
    taken = [text.decode("utf-8", "surrogateescape") for text in aligned.groups()]
    masks = [f"[REDACTED:{rule}]" for rule in rules]
    return [Span(rule, text) for rule, text, mask in zip(rules, taken, masks, strict=True) if text not in ("null", mask)]


def truncations(before: bytes, after: bytes) -> list[Span]:
    """Return addresses of a row that gave way to their networks."""
    gone = []
    for text in re.findall(rb"[0-9a-fA-F:.]{3,45}", before):
        try:
            network = truncated(text)
        except ValueError:
            continue
        if text != network and text not in after and network in after:
            gone.append(Span(f"ipv{ip_address(text.decode()).version}", text.decode()))
    return gone


def survivor(entry: Entry, before: str, after: str) -> str:
    """Return a part of a secret that stands in the admitted text and not around the secrets before; empty where there is none."""
    bare = readings(_MASK.sub(b"\0", after.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape"))
    around = readings(before)
    for secret in sorted(entry.secrets, key=len, reverse=True):
        around = [text.replace(secret, "\0") for text in around]
    for secret in entry.secrets:
        if entry.gate == "truncate_ips":
            if any(re.search(rf"(?<![\w.:]){re.escape(secret)}(?![\w]|\.\d)", text) for text in bare):
                return secret
            continue
        size = min(PART, len(secret))
        for place in range(len(secret) - size + 1):
            part = secret[place : place + size]
            if any(part in text for text in bare) and not any(part in text for text in around):
                return part
    return ""


def is_true(entry: Entry, span: Span) -> bool:
    """Whether a masked span lies in what is labelled."""
    labels = sorted((*entry.may, *entry.secrets), key=len, reverse=True)
    for text in readings(span.taken):
        if any(text in label for label in labels) and text:
            return True
        rest = text
        for label in labels:
            rest = rest.replace(label, "\0")
        if "\0" in rest and sum(map(str.isalnum, rest)) <= BEYOND:
            return True
    return False


def judged(entry: Entry, number: int) -> Judged:
    """Run an entry through the gate and judge what came out."""
    made = batch(entry, number)
    before = split_rows(made.block, made.ends)
    safe: SafeBatch = gate(entry.gate).admit(made)
    after = split_rows(safe.block, safe.ends)
    spans = [span for old, new in zip(before, after, strict=True) for span in _spans(entry, old, new)]
    true = [span for span in spans if is_true(entry, span)] if entry.secrets else []
    false = [span for span in spans if span not in true]
    texts = [b"\n".join(rows).decode("utf-8", "surrogateescape") for rows in (before, after)]
    return Judged(entry, true, false, survivor(entry, *texts) if entry.secrets else "")


def _spans(entry: Entry, old: bytes, new: bytes) -> list[Span]:
    if entry.gate == "truncate_ips":
        return truncations(old, new)
    return spans_of(old, new)


def measured(names: Iterable[str]) -> list[Judged]:
    """Judge all entries of data files."""
    return [judged(entry, number) for number, entry in enumerate(entry for name in names for entry in entries(name))]


class Totals(NamedTuple):
    """What was counted over the corpus."""

    found: int
    positives: int
    true: int
    false: int

    @property
    def recall(self) -> float:
        """Positives found, of all."""
        return self.found / max(1, self.positives)

    @property
    def precision(self) -> float:
        """True spans, of all."""
        return self.true / max(1, self.true + self.false)


def totals(results: Iterable[Judged]) -> Totals:
    """Count over results."""
    found = positives = true = false = 0
    for one in results:
        positives += bool(one.entry.secrets)
        found += bool(one.entry.secrets) and not one.left
        true += len(one.true)
        false += len(one.false)
    return Totals(found, positives, true, false)


def public_hits(folder: Path) -> Counter[tuple[str, str]]:
    """Return (rule, what it took) of all hits in the *.log files of a directory, `email` left out; each is a false one."""
    found: Counter[tuple[str, str]] = Counter()
    for number, path in enumerate(sorted(folder.glob("*.log"))):
        block = path.read_bytes()
        block += b"" if block.endswith(b"\n") else b"\n"
        stream = Stream(id=f"public-{number}", common=b"", path=path.name, first_seen=0.0)
        safe = gate("").admit(Batch(stream, block, block.count(b"\n"), 0))
        rows = zip(split_rows(block, None), split_rows(safe.block, safe.ends), strict=True)
        found.update(
            (span.rule, span.taken) for old, new in rows if old != new for span in spans_of(old, new) if span.rule != "email"
        )
    return found


def report(results: Sequence[Judged]) -> list[str]:
    """Return the lines of the report: by kind, by rule, misses, false hits, in all."""
    whole = totals(results)
    return [
        *_by_kind(results),
        *_by_rule(results),
        *_misses(results),
        *_false_hits(results),
        "",
        f"recall     {whole.recall:.4f}  {whole.found} of {whole.positives} positives found",
        f"precision  {whole.precision:.4f}  {whole.true} of {whole.true + whole.false} masked spans are true",
    ]


def _by_kind(results: Sequence[Judged]) -> list[str]:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for one in results:
        if one.entry.secrets:
            groups[one.entry.kind].append(one)
    lines = [f"{'kind':<32}{'positives':>10}{'found':>8}{'recall':>9}"]
    for kind, ones in sorted(groups.items()):
        count = totals(ones)
        lines.append(f"{kind:<32}{count.positives:>10}{count.found:>8}{count.recall:>9.3f}")
    return lines


def _by_rule(results: Sequence[Judged]) -> list[str]:
    true = Counter(span.rule for one in results for span in one.true)
    false = Counter(span.rule for one in results for span in one.false)
    lines = ["", f"{'rule':<32}{'true':>10}{'false':>8}{'precision':>11}"]
    shares = {rule: true[rule] / (true[rule] + false[rule]) for rule in sorted({*true, *false})}
    return [*lines, *(f"{rule:<32}{true[rule]:>10}{false[rule]:>8}{share:>11.3f}" for rule, share in shares.items())]


def _misses(results: Sequence[Judged]) -> list[str]:
    lines = [f"{one.entry.kind} ({one.entry.form}): {one.left!r} left of {_record(one.entry)}" for one in results if one.left]
    return ["", f"missed: {len(lines)}", *map(_cut, lines)]


def _false_hits(results: Sequence[Judged]) -> list[str]:
    lines = [
        f"{span.rule} took {span.taken!r} of {one.entry.kind}: {_record(one.entry)}" for one in results for span in one.false
    ]
    return ["", f"false hits: {len(lines)}", *map(_cut, lines)]


def _record(entry: Entry) -> str:
    return entry.record if isinstance(entry.record, str) else " | ".join(entry.record)


def _cut(line: str) -> str:
    text = " ".join(line.split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def main() -> int:
    """Print the report; return 1 where the quality is below what is wanted."""
    results = measured((*POSITIVES, *NEGATIVES))
    whole = totals(results)
    print("\n".join(report(results)))
    failed = whole.recall < LEAST or whole.precision < LEAST
    if folder := os.environ.get("SHIPPER_PUBLIC_LOGS"):
        hits = public_hits(Path(folder))
        print(f"false hits in public logs: {hits.total()}")
        print("\n".join(_cut(f"{rule} took {taken!r} {count} times") for (rule, taken), count in hits.most_common()))
        failed |= bool(hits)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
