"""Health: each check by the figures that make it pass, warn and fail, with its reason."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from shipper.edge import health
from shipper.edge.figures import CheckpointFigures, DiskFigures, Figures
from shipper.edge.health import FREE_BYTES_MIN, PATIENCE_S, STAGE_S, STUCK_S
from shipper.progress.ledger import Account
from tests.edge.test_metrics import figures

ROOMY = {"free_bytes": 1 << 40, "free_files": 1 << 20}


def output(**more: Any) -> Figures:
    """With another output."""
    return figures(output=msgspec.structs.replace(figures().output, **more))


def saved(**more: Any) -> Figures:
    """With another checkpoint."""
    return figures(checkpoint=CheckpointFigures(**{"age_s": 1.0, "overdue_s": 0.0, "failure": "", **more}))


def disk(**more: Any) -> Figures:
    """With a disk."""
    return figures(disk=DiskFigures(**{"asked_s": 1.0, **ROOMY, **more}))


def spool(**more: Any) -> Figures:
    """With another spool."""
    return figures(spools=[msgspec.structs.replace(figures().spools[0], **more)])


CASES: list[tuple[str, Figures, str, str]] = [
    ("loop", figures(turned_s=5.0), "pass", "5 s ago"),
    ("loop", figures(turned_s=STUCK_S + 1), "fail", "61 s ago"),
    ("accounted", figures(), "pass", "what was read is"),
    ("accounted", figures(unaccounted=3), "fail", "3 records were read, and nobody knows"),
    ("accounted", figures(unaccounted=-1), "fail", "-1 records"),
    ("output", output(), "pass", "takes documents"),
    ("output", output(answers={}), "pass", "nothing was sent yet"),
    ("output", output(is_full=True), "pass", "reading waits for room"),
    ("output", output(failing_s=PATIENCE_S - 1), "warn", "http://es:9200 has taken nothing for 29 s"),
    ("output", output(failing_s=PATIENCE_S), "fail", "has taken nothing for 30 s"),
    ("output", output(waiting_s=PATIENCE_S - 1), "pass", "takes documents"),
    ("output", output(waiting_s=PATIENCE_S), "warn", "has not answered for 30 s"),
    ("checkpoint", saved(), "pass", "written 1 s ago"),
    ("checkpoint", saved(age_s=None), "pass", "none was written yet"),
    ("checkpoint", saved(age_s=9999.0), "pass", "when there was something to write"),
    ("checkpoint", saved(failure="No space left on device", overdue_s=2.0), "warn", "for 2 s: No space left on device"),
    ("checkpoint", saved(failure="No space left on device", overdue_s=PATIENCE_S), "fail", "No space left on device"),
    ("checkpoint", saved(overdue_s=PATIENCE_S), "fail", "the disk does not answer"),
    ("disk", disk(), "pass", "bytes are free"),
    ("disk", disk(asked_s=PATIENCE_S), "fail", "has not answered for 30 s"),
    ("disk", disk(failure="the file system is read-only"), "fail", "cannot be written: the file system is read-only"),
    ("disk", disk(free_bytes=FREE_BYTES_MIN - 1), "fail", "is full"),
    ("disk", disk(free_files=0), "fail", "is full"),
    ("stages", figures(), "pass", "none failed"),
    ("stages", figures(stage_errors={"geoip": 2}, stage_failed_s=1.0), "fail", "geoip 2 times"),
    ("stages", figures(stage_errors={"geoip": 2}, stage_failed_s=STAGE_S), "warn", "the last time 300 s ago"),
    ("dead_letters", figures(), "pass", "none"),
    ("dead_letters", figures(account=Account(dead=Counter(a=2, b=1))), "warn", "3 since the start"),
    ("dead_letters", output(burial_failure="full"), "fail", "they are full"),
    ("dead_letters", output(burial_failure="disk"), "fail", "the disk refuses them"),
    ("spools", spool(), "pass", "there is room"),
    ("spools", spool(is_full=True), "fail", "the spool of forward is full with 56 bytes"),
    ("tables", figures(), "pass", "in use"),
    ("tables", figures(tables=[msgspec.structs.replace(figures().tables[0], fault="hunter2")]), "warn", "/db/City.mmdb"),
]


@pytest.mark.parametrize(("name", "found", "status", "reason"), CASES, ids=[f"{case[0]}-{case[3]}" for case in CASES])
def test_each_check_has_a_verdict_and_its_reason(name: str, found: Figures, status: str, reason: str) -> None:
    """And every other check passes, so that the status of all is that of the one."""
    checks = health.checks(found)
    assert checks[name].status == status and reason in checks[name].reason
    assert health.worst(checks.values()) == status
    assert not any("hunter2" in check.reason for check in checks.values())


def test_what_a_pipeline_does_not_have_is_not_checked() -> None:
    """No spool, no table, no state: no word of them."""
    assert {"spools", "tables", "disk"}.isdisjoint(health.checks(figures(spools=[], tables=[])))


def test_the_worst_of_all_is_told() -> None:
    """One failure among many that are well."""
    both = output(failing_s=1.0)
    both.unaccounted = 1
    assert health.worst(health.checks(both).values()) == "fail"
    assert health.worst([]) == "pass"


def test_a_pipeline_is_stuck_when_its_loop_does_not_look_any_more() -> None:
    """It looks every 5 s at least."""
    assert health.is_stuck(figures(turned_s=STUCK_S + 1)) and not health.is_stuck(figures(turned_s=5.5))
