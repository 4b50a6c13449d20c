"""User code: what a file or a package must be for its function to be taken, and what is said where it is not."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.edge import user_code
from shipper.model.errors import ComponentError
from tests.kit.site import Site, shipper

ENRICH = '''
"""Marks slow requests, and leaves health checks out."""

def enrich(batch):
    limit = batch.config["slow_ms"]
    batch.add("slow", [isinstance(ms, (int, float)) and ms > limit for ms in batch.column("duration_ms")])
    for row, path in enumerate(batch.column("path")):
        if path == "/health":
            batch.drop(row, "health_check")
        if path == "/bug":
            raise ValueError(path)
'''
BUG_LINE = 11


@pytest.fixture
def site(tmp_path: Path, rule_cache: Path) -> Iterator[Site]:
    """A pipeline with `enrich.py` beside it."""
    made = Site(tmp_path, rule_cache)
    made.configure(
        stages=[{"python": {"file": "enrich.py", "reads": ["duration_ms", "path"], "adds": ["slow"], "config": {"slow_ms": 500}}}]
    )
    (tmp_path / "enrich.py").write_text(ENRICH)
    yield made
    made.close()


def refused(source: str, tmp_path: Path, name: str = "enrich") -> ComponentError:
    """What is said of a file."""
    path = tmp_path / "enrich.py"
    path.write_text(source)
    with pytest.raises(ComponentError) as error:
        user_code.from_file(str(path), name)
    return error.value


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("def enrich(batch)\n    pass\n", ":1: expected ':'", "not Python"),
        ("x = 1\n\nimport nowhere_to_be_found\n", ":3 raises ModuleNotFoundError: No module named 'nowhere_to_be_found'", ""),
        ("def deep():\n    raise KeyError('x')\n\ndeep()\n", ":2 raises KeyError: 'x'", ""),
        ("import json\njson.loads('')\n", ":2 raises JSONDecodeError: ", ""),
        ("import sys\nsys.exit(3)\n", ":2 raises SystemExit: 3", ""),
        ("def enrihc(batch): pass\n", "there is no enrich in ", "did you mean `enrihc`?"),
        ("enrich = 5\n", "enrich in ", "of the type int"),
        ("async def enrich(batch): pass\n", "is no plain function", "without `async`"),
        ("def enrich(batch): yield 1\n", "is no plain function", "`yield`"),
        ("def enrich(): pass\n", "cannot be called with a batch", "write `def enrich(batch):`"),
        ("def enrich(batch, config): pass\n", "cannot be called with a batch", "write `def enrich(batch):`"),
        ("\0", ":", ""),
        ("#" * (1 << 20) + "\n", "has more than 1048576 bytes", "files of its own"),
    ],
)
def test_file_is_refused_with_its_place_when_its_function_cannot_be_had(
    source: str, message: str, hint: str, tmp_path: Path
) -> None:
    """The line in the user's own file, also where a library raised."""
    error = refused(source, tmp_path)
    assert message in error.message
    assert hint in error.hint
    assert error.field in ("file", "function")
    assert [tmp_path / "enrich.py"] == list(tmp_path.iterdir()), "nothing is written beside it"


@pytest.mark.parametrize("mode", [0o646, 0o666, 0o777])
def test_file_is_refused_when_everybody_may_write_it(mode: int, tmp_path: Path) -> None:
    """Its code would run with the agent's rights; by a link to it, too, and it is not run to find out."""
    path = tmp_path / "enrich.py"
    path.write_text("raise SystemExit('run')\n")
    path.chmod(mode)
    (tmp_path / "link.py").symlink_to(path)
    for name in ("enrich.py", "link.py"):
        with pytest.raises(ComponentError, match="everybody may write") as error:
            user_code.from_file(str(tmp_path / name), "enrich")
        assert "chmod o-w" in error.value.hint


def test_file_is_refused_when_it_is_none(tmp_path: Path) -> None:
    """Missing, a directory, a pipe that would block for ever."""
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    for name in ("missing.py", "folder.py", "pipe.py"):
        with pytest.raises(ComponentError) as error:
            user_code.from_file(str(tmp_path / name), "enrich")
        assert "file" == error.value.field


