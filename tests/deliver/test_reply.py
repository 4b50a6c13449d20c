"""Reading bulk replies: what is believed, and what is an unknown outcome."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.deliver import reply
from shipper.deliver.verdict import Outcome

CREATED = {"create": {"status": 201}}
CONFLICT = {"create": {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "[x]: version conflict"}}}


def write(items, **more):
    """A reply as Elasticsearch writes it."""
    errors = any("error" in item["create"] for item in items)
    return json.dumps({**more, "errors": errors, "items": items}, separators=(",", ":")).encode()


ITEMS = st.lists(
    st.sampled_from(
        [
            CREATED,
            CONFLICT,
            {"create": {"status": 200}},
            {
                "create": {
                    "status": 429,
                    "error": {"type": "es_rejected_execution_exception", "reason": 'quotes "status":201 here'},
                }
            },
        ]
    ),
    max_size=8,
)


@given(ITEMS)
def test_all_created_agrees_with_decoding(items):
    """Counting says yes only if decoding finds exactly that many documents created."""
    body = write(items)
    for documents in range(len(items) + 2):
        if reply.all_created(body, documents):
            judged = reply.read(body, documents)
            assert judged is not None
            assert {item.outcome for item in judged} <= {Outcome.CREATED}


def test_all_created_is_true_when_every_status_is_201():
    """The way that everything goes is counted."""
    assert reply.all_created(write([CREATED] * 3), 3)
    assert not reply.all_created(write([CREATED] * 3), 2)


@given(ITEMS, st.data())
def test_read_knows_nothing_of_a_reply_cut_short(items, data):
    """No proper prefix of a reply is believed."""
    body = write(items)
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    assert reply.read(cut, len(items)) is None
    assert not reply.all_created(cut, len(items))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"{}",
        b'{"errors":false}',
        b'{"items":[{"create":{}}]}',
        b'{"items":[{"index":{"status":201}}]}',
        b'{"items":[{"create":{"status":"201"}}]}',
        b'{"x":' + b"[" * 100_000,
        b'{"items":[{"create":{"status":201,"error":{"type":"\xff"}}}]}',
        write([CREATED, CREATED]),
    ],
)
def test_read_is_unknown_for_anything_but_one_item_a_document(body):
    """HTML, nothing, half a JSON, other counts, hostile nesting."""
    assert reply.read(body, 1) is None


def test_read_keeps_of_an_error_its_type_and_field():
    """The reason, which quotes the value, is gone."""
    error = {
        "type": "document_parsing_exception",
        "reason": "[1:1] failed to parse field [age] of type [long] in document with id 'x'. Preview of field's value: 'S3CRET'",
    }
    judged = reply.read(write([{"create": {"status": 400, "error": error}}]), 1)
    assert judged == [reply.Judged(Outcome.DEAD, 400, "document_parsing_exception", "age")]
    assert "S3CRET" not in repr(judged)


def test_read_finds_the_field_in_the_cause():
    """Version 7 says the field in `caused_by` for some errors."""
    error = {
        "type": "mapper_parsing_exception",
        "reason": "failed to parse",
        "caused_by": {"type": "illegal_argument_exception", "reason": "Duplicate field 'a'"},
    }
    judged = reply.read(write([{"create": {"status": 400, "error": error}}]), 1)
    assert judged == [reply.Judged(Outcome.DEAD, 400, "mapper_parsing_exception", "a")]


def test_read_takes_an_error_that_is_a_string():
    """A proxy that rewrites errors does not stop delivery."""
    assert reply.read(b'{"items":[{"create":{"status":503,"error":"no"}}]}', 1) == [reply.Judged(Outcome.WAIT, 503)]
