"""syslog: lines against what the model reads of each alone, and files as rsyslog, journald and others write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper.decode.syslog import Syslog
from shipper.model.columns import Columns
from shipper.model.localtime import Timezone
from shipper.model.syslog import Reader
from tests.kit.records import PlainGate, batch_of

LEAP_YEAR = 2024
READS = (
    "message", "log.level", "host.hostname", "process.name", "process.pid", "log.syslog.procid", "log.syslog.priority",
    "log.syslog.facility.name", "log.syslog.structured_data", "log.syslog.msgid", "event.original", "@timestamp",
)  # fmt: skip


def decode(lines: Sequence[str], zone: str = "UTC") -> tuple[Syslog, Columns]:
    """The columns of a batch of these lines."""
    made = Syslog(Syslog.Config(zone=Timezone(zone)), READS, ("client",))
    return made, made.decode(PlainGate({}).admit(batch_of([line.encode() for line in lines], 0)))


def alone(line: str) -> tuple[dict[str, Any], bool]:
    """What the model says of a line, whose date is in a leap year; and whether it has a header at all."""
    fields = json.loads(Reader("UTC", LEAP_YEAR).row(line.encode()))
    dated = "@timestamp" in fields or "event.original" in fields
    fields.pop("@timestamp", None)
    return fields, dated or "log.syslog.priority" in fields


priorities = st.sampled_from(["", "<13>", "<0>", "<191>", "<192>", "<013>", "<>"])
dates = st.sampled_from(
    ["Feb  5 14:30:45", "Feb 15 14:30:45", "Feb 29 14:30:45", "Feb 30 14:30:45", "Foo  5 14:30:45", "Feb 5 14:30:45", "Feb  5 14:30:45.123456",
     "Feb  5 2026 14:30:45", "2026-02-05T14:30:45.123456+01:00", "2026-02-05T14:30:45Z", "2026-02-05T14:30:45", "2026-02-30T14:30:45Z",
     "2026-02-05T14:30:45.1234567891Z", "-", ""]
)  # fmt: skip
hosts = st.sampled_from(["host ", "10.0.0.1 ", "fe80::1 ", "", "a[b] ", "h\u00f6st ", "  "])
tags = st.sampled_from(
    ["sshd[42]: ", "cron: ", "a/b[x-1]: ", "kernel: ", "t[007]: ", "", "tag:", "tag: ", "long" * 33 + ": ", "[x]: "]
)
texts = st.sampled_from(["", "text", "[a] b", 'with "quotes" \\ and [x y="z"] in it', "caf\u00e9", "\ufeffmarked", "a\tb", "ends with NUL\0", "in\rside"]) | st.text(
    st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12
)  # fmt: skip
old = st.builds(lambda *parts: "{}{} {}{}{}".format(*parts), priorities, dates, hosts, tags, texts)
elements = st.sampled_from(
    [
        "-",
        "[a]",
        '[a b="c"]',
        '[a b="c"][d e="f" g="h"]',
        '[a b="c" b="d"]',
        '[a b="c"][a b="d"]',
        '[a b="\\"c"]',
        "[a b]",
        '[a b="]"]',
        "",
    ]
)
new = st.builds(
    lambda *parts: "{}{} {} {} {} {} {} {}{}".format(*parts),
    st.sampled_from(["<34>", "<165>", "<192>", ""]), st.sampled_from(["1", "2", "01"]), dates, st.sampled_from(["host", "-", "-x"]),
    st.sampled_from(["app", "-"]), st.sampled_from(["42", "-", "p7", "007"]), st.sampled_from(["ID47", "-"]), elements,
    st.sampled_from(["", " "]).flatmap(lambda blank: texts.map(lambda text: blank + text)),
)  # fmt: skip
GOOD = ["Feb  5 14:30:45 host sshd[42]: text", "<34>1 2026-02-05T14:30:45Z host app 42 ID47 - text"]


@settings(deadline=None, max_examples=300)
@given(st.lists(old | new | texts | st.sampled_from(GOOD), min_size=1, max_size=6))
@example(["", *GOOD])
@example([GOOD[1], GOOD[0], '<34>1 - - - - - [a b="c"] [x] y', "<34>1 - - - - - -"])
def test_lines_say_what_the_model_reads_in_each_alone(lines: list[str]) -> None:
    """Whatever stands beside a line: its members, its columns, and whether it has a header."""
    _, columns = decode(lines)
    for row, line in enumerate(lines):
        members, has_header = alone(line)
        assert (row in columns.flags) == (not has_header)
        document = json.loads(columns.rows[row] + b"}")
        assert document == (members if has_header else {"message": line})
        for name in READS[:-1]:
            value = columns.column(name)[row]
            assert value == document.get(name) or (value is None and document[name] == "")


FILES = [
    ("Feb  5 14:30:45 web1 sshd[4242]: Accepted publickey for root from 10.1.2.3", "2026-02-05T13:30:45.000Z",
     {"host.hostname": "web1", "process.name": "sshd", "process.pid": 4242, "message": "Accepted publickey for root from 10.1.2.3"}),
    ("Dec 31 23:59:59 web1 kernel: [    0.000000] Linux version 6.1", "2025-12-31T22:59:59.000Z",
     {"host.hostname": "web1", "process.name": "kernel", "message": "[    0.000000] Linux version 6.1"}),
    ("2026-02-05T14:30:45.123456+01:00 web1 systemd[1]: Started cron.service.", "2026-02-05T13:30:45.123456Z",
     {"host.hostname": "web1", "process.name": "systemd", "process.pid": 1, "message": "Started cron.service."}),
    ("Feb  5 14:30:45 web1 last message repeated 3 times", "2026-02-05T13:30:45.000Z",
     {"host.hostname": "web1", "message": "last message repeated 3 times"}),
    ("Feb  5 14:30:45 CRON[7]: (root) CMD (true)", "2026-02-05T13:30:45.000Z",
     {"process.name": "CRON", "process.pid": 7, "message": "(root) CMD (true)"}),
    ('<165>1 2026-02-05T14:30:45.003Z web1 evntslog - ID47 [ex@32473 iut="3"] An event', "2026-02-05T14:30:45.003Z",
     {"host.hostname": "web1", "process.name": "evntslog", "log.syslog.msgid": "ID47", "message": "An event", "log.level": "notice",
      "log.syslog.facility.name": "local4", "log.syslog.structured_data": {"ex@32473": {"iut": "3"}}, "log.syslog.priority": 165}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "stamp", "members"), FILES)
def test_a_line_is_read_as_programs_write_it(line: str, stamp: str, members: dict[str, Any]) -> None:
    """Members, and the time in the zone, in the year nearest to the record before."""
    made, columns = decode([line], "Europe/Berlin")
    document = json.loads(columns.rows[0] + b"}")
    assert {name: document.get(name) for name in members} == members
    times = made.timeline.read(columns.column("@timestamp"), 1_770_300_000)
    assert (list(times.stamps), times.flags) == ([stamp.encode()], {})


def test_a_line_without_priority_and_date_is_a_message_and_says_so() -> None:
    """A trace between the lines, or another log."""
    _, columns = decode(["  File x.py, line 7"])
    assert columns.flags == {0: ("parse_error:no syslog header",)}
    assert columns.rows == [b'{"message":"  File x.py, line 7"']


def test_a_date_that_does_not_exist_keeps_the_line_and_is_flagged_when_it_is_dated() -> None:
    """Nothing of it is lost."""
    made, columns = decode(["Feb 30 14:30:45 web1 cron: x"])
    assert columns.column("event.original") == ["Feb 30 14:30:45 web1 cron: x"]
    assert made.timeline.read(columns.column("@timestamp"), 0).flags == {0: "timestamp_unreadable"}


def test_the_caches_stay_small_when_every_line_has_other_data() -> None:
    """They are emptied when they are full."""
    made = Syslog(Syslog.Config(), READS, ())
    lines = [
        f'<34>1 2026-02-05T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z h a - - [m s="{n}"] x'.encode() for n in range(5000)
    ]
    found = made.read(lines)
    assert found.refused == {}
    assert found.fields["log.syslog.structured_data"][4999] == {"m": {"s": "4999"}}
    assert len(made._data) <= 4096
    assert len(made._stamps) <= 4097
