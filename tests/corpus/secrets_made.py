"""Positives that are secrets: every format of formats/secrets.yaml in several forms, and the records of formats/generic.yaml."""

from __future__ import annotations

from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.corpus.forms import Entry, Piece, docker_parts, dumped, labelled, pair_entry, text_entry, value_entry
from tests.corpus.shapes import MADE, PEM_STARTS, drawn, pem_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

FORMATS = Path(__file__).parent / "formats"
_VALUE_FORMS = ("nested_json", "unicode", "url", "escaped_json", "key", "docker_parts", "header")
_PAIR_FORMS = ("nested_json", "url", "escaped_json", "header", "unicode", "docker_parts")
_TEXT_FORMS = ("escaped_json", "nested_json", "unicode", "docker_parts")


@cache
def table(name: str) -> Any:
    """Return what a file of formats holds; read once, not to be changed."""
    return yaml.safe_load((FORMATS / f"{name}.yaml").read_text())


def as_list(found: Any) -> list[str]:
    """Return one or several as a list."""
    return found if isinstance(found, list) else [found]


def secrets(random: Random) -> Iterator[Entry]:
    """Yield all positives that are secrets."""
    turn = count()
    for kind, wanted in table("secrets").items():
        yield from _kind(kind, wanted, turn, random)
    yield from _generic(random)
    yield from _private_keys(random)


def _kind(kind: str, wanted: dict[str, Any], turn: Iterator[int], random: Random) -> Iterator[Entry]:
    values = [drawn(one, random) for one in as_list(wanted.get("value", [])) for _ in range(2)]
    values += [MADE[wanted["make"]](random, wanted.get("with", "")) for _ in range(3)] if "make" in wanted else []
    take = iter(values * 3)
    names, within = as_list(wanted.get("name", [])), as_list(wanted.get("within", []))
    if names:
        yield pair_entry(kind, "plain", names[0], next(take), random)
        for name in (names[1:] or names)[:2]:
            yield pair_entry(kind, _PAIR_FORMS[next(turn) % len(_PAIR_FORMS)], name, next(take), random)
    for number, template in enumerate(within):
        piece = _within(template, next(take), wanted)
        yield text_entry(kind, "plain" if number == 0 else _TEXT_FORMS[next(turn) % len(_TEXT_FORMS)], piece, random)
        if len(within) == 1:
            yield text_entry(kind, _TEXT_FORMS[next(turn) % len(_TEXT_FORMS)], _within(template, next(take), wanted), random)
    if not names and not within:
        yield value_entry(kind, "plain", next(take), random)
        for _ in range(max(1, len(values) // 2) if len(values) > 4 else 2):
            yield value_entry(kind, _VALUE_FORMS[next(turn) % len(_VALUE_FORMS)], next(take), random)


def _within(template: str, value: str, wanted: dict[str, Any]) -> Piece:
    text, may = template.format(value), wanted.get("may", "").replace("{}", value)
    return Piece(text, (value,), (may,) if may and may in text else ())


def _generic(random: Random) -> Iterator[Entry]:
    for kind, records in table("generic").items():
        for form, template in records:
            rows = template.split("\n") if form == "rows" else [template]
            piece = labelled(template, random)
            if len(rows) > 1:
                yield Entry(kind, form, piece.text.split("\n"), piece.secrets, piece.may)
            elif form == "docker_parts":
                yield Entry(kind, form, docker_parts(piece.text, piece), piece.secrets, piece.may)
            else:
                yield Entry(kind, form, piece.text, piece.secrets, piece.may)


def _private_keys(random: Random) -> Iterator[Entry]:
    for label in PEM_STARTS:
        kind = label.lower().replace(" ", "_")
        lines = pem_lines(random, label)
        yield Entry(kind, "rows", ["reading key", *lines, "key is read"], tuple(lines[1:-1]), (lines[0], lines[-1]))
        lines = pem_lines(random, label)
        yield Entry(
            kind,
            "nested_json",
            dumped({"a": {"key_file": "\n".join(lines) + "\n", "n": 1}}),
            tuple(lines[1:-1]),
            (lines[0], lines[-1]),
        )
        lines = pem_lines(random, label, 4)
        yield Entry(
            kind, "escaped_json", dumped({"log": dumped({"pem": "\n".join(lines)})}), tuple(lines[1:-1]), (lines[0], lines[-1])
        )
        lines = pem_lines(random, label, 4)
        yield Entry(kind, "plain", f"loaded {' '.join(lines)} from disk", tuple(lines[1:-1]), (lines[0], lines[-1]))
        lines = pem_lines(random, label, 3)
        inner = dumped({"msg": "\n".join(lines)})
        yield Entry(kind, "docker_parts", docker_parts(inner, Piece("", (lines[1],))), tuple(lines[1:-1]), (lines[0], lines[-1]))
