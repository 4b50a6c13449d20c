"""Ledger: every record is settled once, and the offset follows the contiguous settled prefix."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shipper.model import verdicts
from shipper.progress.ledger import INDICES_MAX, OLDER, Committed, Ledger

STREAMS = ("a", "b")


class Batch:
    """What the model knows of a batch."""

    def __init__(self, stream: str, stop: int, rows: int, seconds: int) -> None:
        """Nothing of it is settled."""
        self.stream, self.stop, self.pending, self.seconds = stream, stop, rows, seconds


class Ledgers(RuleBasedStateMachine):
    """The ledger beside a list of batches per stream, kept whole."""

    def __init__(self) -> None:
        """Both empty."""
        super().__init__()
        self.ledger = Ledger()
        self.batches: dict[int, Batch] = {}
        self.order: dict[str, list[Batch]] = {name: [] for name in STREAMS}
        self.read = self.bytes = 0
        self.settled = dict.fromkeys(("created", "duplicate", "dropped", "dead"), 0)

    @initialize(start=st.integers(0, 100))
    def begin_streams(self, start: int) -> None:
        """Both streams are taken up where a checkpoint left them."""
        self.start = start
        for name in STREAMS:
            self.ledger.open(name, start, 1000 + start)

    @rule(stream=st.sampled_from(STREAMS), size=st.integers(1, 50), rows=st.integers(0, 5), seconds=st.none() | st.integers(0, 9))
    def begin(self, stream: str, size: int, rows: int, seconds: int | None) -> None:
        """A batch is read; it is dated by its own records, or by the one before."""
        stop = (self.order[stream][-1].stop if self.order[stream] else self.start) + size
        before = self.order[stream][-1].seconds if self.order[stream] else 1000 + self.start
        assert self.ledger.last_seconds(stream) == before
        ticket = self.ledger.begin(stream, stop, rows, size)
        assert ticket not in self.batches
        batch = Batch(stream, stop, rows, before)
        if rows and seconds is not None:
            self.ledger.date(ticket, seconds)
            batch.seconds = seconds
        self.batches[ticket] = batch
        self.order[stream].append(batch)
        self.read, self.bytes = self.read + rows, self.bytes + size

    def pending(self) -> list[int]:
        """Tickets of batches that are not settled."""
        return [ticket for ticket, batch in self.batches.items() if batch.pending]

    @precondition(lambda self: self.pending())
    @rule(data=st.data(), verdict=st.sampled_from(sorted(verdicts.NAMES)))
    def settle(self, data: st.DataObject, verdict: int) -> None:
        """Some rows of some batch have their verdict; the stream is told of if its offset moved."""
        ticket = data.draw(st.sampled_from(self.pending()))
        batch = self.batches[ticket]
        assert self.ledger.pending(ticket) == batch.pending
        rows = data.draw(st.integers(1, batch.pending))
        before = self.ledger.committed(batch.stream).offset
        moved = self.ledger.settle(ticket, verdict, rows, "why")
        batch.pending -= rows
        self.settled[verdicts.NAMES[verdict]] += rows
        after = self.ledger.committed(batch.stream).offset
        assert moved == (batch.stream if after > before else None)

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def settle_too_many(self, data: st.DataObject) -> None:
        """One row more than is left: refused, and nothing changes."""
        ticket = data.draw(st.sampled_from(sorted(self.batches)))
        with pytest.raises(AssertionError):
            self.ledger.settle(ticket, verdicts.CREATED, self.batches[ticket].pending + 1)

    @rule(name=st.sampled_from(STREAMS))
    def number(self, name: str) -> None:
        """Numbers of other documents are never a batch's ticket."""
        assert self.ledger.number() not in self.batches

    @invariant()
    def conserves(self) -> None:
        """Read = settled + in flight, at every moment."""
        account = self.ledger.account
        assert self.ledger.unaccounted == 0
        assert self.ledger.in_flight == sum(batch.pending for batch in self.batches.values())
        assert (account.read, account.read_bytes, account.settled) == (self.read, self.bytes, sum(self.settled.values()))
        counted = {
            "created": account.created,
            "duplicate": account.duplicate,
            "dropped": account.dropped.total(),
            "dead": account.dead.total(),
        }
        assert counted == self.settled
        assert set(account.dropped) | set(account.dead) <= {"why"}

    @invariant()
    def commits_the_prefix(self) -> None:
        """The offset is the end of the last batch before the first that is not settled."""
        for name in STREAMS if hasattr(self, "start") else ():
            committed = Committed(self.start, 1000 + self.start)
            for batch in self.order[name]:
                if batch.pending:
                    break
                committed = Committed(batch.stop, batch.seconds)
            assert self.ledger.committed(name) == committed
            assert self.ledger.busy(name) == any(batch.pending for batch in self.order[name])
            assert self.ledger.offsets()[name] == committed.offset
            assert self.ledger.last_settled([name, "?"]) == {name: committed.last_seconds}


