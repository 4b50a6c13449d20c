"""Schema: it takes what the loader takes, and marks the mistakes that can be seen without running anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from shipper.config.schema import schema

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(schema())


def written() -> Iterator[tuple[str, Any]]:
    """Every pipeline of the project, and every example of the manual that is a whole one."""
    for path in sorted((ROOT / "pipelines").glob("*.yaml")):
        yield path.name, yaml.safe_load(path.read_text())
    for page in ("inputs.md", "conditions.md"):
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)):
            found = yaml.safe_load(block)
            if isinstance(found, dict) and "sources" in found:
                yield f"docs/{page} {number}", found


def test_the_schema_is_a_schema() -> None:
    """By the draft's own schema."""
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(("name", "document"), list(written()))
def test_what_the_loader_takes_is_valid(name: str, document: Any) -> None:
    """Pipelines and examples; the tests of their own say that they load."""
    assert [error.json_path for error in VALIDATOR.iter_errors(document)] == [], name


def base(**changes: Any) -> dict[str, Any]:
    """A small pipeline with changes."""
    return {"name": "app", "sources": [{"type": "file", "include": ["/var/log/a.log"]}], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": []},
        {"sources": [{"type": "fiel", "include": []}]},
        {"sources": [{"type": "file", "includ": ["/var/log/a.log"]}]},
        {"sources": [{"type": "file", "include": ["/a"], "frame": "dokcer"}]},
        {"stages": [{"throttel": {"rate": "1/s"}}]},
        {"stages": [{"throttle": {"rate": 1, "brust": 2}}]},
        {"stages": [{"throttle": {}}]},
        {"output": {"type": "elasticsearch"}},
        {"redact": {"pack": ["pii"]}},
        {"route": [{"when": {}, "index": "app"}]},
        {"route": [{"when": {"a": {"gte": [1]}}, "index": "app"}]},
        {"route": [{"when": {"a": {"starts": "x"}}, "index": "app"}]},
        {"route": [{"when": {"not": {"any": [{"a": {}}]}}, "index": "app"}]},
        {"route": [{"when": {"has": []}, "index": "app"}]},
        {"nmae": "x"},
        {"id": "contents"},
    ],
)
def test_a_mistake_that_can_be_seen_is_marked(changes: dict[str, Any]) -> None:
    """Wrong names, missing settings, empty conditions."""
    assert VALIDATOR.is_valid(base())
    assert not VALIDATOR.is_valid(base(**changes))


def test_any_scalar_may_be_interpolated() -> None:
    """Whatever its kind."""
    assert VALIDATOR.is_valid(base(id="${ID:-origin}", stages=[{"throttle": {"rate": "${RATE}", "keys_max": "${MAX:-10}"}}]))
