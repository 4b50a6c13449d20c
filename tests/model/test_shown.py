"""Shown: what is spliced stands in columns as it will stand in documents, alone and in a whole chain."""

from __future__ import annotations

from typing import Any

import pytest

from shipper.chain import Chain, Dating
from shipper.config.condition import Condition
from shipper.decode.json import Json
from shipper.encode.index import Horizon, Route, Router
from shipper.frame.docker import Docker
from shipper.intake import Intake
from shipper.model.columns import Columns
from shipper.model.shown import show
from tests.frame.test_docker import line as docker_line
from tests.kit.records import STREAM, PlainGate
from tests.test_chain import NOON, STAMP_FIELDS, Tag, documents


@pytest.mark.parametrize(
    ("name", "own", "expected"),
    [
        pytest.param("client.geo.city", [None, "Paris", None], ["London", "Paris", "London"], id="ours wins where there is one"),
        pytest.param("client.kind", ["x", None, 5], ["x", None, 5], id="what was not spliced stays"),
        pytest.param(
            "client.geo",
            [{"code": "F"}, None, "x"],
            [{"code": "F", "city": "London"}, None, {"city": "London"}],
            id="objects are joined",
        ),
        pytest.param("n", [1, 2, 3], [7, 7, 7], id="one piece for all rows"),
        pytest.param("a.b.c.d", [None, None, None], [True, True, True], id="a name is spelt with dots anywhere"),
        pytest.param("a.b.x", [None, None, None], [None, None, None], id="no such member"),
        pytest.param("n.x", [1, None, None], [1, None, None], id="no object"),
    ],
)
def test_a_column_says_what_was_spliced(name: str, own: list[Any], expected: list[Any]) -> None:
    """Over what the record said, wherever something was spliced."""
    columns = Columns("s", [b"{"] * 3, {name: own})
    opening, london = b',"client":{"geo":{', b'"city":"London"}}'
    show(columns, [[opening, b"", opening], [london, b"", london], b',"n":7,"a.b":{"c.d":true}'], [name])
    assert columns.column(name) == expected


def test_what_records_say_does_not_count_where_it_is_ours_alone() -> None:
    """Flags are ours: a record cannot give them to itself."""
    columns = Columns("s", [b"{"] * 2, {"shipper.parse_error": ["mine", "mine"]})
    show(columns, [[b"", b',"shipper":{"parse_error":"ours"}']], ["shipper.parse_error"], alone=True)
    assert columns.column("shipper.parse_error") == [None, "ours"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        pytest.param({"client.seen": True}, [True, False], id="what a stage spliced"),
        pytest.param({"stream": "stderr"}, [True, False], id="what the frame knows, whatever the record says"),
        pytest.param({"container.labels.service": "api"}, [False, True], id="what the frame knows, in an object"),
        pytest.param({"log.file.path": "/var/log/app.log"}, [True, True], id="the file"),
        pytest.param({"host.name": "web-1"}, [True, True], id="the host"),
        pytest.param({"log.offset": 0}, [True, False], id="the place"),
        pytest.param({"has": "shipper.parse_error"}, [False, True], id="a flag"),
        pytest.param({"shipper.stage_error": "x"}, [False, False], id="a flag that the record gives itself"),
    ],
)
def test_routes_and_stages_see_documents_as_they_will_be(condition: Any, expected: list[bool]) -> None:
    """What frame, stream and earlier stages add is asked for like any field, in a later stage and in a route."""
    wanted = Condition(condition)
    seen: list[list[bool]] = []

    class Looking:
        """A stage that asks what the route asks."""

        adds = ()
        reads = wanted.reads

        def process(self, columns: Columns, now: float) -> None:
            seen.append(wanted.mask(columns))

    lines = [
        docker_line('{"client_ip":"192.0.2.1","stream":"stdout","shipper":{"stage_error":"x"}}\n', "stderr"),
        docker_line("no JSON\n", "stdout", attrs={"service": "api"}),
    ]
    batch = Intake(STREAM, Docker()).take(b"".join(lines), 0, final=False).batch
    assert batch is not None
    decoding = Json(Json.Config(), [*STAMP_FIELDS, "client_ip", *wanted.reads], ["client", "stream", "container"])
    router = Router([Route("yes", wanted), Route("no")], Horizon(float(NOON)))
    dating = Dating(STAMP_FIELDS, adds=("client", "stream", "container"))
    stages: list[Any] = [("tag", Tag()), ("looking", Looking())]
    built = Chain(PlainGate(decoding.guards), decoding, stages, router, dating)
    found = documents(built.run(batch, 1, float(NOON), 0.0))
    assert seen == [expected]
    assert sorted(index.partition("-")[0] for index, _, _ in found) == sorted("yes" if holds else "no" for holds in expected)
