r"""Multiline packs: how the traces of a language go on over lines, as tables; and pretty-printed JSON.

RULES
- A pack is a machine over lines. `starts` says which lines begin a trace, and in which state; in each state the first pattern that
  fits the next line leads on. A line that fits none ends the trace. A state of no patterns ends it at once.
- A line may fit on trial: it belongs to the trace only where a sure line follows, within `TRIAL_MAX` lines (the blank line
  before `During handling of the above exception` is no part of a trace that ends there).
- Lines before a trace belong to it: up to `LEAD_MAX` that fit `lead` (the exception's own line, above its `at` lines), and above
  them the line of the logger, if a word in it tells of trouble. A line of JSON, an indented or a blank one is no such line.

SOURCES of the formats: CPython `traceback`, `logging`, `asyncio`; OpenJDK `Throwable.printStackTrace`, logback; Go `runtime`
traceback; Ruby `error.c` (both orders), `Logger`; Node.js `util.inspect` of errors, `node_errors.cc`; PHP `zend_exceptions`,
Monolog; .NET `Exception.ToString`, `SimpleConsoleFormatter`; Rust `std::panicking`, `std::backtrace`, anyhow's `Debug`.

Patterns match at the beginning of a line. None has nested repetition: time is linear in the line.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TRIAL_MAX = 8
LEAD_MAX = 3
CLOSED = "closed"
_TROUBLE = re.compile(
    rb"(?i)err|excep|crit|fatal|warn|fail|panic|alert|emerg|severe|unhandled|uncaught|crash|traceback|\bE\b|\[E|trouble|stack"
)
_HEADER_MAX = 4096
"""Bytes of a line that are searched for trouble."""
_NO_HEADER = re.compile(rb"[{\s]|$")


class Step(msgspec.Struct, frozen=True):
    """One way on: what the line looks like, and the state behind it."""

    pattern: re.Pattern[bytes]
    to: str
    sure: bool = True
    lead: bool = True
    """For the first line: whether lines before it may belong to it."""


class Pack:
    """The machine of one language. Remembers nothing: a state is a value."""

    def __init__(self, triggers: bytes, starts: Sequence[Step], states: Mapping[str, Sequence[Step]], lead: bytes = b"") -> None:
        """`triggers` is a pattern (RE2) of the first bytes of lines that may fit `starts`."""
        self.triggers = triggers
        self._starts = starts
        self._states = states
        self._lead = re.compile(lead) if lead else None
        assert {step.to for step in chain(starts, *states.values())} - {CLOSED} <= states.keys()

    def start(self, row: bytes) -> Step | None:
        """How a trace begins with this line, if one does."""
        return next((step for step in self._starts if step.pattern.match(row)), None)

    def step(self, state: Any, row: bytes) -> tuple[Any, bool] | None:
        """(state, whether the line surely belongs) behind one more line; None where the trace does not go on with it."""
        for step in self._states.get(state, ()):
            if step.pattern.match(row):
                return step.to, step.sure
        return None

    def before(self, rows: Sequence[bytes], at: int, first: int) -> int:
        """Where the lines begin that belong to a trace which begins with line `at`; not before line `first`."""
        low = at
        while self._lead is not None and low > first and at - low < LEAD_MAX and self._lead.match(rows[low - 1]):
            low -= 1
        return low - 1 if low > first and is_header(rows[low - 1]) else low

    def row(self, rows: Sequence[bytes]) -> bytes:
        """The record of a trace of several lines: as JSON the newlines stay content."""
        return as_message(rows)


class JsonPack(Pack):
    """A JSON object over several lines, from a line `{` to the line that closes it. The state is the depth."""

    _OPEN = re.compile(rb"\{\s*$")
    _INSIDE = re.compile(rb'[ \t]+["{}\[\]\-0-9tfn]|[}\]]')
    _TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[{}\[\]]')

    def __init__(self) -> None:
        """A pack without tables."""
        super().__init__(rb"\{[ \t]*$", (Step(self._OPEN, "1", lead=False),), {"1": ()})

    def step(self, state: Any, row: bytes) -> tuple[Any, bool] | None:
        """Strings are passed over; the rest of the line counts."""
        if not self._INSIDE.match(row):
            return None
        tokens = self._TOKEN.findall(row)
        depth = int(state) + sum(map(tokens.count, (b"{", b"["))) - sum(map(tokens.count, (b"}", b"]")))
        return (str(depth) if depth > 0 else CLOSED), True

    def before(self, rows: Sequence[bytes], at: int, first: int) -> int:  # noqa: ARG002 -- as the others
        """Nothing before belongs to it."""
        return at

    def row(self, rows: Sequence[bytes]) -> bytes:
        """The object on one line, its numbers and escapes as they stand; text where it is none."""
        text = b"\n".join(rows)
        try:
            msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            compact = msgspec.json.format(text, indent=-1)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return as_message(rows)
        return as_message(rows) if b"\n" in compact else compact


def as_message(rows: Sequence[bytes]) -> bytes:
    """A record of several lines, as a JSON object on one line."""
    return msgspec.json.encode({"message": b"\n".join(rows).decode()})


def is_header(row: bytes) -> bool:
    """Whether a logger's line may have a trace below it."""
    return not _NO_HEADER.match(row) and _TROUBLE.search(row, 0, _HEADER_MAX) is not None


