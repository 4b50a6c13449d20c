"""Geoip: addresses of all spellings to ECS fragments, over MaxMind's test databases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import FilePath, Network
from shipper.decode.access_log import AccessLog
from shipper.edge.tables import Tables
from shipper.model.address import parsed_address
from shipper.model.errors import ComponentError
from shipper.stages.geoip import Geoip, MissingTableError
from tests.kit import laws
from tests.stages.in_chain import shipped

CITY, ASN, COUNTRY = "GeoLite2-City-Test.mmdb", "GeoLite2-ASN-Test.mmdb", "GeoLite2-Country-Test.mmdb"
DATA = Path(__file__).parents[1] / "data" / "geoip"
LINKOPING = {
    "ip": "89.160.20.112",
    "geo": {
        "city_name": "Link\u00f6ping",
        "country_iso_code": "SE",
        "country_name": "Sweden",
        "continent_code": "EU",
        "region_name": "\u00d6sterg\u00f6tland County",
        "region_iso_code": "SE-E",
        "timezone": "Europe/Stockholm",
        "location": {"lat": 58.4167, "lon": 15.6167},
    },
    "as": {"number": 29518, "organization": {"name": "Bredband2 AB"}},
}


class Fake:
    """A table with records by address."""

    def __init__(self, kind: str, records: Mapping[str, Any]) -> None:
        self.kind = kind
        self.generation = 1
        self.records = records
        self.asked: list[str] = []

    def find(self, address: str) -> tuple[Mapping[str, Any] | None, int]:
        """The record, which holds for the one address; and the address noted."""
        self.asked.append(address)
        found: Mapping[str, Any] | None = self.records.get(address)
        return found, 128


class Shelf:
    """Resources over fakes; None is a missing file."""

    def __init__(self, **tables: Fake | None) -> None:
        self.tables = tables

    def table(self, path: str) -> Fake:
        """The fake of that name."""
        table = self.tables[path]
        if table is None:
            raise MissingTableError(f"there is no database at {path}", "databases")
        return table


def stage(*databases: str, resources: Any = None, **more: Any) -> Geoip:
    """A stage over MaxMind's packaged test databases, or other resources."""
    config = Geoip.Config(**{"field": "client_ip", "databases": [FilePath(name) for name in databases or (CITY, ASN)], **more})
    return Geoip(config, resources or Tables())


def fragment(geoip: Geoip, value: object) -> bytes:
    """What the stage splices for a value."""
    columns = laws.columns_of([{geoip.reads[0]: value}], geoip.reads)
    geoip.process(columns, 0.0)
    return b"".join(fragments[0] for fragments in columns.fragments)


def client(geoip: Geoip, value: object) -> Any:
    """What the stage says of a value, decoded; None for nothing."""
    found = fragment(geoip, value)
    return json.loads(b"{" + found[1:] + b"}")["client"] if found else None


@given(value=laws.hostile)
@settings(max_examples=300, deadline=None)
def test_geoip_says_an_address_or_nothing_for_any_value(value: object) -> None:
    """A fragment has the canonical address; what is no string yields none."""
    found = client(WHOLE, value)
    if found is not None:
        assert isinstance(value, str)
        assert str(parsed_address(value)) == found["ip"]


@given(address=st.ip_addresses())
@settings(max_examples=300, deadline=None)
def test_geoip_finds_the_same_for_all_spellings_of_an_address(address: Any) -> None:
    """White space, port, brackets, zone and IPv4-mapped IPv6 make no difference."""
    text = str(address)
    spellings = [f" {text}\t", f"[{text}]", f"[{text}]:8080"]
    spellings += [f"{text}:65535", f"::ffff:{text}"] if address.version == 4 else [f"{text}%eth0", f"[{text}%2]:80", text.upper()]
    plain = getattr(address, "ipv4_mapped", None) or address
    assert {str(plain)} == {client(WHOLE, spelling)["ip"] for spelling in spellings}
    assert {fragment(WHOLE, text)} == {fragment(WHOLE, spelling) for spelling in spellings}


@given(
    values=st.lists(
        laws.hostile | st.sampled_from(["89.160.20.112", " 89.160.20.112\n", "10.0.0.1:80", "::1", "::0:1"]), max_size=9
    )
)
@settings(max_examples=300, deadline=None)
def test_geoip_says_the_same_of_a_value_in_any_company(values: list[object]) -> None:
    """What is taken from the column for regular addresses comes before the right rows; oracle: each value in a batch alone."""
    columns = laws.columns_of([{"client_ip": value} for value in values], WHOLE.reads)
    WHOLE.process(columns, 0.0)
    found = [b"".join(pieces[row] for pieces in columns.fragments) for row in range(len(values))]
    assert [fragment(WHOLE, value) for value in values] == found


