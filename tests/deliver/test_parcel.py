"""Parcels: slices of payloads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.deliver.parcel import Held, Parcel, Piece, letter
from shipper.model.payload import Payload


def payload(sizes):
    """Documents of these sizes."""
    documents = [
        b'{"create":{"_index":"i%d","_id":"%d"}}\n{"x":"%s"}\n' % (n % 2, n, b"x" * size) for n, size in enumerate(sizes)
    ]
    return Payload(1, b"".join(documents), len(sizes), None, {"i0": 1, "i1": 1}), documents


SIZES = st.lists(st.integers(0, 30), min_size=1, max_size=10)


@given(SIZES, st.data())
def test_piece_holds_exactly_its_documents(sizes, data):
    """For any choice of documents the parts are these documents, in order, and the size is theirs."""
    one, documents = payload(sizes)
    numbers = sorted(data.draw(st.sets(st.integers(0, len(sizes) - 1), min_size=1)))
    piece = Piece(Held(one, len(sizes)), numbers)
    expected = b"".join(documents[number] for number in numbers)
    assert expected == b"".join(piece.parts())
    assert len(expected) == piece.size


@given(SIZES, st.integers(1, 400))
def test_piece_counts_what_fits(sizes, room):
    """As many documents as fit, at least one."""
    one, documents = payload(sizes)
    found = Piece(Held(one, len(sizes)), range(len(sizes))).count_within(room)
    fitting = [n for n in range(1, len(sizes) + 1) if sum(map(len, documents[:n])) <= room]
    assert max(fitting, default=1) == found


@given(st.lists(SIZES, min_size=1, max_size=4).filter(lambda lists: sum(map(len, lists)) > 1))
def test_halves_hold_everything_once(lists):
    """Two halves together are the parcel; they differ by one document at most."""
    payloads = [payload(sizes)[0] for sizes in lists]
    parcel = Parcel([Piece(Held(one, one.count), range(one.count)) for one in payloads], 7, 2)
    left, right = parcel.halves()
    assert b"".join(parcel.parts()) == b"".join(left.parts() + right.parts())
    assert 0 <= right.documents - left.documents <= 1
    assert (7, 2) == (left.order, left.attempts) == (right.order, right.attempts)


def test_letter_takes_id_index_and_document_from_the_body():
    """What replay needs."""
    one, _ = payload([1, 2])
    found = letter(one, 1, ("t", "f", 400))
    assert ("1", "i1", b'{"x":"xx"}', "t", "f", 400) == (
        found.id,
        found.index,
        found.document,
        found.error_type,
        found.error_field,
        found.status,
    )
