"""Fields: every operation does to a record's bytes what a simple one does to a dict, and columns say the same afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.condition import Condition
from shipper.decode.json import Json
from shipper.edge.tables import Tables
from shipper.model.batch import SafeBatch
from shipper.model.columns import OURS, Columns, meet, reach
from shipper.model.errors import ComponentError
from shipper.stages.converting import FAILED, converted
from shipper.stages.fields import Fields, Operation
from shipper.stages.members import encode, members_of
from shipper.stages.reshaping import capped, flat, without_dots
from tests.kit.records import PlainGate, batch_of
from tests.kit.site import Site, check_whole

Record = dict[str, Any]
NAMES = ("level", "a", "a.b", "a.b.c", "service", "service.name", "n", "x y", "gr\u00f6\u00dfe", "client", "log.level")
READS = ("level", "a", "a.b", "a.b.c", "service.name", "service", "n", "client", "client.ip", "log")
"""What other stages and routes ask for."""
ADDS = ("client.geo", "client.ip", "kubernetes")
MESSAGE = {"message": 'he said "level":"ERROR", "a": {"b":1} \\ {x.y} \u00fc \t'}


def stage(*operations: Mapping[str, Any]) -> Fields:
    """A stage of these operations."""
    return Fields(Fields.Config(operations=[Operation(**operation) for operation in operations]), Tables())


def decoded(fields: Fields, rows: Sequence[bytes], changed: Sequence[int] = (), *, guarded: bool = True) -> Columns:
    """The rows as the chain hands them over."""
    decoder = Json(Json.Config(), [*READS, *fields.reads], ADDS)
    guards = {**fields.guards, **decoder.guards}
    batch = PlainGate(guards).admit(batch_of(rows))
    if changed:
        batch = SafeBatch(batch_of(rows), batch.block, list(changed))
        batch.marks = PlainGate(decoder.guards).admit(batch_of(rows)).marks
    columns = decoder.decode(batch)
    columns.asked, columns.ours = frozenset((*READS, *fields.reads)), OURS.union(ADDS)
    columns.marks, columns.changed = batch.marks if guarded else None, batch.changed
    return columns


def records_of(columns: Columns) -> list[Record]:
    """The rows as records; a name twice is an AssertionError."""

    def unique(pairs: list[tuple[str, Any]]) -> Record:
        assert len(dict(pairs)) == len(pairs), "a name stands there twice"
        return dict(pairs)

    return [json.loads(row + b"}", object_pairs_hook=unique) for row in columns.rows]


def done(fields: Fields, *rows: Record, **options: Any) -> list[Record]:
    """What becomes of records."""
    columns = decoded(fields, [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() for row in rows], **options)
    fields.process(columns, 0.0)
    return records_of(columns)


# --- the oracle


def put(record: Record, name: str, value: object) -> None:
    """Replace a member where it is read, else add it under its whole name."""
    inner: Any = record
    *path, last = name.split(".")
    for step in path:
        inner = inner.get(step) if isinstance(inner, dict) else None
    nested = isinstance(inner, dict) and inner.get(last) is not None
    if record.get(name) is None and path and nested:
        inner[last] = value
    else:
        record[name] = value


def take(record: Record, name: str) -> Any:
    """Take a member out, in both spellings."""
    value = reach(record, name)
    if record.get(name) is not None:
        del record[name]
    while (rest := reach(record, name)) is not None and "." in name:
        *path, last = name.split(".")
        inner = record
        for step in path:
            inner = inner[step]
        assert inner[last] == rest
        del inner[last]
    return value


def changed_by(operation: Mapping[str, Any], record: Record) -> None:
    """Do one operation to one record."""
    for name, value in operation.get("set", {}).items():
        put(record, name, deepcopy(value))
    for name, to in operation.get("rename", {}).items():
        if reach(record, name) is not None:
            put(record, to, take(record, name))
    for name, to in operation.get("copy", {}).items():
        if (value := reach(record, name)) is not None:
            put(record, to, deepcopy(value))
    for name in operation.get("remove", ()):
        take(record, name)
    for kind in ("lower", "upper"):
        for name in operation.get(kind, ()):
            if isinstance(value := reach(record, name), str):
                put(record, name, getattr(value, kind)())
    for name, kind in operation.get("convert", {}).items():
        if (value := reach(record, name)) is not None and (new := converted(kind, [value])[0]) is not FAILED:
            put(record, name, new)
    if {"dedot", "flatten", "max_depth", "max_members"} & operation.keys():
        reshaped(operation, record)


def reshaped(operation: Mapping[str, Any], record: Record) -> None:
    """Operations on the whole record; their functions have tests of their own."""
    members = members_of(json.dumps(record).encode())
    if "dedot" in operation:
        without_dots(members, operation["dedot"])
    if "flatten" in operation:
        flat(members, operation["flatten"])
    if {"max_depth", "max_members"} & operation.keys():
        capped(members, operation.get("max_depth"), operation.get("max_members"))
    record.clear()
    record.update(json.loads(encode(members)))


def expected(operations: Sequence[Mapping[str, Any]], record: Record) -> Record:
    """What all operations make of a record."""
    for operation in operations:
        when = operation.get("when")
        if when is None or when.mask(One(record))[0]:
            changed_by(operation, record)
    return record


class One:
    """One record as a batch, for conditions."""

    count = 1

    def __init__(self, record: Record) -> None:
        """The record is read when it is asked for."""
        self._record = record
        self.masks: dict[Any, list[bool]] = {}

    def column(self, name: str) -> Sequence[object]:
        """Its value."""
        return [reach(self._record, name)]


# --- records and operations of all kinds

scalars = st.sampled_from(
    ["ERROR", "error", "", "12", "1.5", "yes", 'q"uo\\te', "\u00fc{", "0012", 0, 1, 12, 123, -1, 1.5, 12.0, True, False, 2**70]
)
leaves = st.none() | scalars
values = leaves | st.dictionaries(
    st.sampled_from(["b", "c", "name", "level", "a.b", "geo"]),
    leaves | st.dictionaries(st.sampled_from(["c", "d.e"]), leaves),
    max_size=3,
)
nested = st.builds(
    lambda one, two, three, record: {
        "a": {"b": {"c": one, "d": two}, "n": 1},
        "service": {"name": three, "level": one},
        **record,
    },
    *([leaves] * 3),
    st.dictionaries(st.sampled_from(NAMES), leaves, max_size=3),
)
records = st.dictionaries(st.sampled_from(NAMES), values | st.lists(values, max_size=2), max_size=5) | nested


def written(record: Record) -> st.SearchStrategy[bytes]:
    """A record as different writers write it, with another member before or behind that looks like what is looked for."""
    shapes = [record, {**MESSAGE, **record}, {**record, **MESSAGE}]
    ways = [(",", ":"), (", ", ": "), (" , ", " : ")]
    plain = [json.dumps(one, ensure_ascii=False, separators=way).encode() for one in shapes for way in ways]
    return st.sampled_from([*plain, json.dumps(record).encode(), plain[0].replace(b'"level"', b'"l\\u0065vel"')])


rows_of_all_kinds = st.lists(records.flatmap(written), max_size=6)
names = st.sampled_from(NAMES) | st.sampled_from(["level", "a", "a.b", "a.b.c", "service.name"])
targets = names
pairs = st.tuples(names, targets).filter(lambda pair: pair[0] != pair[1])
whens = st.sampled_from(
    [None, Condition({"level": "ERROR"}), Condition({"has": "a"}), Condition({"not": {"has": "service.name"}})]
)
operations = st.builds(
    lambda operation, when: {**operation, **({"when": when} if when else {})},
    st.one_of(
        st.builds(
            lambda name, value: {"set": {name: value}}, targets, st.sampled_from(["x", 7, True, {"b": {"c": 2}}, [1], "ERROR"])
        ),
        pairs.map(lambda pair: {"rename": dict([pair])}),
        pairs.map(lambda pair: {"copy": dict([pair])}),
        names.map(lambda name: {"remove": [name]}),
        st.builds(lambda kind, name: {kind: [name]}, st.sampled_from(["lower", "upper"]), names),
        st.builds(
            lambda name, kind: {"convert": {name: kind}}, names, st.sampled_from(["integer", "number", "boolean", "string"])
        ),
        st.just({"dedot": "_"}),
        st.sampled_from(
            [{"flatten": ["a"]}, {"flatten": ["*"]}, {"max_depth": 2}, {"max_members": 2}, {"max_depth": 1, "max_members": 3}]
        ),
    ),
    whens,
)


def exact(value: object) -> str:
    """A value as a text that tells 1 from true and 1.0."""
    return json.dumps(value, sort_keys=True)


def check(fields: Fields, rows: Sequence[bytes], plan: Sequence[Mapping[str, Any]], **options: Any) -> None:
    """The rows become what the oracle says, the columns agree with them, and odd rows are odd."""
    columns = decoded(fields, rows, **options)
    fields.process(columns, 0.0)
    found = records_of(columns)
    assert list(map(exact, found)) == [exact(expected(plan, json.loads(row))) for row in rows]
    for name in columns.asked:
        assert list(map(exact, columns.column(name))) == [exact(reach(record, name)) for record in found], name
    for row, record in enumerate(found):
        assert row in columns.odd or (record and not any(meet(name, ours) for name in record for ours in columns.ours)), record


@settings(deadline=None, max_examples=200)
@given(rows=rows_of_all_kinds, plan=st.lists(operations, min_size=1, max_size=4), guarded=st.booleans())
def test_fields_do_to_bytes_what_a_simple_way_does_to_dicts(rows: list[bytes], plan: list[dict[str, Any]], guarded: bool) -> None:
    """Any operations, in order, each where its condition holds, over records in any company and any writing."""
    check(stage(*plan), rows, plan, guarded=guarded)


@pytest.mark.parametrize(
    ("operation", "row", "expected"),
    [
        ({"set": {"n": "x"}}, b'{"a":1.50,"b":"\\u00fc"', b'{"a":1.50,"b":"\\u00fc","n":"x"'),
        ({"set": {"a": 2}}, b'{"b": 1.50, "a": 1', b'{"b": 1.50, "a": 2'),
        (
            {"rename": {"a": "z.y"}},
            b'{"b":1.50,"a":9999999999999999999999,"c":1',
            b'{"b":1.50,"z.y":9999999999999999999999,"c":1',
        ),
        ({"rename": {"a": "z"}}, b'{"a": 1e0, "b": 2', b'{"z": 1e0, "b": 2'),
        ({"remove": ["a"]}, b'{"a":1,"b":1.50,"c":2', b'{"b":1.50,"c":2'),
        ({"remove": ["a"]}, b'{"b":1.50,"a":1', b'{"b":1.50'),
        ({"remove": ["a"]}, b'{"b": 1.50, "a": "x", "c": 2', b'{"b": 1.50, "c": 2'),
        ({"remove": ["a"]}, b'{"a": 12, "b": 123', b'{"b": 123'),
        ({"remove": ["a"]}, b'{"b":{"a":1},"a":2', b'{"b":{"a":1}'),
        ({"lower": ["a"]}, b'{"b":1.50,"a":"ERROR","c":"A"', b'{"b":1.50,"a":"error","c":"A"'),
        ({"convert": {"a": "string"}}, b'{"b":1.50,"a":12', b'{"b":1.50,"a":"12"'),
        ({"convert": {"a": "integer"}}, b'{"a":"12","b":1.50', b'{"a":12,"b":1.50'),
        ({"copy": {"a": "c"}}, b'{"a":"\xc3\xbc","b":1.50', b'{"a":"\xc3\xbc","b":1.50,"c":"\xc3\xbc"'),
    ],
)
def test_what_is_not_touched_stays_byte_for_byte(operation: dict[str, Any], row: bytes, expected: bytes) -> None:
    """Numbers keep their digits, texts their escapes, in either way of writing."""
    fields = stage(operation)
    columns = decoded(fields, [row + b"}", row + b"}"])
    fields.process(columns, 0.0)
    assert columns.rows == [expected] * 2


def test_rows_that_no_condition_selects_are_the_same_objects() -> None:
    """They cost nothing."""
    fields = stage({"rename": {"a": "b"}, "when": Condition({"level": "ERROR"})})
    columns = decoded(fields, [b'{"a":1,"level":"INFO"}', b'{"a":1,"level":"ERROR"}', b'{"a":1}'])
    before = list(columns.rows)
    fields.process(columns, 0.0)
    assert [new is old for new, old in zip(columns.rows, before, strict=True)] == [True, False, True]
    untouched = decoded(fields, [b'{"a":1}'])
    rows = untouched.rows
    fields.process(untouched, 0.0)
    assert untouched.rows is rows


def test_operations_see_what_those_before_them_did() -> None:
    """Names, values and conditions."""
    fields = stage(
        {"rename": {"lvl": "level"}},
        {"lower": ["level"]},
        {"set": {"alarm": True}, "when": Condition({"level": "error"})},
        {"remove": ["level"], "when": Condition({"has": "alarm"})},
    )
    assert done(fields, {"lvl": "ERROR"}, {"lvl": "Info"}, {"n": 1}) == [{"alarm": True}, {"level": "info"}, {"n": 1}]


def test_a_text_is_made_of_fields_where_all_of_them_are_there() -> None:
    """Numbers and booleans as JSON has them; objects have no text, and braces are doubled."""
    fields = stage({"set": {"to": "{{{a.b}}}/{n} 100%"}})
    records_ = [
        {"a": {"b": "x"}, "n": 1.5},
        {"a.b": '\u00fc"', "n": True},
        {"n": 1},
        {"a": {"b": {}}, "n": 1},
        {"a": {"b": "y"}, "n": []},
    ]
    assert [record.get("to") for record in done(fields, *records_)] == ["{x}/1.5 100%", '{\u00fc"}/true 100%', None, None, None]
    assert done(stage({"set": {"a": "50% {{}}"}}), {}) == [{"a": "50% {}"}]


def test_what_cannot_be_converted_stays_and_is_named() -> None:
    """By field, several of them in one record."""
    fields = stage({"convert": {"status": "integer", "ok": "boolean"}}, {"convert": {"took": "number"}})
    columns = decoded(fields, [b'{"status":"200","ok":"yes","took":"1.5"}', b'{"status":"2xx","ok":"maybe","took":"0"}'])
    fields.process(columns, 0.0)
    assert records_of(columns) == [{"status": 200, "ok": True, "took": 1.5}, {"status": "2xx", "ok": "maybe", "took": 0}]
    assert columns.flags == {1: ("unconverted:status", "unconverted:ok")}


def test_what_is_over_the_caps_is_in_the_document_as_a_text() -> None:
    """By path, as a flag that the account counts."""
    fields = stage({"max_depth": 2, "max_members": 3})
    columns = decoded(fields, [b'{"a":{"b":{"c":1}},"d":2}', b'{"a":1,"b":2,"c":3,"e":4,"f":{"g":5}}', b'{"a":{"b":1}}'])
    fields.process(columns, 0.0)
    assert records_of(columns) == [{"d": 2}, {"a": 1, "b": 2, "c": 3}, {"a": {"b": 1}}]
    assert columns.flags == {0: ('overflow:{"a":{"b":{"c":1}}}',), 1: ('overflow:{"e":4,"f":{"g":5}}',)}


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 5000])
def test_a_number_beyond_all_types_is_moved_but_not_written_anew(number: bytes) -> None:
    """Its bytes go to another name; a copy would say something else, so there is none."""
    row = b'{"a":%b,"s":"x"}' % number
    moved = stage({"rename": {"a": "n"}})
    columns = decoded(moved, [row])
    moved.process(columns, 0.0)
    assert columns.rows == [b'{"n":%b,"s":"x"' % number]
    copied = stage({"copy": {"a": "n"}}, {"convert": {"a": "string"}}, {"set": {"s": "{a}"}})
    columns = decoded(copied, [row])
    copied.process(columns, 0.0)
    assert columns.rows[0].startswith(b'{"a":%b,' % number)
    assert b'"n":' not in columns.rows[0]


DEEP = b'{"a":' + b'{"x":' * 5000 + b"1" + b"}" * 5001


@pytest.mark.parametrize(
    "operation",
    [{"remove": ["a"]}, {"set": {"a": 1}}, {"flatten": ["*"]}, {"max_depth": 2}, {"dedot": "_"}],
)
def test_a_record_nested_without_end_stays_as_it_is_and_says_so(operation: dict[str, Any]) -> None:
    """Its neighbours are changed all the same."""
    fields = stage(operation)
    columns = decoded(fields, [b'{"a":{"x":{"b.c":1}}}', b'{"a":1}'])
    whole = list(columns.rows)
    columns.rows[1] = DEEP[:-1]  # the decoder takes such a record for text: only another stage could have written it
    columns.fields["a"] = [columns.fields["a"][0], {"x": {}}]
    if "dedot" in operation:
        columns.rows[1] = DEEP[:-1].replace(b"x", b"x.y")
    before = columns.rows[1]
    columns.asked = frozenset()
    fields.process(columns, 0.0)
    assert columns.rows[1] == before
    assert columns.rows[0] != whole[0]
    assert columns.flags[1] == ("fields_skipped",)


def test_a_null_that_redaction_wrote_is_found_though_the_guards_did_not_see_it() -> None:
    """A masked number is null: what is set replaces it, and no name stands there twice."""
    fields = stage({"set": {"n": 1}})
    columns = decoded(fields, [b'{"n":null,"a":1}', b'{"a":1}'], changed=[0])
    assert not {"null:n", "escapes"} & set(columns.marks or ())
    fields.process(columns, 0.0)
    assert records_of(columns) == [{"n": 1, "a": 1}, {"a": 1, "n": 1}]


def test_columns_that_are_not_of_the_record_stay() -> None:
    """What the place of a file tells is no member, so that it can neither be moved nor taken out."""
    fields = stage({"remove": ["a"]}, {"rename": {"level": "n"}}, {"flatten": ["*"]})
    columns = decoded(fields, [b'{"service":{"name":"x"}}'])
    columns.fields.update({"a": ["told"], "level": ["told"]})
    columns.beside = {"a", "level"}
    fields.process(columns, 0.0)
    assert records_of(columns) == [{"service.name": "x"}]
    assert (columns.column("a"), columns.column("level"), columns.column("n")) == (["told"], ["told"], [None])


def test_columns_are_put_back_when_a_step_fails() -> None:
    """A bug must not leave columns that rows do not agree with."""
    fields = stage({"set": {"a": 1}}, {"set": {"n": 1}})
    columns = decoded(fields, [b'{"a":5}'])

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    fields._plans[1][1][:] = [fail]
    with pytest.raises(ZeroDivisionError):
        fields.process(columns, 0.0)
    assert (columns.rows, columns.column("a")) == ([b'{"a":5'], [5])


@pytest.mark.parametrize(
    ("operations_", "where", "says"),
    [
        ([], "operations", "no operation"),
        ([{}], "operations.0", "says nothing"),
        ([{"when": Condition({"has": "a"})}], "operations.0", "says nothing"),
        ([{"remove": ["a"], "lower": ["b"]}], "operations.0", "remove and lower together"),
        ([{"remove": ["a"]}, {"set": {"a": None}}], "operations.1.set.a", "remove"),
        ([{"set": {"a": float("inf")}}], "operations.0.set.a", "JSON does not have"),
        ([{"set": {"a": "{b"}}], "operations.0.set.a", "stands alone"),
        ([{"set": {"host.name": "x"}}], "operations.0.set.host.name", "every document"),
        ([{"set": {"shipper": "x"}}], "operations.0.set.shipper", "every document"),
        ([{"rename": {"a": "log"}}], "operations.0.rename.a", "every document"),
        ([{"rename": {"a": "a"}}], "operations.0.rename.a", "the same"),
        ([{"rename": {"@timestamp": "a"}}], "operations.0.rename.@timestamp", "time of a record"),
        ([{"copy": {"a": "@timestamp"}}], "operations.0.copy.a", "time of a record"),
        ([{"remove": ["a..b"]}], "operations.0.remove.0", "no name"),
        ([{"dedot": "."}], "operations.0.dedot", "dots"),
        ([{"max_depth": 0}], "operations.0.max_depth", "1 or more"),
        ([{"max_depth": 3, "max_members": 0}], "operations.0.max_members", "1 or more"),
    ],
)
def test_fields_are_refused_when_an_operation_cannot_be_done(operations_: list[dict[str, Any]], where: str, says: str) -> None:
    """At the setting that is wrong."""
    with pytest.raises(ComponentError) as caught:
        stage(*operations_)
    assert says in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.field == where


STAMP = "2026-02-05T14:30:45.123Z"


def test_documents_have_the_changed_members_and_routes_see_them(site: Site) -> None:
    """Through the whole agent, redaction before it: no name twice, what collides with ours merged by value."""
    site.write(
        [
            {"ts": STAMP, "lvl": "ERROR", "service": "api", "password": "hunter22xyz", "client_ip": "81.2.69.142"},
            {"ts": STAMP, "lvl": "info", "service": "web", "clt": {"os": "x"}, "environment": None},
        ]
    )
    site.configure(
        timestamp=["ts"],
        stages=[
            {
                "fields": [
                    {"rename": {"lvl": "log.level", "service": "service.name", "clt": "client"}},
                    {"lower": ["log.level"]},
                    {"set": {"environment": "test"}},
                    {"remove": ["ts"]},
                ]
            },
            {"geoip": {"field": "client_ip", "databases": ["GeoLite2-City-Test.mmdb"]}},
        ],
        route=[
            {"when": {"log.level": "error"}, "index": "errors-{service.name}", "window": "none"},
            {"index": "app", "window": "none"},
        ],
    )
    told = site.once()
    check_whole(told, 2)
    assert {index for index, _, _ in site.documents()} == {"errors-api-2026.02.05", "app-2026.02.05"}
    first, second = site.bodies()
    assert (first["log.level"], first["service.name"], first["environment"]) == ("error", "api", "test")
    assert (second["environment"], second["client"]) == ("test", {"os": "x"})
    assert first["client"]["geo"]["city_name"] == "London"
    assert "hunter22xyz" not in json.dumps(first)
    assert "ts" not in first


def test_fields_that_only_documents_have_cannot_be_changed(site: Site) -> None:
    """It is said where, and what to do."""
    site.configure(stages=[{"metadata": {"static": {"team": "x"}}}, {"fields": [{"rename": {"team": "group"}}]}])
    told = site.once()
    assert told.code == 78
    assert "`team` is added by metadata" in told.err
    assert "put it before metadata" in told.err
