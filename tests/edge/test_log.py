"""The agent's own log: JSON lines with constant messages, limited in rate, that no value can forge."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.edge import log
from tests.kit.site import ROOT

VARYING = {
    ("flow.py", "informed"),
    ("flow.py", "noted"),
    ("flow.py", "began"),
    ("push_inlet.py", "noted"),
    ("assembly.py", "tell"),
}
"""Functions whose message is a variable: each takes it from a table of constants."""


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """The lines written so far; each must be whole."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def line_at(second: float, message: str = "a message") -> logging.LogRecord:
    """A line written at a time of our choice."""
    made = logging.LogRecord("shipper", logging.INFO, "", 0, message, None, None)
    made.created = 1_770_000_000.0 + second
    made.fields = {"n": second}
    return made


def handler() -> logging.Handler:
    """The one handler of the log."""
    [found] = logging.getLogger("shipper").handlers
    return found


def test_line_is_json_with_the_names_of_ecs(capsys: pytest.CaptureFixture[str]) -> None:
    """Time in UTC, level, message, and the fields beside them."""
    log.configure("info", "json")
    handler().handle(line_at(0.25))
    assert lines(capsys) == [{"@timestamp": "2026-02-02T02:40:00.250Z", "log.level": "info", "message": "a message", "n": 0.25}]


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """`--log-level warning` leaves out what is less."""
    log.configure("warning", "json")
    for level in ("debug", "info", "warning", "error"):
        log.write(level, "a message")
    assert [line["log.level"] for line in lines(capsys)] == ["warning", "error"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.text() | st.characters() | st.sampled_from(["\n{}", "\x1b[2J", "\x9b2J", "\u2028", "\u202egol.", "caf\udce9", '"}\r']))
@pytest.mark.parametrize("style", ["json", "console"])
def test_value_forges_no_line_and_moves_no_cursor_whatever_it_holds(
    capsys: pytest.CaptureFixture[str], style: str, value: str
) -> None:
    """Law: one write is one line, without a control character; in JSON the value can be read back, but for stray bytes."""
    log.configure("info", style)
    log.write("info", "a message", file=value)
    text = capsys.readouterr().err
    assert text.endswith("\n") and len(text[:-1].splitlines()) == 1
    assert not any(
        ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 or character in "\u2028\u2029\u202e" for character in text[:-1]
    )
    if style == "json":
        found = json.loads(text)["file"]
        assert found == value or any(0xD800 <= ord(character) < 0xE000 for character in value)


def test_lines_of_one_message_are_limited_and_what_was_held_back_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """20 at once, then one a second; the next line that is written says how many were not. Other messages are not concerned."""
    log.configure("info", "json")
    for _ in range(100):
        handler().handle(line_at(0.0))
    handler().handle(line_at(0.0, "another"))
    handler().handle(line_at(0.9))
    handler().handle(line_at(1.0))
    handler().handle(line_at(1.5))
    handler().handle(line_at(1000.0))
    found = lines(capsys)
    assert [line["message"] for line in found] == ["a message"] * log.BURST + ["another"] + ["a message"] * 2
    assert [line.get("held_back") for line in found] == [None] * (log.BURST + 1) + [81, 1]


def test_limit_stands_when_the_clock_is_set_back(capsys: pytest.CaptureFixture[str]) -> None:
    """A clock that jumps neither opens the limit nor closes it for ever."""
    log.configure("info", "json")
    for _ in range(30):
        handler().handle(line_at(0.0))
    handler().handle(line_at(-3600.0))
    handler().handle(line_at(-3590.0))
    assert len(lines(capsys)) == log.BURST + 1


def test_log_is_for_people_where_it_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    """One readable line: time, level, message, fields."""
    log.configure("info", "console")
    log.write("warning", "a message", file="/var/log/a b.log", offset=3)
    text = capsys.readouterr().err
    assert "warning" in text and text.rstrip().endswith("a message  file='/var/log/a b.log' offset=3")


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """(function, call) of each `log.write` in a module."""
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "log.write":
                    yield function.name, node


def is_constant(message: ast.expr) -> bool:
    """A text, or one of two."""
    return isinstance(message, ast.Constant) or (
        isinstance(message, ast.IfExp) and is_constant(message.body) and is_constant(message.orelse)
    )


def test_messages_are_constants_everywhere_in_the_agent() -> None:
    """What varies stands in fields: a message can be searched for, limited in rate, and holds nothing of a record."""
    found = [
        (path.name, function)
        for path in sorted((ROOT / "shipper").rglob("*.py"))
        for function, call in calls(ast.parse(path.read_text()))
        if not is_constant(call.args[1])
    ]
    assert set(found) == VARYING
