"""What a request asks: who may, where it leads, which records it brings, and what the client is told when they are stored.

RULES
- Without the right user, password or token everything but `/health` is 401. They are compared in constant time.
- 404 for what is not there, 405 for a method that does not fit, 411 where a POST says nothing of its length, 415 for a type or a
  coding that is not understood; in this order, and all of them before the body is read into memory.
- Answers have Elasticsearch's shape for errors. Clients that speak its versioned media types are answered in the same
  (Elasticsearch reference, "REST API compatibility").
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, unquote

import msgspec

from shipper.source import http_body, http_elastic
from shipper.source.http_body import RefusedError
from shipper.source.push import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from shipper.source.http import Http

_READERS: dict[str, Callable[[bytes], list[bytes]]] = {
    "application/json": http_body.elements,
    "application/x-ndjson": http_body.ndjson,
    "application/ndjson": http_body.ndjson,
    "text/plain": http_body.lines,
}
_BULK_TYPES = {"application/json", "application/x-ndjson", "application/ndjson"}
_VERSIONED = re.compile(r"application/vnd\.elasticsearch\+(?:x-nd)?json *; *compatible-with *= *([0-9]{1,2})")
_WRITES = {"POST", "PUT"}
_READS = {"GET", "HEAD"}
_MAX_PARAMETERS = 100


class Answer(msgspec.Struct):
    """What the client is told."""

    status: int
    document: object
    headers: tuple[tuple[str, str], ...] = ()


class Request(msgspec.Struct):
    """The head of a request, names of headers in lower case; those given twice are joined by a comma."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    started: float

    @property
    def media(self) -> str:
        """The type of the body, without parameters, in its usual spelling."""
        named = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return named.replace("application/vnd.elasticsearch+", "application/")

    @property
    def answered_as(self) -> str:
        """The media type for the answer."""
        versioned = _VERSIONED.search(self.headers.get("accept", "").lower() or self.headers.get("content-type", "").lower())
        return f"application/vnd.elasticsearch+json;compatible-with={versioned[1]}" if versioned else "application/json"

    @property
    def has_body(self) -> bool:
        """Whether the head says that a body follows, be it an empty one."""
        return "content-length" in self.headers or "transfer-encoding" in self.headers


class Job(Protocol):
    """Records to be stored, and the answer that waits for it."""

    delivery: Delivery

    def answer(self, busy: Collection[int], now: float) -> Answer:
        """The answer; records at places in `busy` were not taken."""
        ...


class Route(Protocol):
    """Where a request leads, once its body is there."""

    def __call__(self, request: Request, body: bytes) -> Answer | Job:
        """Read the body. Raises RefusedError."""
        ...


def parsed(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], now: float) -> Request:
    """Return the head of a request as h11 found it."""
    text = target.decode("latin-1")
    if not text.startswith("/"):  # the absolute form, RFC 9112, 3.2.2
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, _, query = text.partition("?")
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.decode("latin-1")
        found[key] = f"{found[key]}, {value.decode('latin-1')}" if key in found else value.decode("latin-1")
    try:
        parameters = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS))
    except ValueError:
        parameters = {}
    return Request(method.decode("latin-1"), unquote(path), parameters, found, now)


class Door:
    """Knows who may come in."""

    def __init__(self, config: Http.Config) -> None:
        """Take what is wanted of clients; nothing where there are neither password nor token."""
        self._wanted: list[bytes] = []
        self._schemes: list[str] = []
        if config.user is not None and config.password is not None:
            pair = b64encode(f"{config.user}:{config.password}".encode()).decode()
            self._wanted.append(_digest(f"basic {pair}"))
            self._schemes.append('Basic realm="shipper", charset="UTF-8"')
        if config.token is not None:
            self._wanted += [_digest(f"{scheme} {config.token}") for scheme in ("bearer", "apikey")]
            self._schemes.append("Bearer")

    def admits(self, request: Request) -> bool:
        """Whether the client may come in."""
        scheme, _, proof = request.headers.get("authorization", "").strip().partition(" ")
        proof = proof.strip()
        if scheme.lower() == "basic":
            proof = _canonical(proof)
        given = _digest(f"{scheme.lower()} {proof}")
        right = [compare_digest(given, wanted) for wanted in self._wanted]
        return any(right) or not self._wanted

    def refusal(self) -> Answer:
        """401, with how to do it right."""
        document = http_elastic.error(401, "security_exception", "missing or wrong credentials")
        return Answer(401, document, tuple(("WWW-Authenticate", scheme) for scheme in self._schemes))


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogateescape")).digest()


def _canonical(proof: str) -> str:
    """Base64 with the padding that some clients leave out."""
    try:
        return b64encode(b64decode(proof + "=" * (-len(proof) % 4))).decode()
    except (ValueError, binascii.Error):
        return ""


