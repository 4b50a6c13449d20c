"""Python: what a user's function can do, and that it can break nothing whatever it does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import FilePath
from shipper.model.errors import ComponentError, MisuseError
from shipper.stages import python as module
from shipper.stages.python import Python, View
from tests.kit import laws
from tests.stages.in_chain import run, shipped


class Lending:
    """Resources that lend one function, by any name."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self.lent = function
        self.asked: list[tuple[str, str, bool]] = []

    def function(self, module: str, name: str, *, is_file: bool) -> Callable[[Any], object]:
        """The function, and what was asked noted."""
        self.asked.append((module, name, is_file))
        return self.lent


def stage(function: Callable[[Any], object], **settings_: Any) -> Python:
    """A stage that calls a function; reads `a`, adds `x`, unless said otherwise."""
    config = {"file": FilePath("enrich.py"), "reads": ["a"], "adds": ["x"], **settings_}
    return Python(Python.Config(**config), Lending(function))  # type: ignore[arg-type]


def process(function: Callable[[Any], object], *rows: laws.Record, **settings_: Any) -> Any:
    """The columns after one batch."""
    made = stage(function, **settings_)
    columns = laws.columns_of(rows, made.reads)
    made.process(columns, 0.0)
    return columns


def added(function: Callable[[Any], object], *rows: laws.Record, **settings_: Any) -> list[Any]:
    """What it added to each row, decoded; None for nothing."""
    found = [
        "".join(pieces[row].decode() for pieces in process(function, *rows, **settings_).fragments) for row in range(len(rows))
    ]
    return [json.loads("{" + one[1:] + "}") if one else None for one in found]


def doubled(batch: View) -> None:
    """The value of `a`, twice, where it is a number."""
    batch.add("x", [2 * value if isinstance(value, int) else None for value in batch.column("a")])


def test_function_adds_members_by_whole_columns() -> None:
    """None adds nothing; the name stands as it was written."""
    assert [{"x": 2}, None, {"x": 8}] == added(doubled, {"a": 1}, {"a": "b"}, {"a": 4})

    def both(batch: View) -> None:
        batch.add("risk.score", ({"deep": [1, None, "\u00fc\n"]} for _ in range(batch.count)))
        batch.add("x", batch.seconds)

    assert [{"risk.score": {"deep": [1, None, "\u00fc\n"]}, "x": 7}] == added(
        lambda batch: (batch.add("risk.score", [{"deep": [1, None, "\u00fc\n"]}]), batch.add("x", [7])),
        {},
        adds=["risk.score", "x"],
    )
    assert [1_770_000_000] * 2 == [one["x"] for one in added(both, {}, {}, adds=["risk.score", "x"])]


def test_function_drops_rows_with_a_reason() -> None:
    """The first reason counts, and what another stage dropped keeps its own."""

    def choosy(batch: View) -> None:
        for row, value in enumerate(batch.column("a")):
            if value == "health":
                batch.drop(row, "health_check")
                batch.drop(row, "other")

    assert {1: "health_check"} == process(choosy, {"a": 1}, {"a": "health"}).dropped


def test_function_sees_its_settings_and_cannot_change_them_nor_the_columns() -> None:
    """What it does to its copies is gone with the batch."""

    def greedy(batch: View) -> None:
        assert {"limit": [1, 2]} == batch.config
        batch.config["limit"].clear()
        batch.column("a").clear()
        batch.add("x", batch.column("a"))

    made = stage(greedy, config={"limit": [1, 2]})
    for _ in range(2):
        columns = laws.columns_of([{"a": 1}, {"a": 2}], made.reads)
        made.process(columns, 0.0)
        assert [1, 2] == columns.column("a")


def test_later_stages_and_routes_see_what_was_added() -> None:
    """As a column under its name; where nothing was added the record's own value."""
    made = stage(doubled)
    columns = laws.columns_of([{"a": 1, "x": "own"}, {"x": "own"}], made.reads)
    columns.asked = {"x"}
    made.process(columns, 0.0)
    assert [2, "own"] == columns.column("x")


MISUSES: dict[str, Callable[[View], object]] = {
    "column: the name is not in `reads` (a)": lambda batch: batch.column("secret of a record"),
    "add: the name is not in `adds` (x)": lambda batch: batch.add("secret of a record", [1, 2]),
    "add('x'): it was added already": lambda batch: [batch.add("x", [1, 2]) for _ in range(2)],
    "add('x'): 3 values for 2 records": lambda batch: batch.add("x", [1, 2, 3]),
    "add('x'): a value is nothing that JSON can say": lambda batch: batch.add("x", [{"secret of a record"}, 1]),
    "add('x'): a value is longer than 65536 bytes": lambda batch: batch.add("x", ["y" * 70_000, 1]),
    "drop: a row is a number from 0 to count - 1": lambda batch: batch.drop(2, "old"),
    "drop: a reason is lowercase letters, digits and _, at most 40, the first a letter": lambda batch: batch.drop(
        0, "Secret of a record"
    ),
    "it called exit": lambda batch: sys.exit("secret of a record"),
}


