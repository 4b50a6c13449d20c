"""Field types of configuration: what a user writes as text, held as numbers with a unit.

A component's settings are a nested `class Config(ComponentConfig)`: each field typed by a type of this module or a plain one,
its default beside it, and under it a string literal, the text of the manual. YAML `5s` becomes `Duration(5.0)` and so on;
`convert_scalar` is the hook that `msgspec.convert` calls for these types.
"""

from __future__ import annotations

import re

import msgspec


class ComponentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every component's settings: immutable, keyword only, unknown keys refused."""


class Duration(float):
    """Seconds. Written `250ms`, `5s`, `10m`, `2h`, `7d`."""


class Size(int):
    """Bytes. Written `512`, `64KiB`, `10MiB`, `1GiB`, or decimal `10MB`."""


class Rate(float):
    """Events or bytes per second. Written `100/s`, `20/m`, `5/h`, `1MiB/s`."""


class FilePath(str):
    """A path; a relative one counts from the file it is written in. The loader makes it absolute."""

    __slots__ = ()


DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZE_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
RATE_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[kK]B|MB|GB|KiB|MiB|GiB)?")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[kK]B|MB|GB|KiB|MiB|GiB)?\s*/\s*(s|m|h)")


def duration(text: str) -> Duration:
    """Parse `250ms`. Raises ValueError saying what is expected."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError(f"expected a duration such as 250ms, 5s, 10m, 2h or 7d, got {text!r}")
    return Duration(float(found[1]) * DURATION_UNITS[found[2]])


def size(text: str | int) -> Size:
    """Parse `10MiB`, or take a plain number of bytes. Raises ValueError saying what is expected."""
    found = _SIZE.fullmatch(str(text).strip())
    if not found:
        raise ValueError(f"expected a size such as 512, 64KiB, 10MiB or 1GB, got {text!r}")
    return Size(float(found[1]) * SIZE_UNITS[found[2] or ""])


def rate(text: str) -> Rate:
    """Parse `100/s`. Raises ValueError saying what is expected."""
    found = _RATE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"expected a rate such as 100/s, 20/m or 1MiB/s, got {text!r}")
    return Rate(float(found[1]) * SIZE_UNITS[found[2] or ""] / RATE_UNITS[found[3]])


def convert_scalar(kind: type, value: object) -> object:
    """Hook for `msgspec.convert`: make a `Duration`, `Size`, `Rate` or `FilePath` of what YAML gave.

    Raises ValueError with a text for the user; NotImplementedError never reaches a user, it marks a missing type here.
    """
    if kind is Duration and isinstance(value, str):
        return duration(value)
    if kind is Size and isinstance(value, (str, int)) and not isinstance(value, bool):
        return size(value)
    if kind is Rate and isinstance(value, str):
        return rate(value)
    if kind is FilePath and isinstance(value, str):
        return FilePath(value)
    raise ValueError(f"expected {_EXPECTED.get(kind, kind.__name__)}, got {value!r}")


_EXPECTED = {
    Duration: "a duration such as 5s",
    Size: "a size such as 10MiB",
    Rate: "a rate such as 100/s",
    FilePath: "a path",
}
