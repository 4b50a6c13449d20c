"""Loading: what a pipeline becomes, and how each mistake in one is said."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.pipeline import WINDOW, Window
from shipper.model.errors import ComponentError, ConfigError
from tests.config import fakes
from tests.config.mistakes import MINIMAL, WRONG, output, stage


def refusal(text: str, env: dict[str, str] | None = None) -> str:
    """The text of the error a pipeline is refused with, without its last line."""
    with pytest.raises(ConfigError) as caught:
        fakes.load(text, "p.yaml", env)
    return str(caught.value).rpartition("\n")[0]


def test_load_reads_a_whole_pipeline_in_the_order_of_the_file() -> None:
    """Sources with frame and decoder, redaction, stages, routes, output and tests are typed and in order."""
    found = fakes.load(fakes.VALID, env={"LOGS": "/data"})
    first, second = found.sources
    assert ("shadower", "/etc/shipper/p.yaml", "origin", 1 << 20) == (found.name, found.path, found.id, found.max_record)
    assert ["/var/log/app/*.log", "/etc/shipper/other/*.log"] == first.component.config.include
    assert (["*.gz"], 7 * 86400) == (first.component.config.exclude, first.component.config.ignore_older)
    assert ("multiline", "python", fakes.Json) == (first.frame.type, first.frame.config.preset, first.decode.factory)
    assert (["/data/**/*.log"], True) == (second.component.config.include, second.decode.config.strict)
    assert ("lines", fakes.Lines, fakes.Lines.Config()) == (second.frame.type, second.frame.factory, second.frame.config)
    assert "hunter2-hash" == found.redact.config.hash_key
    throttle, demanding = found.stages
    assert (100.0, 500, ("level",)) == (throttle.config.rate, throttle.config.burst, throttle.config.when.reads)
    assert [fakes.Limits(soft=1, hard=2), fakes.Limits(soft=3)] == demanding.config.limits
    assert ["app-{service}", "app"] == [route.index for route in found.routes]
    assert [None, Window(30 * 86400.0, 3600.0)] == [route.window for route in found.routes]
    assert ("app-", ("service",)) == (found.routes[0].index.prefix, found.routes[0].index.fields)
    assert (["http://localhost:9200"], "hunter2-login") == (found.output.config.hosts, found.output.config.password)
    assert found.output_given


def test_a_source_may_have_ids_of_its_own_kind() -> None:
    """Beside the pipeline's; a wrong word is told like one at the top."""
    text = "name: app\nid: content\nsources:\n  - {type: file, include: [/a]}\n  - {type: file, include: [/b], id: origin}\n"
    assert [source.id for source in fakes.load(text).sources] == [None, "origin"]
    assert "p.yaml:5:37: id: expected one of origin, content, got 'orign'" in refusal(text.replace("id: origin", "id: orign"))


def test_load_takes_records_of_tests_as_written() -> None:
    """Dollars in `given`, `raw` and `fields` are no variables; a test's name and index are interpolated like all else."""
    text = fakes.VALID.replace('name: "a price of $5 is a text"', "name: ${NAME}").replace(
        "index: app-2026", "index: ${APP}-2026"
    )
    first, second = fakes.load(text, env={"NAME": "a price", "APP": "x"}).tests
    assert ("a price", ['{"message": "${UNSET} costs $$ 5"}']) == (first.name, first.given)
    assert ("x-2026.02.05", {"message": "${UNSET} costs $$ 5"}) == (first.expect[0].index, first.expect[0].fields)
    assert (["x"], 1, "throttled") == (second.raw, second.source, second.expect[0].dropped)


def test_load_fills_in_defaults_when_only_sources_are_named() -> None:
    """Lines of JSON, all packs, one route named like the pipeline, and the embedded output beside the file."""
    found = fakes.load(MINIMAL)
    assert ("lines", "json") == (found.sources[0].frame.type, found.sources[0].decode.type)
    assert ([], [], ["secrets", "pii"]) == (found.stages, found.tests, found.redact.config.packs)
    assert [("app", None, WINDOW)] == [(route.index, route.when, route.window) for route in found.routes]
    assert ("local", "/etc/shipper/out", False) == (found.output.type, found.output.config.directory, found.output_given)
    assert found.timestamp.fields == ["timestamp", "@timestamp", "time", "ts"]
    assert found.timestamp.is_plain


