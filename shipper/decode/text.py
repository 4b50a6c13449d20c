"""Text: a record is a message, whatever it says. For logs without a form, and the last choice of `auto`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.config.fields import ComponentConfig
from shipper.decode.layout import Member, Parsed, TextDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence


class Text(TextDecoder):
    """The whole record as `message`."""

    class Config(ComponentConfig):
        """No settings."""

    members = (Member("message"),)

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Take the lines as they are."""
        return Parsed({"message": lines})
