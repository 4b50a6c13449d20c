"""A pipeline rehearsed: its `tests:` say what went otherwise, and `explain` shows every step and never a secret."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper import assembly, explanation, rehearsal
from shipper.config.pipeline import Pipeline
from tests.kit.records import NO_OBJECTS, ODD_OBJECTS
from tests.kit.site import ROOT, Site
from tests.redact.planting import leaks, planted_rows

RECORD = '{"timestamp":"2026-02-05T14:30:45Z","level":"ERROR","message":"a","ip":"81.2.69.142","n":1,"yes":true,"x.y":2,"x":{"z":null}}'
CITY = str(ROOT / "shipper/data/geoip/GeoLite2-City-Test.mmdb")


def pipeline_of(site: Site, **sections: Any) -> Pipeline:
    """A pipeline with enrichment, throttle and two routes."""
    plain: dict[str, Any] = {
        "stages": [
            {"geoip": {"field": "ip", "target": "client", "databases": [CITY]}},
            {"throttle": {"when": {"level": "ERROR"}, "key": ["level"], "rate": "1/s", "burst": 1}},
        ],
        "route": [{"when": {"level": "ERROR"}, "index": "app-errors"}, {"index": "app"}],
    }
    return assembly.read_pipeline(str(site.configure(**{**plain, **sections})), os.environ)


def problems(site: Site, given: list[str], expect: list[Any], **test: Any) -> list[str]:
    """What a test with these records and expectations complains about."""
    source = {"raw": given} if test.pop("raw", False) else {"given": given}
    pipeline = pipeline_of(site, tests=[{"name": "t", "expect": expect, **source, **test}])
    [result] = rehearsal.run_tests(pipeline, os.environ)
    assert result.ok is (not result.problems) and result.name == "t"
    return result.problems


# --- Tests of a pipeline


def test_test_passes_when_index_and_fields_are_as_expected(site: Site) -> None:
    """Dotted names reach into objects, or are names spelt so; fields that are not named are not looked at."""
    fields = {"n": 1, "yes": True, "x.y": 2, "x.z": None, "client.geo.city_name": "London", "@timestamp": "2026-02-05T14:30:45Z"}
    assert problems(site, [RECORD], [{"index": "app-errors-2026.02.05", "fields": fields}]) == []


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ({"index": "app-2026.02.05"}, "expected index app-2026.02.05, got app-errors-2026.02.05"),
        ({"fields": {"n": 2}}, "expected n to be 2, got 1"),
        ({"fields": {"n": True}}, "expected n to be true, got 1"),
        ({"fields": {"yes": 1}}, "expected yes to be 1, got true"),
        ({"fields": {"gone": None}}, "expected gone to be null, got nothing"),
        ({"fields": {"x.z.deeper": 1}}, "expected x.z.deeper to be 1, got nothing"),
        ({"dropped": "throttled"}, "expected dropped: throttled, got a document in app-errors-2026.02.05"),
    ],
)
def test_test_says_what_was_expected_and_what_came(site: Site, expected: dict[str, Any], says: str) -> None:
    """One sentence for each difference; true is not 1, and null is not absent."""
    assert problems(site, [RECORD], [expected]) == [says]


def test_test_tells_records_apart_and_counts_them(site: Site) -> None:
    """With several records each problem says which; a record too many or too few is told with where they went."""
    info = RECORD.replace("ERROR", "INFO")
    found = problems(site, [RECORD, info, info], [{"index": "x"}, {"index": "app-2026.02.05"}, {"fields": {"n": 5}}])
    assert found == ["record 1: expected index x, got app-errors-2026.02.05", "record 3: expected n to be 5, got 1"]
    assert problems(site, [RECORD, info], [{"index": "x"}]) == [
        "expected 1 records, got 2: app-errors-2026.02.05, app-2026.02.05"
    ]


def test_test_sees_what_is_dropped_and_why(site: Site) -> None:
    """A throttle counts by the events' own time: the third record of a second is held back, one of the next second is not."""
    later = RECORD.replace(":45Z", ":55Z")
    expect = [{"index": "app-errors-2026.02.05"}] * 2 + [{"dropped": "throttled"}, {"index": "app-errors-2026.02.05"}]
    assert problems(site, [RECORD, RECORD, RECORD, later], expect) == []
    assert problems(site, [RECORD] * 3, [{"index": "app-errors-2026.02.05"}] * 3) == [
        "record 3: expected a document, got dropped: throttled"
    ]


def test_windows_are_off_so_that_a_test_is_the_same_in_years(site: Site) -> None:
    """The record's own time counts, however old; one without a time has a fixed one."""
    old = RECORD.replace("2026-", "1999-")
    assert problems(site, [old], [{"index": "app-errors-1999.02.05"}]) == []
    assert problems(site, ["plain text"], [{"index": "app-2026.02.05", "fields": {"message": "plain text"}}]) == []


