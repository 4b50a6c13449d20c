"""Lookup tables: mmdb files opened, checked, lent to stages and kept fresh while the agent runs.

RULES
- Nothing is looked up in a file that was not checked: its metadata, and a bounded sample of records read through the typed
  models of `geoip2` (see `_check`). MaxMind's own broken test databases open without complaint and fail in the middle of a
  lookup; here they are refused at the door.
- A new version is taken into use only once its (inode, mtime, size) stood still over two calls of `refresh`, and whole: one
  assignment swaps the reader, `generation` grows by one. A broken or vanished one changes nothing but `fault`.
- A private copy is mapped, in `scratch` or the system's temporary directory, not the file itself. `geoipupdate` replaces files
  by rename, but `cp`, `curl -o` and `scp` write in place, and a mapped file that is cut short ends the process by SIGBUS at its
  next lookup. The copy is unlinked at once: it costs disk until the agent ends (the page cache can drop it), and no memory of
  its own, as reading the file into memory would (60 MB for GeoLite2-City). Files over COPY_BYTES_MAX, or where there is no
  room for a copy, are mapped in place, the latter with a warning: those must be replaced by rename.
- Opening, and refreshing when the file changed, copies and checks it: 0.2 s for 60 MB. `refresh` on an unchanged file is one `stat`. `get` and
  the swap are safe from another thread.
- MaxMind's free test databases are package data. A path that does not exist, but whose file name is one of theirs, opens
  those, with a warning: so shipped pipelines run in the demo and in tests without an account at MaxMind.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import maxminddb

from shipper.edge import host, user_code
from shipper.model.errors import ComponentError
from shipper.stages.geoip import MissingTableError
from shipper.stages.places import database_family

_SINGLE = 128
"""Longer than any prefix of an answer: it holds for the one address."""
COPY_BYTES_MAX = 512 << 20
"""The largest database that is copied; GeoIP2-Enterprise, the largest of MaxMind's, has some 300 MB."""
SAMPLE_STARTS = 64
"""Places of the tree, spread evenly over the public addresses, from which the check walks on from network to network ..."""
SAMPLE_STEPS = 16
"""... so many, or until it has seen ..."""
SAMPLE_RECORDS = 5
"""... so many records. A City record costs 0.1 ms: 20 ms for a test database, some 50 ms for a full one."""
HINT = "download it again (geoipupdate), or restore the version that worked"
METADATA_MARK = b"\xab\xcd\xefMaxMind.com"
"""Starts the metadata, in the last 128 KiB of a file (MaxMind DB file format specification 2.0)."""
METADATA_BYTES_MAX = 128 << 10
DAMAGED = (maxminddb.InvalidDatabaseError, UnicodeDecodeError, SystemError, OverflowError, MemoryError)
"""What a lookup in a damaged file raises; SystemError is the C extension's when a text in it is no text."""
BROKEN = (*DAMAGED, TypeError, ValueError, AttributeError, KeyError)
"""The same, and what the models of `geoip2` raise."""
Signature = tuple[int, int, int]
Address = IPv4Address | IPv6Address
Model = Callable[[str, int, dict[str, Any]], object]


class Note(NamedTuple):
    """What the agent's log shall say: a constant message, and its fields apart."""

    level: str
    """`info` or `warning`."""
    message: str
    fields: Mapping[str, object]


class MmdbTable:
    """One mmdb file as stages see it (`stages.stage.Table`). Made by `Tables` only."""

    def __init__(self, path: Path) -> None:
        """Take the path as the user wrote it; `take` gives it something to answer from."""
        self.path = path
        self.kind = ""
        self.generation = 0
        self.built_at = 0
        """Unix seconds at which its maker built it: the database's age, for a metric."""
        self.fault = ""
        """Why the newest version of the file is not in use, or the last failed lookup; empty when all is well."""
        self.failures = 0
        """Lookups that met bad data in spite of the check."""
        self._find: Callable[[str], tuple[object, int]] = _nothing
        self.signature: Signature | None = None
        """Of the version in use."""
        self.seen: Signature | None = None
        """Of the file at the last `refresh`; None where it was gone."""
        self.judged: Signature | None = None
        """Of the last version that was taken or refused, so that none is judged twice."""

    def find(self, address: str) -> tuple[Mapping[str, Any] | None, int]:
        """See `stages.stage.Table`. None and the single address where the file turns out damaged there, counted in `failures`.

        Raises ValueError for what is not an address, and for an IPv6 address where the database has IPv4 only.
        """
        try:
            found, prefix = self._find(address)
        except DAMAGED as error:
            self.failures += 1
            self.fault = f"damaged record: {error}"
            return None, _SINGLE
        return found if isinstance(found, dict) else None, prefix

    def take(self, reader: maxminddb.Reader, signature: Signature) -> None:
        """Answer from `reader` from now on. The old one is closed when its last lookup is done."""
        metadata = reader.metadata()
        self.kind, self.built_at = metadata.database_type, metadata.build_epoch
        self._find = reader.get_with_prefix_len
        self.signature = self.seen = self.judged = signature
        self.fault = ""
        self.generation += 1


