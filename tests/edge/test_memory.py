"""How the process asks for memory. In a process of its own, as it changes the whole of it."""

from __future__ import annotations

import subprocess
import sys

from tests.kit.site import ROOT

CODE = """
import gc, resource, sys
from shipper.edge import memory
if "elsewhere" in sys.argv:
    sys.platform = "elsewhere"
if "tuned" in sys.argv or "elsewhere" in sys.argv:
    memory.tune()
def batch():
    rows = [bytes(470) for _ in range(2000)]
    return b"".join(rows), [bytes(300_000) for _ in range(4)]
for _ in range(10):
    batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, *gc.get_threshold(), gc.get_freeze_count())
"""


def measured(*words: str) -> list[int]:
    """(page faults of 50 batches, the collector's three thresholds, objects it leaves alone)."""
    command = [sys.executable, "-c", CODE, *words]
    return [int(word) for word in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()]


def test_pieces_of_a_batch_are_kept_and_not_faulted_in_again() -> None:
    """Batches of the size of ours, made and dropped again and again, cost no page faults after the first ones."""
    faults, *collector, frozen = measured("tuned")
    assert collector == [50_000, 20, 50] and frozen > 1000
    if sys.platform.startswith("linux"):
        assert faults < 50 < measured()[0]


def test_only_the_collector_is_set_where_the_allocator_is_another_one() -> None:
    """Where there is no glibc nothing of it is touched."""
    _, *collector, _ = measured("elsewhere")
    assert collector == [50_000, 20, 50]
