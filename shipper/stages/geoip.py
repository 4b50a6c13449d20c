"""Geoip: where an address is and whose network it belongs to, spliced as finished bytes.

RULES
- What is said of an address stands in `places.py`, which address counts behind proxies in `address.py`.
- Every valid address yields `ip` in its canonical form, looked up or not, so that the field can be mapped as `ip`. Only where the
  field is `<target>.ip` itself it stands in the record already, as text formats write it: then it is added, and the row merged
  (`Columns.odd`), where it was written otherwise; behind proxies it is exchanged in the row (`rewriting.py`).
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
from itertools import compress, repeat
from operator import and_, is_not, mul, ne
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from shipper.config.fields import ComponentConfig, FilePath, Network
from shipper.model.address import canonical_ipv4, parsed_address
from shipper.model.errors import ComponentError
from shipper.stages.address import (
    ADDRESS_CHARS_MAX,
    PUBLIC,
    SOMEBODY,
    Proxies,
    address_class,
    class_of,
)
from shipper.stages.places import anonymous_fields, as_fields, database_family, geo_fields, part
from shipper.stages.rewriting import Rewriting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources, Table

PLACES_MAX = 4096
"""Cities whose JSON is remembered, some 0.4 kB each."""
NETWORKS_MAX = 8192
"""Networks that are remembered, some 0.3 kB each where their places differ."""
KINDS = "a City, Country, ASN, ISP, Enterprise or Anonymous-IP database"


class MissingTableError(ComponentError):
    """There is no file where a table should be, which `optional` forgives; a broken file is never forgiven."""


class Geoip:
    """Add place and network of an address.

    City, Country, ASN and Anonymous-IP databases (MaxMind or DB-IP, `.mmdb`) are merged in one pass into `client.geo.*`,
    `client.as.*` and `client.anonymous.*` (`is_vpn`, `is_tor_exit_node` ...: only what is true is written), with `client.ip`;
    private and reserved addresses get `client.address_class` instead. A new version of a file is taken into use while the agent
    runs, if it passes a check; else the old one stays, and the log says why.

    Behind proxies: `{field: remote_addr, forwarded: x_forwarded_for, trusted: [10.0.0.0/8]}`. The header is believed from the
    right only, as anybody may write anything into it: as long as an address is one of `trusted`, the entry left of it counts; the
    first that is not is the client. An entry that is no address ends the walk at the address before it, and a header that came
    from an address outside of `trusted` is not looked at. So name your own proxies in `trusted`, and nothing else. It costs 0.3 us
    for one proxy and 0.5 us for two, besides the 0.2 to 0.4 us of the rest.

    Where `field` is `client.ip` itself, as in access logs, the address stays where it stands, and the rest is put beside it. With
    `forwarded` the address that counts takes its place, and the record's own goes to `shipper.record.client.ip`.
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `geoip`."""

        field: str | None = None
        """The field with the address, `client_ip`. A port, brackets and white space around it are ignored. With `forwarded` it is
        who sent the request, `remote_addr`; left out, the header's last entry is."""
        databases: list[FilePath]
        """The mmdb files: City, Country, ASN, Anonymous-IP, in any order."""
        forwarded: str | None = None
        """The field with the `X-Forwarded-For` header: a text `client, proxy1, proxy2`, or a list of texts."""
        trusted: list[Network] = msgspec.field(default_factory=list)
        """Networks of the proxies that are believed, `10.0.0.0/8`; only with `forwarded`."""
        target: str = "client"
        """The top-level key of the document that takes `ip`, `geo`, `as` and `anonymous`. A record's own value of that name moves away."""
        optional: bool = False
        """Go on without a database that is missing. A broken one is refused all the same."""
        language: str = "en"
        """Language of names: `de`, `en`, `es`, `fr`, `ja`, `pt-BR`, `ru`, `zh-CN`. English where a name is not translated."""
        cache_max: int = 65_536
        """Addresses remembered, 0.2 kB each (13 MB when full); one that is not costs 2 to 13 us. When full, those not seen for the longest half are forgotten."""

    example = """
stages:
  - geoip:
      field: remote_addr
      databases: [GeoLite2-City.mmdb, GeoLite2-ASN.mmdb]
      forwarded: x_forwarded_for
      trusted: [10.0.0.0/8]
"""

    def __init__(self, config: Config, resources: Resources) -> None:
        """Open the databases. Raises ComponentError for one that is missing, broken or of a kind without places."""
        _refuse_unusable(config)
        self.reads: Sequence[str] = tuple(name for name in (config.field, config.forwarded) if name is not None)
        self._tables = _opened(config, resources)
        self._stands_already = config.field == f"{config.target}.ip"
        told = [] if self._stands_already else ["ip"]
        told += ["address_class", "geo", "as", "anonymous"]
        self.adds: Sequence[str] = tuple(f"{config.target}.{name}" for name in told)
        self.changes: Sequence[str] = ()
        if self._stands_already and config.forwarded is not None:
            self.changes, self.adds = (str(config.field),), (*self.adds, f"shipper.record.{config.field}")
        self.objects: Sequence[str] = (config.target,)
        self._proxies = None if config.forwarded is None else Proxies(config.trusted)
        self._opening = "," + orjson.dumps(config.target).decode() + ':{"ip":"'
        self._cache = _Wholes(config, self._tables) if self._stands_already else _Endings(config, self._tables)
        self._generation = -1

    def process(self, columns: Columns, now: float) -> None:  # noqa: ARG002  part of the contract
        """Splice one fragment a row: `,"client":{...}`, or nothing where the field holds no address."""
        generation = sum([table.generation for table in self._tables])
        if generation != self._generation:
            self._generation = generation
            self._cache.renew()
        self._cache.make_room()
        values = self._addresses(columns)
        try:
            endings = list(map(self._cache.__getitem__, values))
        except TypeError:  # a list or an object among them does not hash
            self._cache.is_strange = True
        if self._cache.is_strange:
            self._cache.is_strange = False
            values = [value if _may_be_address(value) else None for value in values]
            endings = list(map(self._cache.__getitem__, values))
        if self.changes:
            self._exchange(columns, values)
        if not any(endings):
            return
        if not self._stands_already:
            columns.splice(self._beginnings(values, endings))
        elif not self.changes:
            self._mark_odd(columns, values, endings)
        columns.splice(endings)

    def _addresses(self, columns: Columns) -> Sequence[Any]:
        """What stands in the field, or the address that counts behind proxies."""
        if self._proxies is None:
            return columns.column(self.reads[0])
        *peers, headers = map(columns.column, self.reads)
        return self._proxies.callers(peers[0] if peers else repeat(SOMEBODY), headers)

    def _exchange(self, columns: Columns, callers: Sequence[str | None]) -> None:
        """Put the addresses that count in the place of those that the records have, which are kept aside."""
        name = self.changes[0]
        peers = columns.column(name)
        mask = list(map(and_, map(ne, callers, peers), map(is_not, callers, repeat(None))))
        if not any(mask):
            return
        rows, found = list(compress(range(columns.count), mask)), list(compress(callers, mask))
        aside = b',"shipper.record.%b":%%b' % name.encode().replace(b"%", b"%%")
        own = iter([aside % orjson.dumps(peer) for peer in compress(peers, mask)])
        rewriting = Rewriting(columns, columns.asked)
        rewriting.write(name, rows, list(map(orjson.dumps, found)), found)
        rewriting.finish()
        columns.splice([next(own) if is_other else b"" for is_other in mask])

    def _mark_odd(self, columns: Columns, values: Sequence[object], endings: Sequence[bytes]) -> None:
        """Rows whose `ip` is written otherwise than ours: both cannot stand there."""
        irregular = self._cache.irregular
        if not irregular.keys().isdisjoint(values):
            columns.odd.update(compress(range(columns.count), map(and_, map(irregular.__contains__, values), map(bool, endings))))

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
        if not self._is_regular(ending):
            self.irregular[value] = ""
        self[value] = ending
        return ending

    def _is_regular(self, made: bytes) -> bool:
        """Whether a value that this was made of is an address as we write it."""
        return made.startswith(b'"')

    def make_room(self) -> None:
        """Start a new generation if this one is full."""
        if len(self) > self._half:
            self._older = dict(self)
            self._start()

    def renew(self) -> None:
        """Forget everything and look at the tables' kinds again: they may be of another version now."""
        self._families = {"city": [], "country": [], "asn": [], "anonymous": []}
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
        number = canonical_ipv4(written)  # canonical, as most are: spares most of the parsing
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
        kind = "" if number >> 24 in PUBLIC else class_of(number, 4)
        return _named(kind) + told[1:] if kind else told

    def _told(self, address: str) -> tuple[bytes, int]:
        """What the tables say of an address, as the end of its fragment; and the prefix of the network that it holds for."""
        place, prefix = self._looked_up("city", address)
        if "country" not in place or "continent" not in place:  # 4 us saved where the City record has both, as nearly all do
            country, longer = self._looked_up("country", address)
            place, prefix = {**country, **place}, max(prefix, longer)
        network, longer = self._looked_up("asn", address)
        fields = as_fields(network or part(place, "traits"))
        parts = [b',"geo":', geo] if place and (geo := self._geo(place)) else []
        if fields:
            parts += (b',"as":', orjson.dumps(fields))
        prefix = max(prefix, longer)
        anonymous, longer = self._looked_up("anonymous", address)
        if anonymous and (fields := anonymous_fields(anonymous)):
            parts += (b',"anonymous":', orjson.dumps(fields))
        return b"".join((*parts, b"}")), max(prefix, longer)

    def _geo(self, place: Mapping[str, Any]) -> bytes:
        """The ECS `geo` object as JSON; one city's is made once, as most addresses of a network have the same."""
        location = part(place, "location")
        key = (
            part(place, "city").get("geoname_id"),
            part(place, "postal").get("code"),
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


class _Wholes(_Endings):
    """The same, for addresses that stand in the record as `<target>.ip`: whole fragments, without `ip` where that is regular."""

    def __init__(self, config: Geoip.Config, tables: Sequence[Table]) -> None:
        super().__init__(config, tables)
        self._opening = b"," + orjson.dumps(config.target) + b":{"
        self._wholes: dict[bytes, bytes] = {}

    def _made(self, written: str) -> bytes:
        ending = super()._made(written)
        if not ending:
            return ending
        if not ending.startswith(b'"'):
            return self._opening + b'"ip":"' + ending
        if ending not in self._wholes:
            if len(self._wholes) >= NETWORKS_MAX:
                self._wholes.clear()
            self._wholes[ending] = b"" if ending == b'"}' else self._opening + ending[2:]
        return self._wholes[ending]

    def _is_regular(self, made: bytes) -> bool:
        return not made.startswith(self._opening + b'"ip":')


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


def _refuse_unusable(config: Geoip.Config) -> None:
    """Raises ComponentError."""
    if not config.target or "." in config.target:
        raise ComponentError("target is one top-level key, without dots", "target", "write `client` or `source`")
    if config.cache_max < 2:
        raise ComponentError("cache_max must be 2 or more", "cache_max")
    if config.field is None and config.forwarded is None:
        raise ComponentError("no field has the address", "", "name it: `field: client_ip`")
    if config.forwarded is not None and not config.trusted:
        hint = "name the networks of your proxies: `trusted: [10.0.0.0/8]`"
        raise ComponentError("forwarded is believed of trusted proxies only, and none is named", "forwarded", hint)
    if config.trusted and config.forwarded is None:
        raise ComponentError("trusted proxies say nothing without a header", "trusted", "name it: `forwarded: x_forwarded_for`")


def _opened(config: Geoip.Config, resources: Resources) -> list[Table]:
    if not config.databases:
        raise ComponentError("databases names no file", "databases", f"name {KINDS} (.mmdb)")
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
            hint = f"use {KINDS}"
            raise ComponentError(
                f"{path} is a {table.kind} database, which has no places or networks", f"databases.{number}", hint
            )
        tables.append(table)
    return tables
