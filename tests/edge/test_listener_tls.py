"""The listener behind TLS: versions, certificates of clients, files that change, files that are of no use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from shipper.config.fields import FilePath
from shipper.edge import listener
from shipper.model.errors import HostError
from tests.edge.listening import Authority, World, run, until


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority with the certificates `server`, `client` and `other`."""
    made = Authority(tmp_path_factory.mktemp("tls"))
    for name in ("server", "client", "other"):
        made.issue(name)
    return made


def client(authority: Authority, certificate: str = "") -> ssl.SSLContext:
    """A client that trusts the authority, and has a certificate perhaps."""
    context = ssl.create_default_context(cafile=authority.path("ca.pem"))
    if certificate:
        context.load_cert_chain(authority.path(f"{certificate}.pem"), authority.path(f"{certificate}.key"))
    return context


def served(authority: Authority, **more: Any) -> World:
    """A listener with the server's certificate."""
    files = {"tls_certificate": authority.path("server.pem"), "tls_key": authority.path("server.key"), **more}
    return World(["127.0.0.1:0"], **files)


async def talk(world: World, context: ssl.SSLContext) -> bytes:
    """Send a record; return the answer, which is empty for a connection that ends."""
    try:
        reader, writer = await world.connect(ssl=context)
    except (OSError, ssl.SSLError):
        return b""
    try:
        writer.write(b"one\n")
        return await reader.readline()
    except (OSError, ssl.SSLError):
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


def test_a_record_comes_in_by_tls_and_is_answered(authority: Authority) -> None:
    """The client checks the certificate."""

    async def script(world: World) -> None:
        assert await talk(world, client(authority)) == b"ok 0\n"

    world = served(authority)
    run(world, script)
    assert world.rows == [b"one"]


def test_tls_before_1_2_is_refused(authority: Authority) -> None:
    """Even to a client that would be content with it."""
    old = client(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    async def script(world: World) -> None:
        assert await talk(world, old) == b""
        await until(lambda: world.kinds == ["tls"])

    run(served(authority), script)


def test_a_client_without_a_certificate_of_the_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    """None, and one of another authority; the right one is let in."""
    world = served(authority, tls_client_ca=authority.path("ca.pem"))
    stranger = Authority(tmp_path)
    certificate, key = stranger.issue("client")
    foreign = client(authority)
    foreign.load_cert_chain(certificate, key)

    async def script(world: World) -> None:
        assert await talk(world, client(authority)) == b""
        assert await talk(world, foreign) == b""
        assert await talk(world, client(authority, "client")) == b"ok 0\n"

    run(world, script)
    assert world.rows == [b"one"]
    assert world.kinds == ["tls", "tls"]


def test_a_client_that_does_not_speak_tls_is_noted(authority: Authority) -> None:
    """And gets nothing; its place is free again."""

    async def script(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"one\ntwo\nthree\nfour\n")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        await until(lambda: world.listener.connections == 0)

    world = served(authority)
    run(world, script)
    assert (world.kinds, world.rows) == (["tls"], [])


def test_a_handshake_that_does_not_begin_holds_a_place_only_so_long(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts among the connections, and is given up."""
    monkeypatch.setattr(listener, "TLS_HANDSHAKE_S", 0.2)

    async def script(world: World) -> None:
        _, writer = await world.connect()
        await until(lambda: world.listener.connections == 1)
        await until(lambda: world.listener.connections == 0)
        writer.close()

    world = served(authority)
    run(world, script)
    assert world.kinds == ["tls"]


def test_a_listener_may_be_closed_while_a_handshake_is_under_way(authority: Authority) -> None:
    """Nothing is left of it."""

    async def script(world: World) -> None:
        _, writer = await world.connect()
        await until(lambda: world.listener.connections == 1)
        await world.listener.close(grace=0.01)
        assert world.listener.connections == 0
        writer.close()

    run(served(authority), script)


def test_certificates_that_change_are_used_for_the_connections_that_come(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be used is noted, and the ones from before stay."""
    monkeypatch.setattr(listener, "CERTIFICATES_S", 0.02)
    certificate, key = FilePath(tmp_path / "now.pem"), FilePath(tmp_path / "now.key")

    def install(name: str) -> None:
        for place, ending in ((key, "key"), (certificate, "pem")):
            shutil.copy(authority.path(f"{name}.{ending}"), f"{place}.new")
            os.replace(f"{place}.new", place)

    async def subject(world: World) -> str:
        _, writer = await world.connect(ssl=client(authority))
        found = writer.get_extra_info("peercert")["subject"][0][0][1]
        writer.close()
        return str(found)

    async def script(world: World) -> None:
        assert await subject(world) == "server"
        install("other")
        await until(lambda: ("certificates", {"reason": "read anew"}) in world.notes)
        assert await subject(world) == "other"
        Path(certificate).write_text("no certificate")
        await until(lambda: "cannot be used for TLS" in str(world.notes[-1]))
        assert await subject(world) == "other"

    install("server")
    run(World(["127.0.0.1:0"], tls_certificate=certificate, tls_key=key), script)


@pytest.mark.parametrize("trouble", ["missing", "empty", "no key", "wrong key", "pass phrase", "no authority"])
def test_files_that_are_of_no_use_are_refused_with_their_names(trouble: str, authority: Authority, tmp_path: Path) -> None:
    """When the listener opens, not when the first client comes; nobody is asked for a pass phrase."""
    empty = FilePath(tmp_path / "empty.pem")
    Path(empty).touch()
    server, key = authority.path("server.pem"), authority.path("server.key")
    files: dict[str, Any] = {
        "missing": {"tls_certificate": FilePath(tmp_path / "none.pem"), "tls_key": key},
        "empty": {"tls_certificate": empty, "tls_key": key},
        "no key": {"tls_certificate": server},
        "wrong key": {"tls_certificate": server, "tls_key": authority.path("other.key")},
        "no authority": {"tls_certificate": server, "tls_key": key, "tls_client_ca": empty},
    }
    if trouble == "pass phrase":
        certificate, key = authority.issue("secret", phrase="abcd")
        files[trouble] = {"tls_certificate": certificate, "tls_key": key}
    world = World(["127.0.0.1:0"], **files[trouble])
    with pytest.raises(HostError) as caught:
        asyncio.run(world.listener.open())
    assert "cannot be used for TLS" in str(caught.value)
    assert all(path in str(caught.value) for path in files[trouble].values())


def test_unix_sockets_beside_tls_are_without_it(authority: Authority, tmp_path: Path) -> None:
    """The file's mode guards them."""
    world = World(
        ["127.0.0.1:0", f"unix:{tmp_path}/a.sock"],
        tls_certificate=authority.path("server.pem"),
        tls_key=authority.path("server.key"),
    )

    async def script(world: World) -> None:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(peer, f"{tmp_path}/a.sock")
            await loop.sock_sendall(peer, b"one\n")
            assert await loop.sock_recv(peer, 100) == b"ok 0\n"

    run(world, script)
