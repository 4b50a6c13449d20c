"""Chain: rows in, documents out; the same documents however rows are cut into batches, and whatever a stage does."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.chain import Chain, Dating, Outcome, content_ids
from shipper.config.condition import Condition
from shipper.decode.json import Json
from shipper.decode.regex import Regex
from shipper.encode.index import Horizon, Route, Router
from shipper.frame.docker import Docker
from shipper.intake import Intake
from shipper.model.batch import Batch
from shipper.model.columns import Columns
from shipper.redact.gate import Gate, choose_engine
from shipper.redact.settings import RedactConfig
from tests.frame.test_docker import line as docker_line
from tests.kit.records import STREAM, PlainGate, batch_of, encoded, rows, values

NOON = 1_770_292_800
STAMP_FIELDS = ("timestamp", "@timestamp", "time")
ID = STREAM.id
ENGINE = choose_engine(os.environ.get("SHIPPER_REDACT_ENGINE"))


class Held:
    """What a row is held for."""

    index: bytes | None = None


class Tag:
    """Splices an object for rows with an address."""

    adds = ("client",)

    def process(self, columns: Columns, now: float) -> None:
        """One fragment a row, or none."""
        columns.splice([b',"client":{"seen":true}' if isinstance(value, str) else b"" for value in columns.column("client_ip")])


class Sort:
    """Drops debug rows, and holds noisy ones for a summary."""

    adds = ()

    def __init__(self) -> None:
        """One summary for all."""
        self.summary = Held()

    def process(self, columns: Columns, now: float) -> None:
        """By level."""
        for row, level in enumerate(columns.column("level")):
            if row in columns.dropped:
                continue
            if level == "DEBUG":
                columns.drop(row, "sampled")
            if level == "NOISY":
                columns.hold(row, self.summary)


class Broken:
    """Splices and drops, then fails; or leaves rows without a fragment."""

    adds = ("broken",)

    def __init__(self, how: str) -> None:
        """`raise` or `short`."""
        self.how = how

    def process(self, columns: Columns, now: float) -> None:
        """Half of its work."""
        columns.drop(0, "half done")
        columns.splice([b',"broken":1'] * (columns.count - (self.how == "short")))
        if self.how == "raise":
            raise RuntimeError("a text with record content")


def decoder() -> Json:
    """A decoder for the routes and stages here."""
    return Json(Json.Config(), [*STAMP_FIELDS, "level", "client_ip", "service"], ["client", "stream", "container", "broken"])


@cache
def gate(kind: str) -> Any:
    """The real gate, compiled once, or one that changes nothing."""
    return (
        Gate(RedactConfig(), hash_key=b"k" * 32, engine=ENGINE, guards=decoder().guards)
        if kind == "real"
        else PlainGate(decoder().guards)
    )


def chain(
    kind: str = "plain", stages: Sequence[Any] = (), fields: Sequence[str] = STAMP_FIELDS, key: bytes | None = None
) -> Chain:
    """A chain with three routes."""
    routes = [
        Route("errors", Condition({"level": ["ERROR", "CRITICAL"]})),
        Route("app-{service}", Condition({"has": "service"}), None),
        Route("app"),
    ]
    return Chain(
        gate(kind),
        decoder(),
        [(type(stage).__name__.lower(), stage) for stage in stages],
        Router(routes, Horizon(float(NOON))),
        Dating(fields, key),
    )


def documents(outcome: Outcome) -> list[tuple[str, str, Any]]:
    """(index, id, document) of all documents; numbers beyond any type are read as far as they go."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert {name for name, count in Counter(name for name, _ in pairs).items() if count > 1} <= OWN_DUPLICATES
        return dict(pairs)

    lines = outcome.payload.body.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == 2 * outcome.payload.count
    found = []
    for action, document in zip(lines[::2], lines[1::2], strict=True):
        create = json.loads(action)["create"]
        found.append(
            (create["_index"], create["_id"], json.loads(document, parse_int=lambda text: text, object_pairs_hook=unique))
        )
    return found


