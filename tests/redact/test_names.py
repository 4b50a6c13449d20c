"""Names: which count, how they compare, and that a screen fires behind every spelling of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.redact.names import Names
from shipper.redact.rule import KeyRule


def rule(*names: str, **more: object) -> KeyRule:
    """Return a rule with these names."""
    return KeyRule(id="k", title="k", names=list(names), **more)  # type: ignore[arg-type]


def names(*wanted: str) -> Names:
    """Return the names of one rule."""
    return Names([(0, rule(*wanted))])


@pytest.mark.parametrize(
    "name", ["api_key", "apikey", "API-KEY", "Api_Key", "api key", "a-p-i_key", "user.api_key", "http.headers.API-Key"]
)
def test_names_compare_without_case_dashes_underscores_and_blanks(name: str) -> None:
    """Whole, or behind a dot."""
    assert names("api_key").rules_of(name.encode()) == (0,)


@pytest.mark.parametrize("name", ["api_keys", "my_api_key", "api.key", "key", "", "apikey.id"])
def test_names_that_only_resemble_one_do_not_count(name: str) -> None:
    """Exactly, unless there is a wildcard."""
    assert names("api_key").rules_of(name.encode()) == ()


def test_names_with_wildcards_match_as_globs() -> None:
    """`*` and `?` where they stand, the rest exactly."""
    found = names("*_token", "pin?")
    assert [found.rules_of(name) for name in (b"csrfToken", b"token", b"pin1")] == [(0,)] * 3
    assert [found.rules_of(name) for name in (b"tokens", b"pin", b"pin12")] == [()] * 3


def test_names_beyond_ascii_are_read_raw_and_escaped() -> None:
    """`contraseña` is one name, as UTF-8 in either case and as JSON writes it."""
    found = names("contraseña")
    assert [found.rules_of(name) for name in ("contraseña".encode(), "CONTRASEÑA".encode(), rb"contrase\u00f1a")] == [(0,)] * 3


def test_rules_are_told_in_order_and_exceptions_do_not_count() -> None:
    """All that cover a name or a part of it behind a dot; `next_page_token` is no token."""
    found = Names([(0, rule("*token", but=["*page_token"])), (1, rule("*_api_token")), (2, rule("token"))])
    assert found.rules_of(b"token") == (0, 2)
    assert found.rules_of(b"my_api_token") == (0, 1)
    assert found.rules_of(b"user.token") == (0, 2)
    assert found.rules_of(b"nextPageToken") == ()


def test_names_that_are_looked_up_are_remembered_up_to_a_bound() -> None:
    """4,096 of them; a stream of ever new names costs no memory."""
    found = names("a")
    for number in range(5000):
        found.rules_of(b"name%d" % number)
    assert len(found._known) <= 4096


ONES = ["api_key", "*_token", "pin", "auth", "contraseña", "*secret_v?", "密码", "pass_word", "skey"]


@given(
    st.sampled_from(ONES),
    st.lists(st.sampled_from(["", "_", "-", " "]), min_size=3, max_size=3),
    st.sampled_from(["", "{", ", ", "\\n", "user[", "x."]),
    st.sampled_from([":", "=", '":', "' :", "] =", "%5D=", '","value":', '" value=', '\\":', '\\",\\"value\\": ', "`: "]),
)
def test_a_screen_fires_behind_every_spelling_of_a_name(name: str, gaps: list[str], before: str, behind: str) -> None:
    """Law: it ends at the sign behind the name, whatever separators, quotes and brackets stand there; no name hides another."""
    spelled = "".join(part + gap for part, gap in zip(name.lstrip("*_").replace("?", "2").split("_"), [*gaps, ""], strict=False))
    text = f"{before}{spelled.rstrip('_- ')}{behind}x".encode()
    sign = max(text.rfind(b":"), text.rfind(b"="))
    found = names(*ONES)
    assert any(match.end() == sign + 1 for screen in found.screens for match in re.finditer(screen, text)), text
