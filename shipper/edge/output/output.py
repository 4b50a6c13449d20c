"""Output: the contract of a destination. One output is one file in this package; its module name is its YAML type.

An output `local` is the class `Local` in `local.py`, with a nested `Config(ComponentConfig)` and the constructor `Local(config)`,
which raises `ComponentError` for settings that cannot work, opens nothing and imports nothing heavy.

ORDER OF CALLS, all in the loop's thread: `restore(state)`, `open()`, then `post` for each `Post` of the courier (up to `posts_max`
at a time), and for each checkpoint `state()` together with the ledger's snapshot, `sync()`, and only then the write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shipper.deliver.traffic import Accepted, CourierSettings, Failed, Post, Replied


class Output(Protocol):
    """Where documents go."""

    kind: str
    """The YAML type."""
    keeps_state: bool
    """Whether progress through this output is kept; where not (console), every run begins anew."""

    @property
    def destination(self) -> str:
        """What names the destination in the state directory and the log: never credentials, the same for the same place."""
        ...

    def courier_settings(self) -> CourierSettings:
        """The bounds its courier keeps."""
        ...

    async def restore(self, state: Mapping[str, int] | None) -> None:
        """Take over what the last checkpoint says of this output; None where there is none. Raises HostError."""
        ...

    async def open(self) -> None:
        """Get ready to post. Does not wait for a remote end. Raises HostError."""
        ...

    async def post(self, post: Post) -> Replied | Accepted | Failed:
        """Send one post, answer once; bad news are answers. Raises HostError only where going on makes no sense.

        `state()` includes the post from the moment this returns: hand the answer to the courier without awaiting in between.
        """
        ...

    def state(self) -> Mapping[str, int]:
        """What the checkpoint must carry for this output; empty where it needs nothing."""
        ...

    async def sync(self) -> None:
        """Make durable all that `state()` spoke of before the call. Raises HostError; then no checkpoint may be written."""
        ...

    async def close(self) -> None:
        """Let go of files, connections and threads. Idempotent."""
        ...
