"""Pipeline: one YAML file, read and checked. What the loader returns and the agent builds from.

Nothing here is constructed yet: a `Component` names its class and holds its settings; `factory(config, ...)` makes it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import msgspec

from shipper.config.condition import Condition  # noqa: TC001 - msgspec resolves Route's fields
from shipper.config.fields import DURATION_UNITS, ComponentConfig, Size, duration, size
from shipper.config.suggest import masked, shown
from shipper.config.time_layout import LayoutText  # noqa: TC001
from shipper.model.errors import ComponentError, Fault, Place
from shipper.model.localtime import Timezone

if TYPE_CHECKING:
    from collections.abc import Mapping

IdOf = Literal["origin", "content"]
INDEX_BYTES_MAX = 200
"""Of a template. Elasticsearch takes 255 bytes; the date, `-fallback` and a generation need some."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_@][A-Za-z0-9_@.-]*)\}")
_FORBIDDEN = re.compile(r'[\\/*?"<>| ,#:\x00-\x1f]')


class Component(msgspec.Struct, frozen=True):
    """One component as configured."""

    kind: str
    """`source`, `frame`, `decode`, `stage`, `output` or `redact`."""
    type: str
    """Its name: module and YAML type."""
    factory: Any
    """The class."""
    config: Any
    """The class's settings: an instance of `factory.Config` (of `factory` itself for `redact`)."""
    place: Place
    """Where it is named."""
    places: Mapping[str, Place] = {}
    """Where its settings stand, by dotted path (`databases.0`)."""
    masks: tuple[tuple[str, str], ...] = ()
    """(value, as written) of settings that were interpolated: no fault shows the value."""

    @property
    def inlet(self) -> str:
        """What runs a source: `file` (follows files), `listen` (has a `connection`), or as its class says: `pipe`, `journal`."""
        return str(getattr(self.factory, "inlet", "listen" if hasattr(self.factory, "connection") else "file"))

    def fault(self, error: ComponentError) -> Fault:
        """Return the fault for an error of the constructor, at the setting that it names."""
        path = error.field
        while path and path not in self.places:
            path = path.rpartition(".")[0]
        return Fault(
            self.places.get(path, self.place), masked(f"{self.type}: {error.message}", self.masks), masked(error.hint, self.masks)
        )

    def __repr__(self) -> str:
        """Return its name and place; settings may hold secrets."""
        return f"Component({self.kind} {self.type} at {self.place.path}:{self.place.line})"


class PipelineName(str):
    """The name of a pipeline; also that of its directory in the state directory, and of its index where it has no routes."""

    __slots__ = ()
    expected = "a name of lowercase letters, digits, - and _, at most 63, the first a letter or digit"

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take a name."""
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise ValueError(f"expected {cls.expected}, got {shown(value)}")
        return cls(value)


class Window(msgspec.Struct, frozen=True):
    """How far a record's own time may lie before and after the window's reference, in seconds."""

    before_s: float
    after_s: float
    expected: ClassVar = "a window such as -400d..+1d"

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take `-400d..+1d`."""
        before, dots, after = value.partition("..") if isinstance(value, str) else ("", "", "")
        try:
            first, last = duration(before), duration(after)
        except ValueError:
            dots = ""
        if not dots or first > 0 or last < 0:
            raise ValueError(f"expected {cls.expected}, got {shown(value)}")
        return cls(-first or 0.0, float(last))


