"""Reference: all manual pages and the schema as files, for docs/reference/. `shipper docs --write DIR` makes them."""

from __future__ import annotations

import json
from pathlib import Path

from shipper.config import manual, schema

SCHEMA = "pipeline.schema.json"
_HEAD = """# Reference

One page for each component, made of its declaration by `make docs`; `shipper docs TOPIC` prints the same. Editors with a YAML
language server find the schema by the first line of a pipeline file:
`# yaml-language-server: $schema=../docs/reference/pipeline.schema.json`.
"""


def pages() -> dict[str, str]:
    """All files by name."""
    about = manual.topics()
    lines = [f"| [{topic}]({_name(topic)}) | {text} |" for topic, text in about.items()]
    index = "\n".join([_HEAD, "| page | |", "|---|---|", *lines, ""])
    return {"README.md": index, SCHEMA: schema_text(), **{_name(topic): manual.page(topic) for topic in about}}


def schema_text() -> str:
    """The schema as it is written."""
    return json.dumps(schema.schema(), indent=1, ensure_ascii=False) + "\n"


def write(directory: str) -> None:
    """Write all files to a directory, and remove pages of what is no more."""
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    found = pages()
    for path in place.iterdir():
        if path.is_file() and path.name not in found:
            path.unlink()
    for name, text in found.items():
        (place / name).write_text(text, encoding="utf-8")


def _name(topic: str) -> str:
    return topic.replace("/", "-") + ".md"
