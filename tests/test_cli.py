"""The command line: exit codes, refusals that name every mistake at its place, and output that people and programs can read."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from tests.kit.site import ROOT, Site, check_whole, shipper
from tests.redact.planting import SECRETS

GEOIP = ROOT / "shipper/data/geoip"
COMMANDS = [[], ["run"], ["check"], ["test"], ["explain"], ["setup"], ["state"], ["state", "reset"], ["demo"]]
COMMANDS += [["state", "list"], ["state", "set"], ["state", "export"], ["state", "import"]]
FAULT = re.compile(r"(?m)^(\S+\.yaml):(\d+):(\d+): (.+)$")
RECORD = {"timestamp": "2026-02-05T14:30:45Z", "message": "a"}


# --- Help, usage, exit codes


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits_a_terminal_and_ends_with_0(words: list[str]) -> None:
    """Every command tells what it does within 80 columns, by `--help` and by `-h`."""
    told = shipper(*words, "--help")
    assert (told.code, told.err) == (0, "")
    assert told.out == shipper(*words, "-h").out
    assert told.out.startswith(f"Usage: {' '.join(['shipper', *words])} ")
    assert max(map(len, told.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["run"], "Missing argument 'CONFIGS...'"),
        (["check"], "Missing argument 'CONFIGS...'"),
        (["explain"], "Missing argument 'CONFIG'"),
        (["run", "--onse", "PIPELINE"], "No such option '--onse'"),
        (["run", "--timeout", "soon", "PIPELINE"], "expected a duration such as 250ms, 5s, 10m, 2h or 7d, got 'soon'"),
        (["run", "--timeout", "-5s", "PIPELINE"], "Invalid value for --timeout"),
        (["run", "--output", "kafka", "PIPELINE"], "Say --output local:DIRECTORY or --output console."),
        (["run", "--output", "local:", "PIPELINE"], "Say --output local:DIRECTORY or --output console."),
        (["run", "--log-level", "loud", "PIPELINE"], "'loud' is not one of"),
        (["explain", "--source", "1", "PIPELINE"], "the pipeline has 1 source, counted from 0"),
        (["explain", "--source", "-1", "PIPELINE"], "the pipeline has 1 source, counted from 0"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(site: Site, words: list[str], says: str) -> None:
    """Nothing is opened or read for it."""
    told = shipper(*[str(site.pipeline) if word == "PIPELINE" else word for word in words])
    assert (told.code, told.out) == (2, "")
    assert says in told.err and "Usage: shipper" in told.err
    assert not site.state.exists() and not site.out.exists()


def test_version_is_told() -> None:
    """As in the package's metadata."""
    assert re.fullmatch(r"shipper, version \d+\.\d+\.\d+\n", shipper("--version").out)


# --- Refused configurations

MISTAKEN = {
    "one.yaml": """\
name: One
sources:
  - {type: fiel, include: [LOGS/*.log]}
stages:
  - throtle: {rate: 5/s}
output: {type: local, directory: out, mode: fast}
""",
    "two.yaml": """\
name: two
sources:
  - {type: file, include: [LOGS/*.log]}
redact:
  packs: [secrets]
  rules:
    - {id: own, pattern: "a(b"}
stages:
  - geoip: {field: ip, databases: [missing.mmdb]}
  - throttle: {rate: 5/s, burst: 0}
output: {type: elasticsearch, hosts: ["ftp://x"], ca_file: gone.pem}
""",
    "three.yaml": "name: three\nsources: ]\n",
}


def mistaken(site: Site, *names: str) -> list[str]:
    """Configurations with mistakes."""
    for name in names:
        (site.folder / name).write_text(MISTAKEN[name].replace("LOGS", str(site.logs)))
    return [str(site.folder / name) for name in names]


