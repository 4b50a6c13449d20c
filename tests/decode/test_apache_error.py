"""apache_error: lines say what each says alone, and what real ones say. `tests/real/test_web_servers.py` has Apache itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.decode.apache_error import ApacheError
from shipper.model.localtime import Timezone
from tests.kit.formats import anything, damaged, documents, hold_together

NEW = "[Thu Feb 05 14:30:45.123456 2026] [core:error] [pid 7:tid 9] "
OLD = "[Thu Feb 05 14:30:45 2026] [error] "
LINES = [
    NEW + "[client 203.0.113.9:5678] AH00128: File does not exist: /www/no, referer: http://a.example/?x=1",
    NEW + "(13)Permission denied: [client ::1:34588] AH00132: file permissions deny server access: /www/x",
    NEW.replace(":tid 9", "") + "AH02155: getpwuid",
    OLD + "mod_jk child workerEnv in error state 6",
    OLD + "[client 1.2.3.4] Directory index forbidden by rule: /var/www/html/",
    OLD + "[client fe80::1] x",
    "no line",
]


def decoder(zone: str = "UTC") -> ApacheError:
    """A decoder."""
    return ApacheError(ApacheError.Config(zone=Timezone(zone)), ("message", "log.level", "client.ip"), ("client.geo",))


lines = st.sampled_from(LINES).flatmap(lambda line: st.just(line) | damaged(line))


@given(st.lists(lines | anything, min_size=1, max_size=5))
def test_lines_say_what_each_says_alone(found: list[str]) -> None:
    """Whatever stands beside them; what is refused is kept whole."""
    for line, (record, flags, _) in zip(found, hold_together(decoder(), [line.encode() for line in found]), strict=True):
        if "parse_error" in flags:
            assert record == {"message": line}
        else:
            assert record["log.level"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            LINES[0],
            {
                "message": "AH00128: File does not exist: /www/no, referer: http://a.example/?x=1",
                **{"log.level": "error", "apache.module": "core", "process.pid": 7, "process.thread.id": 9},
                **{"event.code": "AH00128", "client.ip": "203.0.113.9", "client.port": 5678},
                "http.request.referrer": "http://a.example/?x=1",
            },
        ),
        (
            LINES[1],
            {
                "message": "(13)Permission denied: AH00132: file permissions deny server access: /www/x",
                **{"log.level": "error", "apache.module": "core", "process.pid": 7, "process.thread.id": 9},
                **{"event.code": "AH00132", "client.ip": "::1", "client.port": 34588},
            },
        ),
        (LINES[3], {"message": "mod_jk child workerEnv in error state 6", "log.level": "error"}),
        (
            LINES[4],
            {"message": "Directory index forbidden by rule: /var/www/html/", "log.level": "error", "client.ip": "1.2.3.4"},
        ),
        (LINES[5], {"message": "x", "log.level": "error", "client.ip": "fe80::1"}),
        (OLD + "[client web-1.example] x", {"message": "x", "log.level": "error", "client.address": "web-1.example"}),
    ],
)
def test_lines_of_both_versions_are_taken_apart(line: str, wanted: dict[str, object]) -> None:
    """2.4 has module, process and port; 2.2 has none of them."""
    assert [(record, flags) for record, flags, _ in documents(decoder(), [line.encode()])] == [(wanted, "")]


def test_times_are_local_where_a_zone_says_so_with_and_without_a_fraction() -> None:
    """Apache writes local time without a zone."""
    found = decoder("Europe/Berlin").timeline
    assert found is not None
    texts = ["Thu Feb 05 14:30:45.123456 2026", "Thu Feb 05 14:30:45 2026"]
    assert list(found.read(texts, 0.0).stamps) == [b"2026-02-05T13:30:45.123456Z", b"2026-02-05T13:30:45.000Z"]
