"""Make the corpus: `python -m tests.corpus.make` writes its data files anew. The same seed gives the same bytes.

RULES
- A data file is NDJSON: one entry a line, with `kind`, `form`, `record` (a text, or a list of rows of one stream; beyond UTF-8 as surrogates), and
  for positives `secrets` (the values as they read in the record), `may` (what may go with them) and `gate` (settings beyond the packs).
- `¦` stands inside of each secret in the files, so that no scanner of a hosting site takes them for real; `entries` takes it out.
- Negatives from real files stand in negatives/real.ndjson, written once by gather.py: they depend on the machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tests.corpus.forms import Entry
from tests.corpus.negatives_made import negatives
from tests.corpus.people_made import people
from tests.corpus.secrets_made import secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SEED = 20260211
BREAK = "¦"
HERE = Path(__file__).parent
MADE: dict[str, Callable[[Random], Iterable[Entry]]] = {
    "positives/secrets.ndjson": secrets,
    "positives/people.ndjson": people,
    "negatives/made.ndjson": negatives,
}
"""Data file -> what makes it."""
REAL = "negatives/real.ndjson"


def line_of(entry: Entry) -> str:
    """Return the line of an entry, its secrets broken."""
    fields = {name: value for name, value in entry._asdict().items() if value}
    text = json.dumps(fields, ensure_ascii=False, separators=(", ", ": "))
    for secret in sorted(entry.secrets, key=len, reverse=True):
        if len(secret) > 7:
            text = text.replace(secret, f"{secret[:4]}{BREAK}{secret[4:]}")
    return text


def content_of(name: str) -> str:
    """Return what a data file has to hold."""
    return "".join(f"{line_of(entry)}\n" for entry in MADE[name](Random(SEED)))


def entries(name: str) -> list[Entry]:
    """Return the entries of a data file, secrets whole."""
    return [_entry(json.loads(line)) for line in (HERE / name).read_text().replace(BREAK, "").splitlines()]


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry(**{name: tuple(value) if name in ("secrets", "may") else value for name, value in fields.items()})


def main() -> None:
    """Write all data files that are made."""
    for name in MADE:
        (HERE / name).write_text(content_of(name))
        print(f"{name}: {len(entries(name))} entries")


if __name__ == "__main__":
    main()
