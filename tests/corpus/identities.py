"""Numbers of people that python-stdnum does not know: each is drawn with its check digits, after the issuer's published rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.corpus.shapes import drawn

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_731 = (7, 3, 1)


def valued(text: str) -> list[int]:
    """Digits as they are, letters from A = 10 on, `<` as 0 (ICAO 9303)."""
    return [0 if letter == "<" else int(letter, 36) for letter in text]


def weighted_731(text: str) -> str:
    """Return the check digit of ICAO 9303, weights 7, 3, 1."""
    return str(sum(value * _731[place % 3] for place, value in enumerate(valued(text))) % 10)


def luhn_digit(text: str) -> str:
    """Return the Luhn digit that follows `text`."""
    total = sum(int(digit) if place % 2 else sum(divmod(2 * int(digit), 10)) for place, digit in enumerate(reversed(text)))
    return str(-total % 10)


def rvnr(random: Random) -> str:
    """German pension insurance: area, birth date, initial, serial, check digit (DRV, Verordnung VKVV section 4)."""
    body = drawn("[1-6]{1}[2-9]{1}[012]{1}[1-9]{1}0[1-9]{1}[5-9]{1}[0-9]{1}[A-Z]{1}[0-4]{1}[0-9]{1}", random)
    return body + rvnr_digit(body)


def rvnr_digit(body: str) -> str:
    """Return the check digit: the letter as two digits, weights 2 1 2 5 7 1 2 1 2 1 2 1, sums of digits."""
    digits = body[:8] + f"{ord(body[8]) - 64:02d}" + body[9:]
    total = sum(
        sum(divmod(int(digit) * weight, 10)) for digit, weight in zip(digits, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True)
    )
    return str(total % 10)


def german_document(random: Random, first: str) -> str:
    """German identity card or passport: nine characters without vowels, and the ICAO digit."""
    body = drawn(first + "[0-9CFGHJKLMNPRTVWXYZ]{8}", random)
    return body + weighted_731(body)


def kvnr(random: Random) -> str:
    """German health insurance: a letter, eight digits, Luhn with the letter as two digits, weights 1 and 2 (section 290 SGB V)."""
    body = drawn("[A-Z]{1}[0-9]{8}", random)
    return body + kvnr_digit(body)


def kvnr_digit(body: str) -> str:
    """Return the check digit."""
    digits = f"{ord(body[0]) - 64:02d}{body[1:]}"
    return str(sum(sum(divmod(int(digit) * (1 + place % 2), 10)) for place, digit in enumerate(digits)) % 10)


def spanish_naf(random: Random) -> str:
    """Spanish social security: province, number, 97-complement free remainder."""
    body = drawn("[0-4]{1}[1-9]{1}[1-9]{1}[0-9]{7}", random)
    return f"{body}{int(body) % 97:02d}"


def niss(random: Random) -> str:
    """Portuguese social security: prime weights, 9 minus the remainder of ten."""
    body = drawn("1[0-9]{9}", random)
    return f"{body}{niss_digit(body)}"


def niss_digit(body: str) -> int:
    """Return the check digit."""
    return 9 - sum(int(digit) * prime for digit, prime in zip(body, (29, 23, 19, 17, 13, 11, 7, 5, 3, 2), strict=True)) % 10


def nino(random: Random) -> str:
    """British national insurance: prefixes that are given out, six digits, A to D."""
    return drawn("[ABCEGHJ-MPRST]{1}[ABCEGHJ-LPRST]{1}[0-9]{6}[A-D]{1}", random)


def british_licence(random: Random) -> str:
    """British driving licence: five of the surname, decade, month, day, year, initials, check characters."""
    surname = random.choice(["MORGA", "SMITH", "TAYL9", "EVANS", "KHAN9", "PATEL"])
    return surname + drawn("[5-9]{1}0[1-9]{1}[12]{1}[0-9]{1}[0-9]{1}[A-M]{1}[A-M9]{1}9[A-Z]{2}", random)


def polish_card(random: Random) -> str:
    """Polish identity card: three letters, check digit (7 3 1 over letters, then digits), five digits."""
    letters, digits = drawn("[A-Z]{3}", random), drawn("[0-9]{5}", random)
    return letters + polish_digit(letters, digits) + digits


def polish_digit(letters: str, digits: str) -> str:
    """Return the check digit, which stands between letters and digits."""
    return str(sum(value * weight for value, weight in zip(valued(letters + digits), (7, 3, 1, 7, 3, 1, 7, 3), strict=True)) % 10)


def italian_card(random: Random) -> str:
    """Italian electronic identity card: `CA`, five digits, two letters."""
    return drawn("CA[0-9]{5}[A-Z]{2}", random)


def alnum12(random: Random) -> str:
    """French identity card of the old kind: twelve digits, department and year first."""
    return drawn("[01]{1}[0-9]{1}0[1-9]{1}75[0-9]{6}", random)


def hungarian_id(random: Random) -> str:
    """Hungarian personal number: sex, birth date, serial, check digit (weights 1 to 10, modulo 11)."""
    while True:
        body = drawn("[12]{1}[5-9]{1}[0-9]{1}0[1-9]{1}[12]{1}[0-9]{1}[0-9]{3}", random)
        check = hungarian_digit(body)
        if check < 10:
            return f"{body}{check}"


def hungarian_digit(body: str) -> int:
    """Return the check digit; 10 means that the number is not given out."""
    return sum(int(digit) * place for place, digit in enumerate(body, 1)) % 11


def npi(random: Random) -> str:
    """US national provider identifier: Luhn over 80840 and the number."""
    body = drawn("[12]{1}[0-9]{8}", random)
    return body + luhn_digit("80840" + body)


def mbi(random: Random) -> str:
    """US Medicare beneficiary identifier: eleven places, each with its kind of character (CMS)."""
    letter = "[ACDEFGHJKMNPQRTUVWXY]{1}"
    either = "[0-9ACDEFGHJKMNPQRTUVWXY]{1}"
    return drawn(f"[1-9]{{1}}{letter}{either}[0-9]{{1}}{letter}{either}[0-9]{{1}}{letter}{letter}[0-9]{{2}}", random)


def dea(random: Random) -> str:
    """US DEA registration: two letters, six digits, check digit."""
    body = drawn("[0-9]{6}", random)
    return drawn("[ABFGM]{1}[A-Z]{1}", random) + body + dea_digit(body)


def dea_digit(body: str) -> str:
    """Return the last digit of the sum of odd places and twice the even ones."""
    return str((sum(map(int, body[::2])) + 2 * sum(map(int, body[1::2]))) % 10)


def australian_medicare(random: Random) -> str:
    """Australian Medicare card: eight digits, check digit (1 3 7 9 1 3 7 9), issue."""
    body = drawn("[2-6]{1}[0-9]{7}", random)
    return body + medicare_digit(body) + drawn("[1-9]{1}", random)


def medicare_digit(body: str) -> str:
    """Return the check digit."""
    return str(sum(int(digit) * weight for digit, weight in zip(body, (1, 3, 7, 9, 1, 3, 7, 9), strict=True)) % 10)


def nric(random: Random) -> str:
    """Singaporean identity number: letter, seven digits, check letter."""
    first, body = random.choice("STFG"), drawn("[0-9]{7}", random)
    return first + body + nric_letter(first, body)


def nric_letter(first: str, body: str) -> str:
    """Return the check letter."""
    total = sum(int(digit) * weight for digit, weight in zip(body, (2, 7, 6, 5, 4, 3, 2), strict=True))
    return ("JZIHGFEDCBA" if first in "ST" else "XWUTRQPNMLK")[(total + (4 if first in "TG" else 0)) % 11]


_TAIWAN = "ABCDEFGHJKLMNPQRSTUVXYWZIO"


def taiwanese(random: Random) -> str:
    """Taiwanese identity number: letter, sex, seven digits, check digit."""
    body = drawn("[A-Z]{1}[12]{1}[0-9]{7}", random)
    return body + taiwan_digit(body)


def taiwan_digit(body: str) -> str:
    """Return the check digit."""
    code = 10 + _TAIWAN.index(body[0])
    total = (
        code // 10 + 9 * (code % 10) + sum(int(digit) * weight for digit, weight in zip(body[1:], range(8, 0, -1), strict=True))
    )
    return str(-total % 10)


def hkid(random: Random) -> str:
    """Hong Kong identity card: letter, six digits, check character."""
    body = drawn("[A-Z]{1}[0-9]{6}", random)
    return body + hkid_digit(body)


def hkid_digit(body: str) -> str:
    """Return the check character, weights 9 (a blank, 36) then 8 to 2, modulo 11."""
    total = 36 * 9 + sum(value * weight for value, weight in zip(valued(body), range(8, 1, -1), strict=True))
    return "0123456789A"[-total % 11]


def snils(random: Random) -> str:
    """Russian pension insurance: nine digits, two check digits."""
    body = drawn("[1-9]{1}[0-9]{8}", random)
    return body + snils_digits(body)


def snils_digits(body: str) -> str:
    """Return the two check digits."""
    total = sum(int(digit) * weight for digit, weight in zip(body, range(9, 0, -1), strict=True))
    return f"{total % 101 % 100:02d}"


def mrz(random: Random) -> str:
    """The second line of a passport's machine readable zone (ICAO 9303 part 4)."""
    document = drawn("C[0-9A-Z]{8}", random)
    birth = drawn("[5-9]{1}[0-9]{1}0[1-9]{1}[12]{1}[0-9]{1}", random)
    until = drawn("3[0-5]{1}0[1-9]{1}[12]{1}[0-9]{1}", random)
    parts = [document + weighted_731(document), birth + weighted_731(birth), until + weighted_731(until), "<<<<<<<<<<<<<<0"]
    return f"{parts[0]}D<<{parts[1]}{random.choice('MF')}{parts[2]}{parts[3]}{weighted_731(''.join(parts))}"


def mrz_card(random: Random) -> str:
    """The second line of an identity card's machine readable zone (ICAO 9303 part 5), its composite digit over an empty first line."""
    birth = drawn("[5-9]{1}[0-9]{1}0[1-9]{1}[12]{1}[0-9]{1}", random)
    until = drawn("3[0-5]{1}0[1-9]{1}[12]{1}[0-9]{1}", random)
    numbers = birth + weighted_731(birth), until + weighted_731(until)
    return f"{numbers[0]}{random.choice('MF')}{numbers[1]}D<<<<<<<<<<<<<{weighted_731(''.join(numbers))}"


OWN: dict[str, Callable[..., str]] = {
    one.__name__: one
    for one in (
        *(
            rvnr,
            german_document,
            kvnr,
            spanish_naf,
            niss,
            nino,
            british_licence,
            polish_card,
            italian_card,
            alnum12,
            hungarian_id,
        ),
        *(npi, mbi, dea, australian_medicare, nric, taiwanese, hkid, snils, mrz, mrz_card),
    )
}
"""By the name that formats/personal.yaml calls them."""