@pytest.mark.parametrize("words", [["run", "--once"], ["run"], ["check"], ["test"]], ids=" ".join)
def test_configuration_is_refused_with_all_mistakes_of_all_files(site: Site, words: list[str]) -> None:
    """Exit code 78; each mistake with file, line and column, its line, a caret under it; what was meant; their number."""
    told = shipper(*words, *mistaken(site, "one.yaml", "three.yaml"), site.pipeline)
    assert (told.code, told.out) == (78, "")
    found = [(path.rpartition("/")[2], int(line), int(column)) for path, line, column, _ in FAULT.findall(told.err)]
    assert [place for place in found if place[0] == "one.yaml"] == [
        ("one.yaml", 1, 7),
        ("one.yaml", 3, 12),
        ("one.yaml", 5, 5),
        ("one.yaml", 6, 39),
    ]
    assert [place[0] for place in found].count("three.yaml") == 1
    assert "did you mean `file`?" in told.err and "did you mean `throttle`?" in told.err
    assert told.err.splitlines()[-1].startswith("5 mistakes in ")
    for path, line, column, _ in FAULT.findall(told.err):
        after = told.err.split(f"{path}:{line}:{column}: ", 1)[1].splitlines()
        assert after[2].strip(" ^") == "" and "^" in after[2]
    assert not site.out.exists()


@pytest.mark.parametrize("words", [["run", "--once"], ["check"]], ids=" ".join)
def test_what_only_shows_when_parts_are_made_is_told_at_once_too(site: Site, words: list[str]) -> None:
    """A missing database, a pattern that is none, a limit of nothing, a host that is none: in one message, in the order of the file."""
    told = shipper(*words, *mistaken(site, "two.yaml"))
    lines = [int(line) for _, line, _, _ in FAULT.findall(told.err)]
    assert (told.code, told.out) == (78, "")
    assert lines == sorted(lines) and {7, 9, 11} <= set(lines)
    assert "there is no database at " in told.err and "ftp" in told.err


GOOD: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {
        "redact": {"packs": ["secrets", "pii"], "keys": ["password"]},
        "stages": [
            {"geoip": {"field": "ip", "target": "client", "databases": [str(GEOIP / "GeoLite2-City-Test.mmdb")]}},
            {"throttle": {"key": ["service"], "rate": "5/s", "burst": 10}},
        ],
    },
    "missing but optional": {"stages": [{"geoip": {"field": "ip", "databases": ["gone.mmdb"], "optional": True}}]},
}
BAD: dict[str, dict[str, Any]] = {
    "missing database": {"stages": [{"geoip": {"field": "ip", "databases": ["gone.mmdb"]}}]},
    "target with a dot": {"stages": [{"geoip": {"field": "ip", "target": "a.b", "databases": []}}]},
    "pattern that is none": {"redact": {"rules": [{"id": "own", "pattern": "a("}]}},
    "authorities that are not there": {
        "output": {"type": "elasticsearch", "hosts": ["https://localhost:1"], "ca_file": "gone.pem"}
    },
    "two ways to log in": {
        "output": {"type": "elasticsearch", "hosts": ["http://x"], "user": "a", "password": "b", "api_key": "c"}
    },
    "no host": {"output": {"type": "elasticsearch", "hosts": []}},
    "unknown key": {"routes": []},
    "unset variable": {"output": {"type": "local", "directory": "${NOWHERE_SET}"}},
    "no last route": {"route": [{"when": {"level": "x"}, "index": "a"}]},
}


@pytest.mark.parametrize("sections", [*GOOD.values(), *BAD.values()], ids=[*GOOD, *BAD])
def test_check_accepts_exactly_what_run_accepts(site: Site, sections: dict[str, Any]) -> None:
    """Law: the same exit code, and where it is refused the same words."""
    site.configure(**sections)
    checked, run = shipper("check", site.pipeline), site.once("--log-level", "error")
    expected = 0 if sections in GOOD.values() else 78
    assert (checked.code, run.code) == (expected, expected)
    assert checked.err == run.err
    assert "Traceback" not in checked.err and (expected == 78) is bool(FAULT.search(checked.err))


