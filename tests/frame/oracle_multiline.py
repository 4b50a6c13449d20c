"""Multiline, the slow obvious way: all lines of a stream at once, one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from shipper.frame.multiline_packs import CLOSED, TRIAL_MAX, Pack
from tests.frame.test_lines import naive as naive_lines
from tests.kit.records import Found

Groups = list[tuple[list[Found], bool, Pack | None]]
"""Lines of each record, whether it was cut, the pack that found it."""


class Bounds(msgspec.Struct, frozen=True):
    """What a frame is told, and where the file ends."""

    max_lines: int
    max_bytes: int
    size: int


def lines_of(source: bytes) -> list[Found]:
    """Each line of a file, blank ones with an empty text."""
    found = []
    for line in re.finditer(rb"[^\n]*\n|[^\n]+", source):
        own = naive_lines(line[0])[0] if line.start() else naive_lines(source[: line.end()])[0]
        row, marks = own[0][2:] if own else (b"", () if line[0].endswith(b"\n") else ("unterminated",))
        found.append((line.start(), line.end(), row, marks))
    return found


def by_pattern(lines: Sequence[Found], begins: Callable[[bytes], bool], bounds: Bounds) -> Groups:
    """A record begins where `begins` says so; a blank line begins none."""
    groups: Groups = []
    current: list[Found] = []

    def close(*, was_cut: bool) -> None:
        while current and not current[-1][2]:
            current.pop()
        if current:
            groups.append((current.copy(), was_cut, None))
        current.clear()

    for line in lines:
        if current:
            if line[1] > current[0][0] + bounds.max_bytes:
                close(was_cut=True)
            elif line[2] and begins(line[2]):
                close(was_cut=False)
            elif len(current) >= bounds.max_lines:
                close(was_cut=True)
        if current or line[2]:
            current.append(line)
    close(was_cut=bool(current) and bounds.size >= current[0][0] + bounds.max_bytes)
    return groups


def by_packs(lines: Sequence[Found], packs: Sequence[Pack], bounds: Bounds) -> Groups:
    """A trace begins with the first line that some pack says so of, and takes lines before it along."""
    rows = [row for _, _, row, _ in lines]
    groups: Groups = []
    at = number = 0
    while number < len(rows):
        pack, step = next(((pack, step) for pack in packs if (step := pack.start(rows[number]))), (None, None))
        if pack is None or step is None:
            number += 1
            continue
        low = pack.before(rows, number, at) if step.lead else number
        while low < number and (number - low >= bounds.max_lines or lines[number][1] > lines[low][0] + bounds.max_bytes):
            low += 1
        number, was_cut = _followed(lines, (low, number), (pack, step.to), bounds)
        if number - low > 1:
            groups += [([line], False, None) for line in lines[at:low]]
            groups.append((list(lines[low:number]), was_cut, pack))
            at = number
    return groups + [([line], False, None) for line in lines[at:]]


def _followed(lines: Sequence[Found], begun: tuple[int, int], how: tuple[Pack, Any], bounds: Bounds) -> tuple[int, bool]:
    (low, number), (pack, state) = begun, how
    bound = lines[low][0] + bounds.max_bytes
    stop = number + 1
    for further in range(number + 1, len(lines) + 1):
        if state == CLOSED or further - stop > TRIAL_MAX:
            break
        if further == len(lines):
            return stop, bounds.size >= bound
        if lines[further][1] > bound:
            return stop, True
        told = pack.step(state, lines[further][2])
        if told is None:
            break
        if further - low >= bounds.max_lines:
            return stop, True
        state, sure = told
        stop = further + 1 if sure else stop
    return stop, False


def records(groups: Groups) -> list[Found]:
    """The records of groups, in the order of their first bytes, marks sorted."""
    found = []
    for lines, was_cut, pack in groups:
        rows = [row for _, _, row, _ in lines]
        marks = {mark for *_, marks in lines for mark in marks}
        if len(lines) == 1:
            row = rows[0]
        else:
            marks |= {"multiline_cut"} if was_cut else set()
            row = (
                pack.row(rows)
                if pack
                else json.dumps({"message": b"\n".join(rows).decode()}, ensure_ascii=False, separators=(",", ":")).encode()
            )
        if row:
            found.append((lines[0][0], lines[-1][1], row, tuple(sorted(marks))))
    return sorted(found)
