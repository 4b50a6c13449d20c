"""A real Elasticsearch (or OpenSearch) for tests: fetched once, run in a folder of its own, ended by its pid.

RULES
- The server is the official distribution with few modules, `integ-test-zip` on Maven Central. Maven fetches it into the user's
  local repository; it is unpacked once, read-only and shared, into the cache directory (temporary folder, then rename).
- A node listens on 127.0.0.1 only, has 512 MB of heap, its own copy of the configuration, and all its files in one temporary
  folder that goes with it. Elasticsearch refuses to run as root: then it runs as nobody (uid 65534).
- Nothing outlives the session: `close` ends the node by its pid, is registered with atexit, and on Linux the kernel ends the
  launcher when this process dies (`setpriv --pdeathsig`); Elasticsearch 8 and later ends itself when its launcher is gone.
- Ports are taken below the range that outgoing connections get theirs from: while a node is stopped, a client that tries to
  connect again and again would otherwise, once in a while, be connected to itself.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import glob
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

NOBODY = 65534
START_LIMIT_S = 180.0
STOP_LIMIT_S = 20.0
PORTS = range(20_000, 30_000)
FETCH = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
Json = Any


class Server(msgspec.Struct, frozen=True):
    """A version that can be started: its artifact on Maven Central and the Java versions it runs on."""

    product: str
    version: str
    oldest_java: int
    newest_java: int = 99

    @property
    def name(self) -> str:
        """`elasticsearch 8.19.21`."""
        return f"{self.product} {self.version}"

    @property
    def artifact(self) -> str:
        """Maven coordinates of the zip."""
        group = {"elasticsearch": "org.elasticsearch", "opensearch": "org.opensearch"}[self.product]
        return f"{group}.distribution.integ-test-zip:{self.product}:{self.version}:zip"


SERVERS = {
    "8.19.21": Server("elasticsearch", "8.19.21", 17),
    "9.5.3": Server("elasticsearch", "9.5.3", 21),
    # 7.17 asks for the security manager, which newer Java no longer has.
    "7.17.29": Server("elasticsearch", "7.17.29", 11, 23),
    "opensearch-3.6.0": Server("opensearch", "3.6.0", 21),
}
USUAL = ("8.19.21", "9.5.3")


class ServerError(Exception):
    """A server cannot be fetched or started; the text carries the end of its own log."""


def chosen(environ: Mapping[str, str]) -> list[Server]:
    """The servers asked for: SHIPPER_TEST_SERVERS (comma list, `all`), by default 8.19.21 and 9.5.3. Raises ValueError."""
    written = environ.get("SHIPPER_TEST_SERVERS", "").strip()
    names = list(SERVERS) if written == "all" else [part.strip() for part in written.split(",") if part.strip()] or list(USUAL)
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        raise ValueError(f"SHIPPER_TEST_SERVERS: unknown {', '.join(unknown)}; known are {', '.join(SERVERS)} and all")
    return [SERVERS[name] for name in names]


def lacking(server: Server) -> str:
    """What is missing to run it: `java 17 or later`, `mvn`, or an empty string."""
    missing = []
    if find_java(server) is None:
        missing.append(f"java {server.oldest_java} or later")
    if not unpacked(server).is_dir() and shutil.which("mvn") is None:
        missing.append("mvn")
    return ", ".join(missing)


def find_java(server: Server) -> Path | None:
    """The home of the oldest Java that runs this server, or None."""
    fitting = [(major, home) for major, home in java_homes() if server.oldest_java <= major <= server.newest_java]
    return min(fitting)[1] if fitting else None


@functools.cache
def java_homes() -> tuple[tuple[int, Path], ...]:
    """All (major version, home) found in JAVA_HOME, on PATH and in /usr/lib/jvm, by asking each `java -version`."""
    on_path = shutil.which("java")
    homes = [os.environ.get("JAVA_HOME", ""), *sorted(glob.glob("/usr/lib/jvm/*"))]
    homes += [str(Path(on_path).resolve().parent.parent)] if on_path else []
    found = {}
    for home in {str(Path(home).resolve()) for home in homes if home and Path(home, "bin/java").exists()}:
        with contextlib.suppress(OSError):  # not executable for nobody: as good as not there
            said = subprocess.run([*_as_nobody(), f"{home}/bin/java", "-version"], capture_output=True, text=True, check=False)
            version = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
            if version:
                found[Path(home)] = int(version[1])
    return tuple((major, home) for home, major in found.items())


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/shipper-tests` or `~/.cache/shipper-tests`; /var/cache for root whose home nobody may enter."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if os.getuid() == 0:
        there = [folder for folder in (home, *home.parents) if folder.exists()]
        if not all(folder.stat().st_mode & 0o001 for folder in there):
            home = Path("/var/cache")
    return home / "shipper-tests"


def unpacked(server: Server) -> Path:
    """Where the server's distribution lies, once it was fetched."""
    return cache_directory() / f"{server.product}-{server.version}"


