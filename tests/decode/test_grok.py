"""Grok: every pattern of the set, lines as their programs write them, and what a user may say."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shipper.config.time_layout import LayoutText
from shipper.decode.grok import Grok
from shipper.decode.grok_patterns import EXPANDED_MAX, Expander, the_set
from shipper.decode.pattern_paths import in_linear_time
from shipper.decode.timestamp import Timeline
from shipper.model.columns import Columns
from shipper.model.errors import ComponentError
from shipper.model.localtime import Timezone
from tests.decode.test_matcher import check
from tests.kit.records import PlainGate, batch_of
from tests.kit.site import ROOT

READS = ("message", "@timestamp")
FEBRUARY_2026 = 1_770_000_000


def made(match: str | list[str], **settings_: Any) -> Grok:
    """A decoder."""
    return Grok(Grok.Config(match=match, **settings_), READS, ("client.geo",))


def decode(decoder: Grok, lines: Sequence[str]) -> Columns:
    """The columns of a batch of these lines."""
    return decoder.decode(PlainGate({}).admit(batch_of([line.encode() for line in lines], 0)))


def document(decoder: Grok, line: str) -> dict[str, Any]:
    """The row of one line, and the time of it as `@timestamp`."""
    columns = decode(decoder, [line])
    assert columns.flags == {}
    found = json.loads(columns.rows[0] + b"}")
    assert isinstance(found, dict)
    if columns.column("@timestamp") != [None]:
        times = (decoder.timeline or Timeline()).read(columns.column("@timestamp"), FEBRUARY_2026)
        assert times.flags == {}
        found["@timestamp"] = times.stamps[0].decode()
    return found


def expression(written: str) -> str:
    """What is run for an expression."""
    return Expander({}).expression(written, "match").pattern


@pytest.mark.parametrize("name", sorted(the_set()))
def test_a_pattern_takes_its_example_as_a_whole(name: str) -> None:
    """And finds in it what RE2 alone finds, beside lines that it does not take."""
    like = the_set()[name].like
    decoder = made(f"^%{{{name}:x}}$")
    assert document(decoder, like)["x"] == like
    check(expression(f"^(?:%{{{name}:x}})$"), [like.encode(), b"", f"{like} ".encode(), b"\xc3\xbc", like.encode()[:-1]])


SLOW = {"MONGO_SLOWQUERY", "TOMCAT50_LOG", "TOMCATLOG"}
"""Patterns with several places that take any text."""


def test_patterns_are_run_at_once() -> None:
    """All but a few."""
    assert SLOW == {name for name in the_set() if in_linear_time(expression(f"^%{{{name}}}$"), ()) is None}


LINES = {
    "COMMONAPACHELOG": (
        '83.149.9.216 - jane [24/Feb/2026:23:13:42 +0100] "GET /presentations/kibana.png HTTP/1.1" 200 203023',
        {
            "@timestamp": "2026-02-24T22:13:42.000Z", "source.address": "83.149.9.216", "user.name": "jane", "http.request.method": "GET",
            "url.original": "/presentations/kibana.png", "http.version": "1.1", "http.response.status_code": 200, "http.response.body.bytes": 203023,
        },
    ),
    "COMBINEDAPACHELOG": (
        r'2001:db8::7 - - [05/Feb/2026:14:30:45 +0000] "\x16\x03" 400 - "-" "say \"hi\""',
        {"@timestamp": "2026-02-05T14:30:45.000Z", "source.address": "2001:db8::7", "http.response.status_code": 400, "user_agent.original": r'say \"hi\"'},
    ),
    "HTTPD_ERRORLOG": (
        "[Thu Feb 05 14:30:45.123456 2026] [proxy_http:error] [pid 17:tid 42] (111)Connection refused: [client 10.0.0.7:50022] AH01114: failed",
        {
            "@timestamp": "2026-02-05T14:30:45.123456Z", "apache.error.module": "proxy_http", "log.level": "error", "process.pid": 17, "process.thread.id": 42,
            "apache.error.proxy.error.code": "111", "apache.error.proxy.error.message": "Connection refused", "source.address": "10.0.0.7", "source.port": 50022,
            "error.code": "AH01114", "message": "failed",
        },
    ),
    "HTTPD20_ERRORLOG": (
        "[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok",
        {"@timestamp": "2005-12-04T04:47:44.000Z", "log.level": "notice", "message": "workerEnv.init() ok"},
    ),
    "SYSLOGLINE": (
        "Feb  5 14:30:45 web-1 postfix/smtpd[4242]: lost connection: ü",
        {"@timestamp": "2026-02-05T14:30:45.000Z", "host.hostname": "web-1", "process.name": "postfix/smtpd", "process.pid": 4242, "message": "lost connection: ü"},
    ),
    "SYSLOGLINE, ISO 8601": (
        "2026-02-05T14:30:45.123456+01:00 web-1 kernel: [    0.000000] Linux version",
        {"@timestamp": "2026-02-05T13:30:45.123456Z", "host.hostname": "web-1", "process.name": "kernel", "message": "[    0.000000] Linux version"},
    ),
    "SYSLOG5424LINE": (
        '<165>1 2026-02-05T14:30:45.003Z web-1.example.org evntslog - ID47 [a@1 iut="3"][b@1 x="]"] An event',
        {
            "@timestamp": "2026-02-05T14:30:45.003Z", "log.syslog.priority": 165, "system.syslog.version": "1", "host.hostname": "web-1.example.org",
            "process.name": "evntslog", "event.code": "ID47", "system.syslog.structured_data": '[a@1 iut="3"][b@1 x="]"]', "message": "An event",
        },
    ),
    "CRONLOG": (
        "Feb  5 14:30:01 web-1 CRON[17]: (root) CMD (test -x /usr/sbin/anacron || (cd / && run-parts))",
        {
            "@timestamp": "2026-02-05T14:30:01.000Z", "host.hostname": "web-1", "process.name": "CRON", "process.pid": 17, "user.name": "root",
            "system.cron.action": "CMD", "message": "test -x /usr/sbin/anacron || (cd / && run-parts)",
        },
    ),
    "SYSLOGPAMSESSION": (
        "Feb  5 14:30:45 web-1 sshd[17]: pam_unix(sshd:session): session opened for user jane by (uid=0)",
        {
            "@timestamp": "2026-02-05T14:30:45.000Z", "host.hostname": "web-1", "process.name": "sshd", "process.pid": 17, "system.auth.pam.module": "pam_unix",
            "system.auth.pam.origin": "sshd:session", "system.auth.pam.session_state": "opened", "user.name": "jane",
            "message": "pam_unix(sshd:session): session opened for user jane by (uid=0)",
        },
    ),
    "CATALINALOG": (
        "05-Feb-2026 14:30:45.123 INFO [main] org.apache.catalina.startup.Catalina.start Server startup in [42] ms",
        {
            "@timestamp": "2026-02-05T14:30:45.123Z", "log.level": "INFO", "java.log.origin.thread.name": "main",
            "java.log.origin.class.name": "org.apache.catalina.startup.Catalina", "log.origin.function": "start", "message": "Server startup in [42] ms",
        },
    ),
    "CATALINA7_LOG": (
        "Feb 5, 2026 2:30:45 PM org.apache.coyote.http11.Http11Protocol pause INFO: Pausing",
        {
            "@timestamp": "2026-02-05T14:30:45.000Z", "log.level": "INFO", "java.log.origin.class.name": "org.apache.coyote.http11.Http11Protocol",
            "log.origin.function": "pause", "message": "Pausing",
        },
    ),
    "JAVASTACKTRACEPART": (
        "\tat org.example.Main.run(Main.java:42)",
        {
            "java.log.origin.class.name": "org.example.Main", "log.origin.function": "run", "log.origin.file.name": "Main.java", "log.origin.file.line": 42,
        },
    ),
    "HAPROXYTCP": (
        "Feb  5 14:30:45 lb-1 haproxy[7]: 10.0.0.7:50022 [05/Feb/2026:14:30:45.123] pg postgres/db-1 0/-1/5007 212 -- 1/2/3/4/0 5/6",
        {
            "@timestamp": "2026-02-05T14:30:45.000Z", "host.hostname": "lb-1", "process.name": "haproxy", "process.pid": 7, "source.address": "10.0.0.7",
            "source.port": 50022, "haproxy.request_date": "05/Feb/2026:14:30:45.123", "haproxy.frontend_name": "pg", "haproxy.backend_name": "postgres",
            "haproxy.server_name": "db-1", "haproxy.total_waiting_time_ms": 0, "haproxy.total_time_ms": 5007, "source.bytes": 212,
            "haproxy.termination_state": "--", "haproxy.connections.active": 1, "haproxy.connections.frontend": 2, "haproxy.connections.backend": 3,
            "haproxy.connections.server": 4, "haproxy.connections.retries": 0, "haproxy.server_queue": 5, "haproxy.backend_queue": 6,
        },
    ),
    "SQUID3": (
        "1770301845.123   5006 10.0.0.7 TCP_MISS/200 8704 GET http://example.org/ - DIRECT/203.0.113.9 text/html",
        {
            "@timestamp": "2026-02-05T14:30:45.123Z", "squid.request.duration": 5006, "source.ip": "10.0.0.7", "squid.cache_result_code": "TCP_MISS", "http.response.status_code": 200,
            "http.response.body.bytes": 8704, "http.request.method": "GET", "url.original": "http://example.org/", "squid.hierarchy_code": "DIRECT",
            "destination.address": "203.0.113.9", "squid.request.content_type": "text/html",
        },
    ),
    "BIND9": (
        "05-Feb-2026 14:30:45.123 queries: info: client @0x7f64500113d0 10.0.0.7#50022 (example.org): query: example.org IN AAAA +E(0)K (10.0.0.2)",
        {
            "@timestamp": "2026-02-05T14:30:45.123Z", "log.level": "info", "client.ip": "10.0.0.7", "client.port": 50022, "bind.log.question.name": "example.org",
            "dns.question.name": "example.org", "dns.question.class": "IN", "dns.question.type": "AAAA", "bind.log.question.flags": "+E(0)K", "server.ip": "10.0.0.2",
        },
    ),
    "MONGO3_LOG": (
        "2026-02-05T14:30:45.123+0100 W -        [conn7] failed",
        {"@timestamp": "2026-02-05T13:30:45.123Z", "log.level": "W", "mongodb.component": "-", "mongodb.context": "conn7", "message": "failed"},
    ),
    "REDISLOG": (
        "[4242] 05 Feb 14:30:45.123 # Server started",
        {"@timestamp": "2026-02-05T14:30:45.123Z", "process.pid": 4242, "message": "Server started"},
    ),
    "RUBY_LOGGER": (
        "E, [2026-02-05T14:30:45.123456 #17] ERROR -- : no luck",
        {"@timestamp": "2026-02-05T14:30:45.123456Z", "process.pid": 17, "log.level": "ERROR", "message": "no luck"},
    ),
    "ELB_ACCESS_LOG": (
        '2026-02-05T14:30:45.945958Z my-elb 10.0.0.7:2817 - -1 -1 -1 503 0 0 0 "GET http://example.org:80/a?b=c HTTP/1.1" "curl/8.5" - -',
        {
            "@timestamp": "2026-02-05T14:30:45.945958Z", "aws.elb.name": "my-elb", "source.ip": "10.0.0.7", "source.port": 2817, "http.response.status_code": 503,
            "aws.elb.backend.http.response.status_code": 0, "http.request.body.bytes": 0, "http.response.body.bytes": 0, "http.request.method": "GET",
            "url.original": "http://example.org:80/a?b=c", "url.scheme": "http", "url.domain": "example.org", "url.port": 80, "url.path": "/a", "url.query": "b=c",
            "http.version": "1.1", "user_agent.original": "curl/8.5",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_a_line_becomes_fields(name: str) -> None:
    """As its program writes it: every field, with its type, and the time."""
    line, expected = LINES[name]
    assert document(made(f"^%{{{name.partition(',')[0]}}}$"), line) == {"message": line, **expected}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("IPV4", "256.1.1.1"), ("IPV4", "1.2.3"), ("IPV4", "1.2.3.4567"), ("IPV6", "14:30:45"), ("IPV6", "1:2:3:4:5:6:7"), ("IPV6", "12345::"), ("IPV6", "::1.2.3"),
        ("NUMBER", "1e5"), ("NUMBER", "."), ("INT", "1.5"), ("POSINT", "0"), ("UUID", "550e8400-e29b-41d4-a716"), ("HOSTNAME", "-a"), ("HOSTNAME", "a..b"),
        ("MONTHDAY", "32"), ("MONTHNUM", "13"), ("HOUR", "24"), ("MINUTE", "60"), ("SECOND", "61"), ("MONTH", "Febr"), ("LOGLEVEL", "LOUD"), ("MAC", "00:1a:2b"),
        ("QUOTEDSTRING", '"open'), ("URIPATH", "a/b"), ("TIMESTAMP_ISO8601", "2026-13-01 00:00:00"), ("HTTPDATE", "5.2.2026:14:30:45 +0100"), ("EMAILADDRESS", "a@"),
        ("SYSLOGTIMESTAMP", "2026 Feb 5"), ("COMMONAPACHELOG", '- - - [05/Feb/2026:14:30:45 +0100] "GET / HTTP/1.1" 200 1'), ("NOTDASH", "-"),
        ("NOTDASHQUOTED", 'a"b'),
    ],
)  # fmt: skip
def test_what_a_pattern_does_not_take_is_refused(name: str, text: str) -> None:
    """As a whole; in the midst of something a part of it may do."""
    assert decode(made(f"^%{{{name}:x}}$"), [text]).flags == {0: ("parse_error:no pattern matches",)}


@pytest.mark.parametrize(
    "text",
    ["::", "::1", "1::", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "fe80::1%eth0"],
)
def test_addresses_are_taken_in_all_their_forms(text: str) -> None:
    """RFC 4291, 2.2, and a zone (RFC 4007)."""
    assert document(made("^%{IP:a} x$"), f"{text} x")["a"] == text


def test_fields_are_written_with_dots_or_brackets_and_have_types() -> None:
    """And a piece of one's own may be one."""
    decoder = made(r"%{WORD:[a][b]} %{INT:n:int} %{NUMBER:f:float} %{WORD:yes:boolean} (?<own.piece>x+)(?P<q>\?)")
    found = document(decoder, "w 007 .5 TRUE xx?")
    assert found == {"message": "w 007 .5 TRUE xx?", "a.b": "w", "n": 7, "f": 0.5, "yes": True, "own.piece": "xx", "q": "?"}


