"""Rewriting: members of records written, moved and removed, in their bytes where that can be done. What `fields` is made of.

RULES
- A name is a path with dots. It is read as decoders read it: the member of that spelling, else the way through objects; null counts
  as not there. What is written is replaced where it stands, else it becomes a member of that spelling at the record's end.
- Only rows that are named are touched. What is done to a row does not depend on the others of its batch.
- Columns that are asked for are right after each step, those of names within or around the one that changed, too. Rows that
  get a member that documents have from us, and rows that lose their last member, become odd.
- A row that cannot be taken apart, as it is nested too deeply, stays as it is, flagged `fields_skipped`.

THEORY
Decoders have proved that a member is there and what it says. In a row with no object in it, `,"level":"ERROR"` can only be that
member: a quote behind a comma begins a string, and one that a colon follows is a name. So such rows are split at the text of
the member and joined with another, by the batch. In a row with objects the name must stand there once, as it could stand in
one of them first. All other rows (another spelling of the value, a name with escapes, members of objects) are taken apart into names and
raw values, changed, and written again when all steps are done: 3 us a row.
Before a member is appended it must be sure that there is no null of that name: guards of the gate tell of the whole batch.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import deque
from itertools import compress, repeat
from operator import add, and_, contains, is_not, ne, not_
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.model.columns import meet, reach
from shipper.stages.members import encode, encoded, members_of, moved, put, take
from shipper.stages.splitting import Edit, exchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from shipper.model.columns import Columns, Values
    from shipper.stages.members import Members

SKIPPED = "fields_skipped"
ESCAPES = "escapes"
"""The guard for names that are written with escapes, the same as the JSON decoder's."""
ESCAPED = rb"\\u00[0-7]"
_PLAIN = re.compile(r"[A-Za-z0-9_@-][A-Za-z0-9_@.-]*")
"""Names that stand in JSON as they are, unless somebody escapes what needs no escape."""
_ESCAPED_NAME = re.compile(rb'\\u00[0-7][^"\\]*(?:\\.[^"\\]*)*"\s*:')
_DIGITS_MAX = 4300
"""Digits of an integer that Python reads."""


def guards(names: Iterable[str]) -> dict[str, bytes]:
    """What the gate is to look for, so that members of these names can be appended."""
    plain = [name for name in names if _PLAIN.fullmatch(name)]
    return {ESCAPES: ESCAPED, **{_null(name): rb'"%b"\s*:\s*null' % re.escape(name.encode()) for name in plain}}


def _null(name: str) -> str:
    return f"null:{name}"


def picked(values: Sequence[Any], numbers: Sequence[int]) -> Sequence[Any]:
    """The values of these rows."""
    return values if len(numbers) == len(values) else list(map(values.__getitem__, numbers))


def present(values: Values, numbers: Sequence[int]) -> Sequence[int]:
    """Those of the rows that have a value."""
    found = picked(values, numbers)
    return list(compress(numbers, map(is_not, found, repeat(None)))) if None in found else numbers


