"""Address: texts read as IP addresses, their special purposes, and which one of a chain of proxies counts.

RULES
- An address may stand in white space, brackets, with a port or an IPv6 zone; IPv4 mapped into IPv6 is IPv4.
- `X-Forwarded-For` is what clients say, so it is believed from the right only: the sender of the request is known, each trusted
  proxy appends the address that it was called from, and the first address that is no trusted proxy is the one that counts.
  What stands left of it may be invented. An entry that is no address ends the walk: the last address reached counts.
- Where all are trusted, the leftmost counts. A header is no longer than HOPS_MAX entries: what stands left of them is none.
"""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import IPv4Address, IPv6Address, collapse_addresses, ip_network
from typing import TYPE_CHECKING

from shipper.model.address import canonical_ipv4, parsed_address

if TYPE_CHECKING:
    from collections.abc import Iterable

ADDRESS_CHARS_MAX = 80
"""The longest text that can be an address: IPv6 of 45 characters, brackets, port, zone id of 15 (IFNAMSIZ)."""
HOPS_MAX = 32
"""Proxies on one way. A chain is rarely longer than four; a client may write thousands."""
SOMEBODY = object()
"""Stands for a peer that is not logged, and is one of ours. No text, as a record may have any."""
_TRUSTED: tuple[None, bool] = None, True
_NOBODY: tuple[None, bool] = None, False
HOPS_KEPT_MAX = 32_768
"""Entries of headers that are remembered, some 0.3 kB each."""
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
PUBLIC = frozenset(range(1, 224)) - {10, 100, 127, 169, 172, 192, 198, 203}
"""First octets without any address of special purpose."""


def address_class(address: IPv4Address | IPv6Address) -> str:
    """The special purpose of an address, or an empty string for one of the public internet."""
    return class_of(int(address), address.version)


def class_of(number: int, version: int) -> str:
    """The same of an address as a number, of IPv4 or IPv6."""
    starts, ends, names = _RANGES[version]
    at = bisect_right(starts, number) - 1
    return names[at] if at >= 0 and number <= ends[at] else ""


class Proxies:
    """Networks whose word is taken for whom they were called from."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Take networks such as `10.0.0.0/8`. Raises ValueError for what is none."""
        self._hops = _Hops(networks)

    def callers(self, peers: Iterable[object], headers: Iterable[object]) -> list[str | None]:
        """The address that counts in each request, as we write it; see RULES. Python for each row: 0.5 us.

        `peers` sent the requests; SOMEBODY where that is not logged: then the last entry of the header stands. A header is a text
        or a list of texts. None where there is no address: the peer is none, or without a peer the last entry is.
        """
        found: list[str | None] = []
        hops = self._hops
        for peer, value in zip(peers, headers, strict=False):
            at, is_trusted = hops[peer] if isinstance(peer, str) else _TRUSTED if peer is SOMEBODY else _NOBODY
            header = (value if isinstance(value, str) else joined(value)) if is_trusted else ""
            for entry in header.rsplit(",", HOPS_MAX - 1)[::-1] if header else ():
                address, is_trusted = hops[entry]
                if address is not None:
                    at = address
                if not is_trusted:
                    break
            found.append(at)
        return found


def joined(header: object) -> str:
    """A header that was given as a list, as one text; what is no text in it is no address either."""
    if not isinstance(header, list):
        return ""
    return ",".join([entry if isinstance(entry, str) else "-" for entry in header[-HOPS_MAX:]])


class _Hops(dict[str, tuple[str | None, bool]]):
    """An entry as it is written -> its address as we write it, and whether it is a trusted proxy. Bounded; forgets all when full."""

    def __init__(self, networks: Iterable[str]) -> None:
        super().__init__()
        found = [ip_network(text) for text in networks]
        self._bounds: dict[int, tuple[list[int], list[int]]] = {}
        for version in (4, 6):
            disjoint = list(collapse_addresses(one for one in found if one.version == version))  # type: ignore[type-var]
            self._bounds[version] = [int(one[0]) for one in disjoint], [int(one[-1]) for one in disjoint]

    def __missing__(self, entry: str) -> tuple[str | None, bool]:
        if len(entry) > ADDRESS_CHARS_MAX:
            return None, False
        if len(self) >= HOPS_KEPT_MAX:
            self.clear()
        text = entry.strip()
        number, version = canonical_ipv4(text), 4  # as most are: spares most of the parsing
        if number < 0:
            address = parsed_address(text)
            if address is None:
                self[entry] = _NOBODY
                return _NOBODY
            text, number, version = str(address), int(address), address.version
        starts, ends = self._bounds[version]
        at = bisect_right(starts, number) - 1
        self[entry] = hop = text, at >= 0 and number <= ends[at]
        return hop
