"""The service unit: clean by systemd's own judgement in a root that has the wheel, and the installed agent works under what it forbids."""

from __future__ import annotations

import json
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NAMESPACES
from tests.edge.test_control import ask
from tests.edge.test_journal import REMOTE, Journal
from tests.kit.fake_elastic import Server
from tests.kit.site import ROOT, WAIT_S, Site, wait_until
from tests.packaging import image, unit
from tests.packaging.conftest import Installed

EXPOSURE_MAX = 20
"""Of 100, where 0 is a service that may do nothing; it has 16."""
CITY = str(ROOT / "shipper/data/geoip/GeoLite2-City-Test.mmdb")
RECORD = {"timestamp": "2026-02-05T14:30:45Z", "message": "mail to anna@example.com", "client_ip": "81.2.69.142"}
CONFINING = pytest.mark.needs(NAMESPACES, "setpriv", "systemd-analyze", REMOTE)


@pytest.fixture(scope="module")
def root(installed: Installed) -> Path:
    """The root that has the wheel, with the unit and what of systemd it refers to, as files and not as links."""
    for name in ("*.target", "*.slice"):
        for path in Path("/lib/systemd/system").glob(name):
            to = installed.root / "lib/systemd/system" / path.name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    place = installed.root / "etc/systemd/system"
    place.mkdir(parents=True)
    shutil.copy(unit.UNIT, place)
    return installed.root