def _steps(*table: tuple[bytes, str] | tuple[bytes, str, str]) -> tuple[Step, ...]:
    """(pattern, state), with `trial` for lines on trial and `alone` for first lines that have none before them."""
    return tuple(
        Step(re.compile(pattern), to, sure="trial" not in remark, lead="alone" not in remark) for pattern, to, *remark in table
    )


_BLANK = rb"\s*$"
_AT = rb"[ \t]+at "
_PY_TRACEBACK = rb"Traceback \(most recent call last\):"
_PY_GROUP = rb"[ \t]+\+ Exception Group Traceback \(most recent call last\):"
_PY_CHAIN = (
    rb"(?:During handling of the above exception, another|The above exception was the direct cause of the following) exception"
)

_PYTHON = Pack(
    rb"Traceback \(most rec|[ \t]+\+ Exception Group|[ \t]+File \"|Stack \(most rec|Object created at \(most rec",
    _steps(
        (_PY_TRACEBACK, "frames"),
        (_PY_GROUP, "group"),
        (rb'[ \t]+File "[^"]*", line \d+', "frames"),
        (rb"(?:Stack|Object created at) \(most recent call last\):", "stack"),
    ),
    {
        "frames": _steps((rb"[ \t]+\S", "frames"), (rb"[\w.<>\x80-\xff]+(?::|$)", "after")),
        "group": _steps((rb"[ \t]+\S", "group"), (_BLANK, "gap", "trial"), (_PY_CHAIN, "chain", "trial")),
        "stack": _steps((rb"[ \t]+\S", "stack"), (_PY_TRACEBACK, "frames"), (rb"Message: ", "stack"), (rb"Arguments: ", CLOSED)),
        "after": _steps(
            (rb"[ \t]+\S", "after"),
            (_PY_CHAIN, "chain", "trial"),
            (_BLANK, "gap", "trial"),
            (rb"\[(?:SQL|parameters|cached since)|\(Background on this error|LINE \d+: |(?:DETAIL|HINT|CONTEXT): ", "after"),
            (rb"Call stack:$|Stack \(most recent call last\):", "stack"),
            (rb"[\w.\[\]-]+$", "field", "trial"),
        ),
        "field": _steps((rb"[ \t]+\S", "after")),
        "gap": _steps((_BLANK, "gap", "trial"), (_PY_CHAIN, "chain", "trial")),
        "chain": _steps((_BLANK, "chain", "trial"), (_PY_TRACEBACK, "frames"), (_PY_GROUP, "group")),
    },
    lead=rb"(?:future|handle|task|transport|protocol|source_traceback|context): ",
)

_JAVA_AT = rb"[ \t]+at [^\s(]+\("
_JAVA_CAUSE = rb"[ \t]*(?:Caused by|Suppressed|Wrapped by): "
_JAVA_MORE = rb"[ \t]+(?:\.\.\. \d+ |- (?:locked|waiting|parking|eliminated) |\[CIRCULAR REFERENCE)"
_NET_INNER = rb"[ \t]*---> |[ \t]*--- End of "
_JAVA_TRACE = ((_JAVA_AT, "trace"), (_JAVA_CAUSE, "cause"), (_JAVA_MORE, "trace"), (_NET_INNER, "trace"))
"""With what .NET writes between: its `at` lines look like Java's."""

_JAVA = Pack(
    rb"[ \t]+at |[ \t]*Caused by: |Exception in thread \"",
    _steps((_JAVA_AT, "trace"), (_JAVA_CAUSE, "cause"), (rb'Exception in thread "', "cause")),
    {
        "trace": _steps(*_JAVA_TRACE),
        "cause": _steps(*_JAVA_TRACE, (rb"", "cause", "trial")),
    },
    lead=rb"(?:[\w$]+\.)+[\w$]+(?::|\s*$)",
)

_GO_ROUTINE = rb"goroutine \d+ .*\[|runtime stack:"
_GO_LINES = (
    (_GO_ROUTINE, "routine"),
    (rb"created by |\t|\.\.\.|[^\s(]+\(.*\)\s*$|r\w+ +0x|[cfg]s +0x", "routine"),
    (rb"exit status \d", CLOSED),
    (_BLANK, "routine", "trial"),
)

