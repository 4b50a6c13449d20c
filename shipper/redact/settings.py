"""Settings of the gate: what stands under `redact:` in a pipeline."""

from __future__ import annotations

from typing import Literal

import msgspec

from shipper.config.fields import ComponentConfig, Secret

ACTIONS = ("mask", "hash", "partial", "drop_field", "drop_event")


class CustomRule(ComponentConfig, frozen=True, kw_only=True):
    """One rule of the user's own. Its examples are checked when the configuration is."""

    id: str
    """Name in the mask, `[REDACTED:<id>]`, and in counters. Lower case letters, digits and `-`."""
    pattern: str
    """A regular expression over ASCII bytes, in Python's syntax. A leading `\\b` also holds behind a JSON escape."""
    title: str = ""
    """What it finds, in words."""
    screen: str = ""
    """A wider pattern without look-around that fires inside every match; left out, it is derived from `pattern`."""
    group: int = 0
    """The group of `pattern` that is masked; 0 is all of it."""
    validator: str = "none"
    """A check beyond the pattern: none, luhn_card, iban, jwt, basic, ssn, phone, address."""
    unless: str = ""
    """What stands before a hit (64 bytes at most) together with the hit, where it is none: `order[ :#]{1,3}[0-9]{16}`."""
    action: str = "mask"
    """mask, hash, partial, drop_field or drop_event."""
    match: list[str] = msgspec.field(default_factory=list)
    """Texts it must find."""
    no_match: list[str] = msgspec.field(default_factory=list)
    """Texts it must leave alone."""


class RedactConfig(ComponentConfig, frozen=True, kw_only=True):
    """What is redacted before anything else sees a record."""

    packs: list[Literal["secrets", "pii"]] = msgspec.field(default_factory=lambda: ["secrets", "pii"])
    """Rule packs: secrets (keys and tokens of services, private keys, passwords by name), pii (e-mail, cards, IBAN ...)."""
    keys: list[str] = msgspec.field(default_factory=list)
    """More names of fields whose value is masked, beside those of the packs. Case, `-` and `_` do not count; `*` and `?`
    are wildcards: `pin`, `*_pin`."""
    rules: list[CustomRule] = msgspec.field(default_factory=list)
    """Rules of your own."""
    disable: list[str] = msgspec.field(default_factory=list)
    """Ids of rules to leave out."""
    actions: dict[str, str] = msgspec.field(default_factory=dict)
    """What to do by rule id or pack: mask, hash, partial, drop_field, drop_event."""
    hash_key: Secret | None = None
    """Key of the hash action (HMAC-SHA256). Left out, one is made and kept in the state directory."""
    truncate_ips: bool = False
    """Zero the last byte of IPv4 addresses, and all but the first 48 bits of IPv6 addresses."""
