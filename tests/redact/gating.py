"""What the redaction tests share: gates that are made once, batches of rows, and the rows that came out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from shipper.model.batch import Batch, SafeBatch, Stream
from shipper.redact.gate import Gate
from shipper.redact.packs import load_pack
from shipper.redact.settings import RedactConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = b"a key for the tests"
PACK_RULES = {rule.id: rule for pack in ("secrets", "pii") for rule in (*load_pack(pack).rules, *load_pack(pack).keys)}


@cache
def full_gate(engine: str) -> Gate:
    """Return the gate with both packs, IP rules left out. Shared: tests that leave state behind make their own."""
    return Gate(RedactConfig(), hash_key=KEY, engine=engine)


@cache
def gate_of(engine: str, rule: str) -> Gate:
    """Return a gate that has only this rule of the packs."""
    others = [identifier for identifier in PACK_RULES if identifier != rule]
    return Gate(RedactConfig(disable=others, truncate_ips=rule.startswith("ipv")), hash_key=KEY, engine=engine)


def batch(rows: Sequence[bytes], *, stream: str = "stream", base: int = 0, ends: bool = False) -> Batch:
    """Return rows as a batch of contiguous lines; with `ends`, rows may hold newlines."""
    made = Batch(
        Stream(id=stream, common=b"", path="x.log", first_seen=0.0), b"".join(row + b"\n" for row in rows), len(rows), base
    )
    if ends:
        at = -1
        made.ends = [at := at + len(row) + 1 for row in rows]
    return made


def rows_of(safe: SafeBatch) -> list[bytes]:
    """Return the rows of a safe batch, without their newlines."""
    if safe.ends is None:
        rows = safe.block.split(b"\n")
        assert rows.pop() == b""
        return rows
    starts = [0, *(end + 1 for end in safe.ends)]
    assert starts.pop() == len(safe.block)
    return [safe.block[start:end] for start, end in zip(starts, safe.ends, strict=True)]


def admit(gate: Gate, *rows: bytes) -> list[bytes]:
    """Return what the gate makes of these rows, in one batch of a stream of its own."""
    return rows_of(gate.admit(batch(rows)))
