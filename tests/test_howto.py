"""docs/howto/add-a-stage.md works as it stands: its files make a package whose entry point adds a stage to an agent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.kit.site import ROOT

PAGE = ROOT / "docs" / "howto" / "add-a-stage.md"
FILES = re.compile(r"^```\w+\n# file: (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A directory with the page's files, and what an installer would have made of its pyproject.toml."""
    for name, text in FILES.findall(PAGE.read_text()):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(points) + "\n")
    return tmp_path


def shipper(package: Path, *words: str, paths: str = "") -> subprocess.CompletedProcess[str]:
    """The command line with the package on Python's path."""
    env = {**os.environ, "PYTHONPATH": f"{paths or package}{os.pathsep}{ROOT}", "SHIPPER_STATE": str(package / "state")}
    start = "import sys; from shipper.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", start, *words], cwd=package, env=env, capture_output=True, text=True, check=False
    )


def test_a_stage_of_a_second_package_is_a_stage_like_ours(package: Path) -> None:
    """It is checked, tested, explained and documented, and without the package it is unknown."""
    checked = shipper(package, "check", "length.yaml")
    assert (checked.returncode, checked.stderr) == (0, "")
    tested = shipper(package, "test", "length.yaml")
    assert (tested.returncode, tested.stdout.splitlines()[-1]) == (0, "length.yaml: 1 passed, 0 failed")
    assert "### `target`" in shipper(package, "docs", "stage/length").stdout
    assert '"length"' in shipper(package, "docs", "--schema").stdout
    unknown = shipper(package, "check", "length.yaml", paths=str(package / "elsewhere"))
    assert unknown.returncode == 78
    assert "there is no stage 'length'" in unknown.stderr


def test_a_mistake_in_its_settings_is_told_like_one_in_ours(package: Path) -> None:
    """With place and suggestion, from its declaration alone."""
    path = package / "length.yaml"
    path.write_text(path.read_text().replace("{field: message}", "{feild: message}"))
    refused = shipper(package, "check", "length.yaml")
    assert refused.returncode == 78
    assert "length.yaml:5:14: `feild` is not known here" in refused.stderr
    assert "did you mean `field`?" in refused.stderr


def test_the_test_that_the_page_shows_passes_and_can_fail(package: Path) -> None:
    """The laws hold for the stage, and not for one that forgets the comma."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_length.py"]
    env = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}"}
    done = subprocess.run(words, cwd=package, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    path = package / "shipper_length" / "length.py"
    path.write_text(path.read_text().replace('f",{json', 'f"{json'))
    assert subprocess.run(words, cwd=package, env=env, capture_output=True, text=True, check=False).returncode == 1
