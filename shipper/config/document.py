"""Document: YAML text as a tree of nodes that know where they stand.

RULES
- The text is at most 1 MiB, one document, a mapping at the top, at most 64 levels and 100,000 values (aliases counted as often
  as they stand for something, so that an alias bomb is refused before it grows).
- Anchors and aliases work; merge keys (`<<`), tags (but `!!str`) and keys that are no words are refused.
- Plain words mean what YAML 1.2 says (`scalars.py`). Positions are characters of the text, byte order mark not counted.
- Syntax ends the reading with one fault (a parser that goes on after it guesses); duplicate keys, tags and merge keys are
  collected, and the reading goes on.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import yaml

from shipper.config import syntax
from shipper.config.nodes import Items, Mapping, Node, Word
from shipper.model.errors import ConfigError, Fault, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT_BYTES_MAX = 1 << 20
LEVELS_MAX = 64
VALUES_MAX = 100_000
FAULTS_MAX = 1000
"""After so many the reading ends: each costs a search for what was meant."""
_BREAK = re.compile(r"\r\n|\r|\n")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STRING_TAGS = (None, "!", "tag:yaml.org,2002:str")


class Document:
    """The text, its root and the faults found in passing."""

    def __init__(self, text: str, path: str) -> None:
        """Take the text without byte order mark; `parse` fills in the root."""
        self.text, self.path = text, path
        self.root = Mapping(0, 0)
        self.faults: list[Fault] = []
        self._lines: dict[int, str] = {}
        """Lines with places in them; all places of a line share its text, which may be long."""
        self._starts = [0, *(found.end() for found in _BREAK.finditer(text))]

    def place(self, node: Node) -> Place:
        """Where a node stands; the caret underlines it up to the end of its first line."""
        return self.span(node.start, node.stop)

    def span(self, start: int, stop: int) -> Place:
        """The place of text[start:stop]. Positions outside the text are moved into it."""
        start = min(max(start, 0), len(self.text))
        number = bisect_right(self._starts, start) - 1
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = _BREAK.split(self.text[self._starts[number] : self._line_end(number)], maxsplit=1)[0]
        column = min(start - self._starts[number], len(line))
        width = max(1, min(stop - start, len(line) - column))
        return Place(self.path, number + 1, column + 1, line, width)

    def fault(self, node: Node, message: str, hint: str = "") -> None:
        """Note a fault about a node."""
        self.note(Fault(self.place(node), message, hint))

    def note(self, fault: Fault) -> None:
        """Note a fault. Raises ConfigError when there are too many to go on."""
        self.faults.append(fault)
        if len(self.faults) >= FAULTS_MAX:
            self.refuse()

    def refuse(self) -> None:
        """Raise ConfigError if there are faults: each once, in the order of the file."""
        if self.faults:
            faults = list(dict.fromkeys(self.faults))
            raise ConfigError(sorted(faults, key=lambda fault: (fault.place.line, fault.place.column)))

    def _line_end(self, number: int) -> int:
        return self._starts[number + 1] if number + 1 < len(self._starts) else len(self.text)


def parse(text: str, path: str, *, optional: bool = False) -> Document:
    """Read a document. Raises ConfigError for what cannot be read; lesser faults are in `document.faults`.

    A text without a document (comments only) is refused unless `optional`; its root is then an empty mapping.
    Bytes that are no UTF-8 may come as `surrogateescape` leaves them: they are refused at their place.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > TEXT_BYTES_MAX or len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        raise ConfigError([Fault(Place(path, 1, 1), f"the file is larger than {TEXT_BYTES_MAX >> 20} MiB")])
    document = Document(text, path)
    if found := _UNPRINTABLE.search(text):
        raise ConfigError([_unprintable(document, found.start())])
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events: Iterator[Any] = yaml.parse(text, Loader=loader)
        _Builder(document, events).build(optional=optional)
    except yaml.reader.ReaderError as error:
        raise ConfigError([_unprintable(document, error.position)]) from None
    except yaml.MarkedYAMLError as error:
        start, stop, message, hint = syntax.explain(error, text)
        raise ConfigError([*document.faults, Fault(document.span(start, stop), message, hint)]) from None
    return document


def _unprintable(document: Document, position: int) -> Fault:
    place, code = document.span(position, position + 1), ord(document.text[position])
    if 0xDC80 <= code <= 0xDCFF:  # what surrogateescape makes of a byte, PEP 383
        return Fault(place, f"the byte 0x{code - 0xDC00:02x} is not UTF-8", "save the file as UTF-8")
    hint = 'write it as an escape in double quotes, such as "\\u001b"'
    return Fault(place, f"the character U+{code:04X} is not allowed in YAML", hint)


