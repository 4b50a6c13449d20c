"""Errors: what a user reads."""

from __future__ import annotations

from shipper.model.errors import FAULTS_SHOWN_MAX, ConfigError, Fault, Place


def test_a_fault_says_where_what_and_what_to_do() -> None:
    """Place and message, the line, a caret, the hint; without line or hint, less."""
    place = Place("a.yaml", 2, 4, "x: yes", 3)
    assert "a.yaml:2:4: wrong\n    x: yes\n       ^^^\n    write true" == str(Fault(place, "wrong", "write true"))
    assert "a.yaml:1:1: empty" == str(Fault(Place("a.yaml", 1, 1), "empty"))


def test_a_refusal_ends_with_the_number_of_mistakes() -> None:
    """One, several, in several files."""
    first, second = Fault(Place("a.yaml", 1, 1), "x"), Fault(Place("b.yaml", 1, 1), "y")
    assert "a.yaml:1:1: x\n1 mistake in a.yaml" == str(ConfigError([first]))
    assert "a.yaml:1:1: x\nb.yaml:1:1: y\n2 mistakes in a.yaml, b.yaml" == str(ConfigError([first, second]))


def test_a_refusal_of_very_many_mistakes_is_cut() -> None:
    """All are counted, the first ones written out."""
    error = ConfigError([Fault(Place("a.yaml", 1, 1), "x")] * 1000)
    assert (1000, FAULTS_SHOWN_MAX + 1) == (len(error.faults), len(str(error).split("\n")))
    assert str(error).endswith(f"1000 mistakes in a.yaml; the first {FAULTS_SHOWN_MAX} are shown")
