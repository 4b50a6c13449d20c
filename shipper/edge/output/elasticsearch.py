"""Elasticsearch: posts bulk bodies as ready bytes, with the official client's transport in threads.

Importing this module imports neither `elastic_transport` nor `ssl`: a configuration is checked without them. `open()` does, and
keeps aiohttp, requests and httpx out of the process meanwhile: elastic_transport imports them where they are installed, which
costs 14 MB and 0.16 s for node classes that are not used here.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit

from shipper.config.fields import ComponentConfig, Duration, FilePath, Size
from shipper.deliver.traffic import CourierSettings, Failed, Post, Replied
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping, Sequence

    from elastic_transport import NodeConfig, Transport

    from shipper.edge.output.bulk_node import Attempt

_FILTER = "filter_path=errors,items.*.status,items.*.error"  # without `_id` an item is 26 bytes instead of 75
_HEADERS = {"content-type": "application/x-ndjson", "accept": "application/json", "user-agent": "shipper"}
GATHER_S = 0.05
"""A twentieth of a second more for a record, at most, where requests take longer than that anyway."""
_PORTS = {"http": 9200, "https": 443}
_SECRETS = ("password", "api_key", "proxy", "hosts")


class Elasticsearch:
    """Ship to Elasticsearch 7, 8, 9 or OpenSearch through the Bulk API.

    Every document is a `create` with an id made from its place in the source, so that sending one twice stores it once.
    """

    kind = "elasticsearch"
    keeps_state = True

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of the output `elasticsearch`."""

        hosts: list[str]
        """URLs, a path prefix allowed: `https://es1.example:9200/prefix`. Several take turns; one that fails rests for a while.
        Without a port 9200 is used for http, 443 for https."""
        user: str | None = None
        """User of basic authentication."""
        password: str | None = None
        """Password of basic authentication; best as `${secret:NAME}`."""
        api_key: str | None = None
        """API key as Elasticsearch returns it in `encoded`; instead of user and password."""
        ca_file: FilePath | None = None
        """PEM file of the authorities to trust. Only these are trusted then; without it the system's are."""
        verify: bool = True
        """Verify certificates and host names. Switching it off makes TLS worthless against an active attacker."""
        client_certificate: FilePath | None = None
        """PEM file with the certificate to present."""
        client_key: FilePath | None = None
        """PEM file with its key, if it is not in `client_certificate`."""
        proxy: str | None = None
        """URL of an HTTP proxy. The environment's proxy variables are not used."""
        pipeline: str | None = None
        """Name of an ingest pipeline that Elasticsearch runs on every document."""
        compression: Literal["none", "gzip"] = "gzip"
        """Compression of requests."""
        timeout: Duration = Duration(60.0)
        """How long a request may take, from the first byte sent to the last one of the reply."""
        posts: int = 4
        """Requests in flight at a time."""
        in_flight: Size = Size(4 * 1024 * 1024)
        """Bytes of documents queued and in flight; reading stops while they are reached."""
        post_size: Size = Size(2 * 1024 * 1024)
        """Bytes of one request before compression. Becomes smaller by itself when Elasticsearch answers 413."""
        reply_max: Size = Size(32 * 1024 * 1024)
        """A longer reply is not read; its request is sent again."""

        def __repr__(self) -> str:
            """Like any other struct's, with secrets left out."""
            shown = {name: getattr(self, name) for name in self.__struct_fields__ if name not in _SECRETS}
            return f"Elasticsearch.Config({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __init__(self, config: Config) -> None:
        """Check what can be checked without a network. Raises ComponentError."""
        self._config = config
        self._hosts = _parse_hosts(config.hosts)
        _check(config)
        pipeline = f"&pipeline={quote(config.pipeline, safe='')}" if config.pipeline else ""
        self._target = f"/_bulk?{_FILTER}{pipeline}"
        self._transport: Transport | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._attempts: set[Attempt] = set()

    @property
    def destination(self) -> str:
        """The hosts in alphabetical order, without credentials."""
        return ",".join(sorted({_bare_url(host) for host in self._hosts}))

    def describe(self) -> str:
        """The destination, for people."""
        return self.destination

    def courier_settings(self) -> CourierSettings:
        """Bounds as configured."""
        config = self._config
        return CourierSettings(
            in_flight_bytes_max=config.in_flight, post_bytes_max=config.post_size, posts_max=config.posts, gather_s=GATHER_S
        )

    async def restore(self, state: Mapping[str, int] | None) -> None:
        """Nothing to restore: what was sent twice is stored once."""

    def state(self) -> Mapping[str, int]:
        """Nothing to keep."""
        return {}

    async def sync(self) -> None:
        """Nothing to make durable: Elasticsearch answers when a document is in its translog."""

    async def open(self) -> None:
        """Import the transport and make the pool of nodes; connects to nothing. Raises ComponentError for unusable files."""
        with _without("aiohttp", "requests", "httpx"):
            from elastic_transport import Transport

            from shipper.edge.output import bulk_node
        tls = _tls_context(self._config) if self._needs_tls() else None
        settings = bulk_node.NodeSettings(self._config.reply_max, tls, self._config.proxy)
        self._transport = Transport(
            [self._node_config(host, settings) for host in self._hosts],
            node_class=bulk_node.BulkNode,
            serializers={bulk_node.NDJSON: bulk_node.Verbatim()},
            default_mimetype=bulk_node.NDJSON,
            max_retries=0,
            retry_on_status=(502, 503, 504),
            meta_header=False,
        )
        self._threads = ThreadPoolExecutor(self._config.posts, thread_name_prefix="elasticsearch")

    async def post(self, post: Post) -> Replied | Failed:
        """Send one bulk request in a thread. The whole of it takes `timeout` at most, connecting excluded."""
        from shipper.edge.output.bulk_node import Attempt

        loop = asyncio.get_running_loop()
        attempt = Attempt()
        self._attempts.add(attempt)
        timer = loop.call_later(self._config.timeout, attempt.abort)
        try:
            return await loop.run_in_executor(self._threads, self._carry, post, attempt)
        except asyncio.CancelledError:
            attempt.abort()  # the thread must not outlive its post: the process would wait for it at its end
            raise
        finally:
            timer.cancel()
            self._attempts.discard(attempt)

    async def close(self) -> None:
        """Cut what is in flight, and let go of threads and connections."""
        for attempt in tuple(self._attempts):
            attempt.abort()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _carry(self, post: Post, attempt: Attempt) -> Replied | Failed:
        """Runs in a thread: compress, send, read."""
        from shipper.edge.output import bulk_node

        assert self._transport is not None
        headers = dict(_HEADERS)
        parts: Sequence[bytes] = post.body_parts
        if self._config.compression == "gzip":
            parts = _gzip(parts)
            headers["content-encoding"] = "gzip"
        headers["content-length"] = str(sum(map(len, parts)))
        work = partial(self._transport.perform_request, "POST", self._target, body=parts, headers=headers)
        try:
            meta, body = bulk_node.run(attempt, work)
        except bulk_node.UnansweredError as error:
            return Failed(post.post_id, "timeout" if attempt.is_aborted else error.kind)
        return Replied(post.post_id, meta.status, body, _retry_after_s(meta.headers.get("retry-after")))

    def _needs_tls(self) -> bool:
        """Whether any connection is TLS."""
        return any(host.scheme == "https" for host in self._hosts) or (self._config.proxy or "").startswith("https:")

    def _node_config(self, host: SplitResult, settings: object) -> NodeConfig:
        """One host as elastic_transport wants it."""
        from elastic_transport import NodeConfig

        assert host.hostname is not None
        authorization = _authorization(self._config, host)
        return NodeConfig(
            scheme=host.scheme,
            host=host.hostname,
            port=host.port or _PORTS[host.scheme],
            path_prefix=host.path.rstrip("/"),
            headers={"authorization": authorization} if authorization else {},
            connections_per_node=self._config.posts,
            request_timeout=self._config.timeout,
            _extras={"_shipper": settings},
        )


