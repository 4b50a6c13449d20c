"""The gate's laws: nothing secret passes, everything else stays, rows and origins hold, failures close it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.model.errors import ComponentError
from shipper.redact.gate import Gate
from shipper.redact.settings import CustomRule, RedactConfig
from tests.redact.gating import KEY, admit, batch, full_gate, rows_of
from tests.redact.oracle import Oracle, is_valid
from tests.redact.planting import leaks, planted_rows

if TYPE_CHECKING:
    from shipper.model.batch import SafeBatch

LAW = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
PASS = b'{"level":"INFO","message":"nothing to see","n":42}'


@LAW
@given(st.lists(planted_rows(), min_size=1, max_size=4))
def test_admit_lets_no_part_of_a_secret_through_and_keeps_json_valid(engine: str, planted: list[tuple[bytes, list[str]]]) -> None:
    """Law: in whatever form a secret was planted, no five characters of it are left; valid JSON stays valid JSON."""
    rows = [row for row, _ in planted]
    out = rows_of(full_gate(engine).admit(batch(rows)))
    assert len(out) == len(rows)
    for (row, cores), safe in zip(planted, out, strict=True):
        assert leaks(safe, cores) == []
        assert is_valid(safe) or not is_valid(row)
        assert safe == row or cores


@LAW
@given(st.lists(planted_rows(), min_size=1, max_size=4))
def test_admit_agrees_with_the_oracle_row_by_row(engine: str, planted: list[tuple[bytes, list[str]]]) -> None:
    """Law: screen, windows and rebuilding change nothing: the outcome is that of plain `re` over every row."""
    oracle = Oracle(RedactConfig())
    rows = [row for row, _ in planted]
    for row, safe in zip(rows, admit(full_gate(engine), *rows), strict=True):
        if not duplicate_masks(safe):
            assert safe == oracle.redact(row)


def duplicate_masks(row: bytes) -> bool:
    """Return whether the gate had to number masks of keys, which the oracle does not do."""
    return b"#2]" in row


@LAW
@given(st.lists(planted_rows(), min_size=1, max_size=5), st.integers(0, 1 << 40), st.booleans())
def test_origin_of_the_safe_batch_is_that_of_the_raw_batch(
    engine: str, planted: list[tuple[bytes, list[str]]], base: int, ends: bool
) -> None:  # noqa: FBT001
    """Law: every row keeps its place in the source, and rows handed over as a list come back as the block has them."""
    rows = [row for row, _ in planted]
    raw = batch(rows, base=base, ends=ends)
    raw.lines = None if ends else [row + b"\n" for row in rows]
    safe = full_gate(engine).admit(raw)
    assert raw.lines is None
    assert safe.lines is None if ends else safe.lines == [row + b"\n" for row in rows_of(safe)]
    starts, stops = safe.starts, safe.stops
    at = base
    for row, start, stop in zip(rows, starts, stops, strict=True):
        assert (start, stop) == (at, at + len(row) + 1)
        at = stop


@LAW
@given(st.lists(planted_rows(), min_size=1, max_size=3))
def test_admit_changes_nothing_more_when_it_runs_again(engine: str, planted: list[tuple[bytes, list[str]]]) -> None:
    """Law: what was redacted passes unchanged, so that a replay or a second pipeline does not mask masks."""
    once = admit(full_gate(engine), *[row for row, _ in planted])
    assert admit(full_gate(engine), *once) == once


def test_admit_returns_the_same_block_when_nothing_fires(engine: str) -> None:
    """A clean block is not copied."""
    raw = batch([PASS, b"plain text", b""])
    safe = full_gate(engine).admit(raw)
    assert safe.block is raw.block
    assert (safe.changed, safe.masked, safe.marks) == ([], {}, frozenset())


def test_admit_counts_hits_by_rule_and_leaves_neighbours_alone(engine: str) -> None:
    """Only rows with hits change."""
    safe = full_gate(engine).admit(batch([PASS, b'{"a":"max@example.com, mo@example.org","password":"x"}', PASS]))
    assert rows_of(safe) == [PASS, b'{"a":"[REDACTED:email], [REDACTED:email]","password":"[REDACTED:password]"}', PASS]
    assert safe.masked == {"email": 2, "password": 1}


@pytest.mark.parametrize(
    ("row", "wanted", "flags"),
    [
        (b'{"card":4111111111111111,"b":1}', b'{"card":null,"b":1}', ("redacted:card",)),
        (b'{"a":[1,4111111111111111]}', b'{"a":[1,null]}', ("redacted:a",)),
        (b'{"a":{"token": -12.5e3 }}', b'{"a":{"token": null }}', ("redacted:a.token",)),
        (b'{"password":true}', b'{"password":true}', ()),
        (b'{"password":12345678}', b'{"password":null}', ("redacted:password",)),
        (b'{"password":{"a":"x"},"b":1}', b'{"password":null,"b":1}', ("redacted:password",)),
        (b'{"m@example.com":4111111111111111}', b'{"[REDACTED:email]":null}', ("redacted:[REDACTED:email]",)),
        (b"4111111111111111", b'"[REDACTED:card]"', ()),
        (b"[4111111111111111]", b"[null]", ()),
        (b"[INFO] pay 4111 1111 1111 1111 max@example.com", b"[INFO] pay [REDACTED:card] [REDACTED:email]", ()),
        (b"{x} max@example.com 4111111111111111", b"{x} [REDACTED:email] [REDACTED:card]", ()),
        (b'{"a@example.com":1,"b@example.com":2}', b'{"[REDACTED:email]":1,"[REDACTED:email#2]":2}', ()),
    ],
)
def test_admit_fits_masks_into_json(engine: str, row: bytes, wanted: bytes, flags: tuple[str, ...]) -> None:
    """Numbers become null and are named in the flags, keys stay distinct, and what only looks like JSON is text."""
    safe = full_gate(engine).admit(batch([PASS, row]))
    assert rows_of(safe) == [PASS, wanted]
    assert safe.flags.get(1, ()) == flags


def test_admit_keeps_the_flags_of_the_frame_and_adds_its_own(engine: str) -> None:
    """A row that was truncated stays flagged so."""
    raw = batch([b'{"token":1}', PASS])
    raw.flags = {0: ("truncated",), 1: ("partial",)}
    safe = full_gate(engine).admit(raw)
    assert safe.flags == {0: ("truncated", "redacted:token"), 1: ("partial",)}
    assert raw.flags[0] == ("truncated",)


def with_actions(engine: str, **actions: str) -> Gate:
    """Return a gate with these actions; `_` in a name stands for `-`."""
    return Gate(
        RedactConfig(actions={name.replace("_", "-"): action for name, action in actions.items()}), hash_key=KEY, engine=engine
    )


def test_hash_is_keyed_and_equal_for_one_value_however_it_is_written(engine: str) -> None:
    """A card has one hash with blanks, dashes or as digits; another key gives another one."""
    gate = with_actions(engine, card="hash", email="hash")
    out = admit(
        gate,
        b"a 4111 1111 1111 1111",
        b"a 4111-1111-1111-1111",
        b"a 4111111111111111",
        b'{"m":"m\\u00fcx@example.com"}',
        "{müx@example.com}".encode(),
    )
    assert out[0] == out[1] == out[2]
    assert out[0].startswith(b"a [HMAC:card:")
    assert len(out[0]) == len(b"a [HMAC:card:0123456789abcdef]")
    assert out[3][6:-2] == out[4][1:-1]
    other = Gate(RedactConfig(actions={"card": "hash"}, hash_key="another"), hash_key=KEY, engine=engine)
    assert admit(other, b"a 4111111111111111") != [out[0]]


def test_partial_shows_the_last_four_of_long_values_only(engine: str) -> None:
    """Four characters of a card may be seen; of a short password none."""
    gate = with_actions(engine, card="partial", password="partial")
    assert admit(gate, b"a 4111 1111 1111 1111", b"password=short") == [
        b"a [REDACTED:card:1111]",
        b"password=[REDACTED:password]",
    ]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (b'{"a":"max@example.com","b":1}', b'{"b":1}'),
        (b'{"b":1, "a":"max@example.com"}', b'{"b":1}'),
        (b'{"a":"max@example.com"}', b"{}"),
        (
            b'{"b":{"a":["x",{"c":"max@example.com"}],"d":2},"e":"m@example.com","f":"n@example.com"}',
            b'{"b":{"a":["x",{}],"d":2}}',
        ),
        (b'{"e":"m@example.com","b":1,"f":"n@example.com","c":2}', b'{"b":1,"c":2}'),
        (b'{"max@example.com":1}', b'{"[REDACTED:email]":1}'),
        (b'["max@example.com"]', b'["[REDACTED:email]"]'),
        (b"to max@example.com", b"to [REDACTED:email]"),
        (b'{"a":"max@example.com', b'{"a":"[REDACTED:email]'),
    ],
)
def test_drop_field_takes_the_innermost_member_out_and_leaves_valid_json(engine: str, row: bytes, wanted: bytes) -> None:
    """With its comma; where there is no member to take, the hit is masked."""
    assert admit(with_actions(engine, email="drop_field"), PASS, row, PASS) == [PASS, wanted, PASS]


def test_drop_event_empties_the_row_and_says_why(engine: str) -> None:
    """The row keeps its place as `{}` and is marked dropped; the strictest action wins where hits overlap."""
    safe = with_actions(engine, email="drop_event").admit(
        batch([PASS, b"write to max@example.com now", PASS, b"password=max@example.com"])
    )
    assert rows_of(safe) == [PASS, b"{}", PASS, b"{}"]
    assert safe.dropped == {1: "redacted:email", 3: "redacted:email"}


def test_truncate_ips_zeroes_the_host_part_and_nothing_else(engine: str) -> None:
    """IPv4 to /24, IPv6 to /48; networks, versions and times stay."""
    gate = Gate(RedactConfig(truncate_ips=True), hash_key=KEY, engine=engine)
    rows = [b'{"ip":"81.2.69.160"}', b"2001:db8:85a3::8a2e:370:7334 at 14:30:45", b"10.0.0.0 v2.14.3", b"::ffff:1"]
    assert admit(gate, *rows) == [b'{"ip":"81.2.69.0"}', b"2001:db8:85a3:: at 14:30:45", b"10.0.0.0 v2.14.3", b"::"]


def test_own_rules_with_groups_cross_quotes_without_breaking_json(engine: str) -> None:
    """A pattern over a whole member masks what is in strings, nulls what is not, and leaves the structure."""
    rule = CustomRule(id="plate", pattern=r'"plate": ?"?[A-Z0-9-]+"?', match=['"plate":"B-XY 12"'], no_match=['"plates":1'])
    gate = Gate(RedactConfig(rules=[rule]), hash_key=KEY, engine=engine)
    first, second = admit(gate, b'{"plate":"M-AB123","a":1}', b'{"plate": 7741,"a":1}')
    assert first == b'{"[REDACTED:plate]":"[REDACTED:plate]","a":1}'
    assert second == b'{"[REDACTED:plate]": null,"a":1}'


def test_overlapping_hits_become_one_region_that_leaves_no_tail(engine: str) -> None:
    """The leftmost names it, then the longest, then the one listed first; what any of them covers goes."""
    rules = [
        CustomRule(id=name, pattern=pattern)
        for name, pattern in (("b", "two three"), ("a", "one two"), ("c", "one"), ("d", "three four"), ("e", "one two"))
    ]
    gate = Gate(RedactConfig(packs=[], rules=rules), hash_key=KEY, engine=engine)
    assert admit(gate, b"zero one two three four five") == [b"zero [REDACTED:a] five"]
    assert admit(gate, b"one three four", b"one twotwo three") == [b"[REDACTED:c] [REDACTED:d]", b"[REDACTED:a][REDACTED:b]"]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (CustomRule(id="a", pattern="x("), "rules.0.pattern"),
        (CustomRule(id="a", pattern="(?<=y)x"), "rules.0.pattern"),
        (CustomRule(id="a", pattern="x", group=1), "rules.0.pattern"),
        (CustomRule(id="a", pattern="x", validator="magic"), "rules.0.pattern"),
        (CustomRule(id="a", pattern="xxx", match=["xx"]), "rules.0.match.0"),
        (CustomRule(id="a", pattern="xxx", no_match=["-", "xxx"]), "rules.0.no_match.1"),
        (CustomRule(id="a", pattern="straße"), "rules.0.pattern"),
    ],
)
def test_own_rules_that_cannot_work_are_refused_with_their_place(engine: str, rule: CustomRule, field: str) -> None:
    """Before anything runs, and examples are held to their word."""
    with pytest.raises(ComponentError) as caught:
        Gate(RedactConfig(packs=[], rules=[rule]), hash_key=KEY, engine=engine)
    assert caught.value.field == field


def test_guards_tell_what_fired_anywhere_in_the_block(engine: str) -> None:
    """They mask nothing; on the slow way they answer as well."""
    gate = Gate(RedactConfig(), hash_key=KEY, engine=engine, guards={"blank": rb"\n\n", "open": rb"\n[^{]", "never": b"zzz"})
    assert gate.admit(batch([PASS, b"", PASS])).marks == {"blank", "open"}
    assert gate.admit(batch([PASS, PASS])).marks == frozenset()
    assert gate.admit(batch([PASS, b"-----BEGIN PRIVATE KEY-----", PASS])).marks == {"open"}


class Broken:
    """A screen that fails on some rows."""

    def __init__(self, real: object) -> None:
        """Wrap a working screen."""
        self.real = real

    def scan(self, block: bytes) -> tuple[list[tuple[int, int]], frozenset[str]]:
        """Fail where the block holds `boom`, and tell its content, as an exception may."""
        if b"boom" in block:
            raise OverflowError(block)
        return self.real.scan(block)  # type: ignore[attr-defined,no-any-return]


def broken_gate(engine: str) -> Gate:
    """Return a gate whose screen fails."""
    gate = Gate(RedactConfig(), hash_key=KEY, engine=engine, guards={"blank": rb"\n\n"})
    gate._screen = Broken(gate._screen)  # noqa: SLF001 - there is no other way to make it fail
    return gate


def test_admit_replaces_the_row_that_fails_and_redacts_the_others(engine: str) -> None:
    """Fail closed: the raw row goes nowhere, one bad row does not take its batch along, origins hold."""
    rows = [PASS, b'{"password":"boom"}', b"to max@example.com", b"boom"]
    safe: SafeBatch = broken_gate(engine).admit(batch(rows, base=7))
    marker = b'{"shipper":{"gate_error":"OverflowError"}}'
    assert rows_of(safe) == [PASS, marker, b"to [REDACTED:email]", marker]
    assert safe.masked == {"gate_error": 2, "email": 1}
    assert safe.marks == {"blank"}
    assert b"boom" not in safe.block
    assert safe.stops[-1] == 7 + sum(len(row) + 1 for row in rows)


def test_text_fails_closed(engine: str) -> None:
    """A path that cannot be redacted is not shown."""
    assert broken_gate(engine).text("/var/log/boom.log") == "[REDACTED:gate_error]"


def test_text_redacts_paths_and_labels_by_the_same_rules(engine: str) -> None:
    """Also those that are not UTF-8; a clean one is returned as it is."""
    gate = full_gate(engine)
    assert gate.text("/home/max@example.com/x.log") == "/home/[REDACTED:email]/x.log"
    assert gate.text("/srv/\udcff/token=abcdefgh") == "/srv/\udcff/token=[REDACTED:token]"
    clean = "/var/log/app.log"
    assert gate.text(clean) is clean
    assert with_actions(engine, email="drop_event").text("max@example.com") == "[REDACTED:email]"


def test_admit_handles_rows_with_more_hits_than_a_scan_may_report(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound the rows are searched one by one without a screen, with the same outcome."""
    rows = [b'{"m":"' + b"m@example.com " * 40 + b'"}', PASS, b"x " * 30 + b"password=abcdefgh 4111111111111111"]
    wanted = admit(full_gate(engine), *rows)
    monkeypatch.setattr(f"shipper.redact.screen_{engine}.HITS_MAX", 1)
    assert admit(full_gate(engine), *rows) == wanted


