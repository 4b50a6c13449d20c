"""Multiline packs: traces as the languages write them, each between lines that are none of it; Python's are really raised."""

from __future__ import annotations

import io
import json
import logging
import textwrap
from collections.abc import Callable, Iterator

import pytest

from shipper.frame.multiline import Multiline
from shipper.frame.multiline_packs import PACKS, is_header

BEFORE, AFTER = "2026-02-05 14:30:44 INFO started", "2026-02-05 14:30:46 INFO next"


def messages(pack: str | list[str], source: str) -> list[str]:
    """The texts of the records; those of several lines as they were."""
    cut = Multiline(Multiline.Config(pack=pack)).cut(source.encode(), 0, final=True)
    rows = cut.block.decode().split("\n")[:-1]
    return [json.loads(row)["message"] if row.startswith('{"message":') else row for row in rows]


def check_one_record(pack: str, trace: str) -> None:
    """A trace is one record, the lines around it are their own, whether its pack is on alone or all are."""
    source = f"{BEFORE}\n{trace}\n{AFTER}\n{trace}\n{AFTER}\n"
    assert messages(pack, source) == [BEFORE, trace, AFTER, trace, AFTER]
    assert messages(list(PACKS), source) == [BEFORE, trace, AFTER, trace, AFTER]


def chained() -> None:
    """With a cause."""
    try:
        int("x")
    except ValueError as error:
        raise KeyError("a") from error


def during() -> None:
    """While another was handled."""
    try:
        chained()
    except KeyError:
        raise LookupError("two\n  lines")


def grouped() -> None:
    """Several at once, nested."""
    raise ExceptionGroup("group", [ValueError("a"), ExceptionGroup("inner", [TypeError("b"), OSError(2, "no file")])])


def group_from_an_error() -> None:
    """A group with a cause."""
    try:
        chained()
    except KeyError as error:
        raise ExceptionGroup("group", [ValueError("a")]) from error


def wrong_syntax() -> None:
    """With a caret."""
    compile("a b", "f.py", "exec")


def deep(depth: int = 0) -> None:
    """With repeated lines left out."""
    if depth > 60:
        raise RuntimeError("deep")
    deep(depth + 1)


def silent() -> None:
    """Without a message."""
    raise AssertionError


def own_class() -> None:
    """Of a class within a function."""

    class OwnError(Exception):
        """Own."""

    raise OwnError("own")


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger, and what it wrote."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("2026-02-05 14:30:45,123 - app - %(levelname)s - %(message)s"))
    logger = logging.Logger("app")
    logger.addHandler(handler)
    yield logger, text
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "failing",
    [chained, during, grouped, group_from_an_error, wrong_syntax, deep, silent, own_class],
    ids=lambda one: one.__name__,
)
def test_a_python_traceback_is_one_record_with_its_loggers_line(
    failing: Callable[[], None], log: tuple[logging.Logger, io.StringIO]
) -> None:
    """As `logging.exception` writes it: chains, groups, carets, messages of several lines."""
    logger, text = log
    try:
        failing()
    except Exception:
        logger.exception("job failed")
    check_one_record("python", text.getvalue().rstrip("\n"))


def test_a_python_stack_is_one_record_when_it_was_asked_for(log: tuple[logging.Logger, io.StringIO]) -> None:
    """`stack_info=True` has no exception at its end."""
    logger, text = log
    logger.warning("slow", stack_info=True)
    check_one_record("python", text.getvalue().rstrip("\n"))


