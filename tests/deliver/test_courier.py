"""The courier against the model Elasticsearch, in virtual time: laws first, then scripts."""

from __future__ import annotations

import json
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.deliver.courier import Courier
from shipper.deliver.traffic import (
    Accepted,
    CourierSettings,
    Durable,
    Post,
    Queued,
    Replied,
    Settle,
    Stopping,
)
from shipper.model import verdicts
from shipper.model.payload import Payload
from tests.kit.courier_world import World, payload
from tests.kit.fake_elastic import ModelElastic, error_body, error_item

FATES = st.sampled_from(
    [
        "ok",
        "connect",
        "timeout",
        "cut",
        "cut_after",
        "half",
        "html",
        "empty",
        "wrong_count",
        (429, b"", 2.0),
        (503, b"", None),
        (401, b"", None),
        (404, b"{}", None),
        error_body(400, "illegal_argument_exception", "Malformed action/metadata line [1]"),
        (413, b""),
        (302, b""),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    fates=st.lists(FATES, max_size=12),
    item_faults=st.lists(st.sampled_from([0, 429, 503, 403, 404]), max_size=12),
    bad=st.sets(st.integers(0, 40)),
    post_bytes=st.sampled_from([1, 200, 700, 100_000]),
    posts=st.integers(1, 4),
    in_flight_bytes=st.sampled_from([300, 800, 5000]),
    burials_fail=st.integers(0, 2),
)
def test_courier_settles_every_row_once_and_truly_whatever_happens(
    sizes, fates, item_faults, bad, post_bytes, posts, in_flight_bytes, burials_fail
):
    """For any faults that end: each row is settled once; created means it is there; dead means it has a letter; all in order."""
    model = ModelElastic(numbers=frozenset({"n"}))
    pending = list(item_faults)

    def fault(_index, _key, _document):
        status = pending.pop() if pending else 0
        return error_item(status, "x_exception", "because") if status else None

    model.faults.append(fault)
    limits = CourierSettings(in_flight_bytes_max=in_flight_bytes, post_bytes_max=post_bytes, posts_max=posts)
    world = World(limits, model, fates)
    world.burials_fail = burials_fail
    numbers = count()
    expected = []
    for ticket, size in enumerate(sizes):
        keys = [next(numbers) for _ in range(size)]
        parts = [payload(ticket, [f"{key}"], n="bad" if key in bad else 1).body for key in keys]
        world.give(Payload(ticket, b"".join(parts), size, list(range(size)), {"logs": size}))
        expected += [(ticket, row, key) for row, key in enumerate(keys)]
    world.run()
    assert world.courier.idle
    assert world.courier.queued_bytes == 0
    assert sorted(world.settled) == [(ticket, row) for ticket, row, _ in expected]
    buried = {letter.id for letter in world.letters}
    for ticket, row, key in expected:
        verdict, _reason = world.settled[ticket, row]
        if verdict == verdicts.DEAD:
            assert f"{key}" in buried
        else:
            assert ("logs", f"{key}") in model.documents
    for key in bad & {key for _, _, key in expected}:
        assert f"{key}" in buried
    assert [f"{key}" for _, _, key in expected] == world.first_attempts()


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), faults=st.lists(st.sampled_from(["connect", "ok"]), max_size=8))
def test_courier_keeps_strict_order_when_only_one_post_may_fly(sizes, faults):
    """With one post at a time even retries do not overtake: documents arrive in order."""
    world = World(CourierSettings(posts_max=1, post_bytes_max=300), fates=faults)
    numbers = count()
    for ticket, size in enumerate(sizes):
        world.give(payload(ticket, [f"{next(numbers)}" for _ in range(size)]))
    world.run()
    assert [("logs", f"{n}") for n in range(sum(sizes))] == world.model.arrivals


def test_courier_settles_a_whole_payload_by_one_command_when_all_is_well():
    """The way that everything goes: one Settle a payload, with its own rows and indices, no cut points looked for."""
    courier = Courier(CourierSettings(), lambda: 0.5)
    first, second = payload(1, ["a", "b"]), payload(2, ["c"], rows=[7])
    (post,) = courier.handle(Queued(first), 0.0)
    (other,) = courier.handle(Queued(second), 0.0)
    assert first.body is post.body_parts[0]
    reply = b'{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}'
    assert courier.handle(Replied(post.post_id, 200, reply), 0.1) == [Settle(1, None, verdicts.CREATED, "", {"logs": 2})]
    reply = b'{"errors":false,"items":[{"create":{"status":201}}]}'
    assert courier.handle(Replied(other.post_id, 200, reply), 0.1) == [Settle(2, [7], verdicts.CREATED, "", {"logs": 1})]
    assert first._cuts is None
    assert courier.idle


