"""The stage laws (tests/kit/laws.py), run on every stage of the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config import find
from shipper.config.condition import Condition
from shipper.config.fields import Duration, FilePath, Network, Rate, Size
from shipper.model.columns import Columns
from shipper.stages.dedupe import Dedupe
from shipper.stages.fields import Fields, Operation
from shipper.stages.filter import Filter
from shipper.stages.geoip import Geoip
from shipper.stages.metadata import Metadata
from shipper.stages.python import Python, View
from shipper.stages.sample import Sample
from shipper.stages.summary import KeyTemplate, Summary
from shipper.stages.throttle import Throttle
from shipper.stages.user_agent import UserAgent
from tests.kit import laws

FIELDS = ("level", "service", "client_ip", "client", "client.ip", "x_forwarded_for", "user_agent")


class OneAddress:
    """A table that knows one address, and IPv4 only."""

    kind = "GeoLite2-City"
    generation = 1
    built_at = 0

    def find(self, address: str) -> tuple[Mapping[str, Any] | None, int]:
        """A place for 81.2.69.142."""
        if ":" in address:
            raise ValueError("IPv4 only")
        return ({"city": {"names": {"en": 'Lon"don'}}} if address == "81.2.69.142" else None), 32


def services(batch: View) -> None:
    """Adds what a row is for, and drops those for nobody."""
    batch.add("for", [value if isinstance(value, (str, list)) and len(value) < 99 else None for value in batch.column("service")])
    for row, value in enumerate(batch.column("level")):
        if value == "ERROR":
            batch.drop(row, "error")


class OneTable:
    """Resources with that table at every path, and that function by any name."""

    def function(self, module: str, name: str, *, is_file: bool) -> Any:
        """The function."""
        return services

    def table(self, path: str) -> OneAddress:
        """The table."""
        return OneAddress()

    def host(self) -> Mapping[str, object]:
        """A machine."""
        return {"os.type": "linux", "ip": ["192.0.2.1"]}


def dedupe(**settings_: Any) -> Dedupe:
    """A dedupe by one field."""
    return Dedupe(Dedupe.Config(**{"key": ["service"], **settings_}), OneTable())


def fields(*operations: Mapping[str, Any]) -> Fields:
    """A fields stage of these operations."""
    return Fields(Fields.Config(operations=[Operation(**operation) for operation in operations]), OneTable())


def geoip(**settings_: Any) -> Geoip:
    """A geoip stage over the table."""
    return Geoip(Geoip.Config(**{"field": "client_ip", "databases": [FilePath("city.mmdb")], **settings_}), OneTable())


def metadata(**settings_: Any) -> Metadata:
    """A metadata stage."""
    return Metadata(Metadata.Config(**settings_), OneTable())


def sample(**settings_: Any) -> Sample:
    """A sample that keeps every third."""
    return Sample(Sample.Config(**{"rate": 3.0, **settings_}), OneTable())


def throttle(**settings_: Any) -> Throttle:
    """A throttle that lets little through."""
    return Throttle(Throttle.Config(**{"rate": Rate(0.5), "burst": Size(1), **settings_}), OneTable())


def user_agent(**settings_: Any) -> UserAgent:
    """A user_agent stage."""
    return UserAgent(UserAgent.Config(**settings_), OneTable())


class Lawless:
    """A stage that breaks one law, named by `fault`."""

    reads = ("service",)
    adds = ("client",)

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.batches = 0

    def process(self, columns: Columns, now: float) -> None:
        """Break it."""
        self.batches += 1
        splices = {
            "splices too few": [b""] * (columns.count - 1),
            "forgets the comma": [b'"client":1'] * columns.count,
            "writes no JSON": [b',"client":'] * columns.count,
            "adds what it did not declare": [b',"other":1'] * columns.count,
            "adds a key twice": [b',"client":1,"client":2'] * columns.count,
            "depends on the batch": [b',"client":%d' % self.batches] * columns.count,
        }
        self.changes = {
            "changes what it did not declare": ["level"],
            "forgets columns": ["service"],
            "writes a name twice": ["*"],
        }.get(self.fault, ())
        if self.changes:
            more = b',"service":"a"' if self.fault == "writes a name twice" else b',"service":"z"'
            rows = [row if row == b"{" or b"service" not in row else row.replace(b'"a"', b'"z"') for row in columns.rows]
            columns.rewrite([row + more for row in columns.rows] if "twice" in self.fault else rows)
        if self.fault == "calls a row odd no more":
            self.changes = ["log"]
            columns.rewrite([b'{"log":1' if row == b"{" else row + b',"log":1' for row in columns.rows])
            columns.odd.clear()
        if self.fault in splices:
            columns.splice(splices[self.fault])
        elif self.fault == "drops without a reason":
            columns.drop(0, "")
        elif self.fault == "reorders rows":
            columns.rows.reverse()
        elif self.fault == "holds for ever":
            columns.hold(0, Throttle.__new__(Throttle))  # type: ignore[arg-type]


class Hasty(Throttle):
    """A throttle that gives summaries away before they are due."""

    def due(self, now: float) -> list[Summary]:
        """All of them, at any time."""
        return self.flush()


class Forgetful(Throttle):
    """A throttle that counts every other row."""

    def process(self, columns: Columns, now: float) -> None:
        """Halve all counts."""
        super().process(columns, now)
        for summary in self._waiting.open:
            summary.count //= 2


STAGES = {
    "dedupe": lambda: dedupe(),
    "dedupe, of whole records": lambda: dedupe(key=[], window=Duration(3)),
    "dedupe, small table": lambda: dedupe(key=["level", "service"], keys_max=2, when=Condition({"has": "level"})),
    "dedupe, with summaries": lambda: dedupe(summary=True),
    "dedupe, with summaries of whole records": lambda: dedupe(key=[], summary=True, keys_max=4),
    "fields": lambda: fields({"rename": {"level": "log.level"}}, {"set": {"level": "x"}}, {"remove": ["client_ip"]}),
    "fields, of objects": lambda: fields(
        {"copy": {"client": "service"}, "when": Condition({"has": "level"})}, {"set": {"client.ip": 1}}, {"remove": ["service.a"]}
    ),
    "fields, of all kinds": lambda: fields(
        {"convert": {"service": "integer", "level": "string"}},
        {"lower": ["client_ip"]},
        {"set": {"user_agent": "{level}-{service}"}},
    ),
    "fields, reshaping": lambda: fields({"flatten": ["*"]}, {"dedot": "_"}, {"max_members": 3, "max_depth": 1}),
    "filter": lambda: Filter(Filter.Config(keep=Condition({"level": "ERROR"})), OneTable()),
    "filter, drop": lambda: Filter(Filter.Config(drop=Condition({"has": ["service", "client"]}), reason="x"), OneTable()),
    "geoip": lambda: geoip(),
    "geoip, small cache": lambda: geoip(cache_max=2, target="source"),
    "geoip, beside the address": lambda: geoip(field="client.ip"),
    "geoip, in place of the proxy": lambda: geoip(field="client.ip", forwarded="x_forwarded_for", trusted=[Network("0.0.0.0/1")]),
    "geoip, behind proxies": lambda: geoip(forwarded="x_forwarded_for", trusted=[Network("0.0.0.0/1"), Network("fe80::/10")]),
    "geoip, behind proxies that log no peer": lambda: geoip(field=None, forwarded="x_forwarded_for", trusted=[Network("::/0")]),
    "metadata": lambda: metadata(static={"environment": "x", "service.name": "y", "client": 1}, path="{instance}"),
    "metadata, of the host": lambda: metadata(host=["os", "ip"]),
    "python": lambda: Python(Python.Config(file=FilePath("x.py"), reads=["service", "level"], adds=["for"]), OneTable()),
    "sample": lambda: sample(),
    "sample, by key": lambda: sample(key=["service", "client_ip"], when=Condition({"level": "ERROR"})),
    "sample, protected": lambda: sample(rate=0.5, key=["level"], protect=Condition({"service": "api"})),
    "throttle": lambda: throttle(),
    "throttle, by key": lambda: throttle(key=["service", "client_ip"], when=Condition({"level": "ERROR"})),
    "throttle, small table": lambda: throttle(key=["client_ip"], keys_max=2, period=Duration(1)),
    "throttle, bytes": lambda: throttle(key=["level"], cost="bytes", burst=Size(30), protect=Condition({"service": "api"})),
    "user_agent": lambda: user_agent(),
    "user_agent, small cache": lambda: user_agent(field="user_agent", cache_max=2),
    "throttle, by template": lambda: throttle(key=KeyTemplate("{service}-{level}"), protect_level="error"),
    "throttle, shadow": lambda: throttle(key=["service"], shadow=True),
    "throttle, arrival": lambda: throttle(key=["service"], clock="arrival"),
}


def test_laws_are_run_on_every_stage_of_the_package() -> None:
    """A stage without a line in STAGES fails here."""
    assert set(find.names("stage")) == {name.partition(",")[0] for name in STAGES}


@pytest.mark.parametrize("name", STAGES)
@settings(max_examples=60, deadline=None)
@given(rows=laws.records(FIELDS), data=st.data())
def test_stage_obeys_the_laws_with_hostile_records(name: str, rows: list[laws.Record], data: st.DataObject) -> None:
    """All laws hold for values of all kinds, with event times in and out of order."""
    cut = data.draw(st.integers(0, len(rows)))
    second = st.integers(1_770_000_000, 1_770_000_060) | st.sampled_from([0, -5, 10**12])
    seconds = data.draw(st.lists(second, min_size=len(rows), max_size=len(rows)) | st.none())
    laws.check_laws(STAGES[name], rows, cut, seconds)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("rows", [[], [{}], [{"client_ip": None}], [{"client_ip": {"a": []}, "service": [1], "level": "ERROR"}]])
def test_stage_obeys_the_laws_when_a_batch_is_empty_or_of_one_row(name: str, rows: list[laws.Record]) -> None:
    """The smallest batches are nothing special."""
    laws.check_laws(STAGES[name], rows)


FAULTS = ("splices too few", "forgets the comma", "writes no JSON", "adds what it did not declare", "adds a key twice")
MORE_FAULTS = ("depends on the batch", "drops without a reason", "reorders rows", "holds for ever")
WRITING_FAULTS = ("changes what it did not declare", "forgets columns", "writes a name twice", "calls a row odd no more")


@pytest.mark.parametrize("fault", [*FAULTS, *MORE_FAULTS, *WRITING_FAULTS])
def test_laws_are_broken_by_a_stage_that(fault: str) -> None:
    """Every law can fail."""
    with pytest.raises((AssertionError, AttributeError, json.JSONDecodeError, IndexError)):
        laws.check_laws(lambda: Lawless(fault), [{"service": "a"}, {"service": "b"}, {}], 1)


@pytest.mark.parametrize("kind", [Hasty, Forgetful])
def test_laws_are_broken_by_a_throttle_that_is(kind: type[Throttle]) -> None:
    """The laws of deadlines and of settling can fail too."""
    config = Throttle.Config(rate=Rate(1))
    with pytest.raises(AssertionError):
        laws.check_laws(lambda: kind(config, OneTable()), [{}] * 4)
