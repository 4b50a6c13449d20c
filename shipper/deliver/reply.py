"""Reply: read the answer to a `_bulk` request (`filter_path=errors,items.*.status,items.*.error`).

RULES
- An answer is believed only when it has exactly one item a document. Anything else (HTML with 200, half a JSON, nothing, a
  wrong count) is an unknown outcome: the caller sends everything again, which `create` with our own `_id` makes safe.
- Items are in the order of the request (Elasticsearch reference, "Bulk API").
- Where no error happened, the answer is compared with the one that says so, not decoded: 2 ns a document instead of 300.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shipper.deliver import verdict
from shipper.deliver.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence


class Judged(msgspec.Struct, frozen=True):
    """One document's outcome, and of its error what may be kept."""

    outcome: Outcome
    status: int
    error_type: str = ""
    error_field: str = ""


class _Cause(msgspec.Struct):
    type: str | None = None
    reason: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    reason: str | None = None
    caused_by: _Cause | None = None


class _Item(msgspec.Struct):
    status: int
    error: _Error | str | None = None


class _Line(msgspec.Struct):
    create: _Item


class _Reply(msgspec.Struct):
    items: list[_Line]


_decode = msgspec.json.Decoder(_Reply).decode
_HEAD, _ITEM, _TAIL = b'{"errors":false,"items":[', b'{"create":{"status":201}}', b"]}"
_CREATED = Judged(Outcome.CREATED, 201)
_DUPLICATE = Judged(Outcome.DUPLICATE, 409)


def all_created(body: bytes, documents: int) -> bool:
    """Whether the answer says that all `documents` were created. False also for what only decoding can tell."""
    length = len(_HEAD) + documents * (len(_ITEM) + 1) - 1 + len(_TAIL)
    return len(body) == length and body == b"".join((_HEAD, (_ITEM + b",") * (documents - 1), _ITEM, _TAIL))


def read(body: bytes, documents: int) -> Sequence[Judged] | None:
    """Return what became of each document, or None where the outcome is unknown."""
    try:
        items = _decode(body).items
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if len(items) != documents:
        return None
    return [_judge(line.create) for line in items]


def _judge(item: _Item) -> Judged:
    """Apply the table to one item."""
    if item.status == 201:
        return _CREATED
    if item.status == 409:
        return _DUPLICATE
    if not isinstance(item.error, _Error):
        return Judged(verdict.of_item(item.status), item.status)
    error_type, reason = item.error.type or "", item.error.reason or ""
    field = verdict.error_field(reason)
    if not field and item.error.caused_by is not None:
        field = verdict.error_field(item.error.caused_by.reason or "")
    return Judged(verdict.of_item(item.status, error_type, reason), item.status, verdict.clean_type(error_type), field)