@pytest.mark.parametrize("words", [["run", "--once"], ["check"]], ids=" ".join)
def test_pipelines_that_cannot_run_together_are_refused(site: Site, words: list[str]) -> None:
    """Two of one name would share their progress, two into one directory would undo each other's files."""
    other = site.folder / "other.yaml"
    other.write_text(site.pipeline.read_text())
    told = shipper(*words, site.pipeline, other)
    assert told.code == 78 and len(FAULT.findall(told.err)) == 2
    assert f"the pipeline in {site.pipeline} is named app too" in told.err
    assert f"the pipeline app writes into the directory {site.out} too" in told.err
    assert shipper(*words, site.pipeline, site.pipeline).code == 78


def test_configuration_that_cannot_be_read_is_told(site: Site) -> None:
    """A path that is not there, a directory without a pipeline or where one is wanted: 78, with what the system says."""
    assert "no.yaml:1:1: cannot read the file: No such file or directory" in shipper("check", site.folder / "no.yaml").err
    assert shipper("run", site.folder / "no.yaml").code == shipper("check", site.logs).code == 78
    assert "cannot read the file: Is a directory" in shipper("explain", site.folder).err


# --- check, test, explain, state


def test_check_says_what_it_took(site: Site) -> None:
    """One line for each configuration; nothing is opened or made."""
    told = shipper("check", site.pipeline)
    assert (told.code, told.out, told.err) == (0, f"{site.pipeline}: ok (1 source, 0 stages)\n", "")
    assert not site.state.exists() and not site.out.exists()


def test_test_tells_each_result_and_ends_with_1_when_one_fails(site: Site) -> None:
    """A line for each test, what was otherwise under it, and the count."""
    good = {"name": "good", "given": [json.dumps(RECORD)], "expect": [{"index": "app-2026.02.05"}]}
    bad = {"name": "bad", "given": [json.dumps(RECORD)], "expect": [{"index": "x", "fields": {"message": "b"}}]}
    site.configure(tests=[good, bad])
    told = shipper("test", site.pipeline)
    assert (told.code, told.err) == (1, "")
    assert told.out.splitlines() == [
        "ok     good",
        "FAILED bad",
        "       expected index x, got app-2026.02.05",
        '       expected message to be "b", got "a"',
        f"{site.pipeline}: 1 passed, 1 failed",
    ]
    site.configure(tests=[good])
    assert shipper("test", site.pipeline).code == 0


def test_explain_reads_lines_from_standard_input(site: Site) -> None:
    """And masks what it shows."""
    told = shipper("explain", site.pipeline, stdin=b'{"message":"mail to anna@example.com"}\nplain\n')
    assert (told.code, told.err) == (0, "")
    assert "record 2 of 2" in told.out and "anna@example.com" not in told.out


def test_state_reset_forgets_one_pipeline_and_keeps_what_was_known(site: Site) -> None:
    """The next run reads everything again; the old checkpoint lies beside. A second reset says that there is nothing."""
    site.write([RECORD] * 3)
    check_whole(site.once(), 3)
    told = shipper("state", "reset", "--state", site.state, site.pipeline)
    [kept] = site.state.glob("app/*/checkpoint.reset")
    assert (told.code, told.out) == (0, f"forgotten; what was known is in {kept}\n")
    assert shipper("state", "reset", "--state", site.state, site.pipeline).out == "there was no progress to forget\n"
    check_whole(site.once(), 3)


# --- run


def test_json_is_one_line_with_every_number_of_the_account(site: Site) -> None:
    """For programs: standard output holds this line and nothing else."""
    site.write([RECORD] * 3)
    told = site.once()
    assert told.out.count("\n") == 1
    account = told.account
    assert {
        "read",
        "created",
        "duplicate",
        "dropped",
        "dead",
        "lost_bytes",
        "masked",
        "indices",
        "in_flight",
        "unaccounted",
        "files",
    } <= account.keys()
    assert (account["files"], account["indices"], account["read_bytes"]) == (
        1,
        {"app-2026.02.05": 3},
        3 * (len(json.dumps(RECORD)) + 1),
    )


