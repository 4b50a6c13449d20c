"""The project keeps its own rules: sizes, names, docstrings, who may make what, and what must not stand in any file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.kit.site import ROOT

FUNCTION_LINES = 60
FILE_LINES = 500
PARAMETERS = 5
NESTING = 3
CODE = sorted([*(ROOT / "shipper").rglob("*.py"), *(ROOT / "tests").rglob("*.py")])
SHIPPED = [path for path in CODE if path.is_relative_to(ROOT / "shipper")]
TESTS = [path for path in CODE if path.is_relative_to(ROOT / "tests")]
TEXTS = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".txt", ".lock", ".svg", ".sh", ""}
FOLDERS = ("shipper", "tests", "pipelines", "packaging", "docs", ".ci")
FILES = ("Makefile", "README.md", "CHANGELOG.md", "pyproject.toml", ".gitignore")
COMPONENTS = ("frame", "decode", "stages", "edge/output")
NO_COMPONENTS = {
    "frame/frame",
    "frame/joining",
    "stages/stage",
    "stages/address",
    "stages/places",
    "stages/summary",
    "stages/members",
    "stages/rewriting",
    "stages/splitting",
    "edge/output/output",
    "edge/output/bulk_files",
    "edge/output/bulk_node",
    "decode/capture",
    "decode/console_line",
    "decode/templates",
    "decode/decoder",
    "decode/grok_patterns",
    "decode/matcher",
    "decode/members",
    "decode/moment",
    "decode/pattern_paths",
    "decode/pattern_tree",
    "decode/percent_format",
    "decode/time_shape",
    "decode/timestamp",
}
"""Contracts of the components and what several of them use; these have tests of their own or none to have."""
MORE_PARAMETERS: dict[str, str] = {}
"""Functions that take more, and why."""
DEEPER = {
    "shipper/edge/dead_letters.py:read": "a generator over the lines of files",
    "shipper/edge/tables.py:_reader": "a copy that must be gone again on every way out",
}
"""Functions with one level more, and why."""
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
"""In pieces, so that this file does not hold them."""
MACHINE_PATHS = ("/wo" + "rk/", "/ro" + "ot/")
VAGUE = {"utils", "helpers", "common", "manager", "base", "misc", "util", "helper"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    """A module, parsed once."""
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    """As the rules name it."""
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[Function]:
    """All functions of a module, inner ones too."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def texts() -> Iterator[Path]:
    """Every text file of the project."""
    for folder in FOLDERS:
        yield from (
            path
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and path.suffix in TEXTS and "__pycache__" not in path.parts
        )
    yield from (ROOT / name for name in FILES if (ROOT / name).exists())


def depth(body: list[ast.stmt]) -> int:
    """How deep blocks stand in each other; `elif` and the branches of one `match` or `try` stand beside each other."""
    return max((_depth_of(statement) for statement in body), default=0)


def _depth_of(statement: ast.stmt) -> int:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return 0
    inner = [getattr(statement, field, []) for field in ("body", "orelse", "finalbody")]
    inner += [part.body for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ()))]
    inner = [body for body in inner if body]
    if not inner:
        return 0
    if isinstance(statement, ast.If) and len(statement.orelse) == 1 and isinstance(statement.orelse[0], ast.If):
        return max(1 + depth(statement.body), _depth_of(statement.orelse[0]))
    return 1 + max(map(depth, inner))


def test_functions_are_short() -> None:
    """At most 60 lines, docstring and all."""
    lengths = {f"{name_of(path)}:{one.name}": (one.end_lineno or 0) - one.lineno + 1 for path in CODE for one in functions(path)}
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == {}


def test_files_are_short() -> None:
    """At most 500 lines of code."""
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in CODE}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES} == {}


def test_functions_take_few_parameters() -> None:
    """At most 5 besides `self`; those that take more stand in a list, with the reason."""
    found = {}
    for path in SHIPPED:
        for one in functions(path):
            names = [parameter.arg for parameter in (*one.args.posonlyargs, *one.args.args, *one.args.kwonlyargs)]
            if len([name for name in names if name not in ("self", "cls")]) > PARAMETERS:
                found[f"{name_of(path)}:{one.name}"] = len(names)
    assert {name: count for name, count in found.items() if name not in MORE_PARAMETERS} == {}


def test_blocks_are_not_nested_deeply() -> None:
    """At most three levels in a function."""
    depths = {f"{name_of(path)}:{one.name}": depth(one.body) for path in SHIPPED for one in functions(path)}
    assert {name: found for name, found in depths.items() if found > NESTING + (name in DEEPER)} == {}


def test_every_module_says_what_it_holds() -> None:
    """A docstring first, in the tests too."""
    assert [name_of(path) for path in CODE if path.read_text() and ast.get_docstring(tree(path)) is None] == []


def test_every_test_says_what_it_holds() -> None:
    """One sentence of behaviour at least, and a name of some words."""
    tests = [
        (path, one) for path in TESTS if path.name.startswith("test_") for one in functions(path) if one.name.startswith("test_")
    ]
    assert [
        f"{name_of(path)}:{one.name}" for path, one in tests if ast.get_docstring(one) is None or one.name.count("_") < 2
    ] == []


def test_nothing_is_left_unfinished() -> None:
    """No notes of what is to be done later: an issue says that."""
    pattern = re.compile("|".join(rf"\b{word}\b" for word in UNFINISHED))
    assert [name_of(path) for path in texts() if path.suffix == ".py" and pattern.search(path.read_text())] == []


def test_modules_have_names_that_say_something() -> None:
    """No drawer for what found no place."""
    assert [name_of(path) for path in CODE if {path.stem, *path.relative_to(ROOT).parts} & VAGUE] == []


def test_only_the_gate_makes_a_safe_batch() -> None:
    """Whatever is decoded, stored or logged has passed the redaction."""
    allowed = ("shipper/redact/", "shipper/model/", "tests/")
    made = re.compile(r"\bSafeBatch\(")
    assert [name_of(path) for path in CODE if made.search(path.read_text()) and not name_of(path).startswith(allowed)] == []


def test_tests_use_the_real_thing_and_are_never_left_out() -> None:
    """No mocks, and no test that is skipped or may fail."""
    forbidden = re.compile(
        r"\b(?:unittest\.mock|from unittest import mock|MagicMock|pytest\.skip|mark\.skip|skipif|xfail|importorskip)\b"
    )
    assert [name_of(path) for path in TESTS if path.name != "test_tidy.py" and forbidden.search(path.read_text())] == []


@pytest.mark.parametrize("package", COMPONENTS)
def test_every_component_has_a_test_file_of_its_name(package: str) -> None:
    """One component is one file; its name is its module, its type, and its test file."""
    modules = [path.stem for path in (ROOT / "shipper" / package).glob("*.py") if path.stem != "__init__"]
    wanted = [name for name in modules if f"{package}/{name}" not in NO_COMPONENTS]
    places = [ROOT / "tests" / package, ROOT / "tests" / package.partition("/")[0]]
    assert wanted
    assert [name for name in wanted if not any((place / f"test_{name}.py").exists() for place in places)] == []


def test_no_path_of_the_machine_it_was_written_on_stands_anywhere() -> None:
    """The project is at home on every machine."""
    assert [(name_of(path), word) for path in texts() for word in MACHINE_PATHS if word in path.read_text(errors="replace")] == []
