"""Field types: text with a unit to numbers, and back out of nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config import fields
from shipper.config.fields import Address, Duration, FilePath, FilePattern, Rate, Secret, Size, convert_scalar


@given(number=st.integers(0, 10**9), unit=st.sampled_from(sorted(fields.DURATION_UNITS)))
def test_a_duration_is_its_number_in_seconds(number, unit) -> None:
    """For all units."""
    assert number * fields.DURATION_UNITS[unit] == pytest.approx(convert_scalar(Duration, f"{number}{unit}"))


@given(number=st.integers(0, 10**6), unit=st.sampled_from(sorted(fields.SIZE_UNITS)))
def test_a_size_is_its_number_in_bytes(number, unit) -> None:
    """For all units, with and without a blank before them."""
    assert number * fields.SIZE_UNITS[unit] == convert_scalar(Size, f"{number}{unit}") == convert_scalar(Size, f"{number} {unit}")


@given(number=st.integers(0, 10**6), unit=st.sampled_from(sorted(fields.RATE_UNITS)))
def test_a_rate_is_its_number_per_second(number, unit) -> None:
    """For all units of time."""
    assert number / fields.RATE_UNITS[unit] == pytest.approx(convert_scalar(Rate, f"{number}/{unit}"))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Duration, "250ms", 0.25),
        (Duration, "1.5h", 5400.0),
        (Size, "10MiB", 10 << 20),
        (Size, "10MB", 10**7),
        (Size, 512, 512),
        (Size, "1.5KiB", 1536),
        (Rate, "1MiB/s", float(1 << 20)),
        (Rate, "6/m", 0.1),
        (FilePath, "a/b", "a/b"),
        (FilePattern, "*.gz", "*.gz"),
        (Address, "localhost:0", "localhost:0"),
        (Secret, "x", "x"),
    ],
)
def test_a_value_is_taken(kind, text, value) -> None:
    """And has the type that was asked for."""
    found = convert_scalar(kind, text)
    assert (value, kind) == (found, type(found))


@pytest.mark.parametrize("kind", [Duration, Size, Rate, FilePath, FilePattern, Address, Secret])
@pytest.mark.parametrize("value", [None, True, [], {}, "", 1.5])
def test_what_is_no_text_is_refused(kind, value) -> None:
    """With what is expected."""
    with pytest.raises(ValueError, match="^expected "):
        convert_scalar(kind, value)


@given(kind=st.sampled_from([Duration, Size, Rate, Address]), text=st.text(alphabet="0123456789.eE+-msMiBhd/ :٣[]", max_size=25))
def test_any_text_is_taken_or_refused(kind, text) -> None:
    """Never another error, never an infinite or negative number."""
    try:
        found = convert_scalar(kind, text)
    except ValueError:
        return
    assert kind is Address or 0 <= found < 1e30


@pytest.mark.parametrize("text", ["localhost", ":80", "a:65536", "a:-1", "a b:80", "::1:80", "http://a:80", "a:"])
def test_what_is_no_address_is_refused(text) -> None:
    """Host and port are both needed, IPv6 in brackets."""
    with pytest.raises(ValueError, match="expected an address"):
        Address.from_config(text)


def test_a_secret_is_masked_when_printed() -> None:
    """As itself and in a container; its value is still the text."""
    assert "[Secret('***')]" == repr([Secret("hunter2")])
    assert "hunter2" == Secret("hunter2") == str(Secret("hunter2"))
