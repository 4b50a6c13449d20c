"""Positives that are personal data: cards, accounts, addresses, telephone numbers, and all numbers of formats/personal.yaml."""

from __future__ import annotations

from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any

from stdnum import iban as iban_number
from stdnum.iso7064 import mod_97_10

from tests.corpus.forms import Entry, Piece, around, labelled, pair_entry, text_entry, value_entry
from tests.corpus.identities import OWN, luhn_digit
from tests.corpus.secrets_made import as_list, table
from tests.corpus.shapes import drawn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

_TEXT_FORMS = ("escaped_json", "unicode", "docker_parts", "nested_json")
_KEY_FORMS = ("json_int", "url", "json_int", "escaped_json", "json_int", "docker_parts", "json_int", "unicode", "header")
_BARE_FORMS = ("nested_json", "unicode", "escaped_json", "docker_parts", "key")


def people(random: Random) -> Iterator[Entry]:
    """Yield all positives that are personal data."""
    turn = count()
    for kind, wanted in table("personal").items():
        yield from _numbers(kind, wanted, turn, random)
    other = table("contacts")
    yield from _cards(other["cards"], turn, random)
    yield from _accounts(other["ibans"], turn, random)
    yield from _contacts(other, turn, random)


def written(value: str, pattern: str) -> str:
    """Return a value as a pattern writes it: each `#` is its next character."""
    if pattern == "whole":
        return value
    letters = iter(value)
    return "".join(next(letters) if sign == "#" else sign for sign in pattern)


def identity(wanted: dict[str, Any], random: Random, number: int = 0) -> str:
    """Return a number that its check accepts."""
    if "own" in wanted:
        return OWN[wanted["own"]](random, *as_list(wanted.get("with", [])))
    template = as_list(wanted["value"])[number % len(as_list(wanted["value"]))]
    check = import_module(f"stdnum.{wanted['check']}") if "check" in wanted else None
    while True:
        value = drawn(template, random)
        if check is None or check.is_valid(value):
            return value


def _numbers(kind: str, wanted: dict[str, Any], turn: Iterator[int], random: Random) -> Iterator[Entry]:
    texts, keys, writes = wanted["text"], wanted["keys"], wanted["write"]
    for number, text in enumerate(texts):
        value = written(identity(wanted, random, number), writes[number % len(writes)])
        form = "plain" if number == 0 else _TEXT_FORMS[next(turn) % len(_TEXT_FORMS)]
        yield text_entry(kind, form, around(text, Piece(value, (value,))), random)
    value = written(identity(wanted, random, 3), writes[0])
    yield pair_entry(kind, "nested_json", keys[0], value, random)
    value = written(identity(wanted, random, 4), writes[-1])
    form = _KEY_FORMS[next(turn) % len(_KEY_FORMS)]
    form = "escaped_json" if form == "json_int" and not (value.isdigit() and value[0] != "0") else form
    yield pair_entry(kind, form, keys[-1], value, random)
    for pattern in wanted.get("bare", []):
        value = written(identity(wanted, random), pattern)
        yield value_entry(kind, "plain", value, random)
        value = written(identity(wanted, random), pattern)
        yield value_entry(kind, _BARE_FORMS[next(turn) % len(_BARE_FORMS)], value, random)


def _cards(brands: dict[str, list[list[str]]], turn: Iterator[int], random: Random) -> Iterator[Entry]:
    for brand, rows in brands.items():
        for template, *patterns in rows:
            for pattern in patterns:
                body = drawn(template, random)
                value = written(body + luhn_digit(body), pattern)
                yield value_entry(f"card_{brand}", "plain", value, random)
            body = drawn(template, random)
            number = body + luhn_digit(body)
            yield value_entry(f"card_{brand}", _BARE_FORMS[next(turn) % len(_BARE_FORMS)], number, random)
            yield pair_entry(f"card_{brand}", "json_int", random.choice(["pan", "number", "account", "value"]), number, random)


def _accounts(countries: dict[str, str], turn: Iterator[int], random: Random) -> Iterator[Entry]:
    for country, template in countries.items():
        for number in range(2):
            value = account(country, template, random)
            if number == 0:
                grouped = " ".join(value[at : at + 4] for at in range(0, len(value), 4))
                yield value_entry("iban", "plain", grouped if random.random() < 0.6 else value, random)
            else:
                form = (*_BARE_FORMS, "url")[next(turn) % (len(_BARE_FORMS) + 1)]
                yield value_entry("iban", form, value, random)


def account(country: str, template: str, random: Random) -> str:
    """Return an IBAN that holds in itself and, where the library knows it, in its country."""
    while True:
        body = drawn(template, random)
        value = country + mod_97_10.calc_check_digits(body + country) + body
        if iban_number.is_valid(value):
            return value


def _contacts(other: dict[str, Any], turn: Iterator[int], random: Random) -> Iterator[Entry]:
    for text in other["emails"]:
        yield text_entry("email", ("plain", *_TEXT_FORMS)[next(turn) % 5], labelled(text, random), random)
    for text in other["international"]:
        yield value_entry(
            "phone_international", ("plain", *_BARE_FORMS)[next(turn) % 6], labelled(f"⟦{text}⟧", random).text, random
        )
    for text in other["national"]:
        yield text_entry("phone_national", ("plain", *_TEXT_FORMS)[next(turn) % 5], labelled(text, random), random)
    for kind, form, text in other["records"]:
        piece = labelled(text, random)
        gate = "truncate_ips" if kind in ("ipv4", "ipv6") else ""
        yield Entry(kind, form, piece.text, piece.secrets, piece.may, gate)