Ledgers.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
test_the_ledger_keeps_its_laws_whatever_is_read_and_settled = Ledgers.TestCase


def test_a_batch_without_rows_moves_the_offset_when_nothing_is_before_it() -> None:
    """Blank lines at the end of what is settled are settled too; behind a batch in flight they wait for it."""
    ledger = Ledger()
    ledger.open("s", 0, 5)
    ledger.begin("s", 10, 0, 10)
    assert ledger.committed("s") == Committed(10, 5)
    ticket = ledger.begin("s", 20, 1, 10)
    ledger.begin("s", 25, 0, 5)
    assert ledger.committed("s").offset == 10
    assert ledger.settle(ticket, verdicts.DEAD, 1, "mapping") == "s"
    assert ledger.committed("s").offset == 25
    assert not ledger.busy("s")


def test_a_batch_is_settled_once_when_it_left_the_ledger() -> None:
    """A late second verdict for a finished batch is a bug, and counts nothing."""
    ledger = Ledger()
    ledger.open("s", 0, 0)
    ticket = ledger.begin("s", 10, 2, 10)
    ledger.settle(ticket, verdicts.CREATED, 2)
    with pytest.raises(AssertionError, match="settled twice"):
        ledger.settle(ticket, verdicts.CREATED, 1)
    assert (ledger.account.created, ledger.unaccounted) == (2, 0)


def test_an_unknown_verdict_is_refused() -> None:
    """PENDING is no verdict to settle by."""
    ledger = Ledger()
    ledger.open("s", 0, 0)
    with pytest.raises(AssertionError):
        ledger.settle(ledger.begin("s", 10, 2, 10), verdicts.PENDING, 1)


def test_a_stream_is_forgotten_only_when_nothing_of_it_is_in_flight() -> None:
    """Before that its offset is still needed."""
    ledger = Ledger()
    ledger.open("s", 0, 0)
    ticket = ledger.begin("s", 10, 1, 10)
    ledger.keep(())
    assert ledger.offsets() == {"s": 0}
    ledger.settle(ticket, verdicts.DUPLICATE, 1)
    ledger.keep(())
    assert ledger.offsets() == {}
    assert not ledger.busy("s")


def test_what_is_lost_is_counted_by_cause_and_by_file_within_a_bound() -> None:
    """A thousand files by name; what is lost of more of them stands together."""
    ledger = Ledger()
    for number in range(1010):
        ledger.lose(f"{number}.log", 10, "vanished")
    ledger.lose("0.log", 5, "truncated")
    account = ledger.account
    assert account.lost_bytes == {"vanished": 10_100, "truncated": 5}
    assert account.lost_files["0.log"] == 15 and account.lost_files[""] == 100
    assert account.lost_files.total() == account.lost_bytes.total()


def test_streams_that_nobody_knows_any_more_are_dropped_and_only_these() -> None:
    """An agent that runs for years follows many files; what it knows of one goes with it, once it is settled."""
    ledger = Ledger()
    for number in range(5):
        ledger.open(f"s{number}", 0, 0)
    busy = ledger.begin("s3", 10, 1, 10)
    ledger.keep({"s1"})
    assert set(ledger.offsets()) == {"s1", "s3"}
    ledger.settle(busy, verdicts.CREATED, 1)
    ledger.keep({"s1"})
    assert set(ledger.offsets()) == {"s1"}


def test_counts_by_index_are_bounded_and_lose_nothing() -> None:
    """Dates make ever new names; the first of them are counted together."""
    ledger = Ledger()
    for number in range(INDICES_MAX + 50):
        ledger.taken({f"app-{number}": 2})
    counts = ledger.account.indices
    assert (len(counts), counts[OLDER], counts.total()) == (INDICES_MAX, 102, 2 * (INDICES_MAX + 50))
    assert f"app-{INDICES_MAX + 49}" in counts
