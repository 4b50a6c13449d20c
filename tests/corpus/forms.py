"""Forms: how a secret stands in a record. A piece is a text with its labels; a form puts it into a log line as programs write them.

In templates `⟦…⟧` encloses what must not survive, `⟪…⟫` what may go with it (a scheme, a user's name).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from tests.corpus.shapes import drawn

if TYPE_CHECKING:
    from random import Random

_SECRET = re.compile("⟦([^⟦⟧]*)⟧")
_MAY = re.compile("⟪([^⟪⟫]*)⟫")
_MARKS = str.maketrans("", "", "⟦⟧⟪⟫")
_SIMPLE = re.compile(r"[A-Za-z0-9._~/+=-]*")

LINES = (
    "2026-02-11 08:14:02,113 ERROR billing.client: request refused: {}",
    "Feb 11 08:14:02 web-1 app[4711]: {}",
    '10.20.30.40 - - [11/Feb/2026:08:14:02 +0000] "POST /login HTTP/1.1" 403 187 "-" "{}"',
    'level=warn ts=2026-02-11T08:14:02.113Z caller=main.go:42 msg="seen: {}"',
    "[2026-02-11T08:14:02Z] DEBUG (worker-3) -> {}",
    "I0211 08:14:02.113456   12345 server.go:871] {}",
)
"""The text stands at the end, or before a closing quote."""
MIDDLES = (
    "2026-02-11 08:14:02,113 ERROR upstream refused {} for tenant 7, retry in 5s",
    "warning: found {}; rotate it",
    "Traceback: ValueError('{}' is no longer valid)",
    "ran: deploy --env prod {} --verbose",
    "state changed ({}) by scheduler",
    "args=[{}, 3, true] took=12ms",
    "{} was used from an unknown place",
    "<message>{}</message>",
)
ASSIGNED = (
    "{name}={value}",
    "2026-02-11 08:14:02,113 DEBUG settings: {name} = '{value}'",
    'export {name}="{value}"',
    "config loaded: {name}: {value}",
    '  "{name}" => "{value}",',
    "env HOME=/home/app {name}={value} PORT=8080",
    "`{name}`: `{value}`",
)
_QUOTED = ASSIGNED[1], ASSIGNED[2], ASSIGNED[4]


class Piece(NamedTuple):
    """A text and its labels, as they read."""

    text: str
    secrets: tuple[str, ...]
    may: tuple[str, ...] = ()


class Entry(NamedTuple):
    """A record of the corpus."""

    kind: str
    form: str
    record: str | list[str]
    secrets: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    gate: str = ""


def labelled(template: str, random: Random) -> Piece:
    """Return the piece of a template with marks; what stands in a mark may be a template of shapes.py."""
    filled = _SECRET.sub(lambda found: f"⟦{drawn(found[1], random)}⟧", template)
    bare = _SECRET.sub(r"\1", filled)
    return Piece(filled.translate(_MARKS), tuple(_SECRET.findall(filled)), tuple(part for part in _MAY.findall(bare) if part))


def around(template: str, piece: Piece) -> Piece:
    """Return the piece inside a longer text."""
    return piece._replace(text=template.replace("{}", piece.text))


def assigned(name: str, value: str, number: int) -> Piece:
    """Return a value that is given to a name in plain text, quoted where it has to be."""
    choices = ASSIGNED if _SIMPLE.fullmatch(value) else _QUOTED
    return Piece(choices[number % len(choices)].format(name=name, value=value), (value,))


def dumped(content: object, *, ascii_only: bool = False, dense: bool = True) -> str:
    """Return content as JSON."""
    return json.dumps(content, ensure_ascii=ascii_only, separators=(",", ":") if dense else (", ", ": "))


def nested(content: Any, random: Random) -> str:
    """Return a record of an application with content inside of objects and arrays."""
    shape = random.randrange(3)
    time = f"2026-02-11T08:14:{random.randrange(60):02d}.{random.randrange(1000):03d}Z"
    if shape == 0:
        made: dict[str, Any] = {"@timestamp": time, "level": "INFO", "context": {"request": {"body": content}}}
    elif shape == 1:
        made = {"time": time, "severity": "warning", "events": [{"n": 1}, {"n": 2, "data": content}], "ok": False}
    else:
        made = {"ts": time, "logger": "app.http", "payload": {"items": [content], "count": 1}, "message": "done"}
    return dumped(made, dense=random.random() < 0.6)


def escaped(content: Any, random: Random) -> str:
    """Return a record with JSON inside of a string, once or twice."""
    inner = dumped(content, dense=random.random() < 0.5)
    if random.random() < 0.4:
        inner = dumped({"outer": inner})
    if random.random() < 0.3:
        return f"2026-02-11T08:14:02Z INFO got response body={dumped(inner)}"
    return dumped({"level": "info", "message": f"got {inner}" if random.random() < 0.4 else inner, "n": random.randrange(100)})


def beside_unicode(content: Any, random: Random) -> str:
    """Return a record with letters beyond ASCII beside the content, raw or escaped."""
    made = {
        "größe": "Übergröße „XL“",
        "daten": content,
        "ort": random.choice(["Köln", "Zürich", "東京", "Łódź", "São Paulo", "😀"]),
    }
    return dumped(made, ascii_only=random.random() < 0.5)


def docker_parts(inner: str, piece: Piece) -> list[str]:
    """Return a record as two lines of Docker's json-file driver, cut inside of its first secret."""
    place = inner.find(piece.secrets[0])
    cut = place + len(piece.secrets[0]) // 2 if place >= 0 else len(inner) // 2
    return [
        dumped({"log": part, "stream": "stdout", "time": "2026-02-11T08:14:02.113456789Z"})
        for part in (inner[:cut], inner[cut:] + "\n")
    ]