class Tables:
    """All tables of the agent, by path, what is known of the host, and code of users: `stages.stage.Resources`. Bounded by what the configuration names."""

    def __init__(self, scratch: Path | None = None) -> None:
        """Take the directory for private copies, the state directory say; None is the system's temporary directory."""
        self._scratch = scratch
        self._tables: dict[Path, MmdbTable] = {}
        self._notes: list[Note] = []

    def table(self, path: str) -> MmdbTable:
        """Open the mmdb at `path`, once for all stages.

        Raises MissingTableError where there is no such file, ComponentError where it cannot be read or used.
        """
        wanted = Path(path)
        if wanted not in self._tables:
            self._tables[wanted] = self._opened(wanted)
        return self._tables[wanted]

    @property
    def all(self) -> list[MmdbTable]:
        """Those that are open."""
        return list(self._tables.values())

    def host(self) -> Mapping[str, object]:
        """See `host.py`."""
        return host.facts()

    def function(self, module: str, name: str, *, is_file: bool) -> Callable[[Any], object]:
        """See `user_code.py`."""
        return user_code.from_file(module, name) if is_file else user_code.from_package(module, name)

    def refresh(self) -> list[Note]:
        """Take new versions of the files into use. Returns what the log shall say since the last call. Never raises."""
        for table in self._tables.values():
            self._refresh(table)
        notes, self._notes = self._notes, []
        return notes

    def _opened(self, path: Path) -> MmdbTable:
        table = MmdbTable(path)
        signature = _signature(path)
        if signature is None and (packaged := packaged_database(path.name)) is not None:
            table.path = packaged
            signature = _signature(packaged)
            self._note("warning", "test data of MaxMind stands in for a missing database", table, missing=str(path))
        if signature is None:
            raise MissingTableError(
                f"there is no database at {path}", "databases", "download it (geoipupdate), or set `optional: true`"
            )
        table.take(self._checked(table.path), signature)
        self._note("info", "lookup table opened", table)
        return table

    def _refresh(self, table: MmdbTable) -> None:
        signature, before = _signature(table.path), table.seen
        table.seen = signature
        if signature != before or signature == table.judged:
            return
        table.judged = signature
        if signature == table.signature:  # the version in use came back
            table.fault = ""
            return
        try:
            if signature is None:
                raise ComponentError("the file is gone")
            reader = self._checked(table.path)
            _refuse_another_kind(table.kind, reader.metadata().database_type)
        except ComponentError as error:
            table.fault = error.message
            self._note("warning", "new version of lookup table refused, the old one stays in use", table, fault=error.message)
            return
        table.take(reader, signature)
        self._note("info", "lookup table reloaded", table)

    def _checked(self, path: Path) -> maxminddb.Reader:
        """Open and check a file. Raises ComponentError."""
        try:
            return self._reader(path)
        except BROKEN as error:
            raise ComponentError(f"{path} is not a usable mmdb file: {_reason(path, error)}", "databases", HINT) from None
        except OSError as error:
            raise ComponentError(f"{path} cannot be read: {error.strerror}", "databases", "check its permissions") from None

    def _reader(self, path: Path) -> maxminddb.Reader:
        """Check and map a private copy of the file, or the file itself where that cannot be had."""
        if path.stat().st_size <= COPY_BYTES_MAX:
            with path.open("rb") as source:
                try:
                    with tempfile.NamedTemporaryFile(dir=self._scratch, prefix=".mmdb-") as copy:
                        shutil.copyfileobj(source, copy, 1 << 20)
                        copy.flush()
                        return _mapped(copy.name)
                except OSError as error:
                    fields = {"path": str(path), "reason": error.strerror}
                    self._notes.append(Note("warning", "lookup table is mapped in place, there is no room for a copy", fields))
        return _mapped(str(path))

    def _note(self, level: str, message: str, table: MmdbTable, **more: str) -> None:
        fields = {"path": str(table.path), "kind": table.kind, "built_at": table.built_at, "generation": table.generation}
        self._notes.append(Note(level, message, {**fields, **more}))


def packaged_database(name: str) -> Path | None:
    """The path of MaxMind's test database `name` in this package, or None where there is none of that name."""
    if not name.endswith("-Test.mmdb"):
        return None
    found = Path(str(resources.files("shipper"))) / "data" / "geoip" / name
    return found if found.is_file() else None


def _nothing(address: str) -> tuple[None, int]:  # noqa: ARG001  the form of a lookup
    """Stand in for a lookup until a table has its first reader."""
    return None, _SINGLE


