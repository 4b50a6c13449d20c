"""A node class for `elastic_transport` that posts ready bytes and caps replies. Importing this imports elastic_transport.

RULES
- Nothing of a body is logged: `_log_request`, which prints bodies and replies at debug, is never called here.
- TLS trusts the CA of the settings alone where one is given, else the system's; verification is on unless switched off.
  (Urllib3HttpNode adds certifi's roots to whatever is given, so that the pool is made here.)
- A reply larger than `reply_max_bytes` is not read on; the connection is closed.
- A post has one deadline as a whole: urllib3's timeout is one per read, which a sink that trickles never reaches. The event
  loop shuts the socket down when it is over (`Attempt.abort`).
- Bytes are not copied: the parts of a body are sent one after the other under one Content-Length (RFC 9110, 8.6).
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from socket import SHUT_RDWR, SO_KEEPALIVE, SOL_SOCKET
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import elastic_transport
import urllib3
from elastic_transport import ApiResponseMeta, BaseNode, HttpHeaders, NodeConfig, Serializer, Urllib3HttpNode
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from collections.abc import Iterable

NDJSON = "application/x-ndjson"
_CONNECT_TIMEOUT_S = 10.0  # a black hole is known by then, and another host may be tried
_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.NewConnectionError, "connect"),  # before the next one, which it is a kind of
    (exceptions.ConnectTimeoutError, "timeout"),
    (exceptions.ReadTimeoutError, "timeout"),
    (exceptions.ProxyError, "connect"),
)


class UnansweredError(elastic_transport.ConnectionError):
    """No usable answer. The kind is all it says: texts of exceptions may hold the URL or what the peer sent."""

    def __init__(self, kind: str) -> None:
        """`connect`, `timeout`, `tls`, `cut` or `too_large_reply`."""
        super().__init__(kind)
        self.kind = kind


class Attempt:
    """One post in its thread; the loop may abort it."""

    __slots__ = ("connection", "is_aborted")

    def __init__(self) -> None:
        """Not connected yet."""
        self.connection: Any = None
        self.is_aborted = False

    def abort(self) -> None:
        """Shut the socket down, so that the thread's read or write returns. Any thread may call it."""
        self.is_aborted = True
        socket = getattr(self.connection, "sock", None)
        if socket is not None:
            with contextlib.suppress(OSError):
                socket.shutdown(SHUT_RDWR)


class _Current(threading.local):
    attempt: Attempt | None = None


_current = _Current()