def test_raw_bytes_go_through_the_frame_of_their_source(site: Site) -> None:
    """Parts of a container's record are joined, blank lines are none; `given` stands for framed records, line ends and all."""
    docker = [json.dumps({"log": part, "stream": "stdout", "time": "2026-02-05T14:30:45.5Z"}) for part in ('{"a":', "1}\n")]
    sources = [{"type": "file", "include": ["/a"]}, {"type": "file", "include": ["/b"], "frame": "docker"}]
    tests = [
        {"name": "joined", "raw": docker, "source": 1, "expect": [{"fields": {"a": 1, "stream": "stdout"}}]},
        {"name": "blank", "raw": ["\n", "\n"], "expect": []},
        {"name": "one record of two lines", "given": ["a\nb"], "expect": [{"fields": {"message": "a\nb"}}]},
    ]
    found = rehearsal.run_tests(pipeline_of(site, sources=sources, tests=tests), os.environ)
    assert [(result.name, result.problems) for result in found] == [(str(test["name"]), []) for test in tests]


def test_path_of_a_file_tells_what_it_tells_a_run(site: Site) -> None:
    """Pod and container, for documents, conditions and index names; a secret in it is masked, and none tells nothing."""
    routes = [{"when": {"kubernetes.namespace": "kube-system"}, "index": "system"}, {"index": "pods-{kubernetes.namespace}"}]
    sections = {"sources": [{"type": "kubernetes"}], "stages": [], "route": routes}
    path = "/var/log/pods/{}_web-1_4f2a/web/7.log"
    cases = [
        (
            "shop",
            {"index": "pods-shop-2026.02.05", "fields": {"kubernetes.pod.name": "web-1", "kubernetes.container.restart": 7}},
        ),
        ("kube-system", {"index": "system-2026.02.05", "fields": {"log.file.path": path.format("kube-system")}}),
    ]
    for namespace, expected in cases:
        pipeline = pipeline_of(
            site,
            **sections,
            tests=[{"name": "t", "path": path.format(namespace), "given": [RECORD], "expect": [expected]}],
        )
        assert rehearsal.run_tests(pipeline, os.environ)[0].problems == []
    secret = {"fields": {"log.file.path": "/var/log/[REDACTED:email]"}}
    assert problems(site, [RECORD], [secret], path="/var/log/anna@example.com.log") == []
    assert problems(site, [RECORD], [{"fields": {"log.file.path": "/rehearsal.log"}}]) == []


def test_a_pipeline_says_how_its_times_are_written_and_in_which_zone(site: Site) -> None:
    """Layouts are tried in order; what its docker tells is ISO 8601 with a zone, and is read all the same."""
    times = {"fields": ["at"], "layouts": ["%d.%m.%Y %H:%M:%S", "unix_ms"], "zone": "Europe/Berlin"}
    logs = ['{"at":"05.02.2026 15:30:45"}', '{"at":1770301845123}', "text", '{"at":"25.10.2026 02:30:00"}']
    raw = [json.dumps({"log": log + "\n", "stream": "stdout", "time": "2026-02-05T15:30:45.5+01:00"}) for log in logs]
    stamps = ["2026-02-05T14:30:45.000Z", "2026-02-05T14:30:45.123Z", "2026-02-05T14:30:45.500Z", "2026-10-25T00:30:00.000Z"]
    expect: list[dict[str, Any]] = [{"fields": {"@timestamp": stamp}} for stamp in stamps]
    expect[3]["fields"]["shipper.flags"] = ["timestamp_ambiguous"]
    sources = [{"type": "file", "include": ["/b"], "frame": "docker"}]
    tests = [{"name": "times", "raw": raw, "expect": expect}]
    [found] = rehearsal.run_tests(pipeline_of(site, sources=sources, tests=tests, timestamp=times), os.environ)
    assert found.problems == []


def test_documents_have_ecs_names_while_conditions_see_those_of_the_record(site: Site) -> None:
    """Routes, stages, an index made of a field; the time that was read is told once."""
    given = RECORD.replace('"n":1', '"service":"api","duration_ms":1.5')
    fields = {
        "log.level": "ERROR", "service.name": "api", "event.duration": 1_500_000, "message": "a", "client.geo.city_name": "London",
        "@timestamp": "2026-02-05T14:30:45Z",
    }  # fmt: skip
    test = {"name": "t", "given": [given], "expect": [{"index": "app-errors-api-2026.02.05", "fields": fields}]}
    route = [{"when": {"level": "error"}, "index": "app-errors-{service}"}, {"index": "app"}]
    pipeline = pipeline_of(site, tests=[test], ecs="on", route=route)
    assert [result.problems for result in rehearsal.run_tests(pipeline, os.environ)] == [[]]
    told = explanation.explain(pipeline, given.encode(), 0, os.environ)
    assert '"timestamp"' not in told.partition("  ecs ")[2]
    assert re.search(r'^  ecs +now \{"log.level":"ERROR"', told, re.MULTILINE)
    summary = rehearsal.make(pipeline, os.environ).renamed(b'{"message":"throttled 5 records","service":"api"}')
    assert json.loads(summary) == {"message": "throttled 5 records", "service.name": "api"}


