r"""Multiline: several lines that are one record, a stack trace say. `{multiline: python}`, or `{multiline: {start: '^\d{4}-'}}`.

RULES
- With `pack` the traces of some languages become one record each, with the logger's line above them; all other lines stay what
  they are. With `start` a line that matches begins a record, with `continue` one that matches goes on with the record before.
- It sits on another frame (`inner`), whose records it groups, those of stdout and stderr apart (fluent-bit#4387).
- A record of several lines is written as `{"message":"line\nline"}`, as a row has no newlines; one line stays as it is. Pretty
  printed JSON becomes the object itself. Blank lines within a record stay, at its end and outside of records they are none.
- A record has at most `max_lines` lines and `max_bytes` bytes of the file from its first to its last. Where it is cut for that,
  or might have gone on, it is flagged `multiline_cut`, and what follows is read as at the beginning of a file.
- What may go on is left for the next window, with everything behind its first byte, unless `final` says that nothing follows.
  The caller says so `timeout` after the last byte. So what is a record depends on the file alone, not on the windows.
- `start` and `continue` are RE2 patterns, in time linear in the line whatever they say (CVE-2021-41186), searched in each line.

THEORY
A window without traces costs one RE2 search over the first bytes of its lines, put together; Python runs per trace only. `start`
and `continue` are matched run by run: the lines in a row that match are one match of the pattern, repeated with a newline behind.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import compress, count, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import re2

from shipper.config.fields import ComponentConfig, Duration, Size
from shipper.frame.cri import Cri
from shipper.frame.docker import Docker
from shipper.frame.frame import Cut
from shipper.frame.joining import Columns, Group, bounded, columns, complete
from shipper.frame.lines import clean, is_utf8
from shipper.frame.multiline_packs import CLOSED, PACKS, TRIAL_MAX, Pack, Step, as_message
from shipper.model.batch import split_rows
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PREFIX_BYTES = 80
_PREFIX = itemgetter(slice(0, _PREFIX_BYTES))
_BOM = b"\xef\xbb\xbf"
_STREAMS_FEW = 4
_INVERTED = bytes((1, *bytes(255)))
_RUN = re.compile(rb"\x01?\x00+")
_FLAGS = re.compile(r"\(\?(?!:|i\)|i:)")
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?[a-z]+:\]|[^\]\\])*\]|.", re.DOTALL)
_NARROWED = {r"\s": r"[ \t\f\r]", r"\W": r"[^\w]", r"\D": r"[^\d]"}
_UNBOUNDED = frozenset(("*", "+", "|", "$", r"\b", r"\B"))
_TIMES = re.compile(r"\{(?:\d{1,2},)?(\d{1,2})\}")
_WIDE = re.compile(r"\\(?![dwstfr]|[^0-9A-Za-z])|\\t-|[\0-\x1f]|\[:")
"""What lets a class hold a newline."""
_INNER: dict[str, Callable[[], Docker | Cri]] = {"docker": lambda: Docker(blanks=True), "cri": lambda: Cri(blanks=True)}


class Limits(msgspec.Struct, frozen=True):
    """How far a record goes, and what is known of the file beyond the window."""

    max_lines: int
    max_bytes: int
    seen: int
    final: bool


class Lot(msgspec.Struct):
    """The lines of one stream in a window."""

    rows: list[bytes]
    starts: list[int]
    stops: list[int]


class Span(msgspec.Struct, frozen=True):
    """Lines [first, stop) of a lot that are one record."""

    first: int
    stop: int
    was_cut: bool = False
    pack: Pack | None = None


class Multiline:
    """Records of several lines: stack traces, pretty-printed JSON, or what patterns say."""

    class Config(ComponentConfig):
        """Settings of the multiline frame. One of `pack`, `start` and `continue` is there."""

        pack: str | list[str] | None = None
        """Languages whose traces are joined: python, java, go, ruby, nodejs, php, dotnet, rust; or json."""
        start: str | None = None
        """A pattern (RE2) found in the first line of each record."""
        continue_: str | None = msgspec.field(default=None, name="continue")
        """A pattern (RE2) found in each further line of a record."""
        inner: Literal["lines", "docker", "cri"] = "lines"
        """The frame whose records are the lines."""
        max_lines: int = 1000
        """Lines of a record, at least 2."""
        max_bytes: Size = Size(1 << 20)
        """Bytes of the file from the first to the last of a record. At most `max_record`."""
        timeout: Duration = Duration(5)
        """Time after which a record that nothing follows is taken as it is."""

    joins = True
    """Whole lines may be left at the end of a window."""

    def __init__(self, config: Config) -> None:
        """Take the settings. Raises ComponentError for those that cannot work."""
        self.flush_after_s = float(config.timeout)
        self._limits = config.max_lines, int(config.max_bytes)
        self._inner = _INNER[config.inner]() if config.inner in _INNER else None
        self.adds: Sequence[str] = self._inner.adds if self._inner is not None else ()
        self._grouper = _grouper(config)
        if config.max_lines < 2:
            raise ComponentError("max_lines must be 2 or more", "max_lines")
        if config.max_bytes < 1:
            raise ComponentError("max_bytes must be more than 0", "max_bytes")

    def cut(self, data: bytes, base: int, *, final: bool) -> Cut:
        """Cut whole records; see `Frame.cut`."""
        if self._inner is None:
            rows, found, next_offset = _lines(data, base, final=final)
        else:
            rows, found, next_offset = _inner_records(self._inner.cut(data, base, final=final))
        if not rows:
            return Cut(b"", 0, next_offset)
        # Lines that the inner frame leaves have not been seen: the next record may be among them.
        seen = next_offset if data.find(b"\n", next_offset - base) >= 0 else base + len(data)
        limits = Limits(*self._limits, seen, final)
        groups, taken = self._grouped(rows, found, limits)
        if taken < len(rows):
            next_offset = found.starts[taken]
            found.leave(taken)
            del rows[taken:]
        for group, span in groups:
            texts = [rows[line] for line in group.lines]
            rows[group.lines[0]] = span.pack.row(texts) if span.pack is not None else as_message(texts)
            found.join(group)
            if span.was_cut:
                found.mark(group.lines[0], ("multiline_cut",))
        if b"" in rows:
            _skip_blank(rows, found, data, base)
        if b"\0" in data:
            found.skipped["nul"] = data.count(b"\0", 0, next_offset - base)
        rows = list(found.kept(rows))
        return found.cut(b"\n".join([*rows, b""]), next_offset)

    def _grouped(self, rows: list[bytes], found: Columns, limits: Limits) -> tuple[list[tuple[Group, Span]], int]:
        """The records of several lines, and the number of lines up to which all is decided."""
        spans: dict[int, Span] = {}
        groups: list[Group] = []
        taken = len(rows)
        for numbers in _by_stream(found.extras, len(rows)):
            lot = Lot(rows, found.starts, found.stops)
            if numbers is not None:
                pick = itemgetter(*numbers, numbers[0])  # one more, so that it is a tuple always
                lot = Lot(*(list(pick(column)[:-1]) for column in (rows, found.starts, found.stops)))
            told, open_from = self._grouper(lot, limits)
            if open_from < len(lot.rows):
                taken = min(taken, open_from if numbers is None else numbers[open_from])
            for span in told:
                lines = list(range(span.first, span.stop)) if numbers is None else numbers[span.first : span.stop]
                spans[lines[0]] = span
                groups.append(Group(lines))
        while True:
            kept, taken = complete(groups, taken)
            # Records of the inner frame reach beyond each other, too: no line is left that one before it covers.
            if self._inner is None or not taken or taken == len(rows) or max(found.stops[:taken]) <= found.starts[taken]:
                return [(group, spans[group.lines[0]]) for group in kept], taken
            edge = found.starts[taken]
            taken = next(compress(count(), map(edge.__lt__, found.stops)))


def _grouper(config: Multiline.Config) -> Callable[[Lot, Limits], tuple[list[Span], int]]:
    """What tells the records of a lot. Raises ComponentError."""
    given = [name for name, value in (("pack", config.pack), ("start", config.start), ("continue", config.continue_)) if value]
    if len(given) != 1:
        raise ComponentError(
            "multiline needs one of `pack`, `start` and `continue`",
            given[1] if given else "",
            "write `multiline: python` or `multiline: {start: '^\\d{4}-'}`",
        )
    if not config.pack:
        pattern = config.start or config.continue_ or ""
        return Patterns(Matcher(pattern, given[0]), begins=given[0] == "start").group
    names = [config.pack] if isinstance(config.pack, str) else config.pack
    for number, name in enumerate(names):
        if name not in PACKS:
            field = "pack" if isinstance(config.pack, str) else f"pack.{number}"
            raise ComponentError("there is no multiline pack of this name", field, f"there are {', '.join(PACKS)}")
    return Traces([PACKS[name] for name in dict.fromkeys(names)]).group


def _lines(data: bytes, base: int, *, final: bool) -> tuple[list[bytes], Columns, int]:
    """The lines of a window, blank ones too."""
    end = len(data) if final else data.rfind(b"\n") + 1
    if not end:
        return [], columns([], []), base
    block = data if end == len(data) else data[:end]
    rows, starts, stops = bounded(block, base)
    found = columns(starts, stops)
    if b"\0" not in block and block.endswith(b"\n") and is_utf8(block) and not (base <= 0 and _BOM in block):
        if b"\r" in block:
            rows = list(map(bytes.removesuffix, rows, repeat(b"\r")))
    else:
        for number, row in enumerate(rows):
            line = row + b"\n" if starts[number] + len(row) < base + end else row
            rows[number], marks, _ = clean(line, starts[number])
            if marks:
                found.mark(number, marks)
    return rows, found, base + end


def _inner_records(cut: Cut) -> tuple[list[bytes], Columns, int]:
    """The records of an inner frame as lines."""
    rows = split_rows(cut.block, None)
    starts, stops = cut.origin if cut.origin is not None else ([], [])
    found = columns(list(starts), list(stops))
    found.flags = dict(cut.flags)
    found.extras = cut.extras if isinstance(cut.extras, bytes) else list(cut.extras or ())
    found.times = cut.times or []
    return rows, found, cut.next_offset


def _by_stream(extras: list[bytes] | bytes | None, size: int) -> list[list[int] | None]:
    """The numbers of each stream's lines; None for all of them."""
    if not isinstance(extras, list):
        return [None]
    keys = set(extras)
    if len(keys) < 2:
        return [None]
    if len(keys) <= _STREAMS_FEW:
        return [list(compress(range(size), map(key.__eq__, extras))) for key in sorted(keys)]
    numbers: dict[bytes, list[int]] = {}
    for number, key in enumerate(extras):
        numbers.setdefault(key, []).append(number)
    return list(numbers.values())


