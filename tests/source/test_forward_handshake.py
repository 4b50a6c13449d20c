"""The forward protocol's handshake, its deadlines, and its settings."""

from __future__ import annotations

import pytest

from shipper.config.fields import FilePath, Secret
from shipper.model.errors import ComponentError
from shipper.source import forward_connection
from shipper.source.forward import Forward, Heartbeats, User
from shipper.source.push import Send
from tests.source.forward_peer import Peer, T, counted, digest, forward, pack, ping

KEY = "gemeinsam"
USERS = [User(name="alice", password=Secret("wonder")), User(name="bob", password=Secret("builder"))]


def test_a_sender_that_knows_the_key_is_let_in_and_may_check_us() -> None:
    """HELO, PING, PONG, then records; the salt need not be UTF-8."""
    peer = Peer(forward(shared_key=KEY, self_hostname="gate"))
    (helo,) = peer.heard
    assert helo == ["HELO", {"nonce": counted(16), "auth": b"", "keepalive": True}]
    peer.send(ping(helo, KEY, salt="salz"))
    assert peer.heard[1] == ["PONG", True, "", "gate", digest("salz", "gate", counted(16), KEY)]
    peer.send(pack(["t", T, {"a": 1}, {"chunk": "c"}]))
    assert peer.rows == [b'{"a":1}']
    assert peer.heard[2] == {"ack": "c"}
    assert peer.notes == []


def test_a_handshake_cut_at_any_place_is_the_same() -> None:
    """Records that are sent behind the PING without waiting are taken after the PONG."""
    source = forward(shared_key=KEY, users=USERS)
    (helo,) = Peer(source).heard
    data = ping(helo, KEY, "bob", "builder") + pack(["t", T, {"a": 1}])
    for place in range(len(data) + 1):
        peer = Peer(source).send(data[:place], data[place:])
        assert [one[1] for one in peer.heard[1:]] == [True]
        assert peer.rows == [b'{"a":1}']


@pytest.mark.parametrize(
    ("key", "user", "password", "reason"),
    [
        ("falsch", "alice", "wonder", "shared_key mismatch"), ("", "alice", "wonder", "shared_key mismatch"),
        (KEY, "alice", "builder", "username/password mismatch"), (KEY, "mallory", "", "username/password mismatch"),
        (KEY, "", "", "username/password mismatch"), ("falsch", "mallory", "x", "shared_key mismatch"),
    ],
)  # fmt: skip
def test_a_sender_that_does_not_know_is_refused_and_nothing_of_it_is_taken(
    key: str, user: str, password: str, reason: str
) -> None:
    """It is told why, as Fluentd does, without a digest it could learn from; then the connection ends."""
    peer = Peer(forward(shared_key=KEY, users=USERS))
    peer.send(ping(peer.heard[0], key, user, password) + pack(["t", T, {"a": 1}, {"chunk": "c"}])).end()
    assert peer.heard[1:] == [["PONG", False, reason, "", ""]]
    assert (peer.rows, peer.notes, peer.closed) == ([], [("refused", {"reason": reason})], reason)


@pytest.mark.parametrize(
    "data",
    [
        pack(["t", T, {"a": 1}]), pack(["PING", "a", "b", "c", "d"]), pack(["PING", "a", "b", 5, "", ""]), b"\xc1", b"\x05",
        pack(["PONG", "a", "b", "c", "d", "e"]), b"\xc6\x00\x10\x00\x00" + bytes(5000), pack(["PING", "a" * 5000, "", "", "", ""]),
    ],
)  # fmt: skip
def test_with_a_key_no_record_is_taken_before_pong(data: bytes) -> None:
    """Nothing but a PING is understood, and little is buffered."""
    peer = Peer(forward(shared_key=KEY)).send(data + pack(["t", T, {"a": 1}])).end()
    assert peer.rows == []
    assert len(peer.heard) == 1
    assert peer.kinds == ["refused"]
    assert peer.closed


def test_a_proof_is_worth_nothing_on_another_connection() -> None:
    """Each has a nonce of its own."""
    source = forward(shared_key=KEY)
    heard = Peer(source).heard[0]
    peer = Peer(source)
    peer.machine = source.connection("127.0.0.1:1", lambda count: bytes(count), 0.0)
    peer.carry(peer.machine.received(b"", 0.0))
    assert peer.send(ping(heard, KEY)).heard[-1] == ["PONG", False, "shared_key mismatch", "", ""]


def test_a_sender_that_does_not_shake_hands_is_given_up_in_time() -> None:
    """Ten seconds after it came, however busily it sends single bytes."""
    peer = Peer(forward(shared_key=KEY))
    assert peer.machine.deadline() == forward_connection.HANDSHAKE_S
    for _ in range(9):
        peer.wait(1)
        peer.send(b"\x96"[: peer.now == 1])
    assert peer.closed is None
    peer.wait(1)
    assert (peer.kinds, peer.machine.deadline()) == (["slow"], None)


