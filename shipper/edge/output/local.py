"""Local: the embedded output. One file per index, in bulk form: the file is itself a `_bulk` body. See `bulk_files.py`."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from shipper.config.fields import ComponentConfig, FilePath
from shipper.deliver.traffic import Accepted, CourierSettings, Failed, Post, Replied
from shipper.edge.output.bulk_files import BulkFiles, is_plain_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Result = TypeVar("Result")

_TAKEN = b'{"create":{"status":201}}'
_REFUSED = b'{"create":{"status":400,"error":{"type":"invalid_index_name_exception"}}}'


class Local:
    """Write documents to files, one per index, for a machine without Elasticsearch.

    Each file is in bulk form and can be loaded later with `curl -H 'content-type: application/x-ndjson' --data-binary @FILE
    http://localhost:9200/_bulk`. It is as crash-safe as the other outputs: nothing lost, nothing twice.
    """

    kind = "local"
    keeps_state = True

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of the output `local`."""

        directory: FilePath = FilePath("out")
        """Where the files go, as `<index>.ndjson`. Made if it is not there."""

    def __init__(self, config: Config) -> None:
        """Open nothing."""
        self._files = BulkFiles(Path(config.directory))
        self._thread: ThreadPoolExecutor | None = None

    @property
    def directory(self) -> Path:
        """As configured."""
        return self._files.directory

    @property
    def destination(self) -> str:
        """The directory's real path."""
        return f"local:{self.directory.resolve()}"

    def describe(self) -> str:
        """The directory, for people."""
        return str(self.directory)

    def courier_settings(self) -> CourierSettings:
        """One post at a time: files are in order."""
        return CourierSettings(posts_max=1)

    async def restore(self, state: Mapping[str, int] | None) -> None:
        """Bring the files to where the checkpoint was. Raises HostError where documents are missing."""
        await self._run(self._files.make)
        await self._run(self._files.restore, state)

    async def open(self) -> None:
        """Nothing more: `restore` made the directory and found the files."""

    def state(self) -> Mapping[str, int]:
        """Length by file name, of everything answered so far."""
        return dict(self._files.lengths)

    async def post(self, post: Post) -> Accepted | Replied | Failed:
        """Append a post's documents. A full or failing disk is `Failed`, and what was written is cut off again.

        A document whose index is not a plain file name is refused as Elasticsearch would, by an item with 400. Raises HostError
        for a file that is there and not ours.
        """
        try:
            lengths, indices = await self._run(self._files.write, post.body_parts)
        except OSError as error:
            return Failed(post.post_id, f"disk: {os.strerror(error.errno or 0)}")
        self._files.grow(lengths)
        refused = {index for index in dict.fromkeys(indices) if not is_plain_name(index)}
        if not refused:
            return Accepted(post.post_id)
        return Replied(post.post_id, 200, _items(indices, refused))

    async def sync(self) -> None:
        """Make durable whatever was written. Raises HostError; the output cannot be used afterwards."""
        await self._run(self._files.sync)

    async def close(self) -> None:
        """Close the files; does not sync."""
        await self._run(self._files.close)
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Run blocking work in the one thread of this output, in order."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="local")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _items(indices: Sequence[bytes], refused: set[bytes]) -> bytes:
    """A reply as Elasticsearch's."""
    items = (_REFUSED if index in refused else _TAKEN for index in indices)
    return b'{"errors":true,"items":[' + b",".join(items) + b"]}"