@pytest.mark.parametrize(
    ("written", "fields", "layouts", "zone"),
    [
        ("[at]", ["at"], [], "UTC"),
        ("{fields: [at]}", ["at"], [], "UTC"),
        ("{layouts: unix_ms}", ["timestamp", "@timestamp", "time", "ts"], ["unix_ms"], "UTC"),
        (
            "{fields: [at], layouts: ['%F %T', iso8601], zone: Europe/Berlin, fold: first}",
            ["at"],
            ["%F %T", "iso8601"],
            "Europe/Berlin",
        ),
    ],
)
def test_times_are_fields_alone_or_with_layouts_and_zone(written: str, fields: list[str], layouts: list[str], zone: str) -> None:
    """A list stands for the fields."""
    found = fakes.load(f"{MINIMAL}timestamp: {written}\n").timestamp
    assert (fields, layouts, zone) == (found.fields, found.layouts, found.zone)
    assert found.is_plain == (not layouts)


@pytest.mark.parametrize(
    ("written", "preset", "lines_max"),
    [
        ("{multiline: python}", "python", 100),
        ("{multiline: {preset: java}}", "java", 100),
        ("{multiline: {preset: java, lines_max: 5}}", "java", 5),
        ("{type: multiline, preset: java, lines_max: 5}", "java", 5),
        ('{"multiline": "python"}', "python", 100),
        ("{multiline: '${KIND}'}", "java", 100),
        ("{multiline: {preset: java, lines_max: '${MAX}'}}", "java", 7),
    ],
)
def test_a_component_may_be_written_in_several_ways(written, preset, lines_max) -> None:
    """A name with one value, with a mapping, and with `type`, mean the same."""
    text = MINIMAL.replace("[/a]", f"[/a], frame: {written}")
    config = fakes.load(text, env={"KIND": "java", "MAX": "7"}).sources[0].frame.config
    assert (preset, lines_max) == (config.preset, config.lines_max)


@pytest.mark.parametrize("written", ["console", "{console: {}}", "{console: }", "{type: console}", "${OUT}"])
def test_a_component_without_settings_may_be_its_name_alone(written) -> None:
    """So an output may be one word, also from the environment."""
    assert "console" == fakes.load(f"{MINIMAL}output: {written}\n", env={"OUT": "console"}).output.type


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_said_with_place_caret_and_hint(case) -> None:
    """The whole text of the refusal, word for word."""
    text, expected = WRONG[case]
    assert expected == refusal(text)


def test_all_mistakes_are_said_at_once_in_the_order_of_the_file() -> None:
    """Every case that is no broken YAML, put into one file by section, is told in one refusal."""
    text = """\
nam: app
sources:
  - {type: fiel}
  - {type: file, inclde: [/a], start: begin}
redact: {packs: secrets, hash_kee: x}
stages:
  - throttle: {rate: fast, burst: much}
  - thorttle: {rate: 1/s}
route: {index: app}
output: {type: elasticsearch, hosts: [1], timeout: soon, verify: "true"}
tests: [{given: [x], expect: none}]
"""
    with pytest.raises(ConfigError) as caught:
        fakes.load(text, "p.yaml")
    lines = [fault.place.line for fault in caught.value.faults]
    assert [1, 1, 3, 4, 4, 4, 5, 5, 7, 7, 8, 9, 10, 10, 10, 11, 11] == lines
    assert str(caught.value).endswith("\n17 mistakes in p.yaml")


def test_a_fault_in_an_alias_is_said_once() -> None:
    """What is wrong in an anchored value is wrong there, however often it is used."""
    text = MINIMAL.replace("[/a]}", "&files [1]}\n  - {type: file, include: *files}")
    assert 1 == refusal(text).count("expected a text") + refusal(text).count("expected a path")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("case", ["mistakes in nested settings", "routes", "an unknown setting"])
