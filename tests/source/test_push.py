"""ListenConfig: settings that would listen nowhere, without the TLS that was asked for, or with a spool too small for one delivery."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from shipper import assembly
from shipper.config.fields import Endpoint, FilePath, Size
from shipper.model.errors import ComponentError, ConfigError
from shipper.source.push import DELIVERY_BYTES_MAX, SPOOL_BYTES_MIN, ListenConfig

PEM = FilePath("/etc/shipper/cert.pem")


def listening(*listen: str, **settings: Any) -> ListenConfig:
    """Settings with these addresses."""
    return ListenConfig(listen=[Endpoint(one) for one in listen], **settings)


def test_settings_of_all_transports_and_full_tls_are_taken() -> None:
    """TLS counts for the TCP addresses among them."""
    made = listening(
        "127.0.0.1:1", "udp:127.0.0.1:1", "unix:/a", "unixgram:/b", tls_certificate=PEM, tls_key=PEM, tls_client_ca=PEM
    )
    assert (made.max_connections, made.when_full, made.spool) == (1000, "block", 256 << 20)


@pytest.mark.parametrize(
    ("listen", "settings", "field"),
    [
        ([], {}, "listen"),
        (["127.0.0.1:1", "127.0.0.1:1"], {}, "listen"),
        (["127.0.0.1:1"], {"tls_key": PEM}, "tls_key"),
        (["127.0.0.1:1"], {"tls_client_ca": PEM}, "tls_client_ca"),
        (["udp:127.0.0.1:1"], {"tls_certificate": PEM}, "tls_certificate"),
        (["unix:/a", "unixgram:/b"], {"tls_certificate": PEM}, "tls_certificate"),
    ],
)
def test_settings_that_would_not_do_what_they_say_are_refused(listen: list[str], settings: dict[str, Any], field: str) -> None:
    """With the field, and what to do."""
    with pytest.raises(ComponentError) as raised:
        listening(*listen, **settings)
    assert raised.value.field == field and raised.value.hint


@pytest.mark.parametrize("kind", ["http", "syslog", "forward"])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("listen: []", "there is no address to listen at"),
        ("listen: ['127.0.0.1:1'], spool: 1MiB", "spool"),
        ("listen: ['127.0.0.1:1'], max_connections: 0", "max_connections"),
        ("listen: ['127.0.0.1:1'], when_full: drop_newest", "drop_oldest"),
        ("listen: ['127.0.0.1:1'], tls_client_ca: ca.pem", "without it there is no TLS at all"),
    ],
)
def test_every_listening_source_refuses_them_at_their_place(tmp_path: Path, kind: str, line: str, told: str) -> None:
    """With line and column, as all mistakes."""
    path = tmp_path / "pipeline.yaml"
    path.write_text(f"name: app\nsources:\n  - {{type: {kind}, {line}}}\n")
    with pytest.raises(ConfigError) as raised:
        pipeline = assembly.read_pipeline(str(path), os.environ)
        assembly.make_parts(pipeline, assembly.Surroundings(os.environ, "", bytes(32)), assembly.Horizon(0.0))
    [fault] = raised.value.faults
    assert fault.place.line == 3 and told in str(raised.value)


def test_smallest_spool_holds_more_than_one_of_the_largest_deliveries() -> None:
    """Or its sender would hear "not now" for ever."""
    assert SPOOL_BYTES_MIN >= 2 * DELIVERY_BYTES_MAX
    assert listening("127.0.0.1:1", spool=Size(SPOOL_BYTES_MIN)).spool == SPOOL_BYTES_MIN
