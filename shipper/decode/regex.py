r"""Regex: lines taken apart by patterns of one's own.

RULES
- Names of groups are letters, digits and `_`; in the names of fields two `_` are a dot: `(?P<http__version>…)` is `http.version`.
- A field may be no member that documents have from us (`host`, `log`, `shipper`), nor a value and an object at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.config.suggest import hint
from shipper.config.time_layout import LayoutText  # noqa: TC001  msgspec reads the annotations
from shipper.decode.capture import CapturingDecoder, Expression, Type
from shipper.decode.decoder import RESERVED
from shipper.decode.layout import STAMP
from shipper.decode.timestamp import Timeline
from shipper.model import pattern as patterns
from shipper.model.errors import ComponentError
from shipper.model.localtime import Timezone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

TIMES = ("timestamp", "time", "ts", STAMP)
"""Groups of these names are the record's time."""
FIELD = re.compile(r"[A-Za-z0-9_@-]+(?:\.[A-Za-z0-9_@-]+)*")


class Regex(CapturingDecoder):
    r"""Lines taken apart by regular expressions with named groups: `^(?P<level>\w+) (?P<message>.*)$`.

    Each group is a field; in its name two `_` are a dot. A group `timestamp`, `time` or `ts` is the record's time. Where no group is
    `message`, the whole line is the message. A line in which no pattern is found is kept as text, flagged `parse_error`.

    Patterns are RE2's: no look-around, no backreferences, linear time. They read 25 to 40 MB/s; those of which it can be proved
    that another engine reads them in linear time too, as most can, 100 to 200 MB/s: `\S+`, `\d+`, `[^"]*` and one `.*` at the end
    are good, several `.*` in one pattern are not.
    """

    class Config(ComponentConfig):
        """Settings of regex."""

        patterns: str | list[str]
        r"""The pattern, or several that are tried in order: `^(?P<level>\w+) (?P<message>.*)$`."""
        fields: dict[str, str] = msgspec.field(default_factory=dict)
        """Other names for groups: `{ip: client.ip, when: "@timestamp"}`."""
        types: dict[str, Type] = msgspec.field(default_factory=dict)
        """Fields that are no texts: `{status: integer, took: number, cached: boolean}`."""
        layouts: list[LayoutText] = msgspec.field(default_factory=list)
        """How the time is written, `%d/%b/%Y:%H:%M:%S %z`; left out, as the pipeline's `timestamp` says."""
        zone: Timezone | None = None
        """The zone of times that say none, such as `Europe/Berlin`; left out, as the pipeline's `timestamp` says, or UTC."""
        fold: Literal["auto", "first", "second"] = "auto"
        """Which is meant by a time that comes twice, as the clock goes back; see `timestamp`."""

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments. Raises ComponentError."""
        several = isinstance(config.patterns, list)
        written = config.patterns if isinstance(config.patterns, list) else [config.patterns]
        if not written:
            raise ComponentError("there is no pattern", "patterns", "write one with groups: ^(?P<level>\\w+) (?P<message>.*)$")
        groups = [_groups(text, f"patterns.{at}" if several else "patterns") for at, text in enumerate(written)]
        known = list(dict.fromkeys(name for names in groups for name in names))
        for setting, names in (
            ("fields", config.fields),
            ("types", {*config.types} - set(map(_dotted, known)) - {*config.fields.values()}),
        ):
            if unknown := [name for name in names if name not in known]:
                raise ComponentError(f"there is no group `{unknown[0]}`", f"{setting}.{unknown[0]}", hint(unknown[0], known))
        fields = {name: _stamp_of(config.fields.get(name) or _dotted(name)) for name in known}
        for name, field in fields.items():
            refuse_field(field, set(fields.values()), f"fields.{name}" if name in config.fields else "patterns", name)
        types = {fields.get(name, name): kind for name, kind in config.types.items()}
        expressions = [
            Expression(text, [(number, fields[name]) for name, number in names.items()])
            for text, names in zip(written, groups, strict=True)
        ]
        super().__init__(expressions, types, timeline_of(config.layouts, config.zone, config.fold), (reads, adds, spare))


def timeline_of(layouts: Sequence[str], zone: str | None, fold: Literal["auto", "first", "second"]) -> Timeline | None:
    """The timeline of a decoder's own settings; None where it has none."""
    return Timeline(layouts, zone or Timezone("UTC"), fold) if layouts or zone is not None or fold != "auto" else None


def _groups(pattern: str, setting: str) -> dict[str, int]:
    """Names and numbers of the groups. Raises ComponentError."""
    try:
        found: dict[bytes, int] = patterns.compiled(pattern, captures=True).groupindex
    except patterns.PatternError as error:
        raise ComponentError(f"the pattern cannot be used: {error.reason}", setting, error.advice) from None
    if not found:
        raise ComponentError("the pattern has no named group", setting, "name what should be kept: (?P<level>\\w+)")
    return {name.decode(): number for name, number in sorted(found.items(), key=lambda item: item[1])}


def refuse_field(field: str, all_fields: Collection[str], setting: str, group: str) -> None:
    """Raises ComponentError for a name that no member may have."""
    if not FIELD.fullmatch(field):
        raise ComponentError(f"`{field}` is no name of a field", setting, "letters, digits and _, with dots between: client.ip")
    if field in RESERVED:
        better = {"host": "host.hostname", "log": "log.logger"}.get(field, "labels.shipper")
        raise ComponentError(
            f"documents have an object `{field}` from us", setting, f"give it another name: `fields: {{{group}: {better}}}`"
        )
    inner: Iterable[str] = (other for other in all_fields if other.startswith(f"{field}."))
    if other := next(iter(inner), None):
        raise ComponentError(f"`{field}` is a value, and `{other}` makes it an object", setting, "give one of them another name")


def _dotted(name: str) -> str:
    return name.replace("__", ".")


def _stamp_of(field: str) -> str:
    return STAMP if field in TIMES else field
