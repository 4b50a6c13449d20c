"""Operators: what a condition asks of one field besides equality, and the masks that answer it.

    {duration_ms: {gte: 500, lt: 1000}}         all of them must hold
    {url.path: {glob: [/api/*, "/v?/health"]}}    of several values any one will do
    {message: {prefix: Started}}                and `suffix`, `contains`, `regex`
    {client_ip: {cidr: [10.0.0.0/8, fc00::/7]}}
    {level: {gte: warning}}                     fields that hold levels, by their severity

RULES
- `gt`, `gte`, `lt`, `lte` compare numbers. A text is no number, whatever stands in it, and true is not 1: a field that should be
  compared is decoded or converted as a number. Bounds that are names of levels compare levels, on fields that hold them
  (`model/level.py`); there a number is still a number.
- `glob`: `*` is any text, `?` any character, `[a-z]` and `[!a-z]` one of them or not. It is about the whole value, `/` is nothing
  special, and case counts.
- `regex` is searched in the value, by RE2; `^` and `$` are the value's ends. `(?i)` ignores case.
- `cidr`: networks, or single addresses. The value may have a port, brackets, a zone; IPv4 inside of IPv6 is IPv4.
- What is not of the operator's kind (no text, no address, missing) does not match.

A test is a function from a column to a list of bools. Caches hold `search.KEPT_MAX` values, and forget all when full.

THEORY
Microseconds a row, on the machine of docs/performance.md: levels 0.02, a bound 0.05 (0.1 where values are missing), `contains` 0.05,
`prefix` and `suffix` 0.07 for each length of words, `cidr` 0.02 for addresses seen before and 1.0 for new ones; a pattern 0.035
where no row has it, 0.1 where one of a hundred has, 0.03 for values seen before, 1.0 for new ones.
"""

from __future__ import annotations

import math
import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from ipaddress import collapse_addresses, ip_network
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from shipper.config import scalars
from shipper.config.search import KEPT_CHARS_MAX, KEPT_MAX, Search, texts_of
from shipper.config.suggest import hint as hint_of
from shipper.config.suggest import shown
from shipper.model import level
from shipper.model.address import canonical_ipv4, parsed_address
from shipper.model.pattern import PatternError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Network, IPv6Network


Test = Callable[[Sequence[object]], list[bool]]
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
OTHER_WORDS = {
    **dict.fromkeys(("ge", "min", "from", ">=", "at_least"), "gte"),
    **dict.fromkeys((">", "above", "more_than", "greater_than"), "gt"),
    **dict.fromkeys(("le", "max", "to", "<=", "at_most"), "lte"),
    **dict.fromkeys(("<", "below", "less_than"), "lt"),
    **dict.fromkeys(("starts_with", "startswith", "begins_with"), "prefix"),
    **dict.fromkeys(("ends_with", "endswith"), "suffix"),
    **dict.fromkeys(("includes", "substring"), "contains"),
    **dict.fromkeys(("match", "matches", "pattern", "re", "re2", "=~", "regexp"), "regex"),
    **dict.fromkeys(("like", "wildcard"), "glob"),
    **dict.fromkeys(("ip", "network", "networks", "subnet", "in_cidr"), "cidr"),
}
"""What other tools call an operator."""
_NUMBERS = frozenset((int, float))


class Problem(NamedTuple):
    """What is wrong with an operand, what to do, and which of several it is (None: all of it)."""

    message: str
    hint: str
    at: int | None


class Asked:
    """What is asked of a field: its name, the operand, and the same as it was written, for messages. Notes what is wrong with it."""

    def __init__(self, field: str, operand: object, written: object) -> None:
        """Take them; they differ where `${...}` was replaced."""
        self.field, self.operand, self.problems = field, operand, list[Problem]()
        self._written = written
        self._several = isinstance(operand, list)

    def words(self, expected: str) -> list[tuple[int, str]]:
        """The operand as texts with their numbers; what is no text, or empty, is noted."""
        found: list[Any] = self.operand if self._several else [self.operand]  # type: ignore[assignment]
        if not found:
            self.refuse(f"expected {expected} or a list of them, got an empty list")
        for at, word in enumerate(found):
            if not isinstance(word, str) or not word:
                quotes = f'put it in quotes: "{word}"' if type(word) in _NUMBERS else ""
                got = "an empty text" if word == "" else self.shown(at)
                self.refuse(f"expected {expected} or a list of them, got {got}", quotes, at)
        return [(at, word) for at, word in enumerate(found) if isinstance(word, str) and word]

    def refuse(self, message: str, hint: str = "", at: int = 0) -> None:
        """Note what is wrong with one of the values; of an operand that is no list, there is one."""
        self.problems.append(Problem(message, hint, at if self._several and self.operand else None))

    def shown(self, at: int = 0) -> str:
        """One value as messages show it."""
        return shown(self._written[at] if isinstance(self._written, list) else self._written)

    def is_plain(self, at: int = 0) -> bool:
        """Whether it stands in the file as it is, so that a message may quote pieces of it."""
        if isinstance(self.operand, list) and isinstance(self._written, list):
            return bool(self.operand[at] == self._written[at])
        return self.operand == self._written


