"""Stages in a real chain: records in, documents out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shipper.chain import Chain, Dating, Outcome
from shipper.decode.json import Json
from shipper.encode.index import Horizon, Route, Router
from tests.kit.records import PlainGate, batch_of

NOON = 1_770_292_800
STAMP = "2026-02-05T12:00:00.000Z"


def run(stages: Sequence[tuple[str, Any]], records: Sequence[Any], decode: Any = Json) -> tuple[Outcome, int]:
    """What becomes of records, JSON of one second or lines; and how many rows were odd, so that they had to be taken apart."""
    decoder = decode(
        decode.Config(),
        ["@timestamp", *(name for _, stage in stages for name in stage.reads)],
        [name for _, stage in stages for name in stage.adds],
    )
    odd: list[int] = []

    class Looking:
        """A last stage, which looks at what is odd."""

        adds = ()

        def process(self, columns: Any, now: float) -> None:
            odd.append(len(columns.odd))

    router = Router([Route("app")], Horizon(float(NOON)))
    chain = Chain(PlainGate(decoder.guards), decoder, [*stages, ("looking", Looking())], router, Dating(["@timestamp"]))
    rows = [
        one if isinstance(one, bytes) else json.dumps({"@timestamp": STAMP, **one}, separators=(",", ":")).encode()
        for one in records
    ]
    return chain.run(batch_of(rows), 1, float(NOON), 0.0), odd[0]


def shipped(stages: Sequence[tuple[str, Any]], records: Sequence[Any], decode: Any = Json) -> tuple[list[Any], int]:
    """The documents, which have no key twice; and how many rows were odd."""
    outcome, odd = run(stages, records, decode)
    lines = outcome.payload.body.split(b"\n")[1::2]
    return [json.loads(line, object_pairs_hook=_no_duplicates) for line in lines], odd


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)
