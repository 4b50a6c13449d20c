"""Health: the checks of `/health`, each with a verdict and the reason, made of figures.

RULES
- `pass`, `warn` or `fail`, in the words of draft-inadarei-api-health-check; one `fail` makes the answer 503.
- `fail` is what somebody must look at: records wait or could be lost. `warn` is what should be known. A short outage is no
  failure: what passes within `PATIENCE_S` is told as `warn`.
- A check speaks of what was seen. What was never tried passes, and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shipper.edge.figures import CheckpointFigures, DiskFigures, Figures, OutputFigures

PATIENCE_S = 30.0
STAGE_S = 300.0
"""So long after a stage failed it still counts."""
STUCK_S = 60.0
"""A loop that has not looked for so long is stuck; it looks every 5 s at least."""
FREE_BYTES_MIN = 16 << 20
FREE_FILES_MIN = 16
_RANK = ("pass", "warn", "fail")


class Check(NamedTuple):
    """One verdict."""

    status: str
    reason: str


def checks(figures: Figures) -> dict[str, Check]:
    """All checks of a pipeline, by name."""
    found = {
        "loop": _loop(figures.turned_s),
        "accounted": _accounted(figures.unaccounted),
        "output": _output(figures.output),
        "checkpoint": _checkpoint(figures.checkpoint),
        "stages": _stages(figures),
        "dead_letters": _dead_letters(figures),
    }
    if figures.disk is not None:
        found["disk"] = _disk(figures.disk)
    if figures.spools:
        found["spools"] = _worst(_spools(figures), "there is room")
    if figures.tables:
        found["tables"] = _worst(_tables(figures), "the files that are there are in use")
    return found


def worst(found: Iterable[Check]) -> str:
    """The status of all of them together."""
    return _RANK[max((_RANK.index(check.status) for check in found), default=0)]


def is_stuck(figures: Figures) -> bool:
    """Whether the pipeline's loop does nothing any more."""
    return figures.turned_s > STUCK_S


def _worst(found: Iterator[Check], well: str) -> Check:
    """The worst, with the reasons of all that are not well."""
    told = [check for check in found if check.status != "pass"]
    return Check(worst(told), "; ".join(check.reason for check in told) or well)


def _loop(turned_s: float) -> Check:
    status = "fail" if turned_s > STUCK_S else "pass"
    return Check(status, f"looked at what is to be done {turned_s:.0f} s ago")


def _accounted(unaccounted: int) -> Check:
    if unaccounted:
        return Check("fail", f"{unaccounted} records were read, and nobody knows what became of them: a bug")
    return Check("pass", "what was read is delivered, dropped, dead or in flight")


def _output(output: OutputFigures) -> Check:
    if output.failing_s is not None:
        reason = f"{output.destination} has taken nothing for {output.failing_s:.0f} s; what was read is sent again"
        return Check("fail" if output.failing_s >= PATIENCE_S else "warn", reason)
    if output.waiting_s is not None and output.waiting_s >= PATIENCE_S:
        return Check("warn", f"{output.destination} has not answered for {output.waiting_s:.0f} s")
    if not output.answers:
        return Check("pass", "nothing was sent yet")
    if output.is_full:
        return Check("pass", "takes documents; reading waits for room")
    return Check("pass", "takes documents")


def _checkpoint(saved: CheckpointFigures) -> Check:
    if saved.failure or saved.overdue_s >= PATIENCE_S:
        why = saved.failure or "the disk does not answer"
        status = "fail" if saved.overdue_s >= PATIENCE_S else "warn"
        return Check(status, f"none could be written for {saved.overdue_s:.0f} s: {why}; nothing is claimed as done meanwhile")
    if saved.age_s is None:
        return Check("pass", "none was written yet")
    return Check("pass", f"the last one was written {saved.age_s:.0f} s ago, when there was something to write")


def _disk(disk: DiskFigures) -> Check:
    if disk.asked_s >= PATIENCE_S:
        return Check("fail", f"the disk of the state directory has not answered for {disk.asked_s:.0f} s")
    if disk.failure:
        return Check("fail", f"the state directory cannot be written: {disk.failure}")
    if disk.free_bytes < FREE_BYTES_MIN or disk.free_files < FREE_FILES_MIN:
        return Check("fail", f"the disk of the state directory is full: {disk.free_bytes:,} bytes are free")
    return Check("pass", f"{disk.free_bytes:,} bytes are free for the state")


def _stages(figures: Figures) -> Check:
    if figures.stage_failed_s is None:
        return Check("pass", "none failed")
    names = ", ".join(f"{name} {count} times" for name, count in sorted(figures.stage_errors.items()))
    status = "fail" if figures.stage_failed_s < STAGE_S else "warn"
    return Check(
        status, f"failed, a bug: {names}; the last time {figures.stage_failed_s:.0f} s ago; rows went on without its work"
    )


def _dead_letters(figures: Figures) -> Check:
    why = figures.output.burial_failure
    if why:
        told = {"full": "they are full", "disk": "the disk refuses them"}.get(why, why)
        return Check("fail", f"cannot be written: {told}; records that are refused for good wait")
    dead = figures.account.dead.total()
    return Check("warn", f"{dead} since the start") if dead else Check("pass", "none since the start")


def _spools(figures: Figures) -> Iterator[Check]:
    for spool in figures.spools:
        if spool.is_full:
            yield Check(
                "fail", f"the spool of {spool.source} is full with {spool.size:,} bytes: senders wait, or records are dropped"
            )


def _tables(figures: Figures) -> Iterator[Check]:
    for table in figures.tables:
        if table.fault:
            yield Check("warn", f"{table.database}: its newest version is not in use, or a lookup failed; see the log")
