"""Structlog console: what structlog's own renderer writes is read again, each line as alone, in any company."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
import structlog
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from structlog.dev import ConsoleRenderer

from shipper.decode.structlog_console import StructlogConsole
from shipper.model.errors import ComponentError
from tests.kit.formats import anything, damaged, documents, hold_together, wrapped

READS = ("message", "log.level", "steps_count", "customer", "payload.a", "nothing")
LINE = (
    "2025-12-07 10:30:15 [info     ] workflow_definition_built      customer='Stadtwerke Wülfrath' phases_count=5 steps_count=24"
)


def decoder(**settings: Any) -> StructlogConsole:
    """A decoder of its own."""
    return StructlogConsole(StructlogConsole.Config(**settings), READS, ("client.geo",))


def rendered(event: str, *, colours: bool = False, sort_keys: bool = True, **more: Any) -> str:
    """A line, as the library writes it."""
    renderer = ConsoleRenderer(colors=colours, sort_keys=sort_keys, exception_formatter=structlog.dev.plain_traceback)
    return str(renderer(None, "info", {"event": event, **more}))


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"], exclude_characters="\x1b"), max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1b"), max_size=12)
events = st.one_of(
    st.sampled_from(
        ["workflow_definition_built", "api_request_completed", "retry", "Graph API rate limit, retrying in a moment", "größe"]
    ),
    st.from_regex(r"[a-z_]{1,40}", fullmatch=True),
    st.lists(st.from_regex(r"[a-zA-ZäÄß,.]{1,9}", fullmatch=True), min_size=1, max_size=7).map(" ".join),
)
keys = st.sampled_from(
    ["customer", "steps_count", "duration_ms", "request_id", "a", "a.b", "payload", "error_type", "ok", "größe"]
)
scalars = st.one_of(
    st.just({"a": 7}),
    texts, words, st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none(),
    st.sampled_from(["Stadtwerke Wülfrath", "req-123", "https://epilot.io/v1?x=1", "", "it's", 'a "b"', "wf5", "5wf", "x=1", "a\\b", "tab\t", 0, 450.2]),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2), max_leaves=4
)
pairs = st.dictionaries(keys, values, max_size=5)
levels = st.sampled_from(["info", "warning", "error", "debug", "critical"])
times = st.sampled_from(
    [
        "2025-12-07 10:30:15",
        "2025-12-07T10:30:15.123456Z",
        "2025-12-07T10:30:15.123456+01:00",
        "1765103415.25",
        "2025-12-07 10:30",
    ]
)
loggers = st.none() | st.sampled_from(["epilot.flows", "scripts.workflows.create"])


def is_plain(value: Any) -> bool:
    """Whether the renderer leaves no doubt what a value was: a text that looks like something else stands without quotes."""
    if not isinstance(value, str):
        return True
    if set(value) & set(" \t=\r\n\"'"):
        return True
    looks_like = re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?|True|False|None", value) is not None
    return not looks_like and not set(value) & set("[](){}<>\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029")


@st.composite
def logged(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """What a program says, and the line that is written of it."""
    said = draw(pairs)
    assume(all(map(is_plain, said.values())))
    event, level, time, logger = draw(events), draw(levels), draw(times), draw(loggers)
    more = {**said, "level": level, "timestamp": time, **({"logger": logger} if logger else {})}
    line = rendered(event, colours=draw(st.booleans()), sort_keys=draw(st.booleans()), **more)
    wanted = {"message": event, "log.level": level, "@timestamp": time, **({"log.logger": logger} if logger else {})}
    return {**wanted, **said}, line


@given(st.lists(logged(), min_size=1, max_size=6), st.lists(anything, max_size=2))
def test_what_structlog_renders_is_read_again(said: list[tuple[dict[str, Any], str]], others: list[str]) -> None:
    """Texts, numbers and what is built of them, coloured or not, among lines of other programs."""
    found = hold_together(decoder(), [line.encode() for line in [*others, *(line for _, line in said)]], READS)
    for (wanted, line), (record, flags, columns) in zip(said, found[len(others) :], strict=True):
        assert flags == "", line
        assert {"@timestamp": columns["@timestamp"], **record} == json.loads(json.dumps(wanted)), line
        payload = record.get("payload")
        assert columns["steps_count"] == record.get("steps_count")
        assert columns["payload.a"] == (payload.get("a") if isinstance(payload, dict) else None)


@settings(max_examples=50)
@given(st.data(), logged(), st.integers(4, 12))
def test_lines_of_one_kind_are_read_by_a_template_as_each_alone(
    data: st.DataObject, model: tuple[dict[str, Any], str], count: int
) -> None:
    """The same event and keys, other values; also damaged ones among them."""
    wanted, line = model
    colours = "\x1b" in line
    ours = {"message", "log.level", "@timestamp", "log.logger"}
    lines = []
    for _ in range(count):
        said = {
            key: data.draw(values.filter(is_plain) if data.draw(st.booleans()) else st.just(value))
            for key, value in wanted.items()
            if key not in ours
        }
        more = {
            "level": wanted["log.level"],
            "timestamp": wanted["@timestamp"],
            **({"logger": wanted["log.logger"]} if "log.logger" in wanted else {}),
        }
        lines.append(rendered(wanted["message"], colours=colours, **said, **more))
    lines.append(data.draw(damaged(line)))
    assert {flags for _, flags, _ in hold_together(decoder(), [line.encode() for line in lines], READS)[:-1]} == {""}


near = st.sampled_from([
    LINE, LINE.replace("5", "6"), LINE.replace("'Stadtwerke Wülfrath'", "Bonn"), LINE.replace("[info     ] ", ""), LINE[20:],
    LINE.replace("workflow_definition_built     ", "a longer event than thirty characters"), LINE.replace("=5", "=None"), LINE[:60], LINE + " steps_count=25",
    LINE.replace("phases_count", "host"), LINE.replace("phases_count", "error"), LINE.replace("phases_count", "message"), LINE.replace("=24", "={'a': 1}"),
    LINE.replace("customer", "[epilot.flows] customer"), f"\x1b[2m{LINE[:19]}\x1b[0m{LINE[19:]}", LINE.replace("=24", "=[x"), LINE.replace("=24", "=007"),
])  # fmt: skip


@given(st.lists(near | near.flatmap(damaged) | anything, min_size=1, max_size=12))
@example([LINE] * 5 + [LINE.replace("=24", "=1e5"), LINE.replace("=24", "=x"), LINE.replace("10:30", "1x:30")])
@example([LINE.replace("workflow_definition_built", f"workflow {number:15}") for number in range(9)])
@example(
    [f"\x1b[2m{LINE[:19]}\x1b[0m{LINE[19:]}".replace("workflow_definition_built", f"workflow {number:15}") for number in range(9)]
)
def test_no_line_depends_on_its_neighbours(lines: list[str]) -> None:
    """Templates and the careful way say the same; nothing is lost."""
    for text, (record, flags, _) in zip(lines, hold_together(decoder(), [line.encode() for line in lines], READS), strict=True):
        assert not flags or record == {"message": text}


def one(line: str, **settings: Any) -> dict[str, Any]:
    """The record of one line."""
    ((record, flags, _),) = documents(decoder(**settings), [line.encode()])
    assert flags == ""
    return record


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("2025-12-07 10:30:15 [info     ] hello", {"message": "hello", "log.level": "info"}),
        ("2025-12-07 10:30:15 started   a=1", {"message": "started   a=1"}),
        ("[error    ] boom                           error=failed", {"message": "boom", "log.level": "error", "error.message": "failed"}),
        (rendered("x", error="it broke", level="error"), {"message": "x", "log.level": "error", "error.message": "it broke"}),
        (rendered("x", error=None, level="error"), {"message": "x", "log.level": "error"}),
        (rendered("x", message="m", level="info"), {"message": "x", "log.level": "info", "shipper": {"record": {"message": "m"}}}),
        (rendered("x", tags=("a", 1), level="info"), {"message": "x", "log.level": "info", "tags": ["a", 1]}),
        (rendered("a rather long event, said in words", n=1, level="info"), {"message": "a rather long event, said in words", "log.level": "info", "n": 1}),
    ],
)  # fmt: skip
def test_a_line_is_read_as_the_manual_says(line: str, wanted: dict[str, Any]) -> None:
    """Rare forms."""
    assert one(line) == wanted


def test_the_width_of_events_may_be_another() -> None:
    """`pad_event_to` of the renderer; without it the event ends where pairs begin."""
    line = str(ConsoleRenderer(colors=False, pad_event_to=0)(None, "info", {"event": "two words", "level": "info", "n": 1}))
    assert one(line, pad_event=0) == {"message": "two words", "log.level": "info", "n": 1}
    assert one(line) == {"message": "two words n=1", "log.level": "info"}
    with pytest.raises(ComponentError):
        decoder(pad_event=-1)


@pytest.mark.parametrize("colours", [True, False])
def test_a_traceback_tells_what_was_raised(colours: bool) -> None:
    """As the renderer writes it, its lines put together by the frame."""
    out = io.StringIO()
    renderer = ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    logger = structlog.wrap_logger(structlog.PrintLogger(out), processors=[structlog.processors.add_log_level, renderer])
    try:
        raise ValueError("no such workflow")
    except ValueError:
        logger.exception("workflow_failed", customer="Stadtwerke Wülfrath")
    ((record, flags, _),) = documents(decoder(), [wrapped(out.getvalue().rstrip("\n"))])
    assert record.pop("error.stack_trace").startswith("Traceback (most recent call last):")
    assert (record, flags) == (
        {"message": "workflow_failed", "log.level": "error", "customer": "Stadtwerke Wülfrath", "error.type": "ValueError", "error.message": "no such workflow"},
        "",
    )  # fmt: skip


def test_times_without_zone_are_of_the_programs_clock() -> None:
    """Those that say one keep it."""
    made = decoder(zone="Europe/Berlin")
    assert made.timeline is not None
    found = documents(made, [LINE.encode(), LINE.replace("10:30:15", "10:30:15.5Z").encode()])
    read = made.timeline.read([columns["@timestamp"] for *_, columns in found], 0.0)
    assert read.stamps == [b"2025-12-07T09:30:15.000Z", b"2025-12-07T10:30:15.500Z"]


def test_long_nonsense_is_read_at_once() -> None:
    """Each character is looked at a bounded number of times."""
    head = "2025-12-07 10:30:15 [info     ] workflow_definition_built      "
    for text in (
        "a=[ " * 20_000,
        "a='" * 20_000,
        "x=1 " * 20_000 + "y",
        "[" * 200_000,
        " " * 200_000,
        "\x1b[" * 50_000,
        "a=1 b " * 20_000,
    ):
        documents(decoder(), [f"{head}{text}".encode()] * 2)
