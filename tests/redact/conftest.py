"""The engine the redaction suite runs under: SHIPPER_REDACT_ENGINE, or hyperscan. The suite is run once for each."""

from __future__ import annotations

import os

import pytest

from shipper.redact.gate import choose_engine


@pytest.fixture(scope="session")
def engine() -> str:
    """Return the name of the engine under test."""
    return choose_engine(os.environ.get("SHIPPER_REDACT_ENGINE"))
