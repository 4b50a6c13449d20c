"""Texts: every declaration says what it is and what each setting means."""

from __future__ import annotations

import msgspec
import pytest

from shipper.config import texts
from shipper.config.fields import ComponentConfig, Duration
from shipper.config.find import PACKAGES, find, names

COMPONENTS = [(kind, name) for kind in PACKAGES for name in names(kind)]


class Parent(ComponentConfig):
    """Settings of the parent."""

    first: int = 1
    """The first,
    in two lines."""
    second: Duration = Duration(2)
    """As the parent says."""


class Child(Parent):
    """Settings of the child. More of it."""

    second: Duration = Duration(3)
    """As the child says."""
    third: list[str] = msgspec.field(default_factory=list)


def test_settings_come_with_their_texts_those_of_a_parent_too() -> None:
    """A child's word counts; a setting without a text has an empty one."""
    found = {setting.name: (setting.default, setting.text) for setting in texts.settings(Child)}
    assert found["first"] == (1, "The first, in two lines.")
    assert found["second"] == (3.0, "As the child says.")
    assert found["third"][1] == ""
    assert texts.summary(Child) == "Settings of the child."


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_component_and_each_of_its_settings_has_a_text(kind: str, name: str) -> None:
    """What has none cannot be looked up."""
    declared = find(kind, name)
    assert len(texts.summary(declared)) > 10
    assert [setting.name for setting in texts.settings(declared.Config) if len(setting.text) < 10] == []
