"""Metrics: what `/metrics` says, in the text format of Prometheus. Made when somebody asks, of figures; see `docs/metrics.md`.

RULES
- Names and units as https://prometheus.io/docs/practices/naming/ has them: seconds, bytes, counters end in `_total`.
- Labels are bounded. What comes of data or of a peer (reasons, causes, flags) has `VALUES_MAX` values a pipeline, files as many as
  the account keeps; what comes later is `other`. In order of appearance, so that no counter ever falls.
- Counters start at 0 with the process, as Prometheus expects.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from shipper.progress.ledger import LOST_FILES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from shipper.edge.figures import Figures

    Values = Iterable[tuple[tuple[str, ...], float]]

KIND = "text/plain; version=0.0.4; charset=utf-8"
VALUES_MAX = 100
VALUE_CHARS_MAX = 200
OTHER = "other"


def _version() -> str:
    """Of the installed package; a tree that was only copied has none."""
    try:
        return metadata.version("shipper")
    except metadata.PackageNotFoundError:
        return "unknown"


_VERSION = _version()


class Spec(NamedTuple):
    """One metric; a pipeline's name is its first label."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[Figures], Values]


def _one(value: Callable[[Figures], float]) -> Callable[[Figures], Values]:
    """A metric without further labels."""
    return lambda figures: [((), value(figures))]


def _each(values: Callable[[Figures], Mapping[str, int]], most: int = VALUES_MAX) -> Callable[[Figures], Values]:
    """A metric with one label, bounded."""
    return lambda figures: [((name,), count) for name, count in bounded(values(figures), most).items()]


def bounded(counts: Mapping[str, int], most: int = VALUES_MAX) -> dict[str, int]:
    """The first `most` names, and all others together as `other`; an empty name means others already."""
    found: dict[str, int] = {}
    for written, count in counts.items():
        name = written[:VALUE_CHARS_MAX] or OTHER
        name = name if name in found or len(found) < most else OTHER
        found[name] = found.get(name, 0) + count
    return found


