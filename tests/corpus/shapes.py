"""Values from templates, and secrets whose form is computed: checksums, encodings, keys. Everything is drawn from the `Random` given.

Sources: GitHub's announcement of its token format (CRC-32 in base 62, six digits), GitLab's of its routable tokens (CRC-32 in base 36),
BIP-173 (bech32: age, nostr), BIP-32 and Base58Check (wallets), RFC 7519 (JWT), RFC 7617 (basic), RFC 7468 and OpenSSH's PROTOCOL.key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
BASE36 = string.digits + string.ascii_lowercase
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_PART = re.compile(r"\[([^\[\]]+)\]\{(\d+)(?:,(\d+))?\}|\(([^()|]+(?:\|[^()|]+)+)\)")
_RANGE = re.compile(r"(.)-(.)")


def drawn(template: str, random: Random) -> str:
    """Return a value of a template: literals, `[class]{n}` or `[class]{n,m}` for n to m characters of a class, and `(this|that)`."""

    def part(found: re.Match[str]) -> str:
        if found[4]:
            return random.choice(found[4].split("|"))
        low, high = int(found[2]), int(found[3] or found[2])
        return "".join(random.choices(_letters(found[1]), k=random.randint(low, high)))

    return _PART.sub(part, template)


def _letters(kind: str) -> str:
    spans = [(chr(code) for code in range(ord(low), ord(high) + 1)) for low, high in _RANGE.findall(kind)]
    return "".join(dict.fromkeys("".join(map("".join, spans)) + _RANGE.sub("", kind)))


def in_base(number: int, alphabet: str, width: int) -> str:
    """Return a number in the base of an alphabet, at least `width` digits."""
    text = ""
    while number or len(text) < width:
        number, digit = divmod(number, len(alphabet))
        text = alphabet[digit] + text
    return text


def github(random: Random, prefix: str) -> str:
    """A token of GitHub or npm: 30 letters and the checksum of them."""
    body = drawn("[A-Za-z0-9]{30}", random)
    return prefix + body + in_base(zlib.crc32(body.encode()), BASE62, 6)


def gitlab_routable(random: Random, prefix: str) -> str:
    """A routable token of GitLab: payload, its length and a checksum over all before it."""
    body = prefix + drawn("[A-Za-z0-9_-]{36}", random) + ".01"
    return body + in_base(zlib.crc32(body.encode()), BASE36, 7)


def atlassian(random: Random, _: str) -> str:
    """An API token of Atlassian: it ends in a CRC-32."""
    body = "ATATT3xFfGF0" + drawn("[A-Za-z0-9_-]{171}", random)
    return f"{body}={zlib.crc32(body.encode()):08X}"


def discord(random: Random, _: str) -> str:
    """A bot token of Discord: the bot's id, a time, a signature."""
    user = base64.b64encode(drawn("[1-9]{1}[0-9]{17}", random).encode()).decode().rstrip("=")
    return f"{user}.{drawn('G[A-Za-z0-9_-]{5}', random)}.{drawn('[A-Za-z0-9_-]{38}', random)}"


def basic_pair(random: Random, _: str) -> str:
    """Base64 of `user:password`."""
    return base64.b64encode(drawn("deploy:[A-Za-z0-9]{15}", random).encode()).decode()


def _part_of(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")


def jwt(random: Random, _: str) -> str:
    """A signed JSON Web Token."""
    head = random.choice([{"alg": "HS256", "typ": "JWT"}, {"typ": "JWT", "alg": "RS256", "kid": drawn("[0-9a-f]{8}", random)}])
    body = {"sub": drawn("[0-9]{6}", random), "iat": 1770000000 + random.randrange(10**6), "aud": "shop"}
    return f"{_part_of(head)}.{_part_of(body)}.{drawn('[A-Za-z0-9_-]{43}', random)}"


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= factor if (top >> bit) & 1 else 0
    return check


def bech32(prefix: str, random: Random) -> str:
    """32 random bytes in bech32 (BIP-173)."""
    number = random.getrandbits(256) << 4
    data = [number >> shift & 31 for shift in range(255, -1, -5)]
    expanded = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    check = _polymod([*expanded, *data, 0, 0, 0, 0, 0, 0]) ^ 1
    return f"{prefix}1" + "".join(_BECH32[value] for value in [*data, *(check >> 5 * (5 - place) & 31 for place in range(6))])


def age(random: Random, _: str) -> str:
    """A secret key of age."""
    return bech32("age-secret-key-", random).upper()


def nsec(random: Random, _: str) -> str:
    """A secret key of nostr."""
    return bech32("nsec", random)


def _base58check(payload: bytes) -> str:
    whole = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    return in_base(int.from_bytes(whole, "big"), _BASE58, 1)


def wif(random: Random, _: str) -> str:
    """A private key of Bitcoin in wallet import format."""
    return _base58check(b"\x80" + random.randbytes(32) + b"\x01")


def xprv(random: Random, _: str) -> str:
    """An extended private key of BIP-32."""
    return _base58check(bytes.fromhex("0488ADE4") + bytes(9) + random.randbytes(32) + b"\0" + random.randbytes(32))


PEM_STARTS = {
    "RSA PRIVATE KEY": "MIIEow",
    "EC PRIVATE KEY": "MHcCAQ",
    "PRIVATE KEY": "MIIEvQ",
    "ENCRYPTED PRIVATE KEY": "MIIFLT",
    "DSA PRIVATE KEY": "MIIBuw",
    "OPENSSH PRIVATE KEY": "b3BlbnNzaC1rZXktdjEAAAAA",
    "PGP PRIVATE KEY BLOCK": "lQOYBGX",
}


def pem_lines(random: Random, label: str, count: int = 5) -> list[str]:
    """The lines of a private key; its content is random."""
    width = 70 if "OPENSSH" in label else 64
    first = PEM_STARTS[label]
    body = [first + drawn(f"[A-Za-z0-9+/]{{{width - len(first)}}}", random)]
    body += [drawn(f"[A-Za-z0-9+/]{{{width}}}", random) for _ in range(count - 2)]
    body.append(drawn("[A-Za-z0-9+/]{42}==", random))
    return [f"-----BEGIN {label}-----", *body, f"-----END {label}-----"]


MADE: dict[str, Callable[[Random, str], str]] = {
    "github": github,
    "gitlab_routable": gitlab_routable,
    "atlassian": atlassian,
    "discord": discord,
    "basic_pair": basic_pair,
    "jwt": jwt,
    "age": age,
    "nsec": nsec,
    "wif": wif,
    "xprv": xprv,
}
"""By the name that formats/secrets.yaml calls them."""
