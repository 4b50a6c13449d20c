"""Text: any record is a message."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from shipper.decode.text import Text
from tests.kit.records import PlainGate, batch_of

lines_of = st.lists(
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1).map(str.encode), min_size=1
)


@given(lines_of)
def test_text_takes_any_line_as_its_message(lines: list[bytes]) -> None:
    """Nothing is refused, nothing is lost."""
    columns = Text(Text.Config(), ("message",), ()).decode(PlainGate({}).admit(batch_of(lines, 0)))
    assert [json.loads(row + b"}") for row in columns.rows] == [{"message": line.decode()} for line in lines]
    assert columns.column("message") == [line.decode() for line in lines]
    assert columns.flags == {}
