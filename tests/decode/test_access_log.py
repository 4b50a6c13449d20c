"""Access logs: what nginx and Apache write, against a slow reading of each line alone, in any company."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shipper.decode.access_log import AccessLog
from tests.kit.formats import Document, anything, damaged, documents, hold_together
from tests.kit.records import PlainGate, batch_of

READS = ("client.ip", "url.original", "http.response.status_code", "nothing")
COMBINED = (
    '81.2.69.142 - frank [05/Feb/2026:14:30:45 +0000] "GET /a?b=c HTTP/1.1" 200 1043 "https://example.com/" "Mozilla/5.0 (X11)"'
)
QUOTED = r'"(?:[^"\\]|\\.)*"'
LINE = re.compile(
    r"(?:(?P<domain>[A-Za-z0-9_.-]{1,255}):(?P<port>[0-9]{1,5}) )?(?P<client>[^ ]+) (?P<ident>[^ ]+) (?P<user>.{1,256}?) "
    r"\[(?P<time>[^][\"]{1,64})\] (?P<request>Q) (?P<status>[0-9]{3}|-) (?P<size>[0-9]{1,18}|-)"
    r"(?: (?P<referrer>Q) (?P<agent>Q)(?: (?P<forwarded>Q))?)?(?: (?P<seconds>[0-9]{1,9}(?:\.[0-9]{1,9})?|-))?".replace(
        "Q", QUOTED
    ),
    re.DOTALL,
)


def decoder(**settings: Any) -> AccessLog:
    """A decoder of its own."""
    return AccessLog(AccessLog.Config(**settings), READS, ("client.geo",))


def one(line: str, **settings: Any) -> dict[str, Any]:
    """The record of one line."""
    ((record, flags, _),) = documents(decoder(**settings), [line.encode()])
    assert flags == ""
    return record


def alone(line: str) -> dict[str, Any] | None:
    """A line read slowly; None where it is not of the format."""
    found = LINE.fullmatch(line)
    if found is None:
        return None
    parts = {name: value for name, value in found.groupdict().items() if value is not None}
    request = parts["request"][1:-1]
    said = {
        name: value[1:-1] if value[0] == '"' and value[-1] == '"' and len(value) > 1 and name != "client" else value
        for name, value in parts.items()
    }
    said = {name: value for name, value in said.items() if value not in ("-", "", '""')}
    record: dict[str, Any] = {"message": request}
    if "client" in said:
        record["client.ip" if is_address(said["client"]) else "client.address"] = said["client"]
    for name, member in (("ident", "client.user.name"), ("user", "user.name")):
        if parts[name] not in ("-", '""'):
            record[member] = parts[name]
    texts = {"domain": "url.domain", "referrer": "http.request.referrer", "agent": "user_agent.original"}
    for name, member in {**texts, "forwarded": "http.request.header.x-forwarded-for"}.items():
        if name in said:
            record[member] = said[name]
    for name, member in {"port": "url.port", "status": "http.response.status_code", "size": "http.response.body.bytes"}.items():
        if name in said:
            record[member] = int(said[name])
    if "seconds" in said:
        record["event.duration"] = int(Decimal(said["seconds"]) * 10**9)
    if words := re.fullmatch(r"([A-Za-z][A-Za-z_-]{0,31}) ([^ ](?:.*[^ ])?) HTTP/([0-9](?:\.[0-9])?)", request, re.DOTALL):
        record |= dict(zip(("http.request.method", "url.original", "http.version"), words.groups(), strict=True))
    elif words := re.fullmatch(r"([A-Za-z][A-Za-z_-]{0,31}) (/.*)", request, re.DOTALL):
        record |= dict(zip(("http.request.method", "url.original"), words.groups(), strict=True))
    return record


def is_address(text: str) -> bool:
    """As the standard library sees it, without scopes."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


