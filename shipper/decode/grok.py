r"""Grok: lines taken apart by patterns with names, `%{IP:client.ip} %{WORD:http.request.method}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shipper.config.fields import ComponentConfig
from shipper.config.time_layout import LayoutText  # noqa: TC001  msgspec reads the annotations
from shipper.decode.capture import CapturingDecoder, Fold, refuse_field, timeline_of
from shipper.decode.grok_patterns import Expander
from shipper.decode.layout import STAMP
from shipper.model.errors import ComponentError
from shipper.model.localtime import Timezone  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Sequence


class Grok(CapturingDecoder):
    r"""Lines taken apart by grok expressions: `%{IP:client.ip} %{WORD:http.request.method} %{NOTSPACE:url.path}`.

    `%{NAME:field}` keeps what the pattern NAME takes as a field, `%{NAME:field:int}` as a number (`int`, `float`, `boolean`). Fields
    are written `client.ip` or `[client][ip]`; `(?<field>...)` keeps a piece of one's own. `timestamp` is the record's time; the
    patterns know how their times are written (`HTTPDATE`, `SYSLOGTIMESTAMP`, `TIMESTAMP_ISO8601` and others). Where no field is
    `message`, the whole line is the message. A line that no expression matches is kept as text, flagged `parse_error`.

    The names and fields are those of Logstash's patterns in their ECS form: `COMBINEDAPACHELOG`, `HTTPD_ERRORLOG`, `SYSLOGLINE`,
    `SYSLOG5424LINE`, `CRONLOG`, `CATALINALOG`, `TOMCATLOG`, `HAPROXYHTTP`, `HAPROXYTCP`, `SQUID3`, `BIND9`, `MONGO3_LOG`,
    `REDISLOG`, `RUBY_LOGGER`, `S3_ACCESS_LOG`, `ELB_ACCESS_LOG`, `CLOUDFRONT_ACCESS_LOG`, and what they are made of. They
    read 30 to 100 MB/s of lines (see `regex`; what only RE2 can run 10 to 40). Anchor an expression with `^`: then a line of another
    kind is passed by at once.
    """

    class Config(ComponentConfig):
        """Settings of grok."""

        match: str | list[str]
        """The expression, or several that are tried in order: `^%{COMBINEDAPACHELOG}$`."""
        patterns: dict[str, str] = msgspec.field(default_factory=dict)
        r"""Patterns of one's own by name, also instead of one that is there: `{ORDER: 'ORD-\d{6}'}`."""
        layouts: list[LayoutText] = msgspec.field(default_factory=list)
        """How the time is written, `%d/%b/%Y %H:%M`; left out, as its pattern says, else as the pipeline's `timestamp` says."""
        zone: Timezone | None = None
        """The zone of times that say none, such as `Europe/Berlin`; left out: UTC, or what the pipeline says where its layouts count."""
        fold: Fold = "auto"
        """Which is meant by a time that comes twice, as the clock goes back; see `timestamp`."""

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments. Raises ComponentError."""
        written = config.match if isinstance(config.match, list) else [config.match]
        if not written:
            raise ComponentError("there is no expression", "match", "write one: ^%{COMBINEDAPACHELOG}$")
        expander = Expander(config.patterns)
        for name in config.patterns:
            expander.check(name, f"patterns.{name}")
        places = [f"match.{at}" if isinstance(config.match, list) else "match" for at in range(len(written))]
        expressions = [expander.expression(text, place) for text, place in zip(written, places, strict=True)]
        fields = {field: place for one, place in zip(expressions, places, strict=True) for _, field in one.fields}
        if not fields:
            raise ComponentError("the expression keeps nothing", "match", "name what should be kept: %{IP:client.ip}")
        for field, place in fields.items():
            if field != STAMP:
                refuse_field(field, fields, place, "`%{{NAME:{}}}`")
        layouts: Sequence[str] = config.layouts or tuple(expander.times)
        if tuple(layouts) == ("iso8601",) and not config.layouts:  # as any pipeline reads times
            layouts = ()
        super().__init__(expressions, expander.types, timeline_of(layouts, config.zone, config.fold), (reads, adds, spare))
