"""A model Elasticsearch: pure (`ModelElastic`), as a real HTTP server with faults (`Server`), and as a fast sink in a process.

The model keeps (index, _id) -> document and answers `_bulk` as Elasticsearch does: 201, 409 for an id that is there, 400 for a
mapping conflict, 429 and others by script. The shapes of its errors are those of 8.19.

Sink: `python -m tests.kit.fake_elastic --port 0 --mode sink` prints its port, answers every `_bulk` with one 201 a document
(replies cached by count), and prints requests, documents and bytes as one line of JSON when its stdin ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, bytes]
Fault = Callable[[str, str, dict[str, Any]], dict[str, Any] | None]
"""(index, id, document) -> the item's `{"status":..., "error":...}`, or None to go on."""


def error_item(status: int, kind: str, reason: str) -> dict[str, Any]:
    """An item's outcome with an error."""
    return {"status": status, "error": {"type": kind, "reason": reason}}


def error_body(status: int, kind: str, reason: str) -> Answer:
    """A whole request's error."""
    return status, json.dumps({"error": {"type": kind, "reason": reason, "root_cause": []}, "status": status}).encode()


@dataclass
class ModelElastic:
    """The pure model. `limit` is `http.max_content_length`; `faults` are asked for each document, the first answer counts."""

    limit: int | None = None
    numbers: frozenset[str] = frozenset()
    """Fields mapped as numbers: anything else in them is a mapping conflict."""
    faults: list[Fault] = field(default_factory=list)
    requests: list[Callable[[bytes], Answer | None]] = field(default_factory=list)
    """Scripts for the next requests, one each: an answer for the whole request instead of applying it, or None."""
    documents: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    arrivals: list[tuple[str, str]] = field(default_factory=list)
    """(index, id) as documents were created."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Items by status."""

    def bulk(self, body: bytes) -> Answer:
        """Apply a request. Returns status and body."""
        if self.requests:
            answer = self.requests.pop(0)(body)
            if answer is not None:
                return answer
        if self.limit is not None and len(body) > self.limit:
            return 413, b""
        if not body.endswith(b"\n"):
            return error_body(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
        try:
            pairs = list(self._parse(body))
        except (ValueError, KeyError):
            return error_body(400, "illegal_argument_exception", "Malformed action/metadata line [1], expected START_OBJECT")
        items = [self._create(index, key, line) for index, key, line in pairs]
        self.statuses.update(item["status"] for item in items)
        reply = {"errors": any("error" in item for item in items), "items": [{"create": item} for item in items]}
        return 200, json.dumps(reply, separators=(",", ":")).encode()

    @staticmethod
    def _parse(body: bytes) -> Iterator[tuple[str, str, bytes]]:
        lines = body[:-1].split(b"\n")
        if len(lines) % 2:
            raise ValueError("odd number of lines")
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            target = json.loads(action)["create"]
            yield target["_index"], target["_id"], document

    def _create(self, index: str, key: str, line: bytes) -> dict[str, Any]:
        try:
            document = json.loads(line)
        except ValueError:
            return error_item(400, "document_parsing_exception", f"[1:1] failed to parse: {line[:20]!r}")
        for fault in self.faults:
            found = fault(index, key, document)
            if found is not None:
                return found
        if (index, key) in self.documents:
            return error_item(409, "version_conflict_engine_exception", f"[{key}]: version conflict, document already exists")
        for name in self.numbers & document.keys():
            if not isinstance(document[name], (int, float)):
                reason = f"[1:9] failed to parse field [{name}] of type [float] in document with id '{key}'. Preview of field's value: '{document[name]}'"
                return error_item(400, "document_parsing_exception", reason)
        self.documents[index, key] = document
        self.arrivals.append((index, key))
        return {"status": 201}


@dataclass
class Behaviour:
    """How the server treats one request, beyond the model."""

    kind: str = "normal"
    """`normal`, `html`, `half`, `empty`, `cut`, `cut_after_apply`, `half_reply`, `stall`, `trickle`, `huge`, `wrong_count`, or a status."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    """Decompressed."""


class Server:
    """A real HTTP server on 127.0.0.1 with the model behind it. Use as a context manager.

    `script` gives the next requests their behaviour, one each. It also acts as a proxy: absolute URLs are served by itself,
    CONNECT is tunnelled to where it asks.
    """

    def __init__(self, model: ModelElastic | None = None, *, prefix: str = "", tls: tuple[Path, Path] | None = None) -> None:
        """`tls` is (certificate, key); `prefix` a path every request must have; without it 404."""
        self.model = model or ModelElastic()
        self.prefix = prefix
        self.script: list[Behaviour] = []
        self.authorization: str | None = None
        self.seen: list[Seen] = []
        self.tunnels: list[str] = []
        self.connections = 0
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, tls))
            self._http.tls = context
        self.scheme = "https" if tls is not None else "http"
        self.port: int = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Scheme, address, prefix."""
        return f"{self.scheme}://127.0.0.1:{self.port}{self.prefix}"

    def __enter__(self) -> Server:
        """Start serving."""
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop; stalled requests are let go."""
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def take(self, seen: Seen) -> Behaviour:
        """Note a request, and say how to treat it."""
        with self._lock:
            self.seen.append(seen)
            return self.script.pop(0) if self.script else Behaviour()

    def apply(self, body: bytes) -> Answer:
        """Ask the model, one request at a time."""
        with self._lock:
            return self.model.bulk(body)


class _Http(ThreadingHTTPServer):
    owner: Server
    tls: ssl.SSLContext | None = None
    daemon_threads = True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """TLS in the connection's own thread, so that a failing handshake disturbs nobody."""
        self.owner.connections += 1
        if self.tls is not None:
            request.settimeout(5)
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except (ssl.SSLError, OSError):
                return
            request.settimeout(None)
            with request:
                super().finish_request(request, client_address)
            return
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: _Http

    def log_message(self, *_args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        """Serve `_bulk`."""
        owner = self.server.owner
        raw = self.rfile.read(int(self.headers["content-length"]))
        body = gzip.decompress(raw) if self.headers.get("content-encoding") == "gzip" else raw
        seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        behaviour = owner.take(seen)
        path = re.sub(r"^https?://[^/]+", "", self.path)
        if not path.startswith(owner.prefix + "/_bulk"):
            return self._answer(404, b'{"error":"no handler found"}')
        if owner.authorization is not None and self.headers.get("authorization") != owner.authorization:
            return self._answer(*error_body(401, "security_exception", "unable to authenticate"))
        getattr(self, f"_{behaviour.kind}", self._status)(body, behaviour)
        return None

    def _normal(self, body: bytes, behaviour: Behaviour) -> None:
        self._answer(*self.server.owner.apply(body), behaviour.headers)

    def _status(self, _body: bytes, behaviour: Behaviour) -> None:
        self._answer(int(behaviour.kind), b"", behaviour.headers)

    def _html(self, _body: bytes, behaviour: Behaviour) -> None:
        self._answer(
            200, b"<html><body>Welcome to the captive portal</body></html>", {"content-type": "text/html", **behaviour.headers}
        )

    def _half(self, body: bytes, _behaviour: Behaviour) -> None:
        status, reply = self.server.owner.apply(body)
        self._answer(status, reply[: len(reply) // 2])

    def _empty(self, body: bytes, _behaviour: Behaviour) -> None:
        self.server.owner.apply(body)
        self._answer(200, b"")

    def _wrong_count(self, body: bytes, _behaviour: Behaviour) -> None:
        self.server.owner.apply(body)
        self._answer(200, b'{"errors":false,"items":[{"create":{"status":201}}]}')

    def _cut(self, _body: bytes, _behaviour: Behaviour) -> None:
        self._drop()

    def _cut_after_apply(self, body: bytes, _behaviour: Behaviour) -> None:
        self.server.owner.apply(body)
        self._drop()

    def _half_reply(self, body: bytes, _behaviour: Behaviour) -> None:
        status, reply = self.server.owner.apply(body)
        self.send_response(status)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply[: len(reply) // 2])
        self.wfile.flush()
        self._drop()

    def _stall(self, _body: bytes, _behaviour: Behaviour) -> None:
        self.server.owner.released.wait(30)
        self._drop()

    def _trickle(self, _body: bytes, _behaviour: Behaviour) -> None:
        self.send_response(200)
        self.send_header("content-length", "100000")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.owner.released.wait(0.02):
                self.wfile.write(b" ")
                self.wfile.flush()
        self._drop()

    def _huge(self, _body: bytes, _behaviour: Behaviour) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(4096):
                self.wfile.write(chunk)
            self.wfile.write(b"0\r\n\r\n")
        self._drop()

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_CONNECT(self) -> None:
        """Tunnel."""
        owner = self.server.owner
        owner.tunnels.append(self.path)
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), 5) as peer:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            back = threading.Thread(target=_relay, args=(peer, self.connection), daemon=True)
            back.start()
            _relay(self.connection, peer)
            back.join(5)
        self.close_connection = True


def _relay(source: socket.socket, sink: socket.socket) -> None:
    """Copy until one side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def make_certificate(directory: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make a self-signed certificate for an address with the openssl command. Returns (certificate, key), PEM files."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", f"subjectAltName=IP:{name}", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


class _Sink(asyncio.Protocol):
    """Answers each request by counting its lines; keeps no body."""

    replies: dict[int, bytes] = {}
    totals = {"requests": 0, "documents": 0, "bytes": 0}

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._lines = 0
        self._inflate: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        while data:
            if not self._left:
                data = self._read_head(data)
                continue
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            self.totals["bytes"] += len(part)
            self._lines += (self._inflate.decompress(part) if self._inflate else part).count(b"\n")
            if not self._left:
                self._reply(self._lines // 2)

    def _read_head(self, data: bytes) -> bytes:
        """Take what belongs to the head; returns the rest."""
        head, end, rest = (self._head + data).partition(b"\r\n\r\n")
        if not end:
            self._head = head
            return b""
        self._head = b""
        self._lines = 0
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        self._left = int(found[1]) if found else 0
        self._inflate = zlib.decompressobj(31) if re.search(rb"(?i)\r\ncontent-encoding: *gzip", head) else None
        if not self._left:
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        return rest

    def _reply(self, documents: int) -> None:
        self.totals["requests"] += 1
        self.totals["documents"] += documents
        reply = self.replies.get(documents)
        if reply is None:
            body = b'{"errors":false,"items":[' + b",".join([b'{"create":{"status":201}}'] * documents) + b"]}"
            reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
            if len(self.replies) < 1000:
                self.replies[documents] = reply
        self._transport.write(reply)


async def _serve_sink(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Sink, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps(_Sink.totals), flush=True)


def _serve_model(port: int) -> None:
    server = Server()
    with server:
        print(server.port, flush=True)
        sys.stdin.read()
    print(json.dumps({"requests": len(server.seen), "documents": len(server.model.documents), "port": port}), flush=True)


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=["sink", "model"], default="sink")
    options = parser.parse_args()
    if options.mode == "sink":
        asyncio.run(_serve_sink(options.port))
    else:
        _serve_model(options.port)


if __name__ == "__main__":
    main()