OWN_DUPLICATES = {"level", "a"}
"""Names that the records of these tests have twice themselves."""

moments = st.sampled_from(
    [
        "2026-02-05T14:30:45.123Z",
        "2026-02-05T14:30:45Z",
        "2026-02-06T00:30:00+01:00",
        NOON + 5,
        "never",
        None,
        1_000_000_000,
        "2026-02-05 01:02:03,5",
    ]
)
stamped = st.dictionaries(
    st.sampled_from(["timestamp", "@timestamp", "level", "service", "client_ip", "host", "message"]),
    moments | values | st.sampled_from(["ERROR", "DEBUG", "NOISY", "api"]),
).flatmap(encoded)
mixed = st.tuples(rows, st.lists(stamped, min_size=1, max_size=6)).flatmap(lambda both: st.permutations(both[0] + both[1]))
only_stamps = st.lists(st.fixed_dictionaries({"@timestamp": moments}).flatmap(encoded), min_size=2, max_size=5)


def run(found: Sequence[bytes], base: int, before: float, made: Chain) -> Outcome:
    """Run a batch of rows that starts at `base`."""
    return made.run(batch_of(list(found), base), 1, before, 0.0)


@pytest.mark.parametrize("kind", ["plain", "real"])
@settings(deadline=None)
@given(mixed | only_stamps, st.data())
def test_documents_are_the_same_when_rows_are_cut_into_other_batches(kind: str, found: list[bytes], data: st.DataObject) -> None:
    """Ids, indices, stamps and all members: run(a + b) is run(a), run(b), for any cut, one row a batch too."""
    fields = data.draw(st.sampled_from([STAMP_FIELDS, ("@timestamp", "timestamp")]))
    key = data.draw(st.sampled_from([None, b"key"]))
    whole = documents(run(found, 100, NOON + 0.5, chain(kind, [Tag(), Sort()], fields, key)))
    for cuts in ({data.draw(st.integers(0, len(found)))}, set(range(len(found)))):
        made, parts, before = chain(kind, [Tag(), Sort()], fields, key), [], NOON + 0.5
        bounds = sorted({0, *cuts, len(found)})
        for start, stop in zip(bounds, bounds[1:], strict=False):
            outcome = run(found[start:stop], 100 + sum(len(row) + 1 for row in found[:start]), before, made)
            parts += documents(outcome)
            before = float(outcome.last_seconds)
        assert repr(sorted(map(repr, parts))) == repr(sorted(map(repr, whole)))
        assert [one[:2] for one in parts] == [one[:2] for one in whole]


@pytest.mark.parametrize("kind", ["plain", "real"])
@settings(deadline=None)
@given(mixed)
def test_every_row_has_one_fate_when_a_batch_is_run(kind: str, found: list[bytes]) -> None:
    """A document of its own, dropped with a reason, or held; ids are unique and made of the row's own bytes."""
    outcome = run(found, 0, 0.0, chain(kind, [Tag(), Sort()]))
    sent = set(outcome.payload.rows if outcome.payload.rows is not None else range(outcome.payload.count))
    assert sorted([*sent, *outcome.dropped, *outcome.held]) == list(range(len(found)))
    assert all(outcome.dropped.values())
    assert all(held.index for held in outcome.held.values())
    bounds = [sum(len(row) + 1 for row in found[:number]) for number in range(len(found) + 1)]
    assert [identity for _, identity, _ in documents(outcome)] == [
        f"{ID}-{bounds[row]}-{bounds[row + 1]}" for row in sorted(sent)
    ]
    for _, _, document in documents(outcome):
        assert document["log"]["file"]["path"] == "/var/log/app.log"
        assert document["host"]["name"] == "web-1"
        assert document["@timestamp"].endswith("Z")