SAMPLES = {
    "python": [
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\npkg.errors.JobError: 4711',
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\npydantic.ValidationError: 1 error for M\nname\n  Field required',
        'ERROR:asyncio failed\nfuture: <Task exception=ValueError()>\nTraceback (most recent call last):\n  File "a.py", line 1, in f\nValueError',
        '--- Logging error ---\nTraceback (most recent call last):\n  File "a.py", line 1, in f\nTypeError: no\nCall stack:\n  File "a.py", line 1\nMessage: \'x\'\nArguments: ()',
        'ERROR q\nTraceback (most recent call last):\n  File "a.py", line 1\nsqlalchemy.exc.E: (x) no\nLINE 1: SELECT\n        ^\n[SQL: SELECT]\n(Background on this error at: x)',
    ],
    "java": [
        'Exception in thread "main" java.lang.IllegalStateException: no\n\tat com.example.A.run(A.java:12)\n\tat java.base/java.lang.Thread.run(Thread.java:840)',
        "14:30 ERROR [main] c.e.App - failed\ncom.example.AppException: a\n\tat c.e.A$1.run(A.java:1) ~[app.jar:1.0]\nCaused by: java.io.IOException: b\n\tat c.e.B.<init>(B.java:2)\n\t... 12 more\n\tSuppressed: x.Y: z\n\t\tat a.B.c(Unknown Source)\n\t... 3 common frames omitted",
        "14:30 ERROR failed\njava.lang.Error: a\n\tat a.B.c(B.java:1)\nCaused by: x.Y: first\nsecond line\n\tat a.B.d(B.java:2)",
    ],
    "go": [
        "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.main()\n\t/tmp/a.go:8 +0x1d\nexit status 2",
        "panic: a\n\tpanic: b [recovered]\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]\n\ngoroutine 1 [running]:\nmain.(*T).f(0xc000012345, {0x1, 0x2})\n\t/a.go:1 +0x1\ncreated by main.main in goroutine 1\n\t/a.go:2 +0x2\n\ngoroutine 2 [chan receive]:\nmain.g()\n\t/a.go:3 +0x3",
        "2026/02/05 14:30:45 http: panic serving 10.0.0.1:5: oh\ngoroutine 34 [running]:\nnet/http.(*conn).serve.func1()\n\t/go/server.go:1 +0xb0",
        "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [semacquire]:\nsync.runtime_Semacquire(0xc1)\n\t/go/sema.go:1 +0x1",
    ],
    "ruby": [
        "app.rb:2:in `foo': no (RuntimeError)\n\tfrom app.rb:5:in `bar'\n\tfrom app.rb:8:in `<main>'",
        "Traceback (most recent call last):\n\t1: from a.rb:5:in `<main>'\na.rb:2:in `foo': no (RuntimeError)",
        "E, [2026-02-05T14:30:45 #1] ERROR -- : no (RuntimeError)\n/app/a.rb:2:in 'foo'\n/app/a.rb:5:in 'Object#bar'",
    ],
    "nodejs": [
        "TypeError: Cannot read properties of undefined (reading 'x')\n    at f (/app/a.js:1:2)\n    at async Server.<anonymous> (node:http:3:4)",
        "/app/a.js:1\nthrow new Error('x')\n^\n\nError: x\n    at Object.<anonymous> (/app/a.js:1:7)\n    at node:internal/main:28:49 {\n  code: 'E_X',\n  [cause]: Error: y\n      at g (/app/b.js:1:1)\n}\n\nNode.js v20.11.0",
        "14:30 error: request failed\nError: x\n    at f (/app/a.js:1:2)\n    ... 4 lines matching cause stack trace ...\n    at g (/app/a.js:2:2)",
    ],
    "php": [
        "PHP Fatal error:  Uncaught Exception: no in /app/a.php:3\nStack trace:\n#0 /app/a.php(5): f()\n#1 {main}\n  thrown in /app/a.php on line 3",
        "[2026-02-05 14:30:45] local.ERROR: no {\"exception\":\"[object] (E(code: 0): no at /a.php:3)\n[stacktrace]\n#0 /a.php(5): f()\n#1 {main}\n\"}",
        "PHP Fatal error:  Uncaught A: x in /a.php:3\nStack trace:\n#0 {main}\n\nNext B: y in /a.php:5\nStack trace:\n#0 {main}\n  thrown in /a.php on line 5",
    ],
    "dotnet": [
        "Unhandled exception. System.InvalidOperationException: no\n ---> System.Exception: inner\n   at A.B.C(String x) in /src/a.cs:line 3\n   --- End of inner exception stack trace ---\n   at A.B.D() in /src/a.cs:line 9",
        "fail: Microsoft.AspNetCore.Server.Kestrel[13]\n      Connection id \"0\": An unhandled exception was thrown.\n      System.Exception: no\n         at A.B() in /src/a.cs:line 1",
        "14:30 [ERR] failed\nSystem.Exception: no\n   at A.B[T](T x)\n--- End of stack trace from previous location ---\n   at A.C()",
    ],
    "rust": [
        "thread 'main' panicked at src/main.rs:2:5:\nno\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
        "thread 'tokio-1' (77) panicked at src/main.rs:2:5:\nno\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/1/std.rs:5:5\n   1: app::main\nnote: Some details are omitted.",
        "thread 'main' panicked at 'no', src/main.rs:2:5\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
        "Error: no configuration\n\nCaused by:\n    0: cannot read\n    1: No such file\n\nStack backtrace:\n   0: anyhow::error",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("pack", "trace"), [(pack, trace) for pack, traces in SAMPLES.items() for trace in traces])
def test_a_trace_is_one_record_when_its_language_is_known(pack: str, trace: str) -> None:
    """Causes, blank lines within, the logger's line above."""
    check_one_record(pack, trace)


@pytest.mark.parametrize("pack", sorted(SAMPLES))
def test_two_traces_are_two_records_when_nothing_stands_between(pack: str) -> None:
    """The second is not taken for more of the first."""
    trace = SAMPLES[pack][0]
    assert messages(pack, f"{trace}\n{trace}\n") == [trace, trace]


@pytest.mark.parametrize("header", ['{"level":"error","message":"failed"}', "INFO all is well", "    indented error", ""])
def test_a_line_above_stays_alone_when_it_is_no_loggers_line_of_trouble(header: str) -> None:
    """A record of JSON, or one that does not tell of an error, has no trace below it."""
    trace = SAMPLES["python"][0]
    assert not is_header(header.encode())
    assert messages("python", f"{header}\n{trace}\n") == [*([header] if header else []), trace]


def test_pretty_json_becomes_one_object_on_one_line() -> None:
    """Braces in strings do not count; numbers and escapes stay as they were written; what stands around it stays."""
    record = '{\n  "event": "a } \\" {",\n  "big": 12345678901234567890.10,\n  "list": [\n    {},\n    "\\u00fc"\n  ],\n  "in": {\n    "a": null\n  }\n}'
    compact = '{"event":"a } \\" {","big":12345678901234567890.10,"list":[{},"\\u00fc"],"in":{"a":null}}'
    assert messages("json", f"{BEFORE}\n{record}\n{record}\n{AFTER}\n") == [BEFORE, compact, compact, AFTER]


def test_json_that_is_none_is_kept_as_text() -> None:
    """An object that another writer broke into, one with a fault, and a brace alone."""
    broken = '{\n  "a": 1,'
    faulty = '{\n  "a": tru\n}'
    assert messages("json", f"{broken}\n{AFTER}\n{faulty}\n{AFTER}\n{{\n") == [broken, AFTER, faulty, AFTER, "{"]


def test_a_word_at_a_lines_beginning_is_no_trace() -> None:
    """What only looks like the beginning of one leaves the lines as they are."""
    lines = textwrap.dedent("""\
        Traceback told
        panic: not really
        Error: alone
        Caused by the user
        #0 items
        thread 'x' ended
        warn: low
    """).splitlines()
    source = "".join(f"{line}\n{AFTER}\n" for line in lines)
    assert messages(list(PACKS), source) == [text for line in lines for text in (line, AFTER)]