def comparison(name: str, asked: Asked) -> Test:
    """The test of `gt`, `gte`, `lt`, `lte`."""
    holds, bound, numbers = COMPARISONS[name], asked.operand, level.numbers_of(asked.field)
    if isinstance(bound, str) and not asked.is_plain():
        bound = scalars.resolve(bound)
    if type(bound) in _NUMBERS and not math.isnan(bound):  # type: ignore[arg-type]
        return _compared(holds, bound)
    wanted = level.rank(bound, {}) if isinstance(bound, str) and numbers is not None else None
    if wanted is not None and numbers is not None:
        return _verdicts(lambda value: (rank := level.rank(value, numbers)) is not None and holds(rank, wanted))
    plain = bound if isinstance(bound, str) and asked.is_plain() else ""
    hint = f"leave the quotes out: {plain}" if type(scalars.resolve(plain)) in _NUMBERS else ""
    if numbers is not None:
        hint = hint or hint_of(plain, level.LEVELS)
    got = "a list" if isinstance(bound, list) else asked.shown()
    asked.problems.append(
        Problem(f"expected a number{'' if numbers is None else ' or the name of a level'}, got {got}", hint, None)
    )
    return _never


def _never(values: Sequence[object]) -> list[bool]:
    return [False] * len(values)


def _compared(holds: Callable[[Any, Any], bool], bound: Any) -> Test:
    def test(values: Sequence[object]) -> list[bool]:
        if _NUMBERS.issuperset(map(type, values)):
            return list(map(holds, values, repeat(bound)))
        return [type(value) in _NUMBERS and holds(value, bound) for value in values]

    return test


def equality(wanted: Sequence[object]) -> Test:
    """The test whether a value is one of these scalars."""
    # 1 == True and hashes alike in Python, not in JSON: the type is part of the comparison where that can matter.
    typed = any(isinstance(item, (bool, int, float)) for item in wanted)
    allowed = frozenset(wanted)
    exact = frozenset((type(item) is bool, item) for item in wanted)

    def test(values: Sequence[object]) -> list[bool]:
        try:
            if not typed:
                return list(map(allowed.__contains__, values))
            return [(type(item) is bool, item) in exact for item in values]
        except TypeError:  # a list or object in the column does not hash: it equals no scalar
            return [not isinstance(item, (list, dict)) and (type(item) is bool, item) in exact for item in values]

    return test


def levels(wanted: Sequence[object], numbers: Mapping[int, int]) -> Test | None:
    """The test whether a value is one of the wanted levels, or equals another wanted value; None where none of them is a level."""
    ranks = {level.rank(value, numbers) for value in wanted} - {None}
    exact = frozenset((type(value) is bool, value) for value in wanted if level.rank(value, numbers) is None)
    if not ranks:
        return None
    return _verdicts(lambda value: level.rank(value, numbers) in ranks or (type(value) is bool, value) in exact)


def _verdicts(judge: Callable[[object], bool]) -> Test:
    """A test that remembers what it said of a value."""
    verdicts = _Verdicts(judge)

    def test(values: Sequence[object]) -> list[bool]:
        try:
            return list(map(verdicts.__getitem__, values))
        except TypeError:  # a list or an object does not hash
            return [not isinstance(value, (list, dict)) and verdicts[value] for value in values]

    return test


class _Verdicts(dict[object, bool]):
    def __init__(self, judge: Callable[[object], bool]) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, value: object) -> bool:
        verdict = self._judge(value)
        # True is 1 to a dict, and false 0: none of them is remembered.
        if value not in (0, 1) and not (isinstance(value, str) and len(value) > KEPT_CHARS_MAX):
            if len(self) >= KEPT_MAX:
                self.clear()
            self[value] = verdict
        return verdict


def prefix(_name: str, asked: Asked) -> Test:
    """Whether a text begins with one of the words."""
    return _ends([word for _, word in asked.words("a text")], lambda size: slice(0, size))


def suffix(_name: str, asked: Asked) -> Test:
    """Whether a text ends with one of the words."""
    return _ends([word for _, word in asked.words("a text")], lambda size: slice(-size, None))


def _ends(words: Sequence[str], part: Callable[[int], slice]) -> Test:
    """Whether a part of a text is one of the words: a slice and a lookup, for each of their lengths."""
    parts: list[tuple[Callable[[Any], Any], frozenset[str]]] = [
        (operator.itemgetter(part(size)), frozenset(word for word in words if len(word) == size)) for size in {*map(len, words)}
    ]

    def test(values: Sequence[object]) -> list[bool]:
        try:
            masks = [list(map(wanted.__contains__, map(get, values))) for get, wanted in parts]
        except (TypeError, KeyError):  # KeyError: a dict is asked for a slice, from Python 3.12 on
            texts = texts_of(values)
            masks = [list(map(wanted.__contains__, map(get, texts))) for get, wanted in parts]
        return _either(masks)

    return test