def test_a_field_may_hold_a_pattern_that_has_fields() -> None:
    """Both are kept."""
    found = document(made("%{HAPROXYHTTPREQUESTLINE:request}"), "GET /a?b=c HTTP/1.1")
    assert (found["request"], found["url.original"], found["url.query"]) == ("GET /a?b=c HTTP/1.1", "/a?b=c", "b=c")


def test_patterns_of_ones_own_add_to_the_set_and_replace_some_of_it() -> None:
    """Atomic groups and possessive quantifiers are read as plain ones."""
    own = {"ORDER": r"ORD-(?>\d{6})", "WORD": r"[a-z]++\++", "BOTH": "%{ORDER:order} %{WORD:word}"}
    assert document(made("^%{BOTH}$", patterns=own), "ORD-123456 ab++") == {
        "message": "ORD-123456 ab++",
        "order": "ORD-123456",
        "word": "ab++",
    }


def test_expressions_are_tried_in_order() -> None:
    """The first that matches counts."""
    decoder = made(["^%{COMMONAPACHELOG}$", "^%{WORD:word}$", "%{GREEDYDATA:message}"])
    found = decode(decoder, ["word", LINES["COMMONAPACHELOG"][0], "any thing"])
    assert [json.loads(row + b"}").get("word") for row in found.rows] == ["word", None, None]
    assert found.flags == {}
    assert found.column("message") == ["word", LINES["COMMONAPACHELOG"][0], "any thing"]


