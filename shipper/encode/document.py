"""Documents: the bulk body of a batch. Fragments are spliced into the rows' own bytes; nothing is serialised again.

LAYOUT of a document
    {record's own members}, "@timestamp", "log":{"offset","file":{"path"}}, "host":{"name"}, the frame's extras, the stages'
    fragments, "shipper":{flags}
- `_id` is `<stream>-<start>-<end>`, the bytes of the source the record stands for: a record whose bounds changed between two
  readings is another document, and a resend is a 409. With `id: content` it is a keyed hash of the framed record instead, so
  that a record written to two files becomes one document.
- An odd row, one that has a member of ours already, is merged member by member: objects are joined, ours winning; a scalar in the
  way, or a dotted spelling of a member of ours, moves to `shipper.record.<name>`. A name that holds an object of ours in other
  documents (`log`, `host`, `shipper`, what stages add) is kept free of scalars in all, as the index maps it as an object.
  What the record says besides is copied as it stands, numbers of any size too.

THEORY
Per row about fourteen pieces, half of them the same in all rows, and one join for all. They are laid out in one list: the shared
ones by repeating it, the others a column at a time by a strided assignment, which costs half of zipping tuples and chaining
them. No Python statement per row.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable
from itertools import chain, compress, repeat
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from shipper.model.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from shipper.model.batch import Stream
    from shipper.model.columns import Columns

_ID_END = b'"}}\n'
_STAMP = b',"@timestamp":"'
_LOG = b'","log":{"offset":'
_LOG_ONLY = b',"log":{"offset":'
_END = b"}\n"
_OBJECTS = ("log", "host", "shipper")
"""Members of ours that are objects in every index."""
_ALIKE = ("redacted", "stage_error", "unconverted")
"""Flags that a row may have several times, with other values."""
_NUMBERS = frozenset(("sample_rate",))
"""Flags whose value is a number."""
_NULL = msgspec.Raw(b"null")
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

_ACTION_PIECES = 5
"""So many pieces of a row are its action line; the record's own bytes follow."""

Members = dict[str, msgspec.Raw]
"""An object taken apart: names, and values as the bytes they stand as."""
_Piece = bytes | Iterable[bytes]
"""A part of every document: the same in all, or one a row."""


def common_fragment(path: str | None, host: str, told: Mapping[str, object] | None = None) -> bytes:
    """The piece all documents of a stream share; it closes the object `log`. All values have passed the gate.

    `path` is None for what comes from no file; `told` are more members.
    """
    file = b"" if path is None else b',"file":{"path":%b}' % json.dumps(path).encode()
    more = b"".join(b",%b:%b" % (json.dumps(key).encode(), json.dumps(value).encode()) for key, value in (told or {}).items())
    return b'%b},"host":{"name":%b}%b' % (file, json.dumps(host).encode(), more)


def place(stream: Stream) -> bytes:
    """What all documents of a stream share, as a fragment that is whole."""
    return _LOG_ONLY + b"0" + stream.common


