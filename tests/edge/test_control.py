"""The control address: what it answers a client, a clumsy one, a hostile one; a real agent asked while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from shipper import assembly
from shipper.agent import Agent, Options
from shipper.config.fields import Address
from shipper.edge import log
from shipper.edge.control import CONNECTIONS, TEXT, Control, Page
from shipper.edge.control_connection import HEAD_BYTES_MAX, IDLE_S, REQUEST_S, ControlConnection
from shipper.source.push import Close, Send
from tests.edge.listening import until
from tests.kit.fake_elastic import Server
from tests.kit.site import Site, log_lines, wait_until

LOOPBACK = Address("127.0.0.1:0")
RECORDS = [{"timestamp": "2026-02-05T14:30:45Z", "n": number, "password": "hunter2"} for number in range(50)]
GET = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client:
    """Plays a client and what carries the machine."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str]] = []
        self.machine = ControlConnection(self.answer, 0.0)
        self.sent = b""
        self.closed = False

    def answer(self, host: str | None, path: str) -> Page:
        self.asked.append((host, path))
        return Page(200, TEXT, b"fine\n")

    def carry(self, commands: Any) -> Client:
        for command in commands:
            assert not self.closed, command
            if isinstance(command, Send):
                self.sent += command.data
            else:
                assert isinstance(command, Close)
                self.closed = True
        return self

    def send(self, *pieces: bytes, now: float = 0.0) -> Client:
        for piece in pieces:
            self.carry(self.machine.received(piece, now))
        return self

    @property
    def statuses(self) -> list[int]:
        return [int(part.split(b" ", 1)[0]) for part in self.sent.split(b"HTTP/1.1 ")[1:]]


# --- One connection