def test_users_are_told_apart_from_keys_by_the_salt_in_helo() -> None:
    """With users there is one, and another each time."""
    peer = Peer(forward(shared_key=KEY, users=USERS))
    assert len(peer.heard[0][1]["auth"]) == 16
    assert peer.send(ping(peer.heard[0], KEY, "alice", "wonder")).heard[1][1] is True


def test_a_message_that_stops_halfway_is_given_up_in_time() -> None:
    """A pause of a minute within a message; between messages a sender may be silent for ever."""
    peer = Peer().send(pack(["t", T, {}]))
    assert peer.machine.deadline() is None
    peer.wait(1000)
    peer.send(b"\x93\xa1t")
    assert peer.machine.deadline() == 1000 + forward_connection.PAUSE_S
    peer.wait(59)
    peer.send(b"\xcd")
    peer.wait(59)
    assert peer.closed is None
    peer.wait(1)
    assert peer.kinds == ["slow"]
    assert peer.closed


def test_a_message_that_comes_too_slowly_as_a_whole_is_given_up() -> None:
    """A byte now and then holds a place only so long; whole messages in between begin the time anew."""
    peer = Peer()
    for _ in range(30):
        peer.wait(50)
        peer.send(b"\xa1t\x01\x80\x93" if peer.now > 50 else b"\x93")
    assert peer.closed is None
    while peer.closed is None:
        peer.wait(50)
        peer.send(b"")
        peer.machine.received(b"", peer.now)
        if peer.now > 1500 + forward_connection.MESSAGE_S:
            break
    assert peer.kinds == ["slow"]


def test_nobody_is_slow_while_we_are_waited_for() -> None:
    """As long as a delivery is unanswered there is no deadline."""
    peer = Peer(answering=False).send(pack(["t", T, {}]) + b"\x93")
    assert peer.machine.deadline() is None
    peer.now = 500.0
    peer.answer()
    assert peer.machine.deadline() == 500 + forward_connection.PAUSE_S


def test_without_keepalive_the_connection_ends_when_all_is_answered() -> None:
    """Not before, and not within a message."""
    peer = Peer(forward(keepalive=False, shared_key=KEY), answering=False)
    assert peer.heard[0][1]["keepalive"] is False
    peer.send(ping(peer.heard[0], KEY))
    assert peer.closed is None
    peer.send(pack(["t", T, {}, {"chunk": "c"}]) + b"\x93")
    peer.answer()
    assert peer.closed is None
    peer.send(pack("t", T, {}))
    peer.answer()
    assert peer.closed == ""
    assert peer.heard[-1] == {"ack": "c"}


REFUSED = {
    "users": {"users": USERS},
    "shared_key": {"shared_key": ""},
    "users ": {"shared_key": KEY, "users": []},
    "users  ": {"shared_key": KEY, "users": [USERS[0], USERS[0]]},
    "users.1": {"shared_key": KEY, "users": [USERS[0], User(name="", password=Secret("x"))]},
    "users.0": {"shared_key": KEY, "users": [User(name="x", password=Secret(""))]},
    "tls_client_ca": {"tls_client_ca": FilePath("/ca.pem")},
    "tls_key": {"tls_key": FilePath("/key.pem")},
    "tls_certificate": {"tls_certificate": FilePath("/a.pem"), "listen": ["unix:/run/a.sock"]},
    "listen": {"listen": []},
    "listen ": {"listen": ["udp:127.0.0.1:24224"]},
    "listen  ": {"listen": ["unixgram:/run/a.sock", "127.0.0.1:24224"]},
    "listen   ": {"listen": ["127.0.0.1:24224", "127.0.0.1:24224"]},
    "self_hostname": {"self_hostname": ""},
    "max_message": {"max_message": 10},
    "max_expanded": {"max_expanded": 1 << 40},
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_contradict_each_other_are_refused(name: str) -> None:
    """With the setting that is to blame; no secret is in the message (CVE-2025-12969 was users without a key)."""
    with pytest.raises(ComponentError) as caught:
        forward(**REFUSED[name])
    assert caught.value.field == name.strip()
    assert KEY not in caught.value.message


def test_the_settings_without_any_listen_on_loopback() -> None:
    """At the protocol's port."""
    assert Forward.Config().listen == ["127.0.0.1:24224"]


def test_a_datagram_is_answered_by_one_byte() -> None:
    """Whatever it holds; nothing is taken from it."""
    machine = forward(shared_key=KEY).connection("udp:127.0.0.1:24224", counted, 0.0)
    assert isinstance(machine, Heartbeats)
    assert machine.received(b"", 0.0) == []
    for data in (b"\0", pack(["t", T, {"a": 1}]), b"x" * 1000):
        assert machine.received(data, 1.0) == [Send(b"\0")]
    assert (machine.deadline(), machine.expire(2.0), machine.ended(3.0)) == (None, [], [])