class Assembly:
    """What one batch's documents are made of."""

    def __init__(
        self, stream: Stream, columns: Columns, names: list[str], stamps: Sequence[bytes] | None, adds: Collection[str] = ()
    ) -> None:
        """`names` is each row's index; `stamps` the text of `@timestamp`, None where the records have it already.

        `adds` are the members that stages splice, objects all of them.
        """
        self._objects = frozenset((*_OBJECTS, *adds))
        self._stream = stream
        self._columns = columns
        self._names = names
        self._stamps = stamps
        self._fragments: list[_Piece] = [*columns.fragments]
        if columns.flags or columns.tags is not None:
            self._fragments.append(flag_fragments(columns.flags, columns.tags, columns.count))

    def payload(self, ticket: int) -> Payload:
        """Make the payload of all rows that are neither dropped nor held."""
        columns, names, pieces = self._columns, self._names, self._pieces()
        odd = columns.odd
        kept: list[int] | None = None
        if columns.dropped or columns.held:
            keep = bytearray(b"\1") * columns.count
            for row in chain(columns.dropped, columns.held):
                keep[row] = 0
            kept = list(compress(range(columns.count), keep))
            names = list(compress(names, keep))
            pieces = [piece if isinstance(piece, bytes) else compress(piece, keep) for piece in pieces]
        laid = _laid_out(pieces, len(names))
        if odd:
            places = odd if kept is None else [place for place, row in enumerate(kept) if row in odd]
            self._merge(laid, len(pieces), places)
        return Payload(ticket, b"".join(laid), len(names), kept, Counter(names))

    def _pieces(self) -> list[_Piece]:
        """What the rows of the body are made of, in order: the action, the record, and what is ours."""
        heads = _Heads(f"{self._stream.id}-")
        starts = _decimals(self._columns.starts)
        if self._columns.starts[1:] == self._columns.stops[:-1]:  # contiguous: each end is the next start, written once
            stops = [*starts[1:], b"%d" % self._columns.stops[-1]]
        else:
            stops = _decimals(self._columns.stops)
        identity: list[_Piece] = [starts, b"-", stops]
        if self._columns.ids is not None:
            ids = self._columns.ids
            if b"" in ids:  # some are known by their sender, others by their origin
                own = self._stream.id.encode()
                ids = [given or b"%b-%b-%b" % (own, *at) for given, *at in zip(ids, starts, stops, strict=True)]
            heads, identity = _Heads(""), [ids, b"", b""]
        action: list[_Piece] = [map(heads.__getitem__, self._names), *identity, _ID_END]
        stamped: list[_Piece] = [_LOG_ONLY] if self._stamps is None else [_STAMP, self._stamps, _LOG]
        return [*action, self._columns.rows, *stamped, starts, self._stream.common, *self._fragments, _END]

    def _merge(self, laid: list[bytes], width: int, places: Iterable[int]) -> None:
        """Merge odd rows, given by their places among the documents: what was spliced behind each becomes part of it."""
        for place in places:
            own, end = place * width + _ACTION_PIECES, (place + 1) * width
            merged = merge(laid[own], b"".join(laid[own + 1 : end]), self._objects)
            laid[own:end] = [merged, *[b""] * (end - own - 1)]


def _laid_out(pieces: Sequence[_Piece], count: int) -> list[bytes]:
    """The pieces of `count` rows, one row after the other."""
    laid = [piece if isinstance(piece, bytes) else b"" for piece in pieces] * count
    for place, piece in enumerate(pieces):
        if not isinstance(piece, bytes):
            laid[place :: len(pieces)] = piece
    return laid


def _decimals(numbers: Sequence[int]) -> list[bytes]:
    """Numbers as text: written as one JSON list and split, a third of what it costs one by one."""
    return orjson.dumps(numbers)[1:-1].split(b",")