class Rewriting:
    """The rows of one batch while steps go over them. Rows are named by their numbers, in order; what goes with them is as long."""

    def __init__(self, columns: Columns, asked: Collection[str]) -> None:
        """`asked` are the columns that must be right afterwards."""
        self.columns = columns
        self.marks = columns.marks
        """What holds of guards after the steps; a step that may write nulls sets it to None."""
        self._asked = asked
        self._rows = columns.rows
        self._apart: dict[int, Members] = {}
        self._stuck: set[int] = set()
        self._before: dict[str, Values] = {}
        self._flat: bool | None = None
        """Whether no row has an object in it, as far as is known."""
        self._escaping: set[int] | None = None

    # --- steps

    def write(self, name: str, numbers: Sequence[int], tails: Sequence[bytes], values: Values) -> None:
        """Give a member a value in each of the rows: `tails` as JSON, `values` as decoders have it; none of them null."""
        before = picked(self.columns.column(name), numbers)
        absent = before.count(None)
        if absent == len(numbers):
            failed = self._append(name, numbers, tails)
        elif not absent:
            failed = self._replace(name, numbers, before, tails)
        else:
            there = list(map(is_not, before, repeat(None)))
            failed = self._append(name, *_chosen(map(not_, there), numbers, tails))
            failed |= self._replace(name, *_chosen(there, numbers, before, tails))
        if self._flat and b"{" in b"".join(tails):
            self._flat = None
        self._book(name, numbers, values, failed)
        self._follow(name, numbers, before, values)

    def move(self, name: str, to: str, numbers: Sequence[int]) -> None:
        """Call a member by another name in each of the rows, which all have it. What has that name already is replaced."""
        values, before = (picked(self.columns.column(one), numbers) for one in (name, to))
        easy = _both(self._easy(name, numbers), self._sure(to, numbers))
        if before.count(None) < len(before):
            easy = _both(easy, [value is None for value in before])
        edit = Edit(name.encode(), to.encode())
        failed = self._step(numbers, easy, edit, lambda members, _: moved(members, name, to))
        self._book(to, numbers, values, failed)
        self._book(name, numbers, [None] * len(numbers), failed)
        self._follow(name, numbers, values, ())
        self._follow(to, numbers, before, values)

    def remove(self, name: str, numbers: Sequence[int]) -> None:
        """Take a member out of each of the rows, which all have it."""
        before = picked(self.columns.column(name), numbers)
        edit = Edit(name.encode(), olds=encoded(before))
        failed = self._step(numbers, self._easy(name, numbers), edit, lambda members, _: take(members, name))
        self._book(name, numbers, [None] * len(numbers), failed)
        self._follow(name, numbers, before, ())

    def reshape(self, numbers: Sequence[int], change: Callable[[Members, int], object]) -> None:
        """Take rows apart and change them at will; a change that returns None did nothing."""

        def act(members: Members, row: int) -> object:
            before = dict(members)
            try:
                done = change(members, row)
            except RecursionError:
                self._apart[row] = before
                self._stuck.add(row)
                return None
            if any(is_ours(name, self.columns.ours) for name in members.keys() - before.keys()):
                self.columns.odd.add(row)
            return done

        failed = self._each_apart(numbers, act)
        done = [row for row in numbers if row not in failed]
        if done:
            self._read_again(self._asked, done)
            self.marks = None

    def rows(self) -> list[bytes]:
        """The rows as they are now."""
        if self._apart:
            numbers = sorted(self._apart)
            self._place(numbers, [encode(self._apart[row])[:-1] for row in numbers])
            self.columns.odd.update(row for row, members in self._apart.items() if not members)
            self._apart, self._flat = {}, None
        return self._rows

    def finish(self) -> None:
        """Hand the rows back."""
        rows = self.rows()
        if rows is not self.columns.rows:
            self.columns.rewrite(rows)
            self.columns.marks = self.marks
        if self._stuck:
            self.columns.flag(sorted(self._stuck), SKIPPED)

    def undo(self) -> None:
        """Put the columns back, where a step failed halfway."""
        for name, values in self._before.items():
            self.columns.assign(name, values)

    # --- how they are done

    def _append(self, name: str, numbers: Sequence[int], tails: Sequence[bytes]) -> set[int]:
        """Append a member that is not there."""
        easy = self._sure(name, numbers)
        sure, its = (numbers, tails) if easy is None else _chosen(easy, numbers, tails)
        self._place(sure, list(map(add, picked(self._rows, sure), map(add, repeat(b',"%b":' % name.encode()), its))))
        return self._put(name, *_chosen(map(not_, easy), numbers, tails)) if easy is not None else set()

    def _replace(self, name: str, numbers: Sequence[int], before: Values, tails: Sequence[bytes]) -> set[int]:
        """Exchange the value of a member that is there."""
        olds = encoded(before)
        changed = list(map(ne, olds, tails))
        if not all(changed):
            numbers, olds, tails = _chosen(changed, numbers, olds, tails)
        if not numbers:
            return set()
        its = self._its(numbers, tails)
        edit = Edit(name.encode(), olds=olds, news=tails)
        return self._step(numbers, self._easy(name, numbers), edit, lambda members, row: put(members, name, its(row)))

    def _put(self, name: str, numbers: Sequence[int], tails: Sequence[bytes]) -> set[int]:
        its = self._its(numbers, tails)
        return self._each_apart(numbers, lambda members, row: put(members, name, its(row)))

    def _its(self, numbers: Sequence[int], tails: Sequence[bytes]) -> Callable[[int], msgspec.Raw]:
        """The value of a row. Most rows never ask."""
        return lambda row: msgspec.Raw(tails[bisect_left(numbers, row)])

    def _step(
        self, numbers: Sequence[int], easy: list[bool] | None, edit: Edit, act: Callable[[Members, int], object]
    ) -> set[int]:
        """Edit the rows where that is safe (None: all), and act upon the others apart. Returns rows that failed."""
        sure = numbers if easy is None else list(compress(numbers, easy))
        rows, good = exchanged(picked(self._rows, sure), edit if easy is None else edit.chosen(easy)) if sure else ([], None)
        self._place(sure, rows)
        left = [] if easy is None else list(compress(numbers, map(not_, easy)))
        if good is not None:
            left += compress(sure, map(not_, good))
        return self._each_apart(left, act)

    def _place(self, numbers: Sequence[int], rows: list[bytes]) -> None:
        """Put rows in the place of others."""
        if len(numbers) == len(self._rows):
            self._rows = rows
        elif numbers:
            if self._rows is self.columns.rows:
                self._rows = list(self._rows)
            deque(map(self._rows.__setitem__, numbers, rows), maxlen=0)

    def _each_apart(self, numbers: Iterable[int], act: Callable[[Members, int], object]) -> set[int]:
        """Act upon rows one by one. Returns those where it did nothing."""
        failed = set()
        for row in numbers:
            members = self._members(row)
            if members is None or act(members, row) is None:
                failed.add(row)
        return failed

    def _members(self, row: int) -> Members | None:
        """A row taken apart; None where that cannot be done."""
        found = self._apart.get(row)
        if found is None:
            try:
                found = self._apart[row] = members_of(self._rows[row] + b"}")
            except (msgspec.DecodeError, RecursionError):
                self._stuck.add(row)
        return found

    # --- what is safe

    @property
    def may_escape(self) -> bool:
        """Whether some names may be written with escapes."""
        return self.columns.marks is None or ESCAPES in self.columns.marks

    def _easy(self, name: str, numbers: Sequence[int]) -> list[bool] | None:
        """In which rows a name that is there can only be the member's; None: in all."""
        if not _PLAIN.fullmatch(name):
            return [False] * len(numbers)
        rows = picked(self._rows, numbers)
        whole = list(map(not_, map(self._apart.__contains__, numbers))) if self._apart else None
        if self._flat is None and len(rows) == len(self._rows):
            self._flat = are_flat(rows)
        if self._flat or (self._flat is None and are_flat(rows)):
            return whole
        if "." in name:  # it may as well be reached through objects
            return _both(whole, list(map(not_, map(bytes.rfind, rows, repeat(b"{")))))
        once = list(map((1).__eq__, map(bytes.count, rows, repeat(b'"%b"' % name.encode()))))
        escaping = self._rows_with_escaped_names()
        return _both(_both(whole, once), list(map(not_, map(escaping.__contains__, numbers))) if escaping else None)

    def _sure(self, name: str, numbers: Sequence[int]) -> list[bool] | None:
        """In which rows a member can be appended, as there is none of that name, not even null; None: in all."""
        if not _PLAIN.fullmatch(name):
            return [False] * len(numbers)
        quoted = b'"%b"' % name.encode()
        unsure = {*self._apart, *self._rows_with_escaped_names()}
        unsure.update(row for row in self.columns.odd if not self._rows[row][1:].strip())
        unsure.update(row for row in self.columns.changed if quoted in self._rows[row])
        mask = list(map(not_, map(unsure.__contains__, numbers))) if unsure else None
        if self.columns.marks is None or _null(name) in self.columns.marks:
            free = list(map(not_, map(contains, picked(self._rows, numbers), repeat(quoted))))
            mask = _both(mask, free if not all(free) else None)
        return mask

    def _rows_with_escaped_names(self) -> set[int]:
        """Rows in which a name may be written with escapes."""
        if self._escaping is None:
            found = map(_ESCAPED_NAME.search, self.columns.rows) if self.may_escape else ()
            self._escaping = {row for row, name in enumerate(found) if name}
        return self._escaping

    # --- columns

    def _book(self, name: str, numbers: Sequence[int], values: Values, failed: set[int]) -> None:
        """Set a column, and note rows that have a member of ours now."""
        if failed:
            numbers, values = _chosen([row not in failed for row in numbers], numbers, values)
        if values and values[0] is not None and is_ours(name, self.columns.ours):
            self.columns.odd.update(numbers)
        if name in self._asked and numbers:
            self._assign(name, numbers, values)

    def _assign(self, name: str, numbers: Sequence[int], values: Values) -> None:
        before = self.columns.column(name)
        self._before.setdefault(name, before)
        if len(numbers) < len(before):
            whole = list(before)
            deque(map(whole.__setitem__, numbers, values), maxlen=0)
            values = whole
        self.columns.assign(name, values)

    def _follow(self, name: str, numbers: Sequence[int], before: Values, after: Values) -> None:
        """Set the columns of names within or around one that changed: where it was or became an object, or rows are apart."""
        related = [other for other in self._asked if other != name and meet(other, name)]
        if not related:
            return
        rows = [row for row in numbers if row in self._apart] if self._apart else []
        if dict in set(map(type, before)) or dict in set(map(type, after)):
            rows = list(numbers)
        if rows:
            self._read_again(related, rows)

    def _read_again(self, names: Iterable[str], rows: Sequence[int]) -> None:
        """Set columns from what rows say now."""
        records = [self._record(row) for row in rows]
        for name in set(names) - self.columns.beside:
            self._assign(name, rows, [reach(record, name) for record in records])

    def _record(self, row: int) -> Mapping[str, object]:
        members = self._apart.get(row)
        text = self._rows[row] + b"}" if members is None else encode(members)
        try:
            found: Mapping[str, object] = msgspec.json.decode(text)
        except msgspec.DecodeError:  # a number beyond its types
            found = json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS_MAX else float(digits))
        return found


def are_flat(rows: Sequence[bytes]) -> bool:
    """Whether no row has a brace but its first one."""
    together = b"".join(rows)
    return len(together.replace(b"{", b"")) == len(together) - len(rows)


def is_ours(name: str, ours: Iterable[str]) -> bool:
    """Whether a record's member stands where documents have something from us."""
    return any(meet(name, one) for one in ours)


def _chosen(mask: Iterable[object], *parts: Sequence[Any]) -> list[list[Any]]:
    """Of each of the parts what the mask chooses."""
    mask = list(mask)
    return [list(compress(part, mask)) for part in parts]


def _both(one: list[bool] | None, other: list[bool] | None) -> list[bool] | None:
    """Two masks as one; None chooses all."""
    if one is None or other is None:
        return other if one is None else one
    return list(map(and_, one, other))
