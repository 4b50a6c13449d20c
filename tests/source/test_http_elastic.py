"""The Elasticsearch shape: what clients ask, bulk requests item by item, and the official client on a real socket."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from elasticsearch import AuthenticationException, Elasticsearch, helpers

from shipper.config.fields import Secret
from shipper.source.http import Http
from shipper.source.push import DELIVERY_ROWS_MAX
from tests.kit.http_client import BULK, ELASTIC, Client, config, request

BASIC = config(user="ada", password=Secret("love:lace"))
TOKEN = config(token=Secret("t0ken"))


@pytest.mark.parametrize(
    "path",
    ["/", "/_license", "/_xpack", "/_cluster/health", "/_template/filebeat", "/_index_template/f", "/_ilm/policy/f", "/_ingest/pipeline/p",
     "/_component_template/c", "/health"],
)  # fmt: skip
def test_what_clients_ask_on_start_is_there(path: str) -> None:
    """GET and HEAD are answered alike, with the header of the product; writing is not allowed."""
    status, headers, document = Client().send(request("GET", path)).reply
    assert status == 200
    assert headers["x-elastic-product"] == "Elasticsearch"
    assert document
    head = Client().send(request("HEAD", path))
    assert head.sent.endswith(b"\r\n\r\n")
    assert f"Content-Length: {headers['content-length']}".encode() in head.sent
    if path not in ("/", "/health"):
        assert Client().send(request("PUT", path, b"{}")).reply[0] == 405


def test_unknown_paths_have_the_shape_of_the_error_that_clients_know() -> None:
    """404, with type and reason."""
    status, _, document = Client().send(request("GET", "/_cat/indices")).reply
    assert status == 404
    assert document["status"] == 404
    assert document["error"]["type"] == "resource_not_found_exception"


def test_versioned_media_types_are_answered_in_kind() -> None:
    """By Accept, else by the type of the body; plain JSON otherwise."""
    accept = {"Accept": "application/vnd.elasticsearch+json; compatible-with=8"}
    assert (
        Client().send(request("GET", headers=accept)).reply[1]["content-type"]
        == "application/vnd.elasticsearch+json;compatible-with=8"
    )
    nine = ELASTIC.replace("8", "9")
    body = request(path="/things/_bulk", body=BULK, kind=nine)
    assert Client().send(body).reply[1]["content-type"] == "application/vnd.elasticsearch+json;compatible-with=9"
    assert Client().send(request("GET")).reply[1]["content-type"] == "application/json"


def test_bulk_requests_are_answered_item_by_item() -> None:
    """Rows, tags and identities of what is taken; errors of what is not, in the order of the request."""
    body = (
        b'{"create":{"_index":"logs-a","_id":"1"}}\n{"n":1}\n'
        b'{"delete":{"_index":"logs-a","_id":"1"}}\n'
        b'\n{"index":{"_id":7}}\r\n {"n":2} \n'
        b'{"update":{"_id":"1"}}\n{"doc":{}}\n'
        b'{"create":{}}\nno object\n'
        b'{"create":{"_id":"' + b"i" * 600 + b'"}}\n{}\n'
        b'{"create":{}}\n{"n":3}'
    )
    client = Client().send(request("PUT", "/my%2Dlogs/_bulk?refresh=true", body, ELASTIC))
    status, _, document = client.reply
    (delivery,) = client.deliveries
    assert (status, document["errors"]) == (200, True)
    assert delivery.rows == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    assert delivery.tags == ["logs-a", "my-logs", "my-logs"]
    actions = [next(iter(item)) for item in document["items"]]
    assert actions == ["create", "delete", "index", "update", "create", "create", "create"]
    results = [next(iter(item.values())) for item in document["items"]]
    assert [result["status"] for result in results] == [201, 400, 201, 400, 400, 400, 201]
    assert results[0] == {"_index": "logs-a", "_id": "1", "_version": 1, "result": "created", "status": 201}
    assert [result["_id"] for result in results[:4]] == ["1", "1", "7", "1"]
    assert results[6]["_id"].encode() == delivery.ids[2]
    kinds = ["action_request_validation_exception"] * 2 + ["document_parsing_exception", "illegal_argument_exception"]
    assert [result["error"]["type"] for result in results if "error" in result] == kinds


def test_identities_of_bulk_items_come_of_index_and_id() -> None:
    """The same for the same, in whatever request; others for another index; of the key or of chance without an id."""

    def ids(path: str, body: bytes, **headers: str) -> list[bytes]:
        (delivery,) = Client().send(request(path=path, body=body, headers=headers)).deliveries
        assert all(re.fullmatch(rb"[A-Za-z0-9_-]{1,64}", identity) for identity in delivery.ids)
        return delivery.ids

    named = b'{"create":{"_id":"\\u00fc/1"}}\n{}\n'
    assert ids("/a/_bulk", named) == ids("/a/_doc/_bulk", b'{"index":{"_index":"a","_id":"\xc3\xbc/1"}}\n{"x":1}\n')
    assert ids("/a/_bulk", named) != ids("/b/_bulk", named)
    unnamed = b'{"create":{}}\n{}\n{"create":{}}\n{}\n'
    keyed = ids("/a/_bulk", unnamed, **{"Idempotency-Key": "k"})
    assert keyed == ids("/a/_bulk", unnamed, **{"Idempotency-Key": "k"})
    assert len({*keyed, *ids("/a/_bulk", unnamed)}) == 4


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"nothing\n{}\n", b'{"create":{"_index":"a"}}\n', b'{"create":{"_index":"a"}}\n\n{}\n', b'{"create":{}}\n{}\n', b'{"create":{"_index":1}}\n{}\n',
     b'{"foo":{}}\n{}\n', b'{"create":{},"index":{}}\n{}\n', b"[]\n{}\n", b'{"create":{"_index":"' + b"x" * 300 + b'"}}\n{}\n', b'{"create":{"_index":"\xff"}}\n{}\n'],
)  # fmt: skip
def test_bodies_that_are_not_in_the_bulk_form_are_refused_whole(body: bytes) -> None:
    """As Elasticsearch does, with 400 for the request."""
    client = Client().send(request(path="/_bulk", body=b'{"create":{"_index":"ok"}}\n{}\n' * bool(body.strip()) + body))
    assert client.reply[0] == 400
    assert client.reply[2]["status"] == 400
    assert client.rows == []


def test_items_of_parts_that_were_refused_are_answered_with_429() -> None:
    """Item by item, so that only they are sent again; the whole request where nothing was taken."""
    count = DELIVERY_ROWS_MAX + 3
    body = b'{"delete":{"_index":"i"}}\n' + b'{"create":{"_index":"i"}}\n{}\n' * count
    client = Client(busy=(2,)).send(request(path="/_bulk?filter_path=errors,items.*.status", body=body))
    statuses = [next(iter(item.values()))["status"] for item in client.reply[2]["items"]]
    assert statuses == [400] + [201] * DELIVERY_ROWS_MAX + [429] * 3
    assert client.reply[2]["errors"]
    whole = Client(busy=(1,)).send(request(path="/i/_bulk", body=b'{"create":{}}\n{}\n'))
    assert whole.reply[0] == 429
    assert whole.reply[1]["retry-after"] == "1"


def test_clients_that_want_only_the_statuses_get_no_more() -> None:
    """`filter_path`, as Beats and this agent ask for it."""
    path = "/i/_bulk?filter_path=errors%2Citems.*.error,items.*.status"
    reply = Client().send(request(path=path, body=b'{"create":{}}\n{}\n')).reply[2]
    assert reply == {"errors": False, "took": 0, "items": [{"create": {"status": 201}}]}
    many = "/i/_bulk?filter_path=errors" + "&x=1" * 200
    assert "_index" in Client().send(request(path=many, body=b'{"create":{}}\n{}\n')).reply[2]["items"][0]["create"]


class _Handler(socketserver.BaseRequestHandler):
    """Carries out a connection's commands on a socket; everything is durable at once."""

    def handle(self) -> None:
        client = Client(self.server.settings)
        while not client.closed:
            data = self.request.recv(65536)
            client.carry(client.machine.received(data, 0.0) if data else client.machine.ended(0.0))
            self.request.sendall(client.sent)
            client.sent = b""
        self.server.clients.append(client)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True
    settings: Http.Config
    clients: list[Client]