class _Builder:
    """Makes nodes of the parser's events, one level a call."""

    def __init__(self, document: Document, events: Iterator[Any]) -> None:
        self._document = document
        self._events = events
        self._anchors: dict[str, Node | None] = {}
        self._values = 0

    def build(self, *, optional: bool) -> None:
        """Read the whole document, if there must be one."""
        document = self._document
        next(self._events)
        if not isinstance(next(self._events), yaml.DocumentStartEvent):
            if optional:
                return
            raise self._refusal(document.span(0, 0), "the file says nothing", "a pipeline begins with `name:` and `sources:`")
        root = self._node(next(self._events), 0)
        next(self._events)
        more = next(self._events)
        if isinstance(more, yaml.DocumentStartEvent):
            place = document.span(*_span(more))
            raise self._refusal(place, "a second document begins here", "put it into a file of its own")
        if not isinstance(root, Mapping):
            raise self._refusal(document.place(root), "expected `key: value` lines at the top of the file")
        document.root = root

    def _node(self, event: Any, level: int) -> Node:
        start, stop = _span(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, start, stop)
        self._count(1, start, stop)
        if event.anchor:
            self._anchors[event.anchor] = None
        node = self._made(event, level)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _made(self, event: Any, level: int) -> Node:
        start, stop = _span(event)
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0] and event.tag is None
            word = Word(start, stop, event.value, plain=plain)
            if event.tag not in _STRING_TAGS:
                self._refuse_tag(word, event.tag)
            return word
        if level >= LEVELS_MAX:
            raise self._refusal(self._document.span(start, stop), f"more than {LEVELS_MAX} levels of nesting")
        listed = isinstance(event, yaml.SequenceStartEvent)
        node = self._list(event, level) if listed else self._mapping(event, level)
        if event.tag is not None:
            self._refuse_tag(node, event.tag)
        return node

    def _list(self, opened: Any, level: int) -> Items:
        node = Items(*_span(opened))
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item = self._node(event, level + 1)
            if item.stop == item.start:  # an empty item: point at its dash
                item.start -= 1
            node.items.append(item)
            node.size += item.size
        if opened.flow_style:
            _, node.stop = _span(event)
        return node

    def _mapping(self, opened: Any, level: int) -> Mapping:
        node = Mapping(*_span(opened))
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, level + 1)
            value = self._node(next(self._events), level + 1)
            if value.stop == value.start:  # nothing after the colon: point at the key
                value.start, value.stop = key.start, key.stop
            node.size += key.size + value.size
            self._enter(node, key, value)
            if node.stop == node.start:
                node.stop = key.stop
        if opened.flow_style:
            _, node.stop = _span(event)
        return node

    def _enter(self, node: Mapping, key: Node, value: Node) -> None:
        document = self._document
        if not isinstance(key, Word) or not key.text:
            document.fault(key, "expected a word as key", 'a value that begins with { or [ or : needs quotes, as in "{name}"')
        elif key.text == "<<" and key.plain:
            document.fault(key, "merge keys (<<) are not supported", "write the settings out; whole values may be *aliases")
        elif key.text in node.entries:
            line = document.place(node.entries[key.text][0]).line
            document.fault(key, f"`{key.text}` is here twice", f"the first one is in line {line}")
        else:
            node.entries[key.text] = (key, value)

    def _alias(self, event: Any, start: int, stop: int) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            known = event.anchor in self._anchors
            message = f"*{event.anchor} stands inside of what it names" if known else f"there is no anchor &{event.anchor}"
            hint = "" if known else 'a value that begins with * needs quotes, as in "*.log"'
            raise self._refusal(self._document.span(start, stop), message, hint)
        self._count(node.size, start, stop)
        return node

    def _count(self, values: int, start: int, stop: int) -> None:
        self._values += values
        if self._values > VALUES_MAX:
            raise self._refusal(self._document.span(start, stop), f"more than {VALUES_MAX} values, aliases written out")

    def _refuse_tag(self, node: Node, tag: str) -> None:
        node.broken = True
        short = tag.replace("tag:yaml.org,2002:", "!!")
        self._document.fault(node, f"the tag {short} is not supported", "leave the tag out; quotes make a value text")

    def _refusal(self, place: Place, message: str, hint: str = "") -> ConfigError:
        return ConfigError([*self._document.faults, Fault(place, message, hint)])


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index
