"""Actions: what stands in place of a hit.

RULES
- A replacement is ASCII without quotes, backslashes and control characters, so it fits into JSON at any depth of nesting.
- `hash` is keyed (HMAC-SHA256, RFC 2104; 16 hexadecimal digits of it) over the value as it reads: escapes resolved, the
  separators of card and account numbers left out; so one value has one hash wherever it stands.
- `partial` shows the last four letters or digits, and only of values that have at least twelve.
- Where hits of several rules overlap, the strictest action of them is taken.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address

import msgspec

STRICTNESS = {"truncate": 0, "partial": 1, "hash": 2, "mask": 3, "drop_field": 4, "drop_event": 5}
_PARTIAL_FROM = 12
_NOT_ALNUM = bytes(byte for byte in range(256) if not (chr(byte).isalnum() and byte < 128))
_NUMBERS = frozenset({"luhn_card", "iban", "ssn", "phone"})


class Replacer:
    """Makes replacements for one rule."""

    __slots__ = ("_hash_key", "_numbers", "id", "mask")

    def __init__(self, rule_id: str, validator: str, hash_key: bytes) -> None:
        """Take the rule's id and validator and the key for `hash`."""
        self.id = rule_id
        self.mask = b"[REDACTED:%s]" % rule_id.encode()
        self._numbers = validator in _NUMBERS
        self._hash_key = hash_key

    def replacement(self, action: str, value: bytes, text: bytes) -> bytes:
        """What replaces `value` (bytes of the row; `text` is its shadow) under `action`."""
        if action == "hash":
            return b"[HMAC:%s:%s]" % (self.id.encode(), self._digest(value))
        if action == "partial":
            bare = text.translate(None, _NOT_ALNUM)
            if len(bare) >= _PARTIAL_FROM:
                return b"[REDACTED:%s:%s]" % (self.id.encode(), bare[-4:])
        if action == "truncate":
            return truncated(value)
        return self.mask

    def _digest(self, value: bytes) -> bytes:
        if b"\\" in value:
            try:
                value = msgspec.json.decode(b'"%s"' % value, type=str).encode()
            except (ValueError, UnicodeEncodeError):
                pass
        if self._numbers:
            value = value.translate(None, b" -.()/").upper()
        return hmac.digest(self._hash_key, value, "sha256").hex()[:16].encode()


def truncated(value: bytes) -> bytes:
    """The network an address lies in: /24 of IPv4, /48 of IPv6. `value` was validated as an address."""
    address = ip_address(value.decode("ascii"))
    bits = 8 if address.version == 4 else 80
    return str(type(address)(int(address) >> bits << bits)).encode()
