"""The listener with real sockets: what is told to whom and when, backpressure, bounds, unix files, ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from shipper.config.fields import Endpoint
from shipper.edge import carrier, listener, streams
from shipper.edge.listener import Listener
from shipper.source.forward import Forward
from shipper.source.push import ListenConfig
from tests.edge.listening import Source, World, run, settled, until
from tests.source.forward_peer import T, forward, pack

LOOPBACK = "127.0.0.1:0"


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_sender_is_told_after_its_record_is_durable_and_not_before(kind: str, tmp_path: Path) -> None:
    """Whatever the transport; deliveries of one connection are answered in any order."""
    world = World([LOOPBACK if kind == "tcp" else f"unix:{tmp_path}/a.sock"], answering=False)

    async def script(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"one\ntwo\n")
        await until(lambda: len(world.waiting) == 2)
        world.waiting.reverse()
        world.answer()
        assert await reader.readexactly(10) == b"ok 1\nok 0\n"
        writer.close()

    run(world, script)
    assert world.rows == [b"one", b"two"]
    assert world.notes == []


def test_a_taker_that_answers_at_once_changes_no_order() -> None:
    """What an answer causes comes after the commands that were there before."""
    world = World([LOOPBACK], Source(chain=3))

    async def script(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"one\nflood 3\ntwo\n")
        expected = b"\0\0\0ok 0\nok 1\nok 1002\nok 1001\nok 1000\n"
        assert await reader.readexactly(len(expected)) == expected
        writer.close()

    run(world, script)
    assert world.rows == [b"one", b"two", b"further", b"further", b"further"]


def test_a_refused_record_is_told_as_such() -> None:
    """The sender has to keep it."""
    world = World([LOOPBACK], answering=False)

    async def script(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"one\n")
        await until(lambda: len(world.waiting) == 1)
        world.answer(durable=False)
        assert await reader.readline() == b"no 0\n"
        writer.close()

    run(world, script)


def test_a_sender_that_closed_for_writing_still_gets_its_answers() -> None:
    """And then the end."""
    world = World([LOOPBACK], answering=False)

    async def script(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"one\nrest")
        writer.write_eof()
        await until(lambda: len(world.waiting) == 2)
        world.answer()
        assert await reader.read() == b"ok 0\nok 1\n"
        await until(lambda: world.listener.connections == 0)
        writer.close()

    run(world, script)
    assert world.rows == [b"one", b"rest"]


def test_a_machine_goes_on_after_its_sender_is_gone() -> None:
    """What came whole is delivered, part by part; then it is forgotten."""
    world = World([LOOPBACK], Source(chain=5), answering=False)

    async def script(world: World) -> None:
        _, writer = await world.connect()
        writer.write(b"one\n")
        await until(lambda: len(world.waiting) == 1)
        writer.transport.abort()
        await until(lambda: bool(world.source.ended))
        for _ in range(6):
            world.answer()
        await until(lambda: world.listener.connections == 0)

    run(world, script)
    assert world.rows == [b"one", *[b"further"] * 5]
    assert len(world.source.ended) == 1


def test_the_last_words_reach_a_peer_that_is_still_sending() -> None:
    """Closing at once would have the kernel reset the connection, and the words with it."""
    world = World([LOOPBACK])

    async def script(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"bye\n" + b"x" * (4 << 20))
        await writer.drain()
        assert await reader.read() == b"farewell\n"
        writer.close()
        await until(lambda: world.listener.connections == 0)

    run(world, script)
    assert world.rows == []


def test_a_peer_that_does_not_go_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """We ended the connection, it did not."""
    monkeypatch.setattr(streams, "LINGER_S", 0.05)
    world = World([LOOPBACK])

    async def script(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"bye\n")
        assert await reader.read() == b"farewell\n"
        await until(lambda: world.listener.connections == 0)
        writer.close()

    run(world, script)


def test_a_peer_that_never_reads_is_held_and_then_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read any more once its answers pile up."""
    monkeypatch.setattr(streams, "STALL_S", 0.2)
    world = World([LOOPBACK])

    async def script(world: World) -> None:
        _, writer = await world.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"flood 9000000\n" * 3)
        await until(lambda: len(world.source.machines) == 1)
        writer.write(b"one\n" * 1000)
        await until(lambda: "slow" in world.kinds)
        await until(lambda: world.listener.connections == 0)

    run(world, script)
    assert world.notes[0][1]["reason"] == "the peer does not read"


def test_nothing_is_read_while_the_taker_is_full() -> None:
    """Neither from connections that are open nor from those that come; all of it afterwards."""
    world = World([LOOPBACK])

    async def script(world: World) -> None:
        first, second = await world.connect(), None
        await until(lambda: world.listener.connections == 1)
        world.listener.pause()
        first[1].write(b"one\n")
        second = await world.connect()
        second[1].write(b"two\n")
        await settled(lambda: len(world.deliveries))
        assert world.rows == []
        world.listener.resume()
        assert await first[0].readline() == b"ok 0\n"
        assert await second[0].readline() == b"ok 0\n"
        first[1].close()
        second[1].close()

    run(world, script)
    assert sorted(world.rows) == [b"one", b"two"]


