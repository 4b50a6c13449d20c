"""Http: each status, however the bytes are cut; who may come in; deadlines and limits of a connection; fuzz."""

from __future__ import annotations

import base64
import gzip
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import Duration, Endpoint, Secret, Size
from shipper.model.errors import ComponentError
from shipper.source.http_connection import AHEAD_MAX
from shipper.source.push import DELIVERY_BYTES_MAX, DELIVERY_ROWS_MAX
from tests.kit.http_client import BULK, ELASTIC, Client, config, request


def test_lines_of_ndjson_are_delivered_and_counted() -> None:
    """200 tells how many, after they are durable."""
    client = Client(held=True).send(request(body=b'{"a":1}\n{"b":2}\n'))
    assert client.rows == [b'{"a":1}', b'{"b":2}']
    assert client.sent == b""
    client.settle()
    assert client.reply[0] == 200
    assert client.reply[2] == {"accepted": 2}
    assert not client.closed


SCRIPTS: dict[str, tuple[bytes, list[int]]] = {
    "ndjson": (request(body=b'{"a":1}\n{"b":2}\n'), [200]),
    "array": (request(body=b'[{"a":1}]', kind="application/json"), [200]),
    "gzip": (request(body=gzip.compress(b'{"a":1}\n'), headers={"Content-Encoding": "gzip"}), [200]),
    "pipelined": (request(body=b'{"a":1}\n') + request("GET") + request(body=b"no") + request("HEAD"), [200, 200, 400, 200]),
    "chunked": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n3\r\nab\n\r\n2\r\ncd\r\n0\r\n\r\n",
        [200],
    ),
    "expect": (request(body=b'{"a":1}\n', headers={"Expect": "100-continue"}), [100, 200]),
    "expect and refuse": (request(body=b'{"a":1}\n', kind="image/png", headers={"Expect": "100-continue"}), [415]),
    "bulk": (request(path="/things/_bulk", body=BULK, kind=ELASTIC), [200]),
    "no path": (request(path="/nowhere", body=b"x"), [404]),
    "no method": (request("DELETE", "/", b"x"), [405]),
    "put": (request("PUT", "/", b"x"), [405]),
    "no length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n\r\n", [411]),
    "no type": (request(body=b"x", kind=None), [415]),
    "no coding": (request(body=b"x", headers={"Content-Encoding": "br"}), [415]),
    "told too large": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\nabc", [413]),
    "no http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", [400]),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", [400]),
    "both lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", [400]),
    "old": (b"GET / HTTP/1.0\r\n\r\n", [200]),
    "close": (request("GET", headers={"Connection": "close"}), [200]),
    "absolute": (b"GET http://agent:9200/health?x=1 HTTP/1.1\r\nHost: agent\r\n\r\n", [200]),
    "options": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [405]),
    "connect": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", [405]),
    "upgrade": (request("GET", headers={"Connection": "Upgrade", "Upgrade": "websocket"}), [200]),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripted_requests_have_the_same_replies_cut_at_every_byte(name: str) -> None:
    """Whole, in two pieces at every place, and byte by byte."""
    script, statuses = SCRIPTS[name]
    whole = Client().send(script)
    assert [reply[0] for reply in _replies(whole)] == statuses
    pieces = [[script[:at], script[at:]] for at in range(1, len(script))]
    for cut in [*pieces, [script[at : at + 1] for at in range(len(script))]]:
        client = Client().send(*cut)
        assert (client.sent, client.rows, client.notes, client.closed) == (whole.sent, whole.rows, whole.notes, whole.closed)


def _replies(client: Client) -> list[tuple[int, dict[str, str], object]]:
    """As `replies`, where replies to HEAD have no body."""
    statuses = re.findall(rb"HTTP/1\.1 (\d{3})", client.sent)
    return [(int(status), {}, None) for status in statuses]


def test_heads_that_are_too_large_are_refused() -> None:
    """431, and the connection ends."""
    pieces = [b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(40)]]
    client = Client().send(*pieces)
    assert client.reply[0] == 431
    assert client.reply[1]["connection"] == "close"


def test_after_an_early_answer_the_connection_ends() -> None:
    """What still comes is the listener's to read past; nothing is due any more."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\n"
    client = Client().send(head)
    assert client.reply[0] == 413
    assert client.closed
    assert client.machine.received(b"x" * 1000, 1.0) == ()
    assert client.machine.ended(1.0) == ()
    assert client.machine.deadline() is None


def test_chunked_bodies_are_bounded_too() -> None:
    """413 when it has become too large."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = Client(config(max_body=Size(5000))).send(head, *[b"3e8\r\n" + b"x" * 1000 + b"\r\n"] * 6)
    assert client.reply[0] == 413
    assert client.rows == []


