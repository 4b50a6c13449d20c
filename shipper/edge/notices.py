"""Notices: what the agent's log says of a note of the file source."""

from __future__ import annotations

NOTICES = {
    "renamed": ("info", "file renamed"),
    "copy": ("info", "a copy of another file"),
    "compressed": ("info", "compressed file left alone"),
    "truncated": ("info", "file truncated"),
    "replaced": ("info", "file replaced"),
    "resumed": ("info", "file found again"),
    "ended": ("info", "file gone, read to its end"),
    "lost": ("warning", "file gone, not read to its end"),
    "missed": ("warning", "file gone before it was read"),
    "held_too_much": ("error", "deleted files hold too much of the disk, one is given up"),
    "refused": ("warning", "path refused"),
    "unreadable": ("warning", "file cannot be read, to be tried again"),
    "handles": ("warning", "too many open files"),
    "polling": ("warning", "no notifications of changes, looking more often"),
}
"""What is logged for a note of the source, by its kind."""