def _skip_blank(rows: list[bytes], found: Columns, data: bytes, base: int) -> None:
    """Drop blank lines outside of records, and count them."""
    for line in compress(count(), map(b"".__eq__, rows)):
        if line not in found.drop:
            start, stop = found.starts[line], found.stops[line]
            found.skip_blank(line, {line: data[start - base : stop - base]})


class Traces:
    """Finds the traces of packs."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        """Take at least one pack; the first that knows a line has it."""
        self._packs = packs
        self._triggers = re2.compile(b"(?m)^(?:%b)" % b"|".join(pack.triggers for pack in packs))

    def group(self, lot: Lot, limits: Limits) -> tuple[list[Span], int]:
        """The traces of several lines, and the first line that is not decided yet."""
        rows = lot.rows
        prefixes = b"\n".join([*map(_PREFIX, rows), b""])
        spans: list[Span] = []
        first = line = position = 0
        while trigger := self._triggers.search(prefixes, position):
            line += prefixes.count(b"\n", position, trigger.start())
            position = trigger.start()
            stop = line + 1
            if begun := self._begun(rows[line]):
                low = begun[0].before(rows, line, first) if begun[1].lead else line
                while low < line and not _fits(lot, limits, low, line):
                    low += 1
                span, is_open = self._follow(lot, limits, Span(low, line, False, begun[0]), begun[1].to)
                if is_open:
                    return spans, low
                stop = span.stop
                if span.stop - span.first > 1:
                    spans.append(span)
                    first = stop
            for _ in range(line, stop):
                position = prefixes.index(b"\n", position) + 1
            line = stop
        return spans, len(rows) if limits.final else self._open_from(lot, limits, first)

    def _begun(self, row: bytes) -> tuple[Pack, Step] | None:
        for pack in self._packs:
            if step := pack.start(row):
                return pack, step
        return None

    def _open_from(self, lot: Lot, limits: Limits, first: int) -> int:
        """The earliest of the last lines that a trace may still claim, were it to begin with the next line."""
        size = len(lot.rows)
        low = min(pack.before(lot.rows, size, first) for pack in self._packs)
        while low < size and limits.seen >= lot.starts[low] + limits.max_bytes:
            low += 1
        return low

    def _follow(self, lot: Lot, limits: Limits, begun: Span, state: Any) -> tuple[Span, bool]:
        """Follow a trace that begins at `begun`, whose last line led to `state`. Returns it, and whether it may go on."""
        low, stop, pack = begun.first, begun.stop + 1, begun.pack
        assert pack is not None
        bound = lot.starts[low] + limits.max_bytes
        reach = bisect_right(lot.stops, bound)
        number, was_cut = stop, False
        while state != CLOSED and number - stop <= TRIAL_MAX:
            if number >= reach:  # the next line is too far away, or not there yet
                if number == len(lot.rows) and limits.seen < bound:
                    return Span(low, stop, False, pack), not limits.final
                was_cut = True
                break
            further = pack.step(state, lot.rows[number])
            if further is None:
                break
            if number - low >= limits.max_lines:
                was_cut = True
                break
            state, sure = further
            number += 1
            stop = number if sure else stop
        return Span(low, stop, was_cut, pack), False


def _fits(lot: Lot, limits: Limits, low: int, line: int) -> bool:
    """Whether one record may hold both lines."""
    return line - low < limits.max_lines and lot.stops[line] <= lot.starts[low] + limits.max_bytes


class Patterns:
    """Groups lines by what the first, or each further one, looks like."""

    def __init__(self, matcher: Matcher, *, begins: bool) -> None:
        """`begins`: the lines that match begin records; otherwise they go on with them."""
        self._matcher = matcher
        self._begins = begins

    def group(self, lot: Lot, limits: Limits) -> tuple[list[Span], int]:
        """The records of several lines, and the first line of the last record, which may go on."""
        begins = self._matcher.matches(lot.rows)
        if not self._begins:
            begins = begins.translate(_INVERTED)
        if b"" in lot.rows:  # a blank line begins nothing
            begins = bytes(map(min, begins, map(len, lot.rows)))
        spans: list[Span] = []
        for run in _RUN.finditer(begins):
            open_from = self._divide(lot, limits, run.span(), spans)
            if open_from < len(begins):
                return spans, open_from
        last = len(begins) - 1
        if begins.endswith(b"\1") and not limits.final and limits.seen < lot.starts[last] + limits.max_bytes:
            return spans, last
        return spans, len(begins)

    def _divide(self, lot: Lot, limits: Limits, run: tuple[int, int], spans: list[Span]) -> int:
        """Make records of lines that belong together. Returns the first line of what may go on, else the number of all lines."""
        (low, end), size = run, len(lot.rows)
        while low < end:
            if not lot.rows[low]:
                low += 1
                continue
            bound = lot.starts[low] + limits.max_bytes
            reach = bisect_right(lot.stops, bound)
            stop = max(low + 1, min(end, reach, low + limits.max_lines))
            if stop == size and limits.seen < bound and not limits.final:
                return low
            was_cut = stop < end or (reach <= end and (end < size or limits.seen >= bound))
            last = stop
            while not lot.rows[last - 1]:
                last -= 1
            if last - low > 1:
                spans.append(Span(low, last, was_cut))
            low = stop
        return size


class Matcher:
    """Finds the lines in which a pattern matches."""

    def __init__(self, pattern: str, field: str) -> None:
        """Compile. Raises ComponentError naming `field` for a pattern that RE2 refuses."""
        options = re2.Options()
        options.log_errors = False
        try:
            self._pattern = re2.compile(pattern.encode(), options)
            within = within_a_line(pattern)
            self._found = self._run = self._width = None
            if within is not None:
                line = b"^.*?(?:%b)" % within.encode()
                self._found = re2.compile(b"(?m)%b" % line, options)
                self._run = re2.compile(b"(?m)(?:%b.*\n)*" % line, options)
                self._width = width(within)
        except (re2.error, UnicodeEncodeError) as error:
            message = f"the pattern cannot be used: {error.args[0] if error.args else error}"
            raise ComponentError(message, field, "patterns are RE2: no look-around, no backreferences") from None

    def matches(self, rows: Sequence[bytes]) -> bytes:
        """1 for each line in which the pattern is found, 0 for the others."""
        if self._found is None or self._run is None:
            return bytes(map(bool, map(self._pattern.search, rows)))
        text = b""
        if self._width is not None:
            text = b"\n".join([*map(itemgetter(slice(0, self._width)), rows), b""])
        if not text or not text.isascii():
            text = b"\n".join([*rows, b""])
        told = bytearray(len(rows))
        line = position = 0
        while (found := self._found.search(text, position)) and found.start() < len(text):
            line += text.count(b"\n", position, found.start())
            position = self._run.match(text, found.start()).end()
            lines = text.count(b"\n", found.start(), position)
            if not lines:  # the two patterns differ: never seen, and no reason to stand still
                return bytes(map(bool, map(self._pattern.search, rows)))
            told[line : line + lines] = b"\1" * lines
            line += lines
        return bytes(told)


def within_a_line(pattern: str) -> str | None:
    """The same pattern made so that it never matches a newline, for the search in many lines at once; None where that is not sure."""
    if _FLAGS.search(pattern):
        return None
    pieces = [_NARROWED.get(piece, piece) for piece in _PIECE.findall(pattern)]
    return "".join(map(_within, pieces)) if all(map(_is_narrow, pieces)) else None


def _is_narrow(piece: str) -> bool:
    """Whether a piece of a pattern can be kept from matching newlines."""
    if piece.startswith("[^"):
        return piece[2:3] != "]" and "[:" not in piece
    if piece.startswith("[") and len(piece) > 1:
        return not _WIDE.search(piece)
    return piece != "\n" and (piece[0] != "\\" or not piece[1].isalnum() or piece[1] in "dwSbBt")


def _within(piece: str) -> str:
    if piece.startswith("[^"):
        return f"[^\\n{piece[2:]}"
    return piece.replace("\\s", " \\t\\f\\r") if piece.startswith("[") else piece


def width(pattern: str) -> int | None:
    """How many characters at a line's beginning decide whether a pattern is found in it; None where all of them may."""
    pieces = _PIECE.findall(pattern)
    if not pieces or pieces[0] != "^" or not _UNBOUNDED.isdisjoint(pieces):
        return None
    times = [int(number) for number in _TIMES.findall(pattern)]
    return len(pieces) * max(times, default=1) if pattern.count("{") == pattern.count("}") == len(times) else None
