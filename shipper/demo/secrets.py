"""Secrets made up for the demo, in the form of real ones: each unique, so that it can be looked for afterwards."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NAMES = ("anna.kramer", "j.okafor", "maria-lopez", "tom_field", "yuki.sato", "lena.huber")
HOSTS = ("example.com", "example.org", "mail.example.net", "shop.example.co.uk")


def email(rng: random.Random) -> str:
    """An address in a domain reserved for examples (RFC 2606)."""
    return f"{rng.choice(NAMES)}{rng.randrange(10**7)}@{rng.choice(HOSTS)}"


def card(rng: random.Random) -> str:
    """16 digits of Visa or Mastercard form whose Luhn sum holds, plain or in groups of four."""
    digits = [rng.choice((4, 5)), rng.randrange(1, 6), *(rng.randrange(10) for _ in range(13))]
    total = sum(digit if place % 2 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(digits))
    text = "".join(map(str, [*digits, -total % 10]))
    return rng.choice(("", " ", "-")).join(text[at : at + 4] for at in range(0, 16, 4))


def github_token(rng: random.Random) -> str:
    """A classic personal token: 30 characters and their CRC-32 in base 62 (GitHub, "Behind GitHub's new token formats")."""
    body = word(rng, 30)
    check, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        check, digit = divmod(check, 62)
        digits = BASE62[digit] + digits
    return f"ghp_{body}{digits}"


def word(rng: random.Random, length: int) -> str:
    """Letters and digits."""
    return "".join(rng.choices(BASE62, k=length))
