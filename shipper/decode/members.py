"""Members: columns of JSON objects that were decoded into structs, each made when it is first asked for.

`name` is the member `name`; `a.b` is the member `a.b`, or else `b` inside the object `a`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shipper.model.columns import Values, within

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


class Members(dict[str, Values]):
    """Member -> its values, with UNSET where one that is noticed was not there. Those decoded apart come when they are asked for.

    Structs become columns all at once, by one transposition: half the price of a getter for each.
    """

    def __init__(self, decoded: list[Any], names: Mapping[str, str], rest: Callable[[], list[Any]]) -> None:
        """`decoded` are structs of one type, `names` their attributes by member, `rest` decodes what they lack."""
        super().__init__()
        self._names, self._rest = names, rest
        self._take(decoded)

    def _take(self, decoded: list[Any]) -> None:
        """Transpose structs of one type."""
        if not decoded:
            self.update(dict.fromkeys(self._names, ()))
            return
        there = dict(zip(decoded[0].__struct_fields__, zip(*map(msgspec.structs.astuple, decoded), strict=True), strict=True))
        self.update({name: list(there[attribute]) for name, attribute in self._names.items() if attribute in there})

    def __missing__(self, name: str) -> Values:
        """Decode the rest, and take it."""
        before = dict(self)
        self._take(self._rest())
        self.update(before)  # some of it may have been exchanged
        return self[name]


class MemberFields(dict[str, Values]):
    """Columns by name, each made of the members when it is first asked for."""

    def __init__(self, members: Members, noticed: Collection[str]) -> None:
        """`noticed` are members for which UNSET tells that they are not there."""
        super().__init__()
        self._members, self._noticed = members, noticed

    def __missing__(self, name: str) -> Values:
        """Make it."""
        column = self._plain(name)
        if "." in name:
            outer, *path = name.split(".")
            column = [
                own if own is not None else within(value, path) for own, value in zip(column, self._plain(outer), strict=True)
            ]
        self[name] = column
        return column

    def _plain(self, name: str) -> Values:
        values = self._members[name]
        return none_for_unset(values) if name in self._noticed else values


def none_for_unset(values: Values) -> Values:
    """What is not there reads as None."""
    absent = values.count(msgspec.UNSET)
    if absent == len(values):
        return [None] * absent
    return [None if value is msgspec.UNSET else value for value in values] if absent else values
