"""Are the agent's documents those of the usual way? Field by field, by the records' `seq`."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import orjson

from tests.bench.processes import Databases
from tests.bench.usual_way import Job

Document = tuple[str, dict[str, Any]]
_ABSENT = "(absent)"


class Comparison(msgspec.Struct):
    """What the comparison found."""

    compared: int = 0
    generated: int = 0
    """Documents without `seq`: the agent's own, such as throttle summaries."""
    missing: int = 0
    """Records that only the usual way delivered."""
    additional: int = 0
    """Records that only the agent delivered, or delivered more than once."""
    differences: dict[str, int] = {}
    """Documents that differ, by field."""
    examples: dict[str, str] = {}
    """The first difference of each field: `seq 17: ours ... usual ...`."""

    @property
    def equal(self) -> bool:
        """Whether both are the same documents."""
        return self.compared > 0 and not (self.missing or self.additional or self.differences)


def stored_documents(file: Path) -> Iterator[Document]:
    """(index, document) of the bulk bodies that the sink stored."""
    with file.open("rb") as lines:
        for action in lines:
            yield orjson.loads(action)["create"]["_index"], orjson.loads(next(lines))


def usual_documents(workload: Path, count: int, databases: Databases) -> Iterator[Document]:
    """What the usual way makes of the first `count` records, as they come out of their JSON."""
    job = Job(databases.city, databases.asn, str(workload.resolve()), platform.node())
    with workload.open("rb") as lines:
        for index, document in job.documents(islice(lines, count)):
            yield index, orjson.loads(orjson.dumps(document))


def compare(ours: Iterable[Document], usual: Iterable[Document]) -> Comparison:
    """Compare two sets of documents."""
    found = Comparison()
    expected = {document["seq"]: (index, document) for index, document in usual}
    for index, document in ours:
        seq = document.get("seq")
        if seq is None:
            found.generated += 1
        elif seq not in expected:
            found.additional += 1
        else:
            found.compared += 1
            _note(found, seq, (index, document), expected.pop(seq))
    found.missing = len(expected)
    return found


def _note(found: Comparison, seq: int, ours: Document, usual: Document) -> None:
    left, right = ({"_index": index, **flat(document)} for index, document in (ours, usual))
    for field in left.keys() | right.keys():
        mine, theirs = left.get(field, _ABSENT), right.get(field, _ABSENT)
        if mine != theirs or type(mine) is not type(theirs):
            found.differences[field] = found.differences.get(field, 0) + 1
            found.examples.setdefault(field, f"seq {seq}: ours {mine!r}, usual {theirs!r}")


def flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The document's leaves by dotted name."""
    leaves = {}
    for name, value in document.items():
        if isinstance(value, dict):
            leaves.update(flat(value, f"{prefix}{name}."))
        else:
            leaves[prefix + name] = value
    return leaves