def test_places_are_right_with_any_line_end_and_a_byte_order_mark(case, bom, end) -> None:
    """The same refusal, character by character."""
    text, expected = WRONG[case]
    assert expected == refusal(bom + text.replace("\n", end))


def test_places_count_characters_and_carets_count_columns() -> None:
    """Wide characters take two columns in the picture, one in the position; a tab is shown as one blank."""
    text = 'name: app\nsources:\n  - {type: file,\tinclude: ["漢字é", /a], start: 始め}\n'
    expected = """\
p.yaml:3:47: start: expected one of beginning, end, got '始め'
      - {type: file, include: ["漢字é", /a], start: 始め}
                                                    ^^^^"""
    assert expected == refusal(text)


def test_an_interpolated_number_may_come_where_a_number_is_wanted() -> None:
    """Wholly one variable: number, boolean or nothing as the setting wants; where a text is wanted it stays one."""
    text = output('hosts: ["${PORT}"], port: "${PORT}", verify: "${VERIFY:-false}", listen: "${NONE:-}", password: "${NONE:-}"')
    config = fakes.load(text, env={"PORT": "9201"}).output.config
    assert (["9201"], 9201, False) == (config.hosts, config.port, config.verify)
    assert (None, None) == (config.listen, config.password)


@pytest.mark.parametrize(
    "settings",
    [
        "hosts: '${SECRET}'",
        "hosts: [x], port: '${SECRET}'",
        "hosts: [x], port: '1${SECRET}'",
        "hosts: [x], timeout: '${SECRET}'",
        "hosts: [x], verify: '${SECRET}'",
        "hosts: [x], listen: '${SECRET}'",
        "hosts: [x], port: '${secret:password}'",
        "hosts: [x], timeout: '${secret:password}'",
        "hosts: [x], listen: '${secret:password}'",
    ],
)
def test_no_refusal_shows_an_interpolated_value(settings) -> None:
    """Wherever the value of a variable or a secret is wrong, the message shows what was written instead."""
    text = refusal(output(settings), {"SECRET": "hunter2-login"})
    assert "hunter2" not in text
    assert "${" in text


@pytest.mark.parametrize(
    "text",
    [
        stage("{target: '${secret:password}', labels: {soft: '${secret:password}'}}"),
        stage("{target: '${secret:password}'}"),
        stage("{mode: '${secret:password}', pair: '${secret:password}', limits: [{soft: '${secret:password}'}]}"),
        stage("{either: ['${secret:password}']}"),
        MINIMAL.replace("name: app", "name: x ${secret:password}"),
        MINIMAL + "stages:\n  - throttle: {rate: 1/s, when: {has: ['${secret:password}', 5]}}\n",
        MINIMAL + "stages:\n  - throttle: {rate: 1/s, when: '${secret:password}'}\n",
        MINIMAL + "route: [{index: 'a ${secret:password}', window: '${secret:password}'}]\n",
        MINIMAL + "output: '${secret:password}'\n",
        MINIMAL + "output: {type: '${secret:password}'}\n",
        MINIMAL + "tests: [{name: '${secret:password}', given: [], expect: []}]\n",
        MINIMAL.replace("file,", "file, frame: {multiline: '${secret:password}'}, start: '${secret:password}',"),
    ],
)
def test_no_refusal_shows_a_secret_anywhere_else(text) -> None:
    """The same in nested settings, conditions, routes, names of components and tests."""
    assert "hunter2" not in refusal(text)


def test_nothing_that_is_printed_of_a_pipeline_shows_its_secrets() -> None:
    """Neither the pipeline's `repr` nor that of a password does."""
    found = fakes.load(fakes.VALID)
    assert "hunter2" not in repr(found)
    assert "hunter2" not in repr(found.output.config)


def test_an_error_of_a_constructor_becomes_a_fault_at_the_setting_it_names() -> None:
    """By dotted path; where the path leads nowhere, as far as it leads; without one, at the component's name."""
    throttle, demanding = fakes.load(fakes.VALID).stages
    places = [
        demanding.fault(ComponentError("wrong", field)).place
        for field in ("limits.1.soft", "limits.1.hard.x", "limits.7", "target", "")
    ]
    assert [(19, 17), (19, 11), (17, 7), (16, 5), (16, 5)] == [(place.line, place.column) for place in places]
    fault = throttle.fault(ComponentError("too fast", "rate", "slow down"))
    assert "throttle: too fast" == fault.message
    assert (5, "slow down") == (fault.place.width, fault.hint)


