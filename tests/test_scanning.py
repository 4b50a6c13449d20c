"""`shipper redact scan`: what is found in files, by file, line and rule, and never the secret itself."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from shipper import scanning
from shipper.scanning import Scanner
from tests.kit.site import shipper

CARD, MAIL = "4111 1111 1111 1111", "anna.schmidt@example.com"
TEXT = f'hello\n\n{{"password":"hunter2-and-more","n":1}}\ncard {CARD} refused by {MAIL}\n'


def scanner(cache: Path) -> Scanner:
    """A scanner of all packs."""
    return Scanner(["secrets", "pii"], {"SHIPPER_STATE": str(cache)})


def test_hits_are_told_by_file_line_and_rule_with_the_line_masked(rule_cache: Path, tmp_path: Path) -> None:
    """A mark stands under each mask; the exit code is for use in CI."""
    path = tmp_path / "a.log"
    path.write_text(TEXT)
    told = shipper("redact", "scan", path, env={"SHIPPER_STATE": str(rule_cache)})
    assert told.code == 1
    heads = [line for line in told.out.splitlines() if line.startswith(str(path))]
    assert heads == [f"{path}:3:14: password", f"{path}:4:6: card", f"{path}:4:33: email"]
    assert "    card [REDACTED:card] refused by [REDACTED:email]" in told.out.splitlines()
    assert "3 found in 1 file" in told.out
    assert not any(secret in told.out + told.err for secret in ("hunter2", CARD, "anna"))
    assert max(len(line) for line in told.out.splitlines() if not line.startswith(str(path))) <= 80


def test_a_file_without_secrets_is_said_to_have_none(rule_cache: Path, tmp_path: Path) -> None:
    """Exit code 0; and with `--exit-zero` also for one that has some."""
    (tmp_path / "clean").write_text("nothing\n")
    (tmp_path / "not").write_text(TEXT)
    env = {"SHIPPER_STATE": str(rule_cache)}
    clean = shipper("redact", "scan", tmp_path / "clean", env=env)
    assert (clean.code, clean.out) == (0, "nothing found in 1 file\n")
    assert shipper("redact", "scan", "--exit-zero", tmp_path / "not", env=env).code == 0


def test_programs_read_hits_as_lines_of_json_and_standard_input_is_a_file(rule_cache: Path) -> None:
    """Each with its place."""
    told = shipper("redact", "scan", "--json", "-", stdin=TEXT.encode(), env={"SHIPPER_STATE": str(rule_cache)})
    found = [json.loads(line) for line in told.out.splitlines()]
    assert [(hit["file"], hit["line"], hit["rule"]) for hit in found] == [
        ("-", 3, "password"),
        ("-", 4, "card"),
        ("-", 4, "email"),
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["redact", "scan"], "Name the files"),
        (["redact", "scan", "--packs", "secret", "-"], "there is no pack 'secret'"),
        (["redact", "scan", "/no/such/file"], "/no/such/file cannot be read: No such file or directory"),
    ],
)
def test_wrong_use_is_told(words: list[str], says: str) -> None:
    """In words."""
    told = shipper(*words)
    assert told.code in (1, 2)
    assert says in told.err


def test_lines_are_counted_over_pieces_and_long_lines_are_read_in_parts(
    rule_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the file is cut, a hit has the line it is on; memory is bounded by a line's part."""
    text = b"".join(b"line %d\n" % number for number in range(100)) + b"x" * 3000 + b"\n" + f"mail {MAIL}".encode()
    monkeypatch.setattr(scanning, "LINE_BYTES_MAX", 1000)
    for size in (7, 64, 1 << 18):
        monkeypatch.setattr(scanning, "PIECE_BYTES", size)
        found = list(scanner(rule_cache).scan("f", io.BytesIO(text)))
        assert [hit.rule for hit in found] == ["email"]
        assert found[0].line == 102


def test_bytes_that_are_no_text_are_looked_at_all_the_same(rule_cache: Path) -> None:
    """As the gate would see them."""
    found = list(scanner(rule_cache).scan("f", io.BytesIO(b"\xff\xfe \x00 mail " + MAIL.encode() + b" \xe9\n")))
    assert [hit.rule for hit in found] == ["email"]


def test_prices_name_every_rule_once_and_the_dearest_first() -> None:
    """Of a small sample; what they are is the machine's business."""
    found = Scanner(["pii"], {"SHIPPER_STATE": "/nonexistent"}).prices(scanning.sample(20))
    names = [price.rule for price in found]
    assert {"card", "email", "iban"} <= set(names) and len(names) == len(set(names))
    assert [price.ns_per_record for price in found] == sorted((price.ns_per_record for price in found), reverse=True)
    assert not any(price.hits for price in found)
