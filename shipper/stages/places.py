"""Places: what a record of a geo database says, as fields of a document.

RULES
- Names follow ECS (`geo.*`, `as.*`). What ECS has no names for stands under `anonymous`, named as MaxMind does (`is_anonymous_vpn`
  is `is_vpn`, as it stands under `anonymous` already).
- Only what is known is written, never null, and of yes and no only yes: MaxMind's databases leave out what is not so.
- A region is the most specific subdivision, its code `GB-WBK`, as Elasticsearch's geoip processor makes them; `location` is
  `{"lat","lon"}`, which a `geo_point` takes, and left out unless both are degrees.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FAMILIES = {"Enterprise": "city", "City": "city", "Country": "country", "ASN": "asn", "ISP": "asn", "Anonymous": "anonymous"}
"""What a database can tell, by a word in its own type (`GeoLite2-City`, `DBIP-ASN-Lite`)."""
ANONYMOUS_FLAGS = {
    "is_anonymous": "is_anonymous",
    "is_anonymous_vpn": "is_vpn",
    "is_hosting_provider": "is_hosting_provider",
    "is_public_proxy": "is_public_proxy",
    "is_residential_proxy": "is_residential_proxy",
    "is_tor_exit_node": "is_tor_exit_node",
}
"""MaxMind's names in Anonymous-IP and Anonymous-Plus databases, and ours."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def database_family(kind: str) -> str:
    """What a database of this type tells: `city`, `country`, `asn`, `anonymous`, or an empty string."""
    return next((family for word, family in FAMILIES.items() if word in kind), "")


def geo_fields(record: Mapping[str, Any], language: str) -> dict[str, object]:
    """The ECS `geo` object of a City or Country record, only of what it holds."""
    country, parts = part(record, "country"), record.get("subdivisions")
    region = parts[-1] if isinstance(parts, list) and parts and isinstance(parts[-1], dict) else {}
    country_code, region_code = _text(country, "iso_code"), _text(region, "iso_code")
    location = part(record, "location")
    fields: dict[str, object] = {
        "city_name": _name(part(record, "city"), language),
        "country_iso_code": country_code,
        "country_name": _name(country, language),
        "continent_code": _text(part(record, "continent"), "code"),
        "region_name": _name(region, language),
        "region_iso_code": f"{country_code}-{region_code}" if country_code and region_code else None,
        "postal_code": _text(part(record, "postal"), "code"),
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


def anonymous_fields(record: Mapping[str, Any]) -> dict[str, object]:
    """The `anonymous` object of an Anonymous-IP or Anonymous-Plus record."""
    fields: dict[str, object] = {name: True for key, name in ANONYMOUS_FLAGS.items() if record.get(key) is True}
    confidence, provider, seen = (
        record.get("anonymizer_confidence"),
        _text(record, "provider_name"),
        _text(record, "network_last_seen"),
    )
    if isinstance(confidence, int) and not isinstance(confidence, bool):
        fields["confidence"] = confidence
    if provider:
        fields["provider_name"] = provider
    if seen and _DATE.fullmatch(seen):
        fields["last_seen"] = seen
    return fields


def part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object within a record, or an empty one."""
    found = record.get(key)
    return found if isinstance(found, dict) else {}


def _text(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def _name(record: Mapping[str, Any], language: str) -> str | None:
    names = part(record, "names")
    return _text(names, language) or _text(names, "en")


def _point(location: Mapping[str, Any]) -> dict[str, float] | None:
    """A geo_point, or None unless both are degrees: Elasticsearch would refuse the whole document."""
    lat, lon = location.get("latitude"), location.get("longitude")
    if not isinstance(lat, (int, float)) or not isinstance(lon, (int, float)) or not (abs(lat) <= 90 and abs(lon) <= 180):
        return None
    return {"lat": lat, "lon": lon}
