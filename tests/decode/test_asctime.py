"""Asctime: what Python's logging writes in some format is read by the same format, each line as alone, in any company."""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shipper.decode.asctime import DEFAULT, Asctime
from shipper.model.errors import ComponentError
from tests.kit.formats import anything, damaged, documents, hold_together, wrapped

TRACE = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
LINE = "2024-03-15 08:30:00,123 - event_agent.core - INFO - Serving HTTP on port 8000"
FORMATS = [
    DEFAULT,
    "%(asctime)s [%(levelname)s] %(name)s: %(message)s",
    "%(levelname)s:%(name)s:%(message)s",
    "[%(asctime)s] %(levelname)-8s %(name)s - %(message)s",
    "%(asctime)s %(process)d %(threadName)s %(filename)s:%(lineno)4d %(levelname)8s | %(message)s",
    "%(levelname)s %(asctime)s %(module)s.%(funcName)s: %(message)s",
    "%(levelname)s %(message)s (%(name)s)",
    "%(created)f 100%% %(levelname)s %(message)s",
]
ATTRIBUTES = {
    "name": "log.logger",
    "levelname": "log.level",
    "process": "process.pid",
    "threadName": "process.thread.name",
    "filename": "log.origin.file.name",
    "lineno": "log.origin.file.line",
    "module": "log.origin.module",
    "funcName": "log.origin.function",
}


def decoder(layout: str = DEFAULT, **settings: Any) -> Asctime:
    """A decoder of its own."""
    return Asctime(Asctime.Config(layout=layout, **settings), ("message", "log.level", "nothing"), ())


names = st.from_regex(r"[a-z_]{1,8}(\.[a-z_]{1,8}){0,2}", fullmatch=True)
levels = st.sampled_from([logging.INFO, logging.ERROR, logging.WARNING, logging.CRITICAL, 15])
messages = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=20
)
traced_messages = messages | messages.map(f"[{TRACE}] ".__add__)


def records() -> st.SearchStrategy[logging.LogRecord]:
    """What a logger hands to its handlers."""
    return st.builds(
        lambda name, level, text, line, created: _dated(logging.LogRecord(name, level, f"/srv/{name.replace('.', '_')}.py", line, text, None, None, "run"), created),
        names, levels, traced_messages, st.integers(1, 9999), st.floats(1.0e9, 1.8e9),
    )  # fmt: skip


def _dated(record: logging.LogRecord, created: float) -> logging.LogRecord:
    record.created, record.msecs = created, int((created - int(created)) * 1000) + 0.0
    return record


def written(layout: str, record: logging.LogRecord, datefmt: str | None = None) -> str:
    """A line, by the standard library."""
    formatter = logging.Formatter(layout, datefmt)
    formatter.converter = time.gmtime
    return formatter.format(record)


@given(st.sampled_from(FORMATS), st.lists(records(), min_size=1, max_size=5), st.lists(anything, max_size=2))
def test_what_logging_writes_is_read_again(layout: str, written_ones: list[logging.LogRecord], others: list[str]) -> None:
    """Each attribute that its format has, for every record, whatever stands between them."""
    lines = [written(layout, record) for record in written_ones]
    found = hold_together(decoder(layout), [line.encode() for line in [*others, *lines]], ("message", "log.level", "nothing"))
    for record, line, (document, flags, columns) in zip(written_ones, lines, found[len(others) :], strict=True):
        assert flags == "", line
        message = record.getMessage()
        assert document["message"] == message.removeprefix(f"[{TRACE}] ")
        assert document.get("trace.id") == (TRACE if message.startswith(f"[{TRACE}] ") else None)
        for attribute, member in ATTRIBUTES.items():
            assert document.get(member) == (getattr(record, attribute) if f"%({attribute})" in layout else None)
        if "asctime" in layout:
            assert columns["@timestamp"] == record.asctime


