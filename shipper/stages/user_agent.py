"""User agent: browser, system and device of a User-Agent header, spliced as finished bytes.

RULES
- What a text means is the business of ua-parser (the rules of uap-core, matched by the `regex` crate in time linear to the text). Only
  what it finds is written: a text that it does not know yields nothing, not `Other`.
- Names follow ECS: `name`, `version`, `os.name`, `os.version`, `device.name`; a version is its parts with dots between them.
- A text over AGENT_CHARS_MAX characters is read up to there. It is not remembered, nor is what is no text.
- The cache has the whole fragment by the text as it stands. Two generations of `cache_max / 2`; what is used moves on.

THEORY
A site is visited by a few thousand different programs, so that a dict answers for nearly all rows, and rows of one program share
one fragment. What is not remembered costs 10 to 60 us, so a flood of invented texts is what this stage fears; it is bounded in
memory, not in time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from shipper.config.fields import ComponentConfig
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources

FIELDS = ("user_agent.original", "user_agent", "http_user_agent")
"""Where a record may have the text, if nothing else is said; the first that does counts."""
AGENT_CHARS_MAX = 1024
"""Real ones have 60 to 400."""


class UserAgent:
    """Add browser, system and device of a User-Agent header.

    `Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) ... Version/17.5 ... Safari/604.1` becomes `user_agent.name: Mobile
    Safari`, `user_agent.version: "17.5"`, `user_agent.os.name: iOS`, `user_agent.os.version: "17.5"` and
    `user_agent.device.name: iPhone`. Only what is known is written; crawlers have the device `Spider`.

    A document cannot have `user_agent` as a text and as an object. So where `field` is `user_agent` itself, what is found goes to
    `ua` (`ua.name`), and the record stays as it is. Where no `field` is named, a record's own text under `user_agent` moves to
    `shipper.record.user_agent`, which costs 8 us; say `field: user_agent` if your records have it. `user_agent.original`, as
    access logs have it, stays where it is.

    It costs 0.1 us a record, and 10 to 60 us for a text that is new; 33 MB of memory and 0.2 s at the start.
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `user_agent`."""

        field: str | None = None
        """The field with the text. Left out, the first of `user_agent.original`, `user_agent` and `http_user_agent` that is there."""
        target: str | None = None
        """The top-level key that takes `name`, `version`, `os` and `device`; left out, `user_agent`, or `ua` where `field` is
        `user_agent`."""
        cache_max: int = 8192
        """Texts remembered, 0.6 kB each (5 MB when full). When full, those not seen for the longest half are forgotten."""

    example = """
stages:
  - user_agent: {field: http_user_agent}
"""

    def __init__(self, config: Config, resources: Resources) -> None:  # noqa: ARG002  part of the contract
        """Read the rules. Raises ComponentError for a target that is no key, or the field itself."""
        target = config.target or ("ua" if config.field == "user_agent" else "user_agent")
        if config.target == "" or "." in target:
            raise ComponentError("target is one top-level key, without dots", "target", "write `user_agent`")
        if target == config.field:
            raise ComponentError(f"{target} is the text itself, and cannot be an object too", "target", "write `ua`, say")
        if config.cache_max < 2:
            raise ComponentError("cache_max must be 2 or more", "cache_max")
        self.reads: Sequence[str] = FIELDS if config.field is None else (config.field,)
        self.adds: Sequence[str] = tuple(f"{target}.{name}" for name in ("name", "version", "os", "device"))
        self.objects: Sequence[str] = (target,)
        self._fragments = _Fragments(target, config.cache_max)

    def process(self, columns: Columns, now: float) -> None:  # noqa: ARG002  part of the contract
        """Splice one fragment a row: `,"user_agent":{...}`, or nothing where the text is not known."""
        self._fragments.make_room()
        values = columns.column(self.reads[0])
        for name in self.reads[1:]:
            if None in values:
                values = [other if value is None else value for value, other in zip(values, columns.column(name), strict=True)]
        try:
            fragments = list(map(self._fragments.__getitem__, values))
        except TypeError:  # a list or an object among them does not hash
            texts = [value if isinstance(value, str) else None for value in values]
            fragments = list(map(self._fragments.__getitem__, texts))
        if any(fragments):
            columns.splice(fragments)


class _Fragments(dict[object, bytes]):
    """Text -> its fragment."""

    def __init__(self, target: str, cache_max: int) -> None:
        super().__init__()
        self._opening = b"," + orjson.dumps(target) + b":"
        self._parse = _parser()
        self._half = cache_max // 2
        self._older: dict[object, bytes] = {}
        self[None] = b""

    def __missing__(self, text: object) -> bytes:
        if not isinstance(text, str):
            return b""
        if len(text) > AGENT_CHARS_MAX:
            return self._made(text[:AGENT_CHARS_MAX])
        found = self._older.get(text)
        self[text] = found = self._made(text) if found is None else found
        return found

    def make_room(self) -> None:
        """Start a new generation if this one is full."""
        if len(self) > self._half:
            self._older = dict(self)
            self.clear()
            self[None] = b""

    def _made(self, text: str) -> bytes:
        try:
            fields = agent_fields(self._parse(text))
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can say and UTF-8 cannot
            return b""
        return self._opening + orjson.dumps(fields) if fields else b""


def agent_fields(found: Any) -> dict[str, object]:
    """The ECS `user_agent` object of what ua-parser found (`ua_parser.PartialResult`), only of what it knows."""
    agent, system, device = found.user_agent, found.os, found.device
    fields: dict[str, object] = {} if agent is None else _named(agent)
    if system is not None:
        fields["os"] = _named(system)
    if device is not None and device.family:
        fields["device"] = {"name": device.family}
    return fields


def _named(part: Any) -> dict[str, object]:
    version = ".".join(filter(None, (part.major, part.minor, part.patch, part.patch_minor)))
    return {"name": part.family, "version": version} if version else {"name": part.family}


@cache
def _parser() -> Callable[[str], Any]:
    """The parser, one for all stages; its rules are read here, so that only a pipeline with this stage pays for them."""
    from ua_parser import Domain, load_lazy_builtins
    from ua_parser.regex import Resolver

    resolve = Resolver(load_lazy_builtins())
    return lambda text: resolve(text, Domain.ALL)
