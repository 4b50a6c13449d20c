"""User agent: texts that programs really send, and whatever else stands in the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import FilePath
from shipper.decode.access_log import AccessLog
from shipper.edge.tables import Tables
from shipper.model.errors import ComponentError
from shipper.stages import user_agent as module
from shipper.stages.geoip import Geoip
from shipper.stages.user_agent import UserAgent
from tests.kit import laws
from tests.stages.in_chain import shipped

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148"
    " Safari/604.1"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
KNOWN: dict[str, Any] = {
    CHROME: {"name": "Chrome", "version": "126.0.0.0", "os": {"name": "Windows", "version": "10"}},
    IPHONE: {
        "name": "Mobile Safari",
        "version": "17.5",
        "os": {"name": "iOS", "version": "17.5"},
        "device": {"name": "iPhone"},
    },
    GOOGLEBOT: {"name": "Googlebot", "version": "2.1", "device": {"name": "Spider"}},
    "curl/8.5.0": {"name": "curl", "version": "8.5.0"},
    "python-requests/2.31.0": {"name": "Python Requests", "version": "2.31"},
}
"""What ECS calls what these programs say."""


def stage(**settings_: Any) -> UserAgent:
    """A stage over the field `agent`, if nothing else is said."""
    return UserAgent(UserAgent.Config(**{"field": "agent", **settings_}), Tables())


def fragments(made: UserAgent, *rows: laws.Record) -> list[bytes]:
    """What the stage splices for each of some rows."""
    columns = laws.columns_of(rows, made.reads)
    made.process(columns, 0.0)
    return [b"".join(pieces[row] for pieces in columns.fragments) for row in range(len(rows))]  # type: ignore[misc]


def found(made: UserAgent, row: laws.Record) -> Any:
    """What the stage says of a row, decoded; None for nothing."""
    (fragment,) = fragments(made, row)
    return json.loads(b"{" + fragment[1:] + b"}") if fragment else None


WHOLE = stage()


@pytest.mark.parametrize("text", KNOWN)
def test_user_agent_names_program_system_and_device(text: str) -> None:
    """After ECS; only what is known."""
    assert {"user_agent": KNOWN[text]} == found(WHOLE, {"agent": text}) == found(WHOLE, {"agent": text})


@given(rows=st.lists(st.dictionaries(st.just("agent"), laws.hostile | st.sampled_from(list(KNOWN))), max_size=9))
@settings(max_examples=200, deadline=None)
def test_user_agent_says_the_same_of_a_value_in_any_company(rows: list[laws.Record]) -> None:
    """Oracle: each row in a batch alone, in a stage that remembers nothing of it; what is no text yields nothing."""
    fresh = stage(cache_max=2)
    assert [fragments(fresh, row)[0] for row in rows] == fragments(WHOLE, *rows)
    for row, fragment in zip(rows, fragments(WHOLE, *rows), strict=True):
        assert isinstance(row.get("agent"), str) or not fragment


@pytest.mark.parametrize("text", ["", "-", "kube-probe/1.29", "x" * 100_000, "\0"])
def test_user_agent_says_nothing_of_a_text_that_it_does_not_know(text: str) -> None:
    """Not `Other`, and no error; nor for half a character, which no UTF-8 text has."""
    assert found(WHOLE, {"agent": text}) is None
    assert WHOLE._fragments[text[:100] + "\ud800"] == b""


def test_user_agent_reads_the_beginning_of_a_long_text_and_does_not_remember_it() -> None:
    """A megabyte costs neither time nor memory."""
    made = stage()
    assert {"user_agent": KNOWN[CHROME]} == found(made, {"agent": CHROME + " x" * 500_000})
    assert {None} == set(made._fragments)
    assert len(CHROME) < module.AGENT_CHARS_MAX


@given(seen=st.lists(st.integers(0, 40), max_size=150), cache_max=st.integers(2, 12))
@settings(max_examples=30, deadline=None)
def test_cache_holds_no_more_than_it_may_and_never_answers_wrongly(seen: list[int], cache_max: int) -> None:
    """At most `cache_max` texts (and the entry of None) are remembered, whatever comes."""
    made = stage(cache_max=cache_max)
    for number in seen:
        assert f"8.{number}" == found(made, {"agent": f"curl/8.{number}"})["user_agent"]["version"]
        assert cache_max + 2 >= len(made._fragments) + len(made._fragments._older)


def test_user_agent_takes_the_first_field_that_is_there_when_none_is_named() -> None:
    """`user_agent.original`, `user_agent`, `http_user_agent`, row by row."""
    made = UserAgent(UserAgent.Config(), Tables())
    rows = [
        {"http_user_agent": CHROME},
        {"http_user_agent": "curl/8.5.0", "user_agent": CHROME},
        {"user_agent.original": CHROME, "user_agent": "curl/8.5.0"},
        {"user_agent": {"original": "curl/8.5.0"}, "user_agent.original": CHROME},
        {},
        {"user_agent": 7, "http_user_agent": CHROME},
    ]
    assert [True] * 4 + [False] * 2 == [b'"Chrome"' in fragment for fragment in fragments(made, *rows)]


@pytest.mark.parametrize(
    ("settings_", "record", "expected"),
    [
        (
            {"field": "user_agent"},
            {"user_agent": "curl/8.5.0"},
            {"user_agent": "curl/8.5.0", "ua": KNOWN["curl/8.5.0"]},
        ),
        (
            {},
            {"user_agent": "curl/8.5.0"},
            {"user_agent": KNOWN["curl/8.5.0"], "shipper": {"record": {"user_agent": "curl/8.5.0"}}},
        ),
        (
            {},
            {"user_agent": {"original": "curl/8.5.0"}},
            {"user_agent": {"original": "curl/8.5.0", **KNOWN["curl/8.5.0"]}},
        ),
        (
            {},
            {"user_agent.original": "curl/8.5.0"},
            {"user_agent.original": "curl/8.5.0", "user_agent": KNOWN["curl/8.5.0"]},
        ),
        (
            {"field": "http_user_agent"},
            {"http_user_agent": "curl/8.5.0"},
            {"http_user_agent": "curl/8.5.0", "user_agent": KNOWN["curl/8.5.0"]},
        ),
    ],
)
def test_document_has_what_was_found_and_the_text_it_was_found_in(settings_: Any, record: Any, expected: Any) -> None:
    """Nothing is lost, and no document has `user_agent` as text and object; only where it must, a record is taken apart."""
    made = UserAgent(UserAgent.Config(**settings_), Tables())
    (document,), odd = shipped([("user_agent", made)], [record])
    assert expected == {name: document[name] for name in document if name not in ("@timestamp", "log", "host")}
    assert odd == bool(not settings_ and "user_agent" in record)


def test_access_log_is_enriched_without_being_taken_apart() -> None:
    """Its `client.ip` and `user_agent.original` stay, and the rest stands beside them."""
    line = b'89.160.20.112 - - [05/Feb/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 7 "-" "curl/8.5.0"'
    geoip = Geoip(Geoip.Config(field="client.ip", databases=[FilePath("GeoLite2-City-Test.mmdb")]), Tables())
    stages = [("geoip", geoip), ("user_agent", UserAgent(UserAgent.Config(), Tables()))]
    (document, _), odd = shipped(stages, [line, line], AccessLog)
    assert 0 == odd
    assert ("89.160.20.112", "curl/8.5.0") == (document["client.ip"], document["user_agent.original"])
    assert (["geo"], KNOWN["curl/8.5.0"]) == (list(document["client"]), document["user_agent"])


@pytest.mark.parametrize(
    ("name", "settings_"),
    [
        ("target", {"target": "user_agent.x"}),
        ("target", {"target": ""}),
        ("target", {"field": "user_agent", "target": "user_agent"}),
        ("cache_max", {"cache_max": 1}),
    ],
)
def test_user_agent_refuses_a_setting_that_cannot_work(name: str, settings_: dict[str, Any]) -> None:
    """The error points at the setting."""
    with pytest.raises(ComponentError) as refused:
        stage(**settings_)
    assert name == refused.value.field