def test_the_answer_waits_for_the_last_part_of_a_large_request() -> None:
    """Deliveries are bounded in rows and bytes."""
    rows = [b"r%d" % number for number in range(DELIVERY_ROWS_MAX * 2 + 1)]
    client = Client(held=True).send(request(body=b"\n".join(rows), kind="text/plain", headers={"Idempotency-Key": "k"}))
    assert [len(delivery.rows) for delivery in client.deliveries] == [DELIVERY_ROWS_MAX, DELIVERY_ROWS_MAX, 1]
    assert client.rows == rows
    ids = [identity for delivery in client.deliveries for identity in delivery.ids]
    assert len({*ids}) == len(rows)
    assert ids[-1].endswith(b"-%d" % (len(rows) - 1))
    for number in (3, 1):
        client.carry(client.machine.durable(number, 0.0))
        assert client.sent == b""
    client.carry(client.machine.durable(2, 0.0))
    assert client.reply[2] == {"accepted": len(rows)}
    large = [b"x" * (1 << 20)] * 9
    client = Client().send(request(body=b"\n".join(large), kind="text/plain"))
    assert client.rows == large
    assert max(sum(map(len, delivery.rows)) for delivery in client.deliveries) <= DELIVERY_BYTES_MAX


@pytest.mark.parametrize("busy", [(1,), (2,), (1, 2)])
def test_what_the_spool_refuses_is_answered_with_429(busy: tuple[int, ...]) -> None:
    """Also where it refuses a part only; the connection goes on."""
    body = b"\n".join([b"row"] * (DELIVERY_ROWS_MAX + 5))
    client = Client(busy=busy).send(request(body=body, kind="text/plain"), request("GET", "/health"))
    assert [reply[0] for reply in client.replies] == [429, 200]
    assert client.replies[0][1]["retry-after"] == "1"
    assert client.notes[0][0] == "refused"
    assert client.notes[0][1]["count"] == {(1,): DELIVERY_ROWS_MAX, (2,): 5, (1, 2): DELIVERY_ROWS_MAX + 5}[busy]


def test_an_idempotency_key_names_each_record() -> None:
    """The same key and place: the same identity, 22 characters and the place; without a key there is none."""
    body = b'{"a":1}\n{"b":2}\n'
    first, again, other = (
        Client().send(request(body=body, headers={"Idempotency-Key": key})).deliveries[0].ids for key in ("k1", "k1", "k2")
    )
    assert first == again
    assert {*first}.isdisjoint(other)
    assert all(re.fullmatch(rb"[A-Za-z0-9_-]{22}-[01]", identity) for identity in first)
    assert Client().send(request(body=body)).deliveries[0].ids is None


BASIC = base64.b64encode(b"ada:love:lace").decode()
DOORS = {
    "basic": config(user="ada", password=Secret("love:lace")),
    "token": config(token=Secret("t0ken")),
    "both": config(user="ada", password=Secret("love:lace"), token=Secret("t0ken")),
}


@pytest.mark.parametrize(
    ("door", "proof", "status"),
    [
        ("basic", f"Basic {BASIC}", 200),
        ("basic", f"basic  {BASIC.rstrip('=')}", 200),
        ("basic", "Bearer t0ken", 401),
        ("basic", "Basic " + base64.b64encode(b"ada:").decode(), 401),
        ("basic", "Basic \u00fc", 401),
        ("basic", None, 401),
        ("token", "Bearer t0ken", 200),
        ("token", "ApiKey t0ken", 200),
        ("token", "Bearer t0ke", 401),
        ("token", "Bearer", 401),
        ("token", f"Basic {BASIC}", 401),
        ("both", "Bearer t0ken", 200),
        ("both", f"Basic {BASIC}", 200),
        ("both", "", 401),
    ],
)
def test_only_clients_with_the_right_proof_come_in(door: str, proof: str | None, status: int) -> None:
    """401 says which proofs are known; nothing of the request is taken, on no path."""
    headers = {} if proof is None else {"Authorization": proof}
    for path, body in (("/", b'{"a":1}\n'), ("/_bulk", b'{"create":{"_index":"x"}}\n{}\n')):
        client = Client(DOORS[door]).send(request(path=path, body=body, headers=headers).replace("\u00fc".encode(), b"\xfc"))
        assert client.reply[0] == status
        assert bool(client.rows) == (status == 200)
        assert ("www-authenticate" in client.reply[1]) == (status == 401)
    assert Client(DOORS[door]).send(request("GET", headers=headers).replace("\u00fc".encode(), b"\xfc")).reply[0] == status
    assert Client(DOORS[door]).send(request("GET", "/health")).reply[0] == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "ada"},
        {"password": Secret("x")},
        {"user": "a:b", "password": Secret("x")},
        {"path": "logs"},
        {"path": "/logs?x"},
        {"listen": [Endpoint("udp:127.0.0.1:9200")]},
    ],
)
def test_settings_that_leave_the_door_open_or_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    """A user without a password would let everybody in (CVE-2025-12969 is of that kind)."""
    with pytest.raises(ComponentError):
        config(**wrong)


