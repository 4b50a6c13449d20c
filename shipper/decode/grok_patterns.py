r"""Grok patterns: the set that comes with shipper, and expressions made of them.

RULES
- `%{NAME}` stands for a pattern, `%{NAME:field}` keeps what it takes as a field, `%{NAME:field:int}` with a type. A field is written
  `client.ip` or, as in Logstash, `[client][ip]`. `(?<field>...)` keeps a piece of one's own.
- Patterns are RE2's. Atomic groups and possessive quantifiers are read as plain ones, which take what they take, or more; look-around
  is refused.
- A pattern may not contain itself. An expression may not become longer than `EXPANDED_MAX`.

The set follows the names and the meaning of Logstash's patterns, with the fields of its `ecs-v1` variant. The forms are our own, as
RE2 knows no look-around. There is no library to take: pygrok and its forks (last release 2016) run on the backtracking `regex`
module, and have the old set, without fields of ECS; Elastic's own in RE2 form, go-grok, is for Go.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, get_args

import msgspec
import yaml

from shipper.config.suggest import nearest, shown
from shipper.decode.capture import Expression, Type, field_of
from shipper.decode.layout import STAMP
from shipper.model.errors import ComponentError
from shipper.model.pattern import PatternError, compiled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXPANDED_MAX = 64 << 10
"""Characters of an expression with all its patterns in their places."""
Kind = Literal["int", "integer", "long", "float", "double", "number", "boolean", "string", "text"]
_TYPES: dict[str, Type] = {
    **dict.fromkeys(("int", "integer", "long"), "integer"),
    **dict.fromkeys(("float", "double", "number"), "number"),
    "boolean": "boolean",
    **dict.fromkeys(("string", "text"), "text"),
}
_TOKEN = re.compile(
    r"%\{(?P<name>[A-Za-z0-9_]+)(?::(?P<field>[^:}]*)(?::(?P<kind>[^:}]*))?)?\}"
    r"|(?P<odd>%\{)"
    r"|\(\?P?<(?P<inline>[^=!>][^>]*)>"
    r"|(?P<look>\(\?<?[=!])"
    r"|(?P<atomic>\(\?>)"
    r"|(?P<possessive>[*+?}]\+)"
    r"|(?P<plain>\\.|\[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\]|[\w ]+(?![*+?}])|.)",
    re.DOTALL,
)


class Known(msgspec.Struct, frozen=True):
    """A pattern of the set."""

    form: str = msgspec.field(name="is")
    like: str
    """A text that it takes as a whole."""
    times: list[str] = []
    """How the times that it takes are written."""


@cache
def the_set() -> Mapping[str, Known]:
    """All patterns that come with shipper, by name."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Known] = {}
    for file in sorted(files("shipper.decode").joinpath("patterns").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            found |= msgspec.convert(yaml.load(file.read_bytes(), loader), dict[str, Known])  # noqa: S506 - both loaders are safe ones
    return found


class Expander:
    """Makes expressions of patterns. `types` and `times` tell of the fields of all it made."""

    def __init__(self, own: Mapping[str, str]) -> None:
        """`own` are patterns besides the set, or instead of some of it."""
        self._own = own
        self.types: dict[str, Type] = {}
        self.times: dict[str, None] = {}
        """Layouts of the patterns that take the time of a record, in order."""

    def expression(self, written: str, setting: str) -> Expression:
        """A whole expression. Raises ComponentError, naming `setting`."""
        fields: list[str] = []
        text = self._expanded(written, setting, (), fields)
        try:
            numbers = compiled(text, captures=True).groupindex
        except PatternError as error:
            piece = f", at {shown(error.piece)}" if error.piece else ""
            raise ComponentError(f"the pattern cannot be used: {error.reason}{piece}", setting, error.advice) from None
        return Expression(text, [(numbers[b"g%d" % at], field) for at, field in enumerate(fields)])

    def check(self, name: str, setting: str) -> None:
        """Look whether one of one's own patterns can be used at all. Raises ComponentError."""
        Expander(self._own).expression(f"%{{{name}}}", setting)

    def _expanded(self, text: str, setting: str, within: tuple[str, ...], fields: list[str]) -> str:
        """A pattern with others in their places; its fields are added to `fields`, in the order of their groups `g0`, `g1`."""
        pieces: list[str] = []
        size = 0
        for token in _TOKEN.finditer(text):
            if token["name"]:
                pieces.append(self._referred(token, setting, within, fields))
            elif token["inline"]:
                pieces.append(f"(?P<g{len(fields)}>")
                self._keep(token["inline"], fields, self._times_of(within[-1]) if within else ())
            elif token["odd"] or token["look"]:
                raise ComponentError(*_refused(token, setting))
            else:
                pieces.append("(?:" if token["atomic"] else token[0][0] if token["possessive"] else token[0])
            size += len(pieces[-1])
            if size > EXPANDED_MAX:
                raise ComponentError(f"the pattern is longer than {EXPANDED_MAX} characters", setting, "take it apart")
        return "".join(pieces)

    def _referred(self, token: re.Match[str], setting: str, within: tuple[str, ...], fields: list[str]) -> str:
        name, field, kind = token["name"], token["field"], token["kind"]
        form = self._form(name, setting)
        if name in within:
            raise ComponentError(f"the pattern `{name}` contains itself", setting, " in ".join((name, *reversed(within))))
        if kind is not None and kind not in _TYPES:
            close = nearest(kind, _TYPES)
            hint = f"did you mean `{close}`?" if close else f"types are {', '.join(get_args(Kind))}"
            raise ComponentError(f"`{token[0]}`: there is no type `{kind}`", setting, hint)
        if field is None:
            return f"(?:{self._expanded(form, setting, (*within, name), fields)})"
        group = f"(?P<g{len(fields)}>"
        self._keep(field, fields, self._times_of(name), _TYPES[kind] if kind else None)
        return f"{group}{self._expanded(form, setting, (*within, name), fields)})"

    def _keep(self, written: str, fields: list[str], times: tuple[str, ...], kind: Type | None = None) -> None:
        field = field_of(written.removeprefix("[").removesuffix("]").replace("][", ".") if written.startswith("[") else written)
        fields.append(field)
        if kind:
            self.types[field] = kind
        if field == STAMP:
            self.times |= dict.fromkeys(times)

    def _form(self, name: str, setting: str) -> str:
        if name in self._own:
            return self._own[name]
        if name in the_set():
            return the_set()[name].form
        close = nearest(name, {**the_set(), **self._own})
        raise ComponentError(
            f"there is no pattern `{name}`", setting, f"did you mean `{close}`?" if close else "add it to `patterns`"
        )

    def _times_of(self, name: str) -> tuple[str, ...]:
        """How the times that a pattern takes are written; where it does not say, those of the patterns in it."""
        return tuple(self._times(name, ()))

    def _times(self, name: str, within: tuple[str, ...]) -> Iterator[str]:
        known = None if name in self._own else the_set().get(name)
        if known is not None and known.times:
            yield from known.times
            return
        form = self._own.get(name) or (known.form if known is not None else "")
        for token in _TOKEN.finditer(form) if name not in within else ():
            if token["name"]:
                yield from self._times(token["name"], (*within, name))


def _refused(token: re.Match[str], setting: str) -> tuple[str, str, str]:
    if token["look"]:
        return "look-around is not known to RE2", setting, f"write without `{token[0]}` what may stand there"
    return "`%{` begins no reference", setting, r"write %{NAME}, %{NAME:field} or %{NAME:field:int}; \%\{ stands for itself"
