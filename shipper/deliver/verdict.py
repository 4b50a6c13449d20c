"""Verdict: what an answer of Elasticsearch means for a request, and for each of its documents. Two tables, as data.

RULES
- The first row that matches decides. Every row has its test (`tests/deliver/test_verdict.py`).
- Nothing is dropped for a fault of the destination (overload, rights, blocks, a missing index or pipeline): it waits and is
  sent again. Dead are only documents that would be refused for ever as they are.
- Of an error only its type and the field's name are kept; its reason quotes values of the document.

SOURCES: Elasticsearch reference, "Bulk API" (statuses of items), "Index blocks", "Rejected requests"; seen on 7.17, 8.19, 9.5
and OpenSearch 3.6: a closed index is 400, `index.blocks.write` 403, the flood stage 429, `require_alias` 404 for an item.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

import msgspec


class Outcome(enum.Enum):
    """What becomes of one document."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    WAIT = "wait"
    """The destination is overloaded or unwell: send it again later, and slow down."""
    BLOCKED = "blocked"
    """Its index does not take documents now: send it again later. Others are not concerned."""
    DEAD = "dead"


class Answer(enum.Enum):
    """What becomes of a whole request."""

    READ = "read"
    """Its items say it."""
    SPLIT = "split"
    """Send it in halves, down to one document; that one is dead."""
    WAIT = "wait"
    """Send it again after a wait."""
    ALARM = "alarm"
    """Send it again after a wait, and tell the operator: it will not mend itself."""


class ItemRule(NamedTuple):
    """A row: statuses [first, last], and where given the error's type and how its reason starts."""

    first: int
    last: int
    types: frozenset[str]
    reason_starts: str
    outcome: Outcome
    why: str


class RequestRule(NamedTuple):
    """A row: statuses [first, last]; `typed` asks that the body is an error object of Elasticsearch's own."""

    first: int
    last: int
    typed: bool
    answer: Answer
    why: str


_ANY: frozenset[str] = frozenset()

ITEMS: tuple[ItemRule, ...] = (
    ItemRule(201, 201, _ANY, "", Outcome.CREATED, "created"),
    ItemRule(200, 200, _ANY, "", Outcome.CREATED, "taken; an ingest pipeline that drops a document answers `noop` with 200"),
    ItemRule(409, 409, _ANY, "", Outcome.DUPLICATE, "version conflict on `create`: our `_id` is there already"),
    ItemRule(429, 429, _ANY, "", Outcome.WAIT, "write queue full, or the disk's flood stage"),
    ItemRule(408, 408, _ANY, "", Outcome.WAIT, "timed out inside the cluster"),
    ItemRule(500, 599, _ANY, "", Outcome.WAIT, "shard not available, master not elected, failure of a node"),
    ItemRule(401, 401, _ANY, "", Outcome.BLOCKED, "credentials expired: the operator's to mend"),
    ItemRule(403, 403, _ANY, "", Outcome.BLOCKED, "index block or missing privilege: the operator's to mend"),
    ItemRule(404, 404, _ANY, "", Outcome.BLOCKED, "no such index and none may be made, or alias required"),
    ItemRule(400, 400, frozenset({"index_closed_exception"}), "", Outcome.BLOCKED, "closed index"),
    ItemRule(400, 400, frozenset({"validation_exception"}), "", Outcome.BLOCKED, "the cluster's limit of shards"),
    ItemRule(
        400, 400, frozenset({"illegal_argument_exception"}), "pipeline with id", Outcome.BLOCKED, "ingest pipeline does not exist"
    ),
    ItemRule(
        400, 400, frozenset({"illegal_argument_exception"}), "no write index", Outcome.BLOCKED, "alias without a write index"
    ),
    ItemRule(
        400, 400, frozenset({"illegal_argument_exception"}), "Validation Failed", Outcome.BLOCKED, "limit of shards, before 7.9"
    ),
    ItemRule(400, 499, _ANY, "", Outcome.DEAD, "the document itself: mapping conflict, strict mapping, field limit, broken JSON"),
    ItemRule(0, 999, _ANY, "", Outcome.WAIT, "not a status of the Bulk API: not understood, so not decided"),
)

