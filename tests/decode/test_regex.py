"""Regex: lines against a plain reading of each alone, what a user may say, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper import assembly
from shipper.config.time_layout import LayoutText
from shipper.decode.regex import Regex
from shipper.model.columns import Columns
from shipper.model.errors import ComponentError, ConfigError
from shipper.model.localtime import Timezone
from tests.kit.records import PlainGate, batch_of

READS = ("message", "level", "http.status", "took", "cached", "@timestamp")
FIRST = r"^(?P<timestamp>\S+ \S+) (?P<level>[A-Z]+) (?P<http__status>\S*) (?P<took>[^ ]*) (?P<cached>\w*): (?P<message>.*)$"
SECOND = r"^level=(?P<level>\w+)(?: took=(?P<took>\S+))?"
TYPES = {"http.status": "integer", "took": "number", "cached": "boolean"}


def made(patterns: str | list[str], **settings_: Any) -> Regex:
    """A decoder."""
    adds = settings_.pop("adds", ("client.geo",))
    return Regex(Regex.Config(patterns=patterns, **settings_), READS, adds)


def decode(decoder: Regex, lines: Sequence[str]) -> Columns:
    """The columns of a batch of these lines."""
    return decoder.decode(PlainGate({}).admit(batch_of([line.encode() for line in lines], 0)))


def documents(columns: Columns) -> list[dict[str, Any]]:
    """The rows as objects."""
    return [json.loads(row + b"}") for row in columns.rows]


def number(text: str, pattern: str) -> float | None:
    """A text as a number; None where it is none."""
    return float(text) if re.fullmatch(pattern, text, re.ASCII) else None


def alone(line: str) -> dict[str, Any] | None:
    """A line read by itself, without its time; None where it is refused."""
    first, second = (pattern.replace("$", r"\Z").replace(r"\S", r"[^\t\n\f\r ]") for pattern in (FIRST, SECOND))
    found = re.search(first, line, re.ASCII) or re.search(second, line, re.ASCII)
    if found is None:
        return None
    document: dict[str, Any] = {"message": line}
    for name, text in found.groupdict().items():
        if not text or name == "timestamp":
            continue
        value: object = text
        if name == "http__status":
            value = number(text, r"[+-]?\d+")
        elif name == "took":
            value = number(text, r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
        elif name == "cached":
            value = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False}.get(text.lower())
        if value is None:
            return None
        document[name.replace("__", ".")] = value
    if "message" in found.groupdict():
        document["message"] = found["message"]
    return document


texts = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=8)
numbers = st.sampled_from(
    ["200", "", "007", "+5", "-0", "3.5", ".5", "5.", "1e3", "0x1f", "x", "-", "1,2", "null", "-.5e-1", "00.10"]
)
words = st.sampled_from(["true", "NO", "1", "", "maybe", "on"])
formed = st.builds(
    "2026-02-05 14:30:45 {} {} {} {}: {}".format, st.sampled_from(["INFO", "WARN", "x"]), numbers, numbers, words, texts
)
others = st.builds(
    "level={}{}{}".format, st.sampled_from(["info", "ä", "w"]), st.sampled_from(["", " took=1.5", " took=x", " took="]), texts
)


@settings(deadline=None)
@given(
    st.lists(formed | others | texts.filter(lambda text: not text.startswith('{"message"')), min_size=1, max_size=8).filter(all)
)
@example(["2026-02-05 14:30:45 INFO 200  : ok", "level=info took=2", "neither"])
@example(['level=i "\\\t'])
def test_each_line_says_what_it_says_alone(lines: list[str]) -> None:
    """Whatever stands beside it: first pattern, second pattern, or kept as text."""
    columns = decode(made([FIRST, SECOND], types=TYPES), lines)
    for row, (line, document) in enumerate(zip(lines, documents(columns), strict=True)):
        expected = alone(line)
        assert document == (expected or {"message": line})
        assert any(flag.startswith("parse_error:") for flag in columns.flags.get(row, ())) == (expected is None)
        for name in READS[:-1]:
            assert columns.column(name)[row] == document.get(name)


def test_a_line_in_no_pattern_is_kept_as_text() -> None:
    """With a reason that quotes nothing of it."""
    columns = decode(
        made(FIRST, types=TYPES), ["nothing of the kind", "2026-02-05 14:30:45 INFO 2.5  : a", "2026-02-05 14:30:45 INFO 2  x: a"]
    )
    assert {
        0: ("parse_error:no pattern matches",),
        1: ("parse_error:a whole number was expected",),
        2: ("parse_error:true or false was expected",),
    } == columns.flags
    assert "nothing of the kind" == columns.column("message")[0]


def test_the_whole_line_is_the_message_where_no_group_is() -> None:
    """So that nothing of it is lost; with a group of that name, what it holds."""
    assert [{"message": "a b", "x": "a"}] == documents(decode(made(r"(?P<x>\w)"), ["a b"]))
    assert [{"message": "b", "x": "a"}] == documents(decode(made(r"(?P<x>\w) (?P<message>.*)"), ["a b"]))


@pytest.mark.parametrize("name", ["timestamp", "time", "ts", "when"])
def test_a_group_dates_the_record(name: str) -> None:
    """By its name, or the name that it is given; with layouts and a zone of its own."""
    settings_ = {"fields": {"when": "@timestamp"}} if name == "when" else {}
    decoder = made(
        rf"^(?P<{name}>.*?) - (?P<message>.*)",
        layouts=[LayoutText("%d.%m.%Y %H:%M")],
        zone=Timezone("Europe/Berlin"),
        **settings_,
    )
    columns = decode(decoder, ["05.02.2026 14:30 - text"])
    assert [{"message": "text"}] == documents(columns)
    assert decoder.timeline is not None
    times = decoder.timeline.read(columns.column("@timestamp"), 0.0)
    assert [b"2026-02-05T13:30:00.000Z"] == list(times.stamps)


def test_without_settings_of_its_own_the_pipeline_says_how_times_are_written() -> None:
    """There is no timeline then."""
    assert made(FIRST).timeline is None
    assert made(FIRST, fold="second").timeline is not None


def test_several_groups_for_one_field_give_it_the_first_that_holds_something() -> None:
    """In one pattern, and over several; what falls back to a later pattern has that one's fields."""
    decoder = made([r"^(?:id=(?P<a>\d+)|user=(?P<b>\w+)) (?P<message>.*)", r"^(?P<b>\w+)$"], fields={"a": "who", "b": "who"})
    found = documents(decode(decoder, ["id=7 x", "user=eve y", "bob", "-"]))
    assert [
        {"message": "x", "who": "7"},
        {"message": "y", "who": "eve"},
        {"message": "bob", "who": "bob"},
        {"message": "-"},
    ] == found


