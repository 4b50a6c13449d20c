"""Public logs of real systems (Loghub): every line decodes with the pipeline that fits, and a few are checked by hand.

The logs are not the project's to give: SHIPPER_PUBLIC_LOGS names a directory with them, else these tests are left out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.kit.site import ROOT, bulk_documents, shipper

pytestmark = pytest.mark.needs("$SHIPPER_PUBLIC_LOGS")

LINES = 2000
HDFS = r"""
name: hdfs
sources:
  - type: file
    include: [FILE]
    decode:
      regex:
        patterns: '^(?P<stamp>\d{6} \d{6}) (?P<process__thread__id>\d+) (?P<log__level>[A-Z]+) (?P<log__logger>[^ ]+): (?P<message>.*)$'
        fields: {stamp: "@timestamp"}
        types: {process.thread.id: integer}
        layouts: ["%y%m%d %H%M%S"]
"""
OPENSTACK = r"""
name: openstack
sources:
  - type: file
    include: [FILE]
    decode:
      regex:
        patterns:
          - '^(?P<file>[^ ]+) (?P<stamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (?P<process__pid>\d+) (?P<log__level>[A-Z]+) (?P<log__logger>[^ ]+) \[(?P<request>[^\]]+)\] (?P<message>.*)$'
          - '^(?P<file>[^ ]+) (?P<stamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (?P<process__pid>\d+) (?P<log__level>[A-Z]+) (?P<log__logger>[^ ]+) (?P<message>.*)$'
        fields: {stamp: "@timestamp", file: openstack.file, request: openstack.request}
        types: {process.pid: integer}
"""
OWN = {"HDFS": HDFS, "OpenStack": OPENSTACK}
READY = {"Apache": "apache", "Linux": "syslog", "OpenSSH": "syslog"}
EXPECTED: dict[str, dict[int, dict[str, Any]]] = {
    "Apache": {
        1: {
            "log.level": "notice",
            "message": "workerEnv.init() ok /etc/httpd/conf/workers2.properties",
            "@timestamp": "2005-12-04T04:47:44.000Z",
        },
        2000: {
            "log.level": "error",
            "message": "mod_jk child workerEnv in error state 6",
            "@timestamp": "2005-12-05T19:15:57.000Z",
        },
    },
    "HDFS": {
        1: {
            "@timestamp": "2008-11-09T20:36:15.000Z",
            "process.thread.id": 148,
            "log.level": "INFO",
            "log.logger": "dfs.DataNode$PacketResponder",
            "message": "PacketResponder 1 for block blk_38865049064139660 terminating",
        },
        700: {"log.level": "WARN", "log.logger": "dfs.DataNode$DataXceiver", "process.thread.id": 12034},
    },
    "Linux": {
        1: {
            "process.name": "sshd(pam_unix)",
            "process.pid": 19939,
            "host.hostname": "combo",
            "message": "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=218.188.2.4 ",
        },
        2000: {"process.name": "kernel", "message": "Linux agpgart interface v0.100 (c) Dave Jones"},
    },
    "OpenSSH": {
        700: {"process.name": "sshd", "process.pid": 24593, "host.hostname": "LabSZ"},
        2000: {
            "process.pid": 25539,
            "message": "Failed password for invalid user user from 103.99.0.122 port 52683 ssh2",
        },
    },
    "OpenStack": {
        1: {
            "@timestamp": "2017-05-16T00:00:00.008Z",
            "process.pid": 25746,
            "log.level": "INFO",
            "log.logger": "nova.osapi_compute.wsgi.server",
            "openstack.file": "nova-api.log.1.2017-05-16_13:53:08",
        },
        1500: {
            "log.logger": "nova.virt.libvirt.driver",
            "openstack.request": "-",
            "message": "[instance: a015cf14-84bb-4156-a48d-7c4824ac7a9d] Instance spawned successfully.",
        },
    },
}


def delivered(name: str, place: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All documents of a log in the order of its lines, and the account."""
    log = Path(os.environ["SHIPPER_PUBLIC_LOGS"], f"{name}_2k.log").resolve()
    env = {"SHIPPER_STATE": str(place / "state")}
    if name in OWN:
        pipeline = place / "pipeline.yaml"
        pipeline.write_text(OWN[name].replace("FILE", str(log)))
    else:
        pipeline = place / f"{READY[name]}.yaml"
        text = (ROOT / "pipelines" / pipeline.name).read_text()
        folder, file = (place / "logs"), {"apache": "error.log", "syslog": "syslog"}[READY[name]]
        folder.mkdir()
        (folder / file).write_bytes(log.read_bytes())
        env |= {"APACHE_LOGS": str(folder), "SYSLOG_FILES": str(folder)}
        pipeline.write_text(text)
    told = shipper("run", "--once", "--json", "--output", f"local:{place}/out", pipeline, env=env)
    assert told.code == 0, told.err[-2000:]
    found = [document for path in (place / "out").glob("*.ndjson") for _, _, document in bulk_documents(path.read_bytes())]
    return sorted(found, key=lambda document: document["log"]["offset"]), told.account


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_line_of_a_public_log_decodes(name: str, tmp_path: Path) -> None:
    """2,000 lines, none refused; the rows that were read by hand say what they say."""
    documents, account = delivered(name, tmp_path)
    assert len(documents) == LINES
    assert account["flagged"].get("parse_error", 0) == 0
    for number, wanted in EXPECTED[name].items():
        found = documents[number - 1]
        assert {field: found.get(field) for field in wanted} == wanted, number


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_nothing_in_a_public_log_is_taken_for_a_secret(name: str, tmp_path: Path) -> None:
    """No card, IBAN, phone number or token is in them."""
    assert delivered(name, tmp_path)[1]["masked"].keys() <= {"email"}
