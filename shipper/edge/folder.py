"""Folder: a configuration that is a directory, as a service has it: `/etc/shipper`.

RULES
- `shipper.yaml` in it has the settings of the agent. Its pipelines are the `*.yaml` in its `pipelines/`; where it has no such
  directory, the `*.yaml` in itself besides `shipper.yaml`. In the order of their names; names that begin with a dot are none.
- What somebody meant as a pipeline is not passed over in silence: no pipeline at all, or one whose name ends in `.yml`, is refused.
- One level only: a directory in `pipelines/` is no more than its files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shipper.model.errors import ConfigError, Fault, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

AGENT_FILE = "shipper.yaml"
PIPELINES = "pipelines"
_PIPELINE, _MISTAKEN = ".yaml", ".yml"


def pipelines(configs: Sequence[str]) -> tuple[list[str], list[Fault]]:
    """The pipeline files that these words of a command line mean, files and directories, and what is wrong with the directories."""
    found: list[str] = []
    faults: list[Fault] = []
    for config in configs:
        if os.path.isdir(config):
            inside, wrong = _inside(config)
            found += inside
            faults += wrong
        else:
            found.append(config)
    return found, faults


def agent_file(configs: Sequence[str]) -> str | None:
    """The settings of the agent that stand in one of these directories; None where in none. Raises ConfigError for two of them."""
    there = [path for config in configs if os.path.lexists(path := os.path.join(config, AGENT_FILE))]
    if len(there) > 1:
        message = f"{there[0]} has settings of the agent too"
        raise ConfigError([Fault(Place(there[1], 1, 1), message, "one agent has one such file: name it by --agent")])
    return there[0] if there else None


def _inside(directory: str) -> tuple[list[str], list[Fault]]:
    """The pipelines of a directory, and what is wrong with it."""
    place = os.path.join(directory, PIPELINES)
    if not os.path.lexists(place):
        place = directory
    try:
        names = sorted(name for name in os.listdir(place) if not name.startswith("."))
    except OSError as error:
        return [], [_fault(place, f"cannot read the directory: {error.strerror}")]
    found = [os.path.join(place, name) for name in names if name.endswith(_PIPELINE) and (place, name) != (directory, AGENT_FILE)]
    faults = [
        _fault(os.path.join(place, name), "a pipeline in a directory ends in .yaml", "rename it, or take it out of the directory")
        for name in names
        if name.endswith(_MISTAKEN)
    ]
    if not found and not faults:
        hint = f"put one into {os.path.join(directory, PIPELINES, 'NAME.yaml')}; `shipper docs pipeline` tells what stands in it"
        faults.append(_fault(place, "there is no pipeline in this directory", hint))
    return found, faults


def _fault(path: str, message: str, hint: str = "") -> Fault:
    return Fault(Place(path, 1, 1), message, hint)