def header_name(name: str) -> str:
    """Return a name as HTTP writes it."""
    return "-".join(part[:1].upper() + part[1:] for part in re.split("[-_.]", name))


def text_entry(kind: str, form: str, piece: Piece, random: Random, *, middle: bool = False) -> Entry:
    """Return a text in a form; `middle` says that something may follow it at once."""
    text = f"{random.choice(('Prüfung', 'naïve', 'größer als'))} {piece.text}" if form == "unicode" else piece.text
    if form == "plain":
        lines = MIDDLES if middle else LINES
        return _entry(kind, form, lines[random.randrange(len(lines))].replace("{}", text), piece)
    if form == "docker_parts":
        inner = dumped({"msg": text, "n": 1}) if random.random() < 0.5 else f"INFO {text}"
        return _entry(kind, form, docker_parts(inner, piece), piece)
    made = {"nested_json": nested, "escaped_json": escaped, "unicode": beside_unicode}[form]
    return _entry(kind, form, made({"msg": text} if form != "unicode" or random.random() < 0.5 else text, random), piece)


def value_entry(kind: str, form: str, value: str, random: Random) -> Entry:
    """Return a value that tells by itself what it is, in a form."""
    piece = Piece(value, (value,))
    if form == "key":
        return _entry(kind, form, dumped({"cache": {value: {"hits": random.randrange(9)}}, "n": 1}), piece)
    if form == "header":
        return _entry(kind, form, f"> X-Upstream-Value: {value}", piece)
    if form == "url":
        text = quote(value, safe="")
        return _entry(kind, form, f"GET /v1/items?ref={text}&page=2 HTTP/1.1", Piece(text, (text,)))
    return text_entry(kind, form, piece, random, middle=True)


def pair_entry(kind: str, form: str, name: str, value: str, random: Random) -> Entry:
    """Return a value under its name, in a form."""
    piece = Piece(value, (value,))
    if form == "plain":
        piece = assigned(name, value, random.randrange(100))
        return _entry(kind, form, piece.text, piece)
    if form == "url":
        text = quote(value, safe="")
        return _entry(kind, form, f"https://api.example.org/v1/x?{name}={text}&page=2", Piece(text, (text,)))
    if form == "header":
        return _entry(kind, form, f"< {header_name(name)}: {value}", piece)
    content: dict[str, Any] = {name: int(value) if form == "json_int" else value}
    if form == "docker_parts":
        return _entry(kind, form, docker_parts(dumped(content), piece), piece)
    made = {"nested_json": nested, "json_int": nested, "escaped_json": escaped, "unicode": beside_unicode}[form]
    return _entry(kind, form, made(content, random), piece)


def _entry(kind: str, form: str, record: str | list[str], piece: Piece) -> Entry:
    return Entry(kind, form, record, piece.secrets, piece.may)