@contextmanager
def serving(settings: Http.Config) -> Iterator[tuple[str, list[Client]]]:
    """A server on the loopback, its address, and the connections that ended."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.settings, server.clients = settings, []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", server.clients
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("compressed", [False, True])
def test_the_official_client_writes_with_its_helpers(compressed: bool) -> None:
    """Index and create, with and without ids; each document arrives once, and item errors are told."""
    documents = [{"_op_type": ("index", "create")[n % 2], "_index": f"logs-{n % 3}", "_id": str(n), "n": n} for n in range(2000)]
    actions = [*documents, {"_op_type": "delete", "_index": "logs-0", "_id": "1"}, {"_index": "logs-9", "message": "no id"}]
    with serving(BASIC) as (url, clients):
        with Elasticsearch(url, basic_auth=("ada", "love:lace"), http_compress=compressed) as elastic:
            assert elastic.info()["version"]["number"].startswith("8.")
            assert elastic.ping()
            assert elastic.license.get()["license"]["status"] == "active"
            done, errors = helpers.bulk(elastic, actions, chunk_size=700, raise_on_error=False)
    assert done == 2001
    assert [error["delete"]["status"] for error in errors] == [400]
    rows = [json.loads(row) for client in clients for row in client.rows]
    assert [row["n"] for row in rows if "n" in row] == list(range(2000))
    assert rows[-1] == {"message": "no id"}
    ids = [identity for client in clients for delivery in client.deliveries for identity in delivery.ids]
    assert len({*ids}) == 2001


def test_the_official_client_is_told_of_wrong_credentials() -> None:
    """As the exception that it has for it."""
    with serving(TOKEN) as (url, _), Elasticsearch(url, api_key="wrong") as elastic:
        with pytest.raises(AuthenticationException):
            elastic.info()
    with serving(TOKEN) as (url, _), Elasticsearch(url, bearer_auth="t0ken") as elastic:
        assert elastic.info()["tagline"] == "You Know, for Search"
