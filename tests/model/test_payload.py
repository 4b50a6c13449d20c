"""Payload: documents found again in a body."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.model.payload import Payload

lines = st.tuples(st.binary(min_size=1, max_size=8), st.binary(min_size=1, max_size=8)).map(
    lambda pair: tuple(one.replace(b"\n", b"x") for one in pair)
)


@settings(deadline=None)
@given(st.lists(lines, max_size=8))
def test_slices_between_cuts_are_whole_documents_when_a_body_is_taken_apart(documents: list[tuple[bytes, bytes]]) -> None:
    """Every cut lies between documents, and each document is found by its number."""
    body = b"".join(b"%b\n%b\n" % pair for pair in documents)
    payload = Payload(1, body, len(documents), None, {})
    cuts = payload.cuts()
    assert [body[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False)] == [b"%b\n%b\n" % pair for pair in documents]
    assert [payload.document(number) for number in range(len(documents))] == documents
    assert payload.cuts() is cuts