@pytest.mark.parametrize(
    "text",
    ["", " ", "localhost", "81.2.69", "010.1.1.1", "1.2.3.4, 5.6.7.8", "81.2.69.142\0", "[", "[]", ":", "::g", "x" * 10**6],
)
def test_geoip_says_nothing_when_a_text_is_no_address(text: str) -> None:
    """No fragment, no error."""
    assert client(WHOLE, text) is None


def test_geoip_merges_city_and_asn_in_one_object() -> None:
    """Place and network of one address stand under `client`."""
    assert client(stage(), "89.160.20.112") == LINKOPING


def test_geoip_does_not_depend_on_the_order_of_databases() -> None:
    """Kinds are told by the databases themselves."""
    assert fragment(stage(ASN, COUNTRY, CITY), "89.160.20.112") == fragment(stage(CITY, ASN), "89.160.20.112")


def test_geoip_names_the_most_specific_region_with_its_country() -> None:
    """Of England and West Berkshire the latter is said, as `GB-WBK`."""
    geo = client(stage(), "2.125.160.216")["geo"]
    assert ("West Berkshire", "GB-WBK", "OX1") == (geo["region_name"], geo["region_iso_code"], geo["postal_code"])


def test_geoip_fills_from_country_only_what_city_lacks() -> None:
    """The country of the City record stands; the continent comes from the Country record."""
    city = Fake("GeoIP2-City", {"1.1.1.1": {"country": {"iso_code": "AU"}, "city": {"names": {"en": "Perth"}}}})
    country = Fake("GeoIP2-Country", {"1.1.1.1": {"country": {"iso_code": "NZ"}, "continent": {"code": "OC"}}})
    found = client(stage("country", "city", resources=Shelf(city=city, country=country)), "1.1.1.1")
    assert {"city_name": "Perth", "country_iso_code": "AU", "continent_code": "OC"} == found["geo"]


def test_geoip_takes_the_first_database_of_a_family_that_knows_the_address() -> None:
    """An in-house database goes before a bought one, and private addresses are looked up in it."""
    own = Fake("Example-City", {"10.1.0.1": {"city": {"names": {"en": "Cellar"}}}})
    bought = Fake("GeoIP2-City", {"10.1.0.1": {}, "1.1.1.1": {"city": {"names": {"en": "Perth"}}}})
    geoip = stage("own", "bought", resources=Shelf(own=own, bought=bought))
    assert {"ip": "10.1.0.1", "address_class": "private", "geo": {"city_name": "Cellar"}} == client(geoip, "10.1.0.1")
    assert {"ip": "1.1.1.1", "geo": {"city_name": "Perth"}} == client(geoip, "1.1.1.1")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.0.0.1", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.0", ""),
        ("192.168.1.1", "private"),
        ("127.0.0.1", "loopback"),
        ("100.64.0.1", "shared"),
        ("100.128.0.0", ""),
        ("169.254.169.254", "link_local"),
        ("192.0.2.1", "documentation"),
        ("203.0.113.9", "documentation"),
        ("224.0.0.251", "multicast"),
        ("255.255.255.255", "reserved"),
        ("250.0.0.1", "reserved"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fe80::1%eth0", "link_local"),
        ("fd12::1", "private"),
        ("ff02::fb", "multicast"),
        ("2001:db8::1", "documentation"),
        ("::ffff:192.168.0.1", "private"),
        ("81.2.69.142", ""),
        ("2001:218::1", ""),
    ],
)
def test_geoip_names_the_class_of_an_address_with_a_special_purpose(address: str, kind: str) -> None:
    """Private and reserved addresses are classified; public ones have no class."""
    assert kind == client(WHOLE, address).get("address_class", "")


def test_geoip_gives_names_in_the_language_asked_for_and_english_where_there_is_none() -> None:
    """City and country in Russian, the region untranslated."""
    geo = client(stage(language="ru"), "81.2.69.142")["geo"]
    assert ("\u041b\u043e\u043d\u0434\u043e\u043d", "England") == (geo["city_name"], geo["region_name"])


@pytest.mark.parametrize(
    "location",
    [
        {"latitude": 1.5},
        {"latitude": 1e300, "longitude": 0.0},
        {"latitude": "1", "longitude": 2},
        {"latitude": float("nan"), "longitude": 0.0},
        5,
    ],
)
def test_geoip_leaves_a_location_out_when_it_is_not_in_degrees(location: object) -> None:
    """Elasticsearch would refuse the document for its geo_point."""
    table = Fake("GeoIP2-City", {"1.1.1.1": {"location": location, "city": {"names": {"en": "Perth"}}}})
    assert {"city_name": "Perth"} == client(stage("a", resources=Shelf(a=table)), "1.1.1.1")["geo"]