@pytest.mark.parametrize("kind", ["plain", "real"])
def test_a_mixed_batch_becomes_the_documents_a_user_expects(kind: str) -> None:
    """Objects, text, an array, clashes, times of all kinds, a dropped and a held row, in one batch."""
    found = [
        b'{"timestamp":"2026-02-05T14:30:45.123Z","level":"ERROR","client_ip":"81.2.69.142","message":"x"}',
        b"plain text",
        b'{"level":"DEBUG"}',
        b'{"timestamp":1770301846,"level":"NOISY","service":"Api"}',
        b'{"time":"2026-02-06T00:30:00+01:00","host":"web","client":"c","service":"Api"}',
        b"[1]",
        b'{"timestamp":"1970-01-01T00:00:00Z"}',
        b"{}",
    ]
    sort = Sort()
    outcome = run(found, 0, float(NOON), chain(kind, [Tag(), sort]))
    ends = [sum(len(row) + 1 for row in found[:number]) for number in range(len(found) + 1)]

    def ours(row: int, stamp: str, **more: Any) -> dict[str, Any]:
        return {
            "@timestamp": stamp,
            "log": {"offset": str(ends[row]), "file": {"path": "/var/log/app.log"}},
            "host": {"name": "web-1"},
            **more,
        }

    assert [document for _, _, document in documents(outcome)] == [
        {**json.loads(found[0]), **ours(0, "2026-02-05T14:30:45.123Z", client={"seen": True})},
        {
            "message": "plain text",
            **ours(
                1,
                "2026-02-05T14:30:45.000Z",
                shipper={"parse_error": "invalid character (byte 0)", "flags": ["timestamp_missing"]},
            ),
        },
        {
            "time": "2026-02-06T00:30:00+01:00",
            "service": "Api",
            **ours(4, "2026-02-05T23:30:00.000Z", shipper={"record": {"host": "web", "client": "c"}}),
        },
        {
            "message": "[1]",
            **ours(
                5, "2026-02-05T23:30:00.000Z", shipper={"parse_error": "not an object but array", "flags": ["timestamp_missing"]}
            ),
        },
        {"timestamp": "1970-01-01T00:00:00Z", **ours(6, "1970-01-01T00:00:00Z")},
        ours(7, "1970-01-01T00:00:00.000Z", shipper={"flags": ["timestamp_missing"]}),
    ]
    assert [index for index, _, _ in documents(outcome)] == [
        "errors-2026.02.05", "app-2026.02.05", "app-api-2026.02.05", "app-2026.02.05", "app-fallback", "app-fallback",
    ]  # fmt: skip
    assert outcome.payload.indices == {"errors-2026.02.05": 1, "app-2026.02.05": 2, "app-api-2026.02.05": 1, "app-fallback": 2}
    assert outcome.dropped == {2: "sampled"}
    assert outcome.held == {3: sort.summary}
    assert sort.summary.index == b"app-api-2026.02.05"
    assert outcome.last_seconds == 0
    assert outcome.flagged == {"parse_error": 2, "timestamp_missing": 4}
    assert outcome.stage_errors == []


def test_a_summary_goes_to_the_index_of_its_first_row_when_more_are_held() -> None:
    """Over batches too: the index of a document of our own follows from the first row it stands for."""
    sort = Sort()
    made = chain("plain", [sort])
    for service in ("a", "b", "c"):
        outcome = run([b'{"level":"NOISY","service":"%b"}' % service.encode()] * 2, 0, float(NOON), made)
        assert (outcome.payload.count, outcome.payload.body, outcome.held.keys()) == (0, b"", {0, 1})
    assert sort.summary.index == b"app-a-2026.02.05"


