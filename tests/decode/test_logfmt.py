"""Logfmt: what structlog's `LogfmtRenderer` and programs in Go write, each line as alone, in any company."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from structlog.processors import LogfmtRenderer

from shipper.decode.logfmt import Logfmt
from tests.kit.formats import anything, damaged, documents, hold_together, wrapped

READS = ("status", "path", "nothing", "host")
LINE = 'time=2026-02-05T14:30:45.123Z level=info msg="request done" method=GET path=/orders status=200 duration=12.5'
ROUTER = 'at=info method=GET path="/a?b=c" host=app.example.com request_id=8601b555 fwd="1.2.3.4" dyno=web.1 connect=1ms status=200 bytes=1548'


def decoder() -> Logfmt:
    """A decoder of its own."""
    return Logfmt(Logfmt.Config(), READS, ())


def one(line: str) -> dict[str, Any]:
    """The record of one line."""
    ((record, flags, _),) = documents(decoder(), [line.encode()])
    assert flags == ""
    return record


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"), min_size=1, max_size=10)
keys = st.sampled_from(["method", "path", "status", "host", "a.b", "größe", "error", "shipper"])
values = (
    texts
    | st.integers(-(10**17), 10**17)
    | st.booleans()
    | st.sampled_from(["GET", "/orders", 'say "hi"', "a=b", "007", "1e5", "12ms"])
)


def is_plain(value: Any) -> bool:
    """Whether it is no text that looks like a number or a boolean."""
    return not isinstance(value, str) or re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?|true|false", value) is None


@given(
    st.lists(st.tuples(st.dictionaries(keys, values.filter(is_plain), max_size=4), texts), min_size=1, max_size=8),
    st.lists(anything, max_size=2),
)
def test_what_structlog_renders_is_read_again(said: list[tuple[dict[str, Any], str]], others: list[str]) -> None:
    """Numbers, booleans and texts, among other lines."""
    render = LogfmtRenderer(key_order=["ts", "level", "msg"], bool_as_flag=False)
    lines = []
    for pairs, message in said:
        line = str(render(None, "info", {"ts": "2026-02-05T14:30:45Z", "level": "info", "msg": message, **pairs}))
        assume("\n" not in line)
        lines.append(line)
    found = hold_together(decoder(), [line.encode() for line in [*others, *lines]], READS)
    for (pairs, message), (record, flags, columns) in zip(said, found[len(others) :], strict=True):
        assert flags == ""
        assert columns["@timestamp"] == "2026-02-05T14:30:45Z"
        assert record == {"message": message, "log.level": "info", **pairs}


def alone(line: str) -> dict[str, Any] | None:
    """A line without escapes, read slowly; None where it is not of the format."""
    found: dict[str, Any] = {"message": line}
    seen: set[str] = set()
    bare = pairs = 0
    rest = line.strip(" \t")
    while rest:
        token = re.match(r'([^ \t="]+)(=("[^"]*"|(?!")[^ \t]*))?(?=[ \t]|$)', rest)
        if token is None or len(token[1].encode()) > 256:
            return None
        rest = rest[token.end() :].lstrip(" \t")
        key, value = token[1], token[3]
        bare, pairs = bare + (value is None), pairs + (value is not None)
        text: Any = "true" if value is None else value.strip('"') if value.startswith('"') else value
        roles = {
            "time": "@timestamp",
            "ts": "@timestamp",
            "timestamp": "@timestamp",
            "level": "log.level",
            "lvl": "log.level",
            "msg": "message",
            "message": "message",
        }
        role = roles.get(key)
        if role is not None and role not in seen:
            seen.add(role)
            found[role] = text
            continue
        if value is None or text in ("true", "false") and value == text:
            text = text == "true"
        elif re.fullmatch(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?", value, re.ASCII):
            text = json.loads(value)
        found[key] = text
    if bare > pairs or not pairs:
        return None
    return {
        name: value for name, value in found.items() if name == "message" or (name not in ("log.level", "@timestamp") or value)
    }


near = st.sampled_from([
    LINE, ROUTER, LINE.replace("200", "404"), LINE.replace("200", "-"), LINE.replace('"request done"', "done"), LINE.replace("GET", '"GET"'), LINE + " cached",
    LINE + " status=1", LINE.replace("status", "log"), LINE.replace("info", '""'), LINE.replace("info", "true"), LINE.replace("msg=", "message="), "a b=1", "a b c=1",
    LINE.replace("200", "007"), LINE.replace(" ", "  "), LINE.replace("path=", "lvl="), "panic: it broke", 'a="b', "=x", "a=", LINE.replace("/orders", "x=y"),
])  # fmt: skip


@given(st.lists(near | near.flatmap(damaged) | anything, min_size=1, max_size=10))
@example([LINE] * 5 + [LINE.replace("200", "true"), LINE.replace("200", "1e5"), LINE.replace('"request done"', '""')])
@example([LINE.replace("200", str(number)) for number in range(9)] + [LINE.replace("info", '""')])
def test_each_line_says_what_it_says_alone(lines: list[str]) -> None:
    """Whatever stands beside it; what is not of the format is kept as text."""
    found = hold_together(decoder(), [line.encode() for line in lines], READS)
    for line, (record, flags, columns) in zip(lines, found, strict=True):
        if "\\" in line:
            continue
        wanted = alone(line)
        if wanted is not None and not wanted.keys() & {"log.level", "message", "@timestamp", "log"} - {
            "message",
            "log.level",
            "@timestamp",
        }:
            assert flags == ""
            stamp = wanted.pop("@timestamp", None)
            assert (record, columns["@timestamp"]) == (wanted, stamp)
        elif wanted is None:
            assert (record, flags) == ({"message": line}, "parse_error:no line of key=value pairs")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (r'level=info msg="a \"b\" \\ \n \u00fc \x41 \xff"', {"log.level": "info", "message": 'a "b" \\ \n ü A \ufffd'}),
        ("msg=done cached n=-1.5 ok=false", {"message": "done", "cached": True, "n": -1.5, "ok": False}),
        ("msg=a msg=b", {"message": "a", "msg": "b"}),
        ("msg=a n=1 n=2", {"message": "a", "n": 2}),
        ("msg=a log.level=x", {"message": "a", "shipper": {"record": {"log.level": "x"}}}),
        (ROUTER, {"message": ROUTER, "at": "info", "method": "GET", "path": "/a?b=c", "host": "app.example.com", "request_id": "8601b555", "fwd": "1.2.3.4",
                  "dyno": "web.1", "connect": "1ms", "status": 200, "bytes": 1548}),
    ],
)  # fmt: skip
def test_a_line_is_read_as_the_manual_says(line: str, wanted: dict[str, Any]) -> None:
    """Escapes of Go, keys alone, keys that come twice, Heroku's router."""
    assert one(line) == wanted


def test_further_lines_belong_to_the_message() -> None:
    """As a frame put them together."""
    ((record, _, _),) = documents(decoder(), [wrapped("level=error msg=panic\ngoroutine 1 [running]:")])
    assert record == {"log.level": "error", "message": "panic\ngoroutine 1 [running]:"}


def test_long_nonsense_is_read_at_once() -> None:
    """Each character is looked at a bounded number of times."""
    for text in (
        "a " * 20_000,
        "a=1 " * 10_000,
        'a="' * 10_000,
        "a=\\" * 10_000,
        "=" * 100_000,
        " " * 100_000 + "a=1",
        "k" * 100_000,
    ):
        documents(decoder(), [text.encode()] * 2)
