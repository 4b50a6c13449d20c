"""Push inputs of the whole agent as a process: what a sender was told is taken is stored once, whoever is killed in between.

The output is the model of Elasticsearch where the sender sends again: there a record is what its `_id` says.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from shipper.source.push import TAG_CHARS_MAX
from tests.conftest import program
from tests.kit.fake_elastic import Server, error_body
from tests.kit.site import ROOT, Document, Site, Told, bulk_documents, check_whole, log_lines, wait_until
from tests.real.world import check_ids

SEED = int(os.environ.get("SHIPPER_TEST_SEED", "20260205"))
KILLS, STOPS = 6, 3
SEGMENT_HEADER_BYTES = 56
NDJSON = {"Content-Type": "application/x-ndjson"}


class Closed(list[Any]):
    """A script for the model: every request is answered with 503 until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = True

    def __bool__(self) -> bool:
        return self.closed

    def pop(self, _index: Any = 0) -> Callable[[bytes], tuple[int, bytes]]:
        return lambda _body: error_body(503, "unavailable", "closed")


class Agent:
    """The agent with one source that listens at a port of its own, killed and started as the test wants."""

    def __init__(self, site: Site, kind: str, **sections: Any) -> None:
        self.site, self.port = site, free_port()
        source = {"type": kind, "listen": [f"127.0.0.1:{self.port}"], **sections.pop("source", {})}
        site.configure(sources=[source], **sections)
        self.process: subprocess.Popen[bytes] | None = None
        self.said: list[Told] = []

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = self.site.start("run", "--json", "--state", self.site.state, self.site.pipeline)
        wait_until(self.listens, "the agent to listen")

    def listens(self) -> bool:
        """Whether it takes connections; that it ended fails the test."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(self.site.wait(self.process).err[-2000:])
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def kill(self) -> None:
        """SIGKILL."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> Told:
        """Send a signal, wait for the end."""
        assert self.process is not None
        self.process.send_signal(number)
        told = self.site.wait(self.process)
        self.said.append(told)
        assert "Traceback" not in told.err
        return told

    def spooled(self) -> int:
        """Bytes in its spools."""
        paths = list(self.site.state.glob("*/*/spool/*/*.spool"))
        return sum(path.stat().st_size for path in paths if path.exists()) - SEGMENT_HEADER_BYTES * len(paths)

    def post(self, body: bytes, key: str) -> int:
        """POST records with an Idempotency-Key; returns the status, 0 where there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/", body, {**NDJSON, "Idempotency-Key": key})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def post_and_leave(self, body: bytes, key: str) -> None:
        """The same, by a client that never hears the answer."""
        with self.connect() as connection:
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nIdempotency-Key: {key}\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_until(lambda: self.spooled() >= len(body), "the request to be durable")


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port nobody listens at."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ndjson(numbers: range, padding: int = 0) -> bytes:
    """Records with these numbers."""
    record = {"timestamp": "2026-02-05T14:30:45Z", "padding": "x" * padding}
    return b"".join(json.dumps({**record, "n": number}).encode() + b"\n" for number in numbers)


def stored(server: Server) -> list[tuple[str, str, Document]]:
    """All documents of the model."""
    return [(*key, document) for key, document in list(server.model.documents.items())]


def to(server: Server) -> dict[str, Any]:
    """The output that goes there."""
    return {"type": "elasticsearch", "hosts": [server.url]}


@pytest.fixture
def server() -> Iterator[Server]:
    """A model of Elasticsearch behind HTTP."""
    with Server() as made:
        yield made


# --- Acknowledged, killed, sent again


@pytest.mark.parametrize("reachable", [True, False])
def test_request_that_is_sent_again_after_a_kill_is_stored_once(site: Site, server: Server, reachable: bool) -> None:
    """The agent dies between disk and answer; the same Idempotency-Key says that these are the same records."""
    closed = Closed()
    if not reachable:
        server.model.requests = closed
    agent = Agent(site, "http", output=to(server))
    agent.start()
    agent.post_and_leave(ndjson(range(1, 51)), "request-1")
    agent.kill()
    closed.closed = False
    agent.start()
    assert agent.post(ndjson(range(1, 51)), "request-1") == 200
    assert agent.post(ndjson(range(51, 61)), "request-2") == 200
    wait_until(lambda: len(server.model.documents) >= 60, "the documents")
    told = agent.end()
    assert told.code == 0 and not told.account["dead"] and told.account["unaccounted"] == 0
    check_ids(stored(server), 60)
    assert {document["@timestamp"] for _, _, document in stored(server)} == {"2026-02-05T14:30:45Z"}


class ForwardClient:
    """The smallest client of the forward protocol that asks for acknowledgement."""

    def __init__(self, agent: Agent) -> None:
        self.socket = agent.connect()

    def __enter__(self) -> ForwardClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()

    def send(self, tag: str, numbers: range, chunk: str) -> None:
        """Send a chunk in Forward mode."""
        entries = [[1_770_301_845, {"n": number, "level": "info"}] for number in numbers]
        message = [tag, entries, {"chunk": chunk, "size": len(entries)}]
        self.socket.sendall(msgpack.packb(message, unicode_errors="surrogateescape"))

    def acknowledged(self) -> str:
        """The chunk that the next answer names."""
        unpacker = msgpack.Unpacker()
        while data := self.socket.recv(4096):
            unpacker.feed(data)
            for answer in unpacker:
                return str(answer["ack"])
        raise AssertionError("the connection ended without an answer")


def test_chunk_that_is_sent_again_after_a_lost_acknowledgement_is_one_chunk(site: Site, server: Server) -> None:
    """The sender never heard of it; the agent was killed and knows of it by its spool, and the output by the ids."""
    agent = Agent(site, "forward", output=to(server))
    agent.start()
    with ForwardClient(agent) as client:
        client.send("app", range(1, 31), "chunk-1")
        wait_until(lambda: agent.spooled() > 30 * 10, "the chunk to be durable")
    agent.kill()
    agent.start()
    with ForwardClient(agent) as client:
        client.send("app", range(1, 31), "chunk-1")
        assert client.acknowledged() == "chunk-1"
        client.send("app", range(31, 41), "chunk-2")
        assert client.acknowledged() == "chunk-2"
    wait_until(lambda: len(server.model.documents) >= 40, "the documents")
    assert agent.end().code == 0
    check_ids(stored(server), 40)


def test_tags_choose_the_route_and_name_the_index(site: Site) -> None:
    """What a sender says there is cleaned of what an index name must not have, and past the gate."""
    routes = [
        {"when": {"shipper.tag": "app.error"}, "index": "errors", "window": "none"},
        {"index": "app-{shipper.tag}", "window": "none"},
    ]
    agent = Agent(site, "forward", route=routes, redact={"packs": ["pii"]})
    agent.start()
    tags = ["app.error", "web", "../Evil Tag*/?", "card 4111 1111 1111 1111", "\udcff\udcfe", "", "t" * 5000]
    with ForwardClient(agent) as client:
        for number, tag in enumerate(tags):
            client.send(tag, range(number, number + 1), f"chunk-{number}")
            assert client.acknowledged() == f"chunk-{number}"
    wait_until(lambda: len(site.documents()) == len(tags), "the documents")
    assert agent.end().code == 0
    found = {document["n"]: (index, document.get("shipper", {}).get("tag")) for index, _, document in site.documents()}
    assert found[0] == ("errors-2026.02.05", "app.error")
    assert found[1] == ("app-web-2026.02.05", "web")
    assert found[2][1] == tags[2]
    assert found[5] == ("app-fallback", None), "a row without a tag lacks a field of its route's prefix"
    assert found[6][1] == "t" * TAG_CHARS_MAX
    names = {path.name for path in site.out.iterdir()}
    assert all(
        name.startswith(("app-", "errors-")) and not set(name) & set("/ *?ABCDEFGHIJKLMNOPQRSTUVWXYZ") for name in names
    ), names
    assert "4111" not in str(found[3]) and not any("4111" in name for name in names)


class Poster:
    """Posts batches of records until it is told to stop, each until it is acknowledged, and notes which were."""

    def __init__(self, agent: Agent) -> None:
        self.acknowledged = 0
        self.statuses: Counter[int] = Counter()
        self._agent, self._stopping = agent, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Finish the batch at hand. Returns the number of records that are acknowledged."""
        self._stopping.set()
        self._thread.join()
        return self.acknowledged

    def _run(self) -> None:
        rng = random.Random(SEED + 1)
        while not self._stopping.is_set():
            numbers = range(self.acknowledged + 1, self.acknowledged + 1 + rng.randint(1, 300))
            while (status := self._agent.post(ndjson(numbers), f"batch-{numbers.start}")) != 200:
                self.statuses[status] += 1
                time.sleep(0.01)
            self.statuses[status] += 1
            self.acknowledged = numbers.stop - 1


