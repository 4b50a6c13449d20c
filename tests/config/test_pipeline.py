"""The types of a pipeline: names of pipelines and indices, and windows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config.pipeline import IndexTemplate, PipelineName, Window

ELASTICSEARCH_REFUSES = set('\\/*?"<>| ,#:')
"""Elasticsearch reference, "Create index", and the colon since 7.0."""


@given(text=st.text(alphabet='app-_.+{}\\/*?"<>| ,#:Aé0\n@', max_size=12))
def test_an_index_template_is_taken_only_when_elasticsearch_takes_its_names(text) -> None:
    """For all texts: taken means a literal prefix, lowercase, no forbidden character, and placeholders that name fields."""
    try:
        found = IndexTemplate.from_config(text)
    except ValueError as error:
        assert str(error)
        return
    literal = re.sub(r"\{[^{}]+\}", "", text)
    assert found == text
    assert found.prefix
    assert found.prefix[0] not in "-_+."
    assert literal == literal.lower()
    assert not (set(literal) & (ELASTICSEARCH_REFUSES | set("{}\n")))
    assert len(text.encode()) <= 200


@pytest.mark.parametrize(
    ("text", "prefix", "fields"),
    [
        ("app", "app", ()),
        ("app-{service}", "app-", ("service",)),
        ("a{b.c}-{@d}.x", "a", ("b.c", "@d")),
        ("größe", "größe", ()),
        ("a" * 200, "a" * 200, ()),
    ],
)
def test_an_index_template_has_a_prefix_and_fields(text, prefix, fields) -> None:
    """The literal part before the first placeholder, and the placeholders in order."""
    found = IndexTemplate.from_config(text)
    assert (prefix, fields) == (found.prefix, found.fields)


@pytest.mark.parametrize(
    "value", ["", None, 5, [], "{a}", "_a", "a b", "A", "a{b", "a}b", "a{}", "a{b c}", "a" * 201, "é" * 101, "a/b"]
)
def test_what_cannot_be_an_index_is_refused(value) -> None:
    """With a reason."""
    with pytest.raises(ValueError, match=r"cannot be an index: |expected the name of an index"):
        IndexTemplate.from_config(value)


@pytest.mark.parametrize("name", ["a", "shadower", "0-a_b", "a" * 63])
def test_a_pipeline_name_may_be(name) -> None:
    """Lowercase letters, digits, `-` and `_`."""
    assert name == PipelineName.from_config(name)


@pytest.mark.parametrize("name", ["", "A", "-a", "_a", "a.b", "a/b", "..", "a b", "a" * 64, "a\n", "é", 5, None])
def test_a_pipeline_name_may_not_be(name) -> None:
    """It names a directory and an index."""
    with pytest.raises(ValueError, match="expected a name of lowercase letters"):
        PipelineName.from_config(name)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("-400d..+1d", Window(400 * 86400.0, 86400.0)),
        ("-1h..0s", Window(3600.0, 0.0)),
        ("0s..5m", Window(0.0, 300.0)),
        ("-1d .. +1d", Window(86400.0, 86400.0)),
    ],
)
def test_a_window_says_how_far_before_and_after(text, window) -> None:
    """In seconds, both positive."""
    assert window == Window.from_config(text)


@pytest.mark.parametrize("value", ["", "..", "-1d", "-1d..", "..+1d", "1d..2d", "-2d..-1d", "-1..+1", 5, None, "-1d...+1d"])
def test_what_is_no_window_is_refused(value) -> None:
    """A window begins in the past and ends in the future."""
    with pytest.raises(ValueError, match="expected a window such as"):
        Window.from_config(value)
