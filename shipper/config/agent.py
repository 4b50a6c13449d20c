"""Agent: the settings of the whole agent, in `shipper.yaml`. All have defaults; the file may be absent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from shipper.config import document
from shipper.config.components import Components
from shipper.config.convert import BAD, Converter
from shipper.config.fields import Address, ComponentConfig, FilePath, Size
from shipper.config.find import Find, find
from shipper.config.interpolate import Interpolation, Secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shipper.config.pipeline import Component


class LogSettings(ComponentConfig):
    """The agent's own log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""


class Top(ComponentConfig):
    """`shipper.yaml` as written, but for `output`."""

    state_dir: FilePath | None = None
    """Where progress is kept; else $SHIPPER_STATE, else the platform's state directory."""
    control: Address | Literal["off"] = Address("127.0.0.1:9699")
    """Address at which the agent says how it is (`/health`, `/metrics`, `/account`); `off` for no such server. Who reaches it reads
    names of files and counts, so it is on loopback. `run --once` has one only where this stands in the file."""
    memory: Size = Size(16 << 20)
    """Bytes of records held at once by all pipelines together; when they are reached, reading waits."""
    log: LogSettings = LogSettings()
    """The agent's own log."""


class AgentSettings(msgspec.Struct, frozen=True):
    """Settings of the agent, checked."""

    state_dir: str | None = None
    control: Address | None = Address("127.0.0.1:9699")
    control_given: bool = False
    """The file says so; it is not the default."""
    memory: int = 16 << 20
    log_level: str = "info"
    output: Component | None = None
    """The output of pipelines that name none."""
    memory_given: bool = False
    """The file says so; it is not the default."""


def load(text: str, path: str, env: Mapping[str, str], secrets: Secrets, finder: Find = find) -> AgentSettings:
    """Read `shipper.yaml`; arguments and errors as in `load.load`. A file that says nothing means all defaults."""
    written = document.parse(text, path, optional=True)
    Interpolation(written, env, secrets).apply(written.root)
    converter = Converter(written, str(Path(path).absolute().parent))
    top = converter.struct(written.root, Top, written.span(0, 0), apart=("output",))
    output = None
    if "output" in written.root.entries:
        output = Components(converter, finder).named("output", written.root.entries["output"][1])
    written.refuse()
    assert top is not BAD
    return AgentSettings(
        state_dir=top.state_dir,
        control=None if top.control == "off" else top.control,
        control_given="control" in written.root.entries,
        memory=top.memory,
        memory_given="memory" in written.root.entries,
        log_level=top.log.level,
        output=output,
    )