def test_times_are_read_as_their_pattern_writes_them() -> None:
    """In the zone of the settings; with layouts of one's own those count, and ISO 8601 is left to the pipeline."""
    berlin = made("^%{SYSLOGTIMESTAMP:timestamp} ", zone=Timezone("Europe/Berlin"))
    assert document(berlin, "Feb  5 14:30:45 x")["@timestamp"] == "2026-02-05T13:30:45.000Z"
    own = made("^%{DATA:time} -", layouts=[LayoutText("%d.%m.%y")])
    assert document(own, "05.02.26 -")["@timestamp"] == "2026-02-05T00:00:00.000Z"
    assert made("^%{TIMESTAMP_ISO8601:timestamp}").timeline is None
    assert made("^%{WORD:timestamp}").timeline is None
    patterns = {"WHEN": "%{HTTPDATE}"}
    assert (
        document(made("^%{WHEN:ts}", patterns=patterns), "05/Feb/2026:14:30:45 +0100")["@timestamp"] == "2026-02-05T13:30:45.000Z"
    )


@pytest.mark.parametrize(
    ("settings_", "message", "field", "hint"),
    [
        ({"match": "%{COMMONAPACHLOG}"}, "there is no pattern `COMMONAPACHLOG`", "match", "did you mean `COMMONAPACHELOG`?"),
        ({"match": ["%{WORD:a}", "%{XYZZY:b}"]}, "there is no pattern `XYZZY`", "match.1", "add it to `patterns`"),
        ({"match": "%{WORD:a:itn}"}, "`%{WORD:a:itn}`: there is no type `itn`", "match", "did you mean `int`?"),
        ({"match": "%{WORD:a:x}"}, "`%{WORD:a:x}`: there is no type `x`", "match", "int, integer"),
        ({"match": "%{WORD"}, "`%{` begins no reference", "match", "%{NAME:field:int}"),
        ({"match": "%{WORD} x"}, "the expression keeps nothing", "match", "name what should be kept"),
        ({"match": []}, "there is no expression", "match", "COMBINEDAPACHELOG"),
        ({"match": "%{IPORHOST:host}"}, "documents have an object `host` from us", "match", "`%{NAME:host.hostname}`"),
        ({"match": "%{WORD:a b}"}, "`a b` is no name of a field", "match", "dots"),
        ({"match": "%{WORD:}"}, "`` is no name of a field", "match", "dots"),
        ({"match": "%{WORD:a} %{WORD:[a][b]}"}, "`a` is a value, and `a.b` makes it an object", "match", "another name"),
        ({"match": "(?<a>x)(?=y)"}, "look-around is not known to RE2", "match", "write without `(?=`"),
        ({"match": "(?<a>x)(?<!y)"}, "look-around is not known to RE2", "match", "write without `(?<!`"),
        ({"match": r"%{WORD:a}(x"}, "the pattern cannot be used: missing )", "match", "RE2"),
        (
            {"match": "%{A:x}", "patterns": {"A": "%{B}", "B": "a|%{A}"}},
            "the pattern `A` contains itself",
            "patterns.A",
            "A in B in A",
        ),
        ({"match": "%{WORD:x}", "patterns": {"A": "%{NOWHERE}"}}, "there is no pattern `NOWHERE`", "patterns.A", "add it"),
        (
            {"match": "%{A:x}", "patterns": {"A": "x" * EXPANDED_MAX + "y"}},
            f"the pattern is longer than {EXPANDED_MAX} characters",
            "patterns.A",
            "apart",
        ),
    ],
)
def test_what_cannot_work_is_refused(settings_: dict[str, Any], message: str, field: str, hint: str) -> None:
    """At the setting that is wrong, with what to do."""
    with pytest.raises(ComponentError) as caught:
        Grok(Grok.Config(**settings_), READS, ())
    assert caught.value.message.startswith(message)
    assert caught.value.field == field
    assert hint in caught.value.hint


