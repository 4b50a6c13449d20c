"""Levels: what programs write for how bad a record is, brought to nine names in one order. Only conditions see it.

    trace  debug  info  notice  warning  error  critical  alert  emergency

RULES
- A field holds a level by its name: the last part of its dotted name, ignoring case, `-` and `_`, is `level`, `severity`,
  `levelname`, `loglevel`, `lvl`, `severitytext`, or one of those for numbers below; or it is `severity.name`, `severity.code`.
- Words are compared ignoring case, white space and brackets around them, and a number behind them (`INFO2` of OpenTelemetry,
  `trace8` of Apache, `DEBUG-4` of Go's slog). Single letters are those of klog, glog and Android.
- Numbers, also as text, mean what the writers of such a field mean:
  0 to 7 are syslog's (RFC 5424, 6.2.1), wherever they stand;
  10 to 60 those of pino and bunyan in `level` and the like, where Python's loggers write words;
  those of Python's logging in `levelno` and `level_number`; 100 to 600 those of Monolog;
  1 to 24 those of OpenTelemetry in `severity_number`; 5000 to 40000 those of Logback in `level_value`.
- What is said differently by different writers is decided: `FATAL` is critical (Log4j, Python, .NET); `PANIC` is emergency, as in
  syslog.conf(5); `VERBOSE` is trace (Serilog, Android); `CONFIG`, `FINE` are debug, `FINER`, `FINEST` trace, `SEVERE` error
  (java.util.logging); `SUCCESS` is notice (loguru).
- Anything else is no level.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = ("trace", "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""From the least to the worst; the rank of a level is its place here."""
TRACE, DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT, EMERGENCY = range(len(LEVELS))
_SYSLOG = {number: EMERGENCY - number for number in range(6)} | {6: INFO, 7: DEBUG}
_PINO = {10: TRACE, 20: DEBUG, 30: INFO, 40: WARNING, 50: ERROR, 60: CRITICAL}
_MONOLOG = {100: DEBUG, 200: INFO, 250: NOTICE, 300: WARNING, 400: ERROR, 500: CRITICAL, 550: ALERT, 600: EMERGENCY}
_PYTHON = {5: TRACE, 10: DEBUG, 20: INFO, 25: NOTICE, 30: WARNING, 40: ERROR, 50: CRITICAL}
_OTEL = {number: (TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL)[(number - 1) // 4] for number in range(1, 25)}
_LOGBACK = {5000: TRACE, 10_000: DEBUG, 20_000: INFO, 30_000: WARNING, 40_000: ERROR}
_USUAL = _SYSLOG | _PINO | _MONOLOG
_FIELDS: Mapping[str, Mapping[int, int]] = {
    **dict.fromkeys(("level", "severity", "levelname", "loglevel", "lvl", "severitytext"), _USUAL),
    **dict.fromkeys(("levelno", "levelnumber"), _PYTHON),
    "severitynumber": _OTEL,
    "levelvalue": _LOGBACK,
}
"""Last parts of the names of fields that hold levels, and the numbers they hold."""
_WORDS: Mapping[str, int] = {
    **dict.fromkeys(("trace", "trc", "t", "verbose", "verb", "vrb", "v", "finer", "finest", "silly"), TRACE),
    **dict.fromkeys(("debug", "dbg", "dbug", "d", "fine", "config"), DEBUG),
    **dict.fromkeys(("info", "inf", "i", "information", "informational"), INFO),
    **dict.fromkeys(("notice", "n", "note", "success"), NOTICE),
    **dict.fromkeys(("warning", "warn", "wrn", "w"), WARNING),
    **dict.fromkeys(("error", "err", "e", "severe", "exception"), ERROR),
    **dict.fromkeys(("critical", "crit", "c", "fatal", "ftl", "f", "dpanic"), CRITICAL),
    **dict.fromkeys(("alert",), ALERT),
    **dict.fromkeys(("emergency", "emerg", "panic"), EMERGENCY),
}
NAMES = tuple(_WORDS)
"""All words that are known, for suggestions."""
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)
_NUMBERED = re.compile(r"([a-z]{4,})(?:[1-9]|[+-][0-9]{1,2})", re.ASCII)
_TEXT_MAX = 32
_AROUND = " \t\r\n[]<>():"


def numbers_of(field: str) -> Mapping[int, int] | None:
    """The numbers that a field of this name writes for levels, and their ranks; None for a field that holds no level."""
    outer, _, last = field.lower().replace("-", "").replace("_", "").rpartition(".")
    if last in ("name", "code") and outer.rpartition(".")[2] == "severity":
        return _SYSLOG
    return _FIELDS.get(last)


def rank(value: object, numbers: Mapping[int, int]) -> int | None:
    """The place in `LEVELS` of what a level field holds; None for what is no level. `numbers` are those of its name."""
    if isinstance(value, str):
        return _rank_of_text(value, numbers)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return numbers.get(value)  # type: ignore[arg-type]  # 30.0 finds 30


def _rank_of_text(text: str, numbers: Mapping[int, int]) -> int | None:
    if len(text) > _TEXT_MAX:
        return None
    word = text.strip(_AROUND).lower()
    if _NUMBER.fullmatch(word):
        return numbers.get(int(word))
    if numbered := _NUMBERED.fullmatch(word):
        word = numbered[1]
    return _WORDS.get(word)
