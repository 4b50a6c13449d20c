"""nginx and Apache from the distribution's packages, each in a folder of its own, on loopback, with the log formats they come with."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tests.kit.site import LOOK_S, WAIT_S

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log info;
events {{}}
http {{
  log_format forwarded '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"';
  access_log {folder}/access.log combined;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port}; root {folder}/www;
    location /denied {{ deny all; }}
    location /forwarded {{ access_log {folder}/forwarded-access.log forwarded; return 204; }}
  }}
}}
"""
APACHE = """
ServerName localhost
PidFile {folder}/pid
ServerRoot /usr/lib/apache2
DefaultRuntimeDir {folder}
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule authz_host_module modules/mod_authz_host.so
LoadModule dir_module modules/mod_dir.so
LoadModule mime_module modules/mod_mime.so
TypesConfig {folder}/types
Listen 127.0.0.1:{port}
DocumentRoot {folder}/www
LogLevel info
ErrorLog {folder}/error.log
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
LogFormat "%h %l %u %t \\"%r\\" %>s %b" common
LogFormat "%v:%p %h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" vhost_combined
CustomLog {folder}/access.log combined
CustomLog {folder}/common-access.log common
CustomLog {folder}/vhost-access.log vhost_combined
<Location /denied>
Require all denied
</Location>
"""


class WebServer(msgspec.Struct, frozen=True):
    """A running server and where it logs."""

    port: int
    folder: Path

    def ask(self, request: bytes) -> bytes:
        """Send bytes, and return what came back until the server closed, or fell silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(request)
            answer = b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                while piece := connection.recv(65536):
                    answer += piece
            return answer

    def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> int:
        """Make a request; return the status."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        answer = self.ask("\r\n".join([*lines, "", ""]).encode())
        return int(answer.split(b" ", 2)[1])


@contextlib.contextmanager
def running(name: str, program: str, folder: Path) -> Iterator[WebServer]:
    """`nginx` or `apache2` in a folder, until the block ends. Fails where it does not answer."""
    (folder / "www").mkdir(parents=True)
    (folder / "www" / "index.html").write_text("here\n")
    (folder / "types").write_text("text/html html\n")
    folder.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "server.conf"
    config.write_text((NGINX if name == "nginx" else APACHE).format(folder=folder, port=port))
    words = [program, "-c", str(config), "-p", str(folder)] if name == "nginx" else [program, "-X", "-f", str(config)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _await(port, process)
        yield WebServer(port, folder)
    finally:
        process.terminate()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        if process.poll() is not None:
            assert process.stderr is not None
            raise AssertionError(f"the server ended: {process.stderr.read().decode(errors='replace')}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(LOOK_S)
    raise AssertionError("the server does not answer")