def test_patterns_that_double_at_each_step_are_refused_before_they_are_large() -> None:
    """A few lines of settings cannot fill the memory."""
    own = {f"A{level}": f"%{{A{level + 1}}}" * 10 for level in range(30)} | {"A30": "x"}
    with pytest.raises(ComponentError, match="longer than"):
        made("%{A0:x}", patterns=own)


PUBLIC = {
    "Apache": "^%{HTTPD_ERRORLOG}$",
    "HDFS": r"^(?<timestamp>\d{6} \d{6}) %{NONNEGINT:process.thread.id:int} %{LOGLEVEL:log.level} %{JAVACLASS:log.logger}: %{GREEDYDATA:message}$",
    "Linux": "^%{SYSLOGLINE}$",
    "OpenSSH": "^%{SYSLOGLINE}$",
    "OpenStack": (
        r"^%{NOTSPACE:log.file.name} %{TIMESTAMP_ISO8601:timestamp} %{POSINT:process.pid:int} %{LOGLEVEL:log.level} %{NOTSPACE:log.logger}"
        r"(?: \[(?:-|%{DATA:trace.id})\])? %{GREEDYDATA:message}$"
    ),
}
SHARED = {
    "Apache": ("log.level", "message"),
    "HDFS": ("process.thread.id", "log.level", "log.logger", "message"),
    "Linux": ("host.hostname", "message"),
    "OpenSSH": ("host.hostname", "process.name", "process.pid", "message"),
    "OpenStack": ("process.pid", "log.level", "log.logger", "message"),
}
"""Fields that every line has."""


