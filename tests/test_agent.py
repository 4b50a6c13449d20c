"""The agent as a whole, without Elasticsearch: progress by pipeline and destination, stopping, kills at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from shipper.edge import store
from tests.kit.fake_elastic import Server
from tests.kit.site import Site, Told, bulk_documents, check_whole, shipper, wait_until
from tests.real.world import Writer, check_ids

SEED = int(os.environ.get("SHIPPER_TEST_SEED", "20260205"))
KILLS = 6


def records(first: int, last: int) -> list[dict[str, object]]:
    """Records with these numbers."""
    return [{"timestamp": "2026-02-05T14:30:45Z", "n": number} for number in range(first, last + 1)]


def numbers_in(directory: Path) -> list[int]:
    """The numbers of all documents in an output directory, in order."""
    return sorted(document["n"] for path in directory.glob("*.ndjson") for _, _, document in bulk_documents(path.read_bytes()))


def checkpoints(site: Site) -> dict[str, bytes]:
    """All checkpoints under the state directory."""
    return {str(path): path.read_bytes() for path in site.state.glob("*/*/checkpoint")}


# --- Runs


def test_second_run_says_that_all_files_are_read_and_from_start_reads_them_again(site: Site) -> None:
    """Nothing is shipped twice by itself; `--from-start` forgets progress, as it says."""
    site.write(records(1, 3), "a.log")
    site.write(records(4, 5), "b.log")
    check_whole(site.once(), 5)
    told = site.text()
    assert (told.code, told.out) == (0, "")
    assert told.err.splitlines()[-1] == "all 2 files already read to the end; --from-start reads them again"
    check_whole(site.once("--from-start"), 5)
    assert numbers_in(site.out) == sorted([1, 2, 3, 4, 5] * 2)


def test_a_source_by_content_gives_equal_records_one_id_and_one_beside_it_does_not(site: Site) -> None:
    """What a program writes to two files is one document; equal lines of an access log are two."""
    for name in ("app.log", "error.log", "access.log"):
        site.write([*records(1, 1), *records(1, 1)], name)
    logs = site.logs
    site.configure(
        id="content",
        sources=[
            {"type": "file", "include": [f"{logs}/app.log", f"{logs}/error.log"]},
            {"type": "file", "include": [f"{logs}/access.log"], "id": "origin"},
        ],
    )
    assert site.once().code == 0
    ids = [
        (document["log"]["file"]["path"].endswith("access.log"), identity)
        for path in site.out.glob("*.ndjson")
        for _, identity, document in bulk_documents(path.read_bytes())
    ]
    assert len({found for is_access, found in ids if not is_access}) == 1
    assert len({found for is_access, found in ids if is_access}) == 2


def test_run_says_so_when_no_file_is_there(site: Site) -> None:
    """A glob without a match is no error, but is told of: it may be misspelt."""
    assert site.text().err.splitlines()[-1] == "no file is there that the sources include"


def test_account_of_a_run_balances_and_names_what_was_done(site: Site) -> None:
    """Records read, delivered by index, masked by rule: the text has the numbers of the JSON."""
    site.write([{**record, "password": "hunter2"} for record in records(1, 1200)])
    site.configure(redact={"packs": ["secrets"], "keys": ["password"]})
    lines = [line.split() for line in site.text().err.splitlines() if not line.startswith("{")]
    assert ["unaccounted", "0"] in lines
    assert lines[1][:3] == ["records", "read", "1,200"]
    assert ["delivered", "1,200"] in lines and ["app-2026.02.05", "1,200"] in lines
    assert ["masked", "(hits)", "1,200"] in lines
    assert "hunter2" not in (site.out / "app-2026.02.05.ndjson").read_text()


def test_two_pipelines_on_one_file_both_deliver(site: Site) -> None:
    """Each has its own progress: both ship every record, and go on each from its own place."""
    site.write(records(1, 10))
    other = site.folder / "other.yaml"
    other.write_text(site.pipeline.read_text().replace('"app"', '"other"', 1).replace(str(site.out), str(site.folder / "out2")))
    told = site.once(other)
    assert (told.code, told.account["read"], told.account["created"]) == (0, 20, 20)
    assert numbers_in(site.out) == numbers_in(site.folder / "out2") == list(range(1, 11))
    site.write(records(11, 12))
    check_whole(site.once(), 2)
    assert shipper(*site.words(other)).account["read"] == 2
    assert numbers_in(site.out) == numbers_in(site.folder / "out2") == list(range(1, 13))


@pytest.mark.parametrize("name", ["a-b", "a_b"])
def test_names_of_pipelines_that_look_alike_have_progress_of_their_own(site: Site, name: str) -> None:
    """`a-b` and `a_b` are two directories of state."""
    held = store.Store(site.state)
    assert held.place(name, "x") == held.place(name, "x")
    assert held.place("a-b", "x") != held.place("a_b", "x")


def test_trying_another_output_never_moves_the_progress_of_the_first(site: Site) -> None:
    """`--output local:DIR` keeps its progress under DIR, `console` keeps none; the pipeline's own goes on where it was."""
    site.write(records(1, 3))
    check_whole(site.once(), 3)
    before = checkpoints(site)
    site.write(records(4, 5))
    tried = site.folder / "tried"
    check_whole(site.once("--output", f"local:{tried}"), 5)
    check_whole(site.once("--output", f"local:{tried}"), 0)
    shown = [site.text("--output", "console") for _ in range(2)]
    assert [told.out.count('"n": ') for told in shown] == [5, 5]
    assert checkpoints(site) == before and numbers_in(site.out) == [1, 2, 3]
    check_whole(site.once(), 2)
    assert numbers_in(site.out) == numbers_in(tried) == [1, 2, 3, 4, 5]


