"""The shipped pipelines: each is taken as it stands, and passes the tests written in it."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from shipper import assembly, rehearsal
from tests.kit.site import ROOT, Site, shipper

PIPELINES = sorted((ROOT / "pipelines").glob("*.yaml"))
CASES_MIN = 15
"""Cases that a pipeline shows at least."""
SCHEMA = "# yaml-language-server: $schema=../docs/reference/pipeline.schema.json\n"


def cases() -> list[tuple[Path, str]]:
    """Every test in every pipeline."""
    return [(path, test.name) for path in PIPELINES for test in assembly.read_pipeline(str(path), {}).tests]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_pipeline_is_taken_with_nothing_set(site: Site, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a variable in the environment: defaults that work, and at least fifteen cases that show what it does."""
    for name in (
        "GEOIP_CITY",
        "GEOIP_ASN",
        "GEOIP_COUNTRY",
        "ELASTICSEARCH_HOST",
        "ELASTICSEARCH_USER",
        "ELASTICSEARCH_PASSWORD",
    ):
        monkeypatch.delenv(name, raising=False)
    told = shipper("check", path)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"{path}: ok (")
    assert len(assembly.read_pipeline(str(path), {}).tests) >= CASES_MIN


@functools.cache
def problems(path: Path, cache: Path) -> dict[str, list[str]]:
    """What each case of a pipeline complains about."""
    pipeline = assembly.read_pipeline(str(path), {})
    return {result.name: result.problems for result in rehearsal.run_tests(pipeline, {"SHIPPER_STATE": str(cache)})}


@pytest.mark.parametrize(("path", "name"), cases(), ids=[f"{path.stem}: {name}" for path, name in cases()])
def test_case_of_a_pipeline_passes(rule_cache: Path, path: Path, name: str) -> None:
    """What the pipeline says of itself is so."""
    assert problems(path, rule_cache)[name] == []


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_an_editor_finds_the_schema_by_the_first_line(path: Path) -> None:
    """And the schema is there."""
    assert path.read_text().startswith(SCHEMA)
    assert (path.parent / SCHEMA.partition("=")[2].strip()).is_file()


def test_names_of_cases_are_distinct() -> None:
    """So that a failure names one case."""
    assert len(cases()) == len(set(cases()))


def test_there_is_a_pipeline() -> None:
    """The parametrised tests above would pass on an empty directory."""
    assert ROOT / "pipelines" / "shadower.yaml" in PIPELINES
