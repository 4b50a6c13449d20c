"""Names of rotated files: which live file a name may have come from, and what is a rotation's suffix.

Known forms: `app.log.1`, `app.log.1.gz`, `app.log-20260205`, `app.log-20260205-1770300000` (logrotate, its `dateext`),
`app.log.2026-02-05_14` (Python's TimedRotatingFileHandler), `0.log.20260205-143045` (kubelet), `app-1.log`,
`app-2026-02-05T14-30-45.123.log` (lumberjack), `app.log.old`, `app.log.bak`.
"""

from __future__ import annotations

import re

PACKED = (".gz", ".zst", ".xz", ".bz2")
"""Endings of compressed files that can be read."""
COMPRESSED = (*PACKED, ".lz4", ".Z")
_WORDS = "old|bak|backup|prev|previous|orig|save|saved|copy"
_MARK = re.compile(rf"(?:[._-](?:\d[\dTZ:._+-]*|{_WORDS}))+", re.ASCII)
_DATE = re.compile(r"(?:19|20)\d\d-?[01]\d-?[0-3]\d(?:[T_-]?\d\d[:-]?\d\d(?:[:-]?\d\d)?)?", re.ASCII)
_ARCHIVES = tuple(".tar" + ending for ending in COMPRESSED)
_UNREADABLE = tuple(ending for ending in COMPRESSED if ending not in PACKED) + _ARCHIVES
_SEPARATOR = re.compile(r"[._-]")


def is_packed(name: str) -> bool:
    """Whether the name says that the file is compressed, in a way that can be read. An archive of files is no log."""
    return name.endswith(PACKED) and not name.endswith(_ARCHIVES)


def is_compressed(name: str) -> bool:
    """Whether the name says that the file is compressed."""
    return name.endswith(COMPRESSED)


def is_unreadable(name: str) -> bool:
    """Whether the name says that the file is compressed in a way that cannot be read, or an archive of files."""
    return name.endswith(_UNREADABLE)


def is_temporary(name: str) -> bool:
    """Whether the name says that the file is being made and will have another name: kubelet's `*.tmp` (kubernetes PR#139700)."""
    return name.endswith(".tmp")


def unpacked(path: str) -> str:
    """The path without the ending that says compressed: where the plain file lay."""
    for ending in COMPRESSED:
        if path.endswith(ending):
            return path.removesuffix(ending)
    return path


def day(name: str) -> str:
    """The digits of a date, and of the time behind it, in a rotated name; empty: it has none. They sort as the times do."""
    found = _DATE.findall(name)
    return "".join(filter(str.isdigit, found[-1])) if found else ""


def split(path: str) -> tuple[str, str]:
    """Directory (with its slash) and name."""
    at = path.rfind("/") + 1
    return path[:at], path[at:]


def stem_and_suffix(name: str) -> tuple[str, str]:
    """`app.log` -> `app`, `.log`."""
    at = name.rfind(".")
    return (name, "") if at <= 0 else (name[:at], name[at:])


def is_related(live: str, name: str) -> bool:
    """Whether `name` may be what rotation or copying made of `live` (both names without directory), itself included."""
    return name.startswith(live) or is_rotated(live, name)


def is_rotated(live: str, name: str) -> bool:
    """Whether `name` is `live` with a number, a date or a word of rotation: before the suffix, or behind the whole."""
    plain = unpacked(name)
    if plain == live:
        return plain != name
    name = plain
    if name.startswith(live):
        return _MARK.fullmatch(name, len(live)) is not None
    stem, suffix = stem_and_suffix(live)
    if not suffix or not name.startswith(stem) or not name.endswith(suffix) or len(name) < len(stem) + len(suffix):
        return False
    return _MARK.fullmatch(name, len(stem), len(name) - len(suffix)) is not None


def origins(path: str) -> list[str]:
    """Paths of live files that `path` may have been rotated or copied from; a handful, nearest first."""
    directory, name = split(unpacked(path))
    found = [directory + name] if directory + name != path else []
    _, suffix = stem_and_suffix(name)
    for mark in reversed(list(_SEPARATOR.finditer(name))):
        base = name[: mark.start()]
        if base:
            found.append(directory + base)
            if suffix and base + suffix != name:
                found.append(directory + base + suffix)
    return found


def family(path: str) -> str:
    """The live path that a rotated name comes from, by the name alone: `app.log.1` -> `app.log`; others are their own."""
    name, found = split(path)[1], path
    for origin in origins(path):
        if is_rotated(split(origin)[1], name):
            found = origin
    return found
