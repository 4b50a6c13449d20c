"""Metadata: what is added, what is left out, and how it lives with what records and other stages have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.edge import host
from shipper.model.columns import Columns
from shipper.model.errors import ComponentError
from shipper.stages import metadata as module
from shipper.stages.metadata import Metadata
from tests.kit import laws
from tests.kit.site import Site, check_whole

FACTS = {"architecture": "x86_64", "ip": ["192.0.2.7"], "os.type": "linux", "os.name": 'Deb"ian'}


class Machine:
    """Resources that know a machine, and have no tables."""

    def table(self, path: str) -> Any:
        """There is none."""
        raise ComponentError(path)

    def host(self) -> Mapping[str, object]:
        """Its facts."""
        return FACTS


def stage(**settings: Any) -> Metadata:
    """A metadata stage."""
    return Metadata(Metadata.Config(**settings), Machine())


def added(metadata: Metadata, path: str = "", count: int = 2, **columns_: Any) -> dict[str, Any]:
    """What is spliced into each row, the same for all; `columns_` become attributes of the batch."""
    columns = laws.columns_of([{}] * count, ())
    columns.path = path
    for name, value in columns_.items():
        setattr(columns, name, value)
    metadata.process(columns, 0.0)
    (fragment,) = columns.fragments or [b""]
    assert isinstance(fragment, bytes), "one for all rows"
    return dict(json.loads(b'{"-":0' + fragment + b"}", object_pairs_hook=laws._no_duplicates)) if fragment else {}


def test_fixed_values_are_written_as_they_are() -> None:
    """All kinds of scalars; dots stay dots, and an empty text is left out."""
    static = {"environment": 'pro"d', "service.name": "shop", "n": 3, "share": 0.5, "canary": False, "pod.name": ""}
    assert added(stage(static=static)) == {"-": 0, **{name: value for name, value in static.items() if value != ""}}


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["os"], {"host.os.type", "host.os.name"}),
        (["ip", "ip"], {"host.ip"}),
        (["architecture", "os"], {"host.architecture", "host.os.type", "host.os.name"}),
    ],
)
def test_facts_of_the_host_are_added_when_they_are_asked_for(wanted: list[str], names: set[str]) -> None:
    """Below `host`, and only those."""
    metadata = stage(host=wanted)
    found = added(metadata)
    assert found.keys() - {"-"} == names == set(metadata.adds)
    assert all(value == FACTS[name.removeprefix("host.")] for name, value in found.items() if name != "-")


def test_the_real_host_says_what_it_is() -> None:
    """The system, and addresses that are none of the loopback."""
    facts = host.facts()
    assert facts["os.type"] in ("linux", "macos")
    assert facts["architecture"]
    assert all(not address.startswith(("127.", "::1")) for address in host.addresses())
    assert all(facts.values())


@pytest.mark.parametrize(
    ("pattern", "path", "told"),
    [
        ("/var/log/{service.name}/{instance}.log", "/var/log/shop/a-1.log", {"service.name": "shop", "instance": "a-1"}),
        ("/var/log/{service.name}/{instance}.log", "/var/log/shop/a-1.log.1", {}),
        ("/var/log/{service.name}/{instance}.log*", "/var/log/shop/a-1.log.1", {"service.name": "shop", "instance": "a-1"}),
        ("/var/log/{service.name}/{instance}.log", "/var/log/shop/deep/a-1.log", {}),
        ("/var/log/{service.name}/{instance}.log", "/var/log//a-1.log", {}),
        ("**/{app}-{n}.log", "/data/x/y/a-b-c.log", {"app": "a", "n": "b-c"}),
        ("/data/*/{app}/**", "/data/x/shop/2026/02/05.log", {"app": "shop"}),
        ("/data/{app}", "/data/[REDACTED:email]", {"app": "[REDACTED:email]"}),
        ("/a.b/{x}", "/acb/y", {}),
        ("{x}", "push:http", {"x": "push:http"}),
    ],
)
def test_parts_of_the_path_become_members_where_it_matches(pattern: str, path: str, told: dict[str, str]) -> None:
    """Whole paths only; where one does not match nothing is added."""
    assert {name: value for name, value in added(stage(path=pattern), path).items() if name != "-"} == told


parts = st.text(st.characters(blacklist_characters="/", blacklist_categories=("Cs",)), min_size=1, max_size=8)


@given(service=parts, instance=parts)
def test_any_path_that_is_built_of_parts_is_taken_apart_again(service: str, instance: str) -> None:
    """Whatever characters they have; they come out as they went in."""
    found = added(stage(path="/var/log/{service.name}/{instance}.log"), f"/var/log/{service}/{instance}.log")
    assert (found["service.name"], found["instance"]) == (service, instance)


def test_paths_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """And told the same when they are seen again."""
    monkeypatch.setattr(module, "PATHS_MAX", 3)
    metadata = stage(path="/{app}")
    for number in (*range(7), 0):
        assert added(metadata, f"/a{number}")["app"] == f"a{number}"
    assert len(metadata._of_paths) <= 3


def test_columns_say_what_was_added_when_somebody_asks() -> None:
    """Conditions made before are judged anew; what nobody asks for is not set."""
    columns = Columns("s" * 22, [b'{"a":1'] * 2, {"service.name": [None, "own"]})
    columns.path, columns.asked = "/shop", {"service.name"}
    columns.masks["old"] = [True, True]
    stage(path="/{service.name}", static={"environment": "x"}).process(columns, 0.0)
    assert columns.fields == {"service.name": ["shop", "shop"]}
    assert not columns.masks


@pytest.mark.parametrize(
    ("settings", "where", "says"),
    [
        ({}, "", "adds nothing"),
        ({"static": {"host.name": "x"}}, "static.host.name", "every document"),
        ({"static": {"@timestamp": "x"}}, "static.@timestamp", "every document"),
        ({"static": {"log": "x"}}, "static.log", "every document"),
        ({"static": {"shipper.x": "x"}}, "static.shipper.x", "every document"),
        ({"static": {"a..b": "x"}}, "static.a..b", "no name"),
        ({"static": {"a b": "x"}}, "static.a b", "no name"),
        ({"static": {"service": "x", "service.name": "y"}}, "", "cannot stand in one document"),
        ({"static": {"host.os.type": "x"}, "host": ["os"]}, "", "cannot stand in one document"),
        ({"static": {"app": "x"}, "path": "/{app}"}, "", "cannot stand in one document"),
        ({"path": "/var/log/app.log"}, "path", "no part"),
        ({"path": "/{a}{b}"}, "path", "where `a` ends"),
        ({"path": "/{a}/{a}"}, "path", "twice"),
        ({"path": "/{}"}, "path", "no name"),
        ({"path": "/{a"}, "path", "stands alone"),
    ],
)
def test_metadata_is_refused_when_it_cannot_stand_in_a_document(settings: dict[str, Any], where: str, says: str) -> None:
    """At the setting that is wrong."""
    with pytest.raises(ComponentError, match=says) as caught:
        stage(**settings)
    assert caught.value.field == where


def test_documents_have_what_was_added_and_routes_see_it(site: Site) -> None:
    """Through the whole agent: by route and by index name, beside records that have such members themselves."""
    site.write(
        [
            {"n": 0},
            {"n": 1, "environment": "dev", "service": "scalar", "host.os.type": "mine"},
            {"n": 2, "environment": "prod", "service": {"name": "own", "version": "2"}, "host": {"os": {"type": "x"}, "id": 7}},
        ]
    )
    site.configure(
        stages=[
            {"metadata": {"static": {"environment": "prod", "team.name": "${TEAM:-}"}, "host": ["os"]}},
            {"metadata": {"path": f"{site.logs}/{{service.name}}.log"}},
        ],
        route=[{"when": {"environment": "prod"}, "index": "x-{service.name}", "window": "none"}, {"index": "other"}],
    )
    told = site.once()
    check_whole(told, 3)
    assert {index.rpartition("-")[0] for index, _, _ in site.documents()} == {"x-app"}
    bodies = site.bodies()
    assert [body["environment"] for body in bodies] == ["prod"] * 3
    assert [body["service.name"] for body in bodies] == ["app"] * 3
    assert not any("team.name" in body for body in bodies)
    kind = bodies[0]["host.os.type"]
    assert [body["host.os.type"] for body in bodies] == [kind] * 3
    assert bodies[1]["shipper"]["record"] == {"environment": "dev", "service": "scalar", "host.os.type": "mine"}
    assert bodies[2]["shipper"]["record"] == {
        "service": {"name": "own", "version": "2"}, "host": {"os": {"type": "x"}, "id": 7}
    }  # fmt: skip


def test_two_stages_that_add_the_same_are_refused(site: Site) -> None:
    """A document would have it twice, and Elasticsearch refuses that."""
    site.configure(stages=[{"metadata": {"static": {"a.b": 1}}}, {"metadata": {"static": {"a": 2}}}])
    told = site.once()
    assert told.code == 78
    assert "`a` is added by metadata already" in told.err
