"""The console output: documents for looking at."""

from __future__ import annotations

import asyncio
import io

import pytest

from shipper.deliver.traffic import Accepted, Post
from shipper.edge.output.console import Console
from shipper.model.errors import HostError

BODY = b'{"create":{"_index":"logs","_id":"a"}}\n{"level":"INFO","n":{"m":1}}\n'


class Terminal(io.StringIO):
    """Says it is one."""

    def isatty(self):
        return True


def show(out, body=BODY):
    """Post to a console, return the answer."""
    return asyncio.run(Console(Console.Config(), out).post(Post(3, [body], 1, len(body))))


def test_console_prints_index_and_fields_plainly():
    """No colours where it is not a terminal."""
    out = io.StringIO()
    assert Accepted(3) == show(out)
    assert 'logs\n{\n  "level": "INFO",\n  "n": {\n    "m": 1\n  }\n}\n' == out.getvalue()


def test_console_colours_keys_on_a_terminal():
    """Names in blue, the index bold."""
    out = Terminal()
    show(out)
    assert "\x1b[1mlogs\x1b[0m\n" in out.getvalue()
    assert '\x1b[34m"level"\x1b[0m: "INFO"' in out.getvalue()


def test_console_lets_no_control_character_of_a_document_through():
    """A record cannot command the terminal, by 8-bit controls either."""
    out = io.StringIO()
    show(out, BODY.replace(b"INFO", "\\u001b[2J \u009b2J \x7f \u2028 ok".encode()))
    assert {"\n"} == {c for c in out.getvalue() if ord(c) < 32 or 127 <= ord(c) < 160}


def test_console_splits_documents_at_newlines_only():
    """Other line separators inside strings stay where they are."""
    out = io.StringIO()
    show(out, BODY.replace(b"INFO", "a\u2028b\u0085c".encode()).replace(b"}}\n", b"}}\r\n") + BODY)
    assert 2 == out.getvalue().count("logs\n")


def test_console_ends_the_run_when_nobody_reads():
    """`shipper ... | head` is an end, not a retry for ever."""

    class Closed(io.StringIO):
        def write(self, _text):
            raise BrokenPipeError

    with pytest.raises(HostError):
        show(Closed())


def test_console_shows_a_document_as_it_stands_when_a_number_is_beyond_a_double(capsys):
    """Elasticsearch may take what Python cannot hold; looking at it must not end the run."""
    document = b'{"a":1e999,"b":"x"}'
    body = b'{"create":{"_index":"i-2026.02.05","_id":"1"}}\n' + document + b"\n"
    asyncio.run(Console(Console.Config()).post(Post(1, [body], 1, len(body))))
    assert document.decode() in capsys.readouterr().out
