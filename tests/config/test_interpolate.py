"""Interpolation: values into scalars, after YAML and never as YAML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config import document, nodes
from shipper.config.interpolate import Interpolation


def resolved(text: str, env: dict[str, str], secrets=None, verbatim: frozenset[str] = frozenset()):
    """The data of a document after interpolation, and the messages of its faults."""
    found = document.parse(text, "p.yaml")
    Interpolation(found, env, secrets or {}.get).apply(found.root, verbatim)
    return nodes.plain(found.root), [fault.message for fault in found.faults]


@given(value=st.text(max_size=30))
def test_a_value_never_becomes_yaml(value) -> None:
    """For all values: what comes in is one text, whatever it looks like, in every style of scalar."""
    text = "a: ${V}\nb: '${V}'\nc: \"${V}\"\nd: ['${V}']\ne: >-\n  ${V}\nf: x${V}y\n"
    data, faults = resolved(text, {"V": value})
    assert ({"a": value, "b": value, "c": value, "d": [value], "e": value, "f": f"x{value}y"}, []) == (data, faults)


@given(value=st.text(alphabet="${}:-AV$", max_size=12))
def test_a_value_is_not_interpolated_again(value) -> None:
    """Dollars and braces in a value stand for themselves."""
    assert value == resolved("a: ${V}", {"V": value, "A": "no"})[0]["a"]


@given(text=st.text(alphabet="${}:-secrt AB_", max_size=24))
def test_any_text_is_resolved_or_refused(text) -> None:
    """No text raises, and a text without dollars is unchanged."""
    found = document.parse(f"a: '{text}'", "p.yaml")
    Interpolation(found, {"A": "1", "AB": "2"}, {}.get).apply(found.root)
    word = found.root.entries["a"][1]
    assert isinstance(word, nodes.Word)
    assert "$" in text or (word.text == text and not found.faults)
    assert bool(found.faults) == word.broken


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${A}", "one"),
        ("x-${A}-${B}", "x-one-"),
        ("${A:-zero}", "one"),
        ("${B:-zero}", "zero"),
        ("${C:-zero}", "zero"),
        ("${C:-}", ""),
        ("${C:-a:-b c}", "a:-b c"),
        ("${B}", ""),
        ("$A and $", "$A and $"),
        ("^a$", "^a$"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$one"),
        ("{A}", "{A}"),
        ("${secret:s/one}", "hidden"),
        ("Bearer ${secret:s/one}", "Bearer hidden"),
    ],
)
def test_a_reference_is_replaced(written, value) -> None:
    """Variables, defaults as a shell has them, secrets, and the dollar itself."""
    data, faults = resolved(f"a: '{written}'", {"A": "one", "B": ""}, {"s/one": "hidden"}.get)
    assert (value, []) == (data["a"], faults)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${C}", "the environment variable C is not set"),
        ("${A", "this ${ is never closed"),
        ("${}", "'${}' names no variable"),
        ("${1}", "'${1}' names no variable"),
        ("${A-x}", "'${A-x}' names no variable"),
        ("${A:x}", "'${A:x}' names no variable"),
        ("${A:-${B}}", "this ${ is never closed"),
        ("${env:A}", "'${env:A}' names no variable"),
        ("${secret:}", "'${secret:}' names no variable"),
        ("${secret:t}", "there is no secret t"),
        ("${secret:../t}", "'${secret:../t}' names no variable"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(written, message) -> None:
    """With what was written, at its own place in the line."""
    found = document.parse(f"a: 'x {written}'", "p.yaml")
    Interpolation(found, {"A": "one"}, {}.get).apply(found.root)
    assert [(message, 7)] == [(fault.message, fault.place.column) for fault in found.faults][:1]


def test_a_variable_that_is_close_is_suggested() -> None:
    """A misspelt variable names the one that was meant; a secret that is a variable says so."""
    found = document.parse("a: ${HOTS}\nb: ${secret:HOST}\n", "p.yaml")
    Interpolation(found, {"HOST": "x"}, {}.get).apply(found.root)
    first, second = found.faults
    assert "did you mean HOST? set it, or give a default: ${HOTS:-...}" == first.hint
    assert "secrets are not environment variables; for one, write ${HOST}" == second.hint


def test_a_secret_that_cannot_be_read_is_refused_with_the_reason() -> None:
    """The reason is the system's, not the content."""

    def secrets(name: str) -> str:
        raise PermissionError(13, "Permission denied", "/run/x")

    assert ["the secret s cannot be read: Permission denied"] == resolved("a: ${secret:s}", {}, secrets)[1]


def test_keys_and_what_stands_below_verbatim_keys_stay_as_written() -> None:
    """A variable cannot become a key; records in tests are no templates."""
    data, faults = resolved("${A}: x\nb: {given: ['${A}'], c: '${A}'}", {"A": "one"}, verbatim=frozenset(["given"]))
    assert ({"${A}": "x", "b": {"given": ["${A}"], "c": "one"}}, []) == (data, faults)


def test_an_aliased_value_is_resolved_once() -> None:
    """The dollars a value brought along are not looked at when its alias is met."""
    assert {"a": "${B}", "b": "${B}"} == resolved("a: &x ${A}\nb: *x", {"A": "${B}"})[0]


def test_values_are_bounded_together() -> None:
    """A large variable used often is refused at the place where it gets too much."""
    faults = resolved("a: [" + "'${A}', " * 5 + "]", {"A": "x" * (1 << 20)})[1]
    assert ["interpolated values are larger than 4 MiB together"] == faults
