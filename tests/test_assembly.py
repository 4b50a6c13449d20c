"""Assembly: what one section of a pipeline says to the parts of another."""

from __future__ import annotations

import os
from typing import Any

import pytest

from shipper import assembly, rehearsal
from tests.kit.site import Site

ASCTIME, SYSLOG = "2026-02-05 14:30:45,000 - app - INFO - ready", "Feb  5 14:30:45 web sshd[1]: ready"
LAYOUTS = ["%Y-%m-%d %H:%M:%S"]
CLOCK = r"^(?P<timestamp>\d+-\d+-\d+ \d+:\d+:\d+),\d+"


@pytest.mark.parametrize(
    ("decode", "stamps", "line", "hour"),
    [
        pytest.param("asctime", {}, ASCTIME, 14, id="UTC where nobody says a zone"),
        pytest.param("asctime", {"zone": "Europe/Berlin"}, ASCTIME, 13, id="the pipeline's"),
        pytest.param({"asctime": {"zone": "Asia/Tokyo"}}, {"zone": "Europe/Berlin"}, ASCTIME, 5, id="the decoder's own first"),
        pytest.param({"asctime": {"zone": "UTC"}}, {"zone": "Europe/Berlin"}, ASCTIME, 14, id="also where that is UTC"),
        pytest.param({"auto": ["json", "syslog", "asctime"]}, {"zone": "Europe/Berlin"}, SYSLOG, 13, id="in auto"),
        pytest.param("asctime", {"zone": "Europe/Berlin", "layouts": ["unix"]}, ASCTIME, 13, id="layouts are the format's"),
        pytest.param({"regex": {"patterns": CLOCK}}, {"zone": "Europe/Berlin", "layouts": LAYOUTS}, ASCTIME, 13, id="no layouts"),
        pytest.param(
            {"regex": {"patterns": CLOCK, "layouts": LAYOUTS}},
            {"zone": "Europe/Berlin", "layouts": ["unix"]},
            ASCTIME,
            13,
            id="layouts and no zone",
        ),
    ],
)
def test_times_are_in_the_zone_of_the_pipeline_where_the_decoder_says_none(
    site: Site, decode: Any, stamps: Any, line: str, hour: int
) -> None:
    """Whoever says `timestamp: {zone: Europe/Berlin}` means all times of the pipeline, in whatever format they stand."""
    before = '{"timestamp":"2026-02-05T00:00:00Z"}'
    sources = [{"type": "file", "include": ["/var/log/app.log"], "decode": decode}]
    expect = [{"fields": {"host.name": "rehearsal"}}, {"fields": {"@timestamp": f"2026-02-05T{hour:02}:30:45.000Z"}}]
    test = {"name": "t", "given": [before, line], "expect": expect}
    config = site.configure(sources=sources, timestamp=stamps, tests=[test])
    [result] = rehearsal.run_tests(assembly.read_pipeline(str(config), os.environ), os.environ)
    assert result.problems == []