def test_geoip_takes_networks_from_enterprise_traits_when_there_is_no_asn_database() -> None:
    """An Enterprise database has both in one record."""
    table = Fake("GeoIP2-Enterprise", {"1.1.1.1": {"traits": {"autonomous_system_number": 7}}})
    assert {"ip": "1.1.1.1", "as": {"number": 7}} == client(stage("a", resources=Shelf(a=table)), "1.1.1.1")


def test_geoip_looks_an_address_up_once_when_it_is_seen_again() -> None:
    """The cache answers; the table is asked once."""
    table = Fake("GeoIP2-City", {})
    geoip = stage("a", resources=Shelf(a=table))
    for _ in range(3):
        fragment(geoip, "1.1.1.1")
    assert ["1.1.1.1"] == table.asked


def test_geoip_answers_from_the_new_version_when_a_table_was_reloaded() -> None:
    """What was cached from the old generation is gone, the table's new kind is heeded."""
    table = Fake("GeoIP2-City", {"1.1.1.1": {"city": {"names": {"en": "Perth"}}}})
    geoip = stage("a", resources=Shelf(a=table))
    assert "Perth" == client(geoip, "1.1.1.1")["geo"]["city_name"]
    table.records = {"1.1.1.1": {"city": {"names": {"en": "Hobart"}}}}
    assert "Perth" == client(geoip, "1.1.1.1")["geo"]["city_name"]
    table.generation += 1
    assert "Hobart" == client(geoip, "1.1.1.1")["geo"]["city_name"]


@given(seen=st.lists(st.integers(0, 40), max_size=200), cache_max=st.integers(2, 12))
@settings(max_examples=50, deadline=None)
def test_cache_holds_no_more_than_it_may_and_never_answers_wrongly(seen: list[int], cache_max: int) -> None:
    """At most `cache_max` addresses (and the entry of None) are remembered, whatever comes."""
    geoip = stage("a", resources=Shelf(a=Fake("GeoIP2-City", {})), cache_max=cache_max)
    for number in seen:
        assert f"10.0.0.{number}" == client(geoip, f"10.0.0.{number}")["ip"]
        assert cache_max + 2 >= len(geoip._cache) + len(geoip._cache._older)


SHARED = Tables()


@pytest.mark.parametrize(
    ("peer", "header", "ip"),
    [
        ("10.0.0.1", "6.6.6.6, 89.160.20.112, 10.2.3.4", "89.160.20.112"),
        ("10.0.0.1", ["6.6.6.6", "89.160.20.112, 10.2.3.4"], "89.160.20.112"),
        ("10.0.0.1:4711", " 89.160.20.112:80", "89.160.20.112"),
        ("10.0.0.1", ["89.160.20.112", 7], "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", {"a": 1}, "10.0.0.1"),
        ("89.160.20.112", "6.6.6.6", "89.160.20.112"),
        (None, "89.160.20.112", None),
        (["10.0.0.1"], "89.160.20.112", None),
    ],
)
def test_geoip_takes_the_address_that_counts_behind_trusted_proxies(peer: object, header: object, ip: str | None) -> None:
    """A header as a text or as a list of texts; in any company, and the same again from memory."""
    geoip = stage(forwarded="xff", trusted=[Network("10.0.0.0/8")])
    assert ("client_ip", "xff") == tuple(geoip.reads)
    for rows in (
        [{"client_ip": peer, "xff": header}],
        [{}, {"client_ip": "10.0.0.1", "xff": "::1"}, {"client_ip": peer, "xff": header}],
    ):
        columns = laws.columns_of(rows, geoip.reads)
        geoip.process(columns, 0.0)
        found = b"".join(pieces[-1] for pieces in columns.fragments)
        assert ip == (json.loads(b"{" + found[1:] + b"}")["client"]["ip"] if found else None)
        assert (b"Bredband2" in found) == (ip == "89.160.20.112")


def test_geoip_takes_the_last_entry_of_the_header_when_no_peer_is_logged() -> None:
    """`field` left out: what our own proxy put last is its caller."""
    geoip = stage(field=None, forwarded="xff", trusted=[Network("10.0.0.0/8")])
    assert "89.160.20.112" == client(geoip, "6.6.6.6, 89.160.20.112")["ip"]
    assert client(geoip, "-") is None