def test_a_connection_with_much_unanswered_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few reads at most beyond the bound; the sender's bytes wait in its own buffers, and nothing is lost."""
    monkeypatch.setattr(carrier, "OPEN_BYTES", 1 << 16)
    world = World([LOOPBACK], answering=False)
    line = b"x" * 1023 + b"\n"

    async def script(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(line * 20_000)
        await until(lambda: bool(world.waiting))
        await settled(lambda: len(world.deliveries))
        assert sum(map(len, world.rows)) <= (1 << 16) + (1 << 18)
        while len(world.deliveries) < 20_000:
            world.answer()
            await asyncio.sleep(0)
        world.answer()
        writer.close()
        assert reader is not None

    run(world, script)
    assert world.rows == [line[:-1]] * 20_000


def test_all_connections_together_hold_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond, nobody is read; from half of it on again."""
    monkeypatch.setattr(listener, "HELD_BYTES", 10_000)
    world = World([LOOPBACK], answering=False)

    async def script(world: World) -> None:
        peers = [await world.connect() for _ in range(4)]
        peers[0][1].write(b"x" * 10_000 + b"\n")
        await until(lambda: world.listener.paused)
        for _, writer in peers[1:]:
            writer.write(b"y\n")
        await settled(lambda: len(world.deliveries))
        assert len(world.deliveries) == 1
        world.answer()
        await until(lambda: len(world.deliveries) == 4)
        world.answer()
        for _, writer in peers:
            writer.close()

    run(world, script)


def test_a_deadline_is_kept_and_time_that_we_do_not_read_is_not_counted() -> None:
    """No peer is too slow for what we left in its hands."""
    world = World([LOOPBACK])

    async def script(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"slow")
        await until(lambda: bool(world.source.machines) and world.source.machines[0].due is not None)
        world.listener.pause()
        await asyncio.sleep(1.3)
        assert world.notes == []
        world.listener.resume()
        assert await reader.read() == b""
        writer.close()

    run(world, script)
    assert world.kinds == ["slow"]
    assert str(world.notes[0][1]["peer"]).startswith("127.0.0.1:")


def test_connections_beyond_the_limit_are_closed_and_noted() -> None:
    """Those that are open go on, and a place that is free is given again."""
    world = World([LOOPBACK], max_connections=2)

    async def script(world: World) -> None:
        peers = [await world.connect() for _ in range(2)]
        await until(lambda: world.listener.connections == 2)
        reader, writer = await world.connect()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        peers[0][1].write(b"one\n")
        assert await peers[0][0].readline() == b"ok 0\n"
        peers[0][1].close()
        await until(lambda: world.listener.connections == 1)
        again, other = await world.connect()
        other.write(b"two\n")
        assert await again.readline() == b"ok 0\n"
        other.close()
        peers[1][1].close()

    run(world, script)
    assert [(kind, fields["reason"]) for kind, fields in world.notes] == [("refused", "max_connections")]


def test_the_listener_that_closes_lets_open_deliveries_be_answered() -> None:
    """Nobody can connect any more; who waits for an answer gets it, and then the end."""
    world = World([LOOPBACK], answering=False)

    async def scene() -> None:
        await world.listener.open()
        address = Endpoint(world.listener.addresses[0]).address
        reader, writer = await world.connect()
        writer.write(b"one\nrest")
        await until(lambda: len(world.waiting) == 1)
        closing = asyncio.create_task(world.listener.close())
        await until(lambda: len(world.waiting) == 2)
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection(address.host, address.port)
        writer.write(b"too late\n")
        world.answer()
        assert await reader.read() == b"ok 0\nok 1\n"
        writer.close()
        await closing
        await world.listener.close()

    asyncio.run(scene())
    assert world.rows == [b"one", b"rest"]
    assert world.notes == []


def test_what_is_not_answered_in_time_is_given_up_and_noted() -> None:
    """An answer that comes later is nobody's."""
    world = World([LOOPBACK], answering=False)

    async def script(world: World) -> None:
        _, writer = await world.connect()
        writer.write(b"one\ntwo\n")
        await until(lambda: len(world.waiting) == 2)
        await world.listener.close(grace=0.01)
        world.answer()
        writer.close()

    run(world, script)
    assert world.notes == [("abandoned", {"deliveries": 2})]


def test_a_heartbeat_by_udp_is_answered_by_one_byte() -> None:
    """As Fluentd does; the records come by TCP, and both ports may be one."""
    world = World([LOOPBACK, "udp:127.0.0.1:0"], forward(), answering=True)

    async def script(world: World) -> None:
        address = Endpoint(world.listener.addresses[1]).address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((address.host, address.port))
            sender.setblocking(False)
            sender.send(b"\0")
            assert await asyncio.get_running_loop().sock_recv(sender, 100) == b"\0"
        reader, writer = await world.connect()
        writer.write(pack(["t", T, {"a": 1}, {"chunk": "c"}]))
        assert await reader.readexactly(7) == pack({"ack": "c"})
        writer.close()

    run(world, script)
    assert world.rows == [b'{"a":1}']


def test_a_listener_takes_the_settings_of_a_source() -> None:
    """`Forward.Config` is a `ListenConfig`."""
    config = Forward.Config(listen=[Endpoint(LOOPBACK)])
    assert isinstance(config, ListenConfig)

    async def scene() -> None:
        opened = Listener(config, Forward(config), lambda _delivery, _answer: None, lambda _kind, _fields: None)
        await opened.open()
        assert opened.addresses[0].startswith("127.0.0.1:")
        await opened.close()

    asyncio.run(scene())
