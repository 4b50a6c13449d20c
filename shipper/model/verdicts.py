"""Verdicts: what became of each row. One byte a row, so that a batch's verdicts are summed by `bytes.count`."""

from __future__ import annotations

PENDING = 0
"""No word yet; the row will be sent (again)."""
CREATED = 1
"""The output took it now."""
DUPLICATE = 2
"""The output had it already: 409 on `create` with our deterministic id."""
DROPPED = 3
"""Left out on purpose, with a reason (redaction rule, filter, throttle)."""
DEAD = 4
"""The output refuses it for good; it lies in the dead letters, on disk."""
NAMES = {CREATED: "created", DUPLICATE: "duplicate", DROPPED: "dropped", DEAD: "dead"}
