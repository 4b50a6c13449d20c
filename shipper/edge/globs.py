"""Globs: which files a pattern with `**` matches, found by one bounded walk.

RULES
- `*`, `?` and `[...]` match within a name, `**` any number of directories. As in a shell, a leading dot must be written out.
- Symbolic links to directories are followed where a component of the pattern names them, never by `**`: so there are no loops.
- Bounds: 32 directories deep, `ENTRIES` directory entries a walk; a walk that meets them says so.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRIES = 1_000_000
_DEPTH = 32
_MAGIC = re.compile(r"[*?\[]")


def is_literal(text: str) -> bool:
    """Whether it has no wildcard."""
    return _MAGIC.search(text) is None


def literal_directory(pattern: str) -> str:
    """The directories of a pattern before its first wildcard: `/var/log/**/*.log` -> `/var/log`."""
    parts = pattern.split("/")[:-1]
    kept = []
    for part in parts:
        if not is_literal(part):
            break
        kept.append(part)
    return "/".join(kept) or "/"


def translate(part: str) -> re.Pattern[str]:
    """One component of a pattern (not `**`) as a regular expression for a name."""
    text, at = "", 0
    while at < len(part):
        character = part[at]
        at += 1
        end = part.find("]", at + 1) if character == "[" else -1
        if character == "*":
            text += "[^/]*"
        elif character == "?":
            text += "[^/]"
        elif end > 0:
            text += _one_of(part[at:end])
            at = end + 1
        else:
            text += re.escape(character)
    hidden = "" if part.startswith(".") else r"(?!\.)"
    return re.compile(hidden + text)


def translate_path(pattern: str) -> re.Pattern[str]:
    """A whole pattern as a regular expression for a path; one without a slash is for names in any directory."""
    if "/" not in pattern:
        pattern = "/**/" + pattern
    if pattern.endswith("/**"):
        pattern += "/*"
    text = ""
    for part in pattern.split("/")[1:]:
        text = (
            text.removesuffix("/") + "/(?:[^/]+/)*" if part == "**" else text + ("" if text.endswith("*") else "/") + _plain(part)
        )
    return re.compile(text)


def _one_of(characters: str) -> str:
    """`[...]` as a regular expression; a range that runs backwards matches nothing, as in a shell."""
    inner = characters.replace("\\", "\\\\").replace("[", "\\[").replace("&&", "&\\&").replace("~~", "~\\~").replace("||", "|\\|")
    text = "(?!/)[^" + inner[1:] + "]" if inner[0] in "!^" else "(?!/)[" + inner + "]"
    try:
        re.compile(text)
    except re.error:
        return "(?!)"
    return text


def _plain(part: str) -> str:
    return translate(part).pattern.removeprefix(r"(?!\.)")


class Walk:
    """One walk over the file system, for all patterns of a source."""

    __slots__ = ("budget", "complete", "directories", "errors")

    def __init__(self) -> None:
        """Nothing is seen yet."""
        self.budget = ENTRIES
        self.complete = True
        """No directory failed but those that may not be read, and there were not too many entries."""
        self.directories: set[str] = set()
        """Those that were listed."""
        self.errors: dict[str, str] = {}
        """Directories that could not be, with the reason."""

    def find(self, pattern: str) -> Iterator[os.DirEntry[str]]:
        """Entries that an absolute pattern matches, in order of their names within a directory."""
        base = literal_directory(pattern)
        parts = pattern[len(base.rstrip("/")) + 1 :].split("/")
        yield from self._descend(base, parts, 0)

    def _descend(self, directory: str, parts: list[str], depth: int) -> Iterator[os.DirEntry[str]]:
        part, rest = parts[0], parts[1:]
        if part == "**":
            following = rest or ["*"]
            yield from self._descend(directory, following, depth)
            for entry in self._list(directory) if depth < _DEPTH else ():
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    yield from self._descend(entry.path, parts, depth + 1)
            return
        matches = translate(part).fullmatch
        for entry in self._list(directory):
            if matches(entry.name):
                if not rest:
                    yield entry
                elif depth < _DEPTH and entry.is_dir():
                    yield from self._descend(entry.path, rest, depth + 1)

    def _list(self, directory: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(directory) as scan:
                found = sorted(scan, key=_name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.errors[directory] = os.strerror(error.errno or 0)
            self.complete = self.complete and isinstance(error, PermissionError)
            return []
        self.directories.add(directory)
        self.budget -= len(found)
        if self.budget < 0:
            self.complete = False
            return found[: self.budget]
        return found


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
