"""The forward protocol with the official clients of its ecosystem: what they send arrives, and they hear what they wait for."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.config.fields import Endpoint, FilePath, Secret
from shipper.source.forward import Forward, User
from shipper.source.push import Delivery
from tests.edge.listening import Authority, World

pytest_plugins = ("tests.real.clients.toolchains",)
pytestmark = pytest.mark.real
KEY = "gemeinsam"
COUNT = 300
PATIENCE_S = 120.0


class Reluctant(World):
    """Refuses the first delivery, as a spool that is out of order for a moment."""

    refused = 0

    def take(self, delivery: Delivery, answer: Callable[[bool], None]) -> None:
        """Refuse, or take."""
        if self.refused:
            super().take(delivery, answer)
        else:
            self.refused = len(delivery.rows)
            answer(False)


def world(listen: list[str], *, answering: bool = True, kind: type[World] = World, **settings: Any) -> World:
    """A listener for forward."""
    files = {name: value for name, value in settings.items() if name.startswith("tls_")}
    source = Forward(Forward.Config(listen=[Endpoint(one) for one in listen], **settings))
    return kind(listen, source, answering=answering, **files)


def talk(
    there: World,
    client: str,
    options: Callable[[str, int], dict[str, Any]],
    environment: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Run a client against a listener; `options(host, port)` are for its constructor. Return what it says."""
    from tests.real.clients import toolchains  # it is a plugin: pytest wants to import it first

    command = toolchains.ready(toolchains.PROGRAMS[client])

    async def scene() -> dict[str, Any]:
        await there.listener.open()
        try:
            endpoint = Endpoint(there.listener.addresses[0])
            host, port = ("", 0) if endpoint.path else (endpoint.address.host, endpoint.address.port)
            said = json.dumps({"count": COUNT, "options": options(host, port), **more})
            async with asyncio.timeout(PATIENCE_S):
                process = await asyncio.create_subprocess_exec(
                    *command, said, stdout=asyncio.subprocess.PIPE, env={**os.environ, **(environment or {})}
                )
                heard, _ = await process.communicate()
                there.answer(durable=False)
                while there.listener.connections:
                    await asyncio.sleep(0.01)
            found: dict[str, Any] = json.loads(heard)
            return found
        finally:
            await there.listener.close()

    return asyncio.run(scene())


def check(there: World, tag: str, *, chunks: bool, padding: int = 1) -> None:
    """Every record came once, with its tag and a time; with an identity of its own where there were chunks."""
    records = [json.loads(row) for row in there.rows]
    expected = {"text": "größer" * padding, "list": [1, None, True], "deep": {"x": 1.5}}
    assert sorted(record["n"] for record in records) == list(range(COUNT))
    assert all({**record, "n": 0} == {"n": 0, **expected} for record in records)
    assert {name for delivery in there.deliveries for name in delivery.tags or []} == {tag}
    assert all(time.startswith("20") and time.endswith("Z") for delivery in there.deliveries for time in delivery.times or [])
    identities = [one for delivery in there.deliveries for one in delivery.ids or []]
    assert len(set(identities)) == len(identities) == (COUNT if chunks else 0)
    assert there.notes == []


def node(mode: str, **more: Any) -> Callable[[str, int], dict[str, Any]]:
    """Options of the Node client."""
    return lambda host, port: {"eventMode": mode, "socket": {"host": host, "port": port, **more.pop("socket", {})}, **more}


@pytest.mark.parametrize("acknowledged", [True, False], ids=["acknowledged", "unacknowledged"])
@pytest.mark.parametrize("mode", ["Message", "Forward", "PackedForward", "CompressedPackedForward"])
@pytest.mark.parametrize("client", ["node"])
def test_node_delivers_in_every_mode(client: str, mode: str, acknowledged: bool) -> None:
    """With acknowledgement each promise is kept only after it."""
    there = world(["127.0.0.1:0"])
    more = {"ack": {"ackTimeout": 60_000}} if acknowledged else {}
    said = talk(there, client, node(mode, **more), padding=50)
    assert said == {"accepted": COUNT, "errors": []}
    check(there, "node.app", chunks=acknowledged, padding=50)


@pytest.mark.parametrize("client", ["node"])
def test_node_hears_no_acknowledgement_of_what_is_not_durable(client: str) -> None:
    """It gives up waiting, and nothing counts as accepted."""
    there = world(["127.0.0.1:0"], answering=False)
    said = talk(there, client, node("PackedForward", ack={"ackTimeout": 300}), padding=1)
    assert said["accepted"] == 0
    assert said["errors"]
    assert there.rows