class _Heads(dict[str, bytes]):
    """Index name -> the beginning of the action line, up to what the ids of the batch begin with."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning

    def __missing__(self, name: str) -> bytes:
        self[name] = f'{{"create":{{"_index":"{name}","_id":"{self._beginning}'.encode()
        return self[name]


def generated(ticket: int, documents: Sequence[tuple[bytes, str, bytes]]) -> Payload:
    """The payload of documents we make ourselves: (index name, id, document)."""
    body = b"".join(
        b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n' % (index, identity.encode(), document)
        for index, identity, document in documents
    )
    return Payload(ticket, body, len(documents), None, Counter(index.decode() for index, _, _ in documents))


class _TagFragments(dict[str, bytes]):
    """A tag -> the fragment of a row that has nothing else under `shipper`."""

    def __missing__(self, tag: str) -> bytes:
        self[tag] = b',"shipper":' + json.dumps({"tag": tag}, ensure_ascii=False).encode() if tag else b""
        return self[tag]


class _FlagFragments(dict[tuple[str, tuple[str, ...]], bytes]):
    """A tag (or an empty text) and flags -> their fragment. A flag `name:value` is a member, others stand in `shipper.flags`."""

    def __missing__(self, key: tuple[str, tuple[str, ...]]) -> bytes:
        tag, flags = key
        found: dict[str, Any] = {"tag": tag} if tag else {}
        for flag in flags:
            name, colon, value = flag.partition(":")
            if name in _ALIKE:
                found.setdefault(name, []).append(value)
            elif colon:
                found[name] = json.loads(value) if name in _NUMBERS else value
            else:
                found.setdefault("flags", []).append(flag)
        self[key] = b',"shipper":' + json.dumps(found, ensure_ascii=False).encode()
        return self[key]


def flag_fragments(flags: Mapping[int, tuple[str, ...]], tags: Sequence[str] | None, count: int) -> list[bytes]:
    """`,"shipper":{...}` of rows with flags or a tag. Few combinations are many rows': each is written once a batch."""
    fragments = [b""] * count if tags is None else list(map(_TagFragments().__getitem__, tags))
    its_tags = repeat("") if tags is None else map(tags.__getitem__, flags)
    made = map(_FlagFragments().__getitem__, zip(its_tags, flags.values(), strict=False))
    deque(map(fragments.__setitem__, flags, made), maxlen=0)
    return fragments


def merge(own: bytes, ours: bytes, objects: Collection[str] = _OBJECTS) -> bytes:
    """Merge a record (without its last brace) and fragments (up to the document's end), member by member.

    A record that cannot be taken apart (nested too deeply) is kept as text in `message`.
    """
    added = _MEMBERS.decode(b"{" + ours.lstrip(b",").removesuffix(_END) + b"}")
    try:
        record = _MEMBERS.decode(own + b"}")
        watched = {*objects, *added, *(name.partition(".")[0] for name in added)}
        near = [name for name in record if name in watched or "." in name]  # no other can collide, and most are none of these
        moved = {name: record.pop(name) for name in near if _collides(name, record[name], added, objects)}
        document = _joined(record, added)
    except (msgspec.DecodeError, RecursionError):
        text = {"message": _raw((own + b"}").decode("utf-8", "replace"))}
        moved, document = {}, _joined(text, _joined(added, {"shipper": _raw({"parse_error": "nested too deeply"})}))
    if moved:
        document = _joined(document, {"shipper": _raw({"record": moved})})
    return msgspec.json.encode(document) + b"\n"


def _collides(name: str, value: msgspec.Raw, added: Members, objects: Collection[str]) -> bool:
    """Whether a record's member cannot stand beside ours. Null says nothing, and gives way."""
    if value == _NULL:
        return False
    if name in added and value != added[name] and not (_is_object(value) and _is_object(added[name])):
        return True
    dotted = [ours.removeprefix(f"{name}.").split(".") for ours in added if ours.startswith(f"{name}.")]
    if dotted and any(_reaches(value, path) for path in dotted):
        return True
    if name in added:
        return False
    if name in objects:
        return not _is_object(value)
    outer, dot, rest = name.partition(".")
    return bool(dot) and (outer == "shipper" or (outer in added and _reaches(added[outer], rest.split("."))))


def _reaches(value: msgspec.Raw, path: list[str]) -> bool:
    """Whether our object has a member on this path."""
    for step in path:
        if not _is_object(value):
            return True
        members = _MEMBERS.decode(value)
        if step not in members:
            return False
        value = members[step]
    return True


def _joined(record: Members, added: Members) -> Members:
    """`record` with `added` in it, objects joined, ours winning."""
    for name, value in added.items():
        theirs = record.get(name)
        both = theirs is not None and _is_object(theirs) and _is_object(value)
        record[name] = _raw(_joined(_MEMBERS.decode(theirs), _MEMBERS.decode(value))) if both else value  # type: ignore[arg-type]
    return record


def _is_object(value: msgspec.Raw) -> bool:
    return bytes(memoryview(value)[:1]) == b"{"


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
