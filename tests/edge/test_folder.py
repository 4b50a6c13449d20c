"""A directory as configuration: what of it is taken, by every command that takes several, and what is refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.edge import folder
from shipper.model.errors import ConfigError
from tests.kit.site import Site, shipper

NAMES = ["b.yaml", "a.yaml", ".hidden.yaml", "..data", "notes.md", "shipper.yaml", "c.yaml~"]


@pytest.fixture(autouse=True)
def _no_agent_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is named, so that those of the directories count."""
    monkeypatch.delenv("SHIPPER_AGENT")


def fill(place: Path, *names: str) -> Path:
    """Make a directory with files that hold nothing."""
    place.mkdir(parents=True)
    for name in names:
        (place / name).write_text("")
    return place


def configure(site: Site, place: Path, *names: str) -> Path:
    """Make a directory with pipelines that have a test each, and one source between them, so that each record counts once."""
    place.mkdir(parents=True)
    for name in names:
        case = {
            "name": f"case {name}",
            "given": ['{"timestamp":"2026-02-05T14:30:45Z"}'],
            "expect": [{"index": f"{name}-2026.02.05"}],
        }
        source = {"type": "file", "include": [str(site.logs / f"{name}.log")]}
        site.configure(name=name, sources=[source], route=[{"index": name}], tests=[case])
        text = site.pipeline.read_text()
        (place / f"{name}.yaml").write_text(text[: text.index(' "output"')] + text[text.index(' "tests"') :])
    return place


def test_pipelines_stand_in_the_directory_of_that_name(tmp_path: Path) -> None:
    """In the order of their names, and only what ends in .yaml; also one that is called shipper.yaml. Files besides stay as they are."""
    (tmp_path / "other.yaml").write_text("")
    place = fill(tmp_path / "pipelines", *NAMES)
    wanted = [str(place / name) for name in ("a.yaml", "b.yaml", "shipper.yaml")]
    assert folder.pipelines([str(tmp_path), "-", "no/such.yaml"]) == ([*wanted, "-", "no/such.yaml"], [])


def test_pipelines_stand_beside_the_agents_file_where_there_is_no_such_directory(tmp_path: Path) -> None:
    """And that file is none of them."""
    place = fill(tmp_path / "etc", *NAMES)
    assert folder.pipelines([str(place)]) == ([str(place / "a.yaml"), str(place / "b.yaml")], [])
    assert folder.agent_file([str(place), "-", str(place / "a.yaml")]) == str(place / "shipper.yaml")


def test_a_config_map_is_taken_as_the_kubelet_lays_it_out(tmp_path: Path) -> None:
    """Links to a directory that is exchanged as a whole; each pipeline is there once."""
    real = fill(tmp_path / "pipelines" / "..2026_11_25", "kubernetes.yaml")
    (tmp_path / "pipelines" / "..data").symlink_to(real.name)
    (tmp_path / "pipelines" / "kubernetes.yaml").symlink_to("..data/kubernetes.yaml")
    assert folder.pipelines([str(tmp_path)]) == ([str(tmp_path / "pipelines" / "kubernetes.yaml")], [])


@pytest.mark.parametrize("names", [[], ["shipper.yaml"], ["notes.md"]], ids=str)
@pytest.mark.parametrize("below", ["", "pipelines"])
@pytest.mark.parametrize("words", [["run", "--once"], ["check"], ["test"]], ids=" ".join)
def test_a_directory_without_a_pipeline_is_refused(tmp_path: Path, words: list[str], below: str, names: list[str]) -> None:
    """With the place that one belongs in. An agent without a pipeline would look as if it worked."""
    place = fill(tmp_path / "etc", *names) if not below else fill(tmp_path / "etc" / below, "notes.md").parent
    told = shipper(*words, place)
    assert told.code == 78
    assert f"{place / below}:1:1: there is no pipeline in this directory" in told.err
    assert f"put one into {place}/pipelines/NAME.yaml" in told.err


def test_mistakes_of_directories_and_of_files_are_told_at_once(site: Site) -> None:
    """A pipeline that would be passed over, as its name ends in .yml; a directory that is none; a file that is wrong."""
    place = configure(site, site.folder / "etc" / "pipelines", "app")
    (place / "app.yaml").rename(place / "app.yml")
    (site.folder / "two").mkdir()
    (site.folder / "two" / "pipelines").symlink_to("gone")
    (site.folder / "wrong.yaml").write_text("name: ]")
    told = shipper("check", place.parent, site.folder / "two", site.folder / "wrong.yaml")
    assert told.code == 78 and told.err.splitlines()[-1].startswith("3 mistakes in ")
    assert f"{place / 'app.yml'}:1:1: a pipeline in a directory ends in .yaml\n    rename it" in told.err
    assert f"{site.folder / 'two' / 'pipelines'}:1:1: cannot read the directory: No such file or directory" in told.err
    assert "wrong.yaml:1:7:" in told.err


def test_two_directories_with_settings_of_the_agent_are_refused_unless_one_is_named(site: Site) -> None:
    """Which of them counts is not to be guessed."""
    places = [configure(site, site.folder / name, name) for name in ("one", "two")]
    for place in places:
        (place / "shipper.yaml").write_text("control: off\noutput: {type: local, directory: out}\n")
    with pytest.raises(ConfigError, match="name it by --agent"):
        folder.agent_file([str(place) for place in places])
    assert shipper("check", *places).code == shipper("run", "--once", *places).code == 78
    assert "two/shipper.yaml:1:1" in shipper("check", *places).err
    assert shipper("test", *places).code == 0


def test_a_directory_is_run_checked_and_tested_whole(site: Site) -> None:
    """Its settings hold for its pipelines: the output of those that name none, and where progress is kept."""
    place = configure(site, site.folder / "etc" / "pipelines", "app", "web").parent
    (place / "shipper.yaml").write_text("state_dir: ../state\ncontrol: off\noutput: {type: console}\n")
    for name in ("app", "web"):
        site.write([{"timestamp": "2026-02-05T14:30:45Z", "from": name}] * 3, f"{name}.log")
    told = shipper("check", place)
    assert (told.code, told.out.count(": ok (1 source"), told.err) == (0, 2, "")
    told = shipper("test", place)
    assert (told.code, told.out.count(": 1 passed, 0 failed")) == (0, 2)
    told = shipper("run", "--once", place)
    assert told.code == 0
    assert [told.out.count(f"{name}-2026.02.05\n") for name in ("app", "web")] == [3, 3]


def test_settings_that_are_named_come_before_those_of_the_directory(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option or by the environment, whichever there is."""
    place = configure(site, site.folder / "etc", "app")
    (place / "shipper.yaml").write_text("control: nonsense\n")
    assert "shipper.yaml:1:10" in shipper("check", place).err
    other = site.folder / "other.yaml"
    other.write_text("control: off\n")
    assert shipper("check", "--agent", other, place).code == 0
    monkeypatch.setenv("SHIPPER_AGENT", str(other))
    assert shipper("check", place).code == 0


def test_a_file_of_the_agent_that_cannot_be_read_is_refused_and_not_passed_over(site: Site) -> None:
    """A link that leads nowhere was meant to say something."""
    place = configure(site, site.folder / "etc", "app")
    (place / "shipper.yaml").symlink_to("gone")
    told = shipper("check", place)
    assert told.code == 78 and f"{place / 'shipper.yaml'}:1:1: cannot read the file" in told.err
