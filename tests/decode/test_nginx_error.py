"""nginx_error: lines say what each says alone, and what real ones say. `tests/real/test_web_servers.py` has nginx itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.decode.nginx_error import NginxError
from shipper.model.localtime import Timezone
from tests.kit.formats import anything, damaged, documents, hold_together

HEAD = "2026/02/05 14:30:45 [error] 31#32: "
REQUEST = (
    HEAD + '*7 open() "/www/no" failed (2: No such file or directory), client: 203.0.113.9, server: shop.example, '
    'request: "GET /no?a="b" HTTP/1.1", subrequest: "/auth", upstream: "http://10.0.0.1:80/no", host: "shop.example", '
    'referrer: "http://a.example/?x="1""'
)


def decoder(zone: str = "UTC") -> NginxError:
    """A decoder."""
    return NginxError(NginxError.Config(zone=Timezone(zone)), ("message", "log.level", "client.ip"), ("client.geo",))


lines = st.sampled_from([HEAD + "bind() failed", HEAD, REQUEST, "no line", HEAD + "x, client: unix:, server: "]).flatmap(
    lambda line: st.just(line) | damaged(line)
)


@given(st.lists(lines | anything, min_size=1, max_size=5))
def test_lines_say_what_each_says_alone(found: list[str]) -> None:
    """Whatever stands beside them; what is refused is kept whole."""
    for line, (record, flags, _) in zip(found, hold_together(decoder(), [line.encode() for line in found]), strict=True):
        if "parse_error" in flags:
            assert record == {"message": line}
        else:
            assert record["log.level"] and record["message"] in line


def test_a_line_of_a_request_tells_all_of_it_and_the_message_is_what_is_left() -> None:
    """Quotes within the parts stay; nginx escapes none."""
    ((record, flags, told),) = documents(decoder(), [REQUEST.encode()])
    assert flags == ""
    assert record == {
        "message": 'open() "/www/no" failed (2: No such file or directory)',
        "log.level": "error",
        **{"process.pid": 31, "process.thread.id": 32, "nginx.connection": 7},
        **{"client.ip": "203.0.113.9", "server.address": "shop.example", "url.domain": "shop.example"},
        **{"http.request.method": "GET", "url.original": '/no?a="b"', "http.version": "1.1"},
        **{"nginx.subrequest": "/auth", "nginx.upstream": "http://10.0.0.1:80/no"},
        "http.request.referrer": 'http://a.example/?x="1"',
    }
    assert told["@timestamp"] == "2026/02/05 14:30:45"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x, client: unix:, server: ", {"message": "x", "client.address": "unix:"}),
        ("x, client: ::1, server: _", {"message": "x", "client.ip": "::1", "server.address": "_"}),
        ('x, client: 1.2.3.4, server: , request: " "', {"message": "x", "client.ip": "1.2.3.4", "url.original": " "}),
        ("x, server: y", {"message": "x, server: y"}),
        ("", {"message": ""}),
    ],
)
def test_what_is_not_there_is_left_out(text: str, wanted: dict[str, object]) -> None:
    """Sockets, IPv6, requests that are none, and lines that only look so."""
    ((record, flags, _),) = documents(decoder(), [(HEAD + text).encode()])
    assert flags == ""
    assert {
        name: value for name, value in record.items() if name not in ("log.level", "process.pid", "process.thread.id")
    } == wanted


def test_times_are_local_where_a_zone_says_so() -> None:
    """nginx writes local time without a zone."""
    found = decoder("Europe/Berlin").timeline
    assert found is not None
    assert found.read(["2026/02/05 14:30:45"], 0.0).stamps == [b"2026-02-05T13:30:45.000Z"]
