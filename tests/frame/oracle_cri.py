"""CRI, the slow obvious way: the whole file at once, line by line, parts kept in a dict."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from tests.frame.test_lines import naive as naive_lines
from tests.kit.records import Found

Whole = tuple[Found, bytes, str]
"""A record, its fragment, its time."""
LINE = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP])(?::[^ ]*)?(?: (.*))?", re.DOTALL
)


def naive(source: bytes, join_max: int) -> tuple[list[Whole], Counter[str]]:
    """All records of a file, and the bytes that are none."""
    open_: dict[bytes, dict[str, Any]] = {}
    done: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    for found in re.finditer(rb"[^\n]*\n|[^\n]+", source):
        for stream in [stream for stream, record in open_.items() if record["start"] + join_max < found.end()]:
            done += [{**open_.pop(stream), "partial": True}]
        fits = LINE.fullmatch(found[0].removesuffix(b"\n").replace(b"\0", b""))
        if fits is None:
            lines, skips = naive_lines(found[0])
            skipped += skips
            done += [
                {"start": found.start(), "stop": found.end(), "row": row, "marks": {"not_cri", *marks}}
                for *_, row, marks in lines
            ]
            continue
        fresh = {"start": found.start(), "text": b"", "time": fits[1], "stream": fits[2], "size": 0, "nuls": 0, "marks": set()}
        record = open_.setdefault(fits[2], fresh)
        record["stop"] = found.end()
        record["text"] += fits[4] or b""
        record["size"] += len(found[0])
        record["nuls"] += found[0].count(0)
        record["marks"] |= set() if found[0].endswith(b"\n") else {"unterminated"}
        if fits[3] == b"F":
            done.append(open_.pop(fits[2]))
    done += [{**record, "partial": True} for record in open_.values()]
    return [whole for record in sorted(done, key=lambda record: record["start"]) for whole in _whole(record, skipped)], +skipped


def _whole(record: dict[str, Any], skipped: Counter[str]) -> list[Whole]:
    if "row" in record:
        return [((record["start"], record["stop"], record["row"], tuple(sorted(record["marks"]))), b"", "")]
    row, marks = record["text"].removesuffix(b"\r"), record["marks"] | ({"partial"} if record.get("partial") else set())
    skipped["nul"] += record["nuls"]
    if not row:
        skipped["blank"] += record["size"] - record["nuls"]
        return []
    try:
        row.decode()
    except UnicodeDecodeError:
        marks |= {"invalid_utf8"}
        row = "".join(
            chr(ord(char) - 0xDC00) if "\udc80" <= char <= "\udcff" else char for char in row.decode("utf-8", "surrogateescape")
        ).encode()
    extra = b',"stream":"%b"' % record["stream"]
    return [((record["start"], record["stop"], row, tuple(sorted(marks))), extra, record["time"].decode())]
