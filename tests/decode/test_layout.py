"""What text formats share: rows and columns of a made-up format against a plain reading of each line alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from shipper.config.fields import ComponentConfig
from shipper.decode.layout import Member, Parsed, TextDecoder
from tests.kit.records import PlainGate, batch_of

READS = ("message", "log.level", "event.duration", "@timestamp", "nothing", "host")


class Tabbed(TextDecoder):
    """`message|level|duration|time`, the last three may be empty."""

    class Config(ComponentConfig):
        """No settings."""

    members = (Member("message"), Member("log.level", "word"), Member("event.duration", "number"))
    rest = "error.stack_trace"
    members = (*members, Member("error.stack_trace"))

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Split each line."""
        found = [line.split(b"|") for line in lines]
        refused = {row: "not four parts" for row, parts in enumerate(found) if len(parts) != 4}
        whole = [parts if len(parts) == 4 else [b""] * 4 for parts in found]
        message, level, duration, time = zip(*whole, strict=True) if whole else ((), (), (), ())
        nothing = [b""] * len(lines)
        columns = {"message": message, "log.level": level, "event.duration": duration, "@timestamp": time}
        return Parsed({**columns, "error.stack_trace": nothing}, refused)


def decode(lines: list[bytes], *, adds: Sequence[str] = ("client",)) -> Any:
    """The columns of a batch of these lines."""
    return Tabbed(Tabbed.Config(), READS, adds).decode(PlainGate({}).admit(batch_of(lines, 0)))


def alone(line: bytes) -> tuple[dict[str, Any], bool]:
    """A line read by itself, and whether it is of the format."""
    parts = line.decode().split("|")
    try:
        number = json.loads(parts[2]) if len(parts) == 4 and parts[2] else None
    except ValueError:
        number = "?"
    if len(parts) != 4 or (parts[2] and type(number) not in (int, float)):
        return {"message": line.decode()}, False
    found = {"message": parts[0], "log.level": parts[1] or None, "event.duration": number}
    return {name: value for name, value in found.items() if value is not None}, True


words = st.sampled_from(["INFO", "ERROR", ""])
messages = st.text(st.characters(exclude_characters="\n|", exclude_categories=["Cs"]), max_size=12)
durations = st.sampled_from(["1", "2.5", "", "x", "1,2", "-3e2", "01", "null", "true", '"1"', "[1]"])
formed = st.builds(lambda *parts: "|".join(parts).encode(), messages, words, durations, st.just("2026-02-05T14:30:45Z"))
lines_of = st.lists(formed | messages.map(str.encode).filter(bool), min_size=1, max_size=8)


@given(lines_of)
@example([b"a|INFO|1|", b'b"\\\t|ERROR||', b"c||2|x"])
@example([b'",|INFO||', b'"|INFO||', b"\\n|INFO||", b"\\|INFO||"])
def test_each_line_says_what_it_says_alone(lines: list[bytes]) -> None:
    """Whatever stands beside it; a line that is not of the format is kept as text."""
    columns = decode(lines)
    for row, line in enumerate(lines):
        wanted, formed_line = alone(line)
        assert json.loads(columns.rows[row] + b"}") == wanted
        assert any(flag.startswith("parse_error:") for flag in columns.flags.get(row, ())) == (not formed_line)
        for name in ("message", "log.level", "event.duration"):
            assert columns.column(name)[row] == wanted.get(name)
        assert columns.column("nothing")[row] is None


def test_further_lines_go_where_the_format_says() -> None:
    """A record of several lines comes as an object with its message."""
    text = 'went wrong|ERROR||2026-02-05T14:30:45Z\nTraceback:\n  "x"'
    columns = decode([b'{"message":%b}' % json.dumps(text).encode(), b"a|INFO|1|"])
    record = json.loads(columns.rows[0] + b"}")
    assert record == {"message": "went wrong", "log.level": "ERROR", "error.stack_trace": 'Traceback:\n  "x"'}
    assert columns.column("error.stack_trace") == ['Traceback:\n  "x"', None]


def test_a_record_of_several_lines_that_is_not_of_the_format_keeps_its_lines() -> None:
    """As text, not as the frame's object."""
    columns = decode([b'{"message":"no form\\nat all"}'])
    assert json.loads(columns.rows[0] + b"}") == {"message": "no form\nat all"}


def test_a_member_that_a_stage_fills_makes_rows_odd_and_one_beside_it_does_not() -> None:
    """`log.level` stands beside our `log`; a stage that adds `log.level` itself would collide."""
    assert decode([b"a|INFO|1|"]).odd == set()
    assert decode([b"a|INFO|1|"], adds=("log.level",)).odd == {0}
    assert decode([b"a|INFO|1|"], adds=("message",)).odd == {0}
    assert decode([b"a|INFO|1|"], adds=("event.category",)).odd == set()