def test_every_acknowledged_record_is_there_once_when_the_agent_is_killed_again_and_again(site: Site, server: Server) -> None:
    """Six kills and three stops at random moments while a client posts and posts again: none missing, none twice."""
    rng = random.Random(SEED)
    agent = Agent(site, "http", output=to(server))
    agent.start()
    poster = Poster(agent)
    for number in range(KILLS + STOPS):
        before = poster.acknowledged
        wait_until(lambda: poster.acknowledged > before, "records to be acknowledged")  # noqa: B023
        time.sleep(rng.uniform(0.0, 0.4))
        agent.kill() if number % 3 else agent.end()
        agent.start()
    written = poster.stop()
    wait_until(lambda: len(server.model.documents) >= written, "the documents")
    told = agent.end()
    print(f"seed {SEED}: {written} acknowledged; statuses {dict(poster.statuses)}, items {dict(server.model.statuses)}")
    check_ids(stored(server), written)
    assert told.code == 0 and told.account["unaccounted"] == 0 and not told.account["lost_bytes"]
    assert Counter(said.code for said in agent.said) == {-signal.SIGKILL: KILLS, 0: STOPS + 1}
    assert [line for said in agent.said for line in said.log if line["log.level"] == "error"] == []
    assert poster.statuses[0] > 0 and poster.statuses[200] > KILLS


