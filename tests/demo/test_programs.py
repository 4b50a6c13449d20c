"""The demo's programs are real: what they log lies complete in their rotated files, and their id lists say the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.demo import gateway, payments, recount
from shipper.demo.programs import NAMES, ROTATE_BYTES, environment, id_lists, programs
from shipper.demo.scenario import BURST, Event, IdList, Scenario

SECONDS, RATE = 1.0, 900.0


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which all three programs have run."""
    directory = tmp_path_factory.mktemp("demo")
    running = [subprocess.Popen(command) for command in programs(directory, SECONDS, RATE)]
    assert [process.wait() for process in running] == [0, 0, 0]
    return directory


def rotated(current: Path) -> list[Path]:
    """The file and its rotated siblings, oldest first."""
    return sorted(current.parent.glob(f"{current.name}*"), key=lambda path: -int(path.suffix[1:]) if path.suffix != ".log" else 1)


def logged(directory: Path, name: str) -> Iterator[dict[str, object]]:
    """The records of a program in the order in which they were logged, whole."""
    places = environment(directory)
    if name != "gateway":
        lines = b"".join(path.read_bytes() for path in rotated(Path(places["SHADOWER_LOGS"], name, f"{name}.log")))
        yield from map(json.loads, lines.splitlines())
        return
    (current,) = Path(places["SHADOWER_CONTAINERS"]).glob("*/*-json.log")
    parts = {"stdout": "", "stderr": ""}
    for path in rotated(current):
        for line in path.read_bytes().splitlines():
            entry = json.loads(line)
            parts[entry["stream"]] += entry["log"]
            if entry["log"].endswith("\n"):
                yield json.loads(parts[entry["stream"]])
                parts[entry["stream"]] = ""
    assert parts == {"stdout": "", "stderr": ""}


@pytest.mark.parametrize("name", NAMES)
def test_files_hold_exactly_what_the_id_list_says(played: Path, name: str) -> None:
    """Every id once, with the level and the secret that the list names, although the files were rotated meanwhile."""
    written = recount.read_ids(id_lists(played)[NAMES.index(name)])
    records = list(logged(played, name))
    assert len(records) == len(written) == SECONDS * RATE + BURST
    assert Counter((one.id, one.level) for one in written) == Counter((str(one["id"]), str(one["level"])) for one in records)
    by_id = {str(one["id"]): one for one in records}
    assert all(one.secret == "-" or one.secret in "\n".join(recount.strings(by_id[one.id])) for one in written)


@pytest.mark.parametrize("name", NAMES)
def test_records_have_the_shape_of_the_pipeline(played: Path, name: str) -> None:
    """The fields that Shadower's records have, metrics, durations, errors of one kind beyond the throttle, long texts whole."""
    records = list(logged(played, name))
    assert all({"timestamp", "level", "service", "environment", "version", "message"} <= set(record) for record in records)
    assert any(record.get("metric") for record in records)
    assert any("duration_ms" in record for record in records)
    assert sum(record.get("error_type") == "ConnectionError" for record in records) >= BURST
    assert all(len(str(record.get("payload", ""))) == record.get("payload_chars", 0) for record in records)


def test_every_program_rotates_and_nothing_was_deleted(played: Path) -> None:
    """Several files each, none much larger than the limit."""
    for current in (*played.glob("logs/*/*.log"), *played.glob("containers/*/*-json.log")):
        files = rotated(current)
        assert len(files) >= 3
        assert max(path.stat().st_size for path in files) < ROTATE_BYTES + 100_000


def test_program_ends_in_order_when_it_gets_sigterm(tmp_path: Path) -> None:
    """The id list is complete, and says what lies in the file."""
    command = programs(tmp_path, 600, 500)[0]
    process = subprocess.Popen(command)
    log, give_up_at = tmp_path / "logs/orders/orders.log", time.monotonic() + 30
    while (not log.exists() or not log.stat().st_size) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert [one.id for one in recount.read_ids(id_lists(tmp_path)[0])] == [record["id"] for record in logged(tmp_path, "orders")]


def scenario(seed: int, **settings: float) -> Scenario:
    """One on virtual time, that never waits."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    return Scenario(
        "s", settings.get("seconds", 20), settings.get("rate", 1000), rng=random.Random(seed), clock=lambda: now[0], sleep=sleep
    )


def test_secrets_are_planted_in_the_shares_that_are_told() -> None:
    """Of ordinary records 8 % carry one, each kind within a fifth of its share, no secret twice."""
    events = list(scenario(1).events())
    kinds = Counter(event.kind for event in events)
    ordinary = sum("error_type" not in event.fields and "metric" not in event.fields for event in events)
    for kind, share in {"email": 0.03, "card": 0.015, "password": 0.015, "github-token": 0.01, "bearer": 0.01}.items():
        assert abs(kinds[kind] / ordinary - share) < share / 5, kind
    secrets = [event.secret for event in events if event.secret != "-"]
    assert len(secrets) == len(set(secrets))
    assert {text[text.index(e.secret) - 1] for e in events if (text := e.message) and e.secret in text} >= {" ", "\n", "\t"}


def test_count_follows_from_seconds_and_rate_not_from_the_machine() -> None:
    """As many as asked for, in ticks, with the burst once."""
    events = list(scenario(2, seconds=3, rate=70).events())
    assert len(events) == 3 * 70 + BURST
    assert len({event.fields["id"] for event in events}) == len(events)


def test_docker_entries_are_those_of_the_daemon(tmp_path: Path) -> None:
    """Go's escapes, parts of 16 KiB of which only the last ends in a newline, the other stream in between."""
    ticks = iter(range(1_700_000_000_120_000_000, 2**63, 10))
    container = gateway.JsonFile(tmp_path, lambda: next(ticks))
    container.write('{"a":"<b>&\\n"}\n', "stdout")
    container.write("x" * 40_000 + "\n", "stdout")
    container.write("error\n", "stderr")
    container.close()
    lines = container.path.read_bytes().splitlines()
    assert lines[0] == (rb'{"log":"{\"a\":\"\u003cb\u003e\u0026\\n\"}\n","stream":"stdout","time":"2023-11-14T22:13:20.12Z"}')
    entries = [json.loads(line) for line in lines[1:]]
    assert [(entry["stream"], len(entry["log"])) for entry in entries] == [
        ("stdout", 16384),
        ("stderr", 6),
        ("stdout", 16384),
        ("stdout", 40_001 - 2 * 16384),
    ]
    assert [entry["log"][-1] for entry in entries] == ["x", "\n", "x", "\n"]


def test_rotating_file_keeps_lines_whole(tmp_path: Path) -> None:
    """Lines are not cut by a rotation, and `.1` is the youngest of the old files."""
    file = payments.RotatingFile(tmp_path / "p.log")
    lines = [f"{number:06d} {'x' * 900}\n" for number in range(1000)]
    for line in lines:
        file.write(line)
    file.close()
    assert "".join(path.read_text() for path in rotated(tmp_path / "p.log")) == "".join(lines)
    assert len(os.listdir(tmp_path)) == 4


def test_id_list_without_its_end_is_refused(tmp_path: Path) -> None:
    """A program that was cut short cannot be recounted."""
    path = tmp_path / "ids.txt"
    ids = IdList(path)
    ids.add(Event("INFO", "m", {"id": "a-1"}, "card", "4111"))
    ids.close()
    assert recount.read_ids(path) == [recount.Written("a-1", "INFO", "card", "4111")]
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="not complete"):
        recount.read_ids(path)