def _parse_hosts(hosts: Sequence[str]) -> list[SplitResult]:
    """Read the URLs. Raises ComponentError, which never shows a URL's credentials."""
    if not hosts:
        raise ComponentError("at least one host is needed", "hosts", "write `hosts: [http://localhost:9200]`")
    parsed: list[SplitResult] = []
    for number, text in enumerate(hosts):
        field, shown = f"hosts[{number}]", text.rpartition("@")[2]
        try:
            host = urlsplit(text if "://" in text else f"http://{text}")
            is_usable = host.scheme in _PORTS and host.hostname and not host.query and not host.fragment and host.port != 0
        except ValueError:
            is_usable = False
        if not is_usable:
            raise ComponentError(
                f"{shown!r} is not the URL of a host", field, "write `http://localhost:9200` or `https://name/prefix`"
            )
        parsed.append(host)
    if len({_bare_url(host) for host in parsed}) < len(parsed):
        raise ComponentError("the same host stands there twice", "hosts")
    return parsed


def _bare_url(host: SplitResult) -> str:
    """Scheme, name, port and prefix."""
    name = f"[{host.hostname}]" if ":" in (host.hostname or "") else host.hostname
    return f"{host.scheme}://{name}:{host.port or _PORTS[host.scheme]}{host.path.rstrip('/')}"


