"""Documents with secrets planted in them, for the laws of the gate."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from hypothesis import strategies as st

from shipper.redact.rule import Rule
from tests.redact.gating import PACK_RULES
from tests.redact.oracle import value_hits

MASK = re.compile(rb"\[REDACTED:[a-z0-9-]+(?:#\d+)?\]|\[HMAC:[a-z0-9-]+:[0-9a-f]{16}\]")


class Secret(msgspec.Struct, frozen=True):
    """A text as it may stand in a log, and the part of it that must not get out."""

    text: str
    core: str


def _secrets() -> list[Secret]:
    made = []
    for rule in PACK_RULES.values():
        if isinstance(rule, Rule) and not rule.id.startswith("ipv"):
            for text in rule.match:
                first, last = value_hits(rule, text.encode())[0]
                made.append(Secret(text, text.encode()[first:last].decode()))
    return made


SECRETS = _secrets()
KEY_NAMES = ["password", "API_KEY", "user.token", "Set-Cookie", "client-secret", "authorization"]
AROUND = "|".join([*(secret.text.replace(secret.core, "|") for secret in SECRETS), *KEY_NAMES])
# Nothing a plain text may hold joins with a secret or looks like part of one: a few letters, escapes, what is beyond ASCII.
PLAIN = st.text(alphabet="xyzXYZ \n\t\r\b\f\\/\"'ü€😀{}[],", max_size=12)
BREAKS = st.sampled_from([" ", "\n", "\t", ' "', "; ", "\r\n", " / ", " \u00a0 ", " \\ "])
secrets = st.sampled_from(SECRETS)


@st.composite
def planted_texts(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Return a text with up to three secrets in it, and their cores."""
    text, cores = draw(PLAIN) + draw(BREAKS), []
    for secret in draw(st.lists(secrets, max_size=3)):
        text += secret.text + draw(BREAKS) + draw(PLAIN) + draw(BREAKS)
        cores.append(secret.core)
    return text, cores


names = st.sampled_from(["x", "message", "y.z", "log", "zü", "x\\y", 'x"y', "xx", "yy", "zz"])
key_names = st.sampled_from(KEY_NAMES)
hidden = st.text(alphabet="QWKJqwkj8769+\\\"/ü\n'#", min_size=9, max_size=24).map(str.strip).filter(lambda text: len(text) > 8)


@st.composite
def planted_values(draw: st.DrawFn, depth: int = 0) -> tuple[Any, list[str]]:
    """Return a JSON value with secrets in strings, keys, numbers, under telling names and in nested JSON texts; and their cores."""
    kind = draw(
        st.sampled_from(["text", "text", "number", "object", "object", "array", "nested", "card"])
        if depth < 4
        else st.just("text")
    )
    if kind == "text":
        return draw(planted_texts())
    if kind == "number":
        return draw(st.sampled_from([0, -1, 2.5, True, None, 1770301845123, 1e300])), []
    if kind == "card":
        return 4111111111111111, ["4111111111111111"]
    if kind == "array":
        parts = draw(st.lists(planted_values(depth + 1), max_size=3))
        return [value for value, _ in parts], [core for _, cores in parts for core in cores]
    found, cores = draw(planted_objects(depth + 1))
    return (json.dumps(found, ensure_ascii=draw(st.booleans())) if kind == "nested" else found), cores


@st.composite
def planted_objects(draw: st.DrawFn, depth: int = 0) -> tuple[dict[str, Any], list[str]]:
    """Return a JSON object with secrets planted in it, and their cores."""
    made: dict[str, Any] = {}
    cores: list[str] = []
    for name in draw(st.lists(names, max_size=4, unique=True)):
        made[name], more = draw(planted_values(depth + 1))
        cores += more
    if draw(st.booleans()):
        secret = draw(hidden)
        value = draw(st.sampled_from([secret, [secret], {"x": secret}, 87654321987]))
        made[draw(key_names)] = value
        cores.append("87654321987" if isinstance(value, int) else secret)
    if draw(st.integers(0, 4)) == 0:
        made["mail to max.muster@qwkj.example"] = 1
        cores.append("max.muster@qwkj.example")
    return made, cores


def dumped(draw: st.DrawFn, found: dict[str, Any]) -> bytes:
    """Return the object as one of the ways programs write JSON."""
    ascii_only = draw(st.booleans())
    gaps = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    text = json.dumps(found, ensure_ascii=ascii_only, separators=gaps)
    if draw(st.booleans()):
        text = text.replace("/", "\\/")
    return text.encode()


@st.composite
def planted_rows(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """Return a row, JSON or plain text, with secrets in it, and their cores."""
    if draw(st.integers(0, 3)) == 0:
        text, cores = draw(planted_texts())
        return re.sub(r"[\n\r]", " ", text).encode(), cores
    found, cores = draw(planted_objects())
    return dumped(draw, found), cores


def leaks(row: bytes, cores: list[str]) -> list[str]:
    """Return the parts of secrets, five characters long, that stand in the row in any reading of its escapes."""
    bare = MASK.sub(b"|", row)
    readings = [bare.decode("utf-8", "replace")]
    for _ in range(3):
        readings.append(readings[-1].replace("\\\\", "\\").replace('\\"', '"').replace("\\/", "/"))
    pieces = {core[at : at + 5] for core in cores for at in range(max(1, len(core) - 4))}
    telling = [piece for piece in pieces if piece not in AROUND and not is_word(piece)]
    return [piece for piece in telling if any(piece in reading for reading in readings)]


def is_word(piece: str) -> bool:
    """Whether a part of a secret is small letters alone, as `shipp` of `shippo_live_...`: the texts around have such words too."""
    return piece.replace("_", "").replace("-", "").isalpha() and piece == piece.lower()