@pytest.mark.parametrize("how", ["raise", "short"])
def test_rows_go_on_without_a_stage_when_it_fails(how: str) -> None:
    """Its fragments are gone, those of other stages stay, every row says whose work it lacks; what it dropped stays dropped."""
    found = [b'{"level":"a","client_ip":"x"}'] * 3
    laps: list[str] = []
    made = chain("plain", [Tag(), Broken(how), Sort()])
    outcome = made.run(batch_of(found), 1, float(NOON), 0.0, lambda step, *_: laps.append(step))
    assert outcome.dropped == {0: "half done"}
    sent = [document for _, _, document in documents(outcome)]
    assert len(sent) == 2
    for document in sent:
        assert "broken" not in document
        assert document["client"] == {"seen": True}
        assert document["shipper"]["stage_error"] == ["broken"]
    ((stage, told),) = outcome.stage_errors
    place = "RuntimeError at test_chain.py:" if how == "raise" else "AssertionError at chain.py:"
    assert stage == "broken" and told.removeprefix(place).isdigit(), "class and line, no text"
    assert outcome.flagged["stage_error"] == 3
    assert laps == ["redact", "decode", "date", "tag", "broken", "sort", "route", "encode"]


@pytest.mark.parametrize(
    ("record", "stamp", "moved"),
    [
        ({"@timestamp": "2026-02-05T14:30:45.123Z"}, "2026-02-05T14:30:45.123Z", None),
        ({"@timestamp": None}, "2026-02-05T12:00:00.000Z", None),
        ({"@timestamp": "2026-02-05T15:30:45+01:00"}, "2026-02-05T14:30:45.000Z", "2026-02-05T15:30:45+01:00"),
        ({"@timestamp": NOON}, "2026-02-05T12:00:00.000Z", str(NOON)),
        ({"@timestamp": [1]}, "2026-02-05T12:00:00.000Z", ["1"]),
        (
            {"@timestamp": "2026-02-05T01:00:00Z", "timestamp": "2026-02-05T02:00:00Z"},
            "2026-02-05T02:00:00Z",
            "2026-02-05T01:00:00Z",
        ),
        ({"\u0040timestamp": None, "time": "2026-02-05T02:00:00Z"}, "2026-02-05T02:00:00Z", None),
    ],
)
@pytest.mark.parametrize("beside", [[], [b"text"], [b'{"timestamp":"2026-02-05T00:00:00Z"}']])
def test_a_document_has_one_timestamp_when_the_record_has_its_own(
    record: dict[str, Any], stamp: str, moved: Any, beside: list[bytes]
) -> None:
    """Canonical it stays; else ours stands there and the record's own moves aside. The rows beside it do not matter."""
    outcome = run([json.dumps(record).encode(), *beside], 0, float(NOON), chain())
    document = documents(outcome)[0][2]
    assert document["@timestamp"] == stamp
    assert document.get("shipper", {}).get("record", {}).get("@timestamp") == moved


def test_records_with_a_canonical_timestamp_of_their_own_are_not_taken_apart() -> None:
    """ECS loggers write `@timestamp`: their rows are spliced as they stand, also where other fields are looked at first."""
    row = b'{ "@timestamp" : "2026-02-05T14:30:45.123Z" , "n" : 1.10 }'
    outcome = run([row, row], 0, 0.0, chain())
    assert outcome.payload.document(1)[1].startswith(row[:-1] + b',"log":{"offset":')


def test_what_docker_knows_comes_into_documents_through_the_gate() -> None:
    """Stream and labels are spliced, redacted; Docker's time dates text; a record's own `stream` gives way."""
    lines = [
        docker_line("plain\n", "stderr", "2026-02-05T14:30:45.123456789Z", attrs={"owner": "anna.schmidt@example.com"}),
        docker_line('{"stream":"mine","timestamp":"2026-02-05T01:00:00Z"}\n', time="2026-02-05T14:30:46Z"),
    ]
    taken = Intake(STREAM, Docker()).take(b"".join(lines), 0, final=False)
    assert taken.batch is not None
    outcome = chain("real").run(taken.batch, 1, 0.0, 0.0)
    first, second = (document for _, _, document in documents(outcome))
    assert (first["message"], first["stream"], first["@timestamp"]) == ("plain", "stderr", "2026-02-05T14:30:45.123456789Z")
    assert first["container"] == {"labels": {"owner": "[REDACTED:email]"}}
    assert (second["stream"], second["shipper"], second["@timestamp"]) == (
        "stdout",
        {"record": {"stream": "mine"}},
        "2026-02-05T01:00:00Z",
    )
    assert [identity for _, identity, _ in documents(outcome)] == [
        f"{ID}-0-{len(lines[0])}",
        f"{ID}-{len(lines[0])}-{len(b''.join(lines))}",
    ]


