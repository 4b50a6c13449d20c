"""Screens: both engines give one outcome, compiled databases are cached and distrusted, engines are chosen."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.redact import screen_hyperscan
from shipper.redact.engine import make_screen
from shipper.redact.gate import Gate, choose_engine
from shipper.redact.screen import ScreenError, TooManyHitsError
from shipper.redact.settings import RedactConfig
from tests.redact.gating import KEY, PACK_RULES, admit, batch, full_gate, rows_of
from tests.redact.planting import planted_rows


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(planted_rows(), min_size=1, max_size=4))
def test_both_engines_give_the_same_batch(planted: list[tuple[bytes, list[str]]]) -> None:
    """Law: which engine screens is invisible in what comes out."""
    raw = batch([row for row, _ in planted])
    first, second = (full_gate(engine).admit(raw) for engine in ("hyperscan", "re2"))
    assert (first.block, first.changed, first.masked, first.flags) == (second.block, second.changed, second.masked, second.flags)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([rule.match[0].encode() for rule in PACK_RULES.values()]), min_size=1, max_size=3))
def test_both_engines_give_the_same_rows_when_secrets_touch(texts: list[bytes]) -> None:
    """Law: also where matches of one pattern overlap or follow without a gap."""
    rows = [b"".join(texts), b"".join(text * 2 for text in texts), b" ".join(texts)]
    assert admit(full_gate("hyperscan"), *rows) == admit(full_gate("re2"), *rows)


class Cache:
    """A cache that counts."""

    def __init__(self) -> None:
        """Start empty."""
        self.kept: dict[str, bytes] = {}
        self.puts = 0

    def get(self, key: str) -> bytes | None:
        """Return what was kept."""
        return self.kept.get(key)

    def put(self, key: str, data: bytes) -> None:
        """Keep."""
        self.puts += 1
        self.kept[key] = data


ROWS = [b"to max@example.com", b"4111 1111 1111 1111", b"password=abc", b"nothing"]
SAFE = [b"to [REDACTED:email]", b"[REDACTED:card]", b"password=[REDACTED:password]", b"nothing"]


def cached_gate(cache: Cache, **config: object) -> Gate:
    """Return a gate on Hyperscan with this cache."""
    return Gate(RedactConfig(**config), hash_key=KEY, engine="hyperscan", cache=cache)  # type: ignore[arg-type]


def test_compiled_databases_are_loaded_from_the_cache_when_rules_are_the_same() -> None:
    """The second gate compiles nothing; other rules have other keys."""
    cache = Cache()
    assert admit(cached_gate(cache), *ROWS) == SAFE
    puts = cache.puts
    assert puts == len(cache.kept) > 0
    assert admit(cached_gate(cache), *ROWS) == SAFE
    assert cache.puts == puts
    cached_gate(cache, keys=["pin"])
    assert cache.puts > puts


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:],
        lambda data: b"x" * 32 + data[32:],
    ],
)
def test_damaged_database_is_compiled_again(damage: object) -> None:
    """A checksum is held against it; the good one takes its place."""
    cache = Cache()
    cached_gate(cache)
    good = dict(cache.kept)
    cache.kept = {key: damage(data) for key, data in good.items()}  # type: ignore[operator]
    assert admit(cached_gate(cache), *ROWS) == SAFE
    assert cache.kept == good


def test_database_hyperscan_refuses_is_compiled_again() -> None:
    """Right checksum, wrong content: another version's, say."""
    cache = Cache()
    cached_gate(cache)
    good = dict(cache.kept)
    bad = b"no database at all"
    cache.kept = dict.fromkeys(good, screen_hyperscan.sha256(bad).digest() + bad)
    assert admit(cached_gate(cache), *ROWS) == SAFE
    assert cache.kept == good


def test_compiled_databases_stay_within_their_memory() -> None:
    """All packs together: at most 12 MB."""
    gate = full_gate("hyperscan")
    assert isinstance(gate._screen, screen_hyperscan.HyperscanScreen)
    assert gate._screen.size() <= 12_000_000


def test_scan_reports_hits_in_order_and_guards_by_name(engine: str) -> None:
    """(end, number) of every lane; guards once, whatever their number of matches."""
    screen = make_screen(engine, [[(5, b"ab"), (6, b"b{2}")], [(7, b"a[0-9]")], []], {"g": b"zz", "h": b"qq"}, None)
    assert screen.scan(b"ab abb a1 zz zz") == ([(2, 5), (5, 5), (6, 6), (9, 7)], frozenset({"g"}))


def test_scan_reports_matches_of_one_pattern_that_overlap(engine: str) -> None:
    """The second may be the real one."""
    assert make_screen(engine, [[(1, b"aba")]], {}, None).scan(b"ababa")[0] == [(3, 1), (5, 1)]


def test_scan_gives_up_loudly_when_hits_are_too_many(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded: it raises, and reports nothing less than all."""
    monkeypatch.setattr(f"shipper.redact.screen_{engine}.HITS_MAX", 10)
    screen = make_screen(engine, [[(0, b"a")]], {}, None)
    assert len(screen.scan(b"a" * 10)[0]) == 10
    with pytest.raises(TooManyHitsError):
        screen.scan(b"a" * 11)


def test_screen_names_the_pattern_an_engine_refuses(engine: str) -> None:
    """So that the configuration can point at it."""
    with pytest.raises(ScreenError) as caught:
        make_screen(engine, [[(3, b"ok"), (4, b"(?<=x)y")]], {}, None)
    assert caught.value.number == 4


def test_re2_searches_alone_when_its_set_gave_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that answers nothing at all has run out of memory: no pattern may be missed by that."""
    screen = make_screen("re2", [[(1, b"a"), (2, b"b")]], {"g": b"c"}, None)

    class Silent:
        def Match(self, block: bytes) -> list[int]:
            return []

    monkeypatch.setattr(screen, "_set", Silent())
    assert screen.scan(b"a c") == ([(1, 1)], frozenset({"g"}))


def test_choose_engine_takes_re2_where_hyperscan_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says no to names it does not know."""
    assert choose_engine(None) == "hyperscan"
    assert choose_engine("re2") == "re2"
    with pytest.raises(ValueError, match="hyperscan, re2"):
        choose_engine("pcre")
    monkeypatch.setitem(sys.modules, "hyperscan", None)
    assert choose_engine(None) == choose_engine("hyperscan") == "re2"


def test_rows_at_the_edge_of_a_block_are_found(engine: str) -> None:
    """A secret as the first and as the last bytes of a block, without a newline at its end."""
    raw = batch([b"max@example.com", b"mo@example.com"])
    raw.block = raw.block[:-1]
    safe = full_gate(engine).admit(raw)
    assert safe.block == b"[REDACTED:email]\n[REDACTED:email]"
    assert rows_of(full_gate(engine).admit(batch([b""]))) == [b""]
