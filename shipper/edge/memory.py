"""Memory: how the process asks for it. One call, at the start of a run.

A window of a quarter MiB, its rows and its bulk body are made and dropped hundreds of times a second. glibc would give pieces of
that size back to the kernel each time and fault them in again, 0.3 us a record; so it is told to keep up to `KEEP_BYTES`. One
arena serves all threads: the threads of the outputs only pass on what the loop's thread made (mallopt(3)).

The cyclic garbage collector runs rarely: a batch makes tens of thousands of objects, none of them in a cycle.
"""

from __future__ import annotations

import ctypes
import gc
import sys

KEEP_BYTES = 16 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def tune() -> None:
    """Set the process up. Where there is no glibc only the collector is set."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 8 << 20)
        mallopt(_M_TRIM_THRESHOLD, KEEP_BYTES)
        mallopt(_M_ARENA_MAX, 1)
