"""The source `http`: records by POST, as NDJSON, JSON arrays or text, and as bulk requests of Elasticsearch's clients.

The machine of a connection is in `http_connection.py`, what a request asks in `http_request.py`, what is in its body in
`http_body.py`, the Elasticsearch shape in `http_elastic.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from shipper.config.fields import Duration, Secret, Size
from shipper.model.errors import ComponentError
from shipper.source.push import ListenConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipper.source.http_connection import HttpConnection

_STREAMS = ("tcp", "unix")


class Http:
    """Take records over HTTP/1.1, and speak as an Elasticsearch that Filebeat and the official clients can write to.

    `POST /` takes `application/x-ndjson`, `application/json` (an array) or `text/plain` (lines), compressed with gzip, zstd or
    deflate, and answers 200 when the records are on disk. 429 means: not taken, send them again. Send an `Idempotency-Key`
    that stays the same when a request is sent again, and its records are stored once.
    """

    tells_when_full = True
    """A client hears 429 at once, rather than waiting for its time-out."""

    class Config(ListenConfig):
        """Settings of the source http."""

        path: str = "/"
        """Where records are posted. Bulk requests have their own paths, `/_bulk` and `/INDEX/_bulk`."""
        user: str | None = None
        """Name for basic authentication; needs `password`."""
        password: Secret | None = None
        """Password for basic authentication."""
        token: Secret | None = None
        """Token that clients send as `Authorization: Bearer TOKEN` (or `ApiKey TOKEN`). With `user` too, either will do."""
        max_body: Annotated[Size, msgspec.Meta(ge=1 << 10, le=1 << 30)] = Size(32 << 20)
        """Largest body of a request, as it comes and decoded. Each connection may hold as much in memory."""
        timeout: Duration = Duration(60.0)
        """How long a request may take to arrive, from its first byte to its last."""
        idle: Duration = Duration(300.0)
        """How long a connection without a request is kept."""

        def __post_init__(self) -> None:
            """Refuse what would leave the door open, or cannot be. Raises ComponentError."""
            ListenConfig.__post_init__(self)
            if (self.user is None) != (self.password is None):
                missing, there = ("user", "password") if self.user is None else ("password", "user")
                raise ComponentError(f"`{missing}` is missing: there is a `{there}`", there, "basic authentication needs both")
            if self.user is not None and ":" in self.user:
                raise ComponentError("a user of basic authentication has no colon in its name", "user")
            if any(endpoint.transport not in _STREAMS for endpoint in self.listen):
                raise ComponentError("HTTP needs a stream", "listen", "such as 127.0.0.1:9200 or unix:/run/shipper.sock")
            if not self.path.startswith("/") or "?" in self.path:
                raise ComponentError("a path begins with a slash and has no question mark", "path", "such as /logs")

    def __init__(self, config: Config, clock: Callable[[], float] | None = None) -> None:  # noqa: ARG002  as for all that listen
        """Take the settings."""
        self._config = config

    def connection(self, peer: str, random: Callable[[int], bytes], now: float) -> HttpConnection:
        """Return the machine of a connection; `random` makes the `_id` of bulk items that have none."""
        from shipper.source.http_connection import HttpConnection  # h11 is loaded only where it is used

        return HttpConnection(self._config, peer, random, now)