SCRIPTS: dict[str, tuple[bytes, list[int], bool]] = {
    "get": (GET, [200], False),
    "two after each other": (GET, [200], False),
    "head": (b"HEAD /live HTTP/1.1\r\nHost: localhost\r\n\r\n", [200], False),
    "query": (b"GET /live?verbose=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", [200], False),
    "absolute": (b"GET http://localhost/live HTTP/1.1\r\nHost: localhost\r\n\r\n", [200], False),
    "no address": (b"GET http://[/live HTTP/1.1\r\nHost: localhost\r\n\r\n", [200], False),
    "old": (b"GET /live HTTP/1.0\r\n\r\n", [200], True),
    "asks to close": (b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [200], True),
    "no body, told": (b"GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", [200], False),
    "post": (b"POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab", [405], True),
    "delete": (b"DELETE /account HTTP/1.1\r\nHost: localhost\r\n\r\n", [405], True),
    "options": (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", [405], True),
    "connect": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", [405], True),
    "a body": (b"GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde", [400], True),
    "chunks": (b"GET /live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400], True),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", [400], True),
    "no host": (b"GET /live HTTP/1.1\r\n\r\n", [400], True),
    "smuggling": (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", [400], True),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_request_has_the_same_answer_cut_at_every_byte(name: str) -> None:
    """Whole, in two pieces at every place, and byte by byte; nothing but GET and HEAD is answered with 200."""
    script, statuses, closed = SCRIPTS[name]
    whole = Client().send(script)
    assert (whole.statuses, whole.closed) == (statuses, closed)
    pieces = [[script[:at], script[at:]] for at in range(1, len(script))]
    for cut in [*pieces, [script[at : at + 1] for at in range(len(script))]]:
        client = Client().send(*cut)
        assert (client.sent, client.closed, client.asked) == (whole.sent, whole.closed, whole.asked)


def test_an_answer_to_head_has_the_length_and_no_body() -> None:
    """As RFC 9110, 9.3.2 wants it."""
    sent = Client().send(SCRIPTS["head"][0]).sent
    assert b"Content-Length: 5\r\n" in sent and sent.endswith(b"\r\n\r\n")
    assert Client().send(GET).sent.endswith(b"\r\n\r\nfine\n")


def test_a_connection_serves_requests_one_after_the_other() -> None:
    """It is kept for the next one."""
    client = Client().send(GET, GET, GET)
    assert client.statuses == [200, 200, 200] and not client.closed


def test_requests_that_come_at_once_get_one_answer_and_the_end() -> None:
    """A client that sends thousands and reads nothing makes us hold one answer."""
    client = Client().send(GET * 1000)
    assert client.statuses == [200] and client.closed
    assert b"Connection: close" in client.sent
    assert client.machine.received(GET, 0.0) == ()


def test_a_head_that_is_too_large_is_refused() -> None:
    """431, and the connection ends."""
    lines = [
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        *[b"X-%d: %s\r\n" % (number, b"y" * 100) for number in range(HEAD_BYTES_MAX // 100)],
    ]
    client = Client().send(*lines)
    assert client.statuses == [431] and client.closed and client.asked == []


@given(st.integers(1, len(GET) - 1), st.floats(0.01, 5.0))
def test_a_client_that_drips_is_given_up_in_time_however_it_drips(bytes_sent: int, pause_s: float) -> None:
    """Slowloris: a byte more does not move the deadline, `REQUEST_S` after the first one."""
    client, now, first = Client(), 1.0, 1.0
    for at in range(bytes_sent):
        if now >= first + REQUEST_S:
            break
        client.send(GET[at : at + 1], now=now)
        assert client.machine.deadline() == first + REQUEST_S
        now += pause_s
    assert client.machine.expire(first + REQUEST_S - 0.001) == ()
    client.carry(client.machine.expire(first + REQUEST_S))
    assert client.statuses == [408] and client.closed and client.machine.deadline() is None


def test_a_connection_that_says_nothing_ends_without_a_word() -> None:
    """At once after it was opened, and later between requests."""
    silent = Client()
    assert silent.machine.deadline() == REQUEST_S
    assert silent.carry(silent.machine.expire(REQUEST_S)).closed and silent.sent == b""
    idle = Client().send(GET, now=5.0)
    assert idle.machine.deadline() == 5.0 + IDLE_S
    before = idle.sent
    assert idle.carry(idle.machine.expire(5.0 + IDLE_S)).closed and idle.sent == before


@given(
    st.lists(
        st.one_of(st.binary(max_size=64), st.sampled_from([GET, b"GET ", b"\r\n", b"HTTP/1.1", b"Host: x\r\n"])), max_size=12
    )
)
def test_nothing_that_comes_raises_or_is_repeated_in_an_answer(pieces: list[bytes]) -> None:
    """Whatever the bytes: known statuses, and the words of the answer are ours."""
    client = Client().send(*pieces)
    client.carry(client.machine.ended(0.0))
    assert client.closed
    assert set(client.statuses) <= {200, 400, 405, 431, 501, 505}


# --- The server


def ask(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    """Status, media type and body."""
    request = urllib.request.Request(f"http://{address}{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read()


def serve(scene: Callable[[Control], Awaitable[None]], **pages: Callable[[], Page]) -> None:
    """Run a scene with a control address."""

    async def whole() -> None:
        control = Control(LOOPBACK, {f"/{name}": page for name, page in pages.items()})
        await control.open()
        try:
            await scene(control)
        finally:
            await control.close()

    asyncio.run(whole())


def test_a_request_that_is_addressed_to_another_host_is_refused() -> None:
    """DNS rebinding: a page in a browser whose name leads here must not read the answers."""

    async def scene(control: Control) -> None:
        port = control.address.rpartition(":")[2]
        for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example:80"):
            status, _, body = await asyncio.to_thread(ask, control.address, "/x", Host=host)
            assert (status, b"evil" in body) == (421, False)
        for host in ("localhost", f"LOCALHOST:{port}", "127.0.0.1", f"[::1]:{port}", "[::1]", "10.1.2.3:99"):
            assert (await asyncio.to_thread(ask, control.address, "/x", Host=host))[0] == 200

    serve(scene, x=lambda: Page(200, TEXT, b"x"))


def test_the_first_page_and_a_wrong_one_tell_which_there_are() -> None:
    """For a person with curl."""

    async def scene(control: Control) -> None:
        assert await asyncio.to_thread(ask, control.address, "/") == (200, TEXT, b"/x\n/y\n")
        status, _, body = await asyncio.to_thread(ask, control.address, "/hunter2")
        assert status == 404 and body.endswith(b"/x\n/y\n") and b"hunter2" not in body

    serve(scene, x=lambda: Page(200, TEXT, b"x"), y=lambda: Page(200, TEXT, b"y"))


def test_a_page_that_fails_is_an_error_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """500 without the reason, which may hold what nobody should read; the others go on."""
    log.configure("info", "json")

    def broken() -> Page:
        raise KeyError("hunter2")

    async def scene(control: Control) -> None:
        status, _, body = await asyncio.to_thread(ask, control.address, "/broken")
        assert status == 500 and b"hunter2" not in body
        assert (await asyncio.to_thread(ask, control.address, "/x"))[0] == 200

    serve(scene, x=lambda: Page(200, TEXT, b"x"), broken=broken)
    told = capsys.readouterr().err
    [line] = [line for line in log_lines(told) if line["log.level"] == "error"]
    assert (line["page"], line["error"]) == ("/broken", "KeyError") and "hunter2" not in told


def test_connections_beyond_the_bound_are_closed_and_make_room_again() -> None:
    """Somebody who opens many and says nothing takes no more than these."""

    async def scene(control: Control) -> None:
        host, _, port = control.address.rpartition(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS)]
        await until(lambda: control._listener.connections == CONNECTIONS)
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await reader.read() == b""
        for _, one in [*held, (reader, writer)]:
            one.close()
        await until(lambda: control._listener.connections == 0)
        assert (await asyncio.to_thread(ask, control.address, "/x"))[0] == 200

    serve(scene, x=lambda: Page(200, TEXT, b"x"))


# --- A real agent


def run_agent(
    site: Site, scene: Callable[[Agent, Callable[..., Awaitable[tuple[int, str, bytes]]]], Awaitable[None]]
) -> dict[str, Any]:
    """Run the site's pipeline, ask while it runs, stop it; returns the last account."""

    async def whole() -> dict[str, Any]:
        pipeline = assembly.read_pipeline(str(site.pipeline), os.environ)
        agent = Agent([pipeline], Options(control=LOOPBACK, state=str(site.state)), os.environ)
        running = asyncio.create_task(agent.run())
        await agent.ready.wait()
        assert agent.control is not None
        address = agent.control.address
        try:
            await scene(agent, lambda path, *more: asyncio.to_thread(ask, address, path, *more))
        finally:
            agent.stop("the test is over")
            await running
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(tuple(address.split(":")), timeout=60)  # type: ignore[arg-type]
        return agent.account()

    return asyncio.run(whole())


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Metrics by name and the values of their labels, the pipeline's name left out."""
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "pipeline")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_running_agent_answers_all_pages(site: Site) -> None:
    """Alive, ready and well; its account is the one that is printed at the end, its metrics say the same, and hold no content."""
    site.configure(redact={"keys": ["password"]}, sources=[{"type": "file", "include": [f"{site.logs}/*.log"]}])
    site.write(RECORDS)
    found: dict[str, bytes] = {}

    async def scene(agent: Agent, get: Callable[..., Awaitable[tuple[int, str, bytes]]]) -> None:
        await until(lambda: agent.account()["created"] == len(RECORDS))
        for path in ("/live", "/ready", "/health", "/account", "/metrics"):
            status, _, found[path] = await get(path)
            assert (path, status) == (path, 200)
        assert (await get("/account", "HEAD"))[2] == b"" and (await get("/account", "POST"))[0] == 405
        assert (await get("/metrics"))[1].startswith("text/plain; version=0.0.4")

    last = run_agent(site, scene)
    assert {**json.loads(found["/account"]), "stopped": last["stopped"]} == last
    health = json.loads(found["/health"])
    assert health["status"] == "pass" and {"app:accounted", "app:output", "app:checkpoint", "app:disk"} <= {*health["checks"]}
    metrics = samples(found["/metrics"])
    assert metrics["shipper_records_read_total",] == metrics["shipper_records_delivered_total",] == len(RECORDS)
    assert metrics["shipper_documents_total", "app"] == len(RECORDS)
    assert metrics["shipper_redactions_total", "key"] == len(RECORDS)
    assert metrics["shipper_unaccounted_records",] == metrics["shipper_in_flight_records",] == 0
    assert metrics["shipper_files_followed",] == metrics["shipper_files_open",] == 1
    assert not any(b"hunter2" in body for body in found.values())


def test_bytes_of_a_deleted_file_stand_in_metric_account_and_log_alike(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Issue: counted in bytes, per file. The output took nothing, then the file was deleted while the agent was down."""
    path = site.write(RECORDS)
    size = path.stat().st_size
    server = Server()
    server._http.server_close()
    site.configure(output={"type": "elasticsearch", "hosts": [server.url]})
    assert site.once("--timeout", "0s").code == 1
    path.unlink()
    log.configure("info", "json")
    capsys.readouterr()
    found: dict[tuple[str, ...], float] = {}

    async def scene(agent: Agent, get: Callable[..., Awaitable[tuple[int, str, bytes]]]) -> None:
        await until(lambda: bool(agent.account()["lost_bytes"]))
        found.update(samples((await get("/metrics"))[2]))

    account = run_agent(site, scene)
    [cause] = account["lost_bytes"]
    assert account["lost_bytes"] == {cause: size} and account["lost_files"] == {str(path): size}
    assert found["shipper_lost_bytes_total", cause] == found["shipper_lost_file_bytes_total", str(path)] == size
    lines = [line for line in log_lines(capsys.readouterr().err) if line["message"] == "bytes lost"]
    assert [(line["file"], line["bytes"], line["cause"]) for line in lines] == [(str(path), size, cause)]


def agent_file(site: Site, address: str) -> list[object]:
    """Words that name an agent file with this control address."""
    path = site.folder / "shipper.yaml"
    path.write_text(f"control: {address}\n")
    return ["--agent", path]


def test_a_busy_port_is_a_warning_and_the_agent_ships(site: Site) -> None:
    """Logs matter more than what is said of them."""
    site.write(RECORDS)
    with socket.create_server(("127.0.0.1", 0)) as other:
        told = site.once(*agent_file(site, f"127.0.0.1:{other.getsockname()[1]}"))
    assert (told.code, told.account["created"]) == (0, len(RECORDS))
    [line] = [line for line in told.log if line["log.level"] == "warning"]
    assert line["message"] == "the control address cannot be had; the agent goes on without it"
    assert line["reason"].endswith("cannot listen there: Address already in use")


@pytest.mark.parametrize("address", ["192.0.2.1:9699", "no-such-host.invalid:1", "a..b:1"])
def test_an_address_that_the_machine_does_not_have_is_a_warning(site: Site, address: str) -> None:
    """Whatever is wrong with it."""
    site.write(RECORDS)
    told = site.once(*agent_file(site, address))
    assert (told.code, told.account["created"]) == (0, len(RECORDS))
    assert "the control address cannot be had; the agent goes on without it" in told.messages()


def test_run_once_has_a_control_address_only_where_the_file_says_so(site: Site) -> None:
    """A run that reads what is there must not quarrel with the agent that runs beside it."""
    site.write(RECORDS)
    empty = site.folder / "empty.yaml"
    empty.write_text("log: {level: info}\n")
    assert not any("control" in message for message in site.once("--agent", empty).messages())
    assert "control address open" in site.once(*agent_file(site, "127.0.0.1:0")).messages()
    assert not any("control" in message for message in site.once(*agent_file(site, "off")).messages())


def test_the_agent_of_the_command_line_answers_until_it_is_stopped(site: Site) -> None:
    """As a service: the address stands in its log."""
    process = site.start("run", "--json", "--state", site.state, *agent_file(site, "127.0.0.1:0"), site.pipeline)
    assert process.stderr is not None
    [line] = log_lines(process.stderr.readline().decode())
    assert line["message"] == "control address open"
    wait_until(lambda: ask(line["address"], "/ready")[0] == 200, "the agent to be ready")
    process.terminate()
    assert site.wait(process).code == 0
