"""The Elasticsearch shape: bulk requests and their replies, and what clients ask before they send any.

RULES
- `index` and `create` are taken, each with an identity that is the same when the client sends its `_id` again to the same index:
  a hash of both. Without an `_id` an item gets one, of the request's idempotency key or of chance.
- `index` does not replace: the first document of an `_id` stays. `update` and `delete` are refused, item by item, as records are
  not changed. `_index` becomes the record's tag, never by itself the name of an index.
- A body that is not in the bulk form is refused whole, as Elasticsearch does (`RestBulkAction`); a document that is no JSON
  object is refused alone. Where the spool takes some parts only, the items of the others say 429, which clients send again.
- Templates, policies and pipelines that a client looks for are there, so that it does not write any; writing one is refused.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from shipper.source.http_body import ROWS_MAX, RefusedError, is_object, split, trusted
from shipper.source.push import DELIVERY_BYTES_MAX, TAG_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

VERSION = "8.19.0"
"""What clients are told to speak to; those of 8.x and 7.14 to 7.17 do."""
PRODUCT = ("X-Elastic-Product", "Elasticsearch")
"""The header by which clients know the server (elasticsearch-specification, "product check")."""
_INDEX_BYTES_MAX = 255
_ID_BYTES_MAX = 512
"""Elasticsearch's own limits."""
_CACHED_ACTIONS = 1024
_BLANKS = b" \t\r\n"
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_UUID = "c2hpcHBlci1jbHVzdGVyMQ"
_LEAN = {"errors", "items.*.status", "items.*.error", "took"}
"""Parts of a reply that are cheap; a client that asks for them alone (`filter_path`) gets no more."""
_ASKED: dict[str, Callable[[str], object]] = {
    "_template": lambda name: {name: {"order": 0, "index_patterns": [], "settings": {}, "mappings": {}, "aliases": {}}},
    "_index_template": lambda name: {"index_templates": [{"name": name, "index_template": {"index_patterns": []}}]},
    "_component_template": lambda name: {"component_templates": [{"name": name, "component_template": {"template": {}}}]},
    "_ilm/policy": lambda name: {name: {"version": 1, "policy": {"phases": {}}}},
    "_ingest/pipeline": lambda name: {name: {"processors": []}},
}
_LICENSE = {"status": "active", "uid": _UUID, "type": "basic", "mode": "basic", "issued_to": "shipper", "issuer": "elasticsearch"}
_FEATURES = ("ilm", "security", "monitoring", "data_streams")
_DOCUMENTS: dict[str, object] = {
    "": {
        "name": "shipper",
        "cluster_name": "shipper",
        "cluster_uuid": _UUID,
        "version": {
            "number": VERSION,
            "build_flavor": "default",
            "build_type": "tar",
            "build_hash": "0" * 40,
            "build_date": "2025-07-23T22:10:57.067596588Z",
            "build_snapshot": False,
            "lucene_version": "9.12.2",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    },
    "_license": {"license": _LICENSE},
    "_xpack": {
        "build": {"hash": "0" * 40, "date": "2025-07-23T22:10:57.067Z"},
        "license": {"uid": _UUID, "type": "basic", "mode": "basic", "status": "active"},
        "features": {name: {"available": True, "enabled": name == "ilm"} for name in _FEATURES},
        "tagline": "You know, for X",
    },
    "_cluster/health": {
        "cluster_name": "shipper",
        "status": "green",
        "timed_out": False,
        "number_of_nodes": 1,
        "number_of_data_nodes": 1,
        "active_primary_shards": 0,
        "active_shards": 0,
        "relocating_shards": 0,
        "initializing_shards": 0,
        "unassigned_shards": 0,
    },
}


class _Meta(msgspec.Struct):
    index: str | None = msgspec.field(default=None, name="_index")
    id: str | int | None = msgspec.field(default=None, name="_id")


class _Action(msgspec.Struct):
    index: _Meta | None = None
    create: _Meta | None = None
    update: _Meta | None = None
    delete: _Meta | None = None


_action = msgspec.json.Decoder(_Action)


class Item(msgspec.Struct):
    """One action of a bulk request."""

    action: str
    index: str
    id: str = ""
    row: bytes = b""
    refusal: tuple[str, str] | None = None
    """Type and reason, of an item that is not taken."""


def answer(path: str) -> object:
    """The document that a client finds at `path`, which has no slashes at its ends; None for none."""
    if path in _DOCUMENTS:
        return _DOCUMENTS[path]
    kind, _, name = path.rpartition("/")
    return _ASKED[kind](name[:_INDEX_BYTES_MAX]) if kind in _ASKED else None


def error(status: int, kind: str, reason: str) -> dict[str, object]:
    """Return an error as Elasticsearch shapes it."""
    cause = {"type": kind, "reason": reason}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


def bulk_index(path: str) -> str | None:
    """The index a bulk path names, an empty text for none; None where it is no bulk path. A type (7.x) is passed over."""
    *before, last = path.split("/")
    if last != "_bulk" or len(before) > 2 or (before and before[0].startswith("_")):
        return None
    return before[0] if before else ""


def items(body: bytes, index: str) -> list[Item]:
    """The actions of a bulk body; `index` is for those that name none. Raises RefusedError: 400, 413."""
    rows = split(body)
    sound = trusted(body, rows)
    actions = _Actions(index)
    found: list[Item] = []
    number = 0
    while number < len(rows):
        line = rows[number].strip(_BLANKS)
        number += 1
        if not line:
            continue
        action, index, identity = actions.read(line, number)
        item = Item(action, index, identity)
        found.append(item)
        if action != "delete":
            source = rows[number].strip(_BLANKS) if number < len(rows) else b""
            number += 1
            if not source:
                raise _malformed(number, "the document of the action before it is missing")
            item.row = source if sound else source.translate(_BREAKS)
        item.refusal = _refusal(item, sound=sound)
    if not found:
        raise RefusedError(400, "parse_exception", "request body is required")
    if len(found) > ROWS_MAX:
        raise RefusedError(413, "too_large", f"a request holds at most {ROWS_MAX} records")
    return found


class _Actions(dict[bytes, tuple[str, str, str]]):
    """Action lines of one request, as name, index and id; most of them are equal."""

    def __init__(self, index: str) -> None:
        super().__init__()
        self._index = index

    def read(self, line: bytes, number: int) -> tuple[str, str, str]:
        """The action in a line. Raises RefusedError: 400."""
        known = self.get(line)
        if known is not None:
            return known
        try:
            line.decode()
            action = _action.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _malformed(number, "expected an action such as create, and its metadata") from None
        named = [(name, meta) for name, meta in msgspec.structs.asdict(action).items() if meta is not None]
        if len(named) != 1:
            raise _malformed(number, "expected one of create, delete, index or update")
        name, meta = named[0]
        index = self._index if meta.index is None else meta.index
        if not index or len(index.encode()) > _INDEX_BYTES_MAX:
            reason = f"Validation Failed: the index of line {number} is missing or longer than {_INDEX_BYTES_MAX} bytes;"
            raise RefusedError(400, "action_request_validation_exception", reason)
        found = name, index, "" if meta.id is None else str(meta.id)
        if len(self) < _CACHED_ACTIONS:
            self[line] = found
        return found


def _malformed(number: int, reason: str) -> RefusedError:
    return RefusedError(400, "illegal_argument_exception", f"Malformed action/metadata line [{number}], {reason}")


def _refusal(item: Item, *, sound: bool) -> tuple[str, str] | None:
    if item.action in ("update", "delete"):
        return "action_request_validation_exception", f"records are not changed: {item.action} is not supported"
    if len(item.id.encode()) > _ID_BYTES_MAX:
        return "illegal_argument_exception", f"the _id is longer than {_ID_BYTES_MAX} bytes"
    if len(item.row) > DELIVERY_BYTES_MAX:
        return "illegal_argument_exception", f"the document is larger than {DELIVERY_BYTES_MAX} bytes"
    if not sound and not is_object(item.row):
        return "document_parsing_exception", "the document is no JSON object"
    return None


def hashed(*parts: bytes) -> bytes:
    """Return a name for `parts`, 22 characters of base64url."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return urlsafe_b64encode(digest.digest())[:22]


def identified(found: list[Item], prefix: bytes) -> list[bytes]:
    """The identity of each item, and its `_id` for those that have none: `prefix` and the place in the request."""
    ids = []
    for number, item in enumerate(found):
        if item.id:
            ids.append(hashed(item.index.encode(), item.id.encode()))
        else:
            ids.append(b"%b-%d" % (prefix, number))
            item.id = ids[-1].decode()
    return ids


def tag(index: str) -> str:
    """The tag of an index's records."""
    return index[:TAG_CHARS_MAX]


def reply(found: list[Item], busy: Collection[int], took: int, filter_path: str) -> dict[str, object]:
    """The reply to a bulk request. Items at places in `busy` were not taken and are to be sent again; `took` is in ms."""
    lean = bool(filter_path) and {*filter_path.split(",")} <= _LEAN
    results = [_result(item, lean=lean, busy=number in busy) for number, item in enumerate(found)]
    errors = bool(busy) or any(item.refusal is not None for item in found)
    return {"errors": errors, "took": took, "items": results}


def _result(item: Item, *, lean: bool, busy: bool) -> dict[str, object]:
    named: dict[str, object] = {} if lean else {"_index": item.index, "_id": item.id}
    refusal = ("es_rejected_execution_exception", "the agent takes no more at the moment") if busy else item.refusal
    if refusal is not None:
        kind, reason = refusal
        return {item.action: {**named, "status": 429 if busy else 400, "error": {"type": kind, "reason": reason}}}
    if lean:
        return _TAKEN[item.action]
    return {item.action: {**named, "_version": 1, "result": "created", "status": 201}}


_TAKEN: dict[str, dict[str, object]] = {name: {name: {"status": 201}} for name in ("create", "index")}