SPECS: Sequence[Spec] = (
    Spec("shipper_records_read_total", "Records that were read.", (), _one(lambda f: f.account.read)),
    Spec("shipper_read_bytes_total", "Bytes of the sources that were read.", (), _one(lambda f: f.account.read_bytes)),
    Spec("shipper_records_delivered_total", "Records that the output took as new.", (), _one(lambda f: f.account.created)),
    Spec(
        "shipper_records_duplicate_total",
        "Records that the output had already, as they were sent again.",
        (),
        _one(lambda f: f.account.duplicate),
    ),
    Spec(
        "shipper_records_dropped_total",
        "Records that the configuration has dropped, by reason.",
        ("reason",),
        _each(lambda f: f.account.dropped),
    ),
    Spec(
        "shipper_records_dead_total",
        "Records that the output refused for good and that are dead letters now, by type of error.",
        ("reason",),
        _each(lambda f: f.account.dead),
    ),
    Spec(
        "shipper_documents_total",
        "Documents that the output has taken or had already, summaries included, by the fixed beginning of the index name.",
        ("index_prefix",),
        _each(lambda f: f.prefixes),
    ),
    Spec(
        "shipper_summaries_total",
        "Documents that stages made themselves and that the output took.",
        (),
        _one(lambda f: f.account.generated),
    ),
    Spec(
        "shipper_lost_bytes_total",
        "Bytes that nobody can give any more, as they were gone before they were read, by cause.",
        ("cause",),
        _each(lambda f: f.account.lost_bytes),
    ),
    Spec(
        "shipper_lost_file_bytes_total",
        "The same bytes by file; from the thousandth file on together under path `other`.",
        ("path",),
        _each(lambda f: f.account.lost_files, LOST_FILES_MAX),
    ),
    Spec(
        "shipper_skipped_bytes_total",
        "Bytes of the sources that are no record: blank lines, NUL, the cut end of lines that are too long.",
        ("cause",),
        _each(lambda f: f.account.skipped_bytes),
    ),
    Spec("shipper_redactions_total", "Hits that were masked, by rule.", ("rule",), _each(lambda f: f.account.masked)),
    Spec(
        "shipper_flagged_total", "Records with a flag in `shipper.flags`, by flag.", ("flag",), _each(lambda f: f.account.flagged)
    ),
    Spec(
        "shipper_unaccounted_records",
        "Records read of which nobody knows what became: 0, or there is a bug.",
        (),
        _one(lambda f: f.unaccounted),
    ),
    Spec("shipper_in_flight_records", "Records read that have no verdict yet.", (), _one(lambda f: f.in_flight)),
    Spec("shipper_held_records", "Records in flight that wait for their summary.", (), _one(lambda f: f.held)),
    Spec(
        "shipper_courier_queued_bytes",
        "Bytes of documents held for the output: queued, in flight, or waiting to be sent again.",
        (),
        _one(lambda f: f.output.queued_bytes),
    ),
    Spec(
        "shipper_courier_in_flight_bytes",
        "Bytes of documents in requests that are not answered.",
        (),
        _one(lambda f: f.output.in_flight_bytes),
    ),
    Spec("shipper_courier_in_flight_posts", "Requests that are not answered.", (), _one(lambda f: f.output.in_flight_posts)),
    Spec(
        "shipper_posts_total",
        "Requests by how they ended: a class of HTTP status (`2xx`), `accepted` (an output without HTTP), or what failed.",
        ("answer",),
        _each(lambda f: f.output.answers),
    ),
    Spec(
        "shipper_retries_total",
        "Times that something had to go again, by why: the whole request, some of its documents, dead letters.",
        ("reason",),
        _each(lambda f: f.output.setbacks),
    ),
    Spec(
        "shipper_output_failing_seconds",
        "How long the output has taken nothing; 0 while it takes documents.",
        (),
        _one(lambda f: f.output.failing_s or 0.0),
    ),
    Spec(
        "shipper_checkpoint_overdue_seconds",
        "How long the progress could not be written to disk; 0 while it can.",
        (),
        _one(lambda f: f.checkpoint.overdue_s),
    ),
    Spec(
        "shipper_throttle_evicted_total",
        "Keys of `throttle` forgotten while they were in use, as there were more than `keys_max`.",
        (),
        _one(lambda f: f.evicted),
    ),
    Spec("shipper_stage_errors_total", "Batches that a stage failed for, a bug.", ("stage",), _each(lambda f: f.stage_errors)),
    Spec("shipper_files_followed", "Files that the sources found at their last look.", (), _one(lambda f: f.files)),
    Spec("shipper_files_open", "Files that are open for reading.", (), _one(lambda f: f.files_open)),
    Spec(
        "shipper_files_unreadable",
        "Files that could not be opened or read at some time since the start.",
        (),
        _one(lambda f: f.files_unreadable),
    ),
    Spec(
        "shipper_spool_bytes",
        "Bytes on disk that senders handed over and that are not all delivered.",
        ("source",),
        lambda f: [((spool.source,), spool.size) for spool in f.spools],
    ),
    Spec(
        "shipper_spool_limit_bytes",
        "Bytes that the spool may have.",
        ("source",),
        lambda f: [((spool.source,), spool.size_max) for spool in f.spools],
    ),
    Spec(
        "shipper_spool_quarantined_bytes_total",
        "Damaged bytes of the spool that were put aside.",
        ("source",),
        lambda f: [((spool.source,), spool.quarantined_bytes) for spool in f.spools],
    ),
    Spec(
        "shipper_spool_dropped_records_total",
        "Records dropped as the spool was full (`when_full: drop_oldest`).",
        ("source",),
        lambda f: [((spool.source,), spool.dropped_rows) for spool in f.spools],
    ),
    Spec(
        "shipper_connections",
        "Connections of senders.",
        ("source",),
        lambda f: [((spool.source,), spool.connections) for spool in f.spools],
    ),
    Spec(
        "shipper_geoip_database_age_seconds",
        "How long ago the maker of a lookup table built it.",
        ("database", "kind"),
        lambda f: [((table.database, table.kind), table.age_s) for table in f.tables],
    ),
    Spec(
        "shipper_lookup_failures_total",
        "Lookups that met damage in a lookup table.",
        ("database",),
        lambda f: [((table.database,), table.failures) for table in f.tables],
    ),
)


class _Pipelines(Collector):
    """Turns figures into the library's families."""

    def __init__(self, figures: Sequence[Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "shipper_build",
            "The agent's version and that of Python.",
            {"version": _VERSION, "python": platform.python_version()},
        )
        for spec in SPECS:
            family = CounterMetricFamily if spec.name.endswith("_total") else GaugeMetricFamily
            made = family(spec.name, spec.help, labels=("pipeline", *spec.labels))
            for figures in self._figures:
                for labels, value in dict(spec.values(figures)).items():  # a series that stands twice is refused as a whole
                    made.add_metric((figures.pipeline, *labels), value)
            yield made


def render(figures: Sequence[Figures]) -> bytes:
    """All metrics of all pipelines, and those of the process (`process_resident_memory_bytes` and its kind) where there is /proc."""
    registry = CollectorRegistry()
    registry.register(_Pipelines(figures))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
