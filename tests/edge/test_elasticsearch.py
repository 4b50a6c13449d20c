"""The Elasticsearch output against a real HTTP server: what it sends, and what it makes of every kind of answer."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import subprocess
import sys
import threading
import time

import msgspec
import pytest

from shipper.config.fields import convert_scalar
from shipper.deliver.courier import Courier
from shipper.deliver.traffic import Buried, Bury, Failed, Note, Post, Queued, Replied, Settle
from shipper.edge.output.elasticsearch import Elasticsearch
from shipper.model import verdicts
from shipper.model.errors import ComponentError
from shipper.model.payload import Payload
from tests.kit.fake_elastic import Behaviour, ModelElastic, Server, make_certificate

BODY = b'{"create":{"_index":"logs","_id":"a"}}\n{"n":1}\n{"create":{"_index":"logs","_id":"b"}}\n{"n":2}\n'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-made certificate for 127.0.0.1."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def post(*urls, parts=(BODY,), times=1, **settings):
    """Open an output, send `times` posts one after the other, close. Returns the answers."""

    async def go():
        output = Elasticsearch(Elasticsearch.Config(hosts=list(urls), **settings))
        await output.open()
        try:
            return [await output.post(Post(n, list(parts), 2, sum(map(len, parts)))) for n in range(times)]
        finally:
            await output.close()

    return asyncio.run(go())


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_output_posts_the_parts_as_one_bulk_body(compression):
    """Two parts arrive as one body, compressed or not, on the path and with the type that all versions take."""
    with Server() as server:
        (answer,) = post(server.url, parts=[BODY[:47], BODY[47:]], compression=compression)
    assert answer == Replied(0, 200, b'{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}', None)
    (seen,) = server.seen
    assert seen.body == BODY
    assert seen.path == "/_bulk?filter_path=errors,items.*.status,items.*.error"
    assert seen.headers["content-type"] == "application/x-ndjson"
    assert ("gzip" if compression == "gzip" else None) == seen.headers.get("content-encoding")
    assert {"n": 1} == server.model.documents["logs", "a"]


def test_output_keeps_its_connection():
    """Posts one after the other use one connection."""
    with Server() as server:
        post(server.url, times=5)
    assert 1 == server.connections


def test_output_uses_path_prefix_and_pipeline():
    """Behind a proxy with a prefix, and an ingest pipeline by name."""
    with Server(prefix="/es/cluster") as server:
        (answer,) = post(server.url + "/", pipeline="my pipe")
    assert 200 == answer.status
    assert server.seen[0].path.startswith("/es/cluster/_bulk?")
    assert server.seen[0].path.endswith("&pipeline=my%20pipe")


@pytest.mark.parametrize(
    ("settings", "user", "expected"),
    [
        ({"user": "u", "password": "pa:ss"}, "", "Basic " + base64.b64encode(b"u:pa:ss").decode()),
        ({"api_key": "abc=="}, "", "ApiKey abc=="),
        ({}, "u:p%40ss@", "Basic " + base64.b64encode(b"u:p@ss").decode()),
    ],
)
def test_output_authenticates(settings, user, expected):
    """Basic, API key, or the URL's own user."""
    with Server() as server:
        server.authorization = expected
        (answer,) = post(server.url.replace("//", "//" + user), **settings)
    assert 200 == answer.status


def test_output_answers_401_as_it_is():
    """Wrong credentials are an answer."""
    with Server() as server:
        server.authorization = "Basic x"
        (answer,) = post(server.url)
    assert (401, {}) == (answer.status, server.model.documents)


def test_output_refuses_a_certificate_it_does_not_know(certificate):
    """TLS is verified by default: nothing is sent."""
    with Server(tls=certificate) as server:
        (answer,) = post(server.url)
    assert Failed(0, "tls") == answer
    assert [] == server.seen


def test_output_trusts_its_own_ca(certificate):
    """With the CA's file the same server is trusted."""
    with Server(tls=certificate) as server:
        (answer,) = post(server.url, ca_file=str(certificate[0]))
    assert 200 == answer.status