@pytest.mark.parametrize(
    ("kind", "address", "expected"),
    [
        ("GeoIP2-Anonymous-IP", "1.2.0.1", {"is_anonymous": True, "is_vpn": True}),
        ("GeoIP2-Anonymous-IP", "71.160.223.3", {"is_anonymous": True, "is_hosting_provider": True}),
        ("GeoIP2-Anonymous-IP", "89.160.20.112", None),
        (
            "GeoIP-Anonymous-Plus",
            "1.2.0.1",
            {"is_anonymous": True, "is_vpn": True, "confidence": 30, "provider_name": "foo", "last_seen": "2025-04-14"},
        ),
    ],
)
def test_geoip_says_how_an_address_hides_whose_it_is(kind: str, address: str, expected: object) -> None:
    """Only what is true is written, under `anonymous`; what the database does not know says nothing."""
    found = client(stage(CITY, ASN, str(DATA / f"{kind}-Test.mmdb")), address)
    assert expected == found.get("anonymous")
    assert ("geo" in found) == (address == "89.160.20.112")


@pytest.mark.parametrize(
    ("value", "expected", "is_odd"),
    [
        ("89.160.20.112", {name: value for name, value in LINKOPING.items() if name != "ip"}, False),
        ("10.0.0.1", {"address_class": "private"}, False),
        ("1.1.1.1", None, False),
        ("nonsense", None, False),
        (["10.0.0.1"], None, False),
        ("10.0.0.1:80", {"ip": "10.0.0.1", "address_class": "private"}, True),
        ("1.1.1.1:80", {"ip": "1.1.1.1"}, True),
    ],
)
def test_geoip_leaves_an_address_where_it_stands_and_puts_the_rest_beside_it(value: Any, expected: object, is_odd: bool) -> None:
    """`field: client.ip`: the record has `client.ip` already; where that is written otherwise than ours, the row is merged."""
    geoip = stage(field="client.ip")
    assert "client.ip" not in geoip.adds
    for _ in range(2):
        columns = laws.columns_of([{"client.ip": "10.0.0.1"}, {"client.ip": value}, {"n": 1}], geoip.reads)
        geoip.process(columns, 0.0)
        found = b"".join(pieces[1] for pieces in columns.fragments)
        assert (json.loads(b"{" + found[1:] + b"}")["client"] if found else None) == expected
        assert columns.odd == ({1} if is_odd else set())


@pytest.mark.parametrize(
    ("record", "expected", "is_odd"),
    [
        ({"client.ip": "10.0.0.1"}, {"client.ip": "10.0.0.1", "client": {"address_class": "private"}}, False),
        (
            {"client.ip": "10.0.0.1:80"},
            {"client": {"ip": "10.0.0.1", "address_class": "private"}, "shipper": {"record": {"client.ip": "10.0.0.1:80"}}},
            True,
        ),
        (
            {"client": {"ip": "10.0.0.1", "port": 80}},
            {"client": {"ip": "10.0.0.1", "port": 80, "address_class": "private"}},
            True,
        ),
        ({"client.ip": "1.1.1.1"}, {"client.ip": "1.1.1.1"}, False),
        ({"client.geo.name": "home", "client.ip": "1.1.1.1"}, {"client.geo.name": "home", "client.ip": "1.1.1.1"}, True),
    ],
)
def test_document_has_an_address_once_beside_what_is_said_of_it(record: Any, expected: Any, is_odd: bool) -> None:
    """`field: client.ip`: dotted as text formats write it, or within an object; only where it must, a record is taken apart."""
    (document,), odd = shipped([("geoip", stage(field="client.ip"))], [record])
    assert expected == {name: document[name] for name in document if name not in ("@timestamp", "log", "host")}
    assert odd == is_odd


def test_address_that_counts_takes_the_place_of_the_proxy_in_an_access_log() -> None:
    """Nothing is taken apart; the proxy's address is kept aside, and a client that came without a proxy stays as it is."""
    line = b'%b - - [05/Feb/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 7 "-" "curl/8.5.0" "%b"'
    lines = [line % (b"10.0.0.1", b"6.6.6.6, 89.160.20.112"), line % (b"89.160.20.112", b"6.6.6.6"), line % (b"10.0.0.1", b"-")]
    geoip = stage(field="client.ip", forwarded="http.request.header.x-forwarded-for", trusted=[Network("10.0.0.0/8")])
    (behind, direct, local), odd = shipped([("geoip", geoip)], lines, AccessLog)
    assert 0 == odd
    assert ("89.160.20.112", "10.0.0.1") == (behind["client.ip"], behind["shipper.record.client.ip"])
    assert "29518" == str(behind["client"]["as"]["number"]) == str(direct["client"]["as"]["number"])
    assert ("89.160.20.112", "10.0.0.1") == (direct["client.ip"], local["client.ip"])
    assert not any("shipper.record.client.ip" in document for document in (direct, local))


