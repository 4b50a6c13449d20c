"""Traces: what Python really writes of exceptions is taken apart again."""

from __future__ import annotations

import io
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.traceback import Traceback

from shipper.decode.traces import raised, traced

messages = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20).map(str.strip)


class OrderError(Exception):
    """One of a program's own."""


def trace_of(error: BaseException) -> str:
    """An exception, raised and caught, as the standard library tells of it."""
    try:
        raise error
    except BaseException as caught:
        return "".join(traceback.format_exception(caught)).rstrip("\n")


@given(messages, st.sampled_from([ValueError, OrderError, KeyboardInterrupt]), messages.filter(bool))
def test_a_trace_tells_type_and_message(message: str, kind: type[BaseException], before: str) -> None:
    """And what stands before it belongs to the message of the record."""
    trace = trace_of(kind(message) if message else kind())
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    found = traced(f"{before}\n{trace}".encode())
    assert found == {
        "message": before.encode(),
        "error.stack_trace": trace.encode(),
        "error.type": name.encode(),
        "error.message": message.encode(),
    }


def test_of_several_traces_the_last_counts() -> None:
    """It is what reached the logger."""
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise OrderError("outer\nsecond line\n  third") from inner
    except OrderError as error:
        trace = "".join(traceback.format_exception(error)).rstrip("\n")
    assert trace.count("Traceback") == 2
    found = raised(trace.encode())
    assert found["error.type"].endswith(b"OrderError")
    assert found["error.message"] == b"outer\nsecond line\n  third"


def test_a_syntax_error_shows_code_and_is_told_all_the_same() -> None:
    """Its lines of code and markers are none of the message."""
    with pytest.raises(SyntaxError) as caught:
        compile("x = = 1", "jobs.py", "exec")
    assert raised("".join(traceback.format_exception(caught.value)).encode()) == {
        "error.type": b"SyntaxError",
        "error.message": b"invalid syntax",
    }


def test_a_drawn_trace_is_understood() -> None:
    """As rich frames it, which structlog uses where it is installed."""
    try:
        raise ValueError("drawn")
    except ValueError as error:
        drawn = Traceback.from_exception(type(error), error, error.__traceback__)
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(drawn)
    found = traced(out.getvalue().rstrip("\n").encode())
    assert (found["error.type"], found["error.message"]) == (b"ValueError", b"drawn")
    assert "message" not in found


def test_lines_that_are_no_trace_belong_to_the_message() -> None:
    """A pretty-printed object, say."""
    assert traced(b"{\n  1\n}") == {"message": b"{\n  1\n}"}


def test_a_stack_says_of_no_exception() -> None:
    """`stack_info=True` only tells where the call was."""
    stack = b'Stack (most recent call last):\n  File "a.py", line 3, in <module>\n    log.info("x", stack_info=True)'
    assert traced(stack) == {"error.stack_trace": stack}


def test_long_nonsense_is_read_at_once() -> None:
    """Nothing here goes back over it again and again."""
    begin = b"Traceback (most recent call last)\n"
    for text in (b"a" * 10**6, begin + b'  File "x", line 1\n' * 50_000, b" | " * 300_000, begin + b"x.y: " * 200_000):
        assert sum(map(len, traced(text).values())) >= len(text)