def test_file_may_use_what_python_offers_to_modules(tmp_path: Path) -> None:
    """Dataclasses look their module up, and a callable object is a function, too."""
    path = tmp_path / "enrich.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport pickle\n"
        "@dataclass\nclass Enrich:\n    size: int\n    def __call__(self, batch): return batch\n"
        "enrich = pickle.loads(pickle.dumps(Enrich(3)))\n"
    )
    assert 5 == user_code.from_file(str(path), "enrich")(5)


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    """Pipelines do not share what they did not say they share."""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "enrich.py").write_text(f"def enrich(batch): return {name!r}\n")
    first, second = (user_code.from_file(str(tmp_path / name / "enrich.py"), "enrich") for name in "ab")
    assert ("a", "b") == (first(None), second(None))


def test_package_gives_its_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By module and name; what is wrong with it is said under `import`, and it is not run where everybody may write it."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shop_logs").mkdir()
    (tmp_path / "shop_logs" / "__init__.py").write_text("")
    (tmp_path / "shop_logs" / "risk.py").write_text("def enrich(batch): return batch\n")
    (tmp_path / "shop_logs" / "open.py").write_text("raise SystemExit('run')\n")
    (tmp_path / "shop_logs" / "open.py").chmod(0o666)
    assert 5 == user_code.from_package("shop_logs.risk", "enrich")(5)
    for module, words in {
        "shop_logs.nowhere": "there is no module shop_logs.nowhere",
        "nowhere.at.all": "ModuleNotFoundError",
        "shop_logs.open": "everybody may write",
        "shop_logs": "there is no enrich in shop_logs",
        "..": "raises",
    }.items():
        with pytest.raises(ComponentError, match=words) as error:
            user_code.from_package(module, "enrich")
        assert "import" == error.value.field
    assert callable(user_code.from_package("math", "sqrt")), "built in, without a file"
    assert "shop_logs.open" not in sys.modules


# --- As its user sees it


def test_check_refuses_a_broken_function_at_its_place_in_the_pipeline(site: Site) -> None:
    """Exit code 78, the line of the pipeline with a caret, the line of the file, all before anything is read."""
    (site.folder / "enrich.py").write_text("import nowhere_to_be_found\n")
    told = shipper("check", site.pipeline)
    assert 78 == told.code
    assert f"{site.folder}/enrich.py:1 raises ModuleNotFoundError" in told.err
    assert '"enrich.py"' in told.err and "^" in told.err
    (site.folder / "enrich.py").unlink()
    assert "enrich.py cannot be read: No such file or directory" in shipper("check", site.pipeline).err


def test_run_calls_the_function_and_accounts_for_what_it_drops(site: Site) -> None:
    """Documents, account, and a clean run."""
    site.write([{"path": "/a", "duration_ms": 700}, {"path": "/health"}, {"path": "/b", "duration_ms": 7}])
    told = site.once()
    assert (0, {"health_check": 1}) == (told.code, told.account["dropped"])
    assert [("/a", True), ("/b", False)] == [(one["path"], one["slow"]) for one in site.bodies()]


def test_function_that_raises_costs_no_record_and_is_told_by_its_line_alone(site: Site) -> None:
    """All records come, flagged; the agent's log names class and line, and nothing of a record."""
    site.write([{"path": "/a", "note": "quiet-word"}, {"path": "/bug", "note": "quiet-word"}])
    told = site.once()
    assert 2 == told.account["created"]
    assert [["python"]] * 2 == [one["shipper"]["stage_error"] for one in site.bodies()]
    (line,) = [one for one in told.log if one["message"].startswith("a stage failed")]
    assert f"ValueError at enrich.py:{BUG_LINE}" == line["error"]
    assert "quiet-word" not in told.err and "/bug" not in told.err


def test_explain_and_test_run_the_function(site: Site) -> None:
    """`explain` shows what it added, and a pipeline's own tests hold it."""
    page = shipper("explain", site.pipeline, stdin=b'{"path":"/a","duration_ms":700}\n').out
    assert 'python     + {"slow":true}' in page
    pipeline: dict[str, Any] = json.loads(site.pipeline.read_text())
    given = ['{"path":"/a","duration_ms":700}', '{"path":"/health"}']
    pipeline["tests"] = [
        {"name": "slow ones are marked", "given": given, "expect": [{"fields": {"slow": True}}, {"dropped": "health_check"}]}
    ]
    site.pipeline.write_text(json.dumps(pipeline))
    assert 0 == shipper("test", site.pipeline).code