@pytest.mark.parametrize("told", MISUSES)
def test_misuse_of_the_view_is_refused_in_words_that_quote_no_record(told: str) -> None:
    """The batch is as if the function had not been called."""

    def half(batch: View) -> None:
        batch.drop(0, "half_done")
        MISUSES[told](batch)

    made = stage(half)
    columns = laws.columns_of([{"a": 1}] * 2, made.reads)
    with pytest.raises(MisuseError) as refused:
        made.process(columns, 0.0)
    assert told == str(refused.value)
    assert ([], {}) == (columns.fragments, columns.dropped)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
anything = json_values | st.sampled_from(
    [{1}, b"bytes", 10**5000, {(1,): 2}, "\ud800", object(), float("nan"), ..., print, [[{2}]]]
)


@given(values=st.lists(anything, max_size=4), count=st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_whatever_is_added_makes_documents_or_is_refused(values: list[Any], count: int) -> None:
    """Law of fragments: JSON of one member a row, equal to what was given, or a MisuseError and nothing at all."""
    rows: list[laws.Record] = [{"a": number} for number in range(count)]
    made = stage(lambda batch: batch.add("x", values))
    columns = laws.columns_of(rows, made.reads)
    try:
        made.process(columns, 0.0)
    except MisuseError:
        assert columns.fragments == []
        return
    laws.check_fragments(columns, made.adds, rows)
    (fragments,) = columns.fragments
    for value, fragment in zip(values, fragments, strict=True):
        found = json.loads(b"{" + fragment[1:] + b"}").get("x") if fragment else None
        assert found == value or value != value


def test_a_view_is_good_for_one_call() -> None:
    """A function that keeps it can do nothing with it later."""
    kept: list[View] = []
    process(kept.append, {"a": 1})
    for use in (lambda: kept[0].add("x", [1]), lambda: kept[0].drop(0, "late"), lambda: kept[0].column("a")):
        with pytest.raises(MisuseError, match="good for one call"):
            use()


def test_function_has_a_bounded_number_of_reasons() -> None:
    """Each is a line of the account and of the metrics: texts of records are no reasons."""
    made = stage(lambda batch: batch.drop(0, f"why_{batch.column('a')[0]}"))
    for number in range(module.REASONS_MAX):
        made.process(laws.columns_of([{"a": number}], made.reads), 0.0)
    made.process(laws.columns_of([{"a": 0}], made.reads), 0.0)
    with pytest.raises(MisuseError, match="more than 32 reasons"):
        made.process(laws.columns_of([{"a": 99}], made.reads), 0.0)


def failing(batch: View) -> None:
    """Raises with a record's text in its message, from within a library."""
    batch.add("x", [1] * batch.count)
    json.loads("secret of a record")


def test_chain_goes_on_without_a_function_that_raises_and_says_where() -> None:
    """All documents are there, flagged; the class and the line are told, and no text of the record."""
    records = [{"a": 1}, {"a": 2}]
    outcome, _ = run([("python", stage(failing))], records)
    line = failing.__code__.co_firstlineno + 3
    assert [("python", f"JSONDecodeError at test_python.py:{line}")] == outcome.stage_errors
    documents, _ = shipped([("python", stage(failing))], records)
    assert [{"a": 1}, {"a": 2}] == [{"a": one["a"]} for one in documents]
    assert [{"stage_error": ["python"]}] * 2 == [one["shipper"] for one in documents]
    outcome, _ = run([("python", stage(lambda batch: batch.add("y", [])))], records)
    assert outcome.stage_errors[0][1].endswith(": add: the name is not in `adds` (x)")


def test_document_keeps_what_a_record_itself_says_under_an_added_name() -> None:
    """Where the function added something the record's own moves aside; where it did not it stays."""
    documents, _ = shipped([("python", stage(doubled))], [{"a": 1, "x": "own"}, {"x": "own"}])
    assert (2, {"record": {"x": "own"}}) == (documents[0]["x"], documents[0]["shipper"])
    assert "own" == documents[1]["x"]


@pytest.mark.parametrize(
    ("settings_", "asked"),
    [
        ({"file": FilePath("/etc/enrich.py")}, ("/etc/enrich.py", "enrich", True)),
        ({"file": FilePath("a.py"), "function": "other"}, ("a.py", "other", True)),
        ({"import_": "pkg.mod:fun"}, ("pkg.mod", "fun", False)),
    ],
)
def test_function_is_asked_for_by_file_or_by_package(settings_: dict[str, Any], asked: tuple[str, str, bool]) -> None:
    """From the edge, as stages read no files."""
    lending = Lending(doubled)
    Python(Python.Config(**settings_), lending)  # type: ignore[arg-type]
    assert [asked] == lending.asked


@pytest.mark.parametrize(
    ("field", "settings_"),
    [
        ("file", {"file": None}),
        ("file", {"import_": "a:b"}),
        ("import", {"file": None, "import_": "a.b"}),
        ("import", {"file": None, "import_": ":b"}),
        ("adds.0", {"adds": ["@timestamp"]}),
        ("adds.0", {"adds": ["shipper.x"]}),
        ("adds.0", {"adds": ["host"]}),
        ("adds.0", {"adds": ["a..b"]}),
        ("adds.0", {"adds": [""]}),
        ("adds.1", {"adds": ["a", "a"]}),
        ("adds.1", {"adds": ["a", "a.b"]}),
    ],
)
def test_python_refuses_a_setting_that_cannot_work(field: str, settings_: dict[str, Any]) -> None:
    """The error points at the setting."""
    with pytest.raises(ComponentError) as refused:
        stage(doubled, **settings_)
    assert field == refused.value.field
