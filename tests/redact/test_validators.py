"""Validators: what they refuse that the patterns let pass, and how much of a hit they keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.redact.validators import VALIDATORS, iban, jwt, luhn_card, phone, ssn


def luhn(number: str) -> bool:
    """Return whether the check digit holds, as the algorithm is told in words."""
    total = 0
    for place, figure in enumerate(reversed(number)):
        value = int(figure) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def valid_iban(text: str) -> bool:
    """Return whether the check digits hold, as ISO 7064 tells it."""
    moved = text[4:] + text[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


@given(st.binary(max_size=40), st.sampled_from(sorted(VALIDATORS)))
def test_validators_never_raise_and_never_keep_more_than_they_got(found: bytes, name: str) -> None:
    """Law: for any bytes the answer lies between 0 and their number."""
    assert 0 <= VALIDATORS[name](found) <= len(found)


@given(st.from_regex(r"(4[0-9]{15}|5[1-5][0-9]{14}|3[47][0-9]{13}|62[0-9]{14,17})", fullmatch=True))
def test_luhn_card_agrees_with_the_algorithm_for_issued_prefixes(number: str) -> None:
    """Law: with prefix and length right, the check digit decides; a run of one digit is no card."""
    assert (luhn_card(number.encode()) == len(number)) == (luhn(number) and len(set(number)) > 1)


@given(st.integers(946_684_800_000, 1_999_999_999_999))
def test_luhn_card_refuses_epoch_milliseconds(stamp: int) -> None:
    """Law: a time stamp of this century is never a card, though a tenth of them pass Luhn."""
    assert luhn_card(str(stamp).encode()) == 0


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (b"4111 1111 1111 1111", 19),
        (b"4111 1111 1111 1111 12", 19),
        (b"4111-1111-1111-1111 12/27", 19),
        (b"4111 1111 1111 1112 12", 0),
        (b"2720 9999 9999 9996", 19),
        (b"2721 0000 0000 0004", 0),
        (b"2220 9999 9999 9991", 0),
        (b"378282246310005", 15),
        (b"37828224631000", 0),
        (b"0000000000000000", 0),
    ],
)
def test_luhn_card_keeps_the_number_and_leaves_what_follows(found: bytes, kept: int) -> None:
    """The expiry date behind a card is no part of it, and does not save it from being found."""
    assert luhn_card(found) == kept


@given(
    st.sampled_from(["DE", "AT", "NO", "MT"]),
    st.text("0123456789", min_size=40, max_size=40),
    st.sampled_from(["", " paid", " x"]),
)
def test_iban_agrees_with_mod_97_for_the_length_of_its_country(country: str, figures: str, after: str) -> None:
    """Law: the right check digits, and only they, make an account number of a text of the country's length."""
    size = {"DE": 22, "AT": 20, "NO": 15, "MT": 31}[country]
    account = figures[: size - 4]
    check = 98 - int("".join(str(int(sign, 36)) for sign in account + country + "00")) % 97
    assert iban(f"{country}{check:02}{account}{after}".encode()) == size
    wrong = f"{country}{(check + 1) % 97:02}{account}"
    assert iban(wrong.encode()) == (size if valid_iban(wrong) else 0)


@pytest.mark.parametrize("found", [b"DE8937040044053201300", b"DE893704004405320130001", b"ZZ89370400440532013000", b"DE", b""])
def test_iban_refuses_other_lengths_and_countries(found: bytes) -> None:
    """A digit too few or too many is no account number."""
    assert iban(found) == 0


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (b"+49 89 1234567", 14),
        (b"+49 89 1234567 4711 0815 99", 19),
        (b"+1 415 555 0123", 15),
        (b"+1 415 555 0123 12", 15),
        (b"+1 115 555 0123", 0),
        (b"+999 1234567", 0),
        (b"+49 1234", 0),
        (b"+353 1 234 5678", 15),
    ],
)
def test_phone_wants_an_assigned_code_and_a_plausible_length(found: bytes, kept: int) -> None:
    """North American numbers have exactly ten digits behind the 1."""
    assert phone(found) == kept


@pytest.mark.parametrize("found", [b"000-12-3456", b"666-12-3456", b"900-12-3456", b"123-00-4567", b"123-45-0000"])
def test_ssn_refuses_what_is_never_assigned(found: bytes) -> None:
    """Areas 000, 666 and 900 to 999, group 00, serial 0000."""
    assert ssn(found) == 0
    assert ssn(b"123-45-6789") == 11


@pytest.mark.parametrize("head", [b"eyJ", b"eyJub3RhbGciOjF9", b"eyJbXQ", b"e30", b"W10", b"eyJ4eHh4"])
def test_jwt_refuses_a_first_part_that_names_no_algorithm(head: bytes) -> None:
    """What only begins like base64 of `{"` is left alone."""
    assert jwt(head + b".e30.c2ln") == 0
    assert jwt(b"eyJhbGciOiJub25lIn0.e30.") == 24
