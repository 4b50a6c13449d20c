"""Every rule of the packs is held to its own examples: plain, behind JSON escapes, three times in one block."""

from __future__ import annotations

import re

import msgspec
import pytest

from shipper.model.errors import ComponentError
from shipper.redact.packs import chosen_rules, load_pack
from shipper.redact.rule import Rule
from shipper.redact.settings import CustomRule, RedactConfig
from tests.redact.gating import PACK_RULES, admit, batch, full_gate, gate_of, rows_of

MATCHES = [
    pytest.param(rule.id, text, id=f"{rule.id}-{number}")
    for rule in PACK_RULES.values()
    for number, text in enumerate(rule.match)
]
OTHERS = [
    pytest.param(rule.id, text, id=f"{rule.id}-{number}")
    for rule in PACK_RULES.values()
    for number, text in enumerate(rule.no_match)
]
BEHIND = [b"", b"\\n", b"\\t", b"\\u00fc", b"\\u00a0", b"\xc3\xbc ", b"x \\\\n", b'say \\"', b"\\ud83d\\ude00"]
NEIGHBOUR = b'{"level":"INFO","message":"nothing to see","n":42}'


def inside_json(text: str) -> bytes:
    """Return `text` as the inside of a JSON string."""
    return msgspec.json.encode(text)[1:-1]


@pytest.mark.parametrize(("rule", "text"), MATCHES)
def test_rule_masks_its_examples_when_they_stand_in_plain_text(engine: str, rule: str, text: str) -> None:
    """Each `match` is found, what is left does not hold it, and neighbours stay as they are."""
    safe = gate_of(engine, rule).admit(batch([b"before", text.encode(), b"after"]))
    assert safe.masked.get(rule, 0) >= 1
    before, hit, after = rows_of(safe)
    assert (before, after) == (b"before", b"after")
    assert text.encode() not in hit


@pytest.mark.parametrize(("rule", "text"), OTHERS)
def test_rule_leaves_its_counter_examples_alone(engine: str, rule: str, text: str) -> None:
    """Each `no_match` passes unchanged, in plain text and in JSON."""
    row = b'{"message":"%s"}' % inside_json(text)
    safe = gate_of(engine, rule).admit(batch([text.encode(), row]))
    assert safe.masked == {}
    assert rows_of(safe) == [text.encode(), row]


@pytest.mark.parametrize(("rule", "text"), MATCHES)
def test_rule_masks_its_examples_when_they_stand_behind_json_escapes(engine: str, rule: str, text: str) -> None:
    """Each `match` is found in a JSON string behind every kind of escape, the JSON stays valid, and the escape stays whole."""
    gate, inner = gate_of(engine, rule), inside_json(text)
    rows = [b'{"a":1,"message":"%s%s","b":"\\n"}' % (escape, inner) for escape in BEHIND]
    safe = gate.admit(batch(rows))
    assert safe.masked.get(rule, 0) >= len(rows)
    for escape, row in zip(BEHIND, rows_of(safe), strict=True):
        assert inner not in row
        decoded = msgspec.json.decode(row)
        assert (decoded["a"], decoded["b"]) == (1, "\n")
        assert row.startswith(b'{"a":1,"message":"' + escape) or rule in ("email", "cookie")


@pytest.mark.parametrize(("rule", "text"), MATCHES)
def test_rule_masks_every_occurrence_when_it_fires_three_times_in_a_block(engine: str, rule: str, text: str) -> None:
    """The screen reports all matches, not the first one of a block, also twice in one row."""
    row = b'{"message":"%s","more":"%s"}' % (inside_json(text), inside_json(text))
    out = admit(gate_of(engine, rule), NEIGHBOUR, row, NEIGHBOUR, row, row)
    assert out[0] == out[2] == NEIGHBOUR
    assert out[1] == out[3] == out[4]
    assert inside_json(text) not in b"\n".join(out)
    msgspec.json.decode(out[1])


