"""Errors by blame: the user's, the data's, the peer's, the machine's. A bug is an AssertionError and ends the process."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.model.excerpt import excerpt

FAULTS_SHOWN_MAX = 50
"""Faults written out in the text of a ConfigError; the rest is counted."""


@dataclass(frozen=True)
class Place:
    """Where in a configuration file something stands. Lines and columns count from 1."""

    path: str
    line: int
    column: int
    text: str = ""
    """The source line, without its line end."""
    width: int = 1
    """Characters the caret underlines."""


@dataclass(frozen=True)
class Fault:
    """One mistake in a configuration: where, what, and what to do about it."""

    place: Place
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """`file:line:column: message`, the line (cut for 80 columns), a caret under the place, the hint."""
        lines = [f"{self.place.path}:{self.place.line}:{self.place.column}: {self.message}"]
        if self.place.text:
            lines += [f"    {line}" for line in excerpt(self.place.text, self.place.column, self.place.width)]
        if self.hint:
            lines.append(f"    {self.hint}")
        return "\n".join(lines)


class ConfigError(Exception):
    """The configuration is refused. Holds every fault found, in the order of the file. Exit code 78."""

    def __init__(self, faults: list[Fault]) -> None:
        """Take the faults; at least one. The text ends with their count."""
        assert faults
        files = ", ".join(dict.fromkeys(fault.place.path for fault in faults))
        mistakes = "1 mistake" if len(faults) == 1 else f"{len(faults)} mistakes"
        shown = "" if len(faults) <= FAULTS_SHOWN_MAX else f"; the first {FAULTS_SHOWN_MAX} are shown"
        super().__init__("\n".join([*map(str, faults[:FAULTS_SHOWN_MAX]), f"{mistakes} in {files}{shown}"]))
        self.faults = faults


class ComponentError(Exception):
    """A component refuses its settings when it is made (a missing database, say).

    `field` is the dotted path of the setting within the component, so that the loader can point at it.
    """

    def __init__(self, message: str, field: str = "", hint: str = "") -> None:
        """Take what is wrong, the setting it concerns and what to do."""
        super().__init__(message)
        self.message, self.field, self.hint = message, field, hint


class HostError(Exception):
    """The machine refuses: state directory read-only, disk full, a lock held by another agent. Exit code 1."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Take what happened (with the path, never content) and what to do."""
        super().__init__(message if not hint else f"{message}\n    {hint}")
        self.hint = hint


class MisuseError(Exception):
    """Code of a user's own asked for what cannot be. Its text holds names of the configuration and numbers, nothing of a record.

    So it may stand in the agent's log, where of other errors only the class does.
    """
