"""Stage: the contract of enrichment and control. One stage is one file in this package; its module name is its YAML type.

A stage `geoip` is the class `Geoip` in `geoip.py`, with a nested `Config(ComponentConfig)` and the constructor
`Geoip(config, resources)`. The constructor raises `model.errors.ComponentError` for settings that cannot work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shipper.model.columns import Columns


class Table(Protocol):
    """A lookup table that the edge opened and keeps fresh (an mmdb file). Reading it never blocks on I/O it did not expect."""

    kind: str
    """The database's own type, `GeoLite2-City`."""
    generation: int
    """Grows by one whenever a new version of the file was taken into use: what was cached from it is stale."""
    built_at: int
    """Unix seconds at which its maker built the version in use: its age."""

    def find(self, address: str) -> tuple[Mapping[str, Any] | None, int]:
        """The record for an address, or None, and the prefix length of the network in which all addresses have this answer.

        In bits of this kind of address, 32 or 128 at most. Raises ValueError for what is not an address.
        """
        ...


class Resources(Protocol):
    """What the edge lends to stages when they are made."""

    def table(self, path: str) -> Table:
        """Open the mmdb at `path` (shared between stages). Raises ComponentError where it is missing, empty or broken."""
        ...

    def host(self) -> Mapping[str, object]:
        """What is known of the machine, by ECS name below `host`: `architecture`, `ip`, `os.type` and more of `os`."""
        ...

    def function(self, module: str, name: str, *, is_file: bool) -> Callable[[Any], object]:
        """A function of the user's own: from the file at the path `module`, or from the installed module of that name.

        Raises ComponentError, which names `file`, `import` or `function`, where it cannot be had.
        """
        ...


class Stage(Protocol):
    """What the chain asks of a stage. Made once per pipeline from its `Config`; called once a batch, in the chain's thread.

    A stage may have, besides what stands here,
    - `scalars`: those of `adds` that are no objects. A record's own scalar of that name stays where none was spliced.
    - `changes`: members of records that it exchanges, by dotted name; `*` means any.
    - `guards`: name -> pattern. The gate looks for them on its way, which costs a tenth of looking by oneself; those that fired in
      the batch are named in `columns.marks`. Rows in `columns.changed` were changed after that.
    - `objects`: top-level members that it splices as one object each, so that no other stage can.
    - `file`: the path of code that is not ours; an error is told by its line there.
    - `due`, `flush` and `deadline`, where it holds rows: see `summary.py`.
    """

    reads: Sequence[str]
    """Fields it wants as columns. Dotted names reach into objects."""
    adds: Sequence[str]
    """What it splices into documents: top-level members, or what it fills of them (`client.geo`). Records that have the same are
    merged with it by value; a text format's `client.ip` is not the same as `client.geo`, and stays beside it. A row that gets more
    than what is said here is put to `columns.odd` by the stage."""

    def process(self, columns: Columns, now: float) -> None:
        """Work on a whole batch. `now` is monotonic seconds.

        May call `columns.splice`, `drop`, `hold`, `assign`, `rewrite`; may not block.
        An exception is a bug: the batch's rows go on without this stage's work and are flagged, see `chain.py`.
        """
        ...


class Summarising(Protocol):
    """A stage that makes documents of its own, as `throttle` does."""

    evicted: int
    """Keys it forgot while they were in use, as its table was full."""

    def due(self, now: float) -> Sequence[Any]:
        """Summaries to ship now."""
        ...

    def flush(self) -> Sequence[Any]:
        """All summaries."""
        ...

    def deadline(self) -> float | None:
        """When `due` has something next."""
        ...