class Router:
    """Leads requests to what reads their body."""

    def __init__(self, config: Http.Config, random: Callable[[int], bytes]) -> None:
        """`random` makes names for bulk items."""
        self._path = config.path
        self._max_body = config.max_body
        self._random = random
        self._door = Door(config)

    def route(self, request: Request) -> Route | Answer:
        """Where a request leads, by its head alone; an answer where its body does not matter."""
        path = request.path.strip("/")
        if path == "health" and request.method in _READS:
            return Answer(200, {"status": "ok"})
        if not self._door.admits(request):
            return self._door.refusal()
        index = http_elastic.bulk_index(path)
        if index is not None:
            return self._checked(request, _WRITES, _BULK_TYPES, self._bulk)
        if path == self._path.strip("/") and request.method not in _READS:
            return self._checked(request, {"POST"}, _READERS.keys(), self._records)
        return self._asked(request, path)

    def _asked(self, request: Request, path: str) -> Answer:
        document = http_elastic.answer(path)
        if document is None:
            return (
                _not_allowed({"POST"})
                if path == self._path.strip("/")
                else _error(404, "resource_not_found_exception", "not here")
            )
        if request.method in _READS:
            return Answer(200, document)
        return _not_allowed(_READS)

    def _checked(self, request: Request, methods: Collection[str], types: Collection[str], route: Route) -> Route | Answer:
        if request.method not in methods:
            return _not_allowed(methods)
        if not request.has_body:
            return _error(411, "length_required", "a request with a body says its length, or is chunked")
        if request.media not in types:
            return _error(415, "media_type_header_exception", f"Content-Type: expected one of {', '.join(sorted(types))}")
        try:
            http_body.codings(request.headers.get("content-encoding", ""))
        except RefusedError as refusal:
            return refused(refusal)
        return route

    def _decoded(self, request: Request, body: bytes) -> bytes:
        return http_body.undone(body, request.headers.get("content-encoding", ""), self._max_body)

    def _records(self, request: Request, body: bytes) -> Job:
        rows = http_body.fitting(_READERS[request.media](self._decoded(request, body)))
        key = request.headers.get("idempotency-key")
        prefix = http_elastic.hashed(key.encode()) if key else b""
        ids = [b"%b-%d" % (prefix, number) for number in range(len(rows))] if key else None
        return Records(Delivery(rows, ids=ids))

    def _bulk(self, request: Request, body: bytes) -> Job:
        index = http_elastic.bulk_index(request.path.strip("/")) or ""
        items = http_elastic.items(self._decoded(request, body), index)
        key = request.headers.get("idempotency-key")
        prefix = http_elastic.hashed(key.encode() if key else self._random(16))
        return Bulk(items, http_elastic.identified(items, prefix), request)


class Records:
    """Records of a plain request."""

    def __init__(self, delivery: Delivery) -> None:
        """Take them."""
        self.delivery = delivery

    def answer(self, busy: Collection[int], now: float) -> Answer:  # noqa: ARG002
        """200, or 429 where only a part was taken: the client sends all again."""
        return full() if busy else Answer(200, {"accepted": len(self.delivery.rows)})


class Bulk:
    """Items of a bulk request, of which those that are sound are records."""

    def __init__(self, items: list[http_elastic.Item], ids: list[bytes], request: Request) -> None:
        """Take the items with their identities."""
        self._items, self._request = items, request
        self._places = [number for number, item in enumerate(items) if item.refusal is None]
        self.delivery = Delivery(
            [items[number].row for number in self._places],
            tags=[http_elastic.tag(items[number].index) for number in self._places],
            ids=[ids[number] for number in self._places],
        )

    def answer(self, busy: Collection[int], now: float) -> Answer:
        """200 with a result for each item; 429 as a whole where nothing was taken at all."""
        if busy and len(busy) == len(self._items):
            return full()
        took = int((now - self._request.started) * 1000)
        places = {self._places[number] for number in busy}
        return Answer(200, http_elastic.reply(self._items, places, took, self._request.query.get("filter_path", "")))


def full() -> Answer:
    """429: to be sent again."""
    answer = _error(429, "es_rejected_execution_exception", "the agent takes no more at the moment")
    answer.headers = (("Retry-After", "1"),)
    return answer


def refused(refusal: RefusedError) -> Answer:
    """The answer of a refusal."""
    return _error(refusal.status, refusal.kind, refusal.reason)


def _error(status: int, kind: str, reason: str) -> Answer:
    return Answer(status, http_elastic.error(status, kind, reason))


def _not_allowed(methods: Collection[str]) -> Answer:
    answer = _error(405, "method_not_allowed", f"allowed: {', '.join(sorted(methods))}")
    answer.headers = (("Allow", ", ".join(sorted(methods))),)
    return answer