clients = st.sampled_from(
    ["81.2.69.142", "::1", "2001:db8::2:1", "-", "unix:", "host-1.example.com", "999.1.1.1", "fe80::1%eth0", "ü", '"', "1.2.3.04"]
)
users = st.sampled_from(["-", "frank", "john doe", '""', "a[b", "ü", "x\\", "-:8"])
times = st.sampled_from(
    [
        "05/Feb/2026:14:30:45 +0000",
        "05/Feb/2026:14:30:45 +0100",
        "05/Feb/2026:14:30:45 -0930",
        "2026-02-05T14:30:45+00:00",
        "x",
        "05/Feb/2026:14:30:45  ",
    ]
)
requests = st.sampled_from([
    "GET / HTTP/1.1", "GET /a?b=c HTTP/2.0", "POST /x HTTP/1.0", "PRI * HTTP/2.0", "-", "", r"\x16\x03\x01\x02", "GET /", "GET", "hello world",
    r"GET /\"x\" HTTP/1.1", r"GET /\x22x HTTP/1.1", "GET /a b HTTP/1.1", "GET  HTTP/1.1", "GET /ü HTTP/1.1", "M-SEARCH * HTTP/1.1", "GET / HTTP/3", "GET /\t HTTP/1.1",
])  # fmt: skip
numbers = st.sampled_from(["200", "404", "000", "-", "2000", "20", "0", "1043", "007", "12345678901234567890"])
statuses = st.sampled_from(["200", "404", "000", "-", "499", "2000"])
quoted = st.sampled_from(
    ["-", "", "https://example.com/", "Mozilla/5.0 (X11; Linux)", r"\"a\" \x22", "ü", "1.2.3.4, 5.6.7.8", "a  b", '" "']
)
tails = st.sampled_from(["", " 0.005", " -", " 12", " 1.2.3", " x", " 0.1234567891"])


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A line of the format, or one that looks like it."""
    head = draw(st.sampled_from(["", "", "", "example.com:443 ", "example.com:080 ", "[::1]:80 "]))
    ident = draw(st.sampled_from(["-", "-", "-", "id", '""', "ü"]))
    line = f'{head}{draw(clients)} {ident} {draw(users)} [{draw(times)}] "{draw(requests)}" {draw(statuses)} {draw(numbers)}'
    for _ in range(draw(st.sampled_from([0, 2, 2, 2, 3, 1]))):
        line += f' "{draw(quoted)}"'
    return line + draw(tails)


hostile_lines = anything | lines().flatmap(damaged)
mixtures = st.lists(lines() | st.just(COMBINED) | hostile_lines, min_size=1, max_size=7) | st.builds(
    lambda usual, others: [COMBINED, *usual, *others],
    st.lists(st.just(COMBINED), max_size=2),
    st.lists(hostile_lines, max_size=3),
)


@given(mixtures)
@example([COMBINED, COMBINED.replace(" 1043", " -"), COMBINED.replace("81.2", "x-81.2"), COMBINED.replace('"GET', '"')])
@example([COMBINED + ' "-"', COMBINED, COMBINED + ' "1.2.3.4, ::1"', COMBINED + ' "a" 0.5'])
@example([COMBINED + ' "1.2.3.4" 0.005', COMBINED + " 0.005", COMBINED.replace("frank", "john doe") + ' "x" 1'])
def test_each_line_says_what_it_says_alone(texts: list[str]) -> None:
    """Whatever stands beside it; what is not of the format is kept as text."""
    found = hold_together(decoder(), [text.encode() for text in texts], READS)
    for text, (record, flags, _) in zip(texts, found, strict=True):
        wanted = alone(text)
        assert record == (wanted if wanted is not None else {"message": text})
        assert flags == ("" if wanted is not None else "parse_error:no line of an access log")


def fields(document: Document, *names: str) -> list[object]:
    """Columns of a document."""
    return [document[2][name] for name in names]


def test_the_time_is_a_column_and_no_member() -> None:
    """Its brackets are not part of it; lines may be of several zones."""
    found = documents(decoder(), [COMBINED.encode(), COMBINED.replace("+0000", "+0130").encode()])
    assert fields(found[0], "@timestamp") == ["05/Feb/2026:14:30:45 +0000"]
    assert fields(found[1], "@timestamp") == ["05/Feb/2026:14:30:45 +0130"]


@pytest.mark.parametrize(
    ("unit", "text", "wanted"), [("s", "0.005", 5_000_000), ("ms", "12", 12_000_000), ("us", "350.5", 350_500)]
)
def test_the_time_taken_is_told_in_nanoseconds(unit: str, text: str, wanted: int) -> None:
    """As ECS has `event.duration`."""
    assert one(f"{COMBINED} {text}", duration=unit)["event.duration"] == wanted


def test_what_nothing_could_be_read_of_is_kept_as_it_stands() -> None:
    """A TLS hello on the plain port, a timeout, a request with a quote."""
    for request in (r"\x16\x03\x01\x00\xEE", "-", "", r"GET /\"<script>\" HTTP/1.1"):
        record = one(f'1.2.3.4 - - [05/Feb/2026:14:30:45 +0000] "{request}" 400 157 "-" "-"')
        assert record["message"] == request
        assert record["http.response.status_code"] == 400


def test_a_long_line_of_nonsense_is_refused_at_once() -> None:
    """No pattern here goes back over a line more than a bounded number of times."""
    for text in (
        " [" * 200_000,
        'a b c [x] "' + "\\" * 400_000,
        'a b c [x] "x" 200 1 "' + '" "' * 100_000,
        COMBINED + " " * 400_000,
    ):
        ((record, flags, _),) = documents(decoder(), [text.encode()])
        assert record == {"message": text}
        assert flags.startswith("parse_error:")


def test_stages_know_that_lines_read_together_have_no_null_and_no_odd_name() -> None:
    """So that they need not look: no guard of theirs could have fired. Nobody vouches for lines that were read one by one."""
    usual = decoder().decode(PlainGate({}).admit(batch_of([COMBINED.encode()] * 3)))
    assert (usual.marks, list(usual.changed)) == (frozenset(), [])
    assert b"null" not in b"".join(usual.rows)
    assert decoder().decode(PlainGate({}).admit(batch_of([COMBINED.encode(), b"null"]))).marks is None