def test_a_row_keeps_its_origin_when_the_gate_changes_rows_before_it() -> None:
    """The ids of a batch do not depend on what is masked in it, in a block with text rows too."""
    found = [
        b'{"message":"mail anna.schmidt@example.com"}',
        b"text with card 4111 1111 1111 1111",
        b'{"n":1}',
        b'{"message":"\\u006a@example.com"}',
    ]
    for part in (found, [row for row in found if row.startswith(b"{")]):
        plain, real = (run(part, 5, 0.0, chain(kind)) for kind in ("plain", "real"))
        assert [identity for _, identity, _ in documents(real)] == [identity for _, identity, _ in documents(plain)]
        assert real.payload.body != plain.payload.body
        assert sum(real.masked.values()) >= 2


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([b'{"n":1}', b'{"n":2}', b"text", b'{"m":"4111 1111 1111 1111"}', b'{"m":"4012 8888 8888 1881"}']),
        min_size=1,
    ),
    st.integers(0, 99),
)
def test_ids_of_the_content_are_equal_exactly_when_records_are(found: list[bytes], base: int) -> None:
    """Wherever a record stands; records that are alike only once they are redacted stay two, and an id tells nothing without the key."""
    first, other = (
        dict(zip(found, [one[1] for one in documents(run(found, at, float(NOON), chain("real", key=b"key")))], strict=True))
        for at in (0, base)
    )
    assert first == other
    assert len(set(first.values())) == len(set(found))
    elsewhere = documents(run(found, 0, float(NOON), chain("real", key=b"another")))
    assert not set(first.values()) & {identity for _, identity, _ in elsewhere}


def test_ids_of_the_content_are_those_of_whole_records_when_they_hold_newlines() -> None:
    """With `ends` a newline does not end a record."""
    batch = Batch(STREAM, b"a\nb\nc\n", 2, 0, ([0, 4], [4, 6]))
    batch.ends = [3, 5]
    assert len(content_ids(batch, b"k")) == 2
    assert content_ids(batch, b"k")[0] not in content_ids(batch_of([b"a", b"b", b"c"]), b"k")
    assert content_ids(batch, b"k")[1] == content_ids(batch_of([b"c"]), b"k")[0]


def test_a_row_that_a_rule_drops_settles_as_dropped_when_the_gate_says_so() -> None:
    """It makes no document; the reason names the rule."""
    config = RedactConfig(actions={"email": "drop_event"})
    made = Chain(
        Gate(config, hash_key=b"k" * 32, engine=ENGINE, guards=decoder().guards),
        decoder(),
        [("sort", Sort())],
        Router([Route("app")], Horizon(float(NOON))),
        Dating(STAMP_FIELDS),
    )
    outcome = run([b'{"n":1}', b'{"m":"anna.schmidt@example.com","level":"NOISY"}', b'{"n":2}'], 0, float(NOON), made)
    assert outcome.dropped == {1: "redacted:email"}
    assert outcome.held == {}
    assert list(outcome.payload.rows or ()) == [0, 2]
    assert b"anna" not in outcome.payload.body


