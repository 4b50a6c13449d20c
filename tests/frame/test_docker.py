"""Docker: the joining of parts against a naive reader of the whole file, however it is cut into windows."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.fields import Size
from shipper.frame.docker import Docker
from shipper.frame.joining import columns, lined
from tests.frame.test_lines import naive as naive_lines
from tests.kit.records import Found, cut_in_windows, extras_of, found_in

Whole = tuple[Found, bytes, str]
"""A record, its fragment, its time."""
JOIN_MAX = 400


def line(log: str, stream: str = "stdout", time: str = "2026-02-05T14:30:45.1Z", **more: object) -> bytes:
    """A line as the driver writes it."""
    return json.dumps({"log": log, "stream": stream, "time": time, **more}, ensure_ascii=False).encode() + b"\n"


texts = st.sampled_from(
    [
        "a\n",
        "b\n",
        "part",
        "part \u00fc",
        "end\n",
        "\n",
        "\r\n",
        "",
        "x\r\n",
        " \n",
        "nul\0\n",
        "two\nlines\n",
        '{"a":1}\n',
        "y" * 90,
        "cr\r\r\n",
        "\r\r\n",
    ]
)
docker_lines = st.builds(
    line,
    texts,
    st.sampled_from(["stdout", "stderr", "stdout", "stderr", "other"]),
    st.sampled_from(["", "2026-02-05T14:30:45.1Z"]),
)
labelled_lines = st.builds(
    line, texts, st.sampled_from(["stdout", "stderr"]), attrs=st.sampled_from([None, {"a": "b"}, {"a": "\u00fc"}])
)
strange_lines = st.sampled_from(
    [
        b"\n", b"not docker\n", b"\0\0\0\n", b"\0\0" + line("behind NULs\n"), b"  " + line("indented\n"), line("crlf\n")[:-1] + b"\r\n",
        b"[1]\n", b'{"log":1}\n', b'{"log":"x\\n"}{"log":"y\\n"}\n', b'{"log":"over\n', b'lines\\n"}\n', b'{"log":"\\ud800\\n"}\n', b"\xff\n",
        b'{"log":"bad \xff\\n","stream":"stdout"}\n', b'{"log":"z\\n","more":"\xff"}\n', line("l\n", attrs={"service": "api"}), line("m", attrs={"n": 1}),
        b'{"log":"no stream\\n","stream":null}\n', b'{"log":"\\n\\n"}\n', b"cr\r\r\n",
    ]
)  # fmt: skip
sources = st.builds(
    lambda lines, cut: b"".join(lines)[: -cut or None],
    st.lists(st.one_of(docker_lines, docker_lines, labelled_lines, strange_lines), max_size=16),
    st.integers(0, 3),
)
sizes = st.lists(st.integers(1, 500), min_size=1, max_size=5)


def parsed(text: bytes) -> tuple[dict | None, tuple[str, ...]]:
    """The driver's object and its mark; None for what is none. Bytes that are not UTF-8 become the characters of their number."""
    try:
        found = json.loads(text.replace(b"\0", b"").strip().decode("utf-8", "surrogateescape"))
    except ValueError:
        return None, ()
    if not isinstance(found, dict) or not isinstance(found.get("log"), str) or "\ud800" in found["log"]:
        return None, ()
    attrs = found.get("attrs") or {}
    if not all(isinstance(found.get(name, ""), str) for name in ("stream", "time")) or not all(
        isinstance(v, str) for v in attrs.values()
    ):
        return None, ()
    read = {"log": found["log"], "stream": found.get("stream", ""), "time": found.get("time", ""), "attrs": attrs}
    sound = json.loads(re.sub("[\udc80-\udcff]", lambda stray: chr(ord(stray[0]) - 0xDC00), json.dumps(read, ensure_ascii=False)))
    return sound, ("invalid_utf8",) if sound != read else ()


