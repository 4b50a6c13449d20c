"""The corpus is whole: enough of each, made as it says, labels that stand in their records, check digits that hold; and the harness sees."""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from stdnum import iban, luhn

from tests.corpus import identities
from tests.corpus.forms import Entry
from tests.corpus.make import BREAK, HERE, MADE, REAL, content_of, entries
from tests.corpus.quality import (
    LEAST,
    NEGATIVES,
    POSITIVES,
    Judged,
    Span,
    batch,
    gate,
    is_true,
    measured,
    public_hits,
    readings,
    report,
    spans_of,
    survivor,
    totals,
)
from tests.corpus.secrets_made import table
from tests.corpus.shapes import BASE62, in_base

FORMS = {
    "plain": 300,
    "nested_json": 200,
    "escaped_json": 150,
    "unicode": 150,
    "docker_parts": 100,
    "url": 80,
    "header": 60,
    "key": 50,
}
FORMS |= {"json_int": 45, "rows": 8}
"""Least number of positives in each form."""


@cache
def held(names: tuple[str, ...]) -> list[Entry]:
    """Entries of data files, read once."""
    return [entry for name in names for entry in entries(name)]


@pytest.mark.parametrize("name", MADE)
def test_data_files_are_what_their_maker_makes(name: str) -> None:
    """Nobody edits them by hand, and the maker has no chance but its seed."""
    assert (HERE / name).read_text() == content_of(name)


def test_there_is_enough_of_everything() -> None:
    """Positives, kinds, forms, negatives made and real."""
    positives = held(POSITIVES)
    forms = Counter(entry.form for entry in positives)
    assert len(positives) >= 900
    assert len({entry.kind for entry in positives}) >= 400
    assert {form: count for form, count in forms.items() if count < FORMS[form]} == {}
    assert len(held(NEGATIVES)) >= 3000
    assert len(held((REAL,))) >= 1500
    assert len({str(entry.record) for entry in held(NEGATIVES)}) >= 3500


def test_every_format_has_positives() -> None:
    """No line of the tables is without a record."""
    kinds = {entry.kind for entry in held(POSITIVES)}
    wanted = {*table("secrets"), *table("generic"), *table("personal")}
    assert wanted - kinds == set()


def test_every_label_stands_in_its_record() -> None:
    """In a reading of its escapes, after docker's parts were joined; what may go with it too."""
    wrong = []
    for number, entry in enumerate(held(POSITIVES)):
        texts = readings(batch(entry, number).block.decode("utf-8", "surrogateescape"))
        wrong += [(entry, label) for label in (*entry.secrets, *entry.may) if not any(label in text for text in texts)]
    assert wrong == []


def test_positives_are_labelled_and_negatives_are_not() -> None:
    """An entry is one or the other; no text is both."""
    assert [entry for entry in held(POSITIVES) if not entry.secrets] == []
    assert [entry for entry in held(NEGATIVES) if entry.secrets or entry.may] == []
    both = {str(entry.record) for entry in held(POSITIVES)} & {str(entry.record) for entry in held(NEGATIVES)}
    assert both == set()


def test_no_scanner_of_a_hosting_site_finds_a_token_in_the_files() -> None:
    """Every secret of eight characters or more is broken in its label."""
    lines = [line for name in POSITIVES for line in (HERE / name).read_text().splitlines()]
    whole = [
        line
        for line, entry in zip(lines, held(POSITIVES), strict=True)
        for one in entry.secrets
        if len(one) > 7 and f'"{one}"' in line
    ]
    assert whole == []
    assert all(BREAK not in str(entry.record) for entry in held(POSITIVES))


def test_national_numbers_have_right_check_digits() -> None:
    """As python-stdnum sees it, with the separators they are written with."""
    checks = {kind: wanted["check"] for kind, wanted in table("personal").items() if "check" in wanted}
    found = [
        (entry.kind, entry.secrets[0].replace("%20", " ").replace("%2F", "/"))
        for entry in held(POSITIVES)
        if entry.kind in checks
    ]
    century = {"se_personnummer": 10}
    wrong = []
    for kind, value in found:
        bare = value if len(value) <= 11 or kind not in century else value[2:]
        check = import_module(f"stdnum.{checks[kind]}")
        wrong += [] if check.is_valid(bare) or check.is_valid(re.sub("[^0-9A-Za-z]", "", bare)) else [(kind, value)]
    assert wrong == []
    assert len(found) > 300


def test_cards_and_accounts_have_right_check_digits() -> None:
    """Luhn and modulo 97."""
    cards = [entry.secrets[0] for entry in held(POSITIVES) if entry.kind.removeprefix("card_") in table("contacts")["cards"]]
    accounts = [entry.secrets[0] for entry in held(POSITIVES) if entry.kind == "iban"]
    assert [card for card in cards if not luhn.is_valid(re.sub("[ -]|%20", "", card))] == []
    assert [one for one in accounts if not iban.is_valid(one.replace("%20", ""))] == []
    assert min(len(cards), len(accounts)) >= 60


