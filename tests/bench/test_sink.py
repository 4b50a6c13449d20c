"""The sink answers like Elasticsearch and counts what came."""

from __future__ import annotations

import gzip
import http.client
import json
from pathlib import Path

from tests.bench.processes import sink

BODY = b'{"create":{"_index":"a","_id":"1"}}\n{"n":1}\n{"create":{"_index":"a","_id":"2"}}\n{"n":2}\n'


def test_sink_answers_each_document_and_counts_them_when_the_connection_is_kept(tmp_path: Path) -> None:
    """Two requests on one connection, one of them gzip: an item a document, counts and stored bodies fit."""
    store = tmp_path / "stored"
    with sink(store=store) as running:
        connection = http.client.HTTPConnection(running.url.removeprefix("http://"))
        for body, headers in ((BODY, {}), (gzip.compress(BODY), {"Content-Encoding": "gzip"})):
            connection.request("POST", "/prefix/_bulk?filter_path=errors,items.*.status", body, headers)
            reply = connection.getresponse()
            assert reply.status == 200
            assert json.loads(reply.read()) == {"errors": False, "items": [{"create": {"status": 201}}] * 2}
        assert running.documents() == 4
        assert store.read_bytes() == BODY * 2
        running.reset()
        assert running.documents() == 0
        assert store.read_bytes() == b""
        connection.close()


def test_sink_says_a_version_when_it_is_asked(tmp_path: Path) -> None:
    """What an agent may ask for on its way in has an answer."""
    with sink() as running:
        connection = http.client.HTTPConnection(running.url.removeprefix("http://"))
        connection.request("GET", "/_nodes/_local?filter_path=nodes.*.version")
        reply = connection.getresponse()
        assert reply.headers["X-Elastic-Product"] == "Elasticsearch"
        assert json.loads(reply.read())["nodes"]["sink"]["version"] == "8.19.21"
        connection.close()