def alone(line: str) -> dict[str, str] | None:
    """A line of the default format, read slowly; None where it is none."""
    parts = line.split(" - ", 3)
    if len(parts) != 4 or not re.fullmatch(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d([.,]\d{1,9})?", parts[0], re.ASCII):
        return None
    if len(parts[1].encode()) > 256 or not re.fullmatch(r"Level -?\d{1,9}|(?!Level )[A-Za-z]\w{0,31}", parts[2], re.ASCII):
        return None
    message = re.fullmatch(r"(?:\[([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\] )?(.*)", parts[3], re.DOTALL)
    assert message is not None
    found = {"message": message[2], "log.logger": parts[1], "log.level": parts[2], "trace.id": message[1]}
    return {name: value for name, value in found.items() if value or name == "message"}


usual = st.sampled_from(
    [
        LINE,
        LINE.replace("INFO", "ERROR"),
        LINE.replace("Serving", f"[{TRACE}] Serving"),
        LINE.replace(",123", ""),
        LINE.replace("INFO", "Level 15"),
    ]
)


@given(st.lists(usual | anything | usual.flatmap(damaged), min_size=1, max_size=6))
@example([LINE, LINE.replace("event_agent.core - INFO", "event_agent.core"), LINE])
@example(["2024-03-15 08:30:00,123 - x", "y - INFO - z", LINE])
@example([LINE.replace("event_agent.core", ""), LINE.replace("event_agent", "event agent"), LINE.replace("Serving", " - ")])
def test_each_line_says_what_it_says_alone(texts: list[str]) -> None:
    """Whatever stands beside it; what is not of the format is kept as text."""
    found = hold_together(decoder(), [text.encode() for text in texts])
    for text, (record, flags, _) in zip(texts, found, strict=True):
        wanted = alone(text)
        assert record == (wanted if wanted is not None else {"message": text})
        assert flags == ("" if wanted is not None else "parse_error:not in the format of the settings")


@given(st.sampled_from(FORMATS), st.lists(anything, max_size=4).map(" - ".join), st.data())
def test_damaged_lines_of_any_format_depend_on_no_neighbours(layout: str, junk: str, data: st.DataObject) -> None:
    """The block's expression and the line's take the same."""
    line = written(layout, data.draw(records()))
    hold_together(decoder(layout), [text.encode() for text in (line, data.draw(damaged(line)), junk, line)])


def one(lines: Sequence[bytes], **settings: Any) -> dict[str, Any]:
    """The last of some documents."""
    return documents(decoder(**settings), lines)[-1][0]


def test_a_traceback_tells_what_was_raised() -> None:
    """As `logger.exception` writes it, its lines put together by the frame."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter(DEFAULT))
    logger = logging.Logger("event_agent.graph")
    logger.addHandler(handler)
    try:
        raise ValueError("no such manifest")
    except ValueError:
        logger.exception("Failed to load\nmanifest.json")
    record = one([LINE.encode(), wrapped(out.getvalue().rstrip("\n"))])
    assert record.pop("error.stack_trace").startswith("Traceback (most recent call last):\n  File ")
    assert record == {
        "message": "Failed to load\nmanifest.json",
        "log.logger": "event_agent.graph",
        "log.level": "ERROR",
        "error.type": "ValueError",
        "error.message": "no such manifest",
    }


@pytest.mark.parametrize(
    ("datefmt", "layout", "line", "wanted"),
    [
        (None, DEFAULT, "2024-07-15 08:30:00,123 - a - INFO - x", b"2024-07-15T06:30:00.123Z"),
        ("%d.%m.%Y %H:%M:%S", DEFAULT, "15.07.2024 08:30:00 - a - INFO - x", b"2024-07-15T06:30:00.000Z"),
        ("%Y-%m-%dT%H:%M:%S%z", DEFAULT, "2024-07-15T08:30:00+0000 - a - INFO - x", b"2024-07-15T08:30:00.000Z"),
        ("%d/%b/%Y %H:%M", DEFAULT, "15/Jul/2024 08:30 - a - INFO - x", b"2024-07-15T06:30:00.000Z"),
        ("%H:%M:%S %Y-%m-%d", "%(asctime)s.%(msecs)03d %(message)s", "08:30:00 2024-07-15.123 x", b"2024-07-15T06:30:00.123Z"),
        (None, "%(created)f %(message)s", "1721025000.123456 x", b"2024-07-15T06:30:00.123456Z"),
    ],
)
def test_times_are_of_the_programs_clock(datefmt: str | None, layout: str, line: str, wanted: bytes) -> None:
    """Local time of the zone in the settings, in the format that the program has."""
    made = decoder(layout, datefmt=datefmt, zone="Europe/Berlin")
    found = hold_together(made, [line.encode()] * 2)
    assert made.timeline is not None
    assert made.timeline.read([columns["@timestamp"] for *_, columns in found], 0.0).stamps == [wanted] * 2


@pytest.mark.parametrize(
    "layout",
    ["%(asctime)s", "%(message)", "%(name)s%(message)s", "%(message)s %(message)s", "%d %(message)s", "%(asctime)s\n%(message)s"],
)
def test_a_format_that_cannot_be_read_is_refused(layout: str) -> None:
    """With what to write instead."""
    with pytest.raises(ComponentError) as refused:
        decoder(layout)
    assert (refused.value.field, bool(refused.value.hint)) == ("layout", True)


def test_a_long_line_of_nonsense_is_refused_at_once() -> None:
    """No expression here goes back over a line more than a bounded number of times."""
    for layout in FORMATS:
        for text in (
            " - " * 300_000,
            "2024-03-15 08:30:00,123 " + "a " * 400_000,
            "[" * 10**6,
            "2024-03-15 08:30:00,123 - a - INFO" + " " * 10**6,
        ):
            documents(decoder(layout), [text.encode()])
