"""The service unit as data, and a process confined as the unit confines it, as far as that goes without systemd as process 1.

What is done: mounts read-only but for the state and a /tmp of its own (mount namespace), another user with the unit's capabilities and
no new privileges (setpriv), its system calls, address families and memory protections (libseccomp, prctl), its umask and descriptors.
What is not: cgroups, /proc and /dev of its own, the limits on namespaces, real-time and personality.

As a program, `python unit.py WORD...` takes the last of these steps itself and becomes WORD.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "packaging/systemd/shipper.service"
USER = 61184
"""The first of the users that systemd gives to `DynamicUser=yes` (systemd.exec(5))."""
PRIVATE = "/dev/shm"
"""Stands in for /tmp, where tests and checkouts lie."""
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL = 4
_SET_MDWE, _MDWE_REFUSE_EXEC_GAIN = 65, 1


def settings(path: Path = UNIT) -> dict[str, list[str]]:
    """The settings of a unit file, each with its values in order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(name, []).append(value)
    return found


def one(name: str) -> str:
    """The value of a setting that stands there once."""
    [value] = settings()[name]
    return value


def confined(state: Path, tmp: Path) -> list[str]:
    """Words before a command that confine it as the unit does; see `stripped`."""
    held, given = (_names(one(name)) for name in ("CapabilityBoundingSet", "AmbientCapabilities"))
    assert held == given
    return [*stripped(USER, held, state, tmp), *("env", f"TMPDIR={PRIVATE}", sys.executable, __file__)]


def stripped(user: int, capabilities: list[str], state: Path, tmp: Path) -> list[str]:
    """Words before a command that leave it a user, some capabilities, and nothing to write to but `state` and PRIVATE. Needs root.

    `tmp` is where the test has its files. The mounts are those of the command alone.
    """
    state.mkdir(mode=0o700, exist_ok=True)
    os.chown(state, user, user)
    steps = [f"mount --bind '{state}' '{state}'", f"mount -t tmpfs -o mode=1777 tmpfs {PRIVATE}"]
    steps += [f"mount -o remount,bind,ro '{above}'" for above in (tmp, *tmp.parents) if os.path.ismount(above)]
    rights = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return [
        *("unshare", "--mount", "--propagation", "private", "sh", "-ec", "; ".join([*steps, 'exec "$@"']), "sh"),
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"),
        *(f"--bounding-set={rights}", f"--inh-caps={rights}", f"--ambient-caps={rights}"),
    ]


def _names(capabilities: str) -> list[str]:
    return [name.removeprefix("CAP_").lower() for name in capabilities.split()]


def allowed_calls() -> set[str]:
    """The system calls that the unit allows: first a list, then what is taken from it."""
    first, *later = settings()["SystemCallFilter"]
    allowed = set().union(*map(_calls, first.split()))
    for line in later:
        assert line.startswith("~")
        allowed -= set().union(*map(_calls, line[1:].split()))
    return allowed


def _calls(group: str) -> set[str]:
    """The system calls of a group of systemd's, with those of the groups in it."""
    if not group.startswith("@"):
        return {group}
    told = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True).stdout
    names = [line.strip() for line in told.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return set().union(*map(_calls, names))


def _filter_calls() -> None:
    """Refuse all other system calls, and sockets of other families, as systemd does."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_ERRNO | getattr(errno, one("SystemCallErrorNumber"))))
    for name in sorted(allowed_calls()):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0 and name != "socket":  # negative: a call of another architecture
            assert library.seccomp_rule_add_array(context, _ALLOW, number, 0, None) == 0, name
    for family in one("RestrictAddressFamilies").split():
        compare = _Compare(0, _EQUAL, getattr(socket, family), 0)
        number = library.seccomp_syscall_resolve_name(b"socket")
        assert library.seccomp_rule_add_array(context, _ALLOW, number, 1, ctypes.byref(compare)) == 0, family
    assert library.seccomp_load(context) == 0


class _Compare(ctypes.Structure):
    """`struct scmp_arg_cmp` of seccomp.h: which argument, how, with what."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _become(words: list[str]) -> None:
    os.umask(int(one("UMask"), 8))
    limit = min(int(one("LimitNOFILE")), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if one("MemoryDenyWriteExecute") == "yes":
        ctypes.CDLL(None).prctl(_SET_MDWE, _MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)  # Linux 6.3 and later
    _filter_calls()
    os.execv(words[0], words)


if __name__ == "__main__":
    _become(sys.argv[1:])
