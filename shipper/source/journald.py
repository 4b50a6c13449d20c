"""The source `journald`: the entries of systemd's journal as records, known by their cursors.

`edge/journal.py` runs `journalctl`; here is what it is asked for, and what is made of an entry. Pure.

RULES
- Fields go by ECS where it has a name; what a program added itself stands under `journald.custom`, in lower case.
- A field is a text, a list of texts where it stands twice, or a list of numbers where it is no UTF-8 (systemd, Journal Export
  Formats, "Journal JSON Format"): such bytes become the characters of the same numbers where they are not UTF-8.
- The time of an entry is when the journal got it (`__REALTIME_TIMESTAMP`, microseconds).
- The `_id` of a record is made of its cursor, so that an entry read twice is one document.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import orjson
from msgspec import field

from shipper.config.fields import ComponentConfig, FilePath

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STRAYS = {0xDC80 + byte: 0x80 + byte for byte in range(0x80)}
_NAMES = {
    "MESSAGE": "message",
    "SYSLOG_IDENTIFIER": "process.name",
    "_COMM": "process.executable",
    "_CMDLINE": "process.command_line",
    "_HOSTNAME": "host.hostname",
    "_MACHINE_ID": "host.id",
    "_SYSTEMD_UNIT": "systemd.unit",
    "_SYSTEMD_USER_UNIT": "systemd.user_unit",
    "_SYSTEMD_SLICE": "systemd.slice",
    "_TRANSPORT": "systemd.transport",
    "_BOOT_ID": "journald.boot_id",
    "MESSAGE_ID": "journald.message_id",
    "CONTAINER_ID_FULL": "container.id",
    "CONTAINER_NAME": "container.name",
    "CODE_FILE": "log.origin.file.name",
    "CODE_FUNC": "log.origin.function",
}
_NUMBERS = {
    "_PID": "process.pid",
    "_UID": "user.id",
    "SYSLOG_FACILITY": "log.syslog.facility.code",
    "CODE_LINE": "log.origin.file.line",
}
_NUMBER = re.compile("[0-9]{1,18}")
"""What fits into 64 bits: a program may write into its fields what it likes."""
_KNOWN = frozenset({*_NAMES, *_NUMBERS, "PRIORITY", "SYSLOG_PID", "SYSLOG_TIMESTAMP", "SYSLOG_RAW"})


class Entry(msgspec.Struct, frozen=True):
    """One entry as a record."""

    row: bytes
    """A JSON object on one line."""
    cursor: str
    id: bytes
    """32 hexadecimal digits."""


class Journald:
    """Follow systemd's journal, from where the last run stopped.

    It is read through `journalctl`, which must be installed and may be run by the agent (group `systemd-journal`).
    """

    inlet = "journal"

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of the source journald."""

        units: list[str] = field(default_factory=list)
        """Only entries of these units, `nginx.service`; patterns as `journalctl -u` takes them. Left out: all entries."""
        directory: FilePath | None = None
        """Where the journal's files are; left out, the system's own."""
        start: Literal["beginning", "end"] = "beginning"
        """Where to start on the very first run."""
        program: str = "journalctl"
        """What to run."""


def arguments(config: Journald.Config, cursor: str, *, follow: bool) -> list[str]:
    """The command that reads on behind `cursor` (empty: from the beginning)."""
    words = [*_command(config), "--lines=all"]  # else journalctl stops after ten lines that it follows on, until there are more
    words += [f"--after-cursor={cursor}"] if cursor else []
    return [*words, "--follow"] if follow else words


def last_entry(config: Journald.Config) -> list[str]:
    """The command that tells the last entry there is."""
    return [*_command(config), "--lines=1"]


def _command(config: Journald.Config) -> list[str]:
    words = [config.program, "--output=json", "--all", "--no-pager", "--quiet"]
    words += [f"--directory={config.directory}"] if config.directory is not None else []
    return words + [f"--unit={unit}" for unit in config.units]


def entry(line: bytes) -> Entry | None:
    """Make a record of one line of `journalctl -o json`; None for what is none."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    cursor = fields.get("__CURSOR") if isinstance(fields, dict) else None
    if not isinstance(cursor, str):
        return None
    digest = blake2b(cursor.encode("utf-8", "replace"), digest_size=16).hexdigest().encode()
    return Entry(orjson.dumps(_record(fields), option=orjson.OPT_NON_STR_KEYS), cursor, digest)


def _record(fields: Mapping[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    custom: dict[str, Any] = {}
    for name, value in fields.items():
        text = _text(value)
        if name in _NAMES:
            record[_NAMES[name]] = text
        elif name in _NUMBERS:
            record[_NUMBERS[name]] = int(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else text
        elif name not in _KNOWN and not name.startswith("_"):
            custom[name.lower()] = text
    priority = fields.get("PRIORITY")
    if isinstance(priority, str) and priority in "01234567" and len(priority) == 1:
        record["log.level"] = LEVELS[int(priority)]
        record["log.syslog.severity.code"] = int(priority)
    if custom:
        record["journald.custom"] = custom
    stamp = _stamp(fields.get("__REALTIME_TIMESTAMP"))
    return {"@timestamp": stamp, **record} if stamp else record


def _text(value: object) -> Any:
    """A field as text, or texts where it stands several times."""
    decoded = _decoded(value)
    return [_decoded(item) for item in decoded] if isinstance(decoded, list) else decoded


def _decoded(value: object) -> object:
    """Bytes that are given as a list of numbers, as text; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(item, int) and 0 <= item < 256 for item in value):
        return bytes(value).decode("utf-8", "surrogateescape").translate(_STRAYS)
    return value


def _stamp(value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 17:
        return ""
    moment = _EPOCH + timedelta(microseconds=int(value))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
