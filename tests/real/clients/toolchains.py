"""Client programs of other ecosystems for tests: what they need, fetched and built once into the cache; and what runs where not.

RULES
- Versions are pinned by manifests beside the programs (`package-lock.json`, `go.sum`, `requirements.txt`). A folder of the cache is
  named by a hash of the program's folder, made under another name and then renamed.
- As a pytest plugin: tests with a parameter `client` whose toolchain is missing are deselected, with one line; under
  SHIPPER_REQUIRE_REAL=1 that is an error, but for a toolchain that a plain Debian does not have.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from tests.real.node import cache_directory

HERE = Path(__file__).parent


class Program(msgspec.Struct, frozen=True):
    """A client program."""

    name: str
    needs: tuple[str, ...]
    """Commands that fetch, build and run it."""
    make: tuple[tuple[str, ...], ...]
    """Commands that make it ready, in a copy of its folder."""
    run: tuple[str, ...]
    """The command that runs it, `{}` standing for the folder."""
    go_minor: int = 0
    """It needs Go 1.this, or a later one, which Debian 12 does not have."""


PROGRAMS = {
    "node": Program(
        "node", ("node", "npm"), (("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"),), ("node", "{}/client.js")
    ),
    "go": Program("go", ("go",), (("go", "build", "-o", "client", "."),), ("{}/client",)),
    "python": Program(
        "python",
        (),
        (
            (
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--target",
                ".",
                "-r",
                "requirements.txt",
            ),
        ),
        (sys.executable, "{}/client.py"),
    ),
    "filebeat": Program("filebeat", ("go",), (("/bin/sh", "make.sh"),), ("{}/filebeat",), go_minor=22),
}


def lacking(program: Program) -> str:
    """Commands that are missing, or too old."""
    missing = ", ".join(command for command in program.needs if shutil.which(command) is None)
    return missing or (f"Go 1.{program.go_minor}" if program.go_minor and _go_minor() < program.go_minor else "")


def _go_minor() -> int:
    said = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go1\.(\d+)", said)
    return int(found[1]) if found else 0


def ready(program: Program) -> list[str]:
    """Have the program made, and return the command that runs it. Raises RuntimeError with the last words of what failed."""
    place = cache_directory() / f"client-{program.name}-{_fingerprint(HERE / program.name)}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".client-", dir=place.parent) as folder:
            made = Path(folder) / "made"
            shutil.copytree(HERE / program.name, made)
            for command in program.make:
                _call(command, made)
            with contextlib.suppress(OSError):  # another session was faster: its folder is as good
                made.rename(place)
    return [word.replace("{}", str(place)) for word in program.run]


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(folder.iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _call(command: tuple[str, ...], folder: Path) -> None:
    said = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if said.returncode:
        raise RuntimeError(f"{' '.join(command)} failed\n{said.stdout[-2000:]}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run. Raises UsageError when it is required to."""
    missing: dict[str, str] = {}
    left_out = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        program = PROGRAMS.get(str(callspec.params.get("client"))) if callspec else None
        if program is not None and lacking(program):
            missing[program.name] = lacking(program)
            left_out.append(item)
    text = "; ".join(f"the {name} client needs {what}" for name, what in missing.items())
    if any(not PROGRAMS[name].go_minor for name in missing) and os.environ.get("SHIPPER_REQUIRE_REAL") == "1":
        raise pytest.UsageError(f"SHIPPER_REQUIRE_REAL=1, and tests with real clients cannot run: {text}")
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
        config.stash[LEFT_OUT] = f"deselected {len(left_out)} tests with real clients: {text}"


LEFT_OUT = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out."""
    text = config.stash.get(LEFT_OUT, "")
    if text:
        terminalreporter.write_line(text, yellow=True)