def naive(source: bytes, join_max: int = JOIN_MAX) -> tuple[list[Whole], Counter[str]]:
    """The whole file at once, line by line, parts kept in a dict."""
    open_: dict[str, list] = {}
    done: list[list] = []
    skipped: Counter[str] = Counter()

    def finish(stream: str, *marks: str) -> None:
        done.append([*open_.pop(stream)])
        done[-1][5] += marks

    for found in re.finditer(rb"[^\n]*\n|[^\n]+", source):
        for stream in [stream for stream, record in open_.items() if record[0] + join_max < found.end()]:
            finish(stream, "partial")
        record, marks = parsed(found[0])
        if record is None:
            lines, skips = naive_lines(found[0])
            skipped += skips
            done += [[found.start(), found.end(), None, text, {}, ("not_docker", *own), 0, 0] for _, _, text, own in lines]
            continue
        part = open_.setdefault(record.get("stream", ""), [found.start(), 0, "", b"", record, (), 0, 0])
        part[1], part[2] = found.end(), part[2] + record["log"]
        part[5] += tuple(mark for mark in marks if mark not in part[5])
        part[6], part[7] = part[6] + len(found[0]), part[7] + found[0].count(0)
        if record["log"].endswith("\n"):
            finish(record.get("stream", ""))
    for stream in list(open_):
        finish(stream, "partial")
    return [whole for record in sorted(done, key=lambda record: record[0]) for whole in _whole(record, skipped)], +skipped


def _whole(record: list, skipped: Counter[str]) -> list[Whole]:
    start, stop, text, row, first, marks, size, nuls = record
    if text is not None:
        text = text.removesuffix("\n").removesuffix("\r").replace("\0", "")
        row = (json.dumps({"message": text}, ensure_ascii=False, separators=(",", ":")) if "\n" in text else text).encode()
        skipped["nul"] += nuls
        if not row:
            skipped["blank"] += size - nuls
            return []
    stream = first.get("stream")
    extra = b',"stream":"%b"' % stream.encode() if stream in ("stdout", "stderr") else b""
    if first.get("attrs"):
        extra += (
            b',"container":{"labels":' + json.dumps(first["attrs"], ensure_ascii=False, separators=(",", ":")).encode() + b"}"
        )
    return [((start, stop, row, marks), extra, first.get("time", ""))]


def docker_config(join_max: int = JOIN_MAX) -> Docker.Config:
    """Settings with a small limit."""
    return Docker.Config(join_max=Size(join_max))


def docker(join_max: int = JOIN_MAX) -> Docker:
    """A frame with a small limit."""
    return Docker(docker_config(join_max))


@settings(deadline=None)
@given(sources, sizes)
def test_records_are_those_of_a_naive_reader_however_the_source_is_cut(source: bytes, sizes: list[int]) -> None:
    """The same spans, texts, marks and counts for any windows: parts of both streams are joined across them."""
    expected, skipped = naive(source)
    assert cut_in_windows(docker(), source, sizes) == ([found for found, _, _ in expected], skipped)


@settings(deadline=None)
@given(sources)
def test_fragments_and_times_stand_beside_their_records_when_a_file_is_read(source: bytes) -> None:
    """`stream` and labels become fragments, `time` dates the row; both are those of a record's first part."""
    cut = docker().cut(source, 0, final=True)
    assert cut.next_offset == len(source)
    assert list(zip(found_in(cut, 0), extras_of(cut), cut.times or [], strict=True)) == naive(source)[0]


@settings(deadline=None)
@given(sources)
def test_what_is_not_taken_starts_with_a_record_when_more_may_follow(source: bytes) -> None:
    """A cut that is not final and the rest after it give what one final cut gives."""
    whole = found_in(docker().cut(source, 0, final=True), 0)
    first = docker().cut(source, 0, final=False)
    rest = docker().cut(source[first.next_offset :], first.next_offset, final=True)
    assert found_in(first, 0) + found_in(rest, first.next_offset) == whole


def test_parts_are_joined_per_stream_when_two_streams_interleave() -> None:
    """Nothing of a record whose last part stands behind another's first is lost between windows."""
    lines = [line("e1 ", "stderr"), line("o1 "), line("e2\n", "stderr"), line("o2\n")]
    source = b"".join(lines)
    ends = [len(b"".join(lines[: number + 1])) for number in range(4)]
    cut = docker().cut(source[: ends[2]], 0, final=False)
    assert (cut.count, cut.next_offset) == (0, 0)
    assert found_in(docker().cut(source, 0, final=False), 0) == [(0, ends[2], b"e1 e2", ()), (ends[0], ends[3], b"o1 o2", ())]


