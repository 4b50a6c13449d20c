"""The other side of the benchmark: a process that takes `_bulk` bodies, counts documents and answers item by item.

    python -m tests.bench.sink [--core 1] [--store FILE]

RULES
- It prints `listening PORT` on its first line, and ends when its standard input does.
- `POST .../_bulk` is answered as Elasticsearch does with `filter_path=errors,items.*.status`: one item a document, all created.
  Replies are made once for each number of documents. gzip bodies are unpacked to be counted.
- `GET /count` tells `{"documents", "requests", "bytes"}` so far, `POST /reset` starts anew; other requests get what an agent
  may ask for on its way in: a version, an empty object.
- `--store` appends all bodies, unpacked, to a file: the documents, to be compared.
- For tests on one machine: 127.0.0.1 only, one thread a connection, bodies with a Content-Length.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import socket
import sys
import threading
import zlib
from http import HTTPStatus
from typing import BinaryIO

COUNT_PATH, RESET_PATH = "/count", "/reset"
BODY_BYTES_MAX = 1 << 28


class Tally:
    """What came so far, over all connections."""

    def __init__(self, store: BinaryIO | None) -> None:
        """Begin at nothing; `store` takes the bodies."""
        self._lock = threading.Lock()
        self._store = store
        self.documents = self.requests = self.bytes = 0

    def add(self, body: bytes, sent_bytes: int) -> int:
        """Count a bulk body that came as `sent_bytes` on the wire; return its documents."""
        documents = body.count(b"\n") // 2
        with self._lock:
            self.documents += documents
            self.requests += 1
            self.bytes += sent_bytes
            if self._store is not None:
                self._store.write(body)
                self._store.flush()
        return documents

    def reset(self) -> None:
        """Begin at nothing again; the store is emptied."""
        with self._lock:
            self.documents = self.requests = self.bytes = 0
            if self._store is not None:
                self._store.truncate(0)
                self._store.seek(0)


@functools.lru_cache(maxsize=4096)
def bulk_reply(documents: int) -> bytes:
    """The whole reply, head and body, that says `documents` times created."""
    items = ",".join(['{"create":{"status":201}}'] * documents)
    return reply(f'{{"errors":false,"items":[{items}]}}'.encode())


def reply(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> bytes:
    """A reply with JSON, head included; the connection stays open."""
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\nX-Elastic-Product: Elasticsearch\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def serve(connection: socket.socket, tally: Tally) -> None:
    """Answer the requests of one connection until the client closes it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as reader:
        while line := reader.readline(1 << 16):
            method, path, _ = line.decode("latin-1").split(" ", 2)
            headers = _headers(reader)
            body = reader.read(min(int(headers.get("content-length", 0)), BODY_BYTES_MAX))
            connection.sendall(_answer(method, path.split("?")[0], headers, body, tally))


def _headers(reader: BinaryIO) -> dict[str, str]:
    headers = {}
    while (line := reader.readline(1 << 16)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _answer(method: str, path: str, headers: dict[str, str], body: bytes, tally: Tally) -> bytes:
    if method == "POST" and path.endswith("/_bulk"):
        if "content-length" not in headers:
            return reply(b"{}", HTTPStatus.LENGTH_REQUIRED)
        sent_bytes = len(body)
        if headers.get("content-encoding") == "gzip":
            body = zlib.decompress(body, wbits=31)
        return bulk_reply(tally.add(body, sent_bytes))
    if path == COUNT_PATH:
        return reply(json.dumps({"documents": tally.documents, "requests": tally.requests, "bytes": tally.bytes}).encode())
    if path == RESET_PATH:
        tally.reset()
        return reply(b"{}")
    if path in ("/", "/_nodes/_local"):
        version = {"version": {"number": "8.19.21", "build_flavor": "default"}, "tagline": "You Know, for Search"}
        return reply(json.dumps(version | {"nodes": {"sink": {"version": "8.19.21"}}}).encode())
    return reply(b"{}")


def main() -> None:
    """Listen on a free port of 127.0.0.1 until standard input ends."""
    parser = argparse.ArgumentParser(description="count bulk documents")
    parser.add_argument("--core", type=int, help="run on this core only")
    parser.add_argument("--store", help="append all bodies to this file")
    options = parser.parse_args()
    if options.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    tally = Tally(open(options.store, "wb") if options.store else None)  # open as long as the process
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening {listener.getsockname()[1]}", flush=True)
    threading.Thread(target=_accept, args=(listener, tally), daemon=True).start()
    sys.stdin.read()


def _accept(listener: socket.socket, tally: Tally) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, tally), daemon=True).start()


if __name__ == "__main__":
    main()
