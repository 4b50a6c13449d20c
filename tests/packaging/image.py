"""The Dockerfile as data, and what of it can be done without a container engine: its copies, and the commands of its first stage.

Read here: comments, continued lines, stages, flags, the exec form. `# syntax` lines, heredocs and ONBUILD are not in it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from tests.kit.site import ROOT

FILE = ROOT / "packaging/container/Dockerfile"
IGNORED = FILE.with_name("Dockerfile.dockerignore")
CLEAN = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""The environment of commands: `python` is the one that runs the tests, and nothing else leads to this checkout."""
_FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")


class Instruction(NamedTuple):
    """One instruction."""

    name: str
    flags: Mapping[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """Its words; of the exec form its items."""
        found: list[str] = json.loads(self.text) if self.is_exec_form else self.text.split()
        return found

    @property
    def is_exec_form(self) -> bool:
        """Whether it is a list, which runs without a shell between."""
        return self.text.startswith("[")


class Stage(NamedTuple):
    """One stage."""

    base: str
    name: str
    instructions: list[Instruction]

    def all(self, name: str) -> list[Instruction]:
        """The instructions of a name, in order."""
        return [one for one in self.instructions if one.name == name]

    def one(self, name: str) -> Instruction:
        """The only instruction of a name."""
        [found] = self.all(name)
        return found


def stages() -> list[Stage]:
    """The stages of the project's Dockerfile."""
    found: list[Stage] = []
    for instruction in _instructions(FILE.read_text()):
        if instruction.name == "FROM":
            base, _, name = instruction.text.partition(" AS ")
            found.append(Stage(base, name, []))
        else:
            found[-1].instructions.append(instruction)
    return found


def _instructions(text: str) -> Iterator[Instruction]:
    joined = re.sub(r"\\\n", " ", "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#")))
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, rest = line.partition(" ")
        flags = {}
        while flag := _FLAG.match(rest):
            flags[flag[1]] = flag[2]
            rest = rest[flag.end() :]
        if name == "HEALTHCHECK":
            rest = rest.removeprefix("CMD ")
        yield Instruction(name, flags, rest)


def visible(path: Path) -> bool:
    """Whether `docker build` gets to see a file of the project: the last line that speaks of it, or of a directory above, counts."""
    names = [parent.as_posix() for parent in reversed(path.relative_to(ROOT).parents)][1:] + [path.relative_to(ROOT).as_posix()]
    shown = True
    for line in IGNORED.read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line.startswith("#") and any(fnmatch(name, pattern) or fnmatch(f"/{name}", f"/{pattern}") for name in names):
            shown = line.startswith("!")
    return shown


def build(stage: Stage, place: Path, root: Path) -> None:
    """Do what the first stage says, in `place`; what it puts into /opt is put into `root`/opt."""
    place.mkdir(parents=True)
    for instruction in stage.instructions:
        if instruction.name == "COPY":
            copy(instruction, place)
        elif instruction.name == "RUN":
            command = instruction.text.replace("/opt/", f"{root}/opt/")
            subprocess.run(["sh", "-ec", command], cwd=place, env={**CLEAN, **_pip()}, check=True, capture_output=True, text=True)
        else:
            assert instruction.name == "WORKDIR", f"{instruction.name} is not done here"


def copy(instruction: Instruction, place: Path) -> None:
    """Copy files of the project, as COPY does: of a directory what is in it."""
    *sources, target = instruction.words
    end = place / target.lstrip("/")
    for source in (ROOT / name for name in sources):
        if source.is_dir():
            shutil.copytree(source, end, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            to = end / source.name if target.endswith("/") else end
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to)


def _pip() -> dict[str, str]:
    """How this machine's pip reaches its index."""
    wanted = ("HOME", "SSL_CERT_FILE", "XDG_CACHE_HOME")
    return {
        name: value
        for name, value in os.environ.items()
        if name in wanted or name.startswith("PIP_") or name.lower().endswith("_proxy")
    }