def test_account_goes_to_standard_error_so_that_output_can_be_piped(site: Site) -> None:
    """`--output console` prints documents alone."""
    site.write([RECORD])
    told = site.text("--output", "console")
    index, _, document = told.out.partition("\n")
    assert index == "app-2026.02.05" and json.loads(document)["message"] == "a"
    assert "records read" in told.err


def test_reader_that_goes_away_ends_the_run_with_1(site: Site) -> None:
    """`shipper run --once --output console | head -1`: no traceback."""
    site.write([{**RECORD, "padding": "x" * 1000}] * 2000)
    process = site.start("run", "--once", "--output", "console", site.pipeline)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read().decode()
    assert process.wait(60) == 1
    assert "standard output was closed" in err and "Traceback" not in err and "Exception" not in err


def test_log_of_a_run_is_json_lines_that_say_what_it_does_with_which_file(site: Site) -> None:
    """New, resumed, rotated: each with the file; a level can be chosen."""
    path = site.write([RECORD])
    told = site.once()
    assert [line["message"] for line in told.log] == ["pipeline started", "new file"]
    assert told.log[1]["file"] == str(path) and told.log[1]["offset"] == 0
    assert len(told.log) == len(told.err.splitlines())
    assert all({"@timestamp", "log.level", "message"} <= line.keys() for line in told.log)
    assert "file resumed" in site.once().messages()
    assert site.once("--log-level", "error").err == ""


def test_no_secret_leaves_the_agent_by_any_way(site: Site) -> None:
    """Law: of the example of every rule, planted in records, keys and a file name, nothing is in documents, state, log or account."""
    cores = [secret for secret in SECRETS if "\n" not in secret.text and "PRIVATE KEY" not in secret.text]
    site.configure(redact={"packs": ["secrets", "pii"], "keys": ["password"]})
    site.write(
        {**RECORD, "message": secret.text, "nested": {"a": [secret.text]}, "n": number} for number, secret in enumerate(cores)
    )
    site.write("".join(f"plain {secret.text} text\n" for secret in cores).encode(), "plain.log")
    site.write([{**RECORD, "password": "hunter2secret", "n": -1}], "password=hunter2secret.log")
    told = site.text("--log-level", "debug")
    assert told.code == 0
    written = [told.err, told.out, *(path.read_text() for path in site.out.iterdir())]
    leaked = [secret.core for secret in cores if len(secret.core) > 8 and any(secret.core in text for text in written)]
    assert leaked == []
    assert not any("hunter2secret" in text for text in written)
    assert len(site.documents()) == 2 * len(cores) + 1


def test_secret_of_the_environment_is_not_shown_when_it_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message shows what was written, `${...}`, never what it stands for."""
    monkeypatch.setenv("ES_PASSWORD", "hunter2secret")
    site.configure(output={"type": "elasticsearch", "hosts": ["ftp://anna:${ES_PASSWORD}@x:1"], "password": "${ES_PASSWORD}"})
    for told in (shipper("check", site.pipeline), site.once()):
        assert told.code == 78 and "hunter2secret" not in told.err + told.out


def test_secret_file_that_is_no_text_is_refused_without_showing_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${secret:NAME}` reads files; one that is not UTF-8 is a mistake at its place."""
    (site.folder / "secrets").mkdir()
    (site.folder / "secrets" / "key").write_bytes(b"hunter2\xff")
    monkeypatch.setenv("SHIPPER_SECRETS", str(site.folder / "secrets"))
    site.configure(redact={"hash_key": "${secret:key}"})
    told = shipper("check", site.pipeline)
    assert told.code == 78 and FAULT.search(told.err) and "hunter2" not in told.err


def test_state_directory_is_that_of_the_environment_unless_one_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--state` before `$SHIPPER_STATE`."""
    site.write([RECORD])
    monkeypatch.setenv("SHIPPER_STATE", str(site.folder / "elsewhere"))
    os.symlink(site.cache / "rules", site.folder / "rules")
    assert shipper("run", "--once", site.pipeline).code == 0
    assert list((site.folder / "elsewhere").glob("app/*/checkpoint")) and not site.state.exists()
    check_whole(site.once(), 1)
    assert list(site.state.glob("app/*/checkpoint"))
