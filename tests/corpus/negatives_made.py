"""Negatives that are made: the templates of formats/negatives.yaml in several draws, and numbers that only look like cards or accounts."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tests.corpus.forms import Entry, dumped, escaped
from tests.corpus.identities import luhn_digit
from tests.corpus.people_made import account, written
from tests.corpus.secrets_made import table
from tests.corpus.shapes import drawn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

_DRAWS = 6
_AROUND = ("order {} paid", '{{"number":"{}"}}', "{}", "id={} ok", '{{"id":{}}}')


def negatives(random: Random) -> Iterator[Entry]:
    """Yield all negatives that are made."""
    for kind, templates in table("negatives").items():
        for template in templates:
            texts = dict.fromkeys(drawn(template, random) for _ in range(_DRAWS))
            yield from (_in_form(kind, number, text, random) for number, text in enumerate(texts))
    yield from _near_cards(random)
    yield from _articles(random)
    yield from _near_accounts(random)
    yield from _near_tokens(random)


def _in_form(kind: str, number: int, text: str, random: Random) -> Entry:
    if number == 3:
        return Entry(kind, "nested_json", dumped({"level": "info", "message": text}))
    if number == 4:
        return Entry(kind, "escaped_json", escaped({"log": text}, random))
    return Entry(kind, "plain", text)


def _wrapped(kind: str, number: int, text: str) -> Entry:
    template = _AROUND[number % (len(_AROUND) if text.isdigit() and text[0] != "0" else 4)]
    return Entry(kind, "plain", template.format(text))


def _near_cards(random: Random) -> Iterator[Entry]:
    """16 digits as a card has them, but a wrong check digit; and a right one behind what no issuer has."""
    for number in range(60):
        body = drawn(random.choice(["4[0-9]{14}", "5[1-5]{1}[0-9]{13}", "6011[0-9]{11}", "37[0-9]{12}"]), random)
        wrong = str((int(luhn_digit(body)) + random.randrange(1, 10)) % 10)
        pattern = "#### #### #### ####" if number % 3 == 0 and len(body) == 15 else "whole"
        yield _wrapped("card_like_failing_luhn", number, written(body + wrong, pattern))
    for number in range(60):
        body = drawn(random.choice(["1[0-9]{14}", "7[0-9]{14}", "8[0-9]{14}", "9[0-9]{14}", "0[0-9]{14}", "20[0-9]{13}"]), random)
        pattern = "#### #### #### ####" if number % 4 == 0 else "whole"
        yield _wrapped("luhn_without_issuer", number, written(body + luhn_digit(body), pattern))
    for number in range(40):
        body = drawn(random.choice(["4[0-9]{9}", "4[0-9]{12}", "5[1-5]{1}[0-9]{10}", "4[0-9]{18}", "37[0-9]{14}"]), random)
        yield _wrapped("luhn_of_other_length", number, body + luhn_digit(body))


def _articles(random: Random) -> Iterator[Entry]:
    """Article and book numbers with their check digits."""
    for number in range(60):
        body = drawn(random.choice(["40[0-9]{10}", "76[0-9]{10}", "50[0-9]{10}", "30[0-9]{10}"]), random)
        text = body + _ean_digit(body)
        words = ("EAN {}", "GTIN: {}", '{{"ean":"{}","qty":2}}', "barcode {} scanned")
        yield Entry("ean", "plain", words[number % len(words)].format(text))
    for number in range(40):
        body = drawn("978[0-36]{1}[0-9]{8}", random)
        text = body + _ean_digit(body)
        words = ("ISBN {}", "ISBN-13: {}", '{{"isbn":"{}"}}')
        shape = "###-#-####-####-#" if number % 2 else "whole"
        yield Entry("isbn", "plain", words[number % len(words)].format(written(text, shape)))


def _ean_digit(body: str) -> str:
    return str(-sum(int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(body)) % 10)


def _near_accounts(random: Random) -> Iterator[Entry]:
    """Accounts with a wrong check digit, of countries that there are not, and words of capitals and digits."""
    for number in range(40):
        country, template = random.choice(list(table("contacts")["ibans"].items()))
        right = account(country, template, random)
        wrong = f"{right[:2]}{(int(right[2:4]) + random.randrange(1, 90)) % 97:02d}{right[4:]}"
        yield _wrapped("iban_like", number, f"ZZ{right[2:]}" if number % 4 == 0 else wrong)
    for number in range(40):
        template = random.choice(
            ["AB12 [A-Z0-9]{4} [A-Z0-9]{4} [A-Z0-9]{4}", "[A-Z]{2}[0-9]{2}[A-Z0-9]{14}", "SN[0-9]{2}-[A-Z0-9]{4}-[A-Z0-9]{4}"]
        )
        yield _wrapped("capitals_and_digits", number, drawn(template, random))


def _near_tokens(random: Random) -> Iterator[Entry]:
    """What begins like a token: cursors in base64 JSON, three parts with dots that are no JWT."""
    for number in range(30):
        content = dumped({"id": random.randrange(10**6), "dir": "next"}).encode()
        cursor = base64.urlsafe_b64encode(content).decode().rstrip("=")
        yield Entry(
            "cursor", "plain", (f"GET /items?cursor={cursor}", dumped({"next": cursor}), f"page {cursor} of 3")[number % 3]
        )
    for number in range(20):
        parts = drawn("org.example[0-9]{2}.[A-Za-z]{12}.[A-Za-z]{20}", random)
        yield _wrapped("dotted", number, parts)
