"""The benchmark itself, with a stand-in for the agent: it measures, compares, and refuses numbers of work that was not done."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench import bench, processes
from tests.bench.processes import BenchError, Databases, packaged_databases, sink

RECORDS = 3_000
AGENT = """
import json, platform, sys, urllib.request, yaml
from pathlib import Path
from tests.bench.usual_way import Job, bulk_body
pipeline = yaml.safe_load(open(sys.argv[-1]))
file = pipeline["sources"][0]["include"][0]
city, asn = map(Path, pipeline["stages"][0]["geoip"]["databases"])
job = Job(city, asn, file, platform.node())
documents = list(job.documents(open(file, "rb"))){twist}
request = urllib.request.Request(pipeline["output"]["hosts"][0] + "/_bulk", bulk_body(documents), {{"Content-Type": "x"}})
assert len(json.load(urllib.request.urlopen(request))["items"]) == len(documents)
print(json.dumps({{"read": len(documents), "dropped": {{}}, "generated": 0, "first_read_s": 0.125, "steps": {{"decode": 0.003}}}}))
"""


def measured(folder: Path, monkeypatch: pytest.MonkeyPatch, twist: str) -> bench.Result:
    """A benchmark of one round with a stand-in that treats its documents by `twist`."""
    script = folder / "agent.py"
    script.write_text(AGENT.format(twist=twist))
    code = f"import runpy; runpy.run_path({str(script)!r})"
    monkeypatch.setattr(processes, "agent_command", lambda: [sys.executable, "-c", code])
    databases: Databases = packaged_databases()
    with sink() as running:
        one = bench.Bench(folder / "cache", running, RECORDS, databases)
        try:
            return bench.measure(one, RECORDS, 1)
        finally:
            one.close()


def test_bench_measures_and_compares_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All numbers are there; the stand-in, which is the usual way, costs about what the usual way costs."""
    result = measured(tmp_path, monkeypatch, "")
    assert result.comparison.equal
    assert result.comparison.compared == RECORDS
    assert result.first_read_s == 0.125
    assert result.steps_us == {"decode": pytest.approx(1.0)}
    assert result.yardstick_us > 0
    assert result.peak_rss_bytes > 5_000_000
    text = bench.table(result)
    assert "3,000 compared field by field with the usual way, all equal" in text
    assert max(map(len, text.splitlines())) <= 110


def test_bench_names_the_fields_when_documents_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of another value is told with its count and the first example."""
    result = measured(tmp_path, monkeypatch, "\n[d.update(level='x') for _, d in documents if d['seq'] % 1000 == 0]")
    assert result.comparison.differences == {"level": 3}
    assert "  level: 3 times, seq 1000: ours 'x', usual '" in bench.table(result)


def test_bench_refuses_when_a_document_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is fast because it loses something has no numbers."""
    with pytest.raises(BenchError, match="1 records, but 0 documents came"):
        measured(tmp_path, monkeypatch, "[:-1]")
