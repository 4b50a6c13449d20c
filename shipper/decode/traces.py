r"""Traces: what the further lines of a record say when they are a Python traceback, for the formats of Python's logs.

FORMAT (the standard library's `traceback`, also as `rich` draws it)
    Traceback (most recent call last):
      File "jobs.py", line 88, in run
        raise JobError(job.id)
    app.errors.JobError: 4711
    and of its message, lines more
- Of several traces (`During handling of the above exception …`) the last one is what was raised in the end.
- A stack (`Stack (most recent call last):`) is kept like a trace, but nothing was raised.
"""

from __future__ import annotations

import re

_BEGIN = re.compile(rb"^.*?(?:Traceback|Stack) \(most recent call last\)", re.MULTILINE)
_FRAMES = re.compile(rb'^[ |+]*File ".*", line \d+.*\n(?:[ |]+.*\n)*+', re.MULTILINE)
_RAISED = re.compile(rb"[ |+]*([A-Za-z_][\w.<>]{0,200})(?:: (.*))?", re.DOTALL)
_LAST_LINE = re.compile(rb"^[ |+]*[A-Za-z_][\w.]{0,200}: .*\Z", re.MULTILINE)


def traced(text: bytes) -> dict[str, bytes]:
    """The members that some lines fill: `error.stack_trace`, `error.type`, `error.message`; `message` has what stands before them."""
    begin = _BEGIN.search(text)
    if begin is None:
        return {"message": text}
    before, trace = text[: begin.start()].rstrip(b"\n"), text[begin.start() :]
    found = {"error.stack_trace": trace, **raised(trace)}
    return {"message": before, **found} if before else found


def raised(trace: bytes) -> dict[str, bytes]:
    """Type and message of the exception that a trace ends with; nothing where none is told."""
    frames = list(_FRAMES.finditer(trace))
    last = _LAST_LINE.search(trace) if not frames else None
    said = trace[frames[-1].end() :] if frames else last[0] if last is not None else b""
    parts = _RAISED.fullmatch(said.rstrip())
    if parts is None:
        return {}
    return {"error.type": parts[1], "error.message": (parts[2] or b"").strip()}