def analyze(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd-analyze about the unit."""
    command = ["systemd-analyze", f"--root={root}", *words, "shipper.service"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(root: Path) -> None:
    """No unknown setting, no unit that is not there, and a program that can be started. Nothing but silence is clean."""
    said = analyze(root, "verify")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


@pytest.mark.needs("systemd-analyze")
def test_systemd_would_find_what_is_wrong(root: Path) -> None:
    """Or its silence would say nothing: a setting that is misspelt, a program that is not there."""
    path = root / "etc/systemd/system/shipper.service"
    text = path.read_text()
    for good, bad, says in (
        ("ProtectSystem=", "ProtectSystems=", "Unknown key"),
        ("bin/shipper", "bin/shippers", "not executable"),
    ):
        path.write_text(text.replace(good, bad))
        try:
            assert says in analyze(root, "verify").stderr
        finally:
            path.write_text(text)


@pytest.mark.needs("systemd-analyze")
def test_the_unit_is_little_exposed(root: Path) -> None:
    """By systemd's own count."""
    said = analyze(root, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}")
    assert (said.returncode, said.stderr) == (0, ""), said.stdout[-400:]


def test_the_unit_says_what_was_promised() -> None:
    """Told when it is ready; state and runtime directories of its own; one capability, and no way to more."""
    wanted = {
        "Type": "notify",
        "NotifyAccess": "main",
        "CapabilityBoundingSet": "CAP_DAC_READ_SEARCH",
        "AmbientCapabilities": "CAP_DAC_READ_SEARCH",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "StateDirectory": "shipper",
        "RuntimeDirectory": "shipper",
        "DynamicUser": "yes",
    }
    assert {name: unit.one(name) for name in wanted} == wanted
    assert "SHIPPER_STATE=/var/lib/shipper" in unit.one("Environment").split()


def test_the_unit_starts_what_the_image_installs() -> None:
    """The same place and command, so that a page of the manual holds for both."""
    first, last = image.stages()
    assert "RUN" in {one.name for one in first.instructions}
    [program] = first.all("RUN")[0].words[3:]
    assert unit.one("ExecStart").split() == [f"{program}/bin/{last.one('ENTRYPOINT').words[0]}", *last.one("CMD").words]


def test_exit_codes_that_a_restart_cannot_mend_end_the_service(site: Site) -> None:
    """Those of wrong usage and of a refused configuration; all others are tried again, without end."""
    codes = [site.wait(site.start("run", *words)).code for words in (["--bogus"], [site.folder / "no.yaml"])]
    assert unit.one("RestartPreventExitStatus").split() == [str(code) for code in codes]
    assert (unit.one("Restart"), unit.one("StartLimitIntervalSec")) == ("on-failure", "0")


# --- Under the unit's confinement


class Post:
    """A service's site: what root wrote and nobody else may read, and a directory for the state."""

    def __init__(self, site: Site) -> None:
        self.site, self.state, self.etc = site, site.folder / "var", site.folder / "etc"
        self.door = self.state / "door"
        site.logs.chmod(0o700)
        site.write([RECORD] * 3).chmod(0o600)
        Journal(site).numbers(1, 2)
        for path in (site.folder / "journal").iterdir():
            path.chmod(0o600)
        self._secret()

    def _secret(self) -> None:
        place = self.etc / "secrets"
        place.mkdir(parents=True, mode=0o700)
        (place / "redact_key").write_text("a key of at least sixteen characters\n")
        (place / "redact_key").chmod(0o600)

    def configure(self, url: str) -> None:
        """All sources and stages that ask something of the system, in files that only root can read."""
        sources = [
            {"type": "file", "include": [f"{self.site.logs}/*.log"]},
            {"type": "journald", "directory": str(self.site.folder / "journal")},
            {"type": "http", "listen": f"unix:{self.door}"},
        ]
        path = self.site.configure(
            sources=sources,
            redact={"packs": ["secrets", "pii"], "hash_key": "${secret:redact_key}"},
            stages=[{"geoip": {"field": "client_ip", "target": "client", "databases": [CITY]}}],
            output={"type": "elasticsearch", "hosts": [url]},
        )
        (self.etc / "pipelines").mkdir()
        path.rename(self.etc / "pipelines/app.yaml").chmod(0o600)
        (self.etc / "shipper.yaml").write_text("control: 127.0.0.1:0\n")
        (self.etc / "shipper.yaml").chmod(0o600)

    def push(self, body: bytes) -> bytes:
        """Post records to the agent's unix socket; returns the first line of the answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(WAIT_S)
            client.connect(str(self.door))
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            return client.recv(1000).partition(b"\r\n")[0]


@CONFINING
def test_the_confinement_of_these_tests_confines(tmp_path: Path) -> None:
    """As the unit says: root's files are read and not written, nothing but the state is, and what is filtered is refused."""
    private = tmp_path / "private"
    private.write_text("x")
    private.chmod(0o600)
    program = (
        "import ctypes, json, os, socket, sys\n"
        "def said(call):\n"
        "    try: return str(call())[:1]\n"
        "    except OSError as error: return type(error).__name__ + ' ' + str(error.errno)\n"
        "state, private = sys.argv[1:]\n"
        "print(json.dumps([said(one) for one in (\n"
        "    lambda: open(private).read(), lambda: open(private, 'a').write('y'), lambda: open(private + '2', 'w').write('y'),\n"
        "    lambda: open(state + '/new', 'w').write('y'), lambda: socket.socket(socket.AF_UNIX), lambda: socket.socket(16, 3),\n"
        "    lambda: os.setpriority(0, 0, 5), lambda: os.chown(state + '/new', -1, -1), lambda: os.umask(0),\n"
        ")]))\n"
    )
    command = [*unit.confined(tmp_path / "state", tmp_path), sys.executable, "-c", program, str(tmp_path / "state"), str(private)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=image.CLEAN)
    assert done.returncode == 0, done.stderr
    reads, writes, makes, keeps, unix, netlink, nice, chown, umask = json.loads(done.stdout)
    assert (reads, writes, makes, keeps, unix) == ("x", "PermissionError 13", "OSError 30", "1", "<")
    assert (netlink, nice, chown, umask) == (*["PermissionError 1"] * 3, str(0o077)[:1])


@CONFINING
def test_the_installed_agent_works_under_the_unit_s_confinement(site: Site, installed: Installed) -> None:
    """A user without rights, with the one capability: root's logs, journal, configuration and secrets read, all delivered, stopped well."""
    post = Post(site)
    address = f"@{site.folder}"
    with Server() as elastic, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        post.configure(elastic.url)
        ear.bind("\0" + address[1:])
        environment = {"SHIPPER_STATE": str(post.state), "SHIPPER_SECRETS": str(post.etc / "secrets"), "NOTIFY_SOCKET": address}
        words = [*unit.confined(post.state, site.folder), installed.bin / "shipper", "run", post.etc]
        with (site.folder / "agent.log").open("wb") as log:
            agent = subprocess.Popen([*map(str, words)], cwd="/", env={**image.CLEAN, **environment}, stderr=log)
        try:
            assert heard(ear, agent) == b"READY=1", (site.folder / "agent.log").read_text()
            check_rights(agent.pid)
            assert post.push(json.dumps(RECORD).encode() + b"\n") == b"HTTP/1.1 200 OK"
            wait_until(lambda: len(elastic.model.documents) == 6, "all records")
            check_control(site.folder / "agent.log")
            agent.send_signal(signal.SIGTERM)
            assert (heard(ear, agent), agent.wait(WAIT_S)) == (b"STOPPING=1", 0)
        finally:
            agent.kill()
            agent.wait()
    documents = list(elastic.model.documents.values())
    assert sum(document["message"] == "mail to [REDACTED:email]" for document in documents) == 4
    assert sum(document.get("client", {}).get("geo", {}).get("city_name") == "London" for document in documents) == 4
    check_state(post.state)


def heard(ear: socket.socket, agent: subprocess.Popen[bytes]) -> bytes:
    """What the agent says next; nothing, if it ends without a word."""

    def is_heard() -> bool:
        return bool(select.select([ear], [], [], 0)[0])

    wait_until(lambda: is_heard() or agent.poll() is not None, "a word of the agent")
    return ear.recv(100) if is_heard() else b""


def check_rights(pid: int) -> None:
    """It is the unit's user, with the unit's capability and no way to another."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    status = {name: value.strip() for name, _, value in lines}
    rights = {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert rights == {f"{1 << 2:016x}"}  # CAP_DAC_READ_SEARCH, capabilities(7)
    assert (status["NoNewPrivs"], status["Seccomp"], {*status["Uid"].split()}) == ("1", "2", {str(unit.USER)})


def check_control(log: Path) -> None:
    """It says that all is well, on every page, and has nothing to complain of."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [address] = [line["address"] for line in lines if line["message"] == "control address open"]
    for page in ("live", "ready", "health", "metrics"):
        status, _, body = ask(address, f"/{page}")
        assert status == 200, body
    assert [line for line in lines if line["log.level"] in ("warning", "error")] == []


def check_state(state: Path) -> None:
    """Everything it wrote is its own, and nobody else's to read."""
    paths = [path for path in state.rglob("*") if not path.is_socket()]
    assert any(path.name == "checkpoint" for path in paths)
    assert [path for path in paths if path.stat().st_mode & 0o077 or path.stat().st_uid != unit.USER] == []
