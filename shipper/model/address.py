"""Addresses of hosts as logs hold them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

_OCTETS = {str(octet): octet for octet in range(256)}


def canonical_ipv4(text: str) -> int:
    """The number of an IPv4 address in its canonical form; -1 for any other text."""
    try:
        first, second, third, fourth = text.split(".")
        return _OCTETS[first] << 24 | _OCTETS[second] << 16 | _OCTETS[third] << 8 | _OCTETS[fourth]
    except (ValueError, KeyError):
        return -1


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