_GO = Pack(
    rb"panic: |fatal error: |goroutine \d|SIG[A-Z]+: |unexpected fault address|runtime: ",
    _steps(
        (rb"panic: |fatal error: |SIG[A-Z]+: |unexpected fault address |runtime: ", "panicked", "alone"),
        (_GO_ROUTINE, "routine"),
    ),
    {
        "panicked": _steps(
            (_GO_ROUTINE, "routine"), (rb"\[signal |\t?panic: |fatal error: |\t", "panicked"), (rb"", "panicked", "trial")
        ),
        "routine": _steps(*_GO_LINES),
    },
)

_RB_PLACE = rb"\S[^\s]*:\d+:in [`']"

_RB_FROM = (rb"[ \t]+from |[ \t]+\.\.\. \d+ levels", "from")

_RUBY = Pack(
    rb"[ \t]+(?:\d+: )?from |[^\s:]+:\d+:in [`']",
    _steps((_RB_PLACE, "trace"), (rb"[ \t]+from .*:\d+", "from"), (rb"[ \t]+\d+: from ", "reversed")),
    {
        "trace": _steps((_RB_PLACE, "trace"), _RB_FROM, (rb"[ \t]+\^", "trace")),
        "from": _steps(_RB_FROM),
        "reversed": _steps((rb"[ \t]+\d+: from ", "reversed"), (_RB_PLACE, CLOSED)),
    },
    lead=rb"Traceback .*most recent call last|" + _RB_PLACE,
)

_NODE_AT = rb"[ \t]+at "

_NODEJS = Pack(
    rb"[ \t]+at |(?:file:/)?/[^\s:]+:\d+\s*$|(?:node|internal)[:/][^\s:]+:\d+\s*$",
    _steps((_NODE_AT, "trace"), (rb"(?:file:/)?/[^\s:]+:\d+\s*$|(?:node|internal)[:/][^\s:]+:\d+\s*$", "source", "alone")),
    {
        "source": _steps((_NODE_AT, "trace"), (rb"", "source", "trial")),
        "trace": _steps((rb"[ \t]+\S|\}|\]", "trace"), (_BLANK, "tail", "trial")),
        "tail": _steps((rb"Node\.js v\d", CLOSED), (_BLANK, "tail", "trial")),
    },
    lead=rb"(?:Uncaught )?[\w$.]*(?:Error|Exception|Rejection)\b",
)

_PHP = Pack(
    rb"Stack trace:|\[stacktrace\]|#0 ",
    _steps((rb"Stack trace:|\[stacktrace\]", "trace"), (rb"#0 \S", "trace")),
    {
        "trace": _steps(
            (rb"#\d+ |[ \t]+thrown in |Stack trace:|\[(?:stacktrace|previous exception)\]|Next \S+: ", "trace"),
            (rb'"\}', CLOSED),
            (_BLANK, "trace", "trial"),
        ),
    },
)

_NET_LINE = rb"[ \t]+at |" + _NET_INNER

_DOTNET = Pack(
    rb"[ \t]+at |[ \t]*---> |[ \t]*--- End of |Unhandled exception|(?:trce|dbug|info|warn|fail|crit): ",
    _steps(
        (rb"(?:trce|dbug|info|warn|fail|crit): .*\[-?\d+\]\s*$", "console", "alone"),
        (rb"Unhandled exception[.:] ", "trace", "alone"),
        (_NET_LINE, "trace"),
    ),
    {
        "console": _steps((rb"      ", "console")),
        "trace": _steps((_NET_LINE, "trace")),
    },
    lead=rb"(?:[\w`+]+\.)+[\w`+]*Exception\b",
)

_RS_PANIC = rb"thread '[^']*'(?: \(\d+\))? panicked at "

_RUST = Pack(
    rb"thread '|stack backtrace:|Error: ",
    _steps(
        (_RS_PANIC + rb"\S+:\d+:\d+:\s*$", "message", "alone"),
        (_RS_PANIC, "panicked", "alone"),
        (rb"stack backtrace:", "frames"),
        (rb"Error: ", "error", "alone"),
    ),
    {
        "message": _steps((rb"", "panicked")),
        "panicked": _steps((rb"note: |stack backtrace:", "frames"), (rb"", "panicked", "trial")),
        "frames": _steps((rb"[ \t]+(?:\d+: |at )|note: |stack backtrace:", "frames")),
        "error": _steps((rb"Caused by:", "causes"), (rb"(?i)stack backtrace:", "frames"), (_BLANK, "error", "trial")),
        "causes": _steps((rb"[ \t]+\S", "causes"), (rb"(?i)stack backtrace:", "frames"), (_BLANK, "error", "trial")),
    },
)

PACKS: dict[str, Pack] = {
    "python": _PYTHON,
    "java": _JAVA,
    "go": _GO,
    "ruby": _RUBY,
    "nodejs": _NODEJS,
    "php": _PHP,
    "dotnet": _DOTNET,
    "rust": _RUST,
    "json": JsonPack(),
}
"""By the name a configuration gives."""
