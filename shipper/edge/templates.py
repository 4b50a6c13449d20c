"""Templates: what Elasticsearch must know before the first document, put by `shipper setup`.

One component template with the mapping, one index template for each index family of the pipeline. Fields we make have their
types (`geo_point`, `ip`, `date`); JSON records keep their names, and ECS aliases give them a common view. Texts that no rule
names are keywords up to 1 KiB with a text field beside (Elasticsearch reference, "Dynamic templates").

The official client does the talking; it is imported here and nowhere else (+30 MB).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from shipper.model.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipper.config.pipeline import Pipeline

_KEYWORD = {"type": "keyword", "ignore_above": 1024}
ALIASES = {"log.level": "level", "trace.id": "trace_id", "span.id": "span_id", "http.request.id": "request_id"}
"""ECS name -> the field of our records that it is an alias of. Only below objects that records do not write as plain values:
an alias `service.name` would make Elasticsearch refuse every record with a text in `service`."""
_TEXT = {"type": "text"}
_NUMBER = {"type": "long", "ignore_malformed": True}
_ADDRESS = {"type": "ip", "ignore_malformed": True}
OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("level", "service", "environment", "version", "trace_id", "span_id"), _KEYWORD),
    **dict.fromkeys(("user_id", "request_id", "error_type"), _KEYWORD),
    "duration_ms": {"type": "double"},
}
"""Fields that records mostly have, by their own names."""
ECS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("log.level", "log.logger", "log.origin.function", "log.origin.file.name"), _KEYWORD),
    **dict.fromkeys(("service.name", "service.environment", "service.version", "event.action", "host.hostname"), _KEYWORD),
    **dict.fromkeys(("trace.id", "span.id", "transaction.id", "user.id", "user.name", "user_agent.original"), _KEYWORD),
    **dict.fromkeys(("http.request.id", "http.request.method", "http.request.referrer", "url.original", "url.path"), _KEYWORD),
    **dict.fromkeys(("error.type", "error.code", "process.name", "process.thread.name"), _KEYWORD),
    **dict.fromkeys(("error.message", "error.stack_trace"), _TEXT),
    **dict.fromkeys(("log.origin.file.line", "http.response.status_code", "event.duration", "process.pid"), _NUMBER),
    "client.ip": _ADDRESS,
}
"""Fields of ECS that text formats write, and records with `ecs: on`. What is no number or address keeps its document all the same."""
PRIORITY = 200
"""Above the templates that Elasticsearch brings itself (100 for `logs-*-*`)."""


def mapping(targets: list[str], address_fields: list[str], names: Literal["own", "both", "ecs"] = "own") -> dict[str, Any]:
    """The mapping. `targets` are the objects that `geoip` stages splice, `address_fields` the fields they read.

    `names` are those that records have: their own, which aliases give ECS names, those of ECS, or both, each in its records: then
    there are no aliases, as Elasticsearch takes no document that writes one.
    """
    properties: dict[str, Any] = {
        "@timestamp": {"type": "date"},
        "message": {"type": "text"},
        "log": {"properties": {"offset": {"type": "long"}, "file": {"properties": {"path": _KEYWORD}}}},
        "host": {"properties": {"name": _KEYWORD}},
        "shipper": {"properties": {"flags": _KEYWORD, "redacted": _KEYWORD, "parse_error": _KEYWORD, "timestamp": _KEYWORD}},
    }
    properties |= OWN if names != "ecs" else {}
    for field in address_fields:  # with ECS names, too: they keep theirs where the stage adds `client.ip`
        _at(properties, field, _ADDRESS)
    if names != "own":
        for field, kind in ECS.items():
            _at(properties, field, kind)
    for target in targets:
        _at(properties, target, _place())
    for alias, path in ALIASES.items() if names == "own" else ():
        _at(properties, alias, {"type": "alias", "path": path})
    return {"dynamic_templates": [_STRINGS], "date_detection": False, "properties": properties}


_STRINGS = {
    "strings": {"match_mapping_type": "string", "mapping": {**_KEYWORD, "fields": {"text": {"type": "text", "norms": False}}}}
}


def _place() -> dict[str, Any]:
    """What the geoip stage splices (ECS `geo.*`, `as.*`)."""
    names = ("city_name", "continent_code", "country_iso_code", "country_name", "region_iso_code", "region_name", "timezone")
    geo = {**dict.fromkeys((*names, "postal_code"), _KEYWORD), "location": {"type": "geo_point"}}
    network = {"number": {"type": "long"}, "organization": {"properties": {"name": _KEYWORD}}}
    return {
        "properties": {
            "ip": _ADDRESS,
            "address_class": _KEYWORD,
            "geo": {"properties": geo},
            "as": {"properties": network},
        }
    }


def _at(properties: dict[str, Any], path: str, what: dict[str, Any]) -> None:
    """Put a field at a dotted path, beside what is there."""
    head, dot, rest = path.partition(".")
    if not dot:
        there = properties.get(head)
        if there is None or "properties" not in there or "properties" not in what:
            properties.setdefault(head, what)
        else:
            there["properties"].update(what["properties"])
        return
    inner = properties.setdefault(head, {"properties": {}})
    if "properties" in inner:
        _at(inner["properties"], rest, what)


def documents(pipeline: Pipeline) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(kind, name, body) of everything to put, in order; kind is `component` or `index`."""
    stages = [stage.config for stage in pipeline.stages if stage.type == "geoip"]
    settings = {"index": {"codec": "best_compression", "mapping": {"total_fields": {"limit": 2000}}}}
    names: Literal["own", "both", "ecs"] = "own"
    if pipeline.ecs == "on":
        names = "ecs"
    elif any(source.decode.type != "json" for source in pipeline.sources):
        names = "both"
    body = mapping([stage.target for stage in stages], [stage.field for stage in stages], names)
    component = f"shipper-{pipeline.name}"
    meta = {"managed_by": "shipper", "pipeline": pipeline.name}
    yield "component", component, {"template": {"settings": settings, "mappings": body}, "_meta": meta}
    prefixes = sorted({spec.index.prefix.rstrip("-._") for spec in pipeline.routes})
    for prefix in prefixes:
        # A longer prefix of the same pipeline (`analytics-errors` beside `analytics`) needs the higher priority.
        rank = PRIORITY + sum(prefix != other and prefix.startswith(other) for other in prefixes)
        template = {"index_patterns": [f"{prefix}-*"], "composed_of": [component], "priority": rank, "_meta": meta}
        yield "index", f"shipper-{pipeline.name}-{prefix}", template