def test_tokens_with_a_public_checksum_have_it() -> None:
    """GitHub and npm: CRC-32 of the thirty letters, in base 62."""
    kinds = {"github_pat", "github_oauth", "github_user_to_server", "github_server_to_server", "github_refresh", "npm_token"}
    tokens = [entry.secrets[0] for entry in held(POSITIVES) if entry.kind in kinds]
    assert [one for one in tokens if in_base(zlib.crc32(one[4:34].encode()), BASE62, 6) != one[34:]] == []
    assert len(tokens) >= 18


def test_numbers_of_our_own_making_agree_with_published_examples() -> None:
    """One example of each issuer or of its specification."""
    assert identities.rvnr_digit("65170839J00") == "3"
    assert identities.kvnr_digit("A12345678") == "0"
    assert identities.weighted_731("L01X00T47") == "1"
    assert [identities.weighted_731(text) for text in ("L898902C3", "740812", "120415")] == ["6", "2", "9"]
    assert identities.luhn_digit("80840123456789") == "3"
    assert identities.nric_letter("S", "0000001") == "I"
    assert identities.hkid_digit("A123456") == "3"
    assert identities.taiwan_digit("A12345678") == "9"
    assert identities.snils_digits("112233445") == "95"
    assert identities.polish_digit("ABA", "00000") == "3"
    assert identities.dea_digit("123456") == "3"
    assert identities.medicare_digit("21234567") == "0"


def test_spans_are_read_off_the_rows() -> None:
    """What stands between the masks before is what each took; a null that was there took nothing."""
    row = b'{"a":"x SECRET y","b":null,"c":123}'
    assert spans_of(row, b'{"a":"x [REDACTED:r] y","b":null,"c":null}') == [Span("r", "SECRET"), Span("null", "123")]
    assert spans_of(row, row) == []


def test_a_part_of_a_secret_that_survives_is_seen() -> None:
    """Five letters are too many, four are not; what stands elsewhere in the record anyway does not count; escapes hide nothing."""
    entry = Entry("k", "plain", "key abcdefgh of defgh-1", ("abcdefgh",))
    assert survivor(entry, entry.record, "key [REDACTED:r]efgh of defgh-1") == ""
    assert survivor(entry, entry.record, "key abcde[REDACTED:r] of defgh-1") == "abcde"
    assert survivor(entry, entry.record, r'"key ab\u0063defgh of defgh-1"') == "abcde"


def test_a_mask_beyond_its_label_is_a_false_hit() -> None:
    """A secret with what may go with it is true; a neighbour taken along is not."""
    entry = Entry("k", "plain", "x", ("abcdefgh",), ("Bearer abcdefgh",))
    assert is_true(entry, Span("r", "Bearer abcdefgh"))
    assert is_true(entry, Span("r", '"cdef'.strip('"')))
    assert not is_true(entry, Span("r", "user=max abcdefgh"))
    assert not is_true(entry, Span("r", "elsewhere"))


@cache
def judgements(names: tuple[str, ...]) -> list[Judged]:
    """Return what became of data files, measured once."""
    return measured(names)


def test_the_whole_corpus_goes_through_the_gate() -> None:
    """Every entry is judged, every masked row can be read, and the report fits a terminal."""
    results = [*judgements(POSITIVES), *judgements(NEGATIVES)]
    count = totals(results)
    assert len(results) == len(held(POSITIVES)) + len(held(NEGATIVES))
    assert count.positives == len(held(POSITIVES))
    assert [one.entry for one in results for span in one.false if span.rule == "unaligned"] == []
    assert max(map(len, report(results))) <= 80
    assert {"card", "iban", "password"} <= set(gate("").rules)


def test_secrets_are_found_and_nothing_else_is_masked() -> None:
    """At least 99 of 100 secrets, in whatever form; at least 99 of 100 masks on the whole corpus are right ones."""
    secrets = totals(judgements(("positives/secrets.ndjson",)))
    assert secrets.positives > 1000
    assert secrets.recall >= LEAST
    assert totals([*judgements(POSITIVES), *judgements(NEGATIVES)]).precision >= LEAST


def test_public_logs_hold_no_card_account_telephone_number_or_token(tmp_path: Path) -> None:
    """Logs as they are published, where SHIPPER_PUBLIC_LOGS names some; else lines as Hadoop's file system writes them."""
    lines = [
        f"INFO dfs.DataNode: Receiving block blk_{sign}{number}"
        for sign in ("", "-")
        for number in range(4 * 10**18, 4 * 10**18 + 500)
    ]
    (tmp_path / "made.log").write_text("\n".join(lines))
    assert public_hits(Path(os.environ.get("SHIPPER_PUBLIC_LOGS", tmp_path))) == {}