def test_output_refuses_a_certificate_for_another_name(certificate):
    """The host's name is verified too."""
    with Server(tls=certificate) as server:
        (answer,) = post(server.url.replace("127.0.0.1", "localhost"), ca_file=str(certificate[0]))
    assert Failed(0, "tls") == answer


def test_output_does_not_verify_when_told_so(certificate):
    """`verify: false` takes any certificate."""
    with Server(tls=certificate) as server:
        (answer,) = post(server.url, verify=False)
    assert 200 == answer.status


def test_output_goes_through_a_proxy_with_absolute_urls():
    """Plain HTTP: the proxy gets the whole URL, and its own credentials."""
    with Server() as proxy:
        (answer,) = post("http://elastic.invalid:9200", proxy=f"http://me:secret@127.0.0.1:{proxy.port}")
    assert 200 == answer.status
    assert proxy.seen[0].path.startswith("http://elastic.invalid:9200/_bulk?")
    assert "Basic " + base64.b64encode(b"me:secret").decode() == proxy.seen[0].headers["proxy-authorization"]


def test_output_tunnels_tls_through_a_proxy(certificate):
    """HTTPS: CONNECT, then TLS with the host itself."""
    with Server() as proxy, Server(tls=certificate) as server:
        (answer,) = post(server.url, proxy=f"http://127.0.0.1:{proxy.port}", ca_file=str(certificate[0]))
    assert 200 == answer.status
    assert [f"127.0.0.1:{server.port}"] == proxy.tunnels
    assert BODY == server.seen[0].body


