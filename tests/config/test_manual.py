"""Manual: pages are made of declarations, and say how a default is written."""

from __future__ import annotations

import pytest

from shipper.config import manual, texts
from shipper.config.fields import ComponentConfig, Duration, Rate, Size
from shipper.config.find import find
from shipper.model.errors import HostError


def test_a_page_has_each_setting_with_its_kind_its_default_and_its_text() -> None:
    """Taken from the class, so that it cannot be out of date."""
    page = manual.page("stage/throttle")
    assert page.startswith(f"# stage/throttle\n\n{texts.about(find('stage', 'throttle'))}\n")
    for setting in texts.settings(find("stage", "throttle").Config):
        assert f"### `{setting.name}`\n\n" in page
        assert setting.text in page
    assert "*a rate such as 100/s, 20/m or 1MiB/s; required*" in page
    assert "default `10s`*" in page


def test_every_page_can_be_made() -> None:
    """All topics, those of whole files too."""
    for topic, about in manual.topics().items():
        assert manual.page(topic).startswith(f"# {topic}\n")
        assert about.endswith(".")


def test_a_page_that_is_not_there_is_refused_with_the_one_that_was_meant() -> None:
    """By kind and name."""
    with pytest.raises(HostError, match="stage/geopi") as refused:
        manual.page("stage/geopi")
    assert "stage/geoip" in str(refused.value)


class Defaults(ComponentConfig):
    """Defaults of all kinds."""

    pause: Duration = Duration(0.25)
    wait: Duration = Duration(7200)
    room: Size = Size(3 << 20)
    odd: Size = Size(1000)
    rate: Rate = Rate(2.5)
    flag: bool = True
    names: tuple[str, ...] = ("a", "b")
    nothing: str | None = None
    text: str = ""


def test_defaults_are_shown_as_one_would_write_them() -> None:
    """With the largest unit that keeps them whole."""
    shown = [manual._written(setting.default) for setting in texts.settings(Defaults)]
    assert shown == ["`250ms`", "`2h`", "`3MiB`", "`1000`", "`2.5/s`", "`true`", "`[a, b]`", "none", "an empty text"]
