"""Figures: what is known of a pipeline at one moment, as plain values; of these the metrics and the health checks are made.

RULES
- Gathered when somebody asks, never counted on the way of a record.
- Texts have passed the gate: paths as the log has them, never content.
- Times are ages in seconds, so that no clock is needed to read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shipper.progress.ledger import Account


class SpoolFigures(msgspec.Struct, kw_only=True):
    """One push source."""

    source: str
    """Its name in the pipeline: `forward`, `http-2`."""
    size: int
    size_max: int
    is_full: bool
    quarantined_bytes: int
    dropped_rows: int
    connections: int


class TableFigures(msgspec.Struct, kw_only=True):
    """One lookup table."""

    database: str
    """Path of its file."""
    kind: str
    age_s: float
    """Since its maker built it."""
    fault: str
    failures: int


class OutputFigures(msgspec.Struct, kw_only=True):
    """The output and its courier."""

    destination: str
    queued_bytes: int
    in_flight_bytes: int
    in_flight_posts: int
    is_full: bool
    failing_s: float | None
    """How long it has taken nothing; None: it takes documents."""
    waiting_s: float | None
    """Since the oldest request went that is not answered; None: there is none."""
    answers: Mapping[str, int]
    setbacks: Mapping[str, int]
    burial_failure: str


class CheckpointFigures(msgspec.Struct, kw_only=True):
    """The progress on disk."""

    age_s: float | None
    """Since the last one was on disk; None: none yet."""
    overdue_s: float
    failure: str


class DiskFigures(msgspec.Struct, kw_only=True):
    """The disk that the state is on."""

    asked_s: float
    """Since the last answer; long where the disk hangs."""
    free_bytes: int = 0
    free_files: int = 0
    failure: str = ""
    """Why it cannot be written; empty where it can."""


class Figures(msgspec.Struct, kw_only=True):
    """One pipeline."""

    pipeline: str
    account: Account
    in_flight: int
    unaccounted: int
    held: int
    """Records that wait for their summary."""
    turned_s: float
    """Since its loop last looked at what is to be done."""
    files: int
    files_open: int
    files_unreadable: int
    prefixes: Mapping[str, int]
    """Documents taken, by the literal part of the index name in `route`."""
    evicted: int
    stage_errors: Mapping[str, int]
    stage_failed_s: float | None
    """Since a stage failed last; None: never."""
    spools: list[SpoolFigures]
    tables: list[TableFigures]
    output: OutputFigures
    checkpoint: CheckpointFigures
    disk: DiskFigures | None
    """None: no progress is kept."""