def _signature(path: Path) -> Signature | None:
    """What tells versions of a file apart: (inode, mtime in ns, bytes); None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _reason(path: Path, error: Exception) -> str:
    """Why a database is refused, in the words of a user: the library calls all three `Is this a valid MaxMind DB file?`."""
    if path.is_dir():
        return "it is a directory"
    size = path.stat().st_size
    if not size:
        return "it is empty"
    if METADATA_MARK not in _tail(path, size):
        return f"its end is missing, it was cut short or is of another format ({size} bytes)"
    return re.sub(r" \([^)]*\.mmdb[^)]*\)|\.? Is this a valid MaxMind DB file\?", "", str(error))  # without the copy's name


def _tail(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, size - METADATA_BYTES_MAX))
        return file.read()


def _mapped(path: str) -> maxminddb.Reader:
    """Check a file, then map it. Raises one of BROKEN, or OSError.

    The check reads by the reader in plain Python: on damaged data the C extension (maxminddb 3.2) may end the process, its
    iterator by writing past a buffer, its lookups where a text is not UTF-8.
    """
    with maxminddb.open_database(path, maxminddb.MODE_MMAP) as plain:
        _check(plain)
    return maxminddb.open_database(path)


def _check(reader: maxminddb.Reader) -> None:
    """Read metadata and a sample of records. Raises one of BROKEN."""
    metadata = reader.metadata()
    if metadata.node_count < 1 or metadata.build_epoch < 1:
        raise ValueError("its metadata names no nodes or no build date")
    model = _model(metadata.database_type)
    for address, prefix, record in _walk(reader, IPv4Address("1.0.0.0"), IPv4Address("223.255.255.255"), SAMPLE_STARTS):
        _check_record(model, record, address, prefix)
    if metadata.ip_version == 6:
        for address, prefix, record in _walk(reader, IPv6Address("2000::"), IPv6Address("2fff::"), SAMPLE_STARTS // 4):
            _check_record(model, record, address, prefix)


def _walk(reader: maxminddb.Reader, first: Address, last: Address, starts: int) -> Iterator[tuple[str, int, object]]:
    """Yield (address, prefix length, record) of networks that have one. Raises ValueError for a length that cannot be."""
    space = int(last) - int(first)
    for number in range(int(first), int(last), space // starts):
        at, seen = number, 0
        for _ in range(SAMPLE_STEPS):
            address = str(type(first)(at))
            record, prefix = reader.get_with_prefix_len(address)
            if prefix > first.max_prefixlen:
                raise ValueError(f"the network of {address} is longer than an address")
            if record is not None:
                seen += 1
                yield address, prefix, record
            size = 1 << (first.max_prefixlen - max(0, prefix))  # under 0: a database of IPv6 only, asked for IPv4
            at = (at // size + 1) * size
            if at > int(last) or seen >= SAMPLE_RECORDS:
                break


def _check_record(model: Model | None, record: object, address: str, prefix: int) -> None:
    """Build the typed model of a record, and look at what documents are made of."""
    if not isinstance(record, dict):
        raise TypeError(f"the record of {address} is not a map")
    if model is not None:
        model(address, prefix, record)
    location = record.get("location", {})
    if not isinstance(location, dict):
        raise TypeError(f"the location of {address} is not a map")
    for name, bound in (("latitude", 90), ("longitude", 180)):
        degrees = location.get(name, 0)
        if isinstance(degrees, bool) or not isinstance(degrees, (int, float)) or not abs(degrees) <= bound:
            raise ValueError(f"the record of {address} has a {name} that is none")


def _model(kind: str) -> Model | None:
    """The typed model for a kind of database, or None for one that `geoip2` does not know."""
    from geoip2 import models  # 5 ms and 0.4 MB beside maxminddb, only where a table is used

    def place(address: str, prefix: int, record: dict[str, Any]) -> object:
        model = models.Country if "Country" in kind else models.City
        return model(("en",), ip_address=address, prefix_len=prefix, **record)

    def network(address: str, prefix: int, record: dict[str, Any]) -> object:
        model = models.ISP if "ISP" in kind else models.ASN
        return model(address, prefix_len=prefix, **record)

    def anonymous(address: str, prefix: int, record: dict[str, Any]) -> object:
        model = models.AnonymousPlus if "Plus" in kind else models.AnonymousIP
        return model(address, prefix_len=prefix, **record)

    makers: dict[str, Model] = {"city": place, "country": place, "asn": network, "anonymous": anonymous}
    return makers.get(database_family(kind))


def _refuse_another_kind(old: str, new: str) -> None:
    """A city database replaced by one of networks would silently end the enrichment. Raises ComponentError."""
    if database_family(old) != database_family(new):
        raise ComponentError(f"it is a {new} now, but was a {old}")