@given(octets=st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=60))
@settings(max_examples=50, deadline=None)
def test_geoip_says_of_a_network_what_it_says_of_each_address_in_it(octets: list[tuple[int, int]]) -> None:
    """Whatever was asked before: a stage that has seen the neighbours answers as a new one does."""
    seen, fresh = stage(resources=SHARED), stage(resources=SHARED)
    addresses = [f"81.2.{third}.{fourth}" for third, fourth in octets]
    addresses += [f"2.125.{third}.{fourth}" for third, fourth in octets]
    for address in addresses:
        fragment(seen, address)
    for address in addresses[::7]:
        fresh._cache.renew()
        assert fragment(fresh, address) == fragment(seen, address)


def test_geoip_asks_once_for_a_network_of_known_prefix() -> None:
    """The second address of a /24 is answered from memory; the first of the next one is not."""
    table = Fake("GeoIP2-City", {})
    table.find = lambda address: (table.asked.append(address), (None, 24))[1]  # type: ignore[method-assign,func-returns-value]
    geoip = stage("a", resources=Shelf(a=table))
    for address in ("1.1.1.1", "1.1.1.2", "1.1.2.1", "1.1.1.255"):
        fragment(geoip, address)
    assert ["1.1.1.1", "1.1.2.1"] == table.asked


def test_cache_keeps_nothing_that_is_no_address_by_its_length() -> None:
    """A megabyte in the field does not stay in memory."""
    geoip = stage("a", resources=Shelf(a=Fake("GeoIP2-City", {})))
    fragment(geoip, "1" * 10**6)
    assert not any(isinstance(value, str) for value in geoip._cache)


def test_geoip_refuses_a_missing_database_unless_it_is_optional() -> None:
    """Without `optional` the configuration is refused; with it the other databases work."""
    shelf = Shelf(gone=None, city=Fake("GeoIP2-City", {"1.1.1.1": {"city": {"names": {"en": "Perth"}}}}))
    with pytest.raises(ComponentError, match="no database at gone") as refused:
        stage("gone", "city", resources=shelf)
    assert "databases.0" == refused.value.field
    assert "Perth" == client(stage("gone", "city", resources=shelf, optional=True), "1.1.1.1")["geo"]["city_name"]
    assert {"ip": "1.1.1.1"} == client(stage("gone", resources=shelf, optional=True), "1.1.1.1")


def test_geoip_refuses_a_broken_database_even_when_it_is_optional() -> None:
    """`optional` is for what is not there, not for what is damaged."""
    with pytest.raises(ComponentError, match="not a usable mmdb file"):
        stage(str(DATA / "GeoIP2-City-Test-Broken-Double-Format.mmdb"), optional=True)


def test_geoip_refuses_a_database_of_a_kind_without_places() -> None:
    """The message names the kind, the place in the list and what would do."""
    shelf = Shelf(city=Fake("GeoIP2-City", {}), speed=Fake("GeoIP2-Connection-Type", {}))
    with pytest.raises(ComponentError, match="speed is a GeoIP2-Connection-Type database") as refused:
        stage("city", "speed", resources=shelf)
    assert "databases.1" == refused.value.field
    assert "City" in refused.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target", "client.geo"),
        ("target", ""),
        ("cache_max", 1),
        ("databases", []),
        ("forwarded", "xff"),
        ("trusted", [Network("10.0.0.0/8")]),
    ],
)
def test_geoip_refuses_a_setting_that_cannot_work(name: str, value: Any) -> None:
    """The error points at the setting."""
    settings_: dict[str, Any] = {"field": "client_ip", "databases": [FilePath(CITY)], name: value}
    with pytest.raises(ComponentError) as refused:
        Geoip(Geoip.Config(**settings_), Tables())
    assert name == refused.value.field


def test_geoip_splices_under_the_target_it_is_given() -> None:
    """`target: source` makes `source.ip`, and says in `adds` what it puts there."""
    geoip = stage(target="source")
    assert {"source.ip", "source.geo", "source.as", "source.anonymous", "source.address_class"} == set(geoip.adds)
    assert fragment(geoip, "10.0.0.1") == b',"source":{"ip":"10.0.0.1","address_class":"private"}'


WHOLE = stage(CITY, ASN, COUNTRY)