def test_each_test_begins_with_nothing_seen_before(site: Site) -> None:
    """What a throttle counted in one test does not reach the next."""
    test = {"name": "t", "given": [RECORD] * 2, "expect": [{"index": "app-errors-2026.02.05"}] * 2}
    assert [result.ok for result in rehearsal.run_tests(pipeline_of(site, tests=[test] * 3), os.environ)] == [True] * 3


# --- Explain


def explained(site: Site, data: bytes, **sections: Any) -> str:
    """What `explain` says of these bytes."""
    return explanation.explain(pipeline_of(site, **sections), data, 0, os.environ)


def test_explain_shows_every_step_of_a_record(site: Site) -> None:
    """Where it stood, what redaction left of it, how it was read and dated, what each stage added, where it goes and why."""
    page = explained(site, RECORD.replace('"a"', '"card 4111 1111 1111 1111"').encode() + b"\n")
    steps = {line.split()[0]: line for line in page.splitlines() if line.startswith("  ")}
    assert list(steps) == ["frame", "redact", "decode", "date", "geoip", "throttle", "route", "document"]
    assert steps["frame"] == f"  frame      bytes 0 to {len(RECORD) + len('card 4111 1111 1111 1111')} of the input"
    assert "[REDACTED:card]" in steps["redact"] and steps["decode"].startswith('  decode     json: {"')
    assert "London" in steps["geoip"] and "nothing to do" in steps["throttle"]
    assert "app-errors-2026.02.05" in steps["route"] and "route 1: when" in steps["route"]
    assert json.loads(steps["document"].split(None, 1)[1])["client"]["geo"]["city_name"] == "London"
    assert page.splitlines()[-1] == "masked before anything else saw it: card x1"


def test_explain_says_why_a_record_is_text_or_dropped(site: Site) -> None:
    """No JSON, no time, held back: in words."""
    page = explained(site, b"plain text\n" + (RECORD + "\n").encode() * 3)
    assert "decode     not of the format json: invalid character (byte 0)" in page
    assert "date       2026-02-05T12:00:00Z  [timestamp_missing]" in page
    assert "dropped    throttled, and told of in a summary" in page
    assert "record 4 of 4" in page and "nothing to mask" in page


@pytest.mark.parametrize(("data", "says"), [(b"", "no record in it: 1 bytes blank"), (b"\n\0\0\n", "no record in it: ")])
def test_explain_says_so_when_no_record_is_in_it(site: Site, data: bytes, says: str) -> None:
    """Blank lines and NUL bytes."""
    assert explained(site, data).startswith(says)


def test_explain_fits_80_columns_where_it_is_not_data(site: Site) -> None:
    """Lines that show data are as long as the data; all others fit a terminal."""
    page = explained(site, RECORD.encode() + b"\nplain\n")
    assert max(len(line) for line in page.splitlines() if "{" not in line and "[" not in line) <= 80


@pytest.mark.parametrize(
    "row",
    [*NO_OBJECTS, *ODD_OBJECTS, b'{"shipper":{"parse_error":5,"flags":"x","timestamp":[]}}', b'{"a":"\xc2\x9b2J\xe2\x80\xae"}'],
)
def test_explain_takes_any_record_and_moves_no_cursor(site: Site, row: bytes) -> None:
    """Numbers beyond a double, our own names with other types, control characters: explained, and harmless in a terminal."""
    page = explained(site, row + b"\n")
    assert "record 1 of 1" in page or "no record in it" in page
    assert not any(0x7F <= ord(character) < 0xA0 or character in "\u2028\u2029\u202e\x1b" for character in page)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(data=st.data())
def test_explain_never_shows_a_secret(site: Site, data: st.DataObject) -> None:
    """Law: of secrets planted anywhere in rows, no piece stands in what is shown."""
    redact = {
        "packs": ["secrets", "pii"],
        "keys": ["password", "api_key", "user.token", "set-cookie", "client-secret", "authorization"],
    }
    row, cores = data.draw(planted_rows())
    page = explained(site, row + b"\n", redact=redact, stages=[], route=[{"index": "idx"}])
    # Names of rules are no secrets, and the last line tells them: `tailscale-auth-key x1`.
    rules = re.sub(r"[a-z0-9-]+ x\d+", "", page)
    assert leaks(rules.encode(), cores) == []
