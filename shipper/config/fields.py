"""Field types of configuration: what a user writes as text, held as numbers with a unit.

A component's settings are a nested `class Config(ComponentConfig)`: each field typed by a type of this module or a plain one,
its default beside it, and under it a string literal, the text of the manual. YAML `5s` becomes `Duration(5.0)` and so on;
`convert_scalar` is the hook that makes these types of what YAML gave (`convert.py` and `msgspec.convert` use it). A type of
one's own has a classmethod `from_config(value)` that returns an instance, or raises ValueError with a text for the user.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any, Self, dataclass_transform

import msgspec

from shipper.config.suggest import shown


# The decorator tells type checkers what msgspec inherits (frozen) and what we ask of callers (keywords).
@dataclass_transform(frozen_default=True, kw_only_default=True)
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


class FilePattern(FilePath):
    """A glob of files. One without a slash is compared with a file's name alone, and stays as it is written."""

    __slots__ = ()


class Secret(str):
    """A text that no log, traceback or message shows: its `repr` is a mask."""

    __slots__ = ()
    expected = "a text that is not empty, such as ${secret:NAME}"

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take a text."""
        if isinstance(value, str) and value:
            return cls(value)
        raise ValueError(f"expected {cls.expected}")

    def __repr__(self) -> str:
        """Return the mask."""
        return "Secret('***')"


class Address(str):
    """An address to listen at, `127.0.0.1:9699` or `[::1]:9699`."""

    __slots__ = ()
    expected = "an address such as 127.0.0.1:9699"

    @property
    def host(self) -> str:
        """The part before the port, without brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port, 0 to 65535."""
        return int(self.rpartition(":")[2])

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take `host:port`."""
        if not isinstance(value, str) or not _is_address(value):
            raise ValueError(f"expected {cls.expected}, got {shown(value)}")
        return cls(value)


class Endpoint(str):
    """Where a source listens: `127.0.0.1:24224` (TCP), `udp:127.0.0.1:514`, `unix:/run/app.sock`, `unixgram:/dev/log`."""

    __slots__ = ()
    expected = "an address such as 127.0.0.1:24224, udp:127.0.0.1:514, unix:/run/app.sock or unixgram:/dev/log"
    stands_alone = True
    """Where a list of them is asked for, one alone will do."""

    @property
    def transport(self) -> str:
        """`tcp`, `udp`, `unix` (a stream) or `unixgram` (datagrams)."""
        found = self.partition(":")[0]
        return found if found in _TRANSPORTS else "tcp"

    @property
    def path(self) -> str:
        """The path of a unix socket, absolute; an empty text for the others."""
        return self.partition(":")[2] if self.transport.startswith("unix") else ""

    @property
    def address(self) -> Address:
        """Host and port, of what is no unix socket."""
        return Address(self.removeprefix("udp:").removeprefix("tcp:"))

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take an address."""
        if isinstance(value, str):
            made = cls(value)
            if made.path.startswith("/") or (not made.transport.startswith("unix") and _is_address(made.address)):
                return made
        raise ValueError(f"expected {cls.expected}, got {shown(value)}")


class Network(str):
    """A network of addresses, `10.0.0.0/8` or `fd00::/8`; an address alone is one, too."""

    __slots__ = ()
    expected = "a network such as 10.0.0.0/8"
    stands_alone = True
    """Where a list of them is asked for, one alone will do."""

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take a network. Raises ValueError for what is none, or has bits set behind its prefix."""
        try:
            return cls(ip_network(value if isinstance(value, str) else ""))
        except ValueError:
            pass
        try:
            whole = f"; its network is {ip_network(value, strict=False)}" if isinstance(value, str) else ""
        except ValueError:
            whole = ""
        raise ValueError(f"expected {cls.expected}, got {shown(value)}{whole}")


DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZE_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
RATE_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
PORT_MAX = 65535
_TRANSPORTS = ("tcp", "udp", "unix", "unixgram")
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(rf"([+-]?){_NUMBER}\s*(ms|s|m|h|d)")
_SIZE = re.compile(rf"{_NUMBER}\s*(B|[kK]B|MB|GB|KiB|MiB|GiB)?")
_RATE = re.compile(rf"{_NUMBER}\s*(B|[kK]B|MB|GB|KiB|MiB|GiB)?\s*/\s*(s|m|h)")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


def _is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    return found is not None and int(found[1]) <= PORT_MAX


def duration(text: str) -> Duration:
    """Parse `250ms`; a sign is taken too. Raises ValueError saying what is expected."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError(f"expected {EXPECTED[Duration]}, got {shown(text)}")
    return Duration(float(found[1] + found[2]) * DURATION_UNITS[found[3]])


def size(text: str | int) -> Size:
    """Parse `10MiB`, or take a plain number of bytes. Raises ValueError saying what is expected."""
    found = _SIZE.fullmatch(str(text).strip())
    if not found:
        raise ValueError(f"expected {EXPECTED[Size]}, got {shown(text)}")
    return Size(float(found[1]) * SIZE_UNITS[found[2] or ""])


def rate(text: str) -> Rate:
    """Parse `100/s`. Raises ValueError saying what is expected."""
    found = _RATE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"expected {EXPECTED[Rate]}, got {shown(text)}")
    return Rate(float(found[1]) * SIZE_UNITS[found[2] or ""] / RATE_UNITS[found[3]])


def convert_scalar(kind: type[Any], value: object) -> object:
    """Hook for `msgspec.convert`: make a `Duration`, `Size`, `Rate`, `FilePath` or a type with `from_config` of YAML's value.

    Raises ValueError with a text for the user.
    """
    if hasattr(kind, "from_config"):
        return kind.from_config(value)
    if kind is Duration and isinstance(value, str) and not value.lstrip().startswith("-"):
        return duration(value)
    if kind is Size and isinstance(value, (str, int)) and not isinstance(value, bool):
        return size(value)
    if kind is Rate and isinstance(value, str):
        return rate(value)
    if kind in (FilePath, FilePattern) and isinstance(value, str) and value:
        return kind(value)
    raise ValueError(f"expected {EXPECTED.get(kind, kind.__name__)}, got {shown(value)}")


EXPECTED: dict[type[Any], str] = {
    Duration: "a duration such as 250ms, 5s, 10m, 2h or 7d",
    Size: "a size such as 512, 64KiB, 10MiB or 1GB",
    Rate: "a rate such as 100/s, 20/m or 1MiB/s",
    FilePath: "a path",
    FilePattern: "a glob such as *.gz",
}
"""How messages name what is wanted."""