def test_rewritten_rows_ship_as_they_were_when_nothing_fires(engine: str) -> None:
    """Escapes of printable ASCII are resolved for the scan; only a row with a hit is shipped in that form."""
    rows = [b'{"a":"x\\/y \\u003cb\\u003e"}', b'{"a":"x\\/y max\\u0040example.com \\u0022q\\u005c"}', b'{"a":"\\\\u0040 \\\\/"}']
    out = admit(full_gate(engine), *rows)
    assert out == [rows[0], b'{"a":"x/y [REDACTED:email] \\"q\\\\"}', rows[2]]
    assert msgspec.json.decode(out[1])["a"] == 'x/y [REDACTED:email] "q\\'


def test_rewritten_rows_keep_their_own_hits_when_they_follow_each_other(engine: str) -> None:
    """A hit at the very start of a row is not the row's before it."""
    rows = [b"a\\/b", b"pwd=abcdefgh \\/ x", b"\\u003cx", b"pwd=abcdefgh\\n \\/"]
    assert admit(full_gate(engine), *rows) == [rows[0], b"pwd=[REDACTED:pwd] / x", rows[2], b"pwd=[REDACTED:pwd]\\n /"]


def test_rows_with_newlines_of_their_own_stay_rows(engine: str) -> None:
    """Where `ends` says where rows end, it says so for the redacted block, too."""
    rows = [
        b"Traceback\n  to max@example.com\nend",
        b"",
        b'{"token":\n "abc"}',
        b"-----BEGIN PRIVATE KEY-----\nAbC\n-----END PRIVATE KEY-----\nx",
    ]
    safe = full_gate(engine).admit(batch(rows, ends=True))
    assert rows_of(safe) == [
        b"Traceback\n  to [REDACTED:email]\nend",
        b"",
        b'{"token":\n "[REDACTED:token]"}',
        b"[REDACTED:private-key]\nx",
    ]
