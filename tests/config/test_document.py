"""The document: nodes with positions, and everything YAML that is refused."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shipper.config import document, nodes
from shipper.model.errors import ConfigError


def parsed(text: str):
    """The document's data, faults raised."""
    found = document.parse(text, "p.yaml")
    assert [] == found.faults
    return nodes.plain(found.root)


def refusal(text: str) -> list[str]:
    """The faults of a text, as `line:column: message`."""
    try:
        faults = document.parse(text, "p.yaml").faults
    except ConfigError as error:
        faults = error.faults
    return [f"{fault.place.line}:{fault.place.column}: {fault.message}" for fault in faults]


PRINTABLE = st.characters(categories=["L", "N", "P", "S", "Zs"])
KEYS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(PRINTABLE, max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


def _block(value, indent: int = 0) -> str:
    """A tree in block style, its scalars as JSON writes them."""
    if isinstance(value, dict) and value:
        return "".join(f"\n{' ' * indent}{json.dumps(k, ensure_ascii=False)}: {_block(v, indent + 2)}" for k, v in value.items())
    if isinstance(value, list) and value:
        return "".join(f"\n{' ' * indent}- {_block(item, indent + 2)}" for item in value)
    return json.dumps(value, ensure_ascii=False)


@given(tree=st.dictionaries(KEYS, TREES, max_size=5), style=st.sampled_from(["flow", "lines", "block"]))
def test_a_document_says_what_was_written(tree, style) -> None:
    """For all trees, whether in flow style, in flow style over several lines, or in blocks: what was written is read."""
    flow = json.dumps(tree, ensure_ascii=False, indent=2 if style == "lines" else None)
    assert tree == parsed(_block(tree) if style == "block" else flow)


@given(tree=st.dictionaries(KEYS, TREES, max_size=5), bom=st.booleans(), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_place_points_at_its_value_whatever_the_line_ends(tree, bom, end) -> None:
    """For every single-line scalar: the line cut at column and width is what stands there in the text."""
    text = yaml.safe_dump(tree, allow_unicode=True, width=10**6).replace("\n", end)
    found = document.parse("\ufeff" * bom + text, "p.yaml")
    for word in _words(found.root):
        place = found.place(word)
        line = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[place.line - 1]
        assert line == place.text
        written = line[place.column - 1 : place.column - 1 + place.width]
        assert yaml.load(written, yaml.BaseLoader) == word.text or word.stop - word.start > place.width or word.text == ""


def _words(node):
    if isinstance(node, nodes.Word):
        yield node
    elif isinstance(node, nodes.Items):
        for item in node.items:
            yield from _words(item)
    else:
        for key, value in node.entries.values():
            yield key
            yield from _words(value)


@given(text=st.text(alphabet="ab:{}[],-&*!|>'\"%@` \n\t#?~$\x85\u2028\ufeff\x00\ud800é漢", max_size=60))
def test_any_text_is_read_or_refused_at_a_place_in_it(text) -> None:
    """No text raises anything but ConfigError, and its places lie within the text."""
    try:
        faults = document.parse(text, "p.yaml").faults
    except ConfigError as error:
        faults = error.faults
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for fault in faults:
        assert lines[fault.place.line - 1] == fault.place.text
        assert 1 <= fault.place.column <= len(fault.place.text) + 1


@given(text=st.text(alphabet="ab:{}[],- \n'\"&*é", max_size=40))
def test_both_parsers_of_pyyaml_build_the_same(text) -> None:
    """The parser without libyaml refuses the same texts and finds the same data."""
    outcomes = []
    for missing in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if missing:
                patch.delattr(yaml, "CSafeLoader")
            try:
                found = document.parse(text, "p.yaml")
                outcomes.append((nodes.plain(found.root), len(found.faults)))
            except ConfigError:
                outcomes.append("refused")
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *[(word, word) for word in ("yes", "no", "on", "off", "y", "n", "Yes", "NO", "On", "1:30", "12:30:45", "=")],
        *[(word, word) for word in ("2026-02-05", "2026-02-05T14:30:45Z", "1_000", "0b1", "9" * 41, "1e", ".", "+", "-.")],
        *[("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None), ("", None)],
        *[("010", 10), ("0o10", 8), ("0xff", 255), ("-3", -3), ("+3", 3), ("1.", 1.0), (".5", 0.5), ("-1.5e3", -1500.0)],
        *[(".inf", float("inf")), ("-.INF", float("-inf")), ("'true'", "true"), ('"5"', "5"), ("!!str 5", "5"), ("! 5", "5")],
    ],
)
def test_a_plain_word_means_what_yaml_1_2_says(written, value) -> None:
    """Only true, false, null and numbers are anything but text (core schema)."""
    found = parsed(f"a: {written}\n")["a"]
    assert (value, type(value)) == (found, type(found))


def test_nan_is_a_number() -> None:
    """`.nan` is read as not a number."""
    assert parsed("a: .nan")["a"] != parsed("a: .nan")["a"]


def test_anchors_and_aliases_stand_for_their_value() -> None:
    """An alias is the value of its anchor, at the anchor's place."""
    found = document.parse("a: &x [1, 2]\nb: *x\nc: &y d\ne: *y\n", "p.yaml")
    assert {"a": [1, 2], "b": [1, 2], "c": "d", "e": "d"} == nodes.plain(found.root)
    assert 1 == found.place(found.root.entries["b"][1]).line


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["1:1: the file says nothing"]),
        ("# only a comment\n", ["1:1: the file says nothing"]),
        ("- a\n", ["1:1: expected `key: value` lines at the top of the file"]),
        ("a", ["1:1: expected `key: value` lines at the top of the file"]),
        ("a: b\n---\nc: d\n", ["2:1: a second document begins here"]),
        ("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", ["4:3: `c` is here twice", "5:1: `a` is here twice"]),
        ("a: 1\n'a': 2\n", ["2:1: `a` is here twice"]),
        ("a: b: c\n", ["1:5: a second `:` in one value"]),
        ("a: 'x\nb: c\n", ["1:4: this quote is never closed"]),
        ("a:\n\tb: c\n", ["2:1: a tab cannot indent YAML"]),
        ("a: b\n\tc: d\n", ["2:1: a tab cannot indent YAML"]),
        ("a: @x\n", ["1:4: a value cannot begin with @"]),
        ("a: [*.log]\n", ["1:6: expected a name after * or &"]),
        ("a: {b: x-{c}}\n", ["1:10: expected , or }"]),
        ("a: [${X}]\n", ["1:6: expected , or ]"]),
        ("a:\n  - b\n  c: d\n", ["3:3: expected - for the next item of the list"]),
        ('a: "\\d"\n', ["1:5: unknown escape in double quotes"]),
        ("a: *nowhere\n", ["1:4: there is no anchor &nowhere"]),
        ("a: &x [*x]\n", ["1:8: *x stands inside of what it names"]),
        ("a: !!python/object:os.system x\n", ["1:4: the tag !!python/object:os.system is not supported"]),
        ("a: !secret x\nb: !!int 5\n", ["1:4: the tag !secret is not supported", "2:4: the tag !!int is not supported"]),
        ("a: {<<: {b: c}}\n", ["1:5: merge keys (<<) are not supported"]),
        ("a: {[b]: c}\n? {d: e}\n: f\n", ["1:5: expected a word as key", "2:3: expected a word as key"]),
        ('a: {"": c}\n', ["1:5: expected a word as key"]),
        ("%YAML 3.0\n---\na: b\n", ["1:1: unknown version of YAML"]),
        ("a: \x07\n", ["1:4: the character U+0007 is not allowed in YAML"]),
        ("a: é\ud800\n", ["1:5: the character U+D800 is not allowed in YAML"]),
        (b"a: \xff\n".decode("utf-8", "surrogateescape"), ["1:4: the byte 0xff is not UTF-8"]),
        ("\ufeffa: é b: c\n", ["1:7: a second `:` in one value"]),
        ("a: 漢字\r\nb: 'ü': x\r\n", ["2:7: a second `:` in one value"]),
    ],
)
def test_broken_yaml_is_refused_at_its_place(text, faults) -> None:
    """Every way to break YAML is said in words, with line and column."""
    assert faults == refusal(text)


def test_unicode_line_separators_do_not_shift_lines() -> None:
    """YAML 1.1 breaks lines at U+2028, an editor does not: places count as the editor does."""
    assert ["2:1: `a` is here twice"] == refusal("a: 'x\u2028y'\na: 2\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "x" * (1 << 20), "the file is larger than 1 MiB"),
        ("a: " + "é" * (1 << 19), "the file is larger than 1 MiB"),
        ("a: " + "[" * 500_000, "more than 64 levels of nesting"),
        ("a: " + "{a: " * 200_000, "more than 64 levels of nesting"),
        ("\n".join(" " * i + f"k{i}:" for i in range(70)), "more than 64 levels of nesting"),
        ("a: [" + "1," * 200_000 + "]", "more than 100000 values, aliases written out"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi")),
            "more than 100000 values, aliases written out",
        ),
    ],
    ids=["large", "large-unicode", "deep-lists", "deep-mappings", "deep-blocks", "many", "billion-laughs"],
)
def test_a_bomb_is_refused_before_it_grows(text, message) -> None:
    """Size, depth and the number of values (aliases written out) are bounded."""
    with pytest.raises(ConfigError) as caught:
        document.parse(text, "p.yaml")
    assert [message] == [fault.message for fault in caught.value.faults]