def test_records_in_files_are_exact_too_when_the_agent_is_killed(site: Site) -> None:
    """Files are cut back to the last checkpoint: what was delivered after it must still be in the spool."""
    rng = random.Random(SEED)
    agent = Agent(site, "http")
    agent.start()
    written = 0
    for _ in range(KILLS):
        for _ in range(rng.randint(1, 8)):
            numbers = range(written + 1, written + rng.randint(2, 400))
            assert agent.post(ndjson(numbers), f"batch-{written}") == 200
            written = numbers.stop - 1
            time.sleep(rng.uniform(0.0, 0.05))
        time.sleep(rng.choice([0.0, 0.1, 1.1]))
        agent.kill()
        agent.start()
    wait_until(lambda: sum(1 for _ in site.documents()) >= written, "the documents")
    assert agent.end().code == 0
    check_ids(site.documents(), written)


def test_full_spool_answers_429_and_nothing_is_lost(site: Site, server: Server) -> None:
    """The output takes nothing; what was answered with 200 survives the kill, the rest its sender still has."""
    closed = Closed()
    server.model.requests = closed
    agent = Agent(site, "http", output=to(server), source={"spool": "16MiB"})
    agent.start()
    bodies = {f"body-{at}": ndjson(range(at, at + 600), 10_000) for at in range(1, 3001, 600)}
    statuses = {}
    for key, body in bodies.items():
        statuses[key] = agent.post(body, key)
        if statuses[key] != 200:
            break
    assert list(statuses.values()) == [200, 200, 429]
    agent.kill()
    closed.closed = False
    agent.start()
    for key, body in bodies.items():
        while statuses.get(key) != 200:
            statuses[key] = agent.post(body, key)
            assert statuses[key] in (200, 429)
    wait_until(lambda: len(server.model.documents) >= 3000, "the documents")
    assert agent.end().code == 0
    check_ids(stored(server), 3000)