class RecordSize(int):
    """How long a record may be, in bytes."""

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take `1MiB`. Raises ValueError for what would cut every record, or could not be held."""
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise ValueError(f"expected a size such as 1MiB, got {shown(value)}")  # noqa: TRY004  the loader makes faults of ValueError
        found = size(value)
        if not 1 << 10 <= found <= 64 << 20:
            raise ValueError(f"expected a size from 1KiB to 64MiB, got {shown(value)}")
        return cls(found)


WINDOW = Window(400 * DURATION_UNITS["d"], DURATION_UNITS["d"])
"""The default: older than any retention is a wrong clock, and so is more than a day ahead."""


class IndexTemplate(str):
    r"""The name of an index, or a template such as `app-{service}`; the date is appended when documents are made.

    What Elasticsearch takes as a name (reference, "Create index"): lowercase, none of `\ / * ? " < > | space , # :`, not
    starting with `-`, `_`, `+` or `.`. Placeholders come after a literal prefix only, as their values are foreign input.
    """

    __slots__ = ()
    expected = "the name of an index such as app or app-{service}"

    @property
    def prefix(self) -> str:
        """The literal part before the first placeholder; never empty."""
        return self.partition("{")[0]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the placeholders."""
        return tuple(_PLACEHOLDER.findall(self))

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Take a name or a template. Raises ValueError that says which rule it breaks."""
        if not isinstance(value, str) or not value:
            raise ValueError(f"expected {cls.expected}, got {shown(value)}")
        literal = _PLACEHOLDER.sub("", value)
        if problem := _name_problem(value, literal):
            raise ValueError(f"{shown(value)} cannot be an index: {problem}")
        return cls(value)


class Route(ComponentConfig):
    """One item of `route` as written."""

    index: IndexTemplate
    """Where matching records go: `<index>-YYYY.MM.DD`."""
    when: Condition | None = None
    """Which records; left out, all that come here."""
    window: Window | Literal["none"] = WINDOW
    """How far an event's own time may lie from the window's reference; outside of it the record goes to the fallback."""


class RouteSpec(msgspec.Struct, frozen=True):
    """One route. The first whose condition holds takes the record; the last one has none."""

    when: Condition | None
    index: IndexTemplate
    window: Window | None
    """None switches the window off."""


class SourceSpec(msgspec.Struct, frozen=True):
    """One source with what its bytes go through first."""

    component: Component
    frame: Component
    decode: Component
    id: IdOf | None = None
    """What the ids of its records are made of, where it is not as the pipeline says."""


class Expectation(ComponentConfig):
    """What a test wants of one record: a document in an index, or that it is dropped for a reason."""

    index: str | None = None
    """The full name, date included."""
    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    """Dotted names and the values they must have; other fields are not looked at."""
    dropped: str | None = None
    """The reason, such as `throttled` or `redacted:private_key`."""

    def problem(self) -> str:
        """Return what is wrong with the expectation, or ""."""
        wants_document = self.index is not None or bool(self.fields)
        if self.dropped is None:
            return "" if wants_document else "an expectation has `index`, `fields` or `dropped`"
        return "what is dropped has neither `index` nor `fields`" if wants_document else ""


class PipelineTest(ComponentConfig, kw_only=True):
    """One item of `tests` as written."""

    name: str
    """What it shows, in words."""
    given: list[str] = msgspec.field(default_factory=list)
    """Framed records."""
    raw: list[str] = msgspec.field(default_factory=list)
    """Unframed bytes of the source, one piece after the other."""
    source: int | None = None
    """Which source reads them, counted from 0; the first one by default."""
    path: str | None = None
    """The file that they stand in, whose path may tell container or pod: `/var/log/pods/shop_web-1_4f2a/web/0.log`."""
    expect: list[Expectation]
    """What becomes of the records, in order."""


class TestSpec(msgspec.Struct, frozen=True):
    """One test of the pipeline, and where it stands."""

    name: str
    given: list[str]
    raw: list[str]
    source: int | None
    path: str | None
    expect: list[Expectation]
    place: Place


class Stamps(ComponentConfig):
    """How records tell their time. A list of fields alone stands for `fields`.

    A time that is missing or unreadable is that of the record before it, flagged `timestamp_missing` or `timestamp_unreadable`.
    One that comes twice, as the clock goes back, is flagged `timestamp_ambiguous`; one that never was, as the clock went forward,
    is read with the offset before, flagged `timestamp_gap`. One that says no year takes the year nearest to the record before; the first ones
    of a file are not later than the time it was found.
    """

    fields: list[str] = msgspec.field(default_factory=lambda: ["timestamp", "@timestamp", "time", "ts"])
    """Fields that may hold a record's own time; the first that does, counts."""
    layouts: list[LayoutText] = msgspec.field(default_factory=list)
    """How times are written, as for `strptime`: `%d/%b/%Y:%H:%M:%S %z`, `%Y-%m-%d %H:%M:%S,%f` (`%f` is any fraction), `%b %e %T`; or
    `iso8601`, `unix`, `unix_ms`, `unix_us`, `unix_ns`. The first that reads a time counts. Left out: ISO 8601, and Unix time in
    the unit that its magnitude tells."""
    zone: Timezone = Timezone("UTC")
    """The zone of times that say none, such as `Europe/Berlin`."""
    fold: Literal["auto", "first", "second"] = "auto"
    """Which is meant by a time that comes twice; `auto`: the first, unless the record before it is later (by 10 s), else the second."""

    @property
    def is_plain(self) -> bool:
        """Whether times are read as they are without settings."""
        return not self.layouts and self.zone == "UTC"


class Top(ComponentConfig):
    """The plain keys at the top of a pipeline."""

    name: PipelineName
    """The pipeline's name: in metrics, in the state directory, in `shipper.pipeline`."""
    id: IdOf = "origin"
    """What `_id` is made of: where a record stands in its source, or what it says: then equal records are one document, such as
    an error that a program writes to two files. A source may have an `id` of its own."""
    timestamp: list[str] | Stamps = Stamps()
    """Fields that may hold a record's own time, or how records tell it in all: fields, layouts, zone."""
    ecs: Literal["on", "off"] = "off"
    """`on`: documents of JSON records have the names of the Elastic Common Schema, `log.level` for `level` and so on (see
    docs/ecs.md), while `when` and `index` see the records' own. Costs about 2 us a record."""
    max_record: RecordSize = RecordSize(1 << 20)
    """Bytes of one record, `1KiB` to `64MiB`; longer ones are cut and flagged. One window of this size is held in memory."""


class Pipeline(msgspec.Struct, frozen=True):
    """A whole pipeline, checked. Order is the order of the file."""

    name: str
    path: str
    sources: list[SourceSpec]
    redact: Component
    """Its `config` is a `RedactConfig`."""
    stages: list[Component]
    routes: list[RouteSpec]
    output: Component
    output_given: bool
    """Whether the file names an output; else `output` is the embedded one, and the agent's own default may replace it."""
    tests: list[TestSpec]
    id: IdOf
    timestamp: Stamps
    ecs: Literal["on", "off"]
    max_record: Size


def _name_problem(value: str, literal: str) -> str:
    if "{" in literal or "}" in literal:
        return "a placeholder is {field}, with the field's dotted name"
    if value.startswith("{"):
        return "it begins with a placeholder; put a literal prefix before it, such as app-{service}"
    if value[0] in "-_+.":
        return f"it begins with {value[0]}"
    if found := _FORBIDDEN.search(literal):
        return f"{found[0]!r} is not allowed in it"
    if literal != literal.lower():
        return "it must be lowercase"
    if len(value.encode("utf-8", "replace")) > INDEX_BYTES_MAX:
        return f"it is longer than {INDEX_BYTES_MAX} bytes"
    return ""