def test_output_that_is_the_configured_one_keeps_one_account(site: Site) -> None:
    """`--output local:DIR` with the pipeline's own DIR is no other output: nothing is cut back or shipped twice."""
    site.write(records(1, 3))
    check_whole(site.once("--output", f"local:{site.out}"), 3)
    check_whole(site.once(), 0)
    site.write(records(4, 5))
    check_whole(site.once("--output", f"local:{site.out}"), 2)
    assert numbers_in(site.out) == [1, 2, 3, 4, 5]


def test_two_pipelines_tried_locally_write_into_directories_of_their_own(site: Site) -> None:
    """`--output local:DIR` with several pipelines gives each a directory in DIR, named after it."""
    site.write(records(1, 3))
    other = site.folder / "other.yaml"
    other.write_text(site.pipeline.read_text().replace('"app"', '"other"', 1))
    tried = site.folder / "tried"
    assert site.once("--output", f"local:{tried}", other).account["created"] == 6
    assert numbers_in(tried / "app") == numbers_in(tried / "other") == [1, 2, 3]


def test_progress_stays_with_its_files_when_sources_are_added_and_moved(site: Site) -> None:
    """A source put before the others takes none of their files for lost or new: only what is new is shipped."""
    site.write(records(1, 3))
    check_whole(site.once(), 3)
    (site.folder / "more").mkdir()
    (site.folder / "more" / "b.log").write_bytes(site.logs.joinpath("app.log").read_bytes().replace(b'"n": ', b'"n": 1'))
    first, second = ({"type": "file", "include": [f"{site.folder}/{name}/*.log"]} for name in ("more", "logs"))
    site.configure(sources=[first, second])
    check_whole(site.once(), 3)
    site.configure(sources=[second, first])
    check_whole(site.once(), 0)
    assert numbers_in(site.out) == [1, 2, 3, 11, 12, 13]


def test_streams_get_new_identities_on_another_machine_and_keep_their_offsets(site: Site) -> None:
    """A cloned image must not send the ids of its origin: what was shipped stays shipped, what follows has another stream."""
    site.write(records(1, 3))
    check_whole(site.once(), 3)
    [path] = site.state.glob("app/*/checkpoint")
    found = json.loads(path.read_bytes().split(b"\n", 1)[1])
    assert found["machine_id"] == store.machine_id()
    from shipper.progress import checkpoint

    elsewhere = checkpoint.decode(path.read_bytes(), str(path))
    elsewhere.machine_id = "another"
    path.write_bytes(checkpoint.encode(elsewhere))
    site.write(records(4, 5))
    told = site.once()
    check_whole(told, 2)
    assert "this state was written on another machine: its streams get new identities" in told.messages()
    assert len({identity.rsplit("-", 2)[0] for _, identity, _ in site.documents()}) == 2
    assert numbers_in(site.out) == [1, 2, 3, 4, 5]


