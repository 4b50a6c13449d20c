"""The installed wheel works where no source is, with the locked versions and nothing that only developers need."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.kit.site import ROOT
from tests.packaging import image, unit
from tests.packaging.conftest import Installed

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED = dict(line.split("==") for line in (ROOT / "packaging/requirements.lock").read_text().split())


def plain(name: str) -> str:
    """A name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_program_tells_the_version_of_the_project(installed: Installed, tmp_path: Path) -> None:
    """From the wheel's metadata."""
    told = installed.run("shipper", "--version", cwd=tmp_path)
    assert (told.code, told.out, told.err) == (0, f"shipper, version {PROJECT['version']}\n", "")


def test_the_package_is_the_wheel_and_not_this_checkout(installed: Installed, tmp_path: Path) -> None:
    """Or the tests here would prove nothing; each file of it is the one of the project, with all data."""
    told = installed.run("python", "-c", "import shipper; print(shipper.__file__)", cwd=tmp_path)
    package = Path(told.out.strip()).parent
    assert package.is_relative_to(installed.root)
    names = [
        sorted(path.relative_to(place) for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        for place in (package, ROOT / "shipper")
    ]
    assert names[0] == names[1]
    assert all((package / name).read_bytes() == (ROOT / "shipper" / name).read_bytes() for name in names[0])


def test_every_installed_version_is_the_locked_one_and_none_is_for_developers(installed: Installed, tmp_path: Path) -> None:
    """What somebody gets is what was tested, and no more than the agent needs."""
    told = installed.run("python", "-m", "pip", "list", "--format=json", cwd=tmp_path)
    found = {plain(row["name"]): row["version"] for row in json.loads(told.out)}
    of_the_environment = {"pip", "setuptools", "wheel", "shipper"}
    locked = {plain(name): version for name, version in LOCKED.items()}
    assert {
        name: version for name, version in found.items() if name not in of_the_environment and locked.get(name) != version
    } == {}
    wanted = {plain(re.split(r"[<>=~\[ ]", one)[0]) for one in PROJECT["optional-dependencies"]["dev"]} - {"shipper"}
    assert wanted and wanted & found.keys() == set()


def test_all_ready_pipelines_pass_their_tests_elsewhere(installed: Installed, tmp_path: Path) -> None:
    """In a directory of configuration, as they are put to use."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "etc/pipelines")
    told = installed.run("shipper", "test", "etc", cwd=tmp_path, environment={"SHIPPER_STATE": str(tmp_path / "state")})
    assert told.code == 0, told.out + told.err
    assert told.out.count(" passed, 0 failed") == len(list((ROOT / "pipelines").glob("*.yaml")))


@pytest.mark.parametrize("topic", ["stage/geoip", "redact", "pipeline"])
def test_manual_pages_are_those_of_the_reference(installed: Installed, tmp_path: Path, topic: str) -> None:
    """They are made of the sources' own texts, which the wheel holds."""
    told = installed.run("shipper", "docs", topic, cwd=tmp_path)
    assert (told.code, told.out) == (0, (ROOT / f"docs/reference/{topic.replace('/', '-')}.md").read_text())


@pytest.mark.parametrize("page", ["README.md", "docs/running.md"])
def test_the_manual_installs_as_these_tests_do(page: str) -> None:
    """Its commands are those of the image, which made what is tested here; the files that they name are there."""
    text = (ROOT / page).read_text()
    lines = {line.strip() for line in text.splitlines()}
    for command in image.stages()[0].all("RUN"):
        assert command.text.replace("python -m", "python3.11 -m") in lines
    assert any(line.startswith(f"docker build -f {image.FILE.relative_to(ROOT)} ") for line in lines)
    named = set(re.findall(r"(?<![/\w])(?:packaging|pipelines)/[\w./-]*\w", text))
    assert len(named) >= 4
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_manual_names_the_places_of_the_unit() -> None:
    """Where the unit goes, and where it looks for the rest."""
    text = (ROOT / "docs/running.md").read_text()
    head = unit.UNIT.read_text().partition("[Unit]")[0]
    for place in ("/etc/systemd/system/shipper.service", "/etc/shipper/environment", "/opt/shipper"):
        assert place in text and place in head, place
    for place in (unit.one("ExecStart").split()[-1], *(pair.partition("=")[2] for pair in unit.one("Environment").split()[:1])):
        assert place in text, place
