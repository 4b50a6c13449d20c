"""Checkpoint: what was written comes back, and anything else is refused with a hint."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode.index import Horizon
from shipper.model.errors import HostError
from shipper.progress.checkpoint import VERSION, Checkpoint, decode, encode

counts = st.dictionaries(st.text(max_size=6), st.integers(0, 2**62), max_size=3)
states = st.dictionaries(
    st.text(max_size=6), st.text(max_size=6) | st.integers(-(2**53), 2**53) | st.booleans() | st.none(), max_size=3
)
checkpoints = st.builds(
    Checkpoint,
    pipeline=st.text(max_size=8),
    destination=st.text(max_size=8),
    machine_id=st.text(max_size=8),
    horizon=states,
    sources=st.lists(st.lists(states, max_size=2), max_size=2),
    last_seconds=counts,
    output=st.none() | counts,
)
WRITTEN = encode(
    Checkpoint(
        pipeline="shadower",
        destination="http://localhost:9200",
        machine_id="m",
        horizon=msgspec.to_builtins(Horizon(1.5, {"app-2026.02.05": None})),
        sources=[[{"id": "A" * 22, "path": "/var/log/\u00fc.log", "offset": 10}]],
        last_seconds={"A" * 22: 1_770_301_845},
    )
)


def refused(data: bytes) -> HostError:
    """The error for a file that is not exactly what was written: it names the file and what to do, and quotes nothing."""
    with pytest.raises(HostError) as caught:
        decode(data, "/state/checkpoint")
    assert "/state/checkpoint" in caught.value.hint
    assert "shipper state reset" in caught.value.hint
    return caught.value


def sealed(body: bytes, version: int = VERSION) -> bytes:
    """A body with a valid checksum."""
    return b"shipper-checkpoint %d %b\n%b" % (version, hashlib.sha256(body).hexdigest().encode(), body)


@settings(deadline=None)
@given(checkpoints)
def test_a_checkpoint_comes_back_as_it_was_written(checkpoint: Checkpoint) -> None:
    """Any state, any text in it; the same state is the same bytes."""
    data = encode(checkpoint)
    assert decode(data, "p") == checkpoint
    assert encode(decode(data, "p")) == data


@settings(deadline=None)
@given(st.integers(0, len(WRITTEN) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_refused_wherever_it_is(at: int, flip: int) -> None:
    """No byte of the file can change unnoticed."""
    refused(WRITTEN[:at] + bytes([WRITTEN[at] ^ flip]) + WRITTEN[at + 1 :])


@settings(deadline=None)
@given(st.integers(0, len(WRITTEN) - 1), st.integers(0, 300))
def test_a_truncated_file_is_refused_also_when_zeros_fill_it_up(keep: int, zeros: int) -> None:
    """What a power cut leaves is neither taken nor ignored."""
    refused(WRITTEN[:keep] + b"\0" * zeros)


@settings(deadline=None)
@given(
    st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda tail: b"shipper-checkpoint " + tail)
    | st.binary(max_size=60).map(sealed)
)
def test_foreign_text_is_refused(data: bytes) -> None:
    """Also behind our own first words, or with a checksum that holds."""
    refused(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not one of ours"),
        (WRITTEN + b"\n", "fails its checksum"),
        (WRITTEN.replace(b" 1 ", b" 2 ", 1), "version 2, this agent reads 1"),
        (sealed(b"{}", 99), "version 99"),
        (WRITTEN.replace(b" 1 ", b" \xff\n", 1), "not one of ours"),
        (sealed(b"{}"), "cannot be read"),
        (sealed(b"[]"), "cannot be read"),
        (sealed(b"\xff\xfe"), "cannot be read"),
        (sealed(b'{"pipeline":"\xff"}'), "cannot be read"),
        (sealed(b'{"pipeline":1}'), "cannot be read"),
        (sealed(b"[" * 100_000), "cannot be read"),
        (sealed(b'{"horizon":' + b'{"a":' * 100_000), "cannot be read"),
        (sealed(msgspec.json.encode({**msgspec.json.decode(WRITTEN.partition(b"\n")[2]), "later": 1})), "cannot be read"),
    ],
)
def test_the_reason_is_told_when_a_checkpoint_is_refused(data: bytes, message: str) -> None:
    """In words for the operator, by kind of damage."""
    assert message in str(refused(data))


def test_nothing_of_the_file_is_quoted_when_it_is_refused() -> None:
    """A file that is not ours may hold anything."""
    assert "hunter2" not in str(refused(b"hunter2 " * 3 + b"\nhunter2"))
    assert "hunter2" not in str(refused(sealed(b'{"hunter2":"hunter2"}')))
