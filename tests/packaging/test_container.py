"""The image, as far as that goes without a container engine: what the Dockerfile says, and its commands run where they can be."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper import assembly
from tests.kit.site import ROOT, Site, log_lines, wait_until
from tests.packaging import image
from tests.packaging.conftest import Installed

BUILD, FINAL = image.stages()
STATE = "/var/lib/shipper"


def test_both_stages_begin_with_one_pinned_base() -> None:
    """A virtual environment refers to its interpreter: it must be the same one, to the last number; and what was tested is what is built."""
    assert BUILD.base == FINAL.base
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", BUILD.base)


def test_everything_that_is_copied_is_there_and_the_build_gets_to_see_it() -> None:
    """And the build context holds nothing else: not the working directory's history, environment and leftovers."""
    sources = [
        ROOT / name
        for stage in (BUILD, FINAL)
        for copy in stage.all("COPY")
        if "from" not in copy.flags
        for name in copy.words[:-1]
    ]
    assert len(sources) > 5
    assert [path for path in sources if not path.exists() or not image.visible(path)] == []
    for hidden in (
        ".git/config",
        ".venv/bin/python",
        "tests/conftest.py",
        "docs/inputs.md",
        "shipper/__pycache__/cli.pyc",
        "secrets.env",
    ):
        assert not image.visible(ROOT / hidden), hidden


def test_the_image_gets_the_environment_of_the_first_stage_and_runs_the_program_in_it(installed: Installed) -> None:
    """What the fixture has installed by the first stage's own commands is what the second takes over, and finds on its PATH."""
    [taken] = [copy for copy in FINAL.all("COPY") if "from" in copy.flags]
    assert taken.flags == {"from": BUILD.name}
    [place, target] = taken.words
    assert place == target == "/opt/shipper"
    assert environment()["PATH"].split(":")[0] == f"{place}/bin"
    for program in (FINAL.one("ENTRYPOINT").words[0], healthcheck()[0]):
        assert (installed.root / place.lstrip("/") / "bin" / program).exists()


def test_the_agent_is_nobody_who_may_do_anything() -> None:
    """A number, so that a cluster can see that it is not root; it comes after all that root has to do."""
    user = FINAL.one("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user.text)
    after = FINAL.instructions[FINAL.instructions.index(user) :]
    assert not {"RUN", "COPY", "ADD"} & {one.name for one in after}


def test_commands_run_without_a_shell_so_that_signals_reach_the_agent() -> None:
    """A shell as process 1 would keep SIGTERM to itself, and the agent would be killed in the middle."""
    assert [FINAL.one(name).is_exec_form for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK")] == [True] * 3


def test_progress_is_on_a_volume_that_the_agent_owns() -> None:
    """Made, and handed to its user, before it is a volume: what is done to a volume later is lost."""
    assert environment()["SHIPPER_STATE"] == FINAL.one("VOLUME").text == STATE
    [making] = FINAL.all("RUN")
    assert f"chown {FINAL.one('USER').text} {STATE}" in making.text and f"chmod 0700 {STATE}" in making.text
    assert FINAL.instructions.index(making) < FINAL.instructions.index(FINAL.one("VOLUME"))


def test_settings_of_the_image_are_accepted_and_open_the_port_that_it_names() -> None:
    """At all addresses of the container, or nobody could ask from outside."""
    [copied] = [copy.words for copy in FINAL.all("COPY") if copy.words[-1].endswith(".yaml")]
    settings = assembly.read_agent(str(ROOT / copied[0]), {})
    assert settings.control is not None
    assert f"{settings.control.host}:{settings.control.port}" == f"0.0.0.0:{FINAL.one('EXPOSE').text}"
    assert copied[1] == f"{FINAL.one('CMD').words[-1]}/shipper.yaml"


def environment() -> dict[str, str]:
    """The variables of the image."""
    return dict(pair.split("=", 1) for pair in FINAL.one("ENV").words)


def healthcheck(port: str = "") -> list[str]:
    """The command that asks for the agent's health, of another port."""
    words = FINAL.one("HEALTHCHECK").words
    assert f" {FINAL.one('EXPOSE').text}," in words[-1]
    return [*words[:-1], words[-1].replace(f" {FINAL.one('EXPOSE').text},", f" {port},")]


@pytest.fixture
def etc(site: Site) -> Path:
    """What stands in /etc/shipper, of the image but for the port, and a pipeline."""
    place = site.folder / "etc"
    (place / "pipelines").mkdir(parents=True)
    (place / "shipper.yaml").write_text("control: 127.0.0.1:0\n")
    site.pipeline.rename(place / "pipelines/app.yaml")
    return place


@pytest.fixture
def running(site: Site, installed: Installed, etc: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The image's command as it would be run, in the environment that it has, and the port at which it answers."""
    words = [*FINAL.one("ENTRYPOINT").words, *FINAL.one("CMD").words[:-1], str(etc)]
    log = site.folder / "agent.log"
    with log.open("wb") as errors:
        variables = {**image.CLEAN, "SHIPPER_STATE": str(site.state)}
        agent = subprocess.Popen([installed.bin / words[0], *words[1:]], env=variables, stderr=errors, cwd="/")

    def address() -> str:
        found = [line["address"] for line in log_lines(log.read_text()) if line["message"] == "control address open"]
        assert agent.poll() is None, log.read_text()
        return found[0].rpartition(":")[2] if found else ""

    try:
        wait_until(address, "the control address")
        yield agent, address()
    finally:
        agent.kill()
        agent.wait()


def test_healthcheck_tells_a_running_agent_from_one_that_hangs_or_is_gone(
    running: tuple[subprocess.Popen[bytes], str], installed: Installed, tmp_path: Path
) -> None:
    """By its exit code, also where the container has a proxy for what lies outside."""
    agent, port = running
    proxies = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}

    def said() -> int:
        return installed.run(*healthcheck(port), cwd=tmp_path, environment=proxies).code

    assert said() == 0
    agent.send_signal(signal.SIGSTOP)
    assert said() == 1
    agent.send_signal(signal.SIGCONT)
    assert said() == 0
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(60) == 0
    assert said() == 1