# --- Syslog from real senders


@pytest.mark.needs("logger")
@pytest.mark.parametrize("transport", ["tcp", "udp", "unixgram"])
def test_messages_of_logger_become_documents(site: Site, transport: str) -> None:
    """util-linux's logger over each transport: message, program, severity."""
    port, path = free_port(), site.folder / "log.sock"
    address = {"tcp": f"127.0.0.1:{port}", "udp": f"udp:127.0.0.1:{port}", "unixgram": f"unixgram:{path}"}[transport]
    words = {
        "tcp": ["-n", "127.0.0.1", "-P", port, "-T"],
        "udp": ["-n", "127.0.0.1", "-P", port, "-d"],
        "unixgram": ["-u", path],
    }[transport]
    agent = Agent(site, "syslog", source={"listen": [address, f"127.0.0.1:{free_port()}"]})
    agent.port = int(json.loads(site.pipeline.read_text())["sources"][0]["listen"][1].rpartition(":")[2])
    agent.start()
    for number in range(5):
        subprocess.run(["logger", *map(str, words), "-t", "tester", "-p", "user.err", f"message {number} with ü"], check=True)
    wait_until(lambda: len(site.documents()) == 5, "five documents")
    assert agent.end().code == 0
    assert [document["message"] for document in site.bodies()] == [f"message {number} with ü" for number in range(5)]
    for document in site.bodies():
        assert (document["process.name"], document["log.level"]) == ("tester", "error"), document


RSYSLOG = """\
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" RateLimit.Interval="0")
global(workDirectory="{folder}")
action(type="omfwd" Target="127.0.0.1" Port="{port}" Protocol="tcp" Template="RSYSLOG_SyslogProtocol23Format"
       queue.type="LinkedList" action.resumeRetryCount="-1" action.resumeInterval="1")
"""