# --- Stopping and kills


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_agent_stops_in_good_order_on_a_signal(site: Site, number: signal.Signals) -> None:
    """What was read is delivered and saved, the account printed, the exit code 0; the next run finds nothing to do."""
    site.write(records(1, 100))
    process = site.start("run", "--json", "--state", site.state, site.pipeline)
    wait_until(lambda: len(numbers_in(site.out)) == 100, "100 documents")
    process.send_signal(number)
    told = site.wait(process)
    assert (told.code, told.account["created"], told.account["stopped"]) == (0, 100, number.name)
    assert "stopping" in told.messages() and "Traceback" not in told.err
    check_whole(site.once(), 0)


def test_agent_stops_when_the_signal_comes_while_it_starts(site: Site) -> None:
    """A signal before the pipelines are open is not forgotten."""
    site.write(records(1, 5))
    process = site.start("run", "--state", site.state, site.pipeline)
    wait_until(lambda: (site.state / "lock").exists(), "the state directory to be opened")
    process.send_signal(signal.SIGTERM)
    assert site.wait(process).code == 0


def test_second_sigint_ends_the_agent_at_once(site: Site) -> None:
    """The first one waits for what is in flight to a destination that is not there; the second one does not. Nothing is lost."""
    site.write(records(1, 5))
    server = Server()
    server._http.server_close()
    site.configure(output={"type": "elasticsearch", "hosts": [server.url]})
    process = site.start(*site.words())
    wait_until(lambda: checkpoints(site), "the first checkpoint")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: b'"stopping"' in process.stderr.readline(), "the first signal to be heard")  # type: ignore[union-attr]
    process.send_signal(signal.SIGINT)
    told = site.wait(process)
    assert told.code == 1 and "Traceback" not in told.err


def test_ids_are_exact_when_the_agent_is_killed_while_files_rotate(site: Site) -> None:
    """Six kills at random moments, with rotations before and behind them: every record is in the output once."""
    rng = random.Random(SEED)
    site.write([{"n": 0}])
    check_whole(site.once(), 1)  # what was rotated away before the very first run is not looked for
    writer = Writer(site.logs / "app.log", per_s=1_000, rotate_bytes=80_000)
    said: list[Told] = []
    try:
        for _ in range(KILLS):
            process = site.start("run", "--json", "--state", site.state, site.pipeline)
            size = sum(path.stat().st_size for path in site.out.glob("*"))
            if rng.random() < 0.7:
                wait_until(
                    lambda: sum(path.stat().st_size for path in site.out.glob("*")) > size or process.poll() is not None, "output"
                )  # noqa: B023
            time.sleep(rng.uniform(0.0, 0.6))
            process.kill()
            said.append(site.wait(process))
            time.sleep(rng.uniform(0.0, 0.2))
    finally:
        written = writer.stop()
    told = site.once()
    account = told.account
    print(f"seed {SEED}: {written} written, {writer.rotations} rotations; the last run read {account['read']}")
    assert [killed.code for killed in said] == [-signal.SIGKILL] * KILLS
    assert [entry for killed in [*said, told] for entry in killed.log if entry["log.level"] != "info"] == []
    assert account["unaccounted"] == account["in_flight"] == told.code == 0
    assert writer.rotations >= KILLS
    check_ids((found for found in site.documents() if found[2]["n"]), written)
    check_whole(site.once(), 0)


def test_ids_are_exact_when_killed_between_delivery_and_checkpoint(site: Site) -> None:
    """Documents that the output took and no checkpoint knows of are sent again under the same ids: refused, stored once."""
    site.write(records(1, 200))
    with Server() as server:
        site.configure(output={"type": "elasticsearch", "hosts": [server.url]})
        process = site.start("run", "--json", "--state", site.state, site.pipeline)
        wait_until(lambda: len(server.model.documents) == 200, "all documents to be stored")
        process.kill()
        site.wait(process)
        told = site.once()
        check_whole(told, told.account["read"])
        assert sorted(document["n"] for document in server.model.documents.values()) == list(range(1, 201))
        assert told.account["created"] == 0


def test_pipeline_that_fails_ends_the_run_with_what_happened(site: Site) -> None:
    """Output files that somebody removes under the agent: exit code 1, and the path in the text; no traceback."""
    site.write(records(1, 5))
    process = site.start("run", "--state", site.state, site.pipeline)
    wait_until(lambda: len(numbers_in(site.out)) == 5 and checkpoints(site), "documents and a checkpoint")
    [path] = site.out.glob("*.ndjson")
    time.sleep(1.2)
    path.unlink()
    site.write(records(6, 7))
    told: Told = site.wait(process)
    assert told.code == 1 and "Traceback" not in told.err
    assert f"{path}: removed while it was written" in told.err
    assert "the output failed; its pipeline ends" in told.messages()