class _WatchedHttp(HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        """Say which connection the attempt uses, then send."""
        _use(self)
        super().request(*args, **kwargs)


class _WatchedHttps(HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        """Say which connection the attempt uses, then send."""
        _use(self)
        super().request(*args, **kwargs)


def _use(connection: object) -> None:
    """This thread's attempt is about to send on this connection; if it was aborted meanwhile, nothing is sent."""
    attempt = _current.attempt
    if attempt is not None:
        attempt.connection = connection
        if attempt.is_aborted:
            raise UnansweredError("timeout")


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _WatchedHttp


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedHttps


class Answer(NamedTuple):
    """What elastic_transport wants of a node."""

    meta: ApiResponseMeta
    body: bytes


class NodeSettings:
    """What all nodes share beyond elastic_transport's NodeConfig, which carries it in `_extras`."""

    def __init__(self, reply_max_bytes: int, tls: ssl.SSLContext | None, proxy: str | None) -> None:
        """`proxy` is a URL, credentials included."""
        self.reply_max_bytes = reply_max_bytes
        self.tls = tls
        self.proxy = proxy


class BulkNode(Urllib3HttpNode):
    """One host. Thread-safe; connections are kept alive, at most `connections_per_node`."""

    def __init__(self, config: NodeConfig) -> None:
        """`config._extras["_shipper"]` holds the NodeSettings."""
        BaseNode.__init__(self, config)
        self._settings: NodeSettings = config._extras["_shipper"]  # noqa: SLF001 - its documented place for such things
        self._origin = ""
        options: dict[str, Any] = {
            "timeout": urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=config.request_timeout),
            "maxsize": config.connections_per_node,
            "block": True,
            "socket_options": [*HTTPConnection.default_socket_options, (SOL_SOCKET, SO_KEEPALIVE, 1)],
        }
        if config.scheme == "https":
            options["ssl_context"] = self._settings.tls
            if self._settings.tls is not None and self._settings.tls.verify_mode is ssl.CERT_NONE:
                urllib3.disable_warnings(exceptions.InsecureRequestWarning)  # the user said so; once a connection is noise
        if self._settings.proxy is not None:
            self._origin = self.base_url[: len(self.base_url) - len(self.path_prefix)]
            self.pool: Any = _proxy_manager(self._settings, options)
        elif config.scheme == "https":
            self.pool = _HttpsPool(config.host, port=config.port, **options)
        else:
            self.pool = _HttpPool(config.host, port=config.port, **options)

    def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: Iterable[bytes] | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: object = None,  # noqa: ARG002 - the contract of elastic_transport; our deadline is the Attempt's
    ) -> Answer:
        """Send, and read the reply up to its cap. `headers` must hold the Content-Length. Raises UnansweredError."""
        began = monotonic()
        all_headers = {**self.headers, **(headers or {})}
        try:
            response = self.pool.urlopen(
                method,
                f"{self._origin}{self.path_prefix}{target}",
                body=body,
                headers=all_headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            data = self._read(response)
        except UnansweredError:
            raise
        except (exceptions.HTTPError, OSError) as error:
            # The error's own text and cause stay behind: a traceback must not show the peer's bytes.
            raise UnansweredError(_kind(error)) from None
        kept = {"content-type": NDJSON}
        if "retry-after" in response.headers:
            kept["retry-after"] = response.headers["retry-after"]
        meta = ApiResponseMeta(
            node=self.config,
            duration=monotonic() - began,
            http_version="1.1",
            status=response.status,
            headers=HttpHeaders(kept),
        )
        return Answer(meta, data)

    def _read(self, response: Any) -> bytes:
        """Read a reply whole, and give the connection back; or close it."""
        limit = self._settings.reply_max_bytes
        try:
            parts: list[bytes] = []
            size = 0
            # To the end: only a read that finds nothing more compares with the Content-Length.
            while part := response.read(limit + 1 - size):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise UnansweredError("too_large_reply")
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return b"".join(parts)

    def close(self) -> None:
        """Close idle connections."""
        self.pool.clear() if isinstance(self.pool, urllib3.ProxyManager) else self.pool.close()


class Verbatim(Serializer):
    """Passes bodies and replies through as they are."""

    mimetype = NDJSON

    def loads(self, data: bytes) -> bytes:
        """The reply, unread."""
        return data

    def dumps(self, data: Any) -> Any:
        """The parts of the body."""
        return data


def run(attempt: Attempt, work: Any) -> Any:
    """Call `work()` in this thread, with its connection known to the attempt."""
    _current.attempt = attempt
    try:
        return work()
    finally:
        _current.attempt = None


def _kind(error: BaseException) -> str:
    """The kind of failure; a wrapped cause is looked through (a proxy's, say)."""
    reasons = [error, *(arg for arg in error.args if isinstance(arg, BaseException))]
    for reason in reasons:
        if isinstance(reason, ssl.SSLError | exceptions.SSLError):
            return "tls"
    for kind, name in _KINDS:
        if isinstance(error, kind):
            return name
    return "cut"


def _proxy_manager(settings: NodeSettings, options: dict[str, Any]) -> urllib3.ProxyManager:
    """A pool that goes through the proxy: absolute URLs for http, a tunnel (CONNECT) for https."""
    assert settings.proxy is not None
    url = urllib3.util.parse_url(settings.proxy)
    headers = urllib3.make_headers(proxy_basic_auth=url.auth) if url.auth else None
    plain = urllib3.util.Url(scheme=url.scheme or "http", host=url.host, port=url.port).url
    manager = urllib3.ProxyManager(plain, proxy_headers=headers, proxy_ssl_context=settings.tls, **options)
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return manager