@pytest.mark.needs("rsyslogd", "logger")
def test_messages_of_rsyslog_become_documents(site: Site) -> None:
    """omfwd over TCP in RFC 5424, as Debian's rsyslogd sends it."""
    agent = Agent(site, "syslog")
    agent.start()
    entrance, config = site.folder / "in.sock", site.folder / "rsyslog.conf"
    config.write_text(RSYSLOG.format(socket=entrance, folder=site.folder, port=agent.port))
    rsyslogd = subprocess.Popen(
        [str(program("rsyslogd")), "-n", "-f", config, "-i", site.folder / "rsyslog.pid"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(entrance.exists, "rsyslogd to listen")
        for number in range(20):
            subprocess.run(["logger", "-u", entrance, "-t", "tester", "-p", "daemon.warning", f"message {number}"], check=True)
        wait_until(lambda: sum("message " in document["message"] for document in site.bodies()) == 20, "20 documents")
    finally:
        rsyslogd.terminate()
        rsyslogd.wait(30)
    assert agent.end().code == 0
    found = [document for document in site.bodies() if document.get("process.name") == "tester"]
    # rsyslog counts the blank behind the tag of a message to its text, and says so.
    assert [document["message"].lstrip() for document in found] == [f"message {number}" for number in range(20)]
    assert {document["log.level"] for document in found} == {"warning"}


# --- Standard input


def piped(site: Site, *words: object, **options: Any) -> subprocess.Popen[bytes]:
    """`... | shipper run`, in the site's folder."""
    command = [sys.executable, "-m", "shipper", "run", "--state", str(site.state), *map(str, words)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ELASTICSEARCH_")}
    variables = {**environment, "SHIPPER_STATE": str(site.cache), "PYTHONPATH": str(ROOT)}
    made = subprocess.Popen(command, cwd=site.folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    site._started.append(made)
    return made


def test_program_is_piped_into_the_agent_and_all_is_delivered_at_its_end(site: Site) -> None:
    """`program | shipper run -`: exit code 0, files under `out`, JSON as it is, other lines as text, valid UTF-8 all of it."""
    process = piped(site, "-", stdin=subprocess.PIPE)
    out, err = process.communicate(b'{"n":1}\n\nplain\r\ncaf\xe9 4111 1111 1111 1111\n{"n":2}', timeout=60)
    assert (process.returncode, out) == (0, b""), err
    assert [line for line in log_lines(err.decode()) if line["log.level"] != "info"] == []
    [path] = (site.folder / "out").glob("stdin-*.ndjson")
    documents = [document for _, _, document in bulk_documents(path.read_bytes())]
    assert [document.get("n", document.get("message")) for document in documents][:2] == [1, "plain"]
    assert documents[2]["message"].startswith("café") and documents[3]["n"] == 2


def test_run_without_input_ends_at_once(site: Site) -> None:
    """`shipper run - < /dev/null`, and with standard input closed."""
    process = piped(site, "-", stdin=subprocess.DEVNULL)
    assert process.communicate(timeout=60)[0] == b"" and process.returncode == 0
    process = piped(site, "-", preexec_fn=lambda: os.close(0))
    assert process.communicate(timeout=60)[0] == b"" and process.returncode == 0


def test_lines_that_were_durable_come_out_after_a_kill(site: Site, server: Server) -> None:
    """The output took nothing; the next run, whatever its own input, delivers what the spool has, each line once."""
    closed = Closed()
    server.model.requests = closed
    site.configure(sources=[{"type": "stdin"}], output=to(server))
    process = piped(site, site.pipeline, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(ndjson(range(1, 2001)))
    process.stdin.flush()
    wait_until(
        lambda: any(b'"n": 2000}' in path.read_bytes() for path in site.state.glob("*/*/spool/stdin/*.spool")), "the last line"
    )
    process.kill()
    process.communicate()
    closed.closed = False
    process = piped(site, site.pipeline, stdin=subprocess.PIPE)
    _, err = process.communicate(ndjson(range(2001, 2011)), timeout=60)
    assert process.returncode == 0, err
    check_ids(stored(server), 2010)


def test_stop_keeps_the_line_that_was_begun(site: Site) -> None:
    """SIGTERM in the middle of a line: the next run has what was read of it, and the writer hears of the end."""
    site.configure(sources=[{"type": "stdin"}])
    process = piped(site, site.pipeline, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"whole\nbegun")
    process.stdin.flush()
    wait_until(lambda: site.out.exists() and site.documents(), "the whole line")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    with pytest.raises(BrokenPipeError):
        os.write(process.stdin.fileno(), b"more\n")
    assert site.once().code == 0
    assert [document["message"] for document in site.bodies()] == ["whole", "begun"]


def test_spool_of_a_listener_is_delivered_by_once_without_listening(site: Site, server: Server) -> None:
    """What was taken before a kill is shipped by `--once`, which takes nothing new: the port may be another's by then."""
    closed = Closed()
    server.model.requests = closed
    agent = Agent(site, "http", output=to(server))
    agent.start()
    assert agent.post(ndjson(range(1, 11)), "a") == 200
    agent.kill()
    closed.closed = False
    with socket.create_server(("127.0.0.1", agent.port)):
        check_whole(site.once(), 10)
    check_ids(stored(server), 10)


def test_port_that_is_taken_ends_the_run_with_what_to_do(site: Site) -> None:
    """Exit code 1, the address, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        site.configure(sources=[{"type": "http", "listen": [f"127.0.0.1:{port}"]}])
        process = site.start("run", "--state", site.state, site.pipeline)
        told = site.wait(process)
    assert told.code == 1 and f"127.0.0.1:{port}" in told.err and "Traceback" not in told.err
