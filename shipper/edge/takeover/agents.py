"""Agents: whose state a file is, by its content, and its positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shipper.edge.takeover import filebeat, fluent_bit, fluentd, own, promtail, vector
from shipper.edge.takeover.position import HINT, first_bytes
from shipper.model.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

    from shipper.edge.takeover.position import Position


class Agent(Protocol):
    """What the module of an agent has."""

    NAME: str
    """What `--from` calls it."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether a file that begins so is its state, or a directory (`head` is empty) holds it."""
        ...

    def read(self, path: Path) -> list[Position]:
        """The positions in its state. Raises HostError."""
        ...


_MODULES: tuple[Agent, ...] = (fluentd, fluent_bit, filebeat, vector, promtail, own)
_AGENTS = {agent.NAME: agent for agent in _MODULES}
NAMES = tuple(_AGENTS)
"""What `--from` takes."""
_HEAD_BYTES = 1 << 16


def recognise(path: Path) -> str:
    """The name of the agent whose state a file or directory is. Raises HostError where it is none's, or cannot be read."""
    head = b"" if path.is_dir() else first_bytes(path, _HEAD_BYTES)
    if not head and not path.is_dir():
        raise HostError(f"{path} is empty: nothing to take over", "The other agent writes its state while it runs.")
    found = next((name for name, agent in _AGENTS.items() if agent.recognises(path, head)), None)
    if found is None:
        raise HostError(
            f"{path}:1: expected the state of an agent that is known: {', '.join(NAMES)}",
            "Fluentd: pos_file. Fluent Bit: DB. Filebeat: registry/filebeat. Vector: checkpoints.json. Promtail: positions.yaml.",
        )
    return found


def saved_s(path: Path) -> float:
    """When a state was saved last, Unix seconds. Raises HostError."""
    try:
        return path.stat().st_mtime
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}", HINT) from error


def read(path: Path, name: str) -> list[Position]:
    """The positions in the state of the agent `name`. Raises HostError that says file, line and what was expected."""
    try:
        return _AGENTS[name].read(path)
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}", HINT) from error
