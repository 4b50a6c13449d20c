"""Sockets that listen: refused with what to do, unix files made and removed, datagrams read and counted."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from shipper.config.fields import Endpoint
from shipper.model.errors import HostError
from tests.edge.listening import World, run, settled, until

LOOPBACK = "127.0.0.1:0"


def refused(world: World) -> str:
    """What the listener says when it cannot open."""
    with pytest.raises(HostError) as caught:
        asyncio.run(world.listener.open())
    return str(caught.value)


def test_a_port_that_is_taken_is_refused_with_its_address() -> None:
    """And nothing else is left open."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        world = World([LOOPBACK, "udp:127.0.0.1:0", address])
        assert (
            refused(world)
            == f"{address}: cannot listen there: Address already in use\n    stop what listens there, or choose another `listen`"
        )
        assert world.listener.addresses == []


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("192.0.2.1:24224", "no such address"),
        ("unix:/nowhere/at/all.sock", "make the folder first"),
        ("unix:/" + "x" * 200, "too long"),
        ("udp:name.invalid:514", "cannot listen there"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused(listen: str, said: str) -> None:
    """With what to do about it."""
    message = refused(World([listen]))
    assert message.startswith(listen)
    assert said in message


def test_a_name_with_two_addresses_is_listened_at_on_those_there_are() -> None:
    """`localhost` is 127.0.0.1, and ::1 where the machine has it."""
    world = World(["localhost:0"])

    async def script(world: World) -> None:
        assert any(address.startswith("127.0.0.1:") for address in world.listener.addresses)
        for number in range(len(world.listener.addresses)):
            reader, writer = await world.connect(number)
            writer.write(b"one\n")
            assert await reader.readline() == b"ok 0\n"
            writer.close()

    run(world, script)


def test_a_unix_socket_is_for_owner_and_group_and_goes_with_us(tmp_path: Path) -> None:
    """A file left by a run that was killed is replaced."""
    place = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(place))
    world = World([f"unix:{place}"])

    async def script(_: World) -> None:
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o660

    run(world, script)
    assert not place.exists()


@pytest.mark.parametrize("kind", ["unix", "unixgram"])
def test_a_unix_socket_that_somebody_answers_at_is_left_alone(kind: str, tmp_path: Path) -> None:
    """The second agent is refused, the first goes on."""
    place = tmp_path / "a.sock"
    world, other = World([f"{kind}:{place}"]), World([f"{kind}:{place}"])

    async def script(_: World) -> None:
        with pytest.raises(HostError, match="already in use"):
            await other.listener.open()
        assert place.exists()

    run(world, script)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """It is somebody's."""
    place = tmp_path / "notes.txt"
    place.write_text("mine")
    assert "something else" in refused(World([f"unix:{place}"]))
    assert place.read_text() == "mine"


def test_a_socket_file_that_another_made_meanwhile_is_left_at_the_end(tmp_path: Path) -> None:
    """Only ours is removed."""
    place = tmp_path / "a.sock"
    world = World([f"unix:{place}"])

    async def script(_: World) -> None:
        place.unlink()
        place.write_text("another's")

    run(world, script)
    assert place.read_text() == "another's"


def test_datagrams_of_udp_and_unix_are_records(tmp_path: Path) -> None:
    """Each a whole one; over UDP its sender is answered."""
    world = World(["udp:127.0.0.1:0", f"unixgram:{tmp_path}/d.sock"])

    async def script(world: World) -> None:
        address = Endpoint(world.listener.addresses[0]).address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((address.host, address.port))
            sender.setblocking(False)
            sender.send(b"by udp")
            assert await asyncio.get_running_loop().sock_recv(sender, 100) == b"ok 0\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(f"{tmp_path}/d.sock")
            sender.send(b"by unix")
            sender.send(b"")
        await until(lambda: len(world.deliveries) == 2)

    run(world, script)
    assert world.rows == [b"by udp", b"by unix"]
    assert [machine.peer[:4] for machine in world.source.machines] == ["udp:", "unix"]
    assert not (tmp_path / "d.sock").exists()


def test_datagrams_wait_while_the_taker_is_full_and_drops_of_the_kernel_are_counted() -> None:
    """Linux tells with the next datagram how many it had no room for."""
    world = World(["udp:127.0.0.1:0"])
    sent = 20_000

    async def script(world: World) -> None:
        world.listener.pause()
        address = Endpoint(world.listener.addresses[0]).address
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((address.host, address.port))
            for _ in range(sent):
                sender.send(b"x" * 500)
            await settled(lambda: len(world.deliveries))
            assert world.deliveries == []
            world.listener.resume()
            await settled(lambda: len(world.deliveries))
            sender.send(b"last")
        await until(lambda: world.rows[-1] == b"last")

    run(world, script)
    dropped = sum(int(str(fields["datagrams"])) for kind, fields in world.notes if kind == "dropped")
    if sys.platform == "linux":
        assert dropped + len(world.rows) == sent + 1
