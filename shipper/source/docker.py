"""The source `docker`: the logs of all containers of a Docker engine, found by their path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import field

from shipper.config.fields import FilePath
from shipper.source.file import File

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATH = re.compile(r"/containers/([0-9a-f]{64})/\1-json\.log")


class Docker:
    """Follow the json-file logs of a Docker engine's containers, and say which container it was.

    Documents get `container.id` from the path, and labels and environment that the log driver was told to write
    (`--log-opt labels=...`) as `container.labels`. It is the source `file` with other defaults.
    """

    inlet = "file"
    frame = "docker"
    """The frame where the pipeline names none."""
    adds = ("container",)

    class Config(File.Config):
        """Settings of the source docker: those of `file`."""

        include: list[FilePath] = field(default_factory=lambda: [FilePath("/var/lib/docker/containers/*/*-json.log")])
        """Globs of the files to follow."""

    @staticmethod
    def describe(path: str) -> Mapping[str, Any]:
        """What the path of a log tells, by the names of ECS: dotted, to stand beside the object of labels that the frame adds."""
        found = _PATH.search(path)
        return {"container.id": found[1], "container.runtime": "docker"} if found else {}
