"""Geoip: where an address is and whose network it belongs to, spliced as finished bytes.

RULES
- The fragment follows ECS (`geo.*`, `as.*`); region fields are the most specific subdivision, with `region_iso_code` as
  `GB-WBK`, as Elasticsearch's own geoip processor makes them. Only keys that are known are written, never nulls; `location` is
  `{"lat","lon"}`, which a `geo_point` mapping takes, and left out unless both are degrees.
- Every valid address yields `ip` in its canonical form, looked up or not, so that the field can be mapped as `ip`.
- Addresses of special purpose (RFC 6890 and the IANA registries it made) are named instead of missed: `address_class` says
  `private`, `loopback`, `link_local`, `shared` (CGNAT, RFC 6598), `documentation`, `multicast` ... It is not an ECS field; ECS
  leaves names that it does not define to us. They are looked up all the same: MaxMind's databases have nothing there, but a
  database made in house may know its own sites.
- Of several databases of one family the first that knows the address answers; Country fills only what City lacks.
- Cached by the value as it stands in the record, since that is what C iterators can look up. Values that are no strings, or
  longer than an address can be, are not remembered.
- The cache is cut down between batches only: within one, what is irregular stays known as such.

THEORY
A database answers for whole networks, so what is said of a public IPv4 address is remembered for its network: the longest prefix
of the tables that were asked, within which all of them have one answer. A new address of a known network costs 1 us instead
of 10. These networks are disjoint, as each table's are.
A fragment is spliced in two pieces. What comes before and with the address, `,"client":{"ip":"192.0.2.1`, is made of a batch's
column by one join, encoding and split; the cache has only what follows, which all addresses of a network share: a sixth of the
memory that whole fragments take, so that it fits a core's cache. That goes for addresses written as we write them. Other values
are irregular: nothing is taken from the column, and what follows has the address in it, or is nothing at all.
"""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from operator import mul
from typing import TYPE_CHECKING, Any

import orjson

from shipper.config.fields import ComponentConfig, FilePath
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources, Table