def test_courier_batches_what_is_queued_while_posts_are_in_flight():
    """The first payload goes at once, the next ones together when the slot is free."""
    world = World(CourierSettings(posts_max=1))
    world.give(*(payload(ticket, [f"{ticket}"]) for ticket in range(5)))
    world.run()
    assert [["0"], ["1", "2", "3", "4"]] == [world.ids(post) for _, post in world.posts]


def test_courier_splits_a_payload_larger_than_a_post():
    """Cuts fall between documents, in order."""
    one = payload(1, [f"{n}" for n in range(10)])
    world = World(CourierSettings(post_bytes_max=len(one.body) // 3, posts_max=2))
    world.give(one)
    world.run()
    assert [3, 3, 3, 1] == [post.documents for _, post in world.posts]
    assert one.body == b"".join(part for _, post in world.posts for part in post.body_parts)


def test_courier_waits_for_the_checkpoint_a_payload_names():
    """Nothing is sent before its generation is durable, nor what stands behind it."""
    world = World()
    world.give(payload(1, ["a"], durable=2), payload(2, ["b"]))
    world.act(world.courier.handle(Durable(1), 0.0))
    assert world.posts == []
    assert world.courier.deadline() is None
    world.act(world.courier.handle(Durable(2), 0.0))
    world.run()
    assert [["a", "b"]] == [world.ids(post) for _, post in world.posts]


def test_courier_sends_only_the_undecided_rows_again_after_partial_429():
    """201 and 409 are settled at once; the 429 alone goes again."""
    model = ModelElastic()
    model.bulk(payload(0, ["dup"]).body)
    hits = iter([True])
    model.faults.append(
        lambda _i, key, _d: (
            error_item(429, "es_rejected_execution_exception", "full") if key == "c" and next(hits, False) else None
        )
    )
    world = World(model=model)
    world.give(payload(1, ["a", "dup", "c", "d"], rows=[0, 1, 5, 6]))
    world.run()
    assert [["a", "dup", "c", "d"], ["c"]] == [world.ids(post) for _, post in world.posts]
    assert {(1, 0): 1, (1, 1): 2, (1, 5): 1, (1, 6): 1} == {row: verdict for row, (verdict, _) in world.settled.items()}
    assert "rejected" in [note.kind for note in world.notes]


def test_courier_counts_created_documents_by_index_when_a_payload_is_settled_in_pieces():
    """Indices of a piece come from its own action lines."""
    bodies = [payload(0, [key], index=index, n=n).body for key, index, n in [("a", "x", 1), ("b", "y", "bad"), ("c", "y", 1)]]
    world = World(model=ModelElastic(numbers=frozenset({"n"})))
    commands = []
    settle = world.settle
    world.settle = lambda command: (commands.append(command), settle(command))
    world.give(Payload(1, b"".join(bodies), 3, None, {"x": 1, "y": 2}))
    world.run()
    assert [(verdicts.CREATED, {"x": 1, "y": 1}), (verdicts.DEAD, {})] == [(c.verdict, c.indices) for c in commands]


def test_courier_halves_a_request_answered_413_until_the_large_document_is_alone():
    """Only the document that is too large dies; posts become smaller from then on."""
    model = ModelElastic(limit=1000)
    world = World(model=model)
    world.give(
        Payload(
            1, payload(1, ["a", "b"]).body + payload(1, ["big"], pad=2000).body + payload(1, ["c"]).body, 4, None, {"logs": 4}
        )
    )
    world.run()
    assert {("logs", "a"), ("logs", "b"), ("logs", "c")} == set(model.documents)
    assert [("big", "content_too_large", 413)] == [(one.id, one.error_type, one.status) for one in world.letters]
    assert world.settled[1, 2] == (verdicts.DEAD, "content_too_large")


def test_courier_learns_smaller_posts_from_413():
    """After one refusal fresh posts keep to half of its size."""
    model = ModelElastic(limit=200_000)
    world = World(CourierSettings(posts_max=1), model=model)
    world.give(*(payload(ticket, [f"{ticket}"], pad=60_000) for ticket in range(12)))
    world.run()
    refused = sum(note.kind == "split" for note in world.notes)
    assert refused > 0
    world.give(*(payload(ticket, [f"{ticket}"], pad=60_000) for ticket in range(12, 36)))
    world.run()
    assert len(model.documents) == 36
    assert refused == sum(note.kind == "split" for note in world.notes)


def test_courier_finds_the_document_that_spoils_a_whole_request():
    """A 400 for the request is bisected; the poison alone dies."""
    body = payload(1, ["a", "b"]).body + b'{"create":{"_index":"logs","_id":"poison"}}\n{"poison":1}\n' + payload(1, ["c"]).body

    class Poisoned(ModelElastic):
        def bulk(self, body):
            return error_body(400, "x_content_parse_exception", "bad") if b"poison" in body else super().bulk(body)

    world = World(model=Poisoned())
    world.give(Payload(1, body, 4, None, {"logs": 4}))
    world.run()
    assert {"a", "b", "c"} == {key for _, key in world.model.documents}
    assert ["poison"] == [one.id for one in world.letters]


def test_courier_buries_nothing_when_the_destination_refuses_every_request():
    """A 400 for everything, before any request was understood, is our fault or the proxy's: it alarms and waits."""
    world = World(fates=[error_body(400, "illegal_argument_exception", "no")] * 20)
    world.give(payload(1, ["a", "b", "c"]))
    world.run()
    assert world.letters == []
    assert {"a", "b", "c"} == {key for _, key in world.model.documents}
    assert "refused" in [note.kind for note in world.notes]


@pytest.mark.parametrize("fate", ["html", "half", "empty", "wrong_count", "cut", "cut_after", "timeout"])
def test_courier_sends_everything_again_when_the_outcome_is_unknown(fate):
    """What was applied meanwhile comes back as 409, which is success."""
    world = World(fates=[fate])
    world.give(payload(1, ["a", "b"], rows=[0, 1]))
    world.run()
    assert [["a", "b"], ["a", "b"]] == [world.ids(post) for _, post in world.posts]
    applied = fate in ("half", "empty", "wrong_count", "cut_after", "html")
    assert {verdicts.DUPLICATE if applied else verdicts.CREATED} == {verdict for verdict, _ in world.settled.values()}
    assert 2 == len(world.model.arrivals)


@pytest.mark.parametrize("status", [429, 503])
def test_courier_honours_retry_after_for_everything(status):
    """Nothing at all is sent before the time the destination named."""
    world = World(fates=[(status, b"", 7.0)], latency=0.0)
    world.give(payload(1, ["a"]))
    world.step()
    world.give(payload(2, ["b"]))
    world.run()
    assert [0.0, 7.0, 7.0] == [at for at, _ in world.posts]


def test_courier_cuts_an_absurd_retry_after():
    """A day is cut to the settings' limit."""
    world = World(fates=[(503, b"", 86_400.0)], latency=0.0)
    world.give(payload(1, ["a"]))
    world.run()
    assert 300.0 == world.now


def test_courier_backs_off_exponentially_up_to_the_cap():
    """0.1, 0.2, 0.4 ... 30 s times the random number."""
    world = World(fates=["connect"] * 12, latency=0.0)
    world.courier = Courier(world.settings, lambda: 1.0)
    world.give(payload(1, ["a"]))
    world.run()
    waits = [round(b - a, 3) for (a, _), (b, _) in zip(world.posts, world.posts[1:], strict=False)]
    assert [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0] == waits


def test_courier_probes_with_one_post_after_a_failure():
    """Four posts that fail together are one failure; then one probes, and only its success opens the window again."""
    world = World(CourierSettings(post_bytes_max=1), fates=["connect"] * 5)
    world.give(payload(1, [f"{n}" for n in range(8)]))
    assert 4 == len(world.flying)
    seen = []
    while world.step():
        seen.append(len(world.flying))
    assert 1 == max(seen[4:6])
    assert 12 == len({key for _, key in world.model.documents}) + sum(note.kind == "retry" for note in world.notes) - 1
    assert 1 == sum(note.kind == "recovered" for note in world.notes)


@pytest.mark.parametrize("status", [401, 403, 404, 407])
def test_courier_alarms_and_waits_when_it_may_not_write(status):
    """Wrong credentials lose nothing: the operator is told, documents are held."""
    world = World(fates=[(status, b"")] * 3)
    world.give(payload(1, ["a"]))
    world.run()
    assert ["refused"] * 3 + ["recovered"] == [note.kind for note in world.notes]
    assert {"a"} == {key for _, key in world.model.documents}


def test_courier_lets_other_indices_pass_while_one_is_blocked():
    """Documents of a closed index wait by themselves."""
    model = ModelElastic()
    closed = [True]
    model.faults.append(
        lambda index, _k, _d: error_item(400, "index_closed_exception", "closed") if index == "shut" and closed[0] else None
    )
    world = World(model=model)
    world.give(payload(1, ["a"], index="shut"))
    for ticket in range(2, 6):
        world.give(payload(ticket, [f"{ticket}"]))
        for _ in range(6):
            world.step()
    assert 4 == len(model.documents)
    closed[0] = False
    world.run()
    assert ("shut", "a") in model.documents
    assert world.letters == []


def test_courier_is_full_until_enough_is_settled():
    """The agent can keep to the bound by asking; held bytes count waiting and buried documents too."""
    world = World(CourierSettings(in_flight_bytes_max=5000))
    ticket = count()
    while not world.courier.is_full:
        world.give(payload(next(ticket), ["a"], pad=500))
    assert 5000 <= world.courier.queued_bytes < 5000 + 2000
    world.run()
    assert not world.courier.is_full
    assert 0 == world.courier.queued_bytes


def test_courier_settles_dead_rows_only_when_their_letters_are_on_disk():
    """A full disk of dead letters holds the rows, and is tried again."""
    world = World(model=ModelElastic(numbers=frozenset({"n"})))
    world.burials_fail = 2
    world.give(payload(1, ["a"], rows=[3], n="bad"))
    world.step()
    assert world.settled == {}
    assert not world.courier.idle
    world.run()
    assert {(1, 3): (verdicts.DEAD, "document_parsing_exception")} == world.settled
    assert [("a", "logs", "n")] == [(one.id, one.index, one.error_field) for one in world.letters]
    assert json.loads(world.letters[0].document)["n"] == "bad"
    assert 2 == sum(note.kind == "burial_failed" for note in world.notes)


def test_courier_takes_the_word_of_an_output_without_item_statuses():
    """`Accepted` settles all of a post."""
    courier = Courier(CourierSettings(posts_max=1), lambda: 0.5)
    (post,) = courier.handle(Queued(payload(1, ["a"])), 0.0)
    assert courier.handle(Accepted(post.post_id), 0.0) == [Settle(1, None, verdicts.CREATED, "", {"logs": 1})]


def test_courier_sends_nothing_new_once_stopping_but_settles_what_flies():
    """The rest stays unsettled at its source."""
    world = World(CourierSettings(posts_max=1))
    world.give(payload(1, ["a"]), payload(2, ["b"]))
    world.act(world.courier.handle(Stopping(), 0.0))
    assert not world.courier.idle
    world.run()
    assert world.courier.idle
    assert {1} == {ticket for ticket, _ in world.settled}


def test_courier_notes_hold_nothing_of_a_document():
    """Errors quote values; notes and settle reasons do not."""
    world = World(model=ModelElastic(numbers=frozenset({"n"})))
    world.give(payload(1, ["a"], n="S3CRET"))
    world.run()
    assert "S3CRET" not in repr(world.notes)
    assert "S3CRET" not in repr(world.settled)


def test_courier_gathers_small_payloads_beside_a_post_in_flight():
    """The first goes at once; the next ones wait until they fill a post, or for `gather_s`, and then go together."""
    courier = Courier(CourierSettings(gather_s=0.05), lambda: 0.0)
    small = [payload(number, [f"k{number}"]) for number in range(1, 4)]
    [first] = courier.handle(Queued(small[0]), 0.0)
    assert isinstance(first, Post)
    assert courier.handle(Queued(small[1]), 0.01) == []
    assert courier.handle(Queued(small[2]), 0.02) == []
    assert courier.deadline() == pytest.approx(0.06)
    [second] = courier.expire(0.0601)
    assert second.documents == 2
    assert courier.deadline() is None
