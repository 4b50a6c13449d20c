"""Validators: what a pattern cannot say. Each takes the bytes of a hit and answers how many of them, from the first, are real.

RULES
- 0 means: not the real thing. Less than all: digits or words that followed were taken along by the pattern (a card number and
  its expiry date, an account number and the next word), and are left out at a separator.
- It sees what the exact pattern of its rule matched, and never raises for any bytes.
- Sources: ISO/IEC 7812 and the issuers' published ranges (cards), the IBAN registry of SWIFT (lengths), ISO 7064 (mod 97),
  RFC 7519 (JWT), the Social Security Administration's numbering (areas never assigned), ITU-T E.164 (country codes).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from ipaddress import ip_address

import msgspec

from shipper.redact.secrecy import SECRECY

Validator = Callable[[bytes], int]

_NOT_DIGIT = bytes(set(range(256)) - set(b"0123456789"))
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")

# (lowest prefix, highest prefix, allowed lengths): Visa, Mastercard, American Express, Discover, JCB, Diners Club, UnionPay,
# Maestro.
_PREFIXES = (
    (4, 4, (13, 16, 19)),
    (51, 55, (16,)),
    (2221, 2720, (16,)),
    (34, 34, (15,)),
    (37, 37, (15,)),
    (6011, 6011, (16, 17, 18, 19)),
    (644, 649, (16, 17, 18, 19)),
    (65, 65, (16, 17, 18, 19)),
    (3528, 3589, (16, 17, 18, 19)),
    (300, 305, (14, 15, 16, 17, 18, 19)),
    (36, 36, (14, 15, 16, 17, 18, 19)),
    (38, 39, (14, 15, 16, 17, 18, 19)),
    (62, 62, (16, 17, 18, 19)),
    (50, 50, (13, 14, 15, 16, 17, 18, 19)),
    (56, 58, (13, 14, 15, 16, 17, 18, 19)),
    (6304, 6304, (13, 14, 15, 16, 17, 18, 19)),
    (67, 67, (13, 14, 15, 16, 17, 18, 19)),
)
_ISSUERS = {
    first: [
        (b"%d" % low, b"%d:" % high, sizes)
        for low, high, sizes in _PREFIXES
        if b"%d" % low <= first + b":" and b"%d" % high >= first
    ]
    for first in (b"2", b"3", b"4", b"5", b"6")
}
"""By first digit: bounds as text, as `:` is the character behind `9`."""

_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH CR HR LI LV",
        22: "BG BH DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}

_IBAN_PART = {
    size: re.compile(rb"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){%d}(?![A-Za-z0-9])" % (size - 4))
    for size in set(_IBAN_LENGTHS.values())
}
_SEPARATED = re.compile(rb"[^0-9]+[0-9]+[^0-9]*\Z")

# Country codes of E.164 by their length; three digits wherever the first two do not decide.
_CODES_1 = frozenset("17")
_CODES_2 = frozenset(
    str(code)
    for codes in (
        (20, 27, 36, 39, 40, 41, 81, 82, 84, 86, 98),
        range(30, 35),
        range(43, 50),
        range(51, 59),
        range(60, 67),
        range(90, 96),
    )
    for code in codes
)
_ZONES_3 = frozenset(map(str, (21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99)))
_UNASSIGNED = frozenset(
    str(code)
    for codes in (
        *((210, 214, 215, 217, 219, 259, 384, 388, 422, 809, 851, 854, 884, 885, 887, 889, 969, 978, 990, 991, 997, 999),),
        *(range(292, 297), range(424, 430), range(693, 700), range(801, 808), range(857, 860), range(871, 878)),
    )
    for code in codes
)


def digits(found: bytes) -> bytes:
    """Only the decimal digits of `found`."""
    return found.translate(None, _NOT_DIGIT)


def _longest(found: bytes, real: Callable[[bytes], bool], fewest: int) -> int:
    """The length of the longest part from the start, cut at separators, that is real and has at least `fewest` digits."""
    end = len(found)
    while not real(digits(found[:end])):
        cut = _SEPARATED.search(found, 0, end)
        if not cut or len(digits(found[: cut.start()])) < fewest:
            return 0
        end = cut.start()
    return end


def luhn_card(found: bytes) -> int:
    """A payment card: an issuer's prefix with a length that issuer uses, and the Luhn check digit.

    Luhn alone passes a tenth of all digit runs, 13-digit epoch milliseconds among them; the prefix keeps those out.
    """
    return _longest(found, _is_card, 13)


def _is_card(number: bytes) -> bool:
    size = len(number)
    for low, high, sizes in _ISSUERS.get(number[:1], ()):
        if size in sizes and low <= number < high:
            break
    else:
        return False
    doubled = number[-2::-2].translate(_DOUBLED)
    return (sum(number[-1::-2]) + sum(doubled) - 48 * size) % 10 == 0 and number.count(number[:1]) < size


def iban(found: bytes) -> int:
    """An IBAN: as many characters as its country uses, and 1 modulo 97."""
    size = _IBAN_LENGTHS.get(found[:2].decode("ascii", "replace"), 0)
    kept = _IBAN_PART[size].match(found) if size else None
    if not kept:
        return 0
    text = kept[0].translate(None, b" -").decode("ascii").upper()
    return kept.end() if int("".join([str(int(letter, 36)) for letter in text[4:] + text[:4]])) % 97 == 1 else 0


def jwt(found: bytes) -> int:
    """A JSON Web Token: its first part decodes to a JSON object that names the algorithm (RFC 7515, section 4.1.1)."""
    head = found.partition(b".")[0]
    try:
        decoded = msgspec.json.decode(binascii.a2b_base64(head.replace(b"-", b"+").replace(b"_", b"/") + b"==="))
    except (ValueError, RecursionError):
        return 0
    return len(found) if isinstance(decoded, dict) and "alg" in decoded else 0


def basic(found: bytes) -> int:
    """Base64 of `user:password` (RFC 7617): printable, with a colon. Keeps `basic training` out."""
    try:
        decoded = binascii.a2b_base64(found + b"=" * (-len(found) % 4))
    except ValueError:
        return 0
    return len(found) if b":" in decoded and all(byte >= 0x20 for byte in decoded) else 0


def ssn(found: bytes) -> int:
    """A US social security number that can have been assigned: no area 000, 666 or 9xx, no zero group or serial."""
    number = digits(found)
    area, group, serial = number[:3], number[3:5], number[5:]
    real = len(number) == 9 and area not in (b"000", b"666") and area < b"900" and group != b"00" and serial != b"0000"
    return len(found) if real else 0


def phone(found: bytes) -> int:
    """An international number: `+`, an assigned country code, 8 to 15 digits in all; North American ones as their plan says."""
    return _longest(found, _is_phone, 8)


def _is_phone(number: bytes) -> bool:
    code = number[:3].decode()
    known = code[:1] in _CODES_1 or code[:2] in _CODES_2 or (code[:2] in _ZONES_3 and code not in _UNASSIGNED)
    if not known or not 8 <= len(number) <= 15:
        return False
    return code[:1] != "1" or (len(number) == 11 and number[1] not in b"01" and number[4] not in b"01")


def address(found: bytes) -> int:
    """An IPv4 or IPv6 address with a host part, beyond the /24 or /48 that `truncate_ips` leaves."""
    try:
        known = ip_address(found.decode("ascii"))
    except ValueError:
        return 0
    return len(found) if int(known) % (1 << (8 if known.version == 4 else 80)) else 0


VALIDATORS: dict[str, Validator] = {
    "none": len,
    "pem": len,
    "luhn_card": luhn_card,
    "iban": iban,
    "jwt": jwt,
    "basic": basic,
    "ssn": ssn,
    "phone": phone,
    "address": address,
    **SECRECY,
}
"""By the name a rule writes. `pem` marks a block whose lines may be spread over rows (see `pem.py`)."""
