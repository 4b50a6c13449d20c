"""Levels: what the writers of the world write, against the names it stands for."""

from __future__ import annotations

import logging
import syslog

import pytest
import structlog
from hypothesis import given

from shipper.model.level import LEVELS, numbers_of, rank
from tests.kit.laws import hostile


def named(value: object, field: str = "level") -> str | None:
    """The level of a value in a field."""
    numbers = numbers_of(field)
    assert numbers is not None
    found = rank(value, numbers)
    return None if found is None else LEVELS[found]


WRITERS = {
    "python": {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "WARN": "warning", "ERROR": "error", "CRITICAL": "critical"},
    "loguru": {"TRACE": "trace", "SUCCESS": "notice"},
    "java.util.logging": {"SEVERE": "error", "WARNING": "warning", "CONFIG": "debug", "FINE": "debug", "FINER": "trace", "FINEST": "trace"},
    "log4j, logback": {"FATAL": "critical", "ERROR": "error", "WARN": "warning", "INFO": "info", "TRACE": "trace"},
    ".NET": {"Critical": "critical", "Error": "error", "Warning": "warning", "Information": "info", "Trace": "trace", "Verbose": "trace"},
    "Serilog, short": {"VRB": "trace", "DBG": "debug", "INF": "info", "WRN": "warning", "ERR": "error", "FTL": "critical"},
    "zap": {"debug": "debug", "warn": "warning", "dpanic": "critical", "panic": "emergency", "fatal": "critical"},
    "slog": {"DEBUG-4": "debug", "INFO+2": "info", "WARN+1": "warning", "ERROR+12": "error"},
    "OpenTelemetry": {"INFO2": "info", "ERROR3": "error", "TRACE4": "trace"},
    "klog": {"I": "info", "W": "warning", "E": "error", "F": "critical"},
    "Apache, nginx": {"emerg": "emergency", "alert": "alert", "crit": "critical", "warn": "warning", "notice": "notice", "trace8": "trace"},
    "PostgreSQL": {"DEBUG5": "debug", "NOTICE": "notice", "PANIC": "emergency"},
    "syslog numbers": {0: "emergency", "1": "alert", 2: "critical", 3: "error", "4": "warning", 5: "notice", 6.0: "info", 7: "debug"},
    "pino": {10: "trace", 20: "debug", 30: "info", 40: "warning", "50": "error", 60: "critical"},
    "Monolog": {100: "debug", 250: "notice", 300: "warning", 400: "error", 600: "emergency"},
    "padded": {" error   ": "error", "[INFO]": "info", "<3>": "error", "warning:": "warning"},
    "no levels": {"eror": None, "": None, "errors": None, 8: None, -1: None, 3.5: None, True: None, "x" * 99: None, "INFO 2": None},
}  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
def test_levels_of_a_writer_are_known(writer: str) -> None:
    """Every word and number of it."""
    found = {value: named(value) for value in WRITERS[writer]}
    assert WRITERS[writer] == found


def test_the_real_libraries_agree() -> None:
    """Python's own names and numbers, structlog's, and those of the C library's syslog."""
    for name, number in logging.getLevelNamesMapping().items():
        assert name == "NOTSET" or named(name) == named(number, "levelno")
    for name, number in structlog.stdlib.NAME_TO_LEVEL.items():
        assert name == "notset" or named(name) == named(number, "level_number")
    for word in ("EMERG", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG"):
        assert named(word) == named(getattr(syslog, f"LOG_{word}"), "log.syslog.severity.code")


@pytest.mark.parametrize(
    ("field", "value", "level"),
    [
        ("severity_number", 17, "error"),
        ("SeverityNumber", 9, "info"),
        ("level_value", 40000, "error"),
        ("levelno", 30, "warning"),
        ("log.syslog.severity.name", "err", "error"),
        ("log.syslog.severity.code", 30, None),
        ("syslog.severity", 3, "error"),
        ("logLevel", "W", "warning"),
        ("log-level", 30, "info"),
    ],
)
def test_numbers_mean_what_the_field_says(field: str, value: object, level: str | None) -> None:
    """By the name of the field."""
    assert level == named(value, field)


@pytest.mark.parametrize("field", ["message", "leveled", "water_levels", "name", "code", "http.response.code", "levels", ""])
def test_other_fields_hold_no_levels(field: str) -> None:
    """Their values are what they are."""
    assert numbers_of(field) is None


@given(hostile)
def test_any_value_has_a_rank_or_none(value: object) -> None:
    """Whatever a record says."""
    assert rank(value, numbers_of("level") or {}) in (None, *range(len(LEVELS)))