def _check(config: Elasticsearch.Config) -> None:
    """Refuse settings that contradict each other. Raises ComponentError."""
    if config.api_key is not None and config.user is not None:
        raise ComponentError("either `api_key` or `user` and `password`, not both", "api_key")
    if (config.user is None) != (config.password is None):
        raise ComponentError("`user` and `password` belong together", "user" if config.password is None else "password")
    if config.client_key is not None and config.client_certificate is None:
        raise ComponentError("a key without its certificate", "client_key", "add `client_certificate`")
    if not 1 <= config.posts <= 64:
        raise ComponentError("1 to 64 requests in flight", "posts")
    if config.timeout <= 0:
        raise ComponentError("must be longer than nothing", "timeout")
    if config.proxy is not None and urlsplit(config.proxy).scheme not in _PORTS:
        raise ComponentError("not the URL of an HTTP proxy", "proxy", "write `http://proxy.example:3128`")


def _authorization(config: Elasticsearch.Config, host: SplitResult) -> str | None:
    """The header's value: API key, configured user, or the URL's user."""
    if config.api_key is not None:
        return f"ApiKey {config.api_key}"
    user, password = config.user, config.password
    if user is None and host.username is not None:
        user, password = unquote(host.username), unquote(host.password or "")
    if user is None:
        return None
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _tls_context(config: Elasticsearch.Config) -> ssl.SSLContext:
    """TLS 1.2 or newer, verified. Raises ComponentError where a file cannot be used."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ComponentError(f"cannot be used: {error.strerror or error}", "ca_file") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.client_certificate is not None:
        try:
            context.load_cert_chain(config.client_certificate, config.client_key)
        except (OSError, ssl.SSLError) as error:
            raise ComponentError(f"cannot be used: {error.strerror or error}", "client_certificate") from None
    return context


def _gzip(parts: Sequence[bytes]) -> list[bytes]:
    """Compress with ISA-L at level 1: 1.2 us for a record of 470 bytes, a quarter of zlib's."""
    from isal import isal_zlib

    compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 16 + isal_zlib.MAX_WBITS)
    return [*map(compressor.compress, parts), compressor.flush()]


def _retry_after_s(value: str | None) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date (RFC 9110, 10.2.3). None for anything else."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    """Let imports of these packages fail meanwhile. Packages that are loaded already stay as they are."""
    blocked: dict[str, Any] = {name: None for name in names if name not in sys.modules}
    sys.modules.update(blocked)
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]