def put(pipeline: Pipeline, *, only_print: bool) -> Iterator[str]:
    """Put the templates, or print them; yields lines for the user. Raises HostError."""
    if only_print:
        for kind, name, body in documents(pipeline):
            yield f"PUT /_{kind}_template/{name}"
            yield json.dumps(body, indent=2)
        return
    if pipeline.output.type != "elasticsearch":
        raise HostError("the pipeline's output is not Elasticsearch", "`shipper setup --print` shows the templates.")
    yield from _put(pipeline)


def _put(pipeline: Pipeline) -> Iterator[str]:
    import elasticsearch

    connection = client(pipeline.output.config)
    try:
        for kind, name, body in documents(pipeline):
            method = connection.cluster.put_component_template if kind == "component" else connection.indices.put_index_template
            method(name=name, **{key.lstrip("_"): value for key, value in body.items()})
            yield f"{kind} template {name}: put"
    except elasticsearch.ApiError as error:
        # OpenSearch refuses the client's media type with 406, before the client could see that it is another product.
        if isinstance(error, elasticsearch.UnsupportedProductError) or error.status_code == 406:
            raise HostError("this is not Elasticsearch", "For OpenSearch send what `shipper setup --print` shows.") from error
        raise HostError(f"Elasticsearch refused: {error.status_code} {error.message}") from error
    except elasticsearch.TransportError as error:
        raise HostError(f"Elasticsearch cannot be reached: {error.message}", f"Hosts: {', '.join(_bare(pipeline))}") from error
    finally:
        connection.close()


def _bare(pipeline: Pipeline) -> list[str]:
    return [host.rpartition("@")[2] for host in pipeline.output.config.hosts]


def client(config: Any) -> Any:
    """The official client, with the settings of an Elasticsearch output. The caller closes it."""
    import elasticsearch

    options: dict[str, Any] = {"request_timeout": float(config.timeout)}
    in_url = _parts(config.hosts[0])
    if config.api_key:
        options["api_key"] = config.api_key
    elif config.user:
        options["basic_auth"] = (config.user, config.password)
    elif in_url.username:
        options["basic_auth"] = (unquote(in_url.username), unquote(in_url.password or ""))
    if any(host.startswith("https:") for host in config.hosts):
        options.update(verify_certs=config.verify, ca_certs=config.ca_file, client_cert=config.client_certificate)
    return elasticsearch.Elasticsearch([_with_port(host) for host in config.hosts], **options)


def _with_port(host: str) -> str:
    """The client insists on a port, and warns of a password in the URL."""
    found = _parts(host)
    port = found.port or (443 if found.scheme == "https" else 9200)
    name = f"[{found.hostname}]" if ":" in (found.hostname or "") else found.hostname
    return f"{found.scheme}://{name}:{port}{found.path}"


def _parts(host: str) -> SplitResult:
    return urlsplit(host if "://" in host else f"http://{host}")
