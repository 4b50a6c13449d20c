"""The documents' examples work: each block of YAML in them is a pipeline that `check` accepts, and links lead somewhere."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from shipper import assembly
from shipper.config import reference
from shipper.config.find import names
from tests.kit.site import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text()))
    if "sources:" in block and not block.startswith("# file:")  # those are tested by test_howto.py, test_kubernetes.py
]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_is_a_pipeline_that_check_accepts(block: str, tmp_path: Path) -> None:
    """As it stands; one that only names sources gets a name."""
    path = tmp_path / "example.yaml"
    path.write_text(block if re.search(r"^name:", block, re.MULTILINE) else f"name: example\n{block}")
    env = {**os.environ, "SHIPPER_STATE": str(tmp_path)}
    pipeline = assembly.read_pipeline(str(path), env)
    assert asyncio.run(assembly.review(pipeline, env)) == []


def test_the_page_of_inputs_tells_of_every_source_and_frame() -> None:
    """A new one without a word in the manual is not done."""
    text = (ROOT / "docs/inputs.md").read_text()
    assert [
        name for kind in ("source", "frame") for name in names(kind) if f"`{name}`" not in text and f"{name}:" not in text
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """To files of the project."""
    assert [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []


def test_the_reference_is_what_the_declarations_say() -> None:
    """`make docs` writes it anew."""
    place = ROOT / "docs" / "reference"
    found = {path.name: path.read_text(encoding="utf-8") for path in place.iterdir()}
    assert {name for name, text in reference.pages().items() if found.pop(name, None) != text} | set(found) == set()


def test_every_test_that_a_guarantee_names_is_there() -> None:
    """A promise is worth its test: names of tests and of files of tests in the page exist."""
    text = (ROOT / "docs/guarantees.md").read_text()
    tests = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    named = set(re.findall(r"\b(test_[a-z0-9_]+)\b(?!\.py)", text))
    assert [name for name in sorted(named) if not any(f"def {name}(" in code for code in tests)] == []
    assert [name for name in sorted(set(re.findall(r"\b(test_[a-z0-9_]+\.py)", text))) if name not in files] == []