def closed_port():
    """A port nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_output_leaves_a_dead_host_aside():
    """Of two hosts with one dead, after its first failure posts go to the other."""
    with Server() as server:
        answers = post(server.url, f"http://127.0.0.1:{closed_port()}", times=6)
    failed = [answer for answer in answers if isinstance(answer, Failed)]
    assert len(failed) <= 1
    assert all(answer.kind == "connect" for answer in failed)


def test_output_says_connect_when_nobody_listens():
    """Refused."""
    assert [Failed(0, "connect")] == post(f"http://127.0.0.1:{closed_port()}")


def test_output_says_connect_when_the_name_does_not_resolve():
    """No such host."""
    assert [Failed(0, "connect")] == post("http://name.invalid:9200")


@pytest.mark.parametrize("kind", ["cut", "cut_after_apply", "half_reply"])
def test_output_says_cut_when_the_connection_ends(kind):
    """No answer, or half of one: not known what was applied."""
    with Server() as server:
        server.script.append(Behaviour(kind))
        assert [Failed(0, "cut")] == post(server.url)


@pytest.mark.parametrize("kind", ["stall", "trickle"])
def test_output_says_timeout_when_a_reply_takes_too_long(kind):
    """Also where bytes keep dripping: the deadline is for the whole."""
    with Server() as server:
        server.script.append(Behaviour(kind))
        assert [Failed(0, "timeout")] == post(server.url, timeout=0.4)


def test_output_does_not_read_a_reply_over_its_cap():
    """256 MiB of reply: a MiB is read, the connection closed; the next post is well."""
    with Server() as server:
        server.script.append(Behaviour("huge"))
        first, second = post(server.url, times=2, reply_max=1 << 20)
    assert Failed(0, "too_large_reply") == first
    assert 200 == second.status


@pytest.mark.parametrize(
    ("value", "expected"), [("7", 7.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0), ("soon", None), ("-1", None)]
)
def test_output_reads_retry_after(value, expected):
    """Seconds, dates, and rubbish."""
    with Server() as server:
        server.script.append(Behaviour("503", {"retry-after": value}))
        (answer,) = post(server.url)
    assert (503, expected) == (answer.status, answer.retry_after_s)


def test_output_takes_html_as_it_comes():
    """Whatever the content type says, body and status are handed on."""
    with Server() as server:
        server.script.append(Behaviour("html"))
        (answer,) = post(server.url)
    assert 200 == answer.status
    assert answer.body.startswith(b"<html>")


def test_output_follows_no_redirect():
    """A redirect is an answer, documents go nowhere else."""
    with Server() as other, Server() as server:
        server.script.append(Behaviour("302", {"location": other.url}))
        (answer,) = post(server.url)
    assert (302, []) == (answer.status, other.seen)


def test_output_logs_nothing_of_bodies_and_credentials(caplog):
    """Even with every logger at debug."""
    caplog.set_level(logging.DEBUG)
    for name in ("elastic_transport.node", "elastic_transport.transport", "elastic_transport.node_pool", "urllib3"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(caplog.handler)
    try:
        with Server() as server:
            server.script.append(Behaviour("cut"))
            post(server.url, parts=[BODY.replace(b'"n":1', b'"n":"S3CRET"')], times=2, user="u", password="S3CRET2")
    finally:
        for name in ("elastic_transport.node", "elastic_transport.transport", "elastic_transport.node_pool", "urllib3"):
            logging.getLogger(name).removeHandler(caplog.handler)
    assert "S3CRET" not in caplog.text
    assert base64.b64encode(b"u:S3CRET2").decode() not in caplog.text


def test_output_closes_while_a_post_is_stalled():
    """Closing cuts what is in flight; the answer is an ordinary failure."""

    async def go(url):
        output = Elasticsearch(Elasticsearch.Config(hosts=[url]))
        await output.open()
        task = asyncio.create_task(output.post(Post(1, [BODY], 2, len(BODY))))
        while not server.seen:
            await asyncio.sleep(0.01)
        await output.close()
        return await task

    with Server() as server:
        server.script.append(Behaviour("stall"))
        assert isinstance(asyncio.run(go(server.url)), Failed)


def test_output_ends_its_thread_when_a_post_is_cancelled():
    """A cancelled post leaves no thread behind that the process would wait for."""

    async def go(url):
        output = Elasticsearch(Elasticsearch.Config(hosts=[url]))
        await output.open()
        task = asyncio.create_task(output.post(Post(1, [BODY], 2, len(BODY))))
        while not server.seen:
            await asyncio.sleep(0.01)
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("elasticsearch")]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await output.close()
        return threads

    with Server() as server:
        server.script.append(Behaviour("stall"))
        threads = asyncio.run(go(server.url))
        for thread in threads:
            thread.join(10)
        assert [False] == [thread.is_alive() for thread in threads]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"hosts": []}, "hosts"),
        ({"hosts": ["ftp://x"]}, "hosts[0]"),
        ({"hosts": ["http://"]}, "hosts[0]"),
        ({"hosts": ["http://a:99999"]}, "hosts[0]"),
        ({"hosts": ["http://a:9200", "http://a:9200/"]}, "hosts"),
        ({"hosts": ["a"], "user": "u"}, "user"),
        ({"hosts": ["a"], "password": "p"}, "password"),
        ({"hosts": ["a"], "user": "u", "password": "p", "api_key": "k"}, "api_key"),
        ({"hosts": ["a"], "client_key": "k"}, "client_key"),
        ({"hosts": ["a"], "posts": 0}, "posts"),
        ({"hosts": ["a"], "timeout": 0.0}, "timeout"),
        ({"hosts": ["a"], "proxy": "socks5://x"}, "proxy"),
    ],
)
def test_output_refuses_settings_that_cannot_work(settings, field):
    """With the name of the setting, for the loader to point at."""
    with pytest.raises(ComponentError) as caught:
        Elasticsearch(Elasticsearch.Config(**settings))
    assert field == caught.value.field


def test_output_never_shows_credentials():
    """Neither in its name, nor in what it refuses, nor in its settings' repr."""
    config = Elasticsearch.Config(hosts=["https://u:S3CRET@b.example/x/", "http://a.example"], user="me", password="S3CRET")
    output = Elasticsearch(config)
    assert "http://a.example:9200,https://b.example:443/x" == output.destination
    assert "S3CRET" not in repr(config)
    with pytest.raises(ComponentError) as caught:
        Elasticsearch(Elasticsearch.Config(hosts=["ftp://u:S3CRET@x"]))
    assert "S3CRET" not in str(caught.value)


