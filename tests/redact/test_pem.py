"""Private keys spread over rows: one secret per stream, masked to its end, forgotten after 200 rows."""

from __future__ import annotations

import json

import pytest

from shipper.redact.gate import Gate
from shipper.redact.pem import ROWS_MAX, STREAMS_MAX, Blocks
from shipper.redact.settings import RedactConfig
from tests.redact.gating import KEY, batch, rows_of

LINES = [
    "MIIEowIBAAKCAQEAexampleexampleexampleexampleexampleexampleexample",
    "AnotherLineOfTheKey0123456789+/AnotherLineOfTheKey0123456789+/ab",
    "c2hvcnQ=",
]
BEGIN, END, MASK = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "[REDACTED:private-key]"


@pytest.fixture
def gate(engine: str) -> Gate:
    """Return a gate of one's own: it remembers."""
    return Gate(RedactConfig(), hash_key=KEY, engine=engine)


def shipped(gate: Gate, *rows: str, stream: str = "s") -> list[str]:
    """Return what the gate makes of rows of a stream."""
    return [row.decode() for row in rows_of(gate.admit(batch([row.encode() for row in rows], stream=stream)))]


@pytest.mark.parametrize("cut", range(1, 6))
def test_key_over_plain_rows_is_masked_wherever_the_batches_are_cut(gate: Gate, cut: int) -> None:
    """Law: however the rows fall into batches, no line of the key gets out, and what follows does."""
    rows = ["before", BEGIN, *LINES, END, "after"]
    out = shipped(gate, *rows[:cut]) + shipped(gate, *rows[cut:])
    assert out == ["before", MASK, MASK, MASK, MASK, END, "after"]


def test_key_over_prefixed_rows_is_masked_and_other_writers_rows_stay(gate: Gate) -> None:
    """A time stamp before each line stays; so does a row of somebody else in between, but for a last word that could be key."""
    rows = [f"10:00:0{number} app {line}" for number, line in enumerate([BEGIN, *LINES, END])]
    rows.insert(2, "10:00:05 other: request to /api/v1/reports/3938 took 41.7 ms.")
    assert shipped(gate, *rows) == [
        f"10:00:00 app {MASK}",
        f"10:00:01 app {MASK}",
        rows[2],
        f"10:00:02 app {MASK}",
        f"10:00:03 app {MASK}",
        rows[5],
    ]


def test_key_over_json_rows_is_masked_in_the_member_it_began_in(gate: Gate) -> None:
    """Ids of the other members stay as they are, and the rows stay valid JSON."""
    rows = [
        json.dumps({"trace": "0e1a2b3c4d5e6f780e1a2b3c4d5e6f78", "log": line, "level": "INFO"})
        for line in [BEGIN, *LINES, END, "after"]
    ]
    out = [json.loads(row) for row in shipped(gate, *rows)]
    assert [row["log"] for row in out] == [MASK, MASK, MASK, MASK, END, "after"]
    assert {(row["trace"], row["level"]) for row in out} == {("0e1a2b3c4d5e6f780e1a2b3c4d5e6f78", "INFO")}


def test_key_in_one_row_is_one_secret_with_newlines_as_escapes(gate: Gate) -> None:
    """No state is left behind."""
    row = json.dumps({"key": "\n".join(["x", BEGIN, *LINES, END, "y"]), "b": 1})
    assert shipped(gate, row, LINES[0]) == ['{"key": "x\\n' + MASK + '\\ny", "b": 1}', LINES[0]]


def test_key_without_an_end_is_masked_to_the_end_of_its_string(gate: Gate) -> None:
    """A record that was cut off: the rest of the JSON stays."""
    row = json.dumps({"key": "\n".join([BEGIN, *LINES]), "b": "c"})
    assert shipped(gate, row) == [json.dumps({"key": MASK, "b": "c"})]


def test_streams_are_kept_apart(gate: Gate) -> None:
    """A key that goes on in one stream masks nothing in another."""
    shipped(gate, BEGIN, stream="a")
    assert shipped(gate, LINES[1], stream="b") == [LINES[1]]
    assert shipped(gate, LINES[1], END, "done", stream="a") == [MASK, END, "done"]
    assert shipped(gate, LINES[1], stream="a") == [LINES[1]]


def test_key_that_never_ends_is_forgotten_after_its_rows(gate: Gate) -> None:
    """200 rows, not more: a stray BEGIN does not blind a stream for good."""
    shipped(gate, BEGIN)
    out = shipped(gate, *[LINES[1]] * (ROWS_MAX + 1))
    assert out == [MASK] * ROWS_MAX + [LINES[1]]


def test_blocks_remember_a_bounded_number_of_streams() -> None:
    """The oldest is forgotten."""
    blocks = Blocks()
    for number in range(STREAMS_MAX + 1):
        blocks.begin(str(number), b"x", 0)
    assert blocks.get("0") is None
    assert blocks.get("1") is not None
    assert blocks.get(str(STREAMS_MAX)) is not None