def test_a_row_that_the_gate_could_not_redact_is_one_document_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its marker and our own `shipper` members are one object; the raw record goes nowhere, the rows beside it go on."""
    failing = Gate(RedactConfig(), hash_key=b"k" * 32, engine=ENGINE, guards=decoder().guards)
    redact = failing._rows.redact

    def fail(row: bytes, *more: Any) -> Any:
        if b"Zq7Wx" in row:
            raise ValueError("Zq7Wx")
        return redact(row, *more)

    monkeypatch.setattr(failing._rows, "redact", fail)
    made = Chain(failing, decoder(), [], Router([Route("app")], Horizon(float(NOON))), Dating(STAMP_FIELDS))
    outcome = run([b'{"n":1}', b'{"m":"Zq7Wx anna.schmidt@example.com"}', b'{"n":2}'], 0, float(NOON), made)
    found = documents(outcome)
    assert [document.get("n") for _, _, document in found] == ["1", None, "2"]
    assert found[1][2]["shipper"] == {"gate_error": "ValueError", "flags": ["timestamp_missing"]}
    assert b"Zq7Wx" not in outcome.payload.body


def test_a_record_that_loses_its_only_field_is_a_document_of_our_members_alone() -> None:
    """A rule that drops fields may leave nothing but blanks between the braces."""
    config = RedactConfig(actions={"secrets": "drop_field"})
    made = Chain(
        Gate(config, hash_key=b"k" * 32, engine=ENGINE, guards=decoder().guards),
        decoder(),
        [],
        Router([Route("app")], Horizon(float(NOON))),
        Dating(STAMP_FIELDS),
    )
    outcome = run([b'{"n":1}', b'{"password" : "hunter2222" }', b'{ "password":"hunter2222"}'], 0, float(NOON), made)
    assert [document.keys() for _, _, document in documents(outcome)][1:] == [{"@timestamp", "log", "host", "shipper"}] * 2


def test_fragments_of_the_frame_are_redacted_once_each() -> None:
    """The gate sees a fragment that repeats one time; keys and values of any depth pass it."""
    seen: list[str] = []

    class Counting(PlainGate):
        """Remembers the texts it saw."""

        def text(self, value: str) -> str:
            """Masks everything."""
            seen.append(value)
            return "*"

    made = Chain(Counting(decoder().guards), decoder(), [], Router([Route("app")], Horizon(float(NOON))), Dating(STAMP_FIELDS))
    for _ in range(2):
        batch = Batch(STREAM, b"{}\n{}\n", 2, 0, ([0, 3], [3, 6]))
        batch.extras = [b',"stream":"stdout"', b',"container":{"labels":{"k":"v"},"n":1}']
        outcome = made.run(batch, 1, 0.0, 0.0)
    assert sorted(seen) == ["container", "k", "labels", "n", "stdout", "stream", "v"]
    assert documents(outcome)[0][2]["*"] == "*"


def test_a_time_that_cannot_be_read_is_kept_where_the_record_has_no_field_for_it() -> None:
    """In a format of text the time is no member: what it says is not lost; it is counted once."""
    read = Regex(Regex.Config(patterns="^(?P<time>[^ ]*) (?P<message>.*)$"), ["@timestamp"], [])
    made = Chain(PlainGate({}), read, [], Router([Route("app")], Horizon(float(NOON))), Dating(["timestamp", "@timestamp"]))
    found = made.run(batch_of([b"2026-02-05T14:30:45Z a", b"soon b", b" c"]), 1, NOON, 0.0)
    told = [document.get("shipper") for _, _, document in documents(found)]
    assert told == [None, {"flags": ["timestamp_unreadable"], "timestamp": "soon"}, {"flags": ["timestamp_missing"]}]
    assert found.flagged == {"timestamp_unreadable": 1, "timestamp_missing": 1}
    own = documents(run([b'{"@timestamp":"never"}'], 0, NOON, chain()))[0][2]["shipper"]
    assert own == {"flags": ["timestamp_unreadable"], "record": {"@timestamp": "never"}}