@pytest.mark.needs("$SHIPPER_PUBLIC_LOGS")
@pytest.mark.parametrize("name", PUBLIC)
def test_all_lines_of_public_logs_are_taken(name: str) -> None:
    """Real ones (Loghub), 2,000 each: none is kept as mere text, every field that all have is there, every time is read."""
    lines = (
        Path(os.environ["SHIPPER_PUBLIC_LOGS"], f"{name}_2k.log")
        .read_bytes()
        .decode()
        .replace("\r\n", "\n")
        .removesuffix("\n")
        .split("\n")
    )
    assert len(lines) == 2000
    decoder = made(PUBLIC[name], layouts=[LayoutText("%y%m%d %H%M%S")] if name == "HDFS" else [])
    columns = decode(decoder, lines)
    assert columns.flags == {}
    assert [field for field in SHARED[name] if None in columns.column(field)] == []
    assert (decoder.timeline or Timeline()).read(columns.column("@timestamp"), FEBRUARY_2026).flags == {}


def test_the_manual_has_every_pattern_with_its_example() -> None:
    """A table of the whole set, no more and no less."""
    rows = [line for line in (ROOT / "docs" / "patterns.md").read_text().splitlines() if line.startswith("| `")]
    shown = {name: known.like.replace("|", "\\|").replace("\t", "⇥") for name, known in the_set().items()}
    assert rows == [f"| `{name}` | ``{like}`` |" for name, like in shown.items()]
