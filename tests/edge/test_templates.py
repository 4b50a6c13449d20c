"""`shipper setup`: what Elasticsearch is told before the first document, and what the user reads when it does not listen."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shipper.edge import templates
from shipper.encode.ecs import TABLE
from tests.kit.site import ROOT, Site, shipper

GEOIP = ROOT / "shipper/data/geoip/GeoLite2-City-Test.mmdb"


@dataclass
class Cluster:
    """Takes templates as Elasticsearch does, or answers otherwise."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"x-elastic-product": "Elasticsearch"})
    puts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    authorization: set[str | None] = field(default_factory=set)
    url: str = ""


class _Server(ThreadingHTTPServer):
    cluster: Cluster
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_PUT(self) -> None:
        """Take a template."""
        cluster = self.server.cluster
        body = self.rfile.read(int(self.headers["content-length"]))
        cluster.puts.append((self.path, json.loads(body)))
        cluster.authorization.add(self.headers.get("authorization"))
        answer = (
            b'{"acknowledged":true}'
            if cluster.status == 200
            else b'{"error":{"type":"security_exception","reason":"no"},"status":403}'
        )
        self.send_response(cluster.status)
        for name, value in {"content-type": "application/json", "content-length": str(len(answer)), **cluster.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster on this machine."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.cluster = made = Cluster()
    made.url = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def configured(site: Site, **output: Any) -> Site:
    """A pipeline with two index families and an enriched address."""
    site.configure(
        stages=[{"geoip": {"field": "client_ip", "target": "client", "databases": [str(GEOIP)]}}],
        route=[{"when": {"level": "ERROR"}, "index": "app-errors"}, {"index": "app"}],
        output={"type": "elasticsearch", "hosts": ["http://127.0.0.1:9"], **output},
    )
    return site


def test_print_shows_every_template_and_talks_to_nobody(site: Site) -> None:
    """`--print` is for those who put templates by other means; the bodies are JSON that can be sent as they are."""
    told = shipper("setup", "--print", configured(site).pipeline)
    assert (told.code, told.err) == (0, "")
    pages = [page.split("\n", 1) for page in told.out.split("PUT ")[1:]]
    assert [head for head, _ in pages] == [
        "/_component_template/shipper-app",
        "/_index_template/shipper-app-app",
        "/_index_template/shipper-app-app-errors",
    ]
    bodies = [json.loads(body) for _, body in pages]
    fields = bodies[0]["template"]["mappings"]["properties"]
    assert fields["client"]["properties"]["geo"]["properties"]["location"] == {"type": "geo_point"}
    assert fields["client"]["properties"]["ip"]["type"] == fields["client_ip"]["type"] == "ip"
    assert fields["@timestamp"] == {"type": "date"}
    assert (bodies[1]["index_patterns"], bodies[2]["index_patterns"]) == (["app-*"], ["app-errors-*"])
    assert bodies[1]["priority"] < bodies[2]["priority"]


def test_templates_are_put_in_order_and_each_is_told(site: Site, cluster: Cluster) -> None:
    """The component first, as the others are composed of it; what is sent is what `--print` shows."""
    told = shipper("setup", configured(site, hosts=[f"http://{cluster.url}"]).pipeline)
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines() == [
        "component template shipper-app: put", "index template shipper-app-app: put", "index template shipper-app-app-errors: put"
    ]  # fmt: skip
    shown = shipper("setup", "--print", site.pipeline).out.split("PUT ")[1:]
    assert [(head, json.loads(body)) for head, body in (page.split("\n", 1) for page in shown)] == cluster.puts
    assert cluster.authorization == {None}


@pytest.mark.parametrize(
    ("scheme", "settings", "header"),
    [
        ("http://", {"user": "anna", "password": "hunter2"}, "Basic " + base64.b64encode(b"anna:hunter2").decode()),
        ("http://anna:hunter%402@", {}, "Basic " + base64.b64encode(b"anna:hunter@2").decode()),
        ("http://", {"api_key": "a2V5"}, "ApiKey a2V5"),
    ],
)
def test_credentials_are_those_of_the_output_and_are_not_shown(
    site: Site, cluster: Cluster, scheme: str, settings: dict[str, str], header: str
) -> None:
    """User and password, those in the URL, an API key: as for shipping; nothing of them is printed, also where it is refused."""
    configured(site, hosts=[f"{scheme}{cluster.url}"], **settings)
    assert shipper("setup", site.pipeline).code == 0
    assert cluster.authorization == {header}
    cluster.status = 403
    told = shipper("setup", site.pipeline)
    assert told.code == 1 and "shipper: Elasticsearch refused: 403 security_exception" in told.err
    assert "hunter" not in told.err and "a2V5" not in told.err


def test_cluster_that_cannot_be_reached_is_named(site: Site) -> None:
    """Exit code 1 and the hosts, without their credentials; no traceback."""
    told = shipper("setup", configured(site, hosts=["http://anna:hunter2@127.0.0.1:9"]).pipeline)
    assert told.code == 1 and told.err.startswith("shipper: Elasticsearch cannot be reached: ")
    assert told.err.splitlines()[-1].strip() == "Hosts: 127.0.0.1:9"
    assert "hunter2" not in told.err


@pytest.mark.parametrize(("headers", "status"), [({}, 200), ({}, 406)])
def test_what_is_not_elasticsearch_is_told_apart(site: Site, cluster: Cluster, headers: dict[str, str], status: int) -> None:
    """OpenSearch takes the same documents, but not from this client: it lacks a header, or refuses the media type with 406."""
    cluster.headers, cluster.status = headers, status
    told = shipper("setup", configured(site, hosts=[f"http://{cluster.url}"]).pipeline)
    assert told.code == 1
    assert told.err.startswith("shipper: this is not Elasticsearch\n    For OpenSearch send what `shipper setup --print` shows.")


def test_pipeline_without_elasticsearch_has_nothing_to_set_up(site: Site) -> None:
    """The embedded output needs no templates; they can be shown all the same."""
    told = shipper("setup", site.pipeline)
    assert told.code == 1 and "the pipeline's output is not Elasticsearch" in told.err
    assert shipper("setup", "--print", site.pipeline).code == 0


def test_mapping_never_puts_an_object_where_a_record_has_a_plain_value() -> None:
    """A target inside of another and an address inside of an object are joined; a plain field stays plain."""
    found = templates.mapping(["client", "source"], ["client.address", "service.ip", "peer"])["properties"]
    assert found["client"]["properties"]["address"]["type"] == found["peer"]["type"] == "ip"
    assert "geo" in found["client"]["properties"] and "geo" in found["source"]["properties"]
    assert found["service"]["type"] == "keyword"


def types(properties: dict[str, Any], before: str = "") -> dict[str, str]:
    """Field types by dotted name."""
    found: dict[str, str] = {}
    for name, what in properties.items():
        found |= types(what["properties"], f"{before}{name}.") if "properties" in what else {f"{before}{name}": what["type"]}
    return found


def test_every_name_that_records_get_has_a_type_and_no_alias_stands_in_its_way() -> None:
    """Elasticsearch takes no document that writes a field which is an alias."""
    found = types(templates.mapping(["client"], ["client_ip"], "ecs")["properties"])
    assert {new for choices in TABLE.values() for new in choices} <= found.keys()
    assert "alias" not in found.values()
    assert found["event.duration"] == "long" and found["client.ip"] == "ip"
    assert not found.keys() & templates.OWN.keys()


@pytest.mark.parametrize(("decode", "aliases"), [("json", True), ("klog", False), ({"auto": ["json", "klog"]}, False)])
def test_there_are_aliases_only_where_all_records_have_their_own_names(site: Site, decode: Any, aliases: bool) -> None:
    """Formats of text write `log.level` themselves."""
    site.configure(sources=[{"type": "file", "include": ["/a"], "decode": decode}])
    body = json.loads(shipper("setup", "--print", site.pipeline).out.split("PUT ")[1].split("\n", 1)[1])
    found = types(body["template"]["mappings"]["properties"])
    assert (found["log.level"] == "alias") == aliases
    assert found["level"] == "keyword"