PLACES_MAX = 4096
"""Cities whose JSON is remembered, some 0.4 kB each."""
NETWORKS_MAX = 8192
"""Networks that are remembered, some 0.3 kB each where their places differ."""
ADDRESS_CHARS_MAX = 80
"""The longest text that can be an address: IPv6 of 45 characters, brackets, port, zone id of 15 (IFNAMSIZ)."""
FAMILIES = {"Enterprise": "city", "City": "city", "Country": "country", "ASN": "asn", "ISP": "asn"}
"""What a database can tell, by a word in its own type (`GeoLite2-City`, `DBIP-ASN-Lite`)."""
SPECIAL = (
    ("0.0.0.0/8", "unspecified"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link_local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("100::/64", "discard"),
    ("2001:2::/48", "benchmarking"),
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link_local"),
    ("ff00::/8", "multicast"),
)
"""From the IANA IPv4 and IPv6 Special-Purpose Address Registries, in order, none within another."""


def _ranges(version: int) -> tuple[list[int], list[int], list[str]]:
    """First and last addresses of the special ranges as numbers, and their names."""
    networks = [(ip_network(text), name) for text, name in SPECIAL]
    mine = [(int(network[0]), int(network[-1]), name) for network, name in networks if network.version == version]
    starts, ends, names = zip(*mine, strict=True)
    return list(starts), list(ends), list(names)


_RANGES = {4: _ranges(4), 6: _ranges(6)}


class MissingTableError(ComponentError):
    """There is no file where a table should be, which `optional` forgives; a broken file is never forgiven."""


class Geoip:
    """Add place and network of an address.

    City, Country and ASN databases (MaxMind or DB-IP, `.mmdb`) are merged in one pass into `client.geo.*` and `client.as.*`,
    with `client.ip`; private and reserved addresses get `client.address_class` instead. A new version of a file is taken into
    use while the agent runs, if it passes a check.
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `geoip`."""

        field: str
        """The field with the address, `client_ip`. A port, brackets and white space around it are ignored."""
        databases: list[FilePath]
        """The mmdb files: City, Country and ASN, in any order."""
        target: str = "client"
        """The top-level key of the document that takes `ip`, `geo` and `as`. A record's own value of that name moves away."""
        optional: bool = False
        """Go on without a database that is missing. A broken one is refused all the same."""
        language: str = "en"
        """Language of names: `de`, `en`, `es`, `fr`, `ja`, `pt-BR`, `ru`, `zh-CN`. English where a name is not translated."""
        cache_max: int = 65_536
        """Addresses remembered, 0.2 kB each (13 MB when full); one that is not costs 2 to 13 us. When full, those not seen for the longest half are forgotten."""

    def __init__(self, config: Config, resources: Resources) -> None:
        """Open the databases. Raises ComponentError for one that is missing, broken or of a kind without places."""
        if not config.target or "." in config.target:
            raise ComponentError("target is one top-level key, without dots", "target", "write `client` or `source`")
        if config.cache_max < 2:
            raise ComponentError("cache_max must be 2 or more", "cache_max")
        self.reads: Sequence[str] = (config.field,)
        self.adds: Sequence[str] = (config.target,)
        self._field = config.field
        self._tables = _opened(config, resources)
        self._cache = _Endings(config, self._tables)
        self._opening = "," + orjson.dumps(config.target).decode() + ':{"ip":"'
        self._generation = -1

    def process(self, columns: Columns, now: float) -> None:  # noqa: ARG002  part of the contract
        """Splice one fragment a row: `,"client":{...}`, or nothing where the field holds no address."""
        generation = sum([table.generation for table in self._tables])
        if generation != self._generation:
            self._generation = generation
            self._cache.renew()
        self._cache.make_room()
        values = columns.column(self._field)
        try:
            endings = list(map(self._cache.__getitem__, values))
        except TypeError:  # a list or an object among them does not hash
            self._cache.is_strange = True
        if self._cache.is_strange:
            self._cache.is_strange = False
            values = [value if _may_be_address(value) else None for value in values]
            endings = list(map(self._cache.__getitem__, values))
        if any(endings):
            columns.splice(self._beginnings(values, endings))
            columns.splice(endings)

    def _beginnings(self, values: Sequence[Any], endings: Sequence[bytes]) -> Sequence[bytes]:
        """What stands before the endings: nothing before nothing, else up to the address, or with it where it is regular."""
        irregular = self._cache.irregular
        if irregular.keys().isdisjoint(values):
            return self._opened_with(values)
        return list(map(mul, self._opened_with(list(map(irregular.get, values, values))), map(bool, endings)))

    def _opened_with(self, texts: Sequence[str]) -> list[bytes]:
        """The opening of a fragment before each of the texts, none of which has a newline."""
        return (self._opening + f"\n{self._opening}".join(texts)).encode().split(b"\n")


def _may_be_address(value: object) -> bool:
    return isinstance(value, str) and len(value) <= ADDRESS_CHARS_MAX


class _Endings(dict[object, bytes]):
    """Value of the field -> what follows the address in its fragment. Two generations of `cache_max / 2`; what is used moves on."""

    def __init__(self, config: Geoip.Config, tables: Sequence[Table]) -> None:
        super().__init__()
        self._tables = tables
        self._families: dict[str, list[Table]] = {}
        self._places: dict[tuple[object, ...], bytes] = {}
        self._networks = _Networks()
        self._half = config.cache_max // 2
        self._older: dict[object, bytes] = {}
        self._language = config.language
        self.irregular: dict[object, str] = {}
        """Values, of those here, whose text is not the address as we write it; each with the empty text in its place."""
        self.is_strange = False
        """A value was asked for that cannot be an address, and is not remembered."""

    def __missing__(self, value: object) -> bytes:
        if not isinstance(value, str) or len(value) > ADDRESS_CHARS_MAX:
            self.is_strange = True
            return b""
        ending = self._older.get(value)
        if ending is None:
            ending = self._made(value)
        if not ending.startswith(b'"'):
            self.irregular[value] = ""
        self[value] = ending
        return ending

    def make_room(self) -> None:
        """Start a new generation if this one is full."""
        if len(self) > self._half:
            self._older = dict(self)
            self._start()

    def renew(self) -> None:
        """Forget everything and look at the tables' kinds again: they may be of another version now."""
        self._families = {"city": [], "country": [], "asn": []}
        for table in self._tables:
            self._families.get(database_family(table.kind), []).append(table)
        self._older = {}
        self._networks = _Networks()
        self._places.clear()
        self._start()

    def _start(self) -> None:
        self.clear()
        self[None] = b""  # rows without the field are common: they need not come by `__missing__`
        self.irregular = {None: ""}

    def _made(self, written: str) -> bytes:
        number = _ipv4(written)  # canonical, as most are: spares most of the parsing
        if number < 0:
            address = parsed_address(written)
            if address is None:
                return b""
            ours = str(address)
            return b"".join((b"" if ours == written else ours.encode(), _named(address_class(address)), self._told(ours)[0]))
        told = self._networks.find(number)
        if told is None:
            told, prefix = self._told(written)
            told = b'"' + told
            self._networks.add(number, prefix, told)
        kind = "" if number >> 24 in _PUBLIC else _class_of(number, 4)
        return _named(kind) + told[1:] if kind else told

    def _told(self, address: str) -> tuple[bytes, int]:
        """What the tables say of an address, as the end of its fragment; and the prefix of the network that it holds for."""
        place, prefix = self._looked_up("city", address)
        if "country" not in place or "continent" not in place:  # 4 us saved where the City record has both, as nearly all do
            country, longer = self._looked_up("country", address)
            place, prefix = {**country, **place}, max(prefix, longer)
        network, longer = self._looked_up("asn", address)
        fields = as_fields(network or _part(place, "traits"))
        parts = [b',"geo":', geo] if place and (geo := self._geo(place)) else []
        if fields:
            parts += (b',"as":', orjson.dumps(fields))
        return b"".join((*parts, b"}")), max(prefix, longer)

    def _geo(self, place: Mapping[str, Any]) -> bytes:
        """The ECS `geo` object as JSON; one city's is made once, as most addresses of a network have the same."""
        location = _part(place, "location")
        key = (
            _part(place, "city").get("geoname_id"),
            _part(place, "postal").get("code"),
            location.get("latitude"),
            location.get("longitude"),
            location.get("time_zone"),
        )
        if key[0] is None:  # nothing tells two such records apart for certain
            fields = geo_fields(place, self._language)
            return orjson.dumps(fields) if fields else b""
        made = self._places.get(key)
        if made is None:
            if len(self._places) >= PLACES_MAX:
                self._places.clear()
            made = self._places[key] = orjson.dumps(geo_fields(place, self._language))
        return made

    def _looked_up(self, family: str, address: str) -> tuple[Mapping[str, Any], int]:
        """The record of the first table that has one, and the longest prefix of those that were asked."""
        longest = 0
        for table in self._families[family]:
            try:
                record, prefix = table.find(address)
            except ValueError:  # IPv6 asked of a database that has IPv4 only
                continue
            longest = max(longest, prefix)
            if record is not None:
                return record, longest
        return {}, longest


def _named(kind: str) -> bytes:
    """The end of the address, and its class where it has one."""
    return b'","address_class":"%b"' % kind.encode() if kind else b'"'


class _Networks:
    """Disjoint IPv4 networks, each with what is said of its addresses. Forgets all when full."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._told: list[bytes] = []

    def find(self, number: int) -> bytes | None:
        """What is said of this address; None where its network is not known."""
        at = bisect_right(self._firsts, number) - 1
        return self._told[at] if at >= 0 and number <= self._lasts[at] else None

    def add(self, number: int, prefix: int, told: bytes) -> None:
        """Remember this address's network, of `prefix` bits. It must not be known."""
        if len(self._firsts) >= NETWORKS_MAX:
            for known in (self._firsts, self._lasts, self._told):
                known.clear()
        size = 1 << (32 - min(32, max(0, prefix)))
        first = number & -size
        at = bisect_right(self._firsts, first)
        self._firsts.insert(at, first)
        self._lasts.insert(at, first + size - 1)
        self._told.insert(at, told)


_OCTETS = {str(octet): octet for octet in range(256)}
_PUBLIC = frozenset(range(1, 224)) - {10, 100, 127, 169, 172, 192, 198, 203}
"""First octets without any address of special purpose."""


def _ipv4(text: str) -> int:
    """The number of an IPv4 address in its canonical form; -1 for any other text."""
    try:
        first, second, third, fourth = text.split(".")
        return _OCTETS[first] << 24 | _OCTETS[second] << 16 | _OCTETS[third] << 8 | _OCTETS[fourth]
    except (ValueError, KeyError):
        return -1


def database_family(kind: str) -> str:
    """What a database of this type tells: `city`, `country`, `asn`, or an empty string."""
    return next((family for word, family in FAMILIES.items() if word in kind), "")


def parsed_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in a text, or None. Takes off white space, brackets, port and IPv6 zone; unwraps IPv4-mapped IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def address_class(address: IPv4Address | IPv6Address) -> str:
    """The special purpose of an address, or an empty string for one of the public internet."""
    return _class_of(int(address), address.version)


def _class_of(number: int, version: int) -> str:
    starts, ends, names = _RANGES[version]
    at = bisect_right(starts, number) - 1
    return names[at] if at >= 0 and number <= ends[at] else ""


def geo_fields(record: Mapping[str, Any], language: str) -> dict[str, object]:
    """The ECS `geo` object of a City or Country record, only of what it holds."""
    country, parts = _part(record, "country"), record.get("subdivisions")
    region = parts[-1] if isinstance(parts, list) and parts and isinstance(parts[-1], dict) else {}
    country_code, region_code = _text(country, "iso_code"), _text(region, "iso_code")
    location = _part(record, "location")
    fields: dict[str, object] = {
        "city_name": _name(_part(record, "city"), language),
        "country_iso_code": country_code,
        "country_name": _name(country, language),
        "continent_code": _text(_part(record, "continent"), "code"),
        "region_name": _name(region, language),
        "region_iso_code": f"{country_code}-{region_code}" if country_code and region_code else None,
        "postal_code": _text(_part(record, "postal"), "code"),
        "timezone": _text(location, "time_zone"),
        "location": _point(location),
    }
    return {key: value for key, value in fields.items() if value is not None}


def as_fields(record: Mapping[str, Any]) -> dict[str, object]:
    """The ECS `as` object of an ASN or ISP record, or of an Enterprise record's traits."""
    number, name = record.get("autonomous_system_number"), _text(record, "autonomous_system_organization")
    fields: dict[str, object] = {"number": number} if isinstance(number, int) else {}
    if name:
        fields["organization"] = {"name": name}
    return fields


def _opened(config: Geoip.Config, resources: Resources) -> list[Table]:
    if not config.databases:
        raise ComponentError("databases names no file", "databases", "name a City, Country or ASN database (.mmdb)")
    tables = []
    for number, path in enumerate(config.databases):
        try:
            table = resources.table(path)
        except ComponentError as error:
            if config.optional and isinstance(error, MissingTableError):
                continue
            error.field = f"databases.{number}"
            raise
        if not database_family(table.kind):
            hint = "use a City, Country, ASN, ISP or Enterprise database"
            raise ComponentError(
                f"{path} is a {table.kind} database, which has no places or networks", f"databases.{number}", hint
            )
        tables.append(table)
    return tables


def _part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = record.get(key)
    return part if isinstance(part, dict) else {}


def _text(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def _name(record: Mapping[str, Any], language: str) -> str | None:
    names = _part(record, "names")
    return _text(names, language) or _text(names, "en")


def _point(location: Mapping[str, Any]) -> dict[str, float] | None:
    """A geo_point, or None unless both are degrees: Elasticsearch would refuse the whole document."""
    lat, lon = location.get("latitude"), location.get("longitude")
    if not isinstance(lat, (int, float)) or not isinstance(lon, (int, float)) or not (abs(lat) <= 90 and abs(lon) <= 180):
        return None
    return {"lat": lat, "lon": lon}
