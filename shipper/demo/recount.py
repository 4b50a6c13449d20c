"""The recount: what the programs say they wrote, against the documents that came out. It shares nothing with the agent.

RULES
- A record is delivered when a document has its `id`; written = delivered + throttled + missing.
- Throttled is what summary documents say (`shipper.throttle.count`); a summary is ours when its sample has an id of ours, so that
  other runs in the same indices do not count. Only errors may be throttled: any other record that did not come is missing.
- A planted secret is visible when it stands anywhere in its record's document or in a summary, in any string of it.
- What does not fit either way is told: more held back by the summaries than did not come, records cut or joined wrongly.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

Document = tuple[str, str, dict[str, Any]]
"""(index, _id, source)."""
MAY_BE_HELD = ("ERROR", "CRITICAL")
_MASK = re.compile(r"\[REDACTED:([^\]\s]+)\]")
_ID = re.compile(r'"id":\s?"([^"]+)"')


@dataclass(frozen=True)
class Written:
    """One record as its program noted it."""

    id: str
    level: str
    kind: str
    """What secret was planted; `-` for none."""
    secret: str


@dataclass
class Recount:
    """What the recount found. Counts of records, except where it says otherwise."""

    written: int = 0
    delivered: int = 0
    throttled: int = 0
    duplicates: int = 0
    """Documents beyond the first of a record."""
    missing: int = 0
    """Neither delivered nor held back by a summary."""
    surplus: int = 0
    """Held back by a summary, though delivered."""
    visible: int = 0
    """Planted secrets that can still be read."""
    damaged: int = 0
    """Long records whose text did not come whole."""
    summaries: int = 0
    """Documents."""
    foreign: int = 0
    """Documents that are not of these programs."""
    planted: Counter[str] = field(default_factory=Counter)
    """Secrets written, by kind."""
    carried: Counter[str] = field(default_factory=Counter)
    """Secrets in records that were delivered, by kind."""
    masked: Counter[str] = field(default_factory=Counter)
    """Masks `[REDACTED:rule]` in documents, by rule."""
    indices: Counter[str] = field(default_factory=Counter)
    """Documents by index, summaries included."""
    examples: list[str] = field(default_factory=list)
    """Some ids of what is wrong."""

    @property
    def balanced(self) -> bool:
        """Whether everything written is accounted for once, and no secret can be read."""
        wrong = self.missing + self.surplus + self.duplicates + self.visible + self.damaged
        return self.written > 0 and wrong == 0 and self.written == self.delivered + self.throttled


def read_ids(path: Path) -> list[Written]:
    """Read a program's id list. Raises ValueError when its last line is not there: the program did not end in order."""
    *lines, last = path.read_text(encoding="ascii").splitlines() or [""]
    if last.split("\t") != ["end", str(len(lines))]:
        raise ValueError(f"{path} is not complete: its program was cut short")
    return [Written(*line.split("\t")) for line in lines]


def read_local(directory: Path) -> Iterator[Document]:
    """All documents of an embedded output: `.ndjson` files in bulk form, an action line before each document."""
    for path in sorted(directory.glob("*.ndjson")):
        with path.open("rb") as lines:
            for action in lines:
                place = json.loads(action)["create"]
                yield place.get("_index", path.stem), place["_id"], json.loads(next(lines))


