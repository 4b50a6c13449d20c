"""The agent's own file on the command line: what it says holds, unless an option says otherwise; what is wrong in it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.site import Site, check_whole, shipper

RECORDS = [{"timestamp": "2026-02-05T14:30:45Z", "n": number} for number in range(5)]


def settings(site: Site, text: str) -> Path:
    """Write the file."""
    path = site.folder / "shipper.yaml"
    path.write_text(text)
    return path


def test_state_directory_of_the_file_is_used_unless_an_option_names_one(site: Site) -> None:
    """Counted from the file."""
    site.write(RECORDS)
    path = settings(site, "state_dir: kept\n")
    check_whole(shipper("run", "--once", "--json", "--agent", path, site.pipeline), 5)
    assert list((site.folder / "kept").glob("*/*/checkpoint")) and not site.state.exists()
    check_whole(shipper("run", "--once", "--json", "--agent", path, site.pipeline), 0)
    assert site.once("--agent", path).account["read"] == 5


def test_output_of_the_file_is_that_of_pipelines_that_name_none(site: Site) -> None:
    """A pipeline's own comes first."""
    site.write(RECORDS)
    path = settings(site, "output: {type: local, directory: elsewhere}\n")
    check_whole(site.once("--agent", path), 5)
    assert list(site.out.glob("*.ndjson")) and not (site.folder / "elsewhere").exists()
    text = site.pipeline.read_text()
    site.pipeline.write_text(text[: text.rindex(',\n "output"')] + "\n}")
    check_whole(site.once("--agent", path), 5)
    assert list((site.folder / "elsewhere").glob("*.ndjson"))


def test_log_level_of_the_file_holds_unless_an_option_says_another(site: Site) -> None:
    """As for the state directory."""
    path = settings(site, "log: {level: error}\n")
    assert site.once("--agent", path).messages() == []
    assert "pipeline started" in site.once("--agent", path, "--log-level", "info").messages()


def test_a_setting_that_has_no_effect_yet_is_not_passed_over_in_silence(site: Site) -> None:
    """Whoever bounds the memory should know what bounds it."""
    [line] = [line for line in site.once("--agent", settings(site, "memory: 8MiB\n")).log if line["log.level"] == "warning"]
    assert line["message"].startswith("the setting `memory` has no effect yet")


@pytest.mark.parametrize("words", [["run", "--once"], ["check"]], ids=" ".join)
def test_mistakes_in_the_file_are_refused_with_their_place(site: Site, words: list[str]) -> None:
    """By `check` as by `run`."""
    told = shipper(*words, "--agent", settings(site, "control: 9699\n"), site.pipeline)
    assert (
        told.code == 78 and "shipper.yaml:1:10: control: expected an address such as 127.0.0.1:9699 or off, got 9699" in told.err
    )


@pytest.mark.parametrize("words", [["run", "--once"], ["check"]], ids=" ".join)
def test_a_file_that_is_not_there_is_refused(site: Site, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by the option or by the environment: it was meant to say something."""
    for named in (["--agent", site.folder / "no.yaml"], []):
        monkeypatch.setenv("SHIPPER_AGENT", str(site.folder / "no.yaml"))
        told = shipper(*words, *named, site.pipeline)
        assert told.code == 78 and "no.yaml:1:1: cannot read the file" in told.err
