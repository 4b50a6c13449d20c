"""No planted secret leaves the agent: in documents, dead letters, `explain`, the state, its own log, or the text of a crash.

RULES
- Planted are the secrets of tests/corpus, each in a row of its own, in whatever form; half of the documents are refused by the
  server, whose reasons quote them.
- Of a document, a letter, an explanation no five letters of its secrets may be left. Of texts that hold random ids (state, log) no
  six, as five letters may meet by chance.
"""

from __future__ import annotations

import json
import traceback
import zlib
from functools import cache
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.encode.document import Assembly
from tests.corpus.forms import Entry
from tests.corpus.make import entries
from tests.corpus.quality import readings, survivor
from tests.kit.fake_elastic import ModelElastic, Server, error_item
from tests.kit.site import Site, Told, shipper
from tests.redact.planting import is_word

RUNS = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
PART = 6
"""Letters of a secret that texts with random ids may not hold."""
OURS = ("@timestamp", "log", "host", "shipper", "ecs")
"""Members of a document that no record wrote."""


@cache
def rows() -> list[Entry]:
    """The corpus' secrets that stand in one row."""
    return [entry for entry in entries("positives/secrets.ndjson") if isinstance(entry.record, str) and not entry.gate]


planted = st.lists(st.integers(0, len(rows()) - 1), min_size=1, max_size=40, unique=True).map(
    lambda places: [rows()[at] for at in places]
)


def half_refused(_index: str, key: str, document: dict[str, Any]) -> dict[str, Any] | None:
    """Refuse half of the documents, in words that quote them."""
    quoted = f"failed to parse; preview of the document: {json.dumps(document)}"
    return error_item(400, "document_parsing_exception", quoted) if zlib.crc32(key.encode()) % 2 else None


def wrote(site: Site, found: list[Entry]) -> dict[int, Entry]:
    """Write a row for each entry into a log of its own run; return the entries by offset."""
    for old in site.logs.glob("*.log"):
        old.unlink()
    lines = [f"{entry.record}\n".encode("utf-8", "surrogateescape") for entry in found]
    site.write(b"".join(lines))
    return dict(zip(accumulate(map(len, lines), initial=0), found, strict=False))


def left(entry: Entry, document: dict[str, Any]) -> str:
    """A part of an entry's secret that a document holds."""
    told = {name: value for name, value in document.items() if name not in OURS}
    return survivor(entry, str(entry.record), json.dumps(told, ensure_ascii=False))


def pieces(found: list[Entry]) -> set[str]:
    """Parts of secrets that stand nowhere else in the rows."""
    around = []
    for entry in found:
        text = str(entry.record)
        for secret in sorted(entry.secrets, key=len, reverse=True):
            text = text.replace(secret, "\0")
        around += readings(text)
    parts = {secret[at : at + PART] for entry in found for secret in entry.secrets for at in range(len(secret) - PART + 1)}
    parts = {part for part in parts if not is_word(part)}
    return {part for part in parts if not any(part in text for text in around)}


def meet(found: list[Entry], *texts: str) -> list[str]:
    """Parts of secrets that stand in texts, in any reading."""
    whole = [reading for text in texts for reading in readings(text)]
    return [part for part in pieces(found) if any(part in text for text in whole)]


def state_of(site: Site) -> list[str]:
    """All that lies in the state directory, but for compiled rules."""
    files = [path for path in site.state.rglob("*") if path.is_file() and path.suffix != ".hsdb"]
    return [path.read_bytes().decode("utf-8", "replace") for path in files]


@RUNS
@given(found=planted)
def test_no_part_of_a_planted_secret_stands_in_documents_letters_state_or_log(site: Site, found: list[Entry]) -> None:
    """Law: whatever is refused or delivered, and whatever the server says about it."""
    offsets = wrote(site, found)
    with Server(ModelElastic(faults=[half_refused])) as server:
        site.configure(output={"type": "elasticsearch", "hosts": [server.url]})
        told: Told = site.once("--from-start", "--log-level", "debug")
        assert told.account["read"] == len(found)
        documents = [
            json.loads(line) for seen in server.seen if seen.path.startswith("/_bulk") for line in seen.body.splitlines()[1::2]
        ]
    assert len(documents) >= len(found)
    held = [(offsets[one["log"]["offset"]], one) for one in documents]
    assert [(entry, part) for entry, one in held if (part := left(entry, one))] == []
    assert meet(found, told.out, told.err, *state_of(site)) == []


@RUNS
@given(found=planted)
def test_no_part_of_a_planted_secret_stands_in_an_explanation(site: Site, found: list[Entry]) -> None:
    """Law: before and after, step by step."""
    stdin = "".join(f"{entry.record}\n" for entry in found).encode("utf-8", "surrogateescape")
    told = shipper("explain", site.pipeline, stdin=stdin)
    assert told.code == 0
    assert meet(found, told.out, told.err) == []


class Bug(Exception):
    """Quotes all that it can reach."""


@RUNS
@given(found=planted)
def test_no_part_of_a_planted_secret_stands_in_the_text_of_a_crash(site: Site, found: list[Entry]) -> None:
    """Law: a bug behind the gate that quotes what it works on has nothing to tell."""

    def broken(assembly: Assembly, _ticket: int) -> None:
        raise Bug(assembly._columns.rows, assembly._columns.fields, assembly._fragments)

    wrote(site, found)
    site.configure()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Assembly, "payload", broken)
        with pytest.raises(Bug) as caught:
            site.once("--from-start")
    text = "".join(traceback.format_exception(caught.value))
    assert "Bug" in text
    assert meet(found, text, *state_of(site)) == []