def read_elasticsearch(ask: Callable[[str, str, object], Any], pattern: str) -> Iterator[Document]:
    """All documents of the indices that match, by scrolling. `ask(method, path, body)` returns the reply's JSON."""
    lenient = "ignore_unavailable=true&allow_no_indices=true"
    ask("POST", f"/{quote(pattern)}/_refresh?{lenient}", None)
    page = ask("POST", f"/{quote(pattern)}/_search?scroll=1m&{lenient}", {"size": 2000, "sort": ["_doc"]})
    while page["hits"]["hits"]:
        for hit in page["hits"]["hits"]:
            yield hit["_index"], hit["_id"], hit["_source"]
        page = ask("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})


def recount(written: Iterable[Written], documents: Iterable[Document]) -> Recount:
    """Count both sides and hold them against each other. Memory: the id lists, not the documents."""
    records = {one.id: one for one in written}
    found = Recount(written=len(records), planted=Counter(one.kind for one in records.values() if one.kind != "-"))
    came: Counter[str] = Counter()
    for index, _, document in documents:
        summary = document.get("shipper", {}).get("throttle")
        text = "\n".join(strings(document))
        if summary is not None and summary.get("count"):
            mentioned = _ID.search(str(summary.get("sample", "")))
            if mentioned is None or mentioned[1] not in records:
                found.foreign += 1
                continue
            found.summaries += 1
            found.throttled += summary["count"]
            # Held records lie in no document of their own, so a summary must not carry any secret at all.
            _look_for_secrets(found, text, records.values())
        elif str(document.get("id")) in records:
            record = records[str(document["id"])]
            came[record.id] += 1
            _look_for_secrets(found, text, [record])
            found.damaged += _is_damaged(document)
        else:
            found.foreign += 1
            continue
        found.indices[index] += 1
        found.masked.update(_MASK.findall(text))
    return _settled(found, records, came)


def _settled(found: Recount, records: dict[str, Written], came: Counter[str]) -> Recount:
    found.delivered = len(came)
    found.duplicates = came.total() - len(came)
    found.carried = Counter(records[one].kind for one in came if records[one].kind != "-")
    absent = [record for record in records.values() if record.id not in came]
    unexplained = [record.id for record in absent if record.level not in MAY_BE_HELD]
    found.missing = max(len(absent) - found.throttled, len(unexplained))
    found.surplus = max(found.throttled - len(absent), 0)
    found.examples += [f"missing: {one}" for one in unexplained[:5]]
    found.examples += [f"twice: {one}" for one, count in came.items() if count > 1][:5]
    return found


def _look_for_secrets(found: Recount, text: str, records: Iterable[Written]) -> None:
    for record in records:
        if record.secret != "-" and record.secret in text:
            found.visible += 1
            found.examples.append(f"visible {record.kind}: {record.id}")


def _is_damaged(document: dict[str, Any]) -> bool:
    return bool(len(document.get("payload", "")) != document.get("payload_chars", 0))


def strings(value: object) -> Iterator[str]:
    """All strings of a JSON value, keys too, and its numbers as text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def table(found: Recount) -> str:
    """The recount as text of at most 80 columns, without a newline at its end."""
    rows = [
        ("written by the programs", found.written, "from their id lists"),
        ("  delivered", found.delivered, "counted in the documents"),
        ("  throttled", found.throttled, f"said by {found.summaries:,} summary documents"),
        ("  missing", found.missing, _ok(found.missing)),
        ("duplicates", found.duplicates, _ok(found.duplicates)),
        ("throttled, yet delivered", found.surplus, _ok(found.surplus)),
        ("long records cut or mixed up", found.damaged, _ok(found.damaged)),
        ("planted secrets still visible", found.visible, _ok(found.visible)),
    ]
    lines = [_row(*row) for row in rows]
    lines += ["secrets in delivered records"] + [_row(f"  {kind}", count, "") for kind, count in sorted(found.carried.items())]
    lines += ["masked, by rule"] + [_row(f"  {rule}", count, "") for rule, count in sorted(found.masked.items())]
    lines += ["documents, by index"] + [_row(f"  {index}", count, "") for index, count in sorted(found.indices.items())]
    lines += [f"  {example}"[:80] for example in found.examples[:10]]
    lines.append("balanced: written = delivered + throttled" if found.balanced else "NOT BALANCED")
    return "\n".join(lines)


def _row(name: str, count: int, note: str) -> str:
    return f"{name[:40]:<40} {count:>9,}  {note}".rstrip()


def _ok(count: int) -> str:
    return "must be 0" if count else "ok"
