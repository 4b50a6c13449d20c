r"""klog: what Kubernetes' own programs write, and programs with Google's glog.

RULES
- A line is `Lmmdd hh:mm:ss.uuuuuu threadid file:line] text` (klog and glog, "Log line format"), `L` being I, W, E or F; glog may
  write the year before the month. Its time has no zone, and mostly no year: it takes the one nearest to the record before it.
- What is structured (`"text" key="value"`) stays in `message` as it stands.
- Other lines are refused: they have no header.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from shipper.config.fields import ComponentConfig
from shipper.decode.layout import Lines, Member, Parsed, TextDecoder
from shipper.decode.timestamp import Timeline
from shipper.model.localtime import Timezone  # noqa: TC001  msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEVELS = {b"I": b"INFO", b"W": b"WARNING", b"E": b"ERROR", b"F": b"FATAL", b"": b""}
_LINE = re.compile(
    rb"^(?:([IWEF])((?:\d{4}){1,2} \d\d:\d\d:\d\d\.\d{1,9}+) ++(0|[1-9]\d{0,17}+) ([^\n :\]]++):(0|[1-9]\d{0,8}+)\](?: (.*+)|$)|.*+)",
    re.MULTILINE,
)
_LAYOUTS = ("%m%d %H:%M:%S.%f", "%Y%m%d %H:%M:%S.%f")


class Klog(TextDecoder):
    """Lines of klog and glog, `I0205 14:30:45.123456       1 file.go:42] text`, with ECS names.

    They become `message`, `log.level` (`INFO`, `WARNING`, `ERROR`, `FATAL`), `process.thread.id`, `log.origin.file.name` and
    `log.origin.file.line`. The year, which klog does not write, is the one nearest to the record before.
    """

    class Config(ComponentConfig):
        """Settings of klog."""

        zone: Timezone | None = None
        """Zone of the times, such as `Europe/Berlin`: klog writes local time. Containers mostly have UTC.
        Left out: that of the pipeline's `timestamp`, or UTC."""
        fold: Literal["auto", "first", "second"] = "auto"
        """Which is meant by a time that comes twice, as the clock goes back; see `timestamp`."""

    members = (
        Member("message"),
        Member("log.level", "word"),
        Member("process.thread.id", "number"),
        Member("log.origin.file.name"),
        Member("log.origin.file.line", "number"),
    )

    begins = re.compile(rb"\n[IWEF]\d{4}")
    refusal = "no klog header"

    def __init__(self, config: Config, reads: Sequence[str], adds: Sequence[str], spare: Sequence[str] = ()) -> None:
        """See `decoder.py` for the arguments."""
        super().__init__(config, reads, adds, spare)
        self.timeline = Timeline(_LAYOUTS, config.zone or "UTC", config.fold)

    def parse(self, lines: Sequence[bytes]) -> Parsed:
        """Find the parts of all lines at once."""
        found = _LINE.findall(Lines.of(lines).text[:-1]) if lines else []
        letters, times, threads, files, numbers, texts = zip(*found, strict=True) if found else ((),) * 6
        columns = {
            "message": texts,
            "log.level": list(map(_LEVELS.__getitem__, letters)),
            "process.thread.id": threads,
            "log.origin.file.name": files,
            "log.origin.file.line": numbers,
            "@timestamp": times,
        }
        refused = dict.fromkeys((row for row, letter in enumerate(letters) if not letter), self.refusal) if b"" in letters else {}
        return Parsed(columns, refused)
