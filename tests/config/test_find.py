"""Finding components: by name, without a list, and without importing more than is asked for."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import types

import pytest

from shipper.config import find as finding
from shipper.decode.json import Json
from shipper.frame.lines import Lines


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `parts_under_test` of the kind `stage`; returns a function that writes a module into it."""
    root = tmp_path / "parts_under_test"
    root.mkdir()
    (root / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(finding.PACKAGES, "stage", "parts_under_test")
    yield lambda name, text: (root / f"{name}.py").write_text(text)
    for name in [name for name in sys.modules if name.startswith("parts_under_test")]:
        del sys.modules[name]


COMPONENT = 'class AccessLog:\n    """Text."""\n\n    class Config:\n        pass\n'


def test_a_component_is_the_class_named_after_its_module() -> None:
    """The shipped ones are found by kind and name."""
    assert (Json, Lines) == (finding.find("decode", "json"), finding.find("frame", "lines"))


def test_only_the_module_asked_for_is_imported(package) -> None:
    """Neither its neighbours, when it is found, nor any, when names are listed."""
    package("access_log", COMPONENT)
    package("broken", "raise SystemError\nclass Broken:\n    class Config: pass\n")
    package("stage", "class Stage:\n    pass\n")
    assert "AccessLog" == finding.find("stage", "access_log").__name__
    assert ["access_log", "broken"] == finding.names("stage")


@pytest.mark.parametrize(
    "name", ["acces_log", "AccessLog", "", ".", "access_log.x", "stage", "__init__", "os", "../x", "x" * 500, "\n"]
)
def test_an_unknown_name_is_refused_with_the_names_there_are(package, name) -> None:
    """Also a module that holds no component, and whatever is no name at all."""
    package("access_log", COMPONENT)
    package("stage", "class Stage:\n    pass\n")
    with pytest.raises(finding.UnknownComponentError) as caught:
        finding.find("stage", name)
    assert ("stage", name, ["access_log"]) == (caught.value.kind, caught.value.name, caught.value.names)


def test_a_component_that_needs_what_is_missing_says_so(package) -> None:
    """An import that fails is no unknown name."""
    package("access_log", "import nowhere_to_be_found\n" + COMPONENT)
    with pytest.raises(
        finding.BrokenComponentError, match=r"parts_under_test.access_log cannot be loaded: nowhere_to_be_found is missing"
    ):
        finding.find("stage", "access_log")


class Point:
    """An entry point."""

    value = "theirs:Sample"

    def __init__(self, name: str, found: object) -> None:
        self.name, self._found = name, found

    def load(self) -> object:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_a_component_of_others_comes_from_its_entry_point(package, monkeypatch) -> None:
    """In the group of its kind; our own modules go first; what is no component is refused."""
    package("access_log", COMPONENT)
    theirs = types.SimpleNamespace(Config=object)
    points = [
        Point("sample", theirs),
        Point("access_log", theirs),
        Point("bare", object()),
        Point("gone", ImportError("no module theirs")),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "shipper.stages" else [])
    assert theirs is finding.find("stage", "sample")
    assert "AccessLog" == finding.find("stage", "access_log").__name__
    assert ["access_log", "bare", "gone", "sample"] == finding.names("stage")
    with pytest.raises(finding.BrokenComponentError, match="theirs:Sample is no component: it has no nested Config"):
        finding.find("stage", "bare")
    with pytest.raises(finding.BrokenComponentError, match="theirs:Sample cannot be loaded: no module theirs"):
        finding.find("stage", "gone")


def test_loading_imports_no_component_that_the_pipeline_does_not_name() -> None:
    """In a fresh interpreter: a pipeline of lines and JSON to a directory leaves GeoIP, Elasticsearch and others alone."""
    program = """
import sys
from shipper.config.load import load
load("name: a\\nsources: [{type: file, include: [/a]}]\\n", "/a.yaml", {}, {}.get)
heavy = ("shipper.stages.", "shipper.edge.output.elasticsearch", "shipper.frame.docker", "maxminddb", "elastic_transport", "hyperscan")
print([name for name in sys.modules if name.startswith(heavy) and name != "shipper.stages.stage"])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "[]" == ran.stdout.strip()
