"""Runs many seeded programs: `python -m tests.source.sim --seeds 10000 --from 0`. Exits 1 when one breaks the law."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from tests.kit.tail_program import FAULTS, run


def main(arguments: list[str]) -> int:
    """Run them; print the failures, and in how many of a hundred programs each fault occurred."""
    parser = argparse.ArgumentParser(prog="python -m tests.source.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many programs")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--verbose", action="store_true", help="tell the whole story of each failure")
    options = parser.parse_args(arguments)
    occurred: Counter[str] = Counter()
    failed = []
    for seed in range(options.first, options.first + options.seeds):
        try:
            occurred.update(kind for kind, times in run(seed).faults.items() if times)
        except AssertionError as error:
            failed.append(seed)
            print(error if options.verbose else str(error).partition("\n")[0][:300], flush=True)
    print("\n".join(f"{kind:20}{100 * occurred[kind] / options.seeds:6.1f} %" for kind in FAULTS))
    print(f"{options.seeds} programs, {len(failed)} broke the law: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
