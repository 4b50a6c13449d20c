"""The source `file`: follows log files through rotation, by glob."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from shipper.config.fields import ComponentConfig, Duration, FilePath, Size

Encoding = Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1"]


class File:
    """Follow files by glob, through renames, copies, truncation and deletion, from where the last run stopped.

    A file is known by its device and inode, a fingerprint of its first KiB and the bytes before the last settled offset; its
    name may change. What a rotation moved away is read to its end before the file that took its place.

    Rotated files that were compressed meanwhile (`.gz`, `.zst`, `.xz`, `.bz2`) are known by their content: what was read is left
    alone, the rest is read where the plain file stopped, and one that came after the file read last is read from its beginning.
    Other compressed files are read if an `include` matches them, as the plain ones beside them; on the very first run too, and
    `start: end` leaves them out then. Archives (`.tar.gz`), `.lz4` and `.Z` are left out, and so are names that end in `.tmp`.
    """

    inlet = "file"

    class Config(ComponentConfig):
        """Settings of a file source."""

        include: list[FilePath]
        """Globs of the files to follow; `**` matches directories of any depth."""
        exclude: list[FilePath] = field(default_factory=list)
        """Globs of files to leave out; one without a slash is compared with the name alone."""
        ignore_older: Duration | None = None
        """Leave out files that were last changed longer ago, unless they have been begun."""
        encoding: Encoding = "utf-8"
        """How the files are encoded. `utf-16` goes by the byte order mark."""
        start: Literal["beginning", "end"] = "beginning"
        """Where to start in files that are there on the very first run. Files that appear later are read from their first byte."""
        roots: list[FilePath] = field(default_factory=list)
        """Directories that files may lie in after symbolic links are resolved, besides the literal part of each include; left
        out, `/var/log` and `/var/lib/docker/containers`."""
        hold: Size = Size(1 << 30)
        """Most disk space that deleted files may take because they are still open here to be read to their end. Beyond it the one
        deleted first is given up, unless its bytes are found in a copy: its rest is lost, and counted. `0` closes them at once."""
        poll: bool = False
        """Look for changes by listing alone, without inotify; for network file systems."""
