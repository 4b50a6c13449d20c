r"""Regex: lines taken apart by patterns of one's own.

RULES
- Names of groups are letters, digits and `_`; in the names of fields two `_` are a dot: `(?P<http__version>…)` is `http.version`.
- A field may be no member that documents have from us (`host`, `log`, `shipper`), nor a value and an object at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.config.suggest import hint
from shipper.config.time_layout import LayoutText  # noqa: TC001  msgspec reads the annotations
from shipper.decode.capture import CapturingDecoder, Expression, Fold, Type, field_of, refuse_field, timeline_of
from shipper.model import pattern as patterns
from shipper.model.errors import ComponentError
from shipper.model.localtime import Timezone  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Sequence


class Regex(CapturingDecoder):
    r"""Lines taken apart by regular expressions with named groups: `^(?P<level>\w+) (?P<message>.*)$`.

    Each group is a field; in its name two `_` are a dot. A group `timestamp`, `time` or `ts` is the record's time. Where no group is
    `message`, the whole line is the message. A line in which no pattern is found is kept as text, flagged `parse_error`.

    Patterns are RE2's: no look-around, no backreferences, linear time. It reads 15 to 50 MB/s of lines. Those of which can be proved
    that another engine reads them in linear time too, as of most, go at 50 to 140 MB/s: `\S+`, `\d+`, `[^"]*` and one `.*` at the end
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
        fold: Fold = "auto"
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
        fields = {name: field_of(config.fields.get(name) or _dotted(name)) for name in known}
        for name, field in fields.items():
            setting = f"fields.{name}" if name in config.fields else "patterns"
            refuse_field(field, fields.values(), setting, f"`fields: {{{{{name}: {{}}}}}}`")
        types = {fields.get(name, name): kind for name, kind in config.types.items()}
        expressions = [
            Expression(text, [(number, fields[name]) for name, number in names.items()])
            for text, names in zip(written, groups, strict=True)
        ]
        super().__init__(expressions, types, timeline_of(config.layouts, config.zone, config.fold), (reads, adds, spare))


def _groups(pattern: str, setting: str) -> dict[str, int]:
    """Names and numbers of the groups. Raises ComponentError."""
    try:
        found: dict[bytes, int] = patterns.compiled(pattern, captures=True).groupindex
    except patterns.PatternError as error:
        raise ComponentError(f"the pattern cannot be used: {error.reason}", setting, error.advice) from None
    if not found:
        raise ComponentError("the pattern has no named group", setting, "name what should be kept: (?P<level>\\w+)")
    return {name.decode(): number for name, number in sorted(found.items(), key=lambda item: item[1])}


def _dotted(name: str) -> str:
    return name.replace("__", ".")
