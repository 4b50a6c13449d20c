"""Python: a user's own function, called once a batch with a view that keeps it within the laws of stages.

RULES
- What the function says counts once it has returned: where it raises, the batch is as if it had not been called, but for the flag
  `stage_error` that the chain puts on its rows. What it is called by is in the configuration alone, never in a record.
- The view takes copies of columns, encodes what is added, and refuses what could break a document: other names than `adds`, lists
  of another length, what is no JSON. What is refused is a MisuseError, whose text has names and numbers only: it may be logged.
- Members are spliced under their names as they are written, dots and all (`"risk.score":1`), beside what others splice.
- Bounds: a value has VALUE_BYTES_MAX bytes as JSON; there are REASONS_MAX reasons to drop, as each is a line of the account.
- Later stages and routes see what was added as columns.
"""

from __future__ import annotations

import copy
import json
import re
from itertools import repeat
from operator import is_not, mul
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from shipper.config.fields import ComponentConfig, FilePath
from shipper.model.columns import OURS, meet
from shipper.model.errors import ComponentError, MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources

VALUE_BYTES_MAX = 64 << 10
REASONS_MAX = 32
_REASON = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Python:
    """Call a function of your own on each batch of records.

    The function stands in a file beside the pipeline, or in a package that is installed. It gets a view of the batch, and works on
    whole columns:

    ```python
    def enrich(batch):
        limit = batch.config["slow_ms"]
        durations = batch.column("duration_ms")          # one value a record, None where it has none
        batch.add("slow", [isinstance(ms, (int, float)) and ms > limit for ms in durations])
        for row, path in enumerate(batch.column("path")):
            if path == "/health":
                batch.drop(row, "health_check")
    ```

    - `batch.count`: how many records; `batch.seconds`: their times in Unix seconds; `batch.config`: the settings under `config`.
    - `batch.column(name)`: the values of a field that `reads` names, as a list of your own. `a.b` reaches into objects.
    - `batch.add(name, values)`: a member that `adds` names; one value a record, anything that JSON can say, None for nothing. A record's
      own member of that name moves to `shipper.record`.
    - `batch.drop(row, reason)`: leave a record out, counted in the account by its reason (lowercase letters, digits and `_`).

    Records are redacted before, and cannot be added, reordered or changed otherwise. Where the function raises, the batch goes on
    without it, its documents are flagged `stage_error`, and the agent's log has the error's class and the line, not its text, which
    may quote a record. It is called in the agent's only thread: do not wait for anything in it. Load what it needs when the file is
    loaded, which is when the agent starts, and when `shipper check` looks.

    What the file says is run with the agent's rights. So a file that everybody may write is refused; keep it as safe as the
    pipeline. What it costs is what your Python costs, and besides 0.02 us a record for `column` and 0.3 us for `add`; a step of a
    comprehension is about 0.05 us.
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `python`; either `file` or `import`."""

        file: FilePath | None = None
        """The file with the function, `enrich.py`, beside the pipeline."""
        import_: str | None = msgspec.field(default=None, name="import")
        """A function of an installed package instead, `package.module:function`."""
        function: str = "enrich"
        """The function's name in `file`."""
        reads: list[str] = msgspec.field(default_factory=list)
        """Fields it wants to see."""
        adds: list[str] = msgspec.field(default_factory=list)
        """Members it may add."""
        config: dict[str, Any] = msgspec.field(default_factory=dict)
        """Settings for the function, as it likes them."""

    example = """
- python:
    file: enrich.py
    reads: [duration_ms, path]
    adds: [slow]
    config: {slow_ms: 500}
"""

    def __init__(self, config: Config, resources: Resources) -> None:
        """Load the function. Raises ComponentError for one that cannot be had, and for names that cannot be added."""
        if (config.file is None) == (config.import_ is None):
            raise ComponentError("it has either `file` or `import`", "file", "such as `file: enrich.py`")
        _check_names(config.adds)
        module, name, field = config.file or "", config.function, "file"
        if config.import_ is not None:
            module, colon, name = config.import_.partition(":")
            if not (module and colon and name):
                raise ComponentError(f"{config.import_!r} names no function", "import", "write `package.module:function`")
            field = "import"
        try:
            self._function: Callable[[View], object] = resources.function(module, name, is_file=field == "file")
        except ComponentError as error:
            error.field = error.field or field
            raise
        self.file = getattr(getattr(self._function, "__code__", None), "co_filename", "")
        """Where the function is, so that an error is told by its line there."""
        self.reads: Sequence[str] = tuple(dict.fromkeys((*config.reads, *config.adds)))
        self.adds: Sequence[str] = tuple(config.adds)
        self.scalars: Sequence[str] = self.adds
        self._may_read = frozenset(config.reads)
        self._config = config.config
        self._reasons: set[str] = set()

    def process(self, columns: Columns, now: float) -> None:  # noqa: ARG002  part of the contract
        """Call the function, then do what it said. Raises whatever it raises."""
        view = View(columns, self._may_read, self.adds, self._config)
        try:
            self._function(view)
        except SystemExit as error:  # it would end the agent
            raise MisuseError("it called exit").with_traceback(error.__traceback__) from None
        added, dropped = view.done()
        reasons = self._reasons.union(dropped.values())
        if len(reasons) > REASONS_MAX:
            raise MisuseError(f"it drops for more than {REASONS_MAX} reasons: each is a line of the account, no text of a record")
        self._reasons = reasons
        for name, (values, fragments) in added.items():
            columns.splice(fragments)
            if name in columns.asked:
                own = columns.column(name)
                columns.assign(name, [mine if value is None else value for value, mine in zip(values, own, strict=True)])
                columns.beside.add(name)
        for row, reason in dropped.items():
            columns.drop(row, reason)