@pytest.mark.parametrize(
    ("key", "user", "password"), [(KEY, "alice", "wonder"), ("falsch", "alice", "wonder"), (KEY, "alice", "falsch")]
)
@pytest.mark.parametrize("client", ["node"])
def test_node_is_let_in_with_the_right_key_and_user_only(client: str, key: str, user: str, password: str) -> None:
    """Otherwise nothing of it is taken."""
    users = [User(name="alice", password=Secret("wonder"))]
    there = world(["127.0.0.1:0"], shared_key=Secret(KEY), users=users, self_hostname="gate")
    security = {"clientHostname": "sender", "sharedKey": key, "username": user, "password": password}
    options = node("PackedForward", ack={"ackTimeout": 5000}, security=security, socket={"disableReconnect": True})
    said = talk(there, client, options, padding=1)
    if (key, password) == (KEY, "wonder"):
        assert said == {"accepted": COUNT, "errors": []}
        check(there, "node.app", chunks=True)
    else:
        assert said["accepted"] == 0
        assert there.rows == []
        assert "refused" in there.kinds


@pytest.mark.parametrize("client", ["node"])
def test_node_delivers_by_unix_socket(client: str, tmp_path: Path) -> None:
    """A stream like another."""
    there = world([f"unix:{tmp_path}/f.sock"])
    said = talk(
        there,
        client,
        lambda _host, _port: {"eventMode": "Forward", "socket": {"path": f"{tmp_path}/f.sock"}, "ack": {}},
        padding=1,
    )
    assert said == {"accepted": COUNT, "errors": []}
    check(there, "node.app", chunks=True)


@pytest.mark.parametrize("client", ["node", "go"])
def test_records_arrive_behind_tls_and_are_acknowledged(client: str, tmp_path: Path) -> None:
    """The client checks our certificate."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    there = world(["127.0.0.1:0"], tls_certificate=certificate, tls_key=key)
    options = {
        "node": node("CompressedPackedForward", ack={}, socket={"tls": {"ca": authority.path("ca.pem")}}),
        "go": lambda host, port: {
            "fluent_network": "tls",
            "fluent_host": host,
            "fluent_port": port,
            "request_ack": True,
            "tag_prefix": "go",
        },
    }[client]
    said = talk(
        there,
        client,
        options,
        {"SSL_CERT_FILE": FilePath(authority.path("ca.pem"))},
        **({"padding": 1} if client == "node" else {}),
    )
    assert said == {"accepted": COUNT, "errors": []}
    check(there, f"{client}.app", chunks=True)


@pytest.mark.parametrize("acknowledged", [True, False], ids=["acknowledged", "unacknowledged"])
@pytest.mark.parametrize("precise", [True, False], ids=["nanoseconds", "seconds"])
@pytest.mark.parametrize("client", ["go"])
def test_go_delivers_with_and_without_acknowledgement(client: str, precise: bool, acknowledged: bool) -> None:
    """Its times have nanoseconds where it is told to send them."""
    there = world(["127.0.0.1:0"])
    said = talk(
        there,
        client,
        lambda host, port: {
            "fluent_host": host, "fluent_port": port, "request_ack": acknowledged, "sub_second_precision": precise, "tag_prefix": "go",
        },
    )  # fmt: skip
    assert said == {"accepted": COUNT, "errors": []}
    check(there, "go.app", chunks=acknowledged)
    assert {time for delivery in there.deliveries for time in delivery.times or []} == {
        "2026-02-05T14:30:45.123456789Z" if precise else "2026-02-05T14:30:45Z"
    }


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("client", ["python"])
def test_python_delivers_without_acknowledgement(client: str, transport: str, tmp_path: Path) -> None:
    """It knows none; its nanoseconds are those of a float."""
    there = world(["127.0.0.1:0" if transport == "tcp" else f"unix:{tmp_path}/f.sock"])
    said = talk(
        there,
        client,
        lambda host, port: {"host": host or f"unix://{tmp_path}/f.sock", "port": port, "nanosecond_precision": True},
    )
    assert said == {"accepted": COUNT, "errors": []}
    check(there, "python.app", chunks=False)
    assert {time for delivery in there.deliveries for time in delivery.times or []} == {"2026-02-05T14:30:45.500000000Z"}