REQUESTS: tuple[RequestRule, ...] = (
    RequestRule(200, 299, False, Answer.READ, "the items decide"),
    RequestRule(413, 413, False, Answer.SPLIT, "larger than `http.max_content_length` or a proxy's limit"),
    RequestRule(400, 400, True, Answer.SPLIT, "one document spoils the request (malformed action line): halving finds it"),
    RequestRule(400, 400, False, Answer.ALARM, "a 400 that is not Elasticsearch's own: plain HTTP to a TLS port, a proxy"),
    RequestRule(408, 408, False, Answer.WAIT, "the server waited too long for the request"),
    RequestRule(425, 425, False, Answer.WAIT, "too early"),
    RequestRule(429, 429, False, Answer.WAIT, "indexing pressure or circuit breaker"),
    RequestRule(500, 599, False, Answer.WAIT, "server or gateway trouble"),
    RequestRule(401, 401, False, Answer.ALARM, "wrong or expired credentials"),
    RequestRule(403, 403, False, Answer.ALARM, "missing privilege, or `cluster.blocks.read_only`"),
    RequestRule(0, 999, False, Answer.ALARM, "wrong path (404, 405), redirect, media type refused, proxy authentication"),
)


def of_item(status: int, error_type: str = "", reason: str = "") -> Outcome:
    """Return the outcome of a document. `reason` is only looked at, never kept. O(rows of the table)."""
    for rule in ITEMS:
        if (
            rule.first <= status <= rule.last
            and (not rule.types or error_type in rule.types)
            and reason.startswith(rule.reason_starts)
        ):
            return rule.outcome
    return Outcome.WAIT


def of_request(status: int, body: bytes) -> Answer:
    """Return the answer for a whole request."""
    for rule in REQUESTS:
        if rule.first <= status <= rule.last and (not rule.typed or request_error_type(body)):
            return rule.answer
    return Answer.ALARM


class _ErrorType(msgspec.Struct):
    type: str = ""


class _RequestError(msgspec.Struct):
    error: _ErrorType


_request_error = msgspec.json.Decoder(_RequestError)


def request_error_type(body: bytes) -> str:
    """Return the type of the error object `{"error":{"type":...}}`, or "" where the body is nothing of the kind."""
    try:
        return clean_type(_request_error.decode(body).error.type)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""


_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")


def clean_type(found: str) -> str:
    """Return an error's type where it looks like one, else `other`; "" stays. What a hostile sink says goes no further."""
    return found if not found or _TYPE.fullmatch(found) else "other"


# Anchored at the start: later parts of a reason quote values of the document, which could imitate these phrases.
_FIELDS = tuple(
    re.compile(r"(?:\[\d+:\d+\] )?" + phrase)
    for phrase in (
        r"failed to parse(?: date)? field \[([^\]]+)\] (?:of type|with value|in document)",
        r"failed to parse field \[([^\]]+)\]",
        r"object mapping for \[([^\]]+)\] (?:tried to parse|with)",
        r"mapping set to strict, dynamic introduction of \[(?P<leaf>[^\]]+)\] within \[(?P<parent>[^\]]+)\]",
        r"Could not dynamically add mapping for field \[([^\]]+)\]",
        r"can't merge a non object mapping \[([^\]]+)\]",
        r"mapper \[([^\]]+)\] cannot be changed",
        r"Duplicate field '([^']+)'",
        r"Document contains at least one immense term in field=\"([^\"]+)\"",
        r"object field starting or ending with a \[\.\] makes object resolution ambiguous: \[([^\]]+)\]",
        r"Field \[([^\]]+)\] (?:is|cannot)",
        r"field \[([^\]]+)\]",
    )
)
_FIELD_CHARACTERS_MAX = 256


def error_field(reason: str) -> str:
    """Return the name of the field an error's reason is about, or "". Cut at 256 characters, control characters replaced."""
    for phrase in _FIELDS:
        found = phrase.match(reason)
        if found:
            name = found[1] if not found.groupdict() else _within(found["parent"], found["leaf"])
            return "".join(c if c.isprintable() else "?" for c in name[:_FIELD_CHARACTERS_MAX])
    return ""


def _within(parent: str, leaf: str) -> str:
    """The dotted name of a field; the root object of a document is called `_doc`."""
    return leaf if parent == "_doc" else f"{parent}.{leaf}"
