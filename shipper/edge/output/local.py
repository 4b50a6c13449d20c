"""Local: the embedded output. One file per index, in bulk form: the file is itself a `_bulk` body.

RULES
- The checkpoint carries the length of each file. Documents are written at the known length, so that writing again after a
  failure overwrites; the length grows when a post is wholly written, as the last act of `post()`.
- `sync()` makes files and directory durable before the checkpoint that speaks of them is written.
- `restore()` cuts files back to the checkpoint's lengths, removes files it does not name and that are ours by their first line,
  and refuses a file that is missing or shorter than recorded: documents that were settled are gone.
- Without a checkpoint the files found are kept and appended to.
- A failed fsync is final (the kernel may drop the pages and report success next time): the process ends, and the restart
  cuts back to what was durable.

BOUNDS: at most `_OPEN_MAX` files are open; the longest unused is synced and closed. Memory: the split lines of one post.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress, repeat
from operator import eq, itemgetter
from pathlib import Path

from shipper.config.fields import ComponentConfig, FilePath
from shipper.deliver.traffic import Accepted, CourierSettings, Failed, Post, Replied
from shipper.model.errors import HostError

_SUFFIX = ".ndjson"
_OPEN_MAX = 32
_HEAD = b'{"create":{"_index":"'
# Elasticsearch's own rules for index names, narrowed to what is a plain file name everywhere (reference, "Create index").
_NAME = re.compile(rb"[a-z0-9_][a-z0-9_.\-]{0,199}", re.ASCII)
_GENERATED = re.compile(rb'\{"create":\{"_index":"([^"]*)"')
_REFUSED = b'{"create":{"status":400,"error":{"type":"invalid_index_name_exception"}}}'
_TAKEN = b'{"create":{"status":201}}'


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
        self.directory = Path(config.directory)
        self._lengths: dict[str, int] = {}
        self._files: OrderedDict[str, int] = OrderedDict()
        self._unsynced: set[str] = set()
        self._is_new_entry = False
        self._is_broken = False
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="local")

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

    async def open(self) -> None:
        """Make the directory, and see that it can be written to. Raises HostError."""
        await self._in_thread(self._open)

    async def restore(self, state: Mapping[str, int] | None) -> None:
        """Bring the files to where the checkpoint was. Raises HostError where documents are missing."""
        await self._in_thread(self._open)
        await self._in_thread(self._restore, state)

    def state(self) -> Mapping[str, int]:
        """Length by file name, of everything answered so far. Only what changed since is not covered by an earlier `sync`."""
        return dict(self._lengths)

    async def post(self, post: Post) -> Accepted | Replied | Failed:
        """Append a post's documents. A full or failing disk is `Failed`, and what was written is cut off again.

        A document whose index is not a plain file name is refused as Elasticsearch would, by an item with 400.
        """
        try:
            lengths, refused = await self._in_thread(self._write, post.body_parts)
        except OSError:
            return Failed(post.post_id, "disk")
        self._lengths.update(lengths)
        if refused is None:
            return Accepted(post.post_id)
        return Replied(post.post_id, 200, refused)

    async def sync(self) -> None:
        """Make durable whatever was written. Raises HostError; the output cannot be used afterwards."""
        await self._in_thread(self._sync)

    async def close(self) -> None:
        """Close the files; does not sync."""
        await asyncio.to_thread(self._threads.shutdown)
        while self._files:
            os.close(self._files.popitem()[1])

    async def _in_thread[T](self, work, *arguments):
        raise NotImplementedError