def test_a_record_in_parts_is_cut_at_the_same_place_when_windows_differ() -> None:
    """A record that does not end within `join_max` bytes goes on `partial`; its next parts are the next record."""
    source = b"".join(line("p" * 50) for _ in range(20)) + line("end\n")
    one, _ = cut_in_windows(docker(), source, [len(source)])
    assert one == cut_in_windows(docker(), source, [330])[0] == cut_in_windows(docker(), source, [700, 91])[0]
    assert [marks for *_, marks in one] == [("partial",)] * (len(one) - 1) + [()]
    assert b"".join(row for _, _, row, _ in one) == b"p" * 1000 + b"end"
    assert all(stop - start <= JOIN_MAX for start, stop, _, _ in one)


def test_a_window_full_of_unfinished_parts_moves_on_when_they_are_too_far_back() -> None:
    """One record that never ends does not hold up the other stream for more than `join_max` bytes."""
    source = line("never ends") + b"".join(line(f"{number}\n", "stderr") for number in range(30))
    cut = docker().cut(source, 0, final=False)
    assert cut.count == 31
    assert cut.flags == {0: ("partial",)}
    assert found_in(cut, 0)[0][:2] == (0, len(line("never ends")))


@settings(deadline=None)
@given(st.lists(docker_lines | labelled_lines, min_size=1))
def test_one_decoding_agrees_with_that_of_each_line_when_all_are_the_drivers(lines: list[bytes]) -> None:
    """Parts, escapes, blank texts and labels are no reason to leave the fast way."""
    block = b"".join(lines)
    raw, starts, stops = lined(block, 7)
    fast = docker()._decode_fast(block, raw, columns(starts, stops))
    careful = docker()._decode_carefully(raw, _found := columns(starts, stops))
    if not {"stdout", "stderr"}.issuperset(careful.streams):
        assert fast is None
    else:
        assert careful == fast


@pytest.mark.parametrize(
    "block",
    [
        b'{"log":"a\\n"}{"log":"b\\n"}\n\n',
        b'{"log":"a\\n"}{"log":"b\\n"}\n{"log":"c\\n",\n"stream":"stdout"}\n',
        b'{"log":"a\\n"}{"log":"b\\n"}\n{"log":"c\\n","x":{}\n,"stream":"stdout"}\n',
        b'\n{"log":"a\\n"}\n',
        b'{"log":"a\\n","attrs":{"n":1}}\n',
        b'{"log":"a\\n","attrs":{"n":"\xff"}}\n',
    ],
)
def test_the_fast_way_refuses_a_block_when_faults_in_it_cancel_out(block: bytes) -> None:
    """Counts that agree by chance do not give records the origin of others, and labels are looked into."""
    raw, starts, stops = lined(block, 0)
    assert docker()._decode_fast(block, raw, columns(starts, stops)) is None
    assert found_in(docker().cut(block, 0, final=True), 0) == [found for found, _, _ in naive(block)[0]]


def test_newlines_inside_of_a_text_cancel_out_with_none_at_the_end_of_another() -> None:
    """As many newlines as lines, and yet two records in the file's three lines."""
    block = line("a\nb\n") + line("c") + line("d\n")
    assert [row for *_, row, _ in found_in(docker().cut(block, 0, final=True), 0)] == [b'{"message":"a\\nb"}', b"cd"]


@settings(deadline=None)
@given(sources)
def test_blank_records_stay_when_a_frame_on_top_asks_for_them(source: bytes) -> None:
    """The others are the same, and only the count of blank bytes is left to the frame on top."""
    plain, asked = docker().cut(source, 0, final=True), Docker(docker_config(), blanks=True).cut(source, 0, final=True)
    assert [found for found in found_in(asked, 0) if found[2]] == found_in(plain, 0)
    assert {**asked.skipped, "blank": 0} == {**plain.skipped, "blank": 0}


def test_parts_of_many_streams_are_joined_apart_when_they_interleave() -> None:
    """Streams of names that no driver writes are joined apart, as many as there are."""
    lines = [line(f"{number} ", f"s{number}") for number in range(50)] + [line("end\n", f"s{number}") for number in range(50)]
    found = found_in(docker(1 << 20).cut(b"".join(lines), 0, final=False), 0)
    assert [row for *_, row, _ in found] == [b"%d end" % number for number in range(50)]