def test_an_error_of_a_constructor_shows_no_interpolated_value() -> None:
    """What the constructor quotes of a secret is replaced by what was written."""
    found = fakes.load(fakes.VALID).output
    assert "elasticsearch: ${secret:password} is refused" == found.fault(ComponentError("hunter2-login is refused")).message
    assert "not ${secret:password}" == found.fault(ComponentError("refused", "password", "not hunter2-login")).hint


KEYS = st.sampled_from(["name", "type", "include", "when", "has", "x", "index", "multiline", "", "<<", "level", "é"])


@settings(deadline=None)
@given(data=st.data())
def test_a_mutated_pipeline_loads_or_is_refused_at_places_in_it(data) -> None:
    """Whatever characters are dropped, doubled, swapped or put in: a pipeline or a ConfigError, never another exception."""
    text = fakes.VALID
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 6))
        put = data.draw(st.text(alphabet="{}[]:,-'\"$!&*|>#\n\t 15aé\ufeff\x00", max_size=3))
        text = text[:at] + put + text[at + length :]
    _loads_or_is_refused(text)


@settings(deadline=None)
@given(
    line=st.integers(0, len(fakes.VALID.split("\n")) - 1),
    key=KEYS,
    how=st.sampled_from(["drop", "double", "indent", "dedent", "key"]),
)
def test_a_pipeline_with_a_changed_line_loads_or_is_refused_at_places_in_it(line, key, how) -> None:
    """The same for whole lines dropped, doubled or moved, and for renamed keys."""
    lines = fakes.VALID.split("\n")
    text = lines[line]
    head, colon, rest = text.partition(":")
    indent = head[: len(head) - len(head.lstrip("- "))]
    lines[line : line + 1] = {
        "drop": [],
        "double": [text, text],
        "indent": ["  " + text],
        "dedent": [text[2:]],
        "key": [indent + key + colon + rest],
    }[how]
    _loads_or_is_refused("\n".join(lines))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet="ab{}$:.-/ 5sé", max_size=8)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)


@settings(deadline=None)
@given(path=st.lists(st.integers(0, 5), min_size=1, max_size=4), value=VALUES)
def test_a_pipeline_with_another_value_somewhere_loads_or_is_refused_at_places_in_it(path, value) -> None:
    """Any value in the place of any other is taken or refused, whatever its type."""
    tree = yaml.safe_load(fakes.VALID)
    holder = tree
    for step in path[:-1]:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        child = holder[keys[step % len(keys)]]
        if not isinstance(child, (dict, list)) or not child:
            break
        holder = child
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    holder[keys[path[-1] % len(keys)]] = value
    _loads_or_is_refused(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def _loads_or_is_refused(text: str) -> None:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    try:
        fakes.load(text, "p.yaml")
    except ConfigError as error:
        for fault in error.faults:
            assert lines[fault.place.line - 1] == fault.place.text
            assert 1 <= fault.place.column <= len(fault.place.text) + 1
            assert fault.place.width >= 1
        assert max(map(len, str(error).split("\n"))) < 400
        assert "hunter2" not in str(error)


@pytest.mark.parametrize("wrong", [":::", "x", "[]", "{a: {b: [c]}}", "- x\n- y"])
def test_a_file_that_is_no_pipeline_is_refused(wrong) -> None:
    """Whatever else stands in it."""
    with pytest.raises(ConfigError):
        fakes.load(wrong)


def test_very_many_mistakes_are_refused_before_all_are_told() -> None:
    """A line of a hundred thousand wrong values ends the reading after a thousand faults, which share the line's text."""
    with pytest.raises(ConfigError) as caught:
        fakes.load(MINIMAL + "redact: {keys: [" + "1," * 90_000 + "]}\n")
    places = [fault.place for fault in caught.value.faults]
    assert 1000 == len(places)
    assert 1 == len({id(place.text) for place in places})