def test_requests_that_are_not_whole_in_time_are_answered_with_408() -> None:
    """The time counts from the first byte, and does not begin anew with each one."""
    for pieces in ([b"POST / HT"], [request(body=b'{"a":1}')[:-1]]):
        client = Client(config(timeout=Duration(10)))
        client.send(*pieces, now=3.0).send(b"", now=9.0)
        assert client.machine.deadline() == 13.0
        client.carry(client.machine.expire(12.9))
        assert client.sent == b""
        client.carry(client.machine.expire(13.0), 13.0)
        assert client.reply[0] == 408
        assert client.notes == [("slow", {"peer": "192.0.2.1:5", "status": 408})]


def test_idle_connections_end_silently_and_waiting_ones_do_not() -> None:
    """A client that waits for its answer is never given up."""
    client = Client(config(idle=Duration(100)), held=True)
    assert client.machine.deadline() == 60.0
    client.send(request(body=b'{"a":1}'), now=5.0)
    assert client.machine.deadline() is None
    assert client.machine.expire(1e9) == ()
    client.settle(50.0)
    assert client.machine.deadline() == 150.0
    client.carry(client.machine.expire(150.0))
    assert client.closed
    assert len(client.replies) == 1


def test_pipelined_requests_beyond_the_limit_are_left_and_the_connection_ends() -> None:
    """The answer that is due is sent first; what was not read was not answered."""
    client = Client(held=True).send(request(body=b'{"a":1}'), *[b"x" * 100_000] * 20)
    client.settle()
    assert client.reply[0] == 200
    assert client.reply[1]["connection"] == "close"
    assert client.closed
    assert client.notes == [("too_large", {"peer": "192.0.2.1:5"})]
    assert AHEAD_MAX < 2_000_000


def test_a_client_that_sends_no_more_still_gets_its_answer() -> None:
    """Half-closed connections are answered, then ended; an unfinished request is noted."""
    client = Client(held=True).send(request(body=b'{"a":1}'))
    client.carry(client.machine.ended(1.0))
    assert not client.closed
    client.settle()
    assert client.reply[0] == 200
    assert client.closed
    cut = Client().send(request(body=b'{"a":1}')[:-1])
    cut.carry(cut.machine.ended(1.0))
    assert cut.closed
    assert cut.notes[0][0] == "cut_off"
    idle = Client()
    idle.carry(idle.machine.ended(1.0))
    assert idle.closed


def test_records_may_have_a_path_of_their_own() -> None:
    """The root then only says who is there."""
    own = config(path="/logs/in")
    assert Client(own).send(request(path="/logs/in", body=b'{"a":1}')).reply[0] == 200
    assert Client(own).send(request(path="/logs%2Fin/?x=1", body=b'{"a":1}')).reply[0] == 200
    assert Client(own).send(request(body=b'{"a":1}')).reply[0] == 405
    assert Client(own).send(request("GET", "/logs/in")).reply[0] == 405
    assert Client(own).send(request("GET")).reply[0] == 200


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([script for script, _ in SCRIPTS.values()]),
            st.sampled_from(
                [
                    b"\r\n",
                    b"\r\n\r\n",
                    b"POST /_bulk HTTP/1.1\r\n",
                    b"Content-Length: 3\r\n",
                    b'{"create":{}}\n',
                    b"GET / HTTP/1.1\r\n",
                ]
            ),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_nothing_that_a_peer_sends_raises(pieces: list[bytes], ends: bool) -> None:
    """Whatever comes: replies, notes and an end."""
    client = Client().send(*pieces)
    if ends and not client.closed:
        client.carry(client.machine.ended(1.0))
    elif not client.closed and (deadline := client.machine.deadline()) is not None:
        client.carry(client.machine.expire(deadline), deadline)
    for row in client.rows:
        row.decode()
        assert b"\n" not in row
