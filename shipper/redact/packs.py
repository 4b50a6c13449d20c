"""Packs: the rules that come with shipper, and the list of rules a configuration asks for.

RULES
- A pack is one file or several: `secrets.yaml` holds what no issuer's format tells, `secrets-clouds.yaml` and the like the rest.
- A rule's id is unique over all packs and the user's rules, as it stands in masks, counters and `actions:`.
- Order decides between hits at the same place: the user's rules and names, then the packs in the order given, value rules before key
  rules within each, as the mask of a known token says more than `[REDACTED:token]`.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec
import yaml

from shipper.model.errors import ComponentError
from shipper.redact.rule import KeyRule, Pack, Rule
from shipper.redact.settings import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable

    from shipper.redact.settings import RedactConfig

PACKS = ("secrets", "pii")
USER_KEYS = "key"
"""Rule id of the names under `keys:`."""
TRUNCATE = "truncate"
"""The action of `truncate_ips`; not to be chosen for other rules."""
IP_RULES = ("ipv4", "ipv6")
"""Rules that are used only where `truncate_ips` is on."""
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@cache
def load_pack(name: str) -> Pack:
    """Read a pack that came with the package: `NAME-*.yaml` by name, then `NAME.yaml`. Raises KeyError for an unknown one."""
    if name not in PACKS:
        raise KeyError(name)
    found = [file for file in files("shipper.redact").joinpath("packs").iterdir() if file.name.endswith(".yaml")]
    parts = [_part(file) for file in sorted(found, key=lambda file: file.name) if re.split("[-.]", file.name)[0] == name]
    return Pack(
        title=parts[-1].title,
        rules=[rule for part in parts for rule in part.rules],
        keys=[rule for part in parts for rule in part.keys],
    )


def _part(file: Traversable) -> Pack:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return msgspec.convert(yaml.load(file.read_bytes(), loader), Pack)  # noqa: S506 - both loaders are safe ones, one of them in C


def chosen_rules(config: RedactConfig) -> list[Rule | KeyRule]:
    """The rules a configuration asks for, in order of precedence, with their actions.

    Raises ComponentError for unknown packs, rules and actions, and for ids used twice.
    """
    rules: list[Rule | KeyRule] = [_own_rule(rule, number) for number, rule in enumerate(config.rules)]
    if config.keys:
        rules.append(KeyRule(id=USER_KEYS, title="names of your own", names=config.keys, separated=True))
    pack_of: dict[str, str] = {}
    for number, asked in enumerate(config.packs):
        _expect(asked, PACKS, f"packs.{number}", "pack")
        pack = load_pack(asked)
        rules += [*pack.rules, *pack.keys]
        pack_of |= dict.fromkeys([*[rule.id for rule in pack.rules], *[rule.id for rule in pack.keys]], asked)
    ids = [rule.id for rule in rules]
    for number, identifier in enumerate(ids[: len(config.rules)]):
        if ids.count(identifier) > 1:
            raise ComponentError(f"the id {identifier!r} is taken", f"rules.{number}.id", "choose another id")
    for number, name in enumerate(config.disable):
        _expect(name, ids, f"disable.{number}", "rule")
    for name, action in config.actions.items():
        _expect(name, [*ids, *config.packs], f"actions.{name}", "rule or pack")
        _expect(action, ACTIONS, f"actions.{name}", "action")
    left_out = {*config.disable, *(() if config.truncate_ips else IP_RULES)}
    return [_acting(rule, config, pack_of) for rule in rules if rule.id not in left_out]


def _own_rule(rule: object, number: int) -> Rule:
    made = msgspec.convert(msgspec.to_builtins(rule), Rule)
    if not _ID.fullmatch(made.id):
        raise ComponentError(f"{made.id!r} is no rule id", f"rules.{number}.id", "lower case letters, digits and -")
    _expect(made.action, ACTIONS, f"rules.{number}.action", "action")
    return msgspec.structs.replace(made, lane=2)


def _acting(rule: Rule | KeyRule, config: RedactConfig, pack_of: dict[str, str]) -> Rule | KeyRule:
    action = config.actions.get(rule.id) or (config.actions.get(pack_of.get(rule.id, "")) if rule.action != TRUNCATE else None)
    return msgspec.structs.replace(rule, action=action) if action else rule


def _expect(name: str, allowed: Iterable[str], field: str, kind: str) -> None:
    choices = list(allowed)
    if name in choices:
        return
    close = get_close_matches(name, choices, 1)
    hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(choices[:12])}" + (" ..." if len(choices) > 12 else "")
    raise ComponentError(f"unknown {kind} {name!r}", field, hint)
