"""nginx and Apache serve real requests, and the ready pipelines read what they logged of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import program
from tests.kit.site import ROOT, bulk_documents, shipper
from tests.real.web_servers import WebServer, running

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
REQUESTS: list[tuple[str, dict[str, str]]] = [
    ("/", {"User-Agent": BROWSER}),
    ("/nothing?card=4111111111111111", {"User-Agent": 'a "quoted" \\ name'}),
    ("/denied", {}),
    ("/m%C3%BCnchen?q=1", {"Referer": 'http://shop.example/?x="1"'}),
]
RAW = [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /\xc3\xbc HTTP/1.0\r\n\r\n"]
NEEDS = {"nginx": "nginx", "apache": "apache2"}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.needs(needed)) for name, needed in NEEDS.items()])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, WebServer]]:
    """A server that has answered all requests, and was ended in order, so that its logs are whole."""
    name: str = request.param
    path = program(NEEDS[name])
    assert path is not None
    with running(NEEDS[name], path, tmp_path_factory.mktemp(name) / "server") as server:
        assert [server.get(path, headers=headers) for path, headers in REQUESTS] == [200, 404, 403, 404]
        for raw in RAW:
            assert server.ask(raw)
        if name == "nginx":
            assert server.get("/forwarded", headers={"X-Forwarded-For": "81.2.69.142, 10.0.0.1"}) == 204
    yield name, server


@pytest.fixture(scope="module")
def documents(served: tuple[str, WebServer], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the pipeline made of the logs, by file, in order; everything was read, and nothing refused."""
    name, server = served
    place = tmp_path_factory.mktemp("state")
    env = {f"{name.upper()}_LOGS": str(server.folder), "SHIPPER_STATE": str(place)}
    told = shipper("run", "--once", "--json", "--output", f"local:{place}/out", f"{ROOT}/pipelines/{name}.yaml", env=env)
    assert told.code == 0, told.err[-2000:]
    assert told.account["flagged"].get("parse_error", 0) == 0
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((place / "out").glob("*.ndjson")):
        for index, _, document in bulk_documents(path.read_bytes()):
            document["_index"] = index.rpartition("-")[0]
            found.setdefault(Path(document["log"]["file"]["path"]).name, []).append(document)
    return {file: sorted(lines, key=lambda one: one["log"]["offset"]) for file, lines in found.items()}


def test_each_request_is_a_document_with_what_was_asked_and_answered(
    documents: dict[str, list[dict[str, Any]]], served: Any
) -> None:
    """Method, URL, version, status, size, referrer and user agent; what is not there is left out."""
    name, server = served
    lines = documents["access.log"]
    assert len(lines) == (server.folder / "access.log").read_bytes().count(b"\n") == len(REQUESTS) + len(RAW)
    first, nothing, denied, city, *rest = lines
    assert {line["_index"] for line in lines} == {f"{name}-access"}
    assert {line["client.ip"] for line in lines} == {"127.0.0.1"}
    wanted = {"http.request.method": "GET", "url.original": "/", "http.version": "1.1", "http.response.status_code": 200}
    assert wanted.items() <= first.items()
    assert first["message"] == "GET / HTTP/1.1"
    assert first["user_agent.original"] == BROWSER
    assert (first["user_agent"]["name"], first["user_agent"]["os"]["name"]) == ("Firefox", "Linux")
    assert nothing["url.original"] == "/nothing?card=[REDACTED:card]"
    assert (denied["http.response.status_code"], "user_agent.original" in denied) == (403, False)
    assert city["url.original"] == "/m%C3%BCnchen?q=1"
    assert city["http.request.referrer"].startswith("http://shop.example/?x=")
    handshake, umlaut = rest
    assert handshake["message"].startswith("\\x16\\x03\\x01")
    assert ("url.original" in handshake, handshake["http.response.status_code"]) == (False, 400)
    assert umlaut["http.version"] == "1.0"


def test_every_error_that_was_logged_is_a_document_with_its_level(
    documents: dict[str, list[dict[str, Any]]], served: Any
) -> None:
    """What was not found or denied, with the client; and what the server says of itself, without one."""
    name, server = served
    lines = documents["error.log"]
    assert len(lines) == (server.folder / "error.log").read_bytes().count(b"\n")
    assert {line["_index"] for line in lines} == {f"{name}-error"}
    assert all(line["log.level"] and line["message"] and line["@timestamp"] for line in lines)
    (denied,) = [line for line in lines if "denied" in line["message"] or "forbidden" in line["message"]]
    assert (denied["log.level"], denied["client.ip"]) == ("error", "127.0.0.1")
    assert any("client.ip" not in line for line in lines)


def test_the_other_formats_that_the_servers_come_with_are_read_too(
    documents: dict[str, list[dict[str, Any]]], served: tuple[str, WebServer]
) -> None:
    """`common` and `vhost_combined` of Apache, and nginx's with the forwarded address behind."""
    name, server = served
    others = {"nginx": ["forwarded-access.log"], "apache": ["common-access.log", "vhost-access.log"]}[name]
    for file in others:
        assert len(documents[file]) == (server.folder / file).read_bytes().count(b"\n") > 0
    last = documents[others[-1]]
    if name == "apache":
        assert {line["url.domain"] for line in last} == {"localhost"}
    else:
        assert [line["http.request.header.x-forwarded-for"] for line in last] == ["81.2.69.142, 10.0.0.1"]