def fetch(server: Server) -> Path:
    """Have the distribution unpacked in the cache and return its folder. Raises ServerError with Maven's last words."""
    place = unpacked(server)
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=place.parent) as folder:
        call = ["mvn", "-q", "-B", FETCH, f"-Dartifact={server.artifact}", f"-DoutputDirectory={folder}"]
        said = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if said.returncode:
            raise ServerError(f"{server.name}: Maven could not fetch it\n{said.stdout[-2000:]}")
        ready = _unzip(next(Path(folder).glob("*.zip")), Path(folder))
        with contextlib.suppress(OSError):  # another session was faster: its folder is as good
            ready.rename(place)
    return place


def _unzip(archive: Path, folder: Path) -> Path:
    """Unpack with the permission bits, which zipfile leaves out. Returns the archive's single top folder."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
        for entry in packed.infolist():
            mode = entry.external_attr >> 16 & 0o777
            (folder / entry.filename).chmod(mode | (0o755 if entry.is_dir() else 0o644))
        return folder / packed.namelist()[0].split("/")[0]


def _as_nobody() -> list[str]:
    """The words before a command that must not run as root."""
    if os.getuid() != 0:
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def _ends_with_us() -> list[str]:
    """The words that have the kernel end the command when this process dies, where util-linux is there."""
    return ["setpriv", "--pdeathsig=TERM"] if shutil.which("setpriv") else []


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on just now, outside the range of outgoing connections."""
    for port in random.SystemRandom().sample(PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerError("no free port on 127.0.0.1")


class Client:
    """Requests to an Elasticsearch, for tests: plain, one connection each, so that nothing is hidden from the test."""

    def __init__(self, url: str) -> None:
        """Take `http[s]://[user:password@]host:port[/path]`."""
        parts = urlsplit(url)
        assert parts.hostname
        self.url = url.rstrip("/")
        self._address = (parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme])
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._path = parts.path.rstrip("/")
        self._headers = {}
        if parts.username:
            pair = base64.b64encode(f"{parts.username}:{parts.password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"

    def request(self, method: str, path: str, body: Json = None) -> tuple[int, Json]:
        """Send `body` (bytes or text as they are, anything else as JSON); return (status, JSON, or text, or None when empty).

        Raises OSError or http.client.HTTPException when there is no reply.
        """
        data = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
        bulk = path.split("?")[0].endswith("_bulk")
        headers = self._headers | ({"Content-Type": f"application/{'x-ndjson' if bulk else 'json'}"} if data is not None else {})
        connection = self._kind(*self._address, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, f"{self._path}/{path.lstrip('/')}", data, headers)
            reply = connection.getresponse()
            text = reply.read()
        try:
            return reply.status, json.loads(text) if text else None
        except ValueError:
            return reply.status, text.decode(errors="replace")

    def ask(self, method: str, path: str, body: Json = None) -> Json:
        """As `request`, and return the JSON only; a status of 300 or more is an AssertionError with the reply."""
        status, said = self.request(method, path, body)
        assert status < 300, f"{method} {path}: {status} {said}"
        return said

    def count(self, index: str) -> int:
        """Documents that a search sees in `index` (a name or pattern; 0 when there is none), after a refresh."""
        self._refresh(index)
        return int(self.ask("GET", f"{quote(index)}/_count?{_LENIENT}")["count"])

    def documents(self, index: str) -> Iterator[tuple[str, str, dict[str, Json]]]:
        """All (index, _id, document) of `index` (a name or pattern), after a refresh, in no order."""
        self._refresh(index)
        # Only `scroll` reads everything on 7, 8, 9 and OpenSearch alike; 5,000 documents of 1 kB are 5 MB a page.
        page = self.ask("POST", f"{quote(index)}/_search?scroll=1m&{_LENIENT}", {"size": 5000, "sort": ["_doc"]})
        while page["hits"]["hits"]:
            for hit in page["hits"]["hits"]:
                yield hit["_index"], hit["_id"], hit["_source"]
            page = self.ask("POST", "_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
        if "_scroll_id" in page:  # OpenSearch opens none where no index matches
            self.request("DELETE", "_search/scroll", {"scroll_id": page["_scroll_id"]})

    def indices(self, pattern: str) -> list[str]:
        """The names of the indices that match, sorted."""
        said = self.ask("GET", f"_cat/indices/{quote(pattern)}?h=index&format=json&expand_wildcards=all")
        return sorted(row["index"] for row in said)

    def delete(self, pattern: str) -> None:
        """Delete the indices that match, each by its own name; the pattern must begin with three literal characters."""
        assert len(pattern) >= 3 and not set(pattern[:3]) & set("*,"), pattern
        for name in self.indices(pattern):
            self.ask("DELETE", quote(name))

    def indexed(self) -> int:
        """Documents written since the server started, by `_stats` of its nodes: deleted and closed indices count too.

        A `create` refused with 409 does not count; an update or overwriting `index` does.
        """
        said = self.ask("GET", "_nodes/stats/indices/indexing?filter_path=nodes.*.indices.indexing.index_total")
        return sum(node["indices"]["indexing"]["index_total"] for node in said["nodes"].values())

    def version(self) -> str:
        """The server's version; `GET /` is not to be relied on (405 on the distribution used here)."""
        said = self.ask("GET", "_nodes/_local?filter_path=nodes.*.version")
        return str(next(iter(said["nodes"].values()))["version"])

    def _refresh(self, index: str) -> None:
        self.ask("POST", f"{quote(index)}/_refresh?{_LENIENT}")


_LENIENT = "ignore_unavailable=true&allow_no_indices=true"


class Node(Client):
    """One server process of our own. It is started when made; `stop` and `start` keep its data and its port."""

    def __init__(self, server: Server, settings: Mapping[str, Json] | None = None) -> None:
        """Fetch, configure and start `server`; `settings` are lines of its YAML. Raises ServerError."""
        java = find_java(server)
        if java is None:
            raise ServerError(f"{server.name}: no java {server.oldest_java} or later found")
        self.server, self._java = server, java
        self.settings: dict[str, Json] = dict(settings or {})
        self._home = fetch(server)
        self.port, self._transport_port = free_port(), free_port()
        super().__init__(f"http://127.0.0.1:{self.port}")
        self._earlier = 0
        self._launcher: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="shipper-node-"))
        atexit.register(self.close)
        for name in ("data", "logs", "tmp"):
            (self.folder / name).mkdir()
        shutil.copytree(self._home / "config", self.folder / "config")
        self._set_heap()
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The server's process id; that of its launcher until the server has written its own. Raises ServerError if stopped."""
        if self._launcher is None:
            raise ServerError(f"{self.server.name} is not running")
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / "tmp/pid").read_text())
        return self._launcher.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._launcher is not None and self._launcher.poll() is None

    def start(self) -> None:
        """Start the server on its data and port, and wait until it answers. Raises ServerError with the end of its log."""
        assert not self.running
        (self.folder / "tmp/pid").unlink(missing_ok=True)
        self._configure()
        prefix = self.server.product.replace("elasticsearch", "es").upper()
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            f"{prefix}_JAVA_HOME": str(self._java),
            f"{prefix}_PATH_CONF": str(self.folder / "config"),
            f"{prefix}_TMPDIR": str(self.folder / "tmp"),
        }
        command = [str(self._home / "bin" / self.server.product), "-p", str(self.folder / "tmp/pid")]
        with (self.folder / "console.log").open("ab") as console:
            self._launcher = subprocess.Popen(
                [*_as_nobody(), *_ends_with_us(), *command],
                cwd=self.folder / "logs",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for pytest; it then ends the node in order
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End the server by its pid: SIGTERM, and SIGKILL when it is still there after 20 s. No-op when it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once with SIGKILL, as a power cut would."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def configured(self, settings: Mapping[str, Json]) -> Iterator[None]:
        """Restart with `settings` besides its own, and restart as it was when the block is left."""
        before = self.settings
        for wanted in (before | dict(settings), before):
            self.stop()
            self.settings = wanted
            self.start()
            if wanted is before:
                return
            try:
                yield
            except BaseException:
                self.settings = before
                self.stop()
                self.start()
                raise

    def close(self) -> None:
        """Stop and remove all files. May be called more than once."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    def indexed(self) -> int:
        """As `Client.indexed`, over all starts of this node."""
        return self._earlier + (super().indexed() if self.running else 0)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of what the server said."""
        with contextlib.suppress(OSError):
            return "\n".join((self.folder / "console.log").read_text(errors="replace").splitlines()[-lines:])
        return ""

    def _end(self, by: signal.Signals) -> None:
        launcher = self._launcher
        if launcher is None:
            return
        with contextlib.suppress(OSError, AssertionError, http.client.HTTPException):  # a node that does not answer has no count
            self._earlier += super().indexed()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, by)
        try:
            launcher.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)  # its own session: whatever of it is left
        launcher.wait()
        self._launcher = None

    def _wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + START_LIMIT_S
        while time.monotonic() < give_up_at and self.running:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "_cluster/health?wait_for_status=yellow&timeout=10s")[0] == 200:
                    return
            time.sleep(0.1)
        tail = self.log_tail()
        self.stop()
        raise ServerError(f"{self.server.name} did not come up within {START_LIMIT_S:.0f} s\n{tail}")

    def _configure(self) -> None:
        lines: dict[str, Json] = {
            "cluster.name": "shipper-tests",
            "node.name": "n1",
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "transport.port": self._transport_port,
            "discovery.type": "single-node",
            "cluster.routing.allocation.disk.threshold_enabled": False,
            "action.destructive_requires_name": False,
        }
        if self.server.product == "elasticsearch":
            lines["xpack.security.enabled"] = False
        text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in (lines | self.settings).items())
        (self.folder / "config" / f"{self.server.product}.yml").write_text(text)
        if os.getuid() == 0:
            _give_to_nobody([self.folder, *self.folder.rglob("*")])

    def _set_heap(self) -> None:
        """512 MB; no GC log, no heap dump: their relative paths keep 7.17 from starting outside its home."""
        options = self.folder / "config/jvm.options"
        kept = [line for line in options.read_text().splitlines() if not re.search(r"gc\.log|HeapDump|ErrorFile", line)]
        options.write_text("\n".join(kept) + "\n")
        extra = self.folder / "config/jvm.options.d"
        extra.mkdir(exist_ok=True)
        (extra / "heap.options").write_text(f"-Xms512m\n-Xmx512m\n-XX:ErrorFile={self.folder}/logs/hs_err_pid%p.log\n")


def _give_to_nobody(paths: Sequence[Path]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