def test_further_lines_of_a_record_stay_with_its_message() -> None:
    """A frame put them together."""
    line = json.dumps({"message": "WARN one\n  two\n  three"}, separators=(",", ":"))
    assert [{"message": "one\n  two\n  three", "level": "WARN"}] == documents(
        decode(made(r"^(?P<level>\w+) (?P<message>.*)$"), [line])
    )
    assert [{"message": "WARN one\n  two\n  three", "level": "WARN"}] == documents(decode(made(r"^(?P<level>\w+)"), [line]))


def test_a_field_beside_what_a_stage_adds_is_merged() -> None:
    """Its rows are odd; others are not."""
    assert {0} == decode(made(r"(?P<client>\w+)"), ["a"]).odd
    assert set() == decode(made(r"(?P<client__ip>\w+)", adds=()), ["a"]).odd


@pytest.mark.parametrize(
    ("settings_", "message", "field", "hint"),
    [
        ({"patterns": "(?P<a>x"}, "the pattern cannot be used: missing )", "patterns", "RE2"),
        ({"patterns": [r"(?P<a>x)", r"(?P<b>x)\1"]}, "the pattern cannot be used: invalid escape sequence", "patterns.1", "RE2"),
        ({"patterns": r"(\w+)"}, "the pattern has no named group", "patterns", "(?P<level>"),
        ({"patterns": []}, "there is no pattern", "patterns", "write one"),
        ({"patterns": "(?P<host>x)"}, "documents have an object `host` from us", "patterns", "fields: {host: host.hostname}"),
        (
            {"patterns": "(?P<a>x)", "fields": {"a": "shipper"}},
            "documents have an object `shipper` from us",
            "fields.a",
            "fields: {a:",
        ),
        ({"patterns": "(?P<a>x)", "fields": {"a": "a b"}}, "`a b` is no name of a field", "fields.a", "client.ip"),
        ({"patterns": "(?P<a>x)", "fields": {"a": "a..b"}}, "`a..b` is no name of a field", "fields.a", "client.ip"),
        (
            {"patterns": "(?P<status>x)", "fields": {"statsu": "a"}},
            "there is no group `statsu`",
            "fields.statsu",
            "did you mean `status`?",
        ),
        (
            {"patterns": "(?P<status>x)", "types": {"statsu": "integer"}},
            "there is no group `statsu`",
            "types.statsu",
            "did you mean `status`?",
        ),
        ({"patterns": "(?P<a>x)(?P<a__b>y)"}, "`a` is a value, and `a.b` makes it an object", "patterns", "another name"),
    ],
)
def test_what_cannot_work_is_refused(settings_: dict[str, Any], message: str, field: str, hint: str) -> None:
    """At the setting that is wrong, with what to do."""
    with pytest.raises(ComponentError) as caught:
        Regex(Regex.Config(**settings_), READS, ())
    assert (message, field) == (caught.value.message, caught.value.field)
    assert hint in caught.value.hint


def test_types_go_by_the_name_of_the_group_or_of_the_field() -> None:
    """Whichever the user has in mind."""
    for key in ("s", "http.response.status_code"):
        decoder = made(r"^(?P<s>\d+)", fields={"s": "http.response.status_code"}, types={key: "integer"})
        assert [{"message": "200 x", "http.response.status_code": 200}] == documents(decode(decoder, ["200 x"]))


PIPELINE = """\
name: app
sources:
  - type: file
    include: [/var/log/app.log]
    decode: {regex: '^(?P<level>\\w+) (?P<message>.*)$'}
  - type: file
    include: [/var/log/other.log]
    decode:
      regex:
        patterns: ['^(?P<level>\\w+', '^(?P<level>\\w+) (?P<status>\\d+)']
        types: {status: integer}
        layouts: ['%d/%b/%Y']
"""


def test_a_pipeline_names_patterns_in_short_or_with_settings(tmp_path: Path) -> None:
    """A mistake is told at its place."""
    path = tmp_path / "app.yaml"
    path.write_text(PIPELINE.replace("w+'", "w+)'"))
    first, second = assembly.read_pipeline(str(path), {}).sources
    assert r"^(?P<level>\w+) (?P<message>.*)$" == first.decode.config.patterns
    assert {"status": "integer"} == second.decode.config.types
    path.write_text(PIPELINE)
    pipeline = assembly.read_pipeline(str(path), {})
    with pytest.raises(ConfigError) as caught:
        assembly.make_parts(
            pipeline, assembly.Surroundings({"SHIPPER_STATE": str(tmp_path)}, "", bytes(32)), assembly.Horizon(0.0)
        )
    (fault,) = caught.value.faults
    assert (10, 20) == (fault.place.line, fault.place.column)