class View:
    """What a function sees of a batch, and all it can do."""

    def __init__(self, columns: Columns, reads: Iterable[str], adds: Iterable[str], config: Mapping[str, Any]) -> None:
        """Take a batch, and the names that the function may use."""
        self._columns: Columns | None = columns
        self._reads, self._adds = frozenset(reads), frozenset(adds)
        self._added: dict[str, tuple[list[Any], list[bytes]]] = {}
        self._dropped: dict[int, str] = {}
        self.count = columns.count
        """How many records."""
        self.seconds: Sequence[int] = tuple(columns.seconds)
        """Their times, in Unix seconds."""
        self.config = MappingProxyType(copy.deepcopy(dict(config)))
        """The settings under `config`."""

    def column(self, name: str) -> list[Any]:
        """The values of a field, one a record; the list is the function's own. Raises MisuseError for one that is not declared."""
        if name not in self._reads:
            raise MisuseError(f"column: the name is not in `reads` ({_listed(self._reads)})")
        return list(self._open().column(name))

    def add(self, name: str, values: Iterable[object]) -> None:
        """Add a member: one value a record, None for nothing. Raises MisuseError where that makes no document."""
        if name not in self._adds:
            raise MisuseError(f"add: the name is not in `adds` ({_listed(self._adds)})")
        if name in self._added:
            raise MisuseError(f"add({name!r}): it was added already")
        self._open()
        found = list(values)
        if len(found) != self.count:
            raise MisuseError(f"add({name!r}): {len(found)} values for {self.count} records")
        try:
            encoded = _encoded(found)
        except (TypeError, ValueError, RecursionError):  # whose text may quote a value
            raise MisuseError(f"add({name!r}): a value is nothing that JSON can say") from None
        if encoded and max(map(len, encoded)) > VALUE_BYTES_MAX:
            raise MisuseError(f"add({name!r}): a value is longer than {VALUE_BYTES_MAX} bytes")
        start = b",%b:" % orjson.dumps(name)
        fragments = list(map(mul, map(start.__add__, encoded), map(is_not, found, repeat(None))))
        self._added[name] = found, fragments

    def drop(self, row: int, reason: str) -> None:
        """Leave a record out. Raises MisuseError for a row that is not there, and for a reason that is a text of its own."""
        self._open()
        if type(row) is not int or not 0 <= row < self.count:
            raise MisuseError("drop: a row is a number from 0 to count - 1")
        if not isinstance(reason, str) or not _REASON.fullmatch(reason):
            raise MisuseError("drop: a reason is lowercase letters, digits and _, at most 40, the first a letter")
        self._dropped.setdefault(row, reason)

    def done(self) -> tuple[dict[str, tuple[list[Any], list[bytes]]], dict[int, str]]:
        """What was added (values and fragments by name) and dropped (reason by row). The view is of no use any more."""
        self._open()
        self._columns = None
        return self._added, self._dropped

    def _open(self) -> Columns:
        if self._columns is None:
            raise MisuseError("the batch is done: a view is good for one call")
        return self._columns


def _encoded(values: Sequence[object]) -> list[bytes]:
    """The values as JSON. Raises TypeError, ValueError or RecursionError for what is none."""
    try:
        return list(map(orjson.dumps, values))
    except TypeError:  # orjson refuses numbers of more than 64 bits, which records may have
        return [json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() for value in values]


def _check_names(names: Sequence[str]) -> None:
    """Raises ComponentError for members that a function cannot have."""
    for number, name in enumerate(names):
        field = f"adds.{number}"
        if not all(name.split(".")):
            raise ComponentError(f"{name!r} is no name of a member", field)
        if ours := next((ours for ours in OURS if meet(name, ours)), None):
            raise ComponentError(f"`{name}` is in every document already, as `{ours}`", field, "choose another name")
        if any(meet(name, other) for other in names[:number]):
            raise ComponentError(f"`{name}` is added twice", field)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing is"
