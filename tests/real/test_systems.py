"""The five systems out of the box: what their own logging libraries write is what their ready pipelines deliver."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.kit.fake_elastic import Server
from tests.kit.site import ROOT, bulk_documents, shipper
from tests.real.writers.systems import ORDERS

VARIABLES = {
    "orchestrator": "ORCHESTRATOR_LOGS",
    "epilot": "EPILOT_LOGS",
    "event-kit": "EVENT_KIT_HOME",
    "startup-studio": "DOCKER_CONTAINERS",
}
Documents = list[tuple[str, dict[str, Any]]]


def write(name: str, place: Path, **env: str) -> Path:
    """Let a system write its logs; return the directory."""
    logs = place / "logs"
    logs.mkdir()
    words = [sys.executable, "-m", "tests.real.writers.systems", name, str(logs)]
    subprocess.run(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **env}, check=True)
    return logs


def delivered(name: str, place: Path, **env: str) -> tuple[Documents, dict[str, Any]]:
    """(index family, document) of all that the ready pipeline makes of the logs, in order of file and offset, and the account."""
    env = {VARIABLES[name]: str(place / "logs"), "SHIPPER_STATE": str(place / "state"), "NGINX_LOGS": str(place), **env}
    out = place / "out"
    told = shipper("run", "--once", "--json", "--output", f"local:{out}", f"{ROOT}/pipelines/{name}.yaml", env=env)
    assert told.code == 0, told.err[-2000:]
    assert told.account["unaccounted"] == 0
    found = [
        (index.rpartition("-")[0], document)
        for path in sorted(out.glob("*.ndjson"))
        for index, _, document in bulk_documents(path.read_bytes())
    ]
    return sorted(found, key=lambda one: (one[1]["log"]["file"]["path"], one[1]["log"]["offset"])), told.account


def test_an_error_of_the_orchestrator_is_in_elasticsearch_once(tmp_path: Path) -> None:
    """It stands in app.log and in error.log, both rotated several times by renaming."""
    write("orchestrator", tmp_path)
    assert len(list((tmp_path / "logs").glob("*.log*"))) > 4
    with Server() as server:
        env = {
            **{"ORCHESTRATOR_LOGS": str(tmp_path / "logs"), "SHIPPER_STATE": str(tmp_path / "state")},
            **{"ELASTICSEARCH_HOST": "127.0.0.1", "ELASTICSEARCH_PORT": str(server.port)},
        }
        told = shipper("run", "--once", "--json", f"{ROOT}/pipelines/orchestrator.yaml", env=env)
        assert told.code == 0, told.err[-2000:]
        found = [(index.rpartition("-")[0], document) for (index, _), document in server.model.documents.items()]
    by_workflow = Counter(document["workflow_id"] for _, document in found)
    assert (len(by_workflow), set(by_workflow.values())) == (ORDERS, {1})
    assert Counter(index for index, _ in found) == {
        "orchestrator-errors": ORDERS // 4,
        "orchestrator-workflows": ORDERS - ORDERS // 4,
    }
    assert told.account["duplicate"] == ORDERS // 4


def test_epilot_s_records_are_the_same_however_they_are_rendered(tmp_path: Path) -> None:
    """JSON, pretty-printed JSON, console text, and that with colours: message, level, context and traceback."""
    write("epilot", tmp_path)
    found, account = delivered("epilot", tmp_path)
    assert account["flagged"].get("parse_error", 0) == 0
    by_file: dict[str, Documents] = {}
    for index, document in found:
        by_file.setdefault(Path(document["log"]["file"]["path"]).stem, []).append((index, document))
    for name, lines in by_file.items():
        lines = lines[:4]
        assert [index for index, _ in lines] == ["epilot", "epilot-performance", "epilot", "epilot-errors"], name
        texts = ["script_started", "api_request_completed", "workflow_definition_built", "workflow_creation_failed"]
        assert [document["message"] for _, document in lines] == texts, name
        assert {document["customer"] for _, document in lines} == {"Stadtwerke Wülfrath"}, name
        assert lines[1][1]["duration_ms"] == 450 and lines[2][1]["steps_count"] == 24
        failed = lines[3][1]
        trace = failed.get("exception") or failed["error.stack_trace"]
        assert "Traceback (most recent call last)" in trace and "KeyError: 'fehlt'" in trace
        assert failed["error_type"] == "KeyError"
    (latin,) = [document for _, document in by_file["production"] if document["message"] == "latin"]
    assert latin["ort"] == "Wülfrath" and "invalid_utf8" in latin["shipper"]["flags"]


def test_event_kit_s_times_are_told_apart_in_the_hour_that_comes_twice(tmp_path: Path) -> None:
    """Float seconds as they are, local text times by their zone and order; tracebacks, trace ids, errors apart."""
    write("event-kit", tmp_path, TZ="Europe/Berlin")
    found, account = delivered("event-kit", tmp_path, EVENT_KIT_ZONE="Europe/Berlin")
    assert account["flagged"].get("parse_error", 0) == 0
    text = [one for one in found if one[1]["log"]["file"]["path"].endswith(".event_agent.log")]
    telemetry = [one for one in found if one not in text]
    assert [index for index, _ in telemetry] == ["event-kit-performance"] * 3 + ["event-kit-errors"]
    assert telemetry[0][1]["@timestamp"] == "2024-11-25T13:06:40.123Z"
    assert [document["@timestamp"] for _, document in text[:2]] == ["2025-10-26T00:50:00.123Z", "2025-10-26T01:20:00.123Z"]
    assert [document["message"] for _, document in text[:2]] == ["before the change", "after the change"]
    scoring, failed = text[2], text[3]
    assert scoring[1]["trace.id"] == "3f2b8c1e-5d4a-4e6f-9a7b-1c2d3e4f5a6b"
    assert (scoring[0], failed[0]) == ("event-kit", "event-kit-errors")
    assert (failed[1]["log.logger"], failed[1]["log.level"]) == ("event_agent.server", "ERROR")
    assert failed[1]["error.stack_trace"].startswith("Traceback (most recent call last):\n")
    assert failed[1]["error.type"] == "json.decoder.JSONDecodeError"


def test_the_studio_s_records_come_out_of_docker_s_with_their_labels(tmp_path: Path) -> None:
    """A message of 40 KB in three parts is one record; a time without zone is UTC; a security event has its own index."""
    write("startup-studio", tmp_path)
    found, account = delivered("startup-studio", tmp_path)
    assert account["flagged"].get("parse_error", 0) == 0
    families = [index for index, _ in found]
    assert families == ["startup-studio", "startup-studio-security-auth_failed", "startup-studio-errors"]
    assert all(document["container"]["labels"] == {"service": "api", "environment": "prod"} for _, document in found)
    assert len(found[2][1]["message"]) == len("agent task failed: ") + 40_000
    for _, document in found:
        assert document["@timestamp"].removesuffix("Z").startswith(document["timestamp"][:23])
