"""The verdict tables, row by row, and what is kept of an error."""

from __future__ import annotations

import json

import pytest

from shipper.deliver import verdict
from shipper.deliver.verdict import Answer, Outcome

ITEM_CASES = [
    (201, "", "", Outcome.CREATED),
    (200, "", "", Outcome.CREATED),
    (409, "version_conflict_engine_exception", "[a]: version conflict", Outcome.DUPLICATE),
    (429, "es_rejected_execution_exception", "rejected execution of", Outcome.WAIT),
    (408, "", "", Outcome.WAIT),
    (503, "unavailable_shards_exception", "[x][0] primary shard is not active", Outcome.WAIT),
    (401, "security_exception", "", Outcome.BLOCKED),
    (403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)];", Outcome.BLOCKED),
    (404, "index_not_found_exception", "no such index [x] and [action.auto_create_index] is [false]", Outcome.BLOCKED),
    (400, "index_closed_exception", "closed", Outcome.BLOCKED),
    (400, "validation_exception", "Validation Failed: 1: this action would add [2] shards", Outcome.BLOCKED),
    (400, "illegal_argument_exception", "pipeline with id [p] does not exist", Outcome.BLOCKED),
    (400, "illegal_argument_exception", "no write index is defined for alias [a]", Outcome.BLOCKED),
    (400, "illegal_argument_exception", "Validation Failed: 1: this action would add [2] total shards", Outcome.BLOCKED),
    (400, "document_parsing_exception", "[1:9] failed to parse field [a] of type [long]", Outcome.DEAD),
    (302, "", "", Outcome.WAIT),
]


@pytest.mark.parametrize(("status", "error_type", "reason", "expected"), ITEM_CASES)
def test_item_table_gives_its_outcome_for_each_row(status, error_type, reason, expected):
    """Each row of the items' table decides as written."""
    assert expected == verdict.of_item(status, error_type, reason)


def test_item_table_has_a_case_for_each_row():
    """No row of the table is without a case above, and no case misses its row."""

    def row(status, error_type, reason):
        return next(
            number
            for number, rule in enumerate(verdict.ITEMS)
            if rule.first <= status <= rule.last
            and (not rule.types or error_type in rule.types)
            and reason.startswith(rule.reason_starts)
        )

    assert list(range(len(verdict.ITEMS))) == [row(*case[:3]) for case in ITEM_CASES]


@pytest.mark.parametrize(
    "error_type", ["mapper_parsing_exception", "strict_dynamic_mapping_exception", "illegal_argument_exception"]
)
def test_item_is_dead_when_the_document_itself_is_at_fault(error_type):
    """Mapping conflicts, strict mappings and field limits are for ever."""
    assert verdict.of_item(400, error_type, "Limit of total fields [1000] has been exceeded") is Outcome.DEAD


ERROR = json.dumps({"error": {"type": "parse_exception", "reason": "x"}, "status": 400}).encode()
REQUEST_CASES = [
    (200, b"", Answer.READ),
    (413, b"", Answer.SPLIT),
    (400, ERROR, Answer.SPLIT),
    (400, b"<html>The plain HTTP request was sent to HTTPS port</html>", Answer.ALARM),
    (408, b"", Answer.WAIT),
    (425, b"", Answer.WAIT),
    (429, ERROR, Answer.WAIT),
    (503, b"", Answer.WAIT),
    (401, b"", Answer.ALARM),
    (403, b"", Answer.ALARM),
    (404, b"", Answer.ALARM),
]


@pytest.mark.parametrize(("status", "body", "expected"), REQUEST_CASES)
def test_request_table_gives_its_answer_for_each_row(status, body, expected):
    """Each row of the requests' table decides as written."""
    assert expected is verdict.of_request(status, body)


def test_request_table_has_a_case_for_each_row():
    """As many cases as rows, each status within its row."""
    assert len(verdict.REQUESTS) == len(REQUEST_CASES)
    for rule, (status, body, _) in zip(verdict.REQUESTS, REQUEST_CASES, strict=True):
        assert rule.first <= status <= rule.last
        assert not rule.typed or verdict.request_error_type(body)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (
            "[1:123] failed to parse field [duration_ms] of type [float] in document with id 'x'. Preview of field's value: 'y'",
            "duration_ms",
        ),
        ("failed to parse field [client.ip] of type [ip] in document with id 'x'", "client.ip"),
        ("[1:9] object mapping for [client] tried to parse field [client] as object, but found a concrete value", "client"),
        ("[1:2] mapping set to strict, dynamic introduction of [b] within [a] is not allowed", "a.b"),
        ("mapping set to strict, dynamic introduction of [b] within [_doc] is not allowed", "b"),
        ("Could not dynamically add mapping for field [a.b]. Existing mapping for [a] must be of type object", "a.b"),
        ("[1:9] Duplicate field 'client'", "client"),
        ('Document contains at least one immense term in field="message" (whose UTF8 encoding is longer)', "message"),
        ("Preview of field's value: 'failed to parse field [secret] of type [x]'", ""),
        ("something else entirely with [brackets]", ""),
        ("failed to parse field [a\x1b[31m] of type [x]", "a?[31m"),
        ("failed to parse field [" + "x" * 300 + "] of type [x]", "x" * 256),
    ],
)
def test_error_field_is_the_name_only(reason, expected):
    """Of a reason only the field's name is taken, never what it quotes."""
    assert expected == verdict.error_field(reason)


@pytest.mark.parametrize(
    ("found", "expected"),
    [("mapper_parsing_exception", "mapper_parsing_exception"), ("", ""), ("a b", "other"), ("x" * 101, "other")],
)
def test_clean_type_lets_only_words_through(found, expected):
    """A hostile sink cannot put text into our log by an error's type."""
    assert expected == verdict.clean_type(found)


@pytest.mark.parametrize("body", [b"", b"null", b'{"error":"text"}', b'{"error":{}}', b"\xff", b"[" * 100_000])
def test_request_error_type_is_empty_for_what_is_no_error_object(body):
    """Anything but Elasticsearch's own error object has no type."""
    assert verdict.request_error_type(body) == ""
