"""A node with a small `http.max_content_length`: large requests are halved, and one document that is too large alone is dead."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.real.node import Node
from tests.real.world import Document, World, check_ids

MIB = 1 << 20


@pytest.fixture
def narrow(node: Node, world: World) -> Iterator[World]:
    """A world whose node takes requests up to 1 MiB, as long as the test lasts; restarting it keeps documents and port."""
    index, url = f"{world.prefix}-before", node.url
    node.ask("POST", f"{index}/_doc", {"n": 0})
    with node.configured({"http.max_content_length": "1mb"}):
        assert node.count(index) == 1 and node.url == url
        node.delete(index)
        yield world
    assert node.settings == {}


def record(number: int, text: str) -> Document:
    """A numbered record that carries a text."""
    return {"timestamp": "2026-02-05T08:00:00Z", "level": "INFO", "n": number, "text": text}


def hard_to_compress(rng: random.Random, size: int) -> str:
    """A text of `size` characters, of words: no rule takes it for a secret, and gzip makes little of it."""
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(size // 8))


@pytest.mark.own_node
def test_everything_arrives_when_requests_are_too_large(narrow: World) -> None:
    """Requests of 4 MiB are halved until they fit, compressed or not; a document over the limit alone is dead, and no other."""
    rng = random.Random(20260205)
    texts = [hard_to_compress(rng, rng.choice((100, 2_000, 60_000))) for _ in range(400)]
    assert sum(map(len, texts)) > 4 * MIB
    for turn, compression in enumerate(("none", "gzip")):
        narrow.configure(compression=compression, post_size="4MiB", in_flight="16MiB")
        first = turn * len(texts) + 1
        narrow.write((record(number, text) for number, text in enumerate(texts, first)), f"{compression}.log")
        ended = narrow.once()
        assert ended.account["created"] == ended.account["read"] == len(texts)
        assert ended.messages()["delivery: split"] > 0, compression
        check_ids(narrow.documents(), first + len(texts) - 1)

    narrow.configure(compression="none", post_size="4MiB", in_flight="16MiB")
    too_large = hard_to_compress(rng, MIB)[: MIB - 200]  # with what the agent adds it is over 1 MiB
    narrow.write([record(801, "before"), record(802, too_large), record(803, "after")], "large.log")
    ended = narrow.once(1)
    assert ended.account["created"] == 2 and ended.account["dead"] == {"content_too_large": 1}
    [letter] = narrow.dead_letters()
    assert (letter["status"], letter["error"]["type"], letter["document"]["n"]) == (413, "content_too_large", 802)
    assert {document["n"] for _, _, document in narrow.documents()} == set(range(1, 804)) - {802}


def test_long_records_arrive_when_max_record_is_raised(world: World) -> None:
    """A record longer than a usual read is shipped whole with a larger `max_record`, cut and flagged without; all behind it too."""
    text = hard_to_compress(random.Random(20260205), 3 * MIB)
    world.write([record(1, "before"), record(2, text), record(3, "after")])
    world.configure(max_record="4MiB")
    assert world.once().account["created"] == 3
    check_ids(world.documents(), 3)
    assert {document["n"]: document["text"] for _, _, document in world.documents()}[2] == text
    world.write([record(4, "before"), record(5, text), record(6, "after")], "cut.log")
    world.configure()
    account = world.once().account
    assert (account["read"], account["created"]) == (3, 3)
    [cut] = [document for _, _, document in world.documents() if "n" not in document]
    assert "truncated" in cut["shipper"]["flags"] and cut["message"].startswith('{"timestamp"')
