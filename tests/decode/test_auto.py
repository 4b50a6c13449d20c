"""auto: each record is what the first format says that takes it alone; the loader tells where its formats are wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.chain import Chain, Dating
from shipper.config.load import load
from shipper.config.pipeline import Component, Pipeline
from shipper.decode.auto import Auto
from shipper.decode.json import Json
from shipper.decode.klog import Klog
from shipper.decode.syslog import Syslog
from shipper.decode.text import Text
from shipper.encode.index import Horizon, Route, Router
from shipper.model.columns import Columns
from shipper.model.errors import ComponentError, ConfigError, Place
from shipper.model.localtime import Timezone
from tests.config.mistakes import MINIMAL
from tests.kit.records import PlainGate, batch_of

READS = ("@timestamp", "message", "log.level", "level", "process.pid", "payload")
ADDS = ("client",)
FORMATS: dict[str, Any] = {
    "json": (Json, Json.Config(nested=["payload"])),
    "klog": (Klog, Klog.Config()),
    "syslog": (Syslog, Syslog.Config(zone=Timezone("Europe/Berlin"))),
    "text": (Text, Text.Config()),
}


def auto(*names: str) -> Auto:
    """A decoder of these formats."""
    parts = [Component("decode", name, *FORMATS[name], Place("p.yaml", 1, 1)) for name in names]
    return Auto(Auto.Config(of=parts), READS, ADDS)


def decode(made: Any, rows: Sequence[bytes]) -> Columns:
    """The columns of a batch."""
    found: Columns = made.decode(PlainGate(made.guards).admit(batch_of(list(rows))))
    return found


def alone(row: bytes, names: Sequence[str]) -> tuple[str | None, bytes, list[Any], tuple[str, ...]]:
    """The format that takes a row by itself, and what it says: the rule, one by one."""
    several_lines = row.startswith(b'{"message":"') and b"\\n" in row and "json" in names
    order = [*[name for name in names if name not in ("json", "text")], "json"] if several_lines else names
    for name in order:
        factory, config = FORMATS[name]
        columns = decode(factory(config, READS, ADDS), [row])
        flags = columns.flags.get(0, ())
        if not any(flag.startswith("parse_error") for flag in flags):
            return name, columns.rows[0], [columns.column(field)[0] for field in READS], flags
    text = decode(Text(Text.Config(), READS, ADDS), [row])
    why = f"parse_error:not {' or '.join(names)}"
    return None, text.rows[0], [text.column(field)[0] for field in READS], (why,)


rows = st.sampled_from(
    [
        b'{"level":"ERROR","message":"a"}', b'{"payload":"{\\"a\\":1}"}', b' {"level":"x"} ', b'{"host":"x"}', b"{}", b'{"level":"\\ud800"}', b'{"level":',
        b"I0205 14:30:45.123456       1 file.go:42] started", b"E0205 14:30:45.123456 1 file.go:42] ", b"Feb  5 14:30:45 web1 sshd[42]: text",
        b"<34>1 2026-02-05T14:30:45Z h app 42 - - text", b"plain text", b"", b"[1]", "caf\u00e9 {".encode(), b'{"@timestamp":"2026-02-05T14:30:45Z"}',
        b'{"message":"line one\\nline two"}', b'{"message":"I0205 14:30:45.1 1 f.go:1] line\\ntrace"}',
    ]
)  # fmt: skip
orders = st.lists(st.sampled_from(["json", "klog", "syslog"]), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.sampled_from([names, [*names, "text"]])
)


@settings(deadline=None, max_examples=300)
@given(orders, st.lists(rows, min_size=1, max_size=8))
def test_each_record_is_what_the_first_format_says_that_takes_it(names: list[str], found: list[bytes]) -> None:
    """Whatever stands beside it."""
    columns = decode(auto(*names), found)
    expected = [alone(row, names) for row in found]
    assert columns.rows == [row for _, row, _, _ in expected]
    for place, field in enumerate(READS):
        assert [repr(value or None) for value in columns.column(field)] == [
            repr(values[place] or None) for _, _, values, _ in expected
        ]
    assert [columns.flags.get(row, ()) for row in range(len(found))] == [flags for *_, flags in expected]
    whose = {row: timeline for timeline, part in columns.timelines for row in part}
    assert sorted(whose) == list(range(len(found)))
    assert [whose[row] is None for row in range(len(found))] == [name in (None, "json", "text") for name, *_ in expected]


def test_a_block_of_one_format_has_the_columns_of_that_format() -> None:
    """Not woven: the same objects."""
    made = auto("json", "klog")
    assert type(decode(made, [b'{"level":"x"}'] * 3).fields).__name__ == "MemberFields"
    lines = [b"I0205 14:30:45.123456       1 file.go:42] started"] * 3
    assert decode(made, lines).timelines == [(made._decoders[1].timeline, range(3))]


def test_times_are_read_in_the_way_of_each_record_in_the_order_of_the_stream() -> None:
    """One without a year takes that of the record before it, whichever format that is of."""
    made = auto("json", "syslog")
    rows = [
        b'{"@timestamp":"2021-12-31T22:59:58Z"}',
        b"Dec 31 23:59:59 web1 cron: x",
        b"Jan  1 00:00:01 web1 cron: x",
        b"no time",
        b'{"@timestamp":"1999-12-31T22:59:58Z"}',
        b"Jan  1 00:00:01 web1 cron: x",
    ]
    router = Router([Route("app")], Horizon(1_770_000_000.0))
    chain = Chain(PlainGate(made.guards), made, [], router, Dating(("timestamp", "@timestamp"), adds=ADDS))
    made._decoders[0] = Json(Json.Config(), ("timestamp", *READS), ADDS)
    body = chain.run(batch_of(rows), 1, 1_770_000_000.0, 0.0).payload.body
    stamps = [json.loads(line)["@timestamp"][:19] for line in body.splitlines()[1::2]]
    assert stamps == [
        "2021-12-31T22:59:58",
        "2021-12-31T22:59:59",
        "2021-12-31T23:00:01",
        "2021-12-31T23:00:01",
        "1999-12-31T22:59:58",
        "1999-12-31T23:00:01",
    ]


@pytest.mark.parametrize(
    ("names", "field", "says"),
    [
        ([], "of", "auto needs formats"),
        (["text", "json"], "of.1", "json is never reached"),
    ],
)
def test_formats_that_can_never_be_reached_are_refused(names: list[str], field: str, says: str) -> None:
    """With the place of the one that is wrong."""
    with pytest.raises(ComponentError, match=says) as caught:
        auto(*names)
    assert caught.value.field == field


def loaded(written: str) -> Pipeline:
    """A pipeline whose source decodes so."""
    return load(MINIMAL.replace("[/a]", f"[/a], decode: {written}"), "p.yaml", {}, lambda name: None)


@pytest.mark.parametrize(
    "written",
    [
        "{auto: [json, {syslog: {zone: Europe/Berlin}}, text]}",
        "{auto: {of: [json, {type: syslog, zone: Europe/Berlin}, text]}}",
        "{type: auto, of: [{json: }, {syslog: Europe/Berlin}, text]}",
    ],
)
def test_formats_are_written_as_under_decode(written: str) -> None:
    """By name, with settings, with `type`, or with the value of their first setting."""
    parts = loaded(written).sources[0].decode.config.of
    assert [(part.type, part.factory) for part in parts] == [("json", Json), ("syslog", Syslog), ("text", Text)]
    assert parts[1].config.zone == "Europe/Berlin"


def underlined(place: Place) -> str:
    """What a fault points at."""
    return place.text[place.column - 1 :][: place.width]


def test_all_mistakes_in_formats_are_told_at_their_places() -> None:
    """Unknown names, unknown settings, wrong values: all at once."""
    with pytest.raises(ConfigError) as caught:
        loaded("{auto: [jsn, {syslog: {zone: Mars}}, {klog: {zome: UTC}}, 5]}")
    assert [(underlined(fault.place), fault.message.partition(",")[0]) for fault in caught.value.faults] == [
        ("jsn", "there is no decode 'jsn'"),
        ("Mars", "zone: expected a time zone such as UTC or Europe/Berlin"),
        ("zome", "`zome` is not known here"),
        ("5", "decode: expected the name of a decode"),
    ]
    with pytest.raises(ConfigError, match="of: expected a list"):
        loaded("{auto: json}")


def test_what_a_format_refuses_when_it_is_made_is_told_at_its_setting() -> None:
    """As if it stood alone."""

    class Picky(Klog):
        def __init__(self, config: Klog.Config, *arguments: Any) -> None:
            raise ComponentError("no such zone today", "zone", "wait")

    component = loaded("{auto: [json, {klog: {zone: UTC}}]}").sources[0].decode
    component.config.of[1] = Component("decode", "klog", Picky, component.config.of[1].config, component.config.of[1].place)
    with pytest.raises(ComponentError) as caught:
        component.factory(component.config, READS, ADDS)
    fault = component.fault(caught.value)
    assert (underlined(fault.place), fault.message, fault.hint) == ("UTC", "auto: klog: no such zone today", "wait")
