"""The same job done the usual way: a dict for each record, `re.sub` on each of its strings, a lookup, `dumps`.

    python -m tests.bench.usual_way FILE --city MMDB --asn MMDB --url http://127.0.0.1:PORT

It is what a good log shipper in Python looks like when it is written record by record, with fast libraries (orjson, the C
extension of maxminddb) and a handful of patterns, where the agent has all its packs. It is here for two things: its cost beside
the agent's, and its documents, which must be equal to the agent's on this workload. So it knows what the documents look like
(see `shipper/encode/document.py` and the stages), but shares no code with the agent.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import maxminddb
import orjson

Record = dict[str, Any]
ERRORS = ("ERROR", "CRITICAL")
SECRET_KEYS = ("password", "token", "authorization")
PERIOD_S, RATE, BURST = 10, 100, 500
BATCH = 2_000


class Job:
    """One pipeline over one file."""

    def __init__(self, city: Path, asn: Path, path: str, host: str) -> None:
        """Open the databases; `path` and `host` are what documents say about their origin."""
        self._city, self._asn = maxminddb.open_database(city), maxminddb.open_database(asn)
        self._path, self._host = path, host
        self._spent: dict[tuple[object, ...], int] = {}
        self.held = 0

    def documents(self, lines: Iterable[bytes]) -> Iterator[tuple[str, Record]]:
        """Yield (index, document) of each line that is not held back. Lines come from the file's beginning."""
        offset = 0
        for line in lines:
            record = orjson.loads(line)
            document = self._document(redacted(record), offset)
            offset += len(line)
            if self._passes(document):
                yield f"{family(document)}-{document['@timestamp'][:10].replace('-', '.')}", document
            else:
                self.held += 1

    def _document(self, record: Record, offset: int) -> Record:
        record["@timestamp"] = record["timestamp"]
        record["log"] = {"offset": offset, "file": {"path": self._path}}
        record["host"] = {"name": self._host}
        client = self._client(record["client_ip"])
        if client:
            record["client"] = client
        return record

    def _client(self, text: str) -> Record:
        address = ipaddress.ip_address(text)
        client: Record = {"ip": text}
        if address.is_private:
            client["address_class"] = "private"
        place, network = self._city.get(text), self._asn.get(text)
        if isinstance(place, dict) and (geo := geo_fields(place)):
            client["geo"] = geo
        if isinstance(network, dict):
            client["as"] = {"number": network["autonomous_system_number"]}
            if name := network.get("autonomous_system_organization"):
                client["as"]["organization"] = {"name": name}
        return client

    def _passes(self, document: Record) -> bool:
        """At most `rate * seconds into the period + burst` errors of a service and logger, by their own time."""
        if document["level"] not in ERRORS:
            return True
        stamp = document["@timestamp"]
        second = int(stamp[17:19]) % PERIOD_S
        key = (document["service"], document["logger"], stamp[:18])
        spent = max(self._spent.get(key, 0), second * RATE) + 1
        if spent > (second + 1) * RATE + BURST:
            return False
        self._spent[key] = spent
        return True


def family(document: Record) -> str:
    """The index family a document goes to."""
    if document["level"] in ERRORS:
        return "analytics-errors"
    return "analytics-performance" if document.get("duration_ms") is not None else "analytics"


def geo_fields(place: Record) -> Record:
    """ECS `geo` of a City record."""
    region = (place.get("subdivisions") or [{}])[-1]
    country, location = place.get("country", {}), place.get("location", {})
    fields = {
        "city_name": _name(place.get("city", {})),
        "country_iso_code": country.get("iso_code"),
        "country_name": _name(country),
        "continent_code": place.get("continent", {}).get("code"),
        "region_name": _name(region),
        "region_iso_code": f"{country['iso_code']}-{region['iso_code']}" if "iso_code" in region else None,
        "postal_code": place.get("postal", {}).get("code"),
        "timezone": location.get("time_zone"),
        "location": {"lat": location["latitude"], "lon": location["longitude"]} if "latitude" in location else None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _name(part: Record) -> str | None:
    name: str | None = part.get("names", {}).get("en")
    return name


def luhn(digits: str) -> bool:
    """Whether the Luhn sum of a digit string holds."""
    turned = [int(digit) for digit in reversed(digits)]
    return sum(turned[0::2]) % 10 == sum(-(digit * 2 - 9 * (digit > 4)) for digit in turned[1::2]) % 10


def _card(found: re.Match[str]) -> str:
    return "[REDACTED:card]" if luhn(re.sub("[ -]", "", found[0])) else found[0]


Replacement = str | Callable[[re.Match[str]], str]
RULES: list[tuple[re.Pattern[str], Replacement]] = [
    (re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"), "[REDACTED:email]"),
    (re.compile(r"\b(?:4\d{3}|5[1-5]\d\d)([ -]?)\d{4}\1\d{4}\1\d{4}\b"), _card),
    (re.compile(r"(?i:(bearer)) +[A-Za-z0-9._~+/=-]{16,}"), r"\1 [REDACTED:bearer]"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "[REDACTED:aws-access-key-id]"),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b"), "[REDACTED:github-token]"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"), "[REDACTED:jwt]"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"), "[REDACTED:private-key]"),
    (re.compile(r"\b\d{3}-\d{2}-\d{4}\b"), "[REDACTED:us-ssn]"),
]


def redacted(value: Any, key: str = "") -> Any:
    """The value with secrets masked: keys by name, strings by pattern, lists and objects all the way down."""
    if isinstance(value, dict):
        return {name: redacted(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [redacted(inner, key) for inner in value]
    if key.lower().replace("-", "").replace("_", "") in SECRET_KEYS:
        return "[REDACTED:key]"
    if isinstance(value, str):
        for pattern, replacement in RULES:
            value = pattern.sub(replacement, value)
    return value


def bulk_body(documents: Iterable[tuple[str, Record]]) -> bytes:
    """The documents as a `_bulk` body."""
    return b"".join(
        b'{"create":{"_index":"%b"}}\n%b\n' % (index.encode(), orjson.dumps(document)) for index, document in documents
    )


def main() -> None:
    """Ship one file, 2,000 documents a request, and look at each item's status."""
    parser = argparse.ArgumentParser(description="ship a file the usual way")
    parser.add_argument("file", type=Path)
    parser.add_argument("--city", type=Path, required=True)
    parser.add_argument("--asn", type=Path, required=True)
    parser.add_argument("--url", required=True)
    options = parser.parse_args()
    connection = http.client.HTTPConnection(urlsplit(options.url).netloc)
    post = functools.partial(_post, connection)
    job = Job(options.city, options.asn, str(options.file), "bench")
    waiting: list[tuple[str, Record]] = []
    with options.file.open("rb") as file:
        for document in job.documents(file):
            waiting.append(document)
            if len(waiting) == BATCH:
                post(bulk_body(waiting))
                waiting.clear()
    if waiting:
        post(bulk_body(waiting))


def _post(connection: http.client.HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/_bulk", body, {"Content-Type": "application/x-ndjson"})
    statuses = [item["create"]["status"] for item in orjson.loads(connection.getresponse().read())["items"]]
    assert set(statuses) == {201}


if __name__ == "__main__":
    main()