def contains(_name: str, asked: Asked) -> Test:
    """Whether one of the words stands in a text."""
    return _containing([word for _, word in asked.words("a text")])


def _containing(words: Sequence[str]) -> Test:
    def test(values: Sequence[object]) -> list[bool]:
        try:
            texts: Sequence[str] = values  # type: ignore[assignment]
            joined = "\n".join(texts)
        except TypeError:
            texts = texts_of(values)
            joined = "\n".join(texts)
        there = [word for word in words if word in joined]
        return _either([[word in text for text in texts] for word in there]) if there else [False] * len(texts)

    return test


def regex(_name: str, asked: Asked) -> Test:
    """Whether one of the patterns is found in a text."""
    tests = []
    for at, pattern in asked.words("a pattern"):
        try:
            tests.append(Search(pattern).mask)
        except PatternError as error:
            piece = f", at {shown(error.piece)}" if error.piece and asked.is_plain(at) else ""
            asked.refuse(f"the pattern cannot be used: {error.reason}{piece}", error.advice, at)
    return _any_of(tests)


_IN_BRACKETS = re.compile(r"[][\\^&~|]")
_PIECES = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


def glob(_name: str, asked: Asked) -> Test:
    """Whether a whole text is as one of the globs says."""
    tests = []
    for at, written in asked.words("a glob"):
        try:
            tests.append(_globbed(written))
        except PatternError:
            asked.refuse(f"{asked.shown(at)} is no glob", "a range goes up, [a-z]; [[] stands for the bracket itself", at)
    return _any_of(tests)


def _globbed(written: str) -> Test:
    core = written.strip("*")
    if core and not re.search(r"[*?\[]", core):
        starts, ends = not written.startswith("*"), not written.endswith("*")
        if starts and ends:
            return lambda values: list(map(frozenset((core,)).__contains__, texts_of(values)))
        return (
            _ends([core], lambda size: slice(0, size) if starts else slice(-size, None))
            if starts or ends
            else _containing([core])
        )
    return Search("(?s)\\A" + "".join(map(_pattern_of, _PIECES.findall(written))) + "\\z").mask


def _pattern_of(piece: str) -> str:
    """A piece of a glob as a regular expression."""
    if piece.startswith("*"):
        return ".*"
    if piece == "?":
        return "."
    if len(piece) > 1:
        inner = piece[1:-1]
        negated = inner.startswith("!") and len(inner) > 1
        inner = inner[1:] if negated else inner
        return ("[^" if negated else "[") + _IN_BRACKETS.sub(r"\\\g<0>", inner) + "]"
    return re.escape(piece)


def cidr(_name: str, asked: Asked) -> Test:
    """Whether a text is an address in one of the networks."""
    networks: list[IPv4Network | IPv6Network] = []
    for at, written in asked.words("a network such as 10.0.0.0/8"):
        try:
            networks.append(ip_network(written))
        except ValueError:
            message = f"expected a network such as 10.0.0.0/8 or fc00::/7, got {asked.shown(at)}"
            asked.refuse(message, _meant(asked, at, written), at)
    ranges = {version: _Ranges(network for network in networks if network.version == version) for version in (4, 6)}

    def judge(value: object) -> bool:
        if not isinstance(value, str):
            return False
        number = canonical_ipv4(value)  # canonical, as most are: spares most of the parsing
        if number >= 0:
            return number in ranges[4]
        address = parsed_address(value)
        return address is not None and int(address) in ranges[address.version]

    return _verdicts(judge)


class _Ranges:
    """Numbers of the addresses in some networks of one version."""

    def __init__(self, networks: Iterable[Any]) -> None:
        apart = list(collapse_addresses(networks))
        self._firsts = [int(network.network_address) for network in apart]
        self._lasts = [int(network.broadcast_address) for network in apart]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]


def _meant(asked: Asked, at: int, written: str) -> str:
    """What a network with bits behind its mask was meant to be."""
    try:
        return f"did you mean {ip_network(written, strict=False)}?" if asked.is_plain(at) else ""
    except ValueError:
        return ""


def _any_of(tests: Sequence[Test]) -> Test:
    return lambda values: _either([test(values) for test in tests])


def _either(masks: list[list[bool]]) -> list[bool]:
    """Where one of the masks holds."""
    held = masks[0]
    for mask in masks[1:]:
        held = list(map(operator.or_, held, mask))
    return held


OPERATORS: dict[str, Callable[[str, Asked], Test]] = {
    **dict.fromkeys(COMPARISONS, comparison),
    "glob": glob,
    "prefix": prefix,
    "suffix": suffix,
    "contains": contains,
    "regex": regex,
    "cidr": cidr,
}
"""From an operator's name to what makes its test of (name, what is asked). A test of what was refused is never used."""
