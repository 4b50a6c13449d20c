"""Endpoint: where a source listens, taken apart or refused with an example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config.fields import Address, Endpoint, convert_scalar

GOOD = {
    "127.0.0.1:24224": ("tcp", "", "127.0.0.1", 24224),
    "tcp:127.0.0.1:24224": ("tcp", "", "127.0.0.1", 24224),
    "udp:127.0.0.1:514": ("udp", "", "127.0.0.1", 514),
    "[::1]:6514": ("tcp", "", "::1", 6514),
    "udp:[::]:514": ("udp", "", "::", 514),
    "localhost:0": ("tcp", "", "localhost", 0),
    "logs.example.com:65535": ("tcp", "", "logs.example.com", 65535),
    "unix:/run/app.sock": ("unix", "/run/app.sock", None, None),
    "unixgram:/dev/log": ("unixgram", "/dev/log", None, None),
    "unix:/run/with:colon": ("unix", "/run/with:colon", None, None),
}
BAD = [
    *("", ":", "24224", ":24224", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "::1:514"),
    *("unix:", "unix:relative.sock", "unixgram:", "unixgram:log", "udp:", "udp:514", "udp:/dev/log", "tls:127.0.0.1:6514"),
    *("http://127.0.0.1:80", "127.0.0.1:80/path", "127.0.0.1:80 ", "a b:80", "127.0.0.1:٨٠", "udp:udp:127.0.0.1:514"),
    *(24224, 1.5, True, None, ["127.0.0.1:24224"], {"host": "127.0.0.1"}),
]


@pytest.mark.parametrize("text", GOOD)
def test_endpoint_is_taken_apart(text: str) -> None:
    """Transport, path, host and port; the text stays as it was written."""
    made = convert_scalar(Endpoint, text)
    assert isinstance(made, Endpoint) and made == text
    transport, path, host, port = GOOD[text]
    assert (made.transport, made.path) == (transport, path)
    if host is not None:
        assert isinstance(made.address, Address) and (made.address.host, made.address.port) == (host, port)


@pytest.mark.parametrize("value", BAD)
def test_what_is_no_endpoint_is_refused_with_examples(value: object) -> None:
    """One of each kind, and what was written."""
    with pytest.raises(ValueError, match="expected an address such as 127.0.0.1:24224, udp:127.0.0.1:514, unix:/run/app.sock or"):
        convert_scalar(Endpoint, value)


@given(text=st.text(max_size=30))
def test_no_text_breaks_the_reading_of_an_endpoint(text: str) -> None:
    """It is an endpoint, with everything a listener asks of it, or a ValueError."""
    try:
        made = Endpoint.from_config(text)
    except ValueError:
        return
    assert made.transport in ("tcp", "udp", "unix", "unixgram")
    assert made.path.startswith("/") or 0 <= made.address.port <= 65535