def test_config_is_converted_from_what_yaml_gives():
    """Sizes, durations and paths as the user writes them."""
    written = {"hosts": ["http://a:9200"], "timeout": "5s", "in_flight": "1MiB", "ca_file": "ca.pem", "compression": "none"}
    config = msgspec.convert(written, Elasticsearch.Config, dec_hook=convert_scalar)
    assert (5.0, 1 << 20, "ca.pem", "none") == (config.timeout, config.in_flight, config.ca_file, config.compression)
    assert 1 << 20 == Elasticsearch(config).courier_settings().in_flight_bytes_max


def test_importing_and_opening_leaves_the_heavy_packages_out():
    """Neither the module nor `open()` loads aiohttp, requests or httpx; the module alone not even elastic_transport."""
    program = (
        "import asyncio, sys; from shipper.edge.output.elasticsearch import Elasticsearch\n"
        "output = Elasticsearch(Elasticsearch.Config(hosts=['http://a']))\n"
        "print('elastic_transport' in sys.modules)\n"
        "asyncio.run(output.open())\n"
        "print([name for name in ('aiohttp', 'requests', 'httpx') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ["False", "[]"] == done.stdout.splitlines()


def test_output_and_courier_deliver_through_a_bad_day():
    """End to end: cuts, HTML, 429, a mapping conflict; everything arrives once, the bad document has its letter."""
    keys = [f"{n}" for n in range(40)]

    def document(key):
        value = '"x"' if key == "7" else key
        return f'{{"create":{{"_index":"logs","_id":"{key}"}}}}\n{{"n":{value}}}\n'.encode()

    async def go(url):
        output = Elasticsearch(Elasticsearch.Config(hosts=[url], posts=2))
        await output.open()
        courier = Courier(output.courier_settings(), lambda: 0.01)
        settled, letters, tasks = [], [], set()

        def act(commands):
            for command in commands:
                match command:
                    case Post():
                        tasks.add(asyncio.create_task(output.post(command)))
                    case Bury():
                        letters.extend(command.letters)
                        act(courier.handle(Buried(command.burial_id), time.monotonic()))
                    case Settle():
                        settled.extend((row, command.verdict) for row in command.rows)
                    case Note():
                        pass

        for n in range(0, 40, 8):
            body = b"".join(map(document, keys[n : n + 8]))
            act(courier.handle(Queued(Payload(n, body, 8, list(range(n, n + 8)), {"logs": 8})), time.monotonic()))
        while not courier.idle:
            if tasks:
                done, _ = await asyncio.wait(tasks, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    tasks.discard(task)
                    act(courier.handle(task.result(), time.monotonic()))
            await asyncio.sleep(0.001)
            act(courier.expire(time.monotonic()))
        await output.close()
        return settled, letters

    with Server(ModelElastic(numbers=frozenset({"n"}))) as server:
        server.script += [
            Behaviour(kind) for kind in ("cut_after_apply", "html", "429", "half", "empty", "half_reply", "wrong_count")
        ]
        settled, letters = asyncio.run(go(server.url))
    assert list(range(40)) == sorted(row for row, _ in settled)
    assert {("logs", key) for key in keys if key != "7"} == set(server.model.documents)
    assert ["7"] == [letter.id for letter in letters]
    assert [(7, verdicts.DEAD)] == [pair for pair in settled if pair[1] == verdicts.DEAD]
    assert server.model.statuses[409] > 0


def test_sink_answers_one_item_a_document():
    """The benchmark's sink: real per-item JSON, gzip or not, counts at the end."""
    sink = subprocess.Popen(
        [sys.executable, "-m", "tests.kit.fake_elastic"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    url = f"http://127.0.0.1:{int(sink.stdout.readline())}"
    plain, packed = (post(url, times=3, compression=kind) for kind in ("none", "gzip"))
    out, _ = sink.communicate(timeout=10)
    assert {b'{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}'} == {
        answer.body for answer in plain + packed
    }
    assert (6, 12) == (json.loads(out)["requests"], json.loads(out)["documents"])