@pytest.mark.parametrize(("rule", "text"), MATCHES)
def test_packs_together_mask_every_example_when_all_rules_run_at_once(engine: str, rule: str, text: str) -> None:
    """No rule hides another one's hit: with all of them on, no example passes whole."""
    if not rule.startswith("ipv"):
        row = b'{"message":"%s"}' % inside_json(text)
        out = admit(full_gate(engine), NEIGHBOUR, row, text.encode(), NEIGHBOUR)
        assert out[0] == out[3] == NEIGHBOUR
        assert inside_json(text) not in out[1]
        assert text.encode() not in out[2]
        msgspec.json.decode(out[1])


def test_packs_hold_enough_rules_and_each_has_examples_of_both_kinds() -> None:
    """At least 200 rules for secrets, ids well formed and used once, and nothing without a `match` and a `no_match`."""
    packs = [load_pack("secrets"), load_pack("pii")]
    assert len(packs[0].rules) + len(packs[0].keys) >= 200
    ids = [rule.id for pack in packs for rule in (*pack.rules, *pack.keys)]
    assert len(ids) == len(set(ids))
    for rule in PACK_RULES.values():
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", rule.id)
        assert rule.title
        assert rule.match
        assert rule.no_match


@pytest.mark.parametrize("rule", [rule for rule in PACK_RULES.values() if isinstance(rule, Rule)], ids=lambda rule: str(rule.id))
def test_screen_ends_within_reach_of_the_match_for_every_example(rule: Rule) -> None:
    """The contract of a screen: a match of it ends inside each exact match, at most `reach` bytes behind its start."""
    screen, (pattern, _) = re.compile(rule.screened()), rule.exact()
    for text in rule.match:
        row = text.encode()
        exact = pattern.search(row)
        assert exact is not None
        ends = [found.end() for start in range(len(row)) if (found := screen.search(row, start))]
        limit = exact.end() if rule.reach < 0 else exact.start() + rule.reach
        assert any(exact.start() < end <= min(limit, exact.end()) for end in ends), text


@pytest.mark.parametrize(
    ("config", "field", "hint"),
    [
        (RedactConfig(packs=["secret"]), "packs.0", "secrets"),
        (RedactConfig(disable=["emial"]), "disable.0", "email"),
        (RedactConfig(actions={"crad": "mask"}), "actions.crad", "card"),
        (RedactConfig(actions={"card": "hsah"}), "actions.card", "hash"),
        (RedactConfig(rules=[CustomRule(id="email", pattern="x")]), "rules.0.id", "another"),
        (RedactConfig(rules=[CustomRule(id="No Id", pattern="x")]), "rules.0.id", "lower case"),
        (RedactConfig(rules=[CustomRule(id="mine", pattern="x", action="burn")]), "rules.0.action", "mask"),
    ],
)
def test_chosen_rules_refuse_unknown_names_with_a_hint(config: RedactConfig, field: str, hint: str) -> None:
    """The error names the setting and says what to write instead."""
    with pytest.raises(ComponentError) as caught:
        chosen_rules(config)
    assert caught.value.field == field
    assert hint in caught.value.hint


def test_chosen_rules_put_the_users_rules_first_and_leave_disabled_ones_out() -> None:
    """Order is precedence: own rules, own names, value rules, key rules; IP rules only on request."""
    config = RedactConfig(packs=["pii"], rules=[CustomRule(id="mine", pattern="x{3}")], keys=["pin"], disable=["card"])
    ids = [rule.id for rule in chosen_rules(config)]
    assert ids[:2] == ["mine", "key"]
    assert "card" not in ids
    assert "ipv4" not in ids
    assert "ipv4" in [rule.id for rule in chosen_rules(RedactConfig(truncate_ips=True))]


def test_chosen_rules_take_the_action_of_a_rule_before_that_of_its_pack() -> None:
    """`actions` speaks of rules or of whole packs; the rule wins."""
    rules = {rule.id: rule.action for rule in chosen_rules(RedactConfig(actions={"pii": "hash", "card": "partial"}))}
    assert (rules["email"], rules["card"], rules["github-token"]) == ("hash", "partial", "mask")
