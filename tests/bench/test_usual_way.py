"""The usual way is a fair opponent: it finds all secrets of the workload, throttles, routes, and its documents can be compared."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

from tests.bench import compare, workload
from tests.bench.processes import ROOT, packaged_databases, run, sink
from tests.bench.usual_way import BURST, RATE, Job, redacted

DATABASES = packaged_databases()
COUNT = 5_000


def job() -> Job:
    """A fresh one."""
    return Job(DATABASES.city, DATABASES.asn, "app.log", "h1")


def record(**fields: object) -> bytes:
    """A line with what the job reads."""
    whole = {"timestamp": "2026-02-05T14:30:45.123Z", "level": "INFO", "logger": "l", "service": "s", "client_ip": "10.0.0.1"}
    return json.dumps(whole | fields).encode() + b"\n"


def test_all_secrets_of_the_workload_are_masked() -> None:
    """No password, card, bearer token or address of a person is left, and each was replaced by its rule's name."""
    lines = list(workload.records(3, COUNT, DATABASES.city))
    masked = [json.dumps(document) for _, document in job().documents(lines)]
    plain = re.compile(r"@(?!timestamp)|(?i:bearer) [A-Za-z0-9]{8}| card \d|\"password\": \"(?!\[)")
    assert not [text for text in masked if plain.search(text)]
    assert sum(text.count("[REDACTED:") for text in masked) == sum(
        len(re.findall(rb'@|"password"| card \d|Bearer ', line)) for line in lines
    )


def test_redacted_reaches_nested_values_and_keeps_what_is_no_secret() -> None:
    """Lists and objects are walked; a number with a wrong check digit is no card."""
    assert redacted({"a": [{"Pass-Word": "x"}, "card 4111 1111 1111 1112"], "n": 1}) == {
        "a": [{"Pass-Word": "[REDACTED:key]"}, "card 4111 1111 1111 1112"],
        "n": 1,
    }
    assert redacted("card 4111-1111-1111-1111.") == "card [REDACTED:card]."


def test_documents_are_enriched_and_routed() -> None:
    """The first matching family, the day of the event, place and network of the address, place in the file."""
    lines = [record(client_ip="81.2.69.160", level="ERROR", duration_ms=1), record(duration_ms=2.5), record(duration_ms=None)]
    documents = list(job().documents(lines))
    assert [index for index, _ in documents] == [f"analytics{kind}-2026.02.05" for kind in ("-errors", "-performance", "")]
    first, second = documents[0][1], documents[1][1]
    assert first["client"]["geo"]["city_name"] == "London"
    assert set(first["client"]["geo"]["location"]) == {"lat", "lon"}
    assert second["client"] == {"ip": "10.0.0.1", "address_class": "private"}
    assert second["log"] == {"offset": len(lines[0]), "file": {"path": "app.log"}}
    assert second["host"] == {"name": "h1"}


def test_errors_over_the_limit_are_held_back() -> None:
    """Of one key and second at most burst and one second's rate pass; other keys and levels are not concerned."""
    lines = [record(level="ERROR", timestamp="2026-02-05T14:30:40.500Z")] * (BURST + RATE + 10)
    one = job()
    passed = list(one.documents([*lines, record(level="ERROR", service="other"), record()]))
    assert (len(passed), one.held) == (BURST + RATE + 2, 10)


def test_usual_way_ships_a_file_to_the_sink_and_compares_equal_with_itself(tmp_path: Path) -> None:
    """What comes out of the process is what the comparison expects; a changed, missing or doubled document is told."""
    file, store = tmp_path / "w.ndjson", tmp_path / "stored"
    file.write_bytes(b"".join(workload.records(3, 300, DATABASES.city)))
    with sink(store=store) as running:
        command = [sys.executable, "-m", "tests.bench.usual_way", str(file), "--url", running.url]
        cost = run([*command, "--city", str(DATABASES.city), "--asn", str(DATABASES.asn)], tmp_path)
        assert running.documents() == 300
    assert cost.exit_code == 0
    assert 0 < cost.cpu_s < 60
    assert 5_000_000 < cost.peak_rss_bytes < 200_000_000
    ours = [(index, {**document, "host": {"name": platform.node()}}) for index, document in compare.stored_documents(store)]
    usual = list(compare.usual_documents(file, 300, DATABASES))
    assert compare.compare(ours, usual).equal
    changed = [("other", ours[0][1]), ours[1], ours[1], *ours[3:], ("analytics", {"message": "throttled 3 records"})]
    found = compare.compare(changed, usual)
    assert not found.equal
    assert (found.missing, found.additional, found.generated) == (1, 1, 1)
    assert found.differences == {"_index": 1}


def test_measure_tells_the_memory_of_the_command_alone(tmp_path: Path) -> None:
    """A large process that measures a small one does not pass its own size on."""
    code = (
        "from tests.bench.processes import run; from pathlib import Path; import sys; held = bytearray(300_000_000);"
        f"print(run([sys.executable, '-S', '-c', 'pass'], Path({str(tmp_path)!r})).peak_rss_bytes)"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(told.stdout) < 60_000_000
