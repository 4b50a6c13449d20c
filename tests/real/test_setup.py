"""`shipper setup`: the templates are put, documents fall under them, and the queries they are for find what they should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.node import Client
from tests.real.world import World

LONDON = {"lat": 51.5142, "lon": -0.0931}
RECORDS = [
    {"timestamp": "2026-02-05T08:00:00.000Z", "level": "ERROR", "service": "api", "message": "one", "client_ip": "81.2.69.142", "trace_id": "t-1"},
    {"timestamp": "2026-02-05T09:00:00+01:00", "level": "INFO", "service": "api", "message": "two", "client_ip": "81.2.69.160", "duration_ms": 5},
    {"timestamp": "2026-02-06T08:00:00.000Z", "level": "INFO", "service": "web", "message": "three", "client_ip": "89.160.20.112"},
    {"timestamp": "2026-02-07T08:00:00.000Z", "level": "INFO", "service": "web", "message": "four", "client_ip": "10.1.2.3"},
    {"timestamp": "2026-02-07T09:00:00.000Z", "level": "INFO", "service": "web", "message": "five", "client_ip": "not an address"},
]  # fmt: skip


@pytest.fixture
def templated(world: World) -> Iterator[World]:
    """A world whose templates are put by `shipper setup`, and taken away after the test."""
    ended = world.command("setup", str(world.pipeline)).wait()
    if "this is not Elasticsearch" in ended.log:
        put_printed(world)
    else:
        assert ended.code == 0, ended
    yield world
    for name in template_names(world.node, "index", world.prefix):
        world.node.ask("DELETE", f"_index_template/{name}")
    world.node.ask("DELETE", f"_component_template/shipper-{world.prefix}")


def put_printed(world: World) -> None:
    """Put what `setup --print` shows, as the agent says to do for OpenSearch, which the official client refuses to talk to."""
    for piece in world.command("setup", "--print", str(world.pipeline)).wait().text.split("PUT ")[1:]:
        path, body = piece.split("\n", 1)
        world.node.ask("PUT", path, body)


def template_names(node: Client, kind: str, prefix: str) -> set[str]:
    """Names of the templates of a pipeline."""
    said = node.ask("GET", f"_{kind}_template/shipper-{prefix}*")
    return {template["name"] for template in said[f"{kind}_templates"]}


def found(world: World, query: dict[str, Any]) -> set[str]:
    """The messages of the documents that a query finds."""
    said = world.node.ask("POST", f"{world.prefix}*/_search", {"query": query, "size": 100})
    return {hit["_source"]["message"] for hit in said["hits"]["hits"]}


def test_setup_puts_a_template_for_each_family(templated: World) -> None:
    """One component template, one index template a route; putting them again changes nothing and works."""
    prefix = templated.prefix
    names = {f"shipper-{prefix}-{family}" for family in (prefix, f"{prefix}-errors", f"{prefix}-performance")}
    assert template_names(templated.node, "component", prefix) == {f"shipper-{prefix}"}
    assert template_names(templated.node, "index", prefix) == names
    before = templated.node.ask("GET", f"_index_template/shipper-{prefix}*")
    again = templated.command("setup", str(templated.pipeline)).wait()
    assert "this is not Elasticsearch" in again.log or (again.code == 0 and all(name in again.text for name in names))
    assert templated.node.ask("GET", f"_index_template/shipper-{prefix}*") == before


def test_setup_prints_what_it_would_put_when_asked(world: World) -> None:
    """`--print` says method, path and body of each template, and puts none."""
    ended = world.command("setup", "--print", str(world.pipeline)).wait()
    assert ended.code == 0
    paths = [line.split("/")[-1] for line in ended.text.splitlines() if line.startswith("PUT ")]
    assert len(paths) == 4 and paths[0] == f"shipper-{world.prefix}"
    assert world.node.request("GET", f"_component_template/shipper-{world.prefix}")[0] == 404
    body = json.loads(ended.text.split("\n", 1)[1].split("\nPUT ")[0])
    assert body["template"]["mappings"]["properties"]["client"]["properties"]["geo"]["properties"]["location"] == {
        "type": "geo_point"
    }


def test_mapping_has_types_when_documents_fell_under_the_templates(templated: World) -> None:
    """Points, addresses, dates and ECS aliases are mapped as such in every family, also where no document had them."""
    templated.write(RECORDS)
    templated.once()
    types = {
        "client.geo.location": "geo_point",
        "client.ip": "ip",
        "client.as.number": "long",
        "client.geo.city_name": "keyword",
        "client_ip": "ip",
        "@timestamp": "date",
        "level": "keyword",
        "log.level": "alias",
        "trace.id": "alias",
        "message": "text",
        "duration_ms": "double",
        "log.offset": "long",
        "log.file.path": "keyword",
        "host.name": "keyword",
    }
    indices = templated.node.indices(f"{templated.prefix}*")
    assert len(indices) == 4
    for index in indices:
        properties = templated.node.ask("GET", f"{index}/_mapping")[index]["mappings"]["properties"]
        assert {field: type_of(properties, field) for field in types} == types, index


def type_of(properties: dict[str, Any], field: str) -> str:
    """The mapped type of a dotted field."""
    head, _, rest = field.partition(".")
    return type_of(properties[head]["properties"], rest) if rest else properties[head]["type"]


def test_queries_find_documents_when_mapped_by_the_templates(templated: World) -> None:
    """Distance, network, time and alias queries find the records they should, and no others."""
    templated.write(RECORDS)
    assert templated.once().account["created"] == len(RECORDS) == templated.count()
    near_london = {"geo_distance": {"distance": "50km", "client.geo.location": LONDON}}
    assert found(templated, near_london) == {"one", "two"}
    assert found(templated, {"term": {"client_ip": "81.2.69.0/24"}}) == {"one", "two"}
    assert found(templated, {"term": {"client.ip": "10.0.0.0/8"}}) == {"four"}
    assert found(templated, {"range": {"client_ip": {"gte": "81.2.69.150", "lte": "90.0.0.0"}}}) == {"two", "three"}
    from_eight = {"gte": "2026-02-05T08:00:00Z", "lt": "2026-02-07T00:00:00Z"}
    assert found(templated, {"range": {"@timestamp": from_eight}}) == {"one", "two", "three"}
    assert found(templated, {"term": {"log.level": "ERROR"}}) == {"one"}
    assert found(templated, {"term": {"trace.id": "t-1"}}) == {"one"}
    assert found(templated, {"term": {"client.geo.city_name": "London"}}) == {"one", "two"}
    assert found(templated, {"match": {"message": "FIVE"}}) == {"five"}
