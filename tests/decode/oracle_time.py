"""Times read the simple way, one row after the other: `datetime.strptime`, and all years and folds there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ISO = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s*(Z|z|UTC|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
CANONICAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)
DIGITS = re.compile(r"(\d{9,19})(?:\.(\d+))?", re.ASCII)
FORCED = re.compile(r"(\d{1,20})(?:\.(\d+))?", re.ASCII)
UNITS = {"unix": 0, "unix_ms": 3, "unix_us": 6, "unix_ns": 9}
Read = tuple[int, bytes, str]
"""Second, stamp, flag."""


def rows(
    values: Sequence[object], before: float, layouts: Sequence[str] = (), zone: str = "UTC", fold: str = "auto"
) -> list[Read]:
    """What each row says, after the one before it."""
    found: list[Read] = []
    last = int(before // 1)
    for value in values:
        read = None
        for layout in [*(layouts or ("digits", "iso8601")), "iso8601 with zone"]:
            read = read or one(value, last, layout, ZoneInfo(zone), fold)
        if read is None:
            flag = "timestamp_missing" if value is None or value == "" else "timestamp_unreadable"
            read = last, stamp(last, "000"), flag
        found.append(read)
        last = read[0]
    return found


def one(value: object, before: int, layout: str, zone: ZoneInfo, fold: str) -> Read | None:
    """One value in one layout."""
    try:
        if layout == "digits" or layout in UNITS:
            return epoch(value, UNITS.get(layout))
        if not isinstance(value, str) or len(value.strip()) > 128:
            return None
        if layout.startswith("iso"):
            return iso(value.strip(), before, zone, fold, layout != "iso8601")
        return strptime(value.strip(), before, layout, zone, fold)
    except (ValueError, OverflowError):
        return None


def stamp(seconds: int, fraction: str) -> bytes:
    """The text of `@timestamp`."""
    moment = EPOCH + timedelta(seconds=seconds)
    return f"{moment.isoformat()[:19]}.{fraction[:9]:0<3}Z".encode()


def epoch(value: object, below: int | None) -> Read | None:
    """Unix time; without `below` its magnitude tells the unit."""
    fraction = ""
    if isinstance(value, str):
        digits = (DIGITS if below is None else FORCED).fullmatch(value.strip())
        if digits is None:
            return None
        value, fraction = int(digits[1]), digits[2] or ""
    if isinstance(value, float) and 0 <= value < 1e20:
        whole, _, rest = f"{value:.6f}".partition(".")
        value, fraction = int(whole), rest.rstrip("0")
    if type(value) is not int or not 0 <= value < 10**20:
        return None
    if below is None:
        below = next(digits for digits in (0, 3, 6, 9, 12) if value < 10 ** (11 + digits))
        if below > 9:
            return None
    seconds, rest = divmod(value, 10**below)
    return seconds, stamp(seconds, (f"{rest:0{below}}" if below else "") + fraction), ""


def iso(text: str, before: int, zone: ZoneInfo, fold: str, zoned: bool) -> Read | None:
    """ISO 8601."""
    found = ISO.fullmatch(text)
    if not found or (zoned and not found[4]):
        return None
    day, clock, fraction, offset = found.groups()
    offset = "+00:00" if offset in ("Z", "z", "UTC") else offset
    wall = datetime.fromisoformat(f"{day}T{clock}")
    if offset:
        seconds, flag = (
            (datetime.fromisoformat(f"{day}T{clock}{offset.ljust(6, '0') if ':' in offset else offset.ljust(5, '0')}") - EPOCH)
            // timedelta(seconds=1),
            "",
        )
    else:
        seconds, flag = local(wall, [wall.year], before, zone, fold)
    EPOCH + timedelta(seconds=seconds)
    return seconds, text.encode() if CANONICAL.fullmatch(text) else stamp(seconds, fraction or "000"), flag


def strptime(text: str, before: int, layout: str, zone: ZoneInfo, fold: str) -> Read | None:
    """A layout: its fraction is cut to what `strptime` can read, and put back."""
    layout, fraction = layout.replace("%e", "%d"), ""
    if "%f" in layout:
        found = re.search(r"[.,](\d+)", text, re.ASCII)
        if found is None:
            return None
        fraction = found[1]
        text = text[: found.start(1)] + "0" + text[found.end(1) :]
    has_year = "%Y" in layout
    moment = datetime.strptime(text, layout) if has_year else datetime.strptime(f"{text} 2024", f"{layout} %Y")
    if moment.tzinfo is not None:
        seconds = (moment - EPOCH) // timedelta(seconds=1)
        return seconds, stamp(seconds, fraction or "000"), ""
    seconds, flag = local(moment, [moment.year] if has_year else list(range(1966, 2061)), before, zone, fold)
    return seconds, stamp(seconds, fraction or "000"), flag


def local(wall: datetime, years: list[int], before: int, zone: ZoneInfo, fold: str) -> tuple[int, str]:
    """A time in a zone, in the year that is nearest: its second and flag."""
    choices = [(readings(wall, year, zone)) for year in years if is_day(wall, year)]
    first, second, exists = min(choices, key=lambda choice: abs(choice[0] - before))
    if not exists:
        return first, "timestamp_gap"
    if first == second:
        return first, ""
    by_order = before - 10 <= first or before - 3600 > second
    return (first if fold == "first" or (fold == "auto" and by_order) else second), "timestamp_ambiguous"


def is_day(wall: datetime, year: int) -> bool:
    """Whether there is such a day in a year."""
    try:
        return bool(wall.replace(year=year))
    except ValueError:
        return False


def readings(wall: datetime, year: int, zone: ZoneInfo) -> tuple[int, int, bool]:
    """The seconds of both folds, and whether there is such a time: it comes back when it is turned into UTC and back."""
    seconds = [
        int((wall.replace(year=year, tzinfo=zone, fold=fold).astimezone(UTC) - EPOCH) // timedelta(seconds=1)) for fold in (0, 1)
    ]
    exists = (EPOCH + timedelta(seconds=seconds[0])).astimezone(zone).replace(tzinfo=None) == wall.replace(year=year)
    return seconds[0], seconds[1] if exists else seconds[0], exists
