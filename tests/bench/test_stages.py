"""The benchmark of stages has a lane for each, and its pipelines are sound."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from shipper.config import find
from tests.bench import stages, workload
from tests.bench.processes import packaged_databases


def test_every_stage_is_measured() -> None:
    """A stage without a lane fails here."""
    assert {next(iter(one)) for lane in stages.LANES.values() for one in lane} == set(find.names("stage"))


def test_lanes_run_and_are_told(tmp_path: Path) -> None:
    """All of them, over a few records; no stage fails on the way, and each has a line."""
    lines = list(islice(workload.records(stages.SEED, 300, packaged_databases().city), 300))
    lanes = {name: stages.Lane(lane, tmp_path) for name, lane in {"": [], **stages.LANES}.items()}
    spent, yardsticks = stages.measure(lanes, lines, 1)
    text = stages.table(stages.LANES, spent, yardsticks[0])
    assert len(text.splitlines()) == len(stages.LANES) + 2
    assert all(us["whole"] > us[lanes[name].step] >= 0 for name, rounds in spent.items() for us in rounds)
    assert max(map(len, text.splitlines())) <= 110
