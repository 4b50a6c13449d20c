"""Addresses: special purposes, and which address of a chain of proxies counts, whatever a client wrote into the header."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.model.address import parsed_address
from shipper.stages import address as module
from shipper.stages.address import HOPS_MAX, SOMEBODY, Proxies, address_class

TRUSTED = ("10.0.0.0/8", "10.1.0.0/16", "192.168.7.1/32", "fd00::/8")
PROXIES = Proxies(TRUSTED)
OUTSIDE = "81.2.69.142"


def canonical(text: str) -> str | None:
    """The address in a text as we write it; None where there is none."""
    address = parsed_address(text)
    return None if address is None else str(address)


def called_by(peer: str | None, header: str) -> str | None:
    """The address that counts in one request."""
    (found,) = PROXIES.callers([SOMEBODY if peer is None else peer], [header])
    return found


def oracle(peer: str | None, header: str, trusted: tuple[str, ...] = TRUSTED) -> str | None:
    """The first version: all addresses of the way, from the nearest one on, up to the first that is no proxy."""

    def is_trusted(text: str) -> bool:
        address = ip_address(text)
        return any(address.version == ip_network(one).version and address in ip_network(one) for one in trusted)

    way = [canonical(entry) for entry in header.split(",")][::-1][:HOPS_MAX]
    if peer is not None:
        way.insert(0, canonical(peer))
    found = None
    for address in way:
        if address is None:
            break
        found = address
        if not is_trusted(address):
            break
    return found


entries = st.one_of(
    st.sampled_from(["10.1.2.3", "10.255.0.1:443", " 192.168.7.1 ", "192.168.7.2", "[fd12::1]:80", "::ffff:10.0.0.1", OUTSIDE]),
    st.sampled_from(["", "-", "unknown", "_hidden", "for=10.0.0.1", "010.0.0.1", "1.2.3", "x" * 500, "10.0.0.1 10.0.0.2", "\0"]),
    st.ip_addresses().map(str),
)


@given(peer=st.none() | entries, header=st.lists(entries, max_size=6).map(",".join) | st.text(max_size=30))
@settings(max_examples=400, deadline=None)
def test_caller_is_the_first_address_from_the_right_that_is_no_trusted_proxy(peer: str | None, header: str) -> None:
    """As the oracle finds it, for entries of all kinds, among them what is no address and ends the walk."""
    assert oracle(peer, header) == called_by(peer, header)


@given(forged=st.text(max_size=60), proxies=st.lists(st.sampled_from(["10.0.0.9", "fd00::9"]), max_size=4))
def test_caller_cannot_be_forged(forged: str, proxies: list[str]) -> None:
    """Law: whatever a client sends as its header, its own address counts, which our first proxy put behind it."""
    header = ", ".join([forged, OUTSIDE, *proxies])
    assert OUTSIDE == called_by("10.0.0.1", header)
    assert OUTSIDE == called_by(OUTSIDE, forged), "a client that comes without a proxy"


@pytest.mark.parametrize(
    ("peer", "header", "caller"),
    [
        ("10.0.0.1", OUTSIDE, OUTSIDE),
        ("10.0.0.1", f"6.6.6.6, {OUTSIDE}, 10.2.3.4", OUTSIDE),
        ("6.6.6.6", OUTSIDE, "6.6.6.6"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", f"{OUTSIDE}, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("unix:", OUTSIDE, None),
        (None, f"6.6.6.6, {OUTSIDE}", OUTSIDE),
        (None, f"{OUTSIDE}, 10.0.0.1", OUTSIDE),
        (None, "", None),
        ("10.0.0.1", ", ".join(["6.6.6.6"] + ["10.0.0.2"] * HOPS_MAX), "10.0.0.2"),
    ],
)
def test_caller_of_a_chain_of_proxies(peer: str | None, header: str, caller: str | None) -> None:
    """The cases of the manual; a header of thousands of entries is not walked to its end."""
    assert caller == called_by(peer, header)


def test_hops_are_remembered_within_bounds_and_long_entries_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of headers costs time, not memory."""
    monkeypatch.setattr(module, "HOPS_KEPT_MAX", 50)
    proxies = Proxies(TRUSTED)
    for number in range(500):
        address = str(ip_address(0x01000000 + number))
        assert [address, "10.0.0.1"] == proxies.callers(["10.0.0.1"] * 2, [address, "9" * 5000])
        assert len(proxies._hops) <= 51
    assert not any(len(entry) > module.ADDRESS_CHARS_MAX for entry in proxies._hops)


@pytest.mark.parametrize("version", [4, 6])
def test_special_ranges_are_in_order_and_none_lies_within_another(version: int) -> None:
    """What bisection needs."""
    starts, ends, _ = module._RANGES[version]
    bounds = [bound for pair in zip(starts, ends, strict=True) for bound in pair]
    assert sorted(bounds) == bounds


@given(address=st.ip_addresses())
def test_address_class_is_given_to_all_that_the_standard_library_calls_not_global(address: Any) -> None:
    """The private networks and the rest of what `ipaddress` knows in every version are a class of ours."""
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        assert address_class(address)
    if not address_class(address) and address.version == 4:
        assert address.is_global
