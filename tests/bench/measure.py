"""Run one command and say what it cost: CPU, wall time, peak memory, exit code, as JSON in a file.

    python -S tests/bench/measure.py RESULT COMMAND...

It is a process of its own because of the peak: Linux carries the memory of the process that started a program over into the
program's `ru_maxrss` (`exec_mmap` keeps `signal->maxrss`). Started from here, that is a few megabytes; started from a
benchmark that holds its records in memory, it would be the benchmark's.
"""

import json
import os
import sys
import time


def main() -> None:
    """Run the command; its standard output and error stay as they are."""
    result, command = sys.argv[1], sys.argv[2:]
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.execvp(command[0], command)
    _, status, usage = os.wait4(pid, 0)
    told = {
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.monotonic() - began,
        "peak_rss_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "exit_code": os.waitstatus_to_exitcode(status),
    }
    with open(result, "w") as file:
        json.dump(told, file)


if __name__ == "__main__":
    main()
