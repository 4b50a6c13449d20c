"""What all ways to run the agent for good begin with: a wheel, made of a copy of the sources and installed by the locked versions.

- `installed` (session): a root of its own, with the virtual environment in its /opt/shipper, made by the very commands of the
  Dockerfile's first stage. The package index must be reachable, as for `make setup`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kit.site import WAIT_S, Told
from tests.packaging import image


class Installed:
    """The installed agent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "opt/shipper/bin"

    def run(self, *words: object, cwd: Path, environment: Mapping[str, str] = {}) -> Told:  # noqa: B006
        """Run a program of the virtual environment, by name, with nothing of ours in its environment."""
        command = [str(self.bin / str(words[0])), *map(str, words[1:])]
        variables = {**image.CLEAN, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=WAIT_S, check=False)
        return Told(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """See the module."""
    place = tmp_path_factory.mktemp("image")
    image.build(image.stages()[0], place / "build", place / "root")
    return Installed(place / "root")
