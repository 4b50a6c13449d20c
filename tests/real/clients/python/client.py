"""Sends records with fluent-logger as its options say, and prints how many were accepted. It knows no acknowledgement."""

from __future__ import annotations

import json
import sys

from fluent.sender import FluentSender


def main(count: int, options: dict[str, object]) -> None:
    """Send `count` records."""
    sender = FluentSender("python", **options)
    accepted = sum(
        sender.emit_with_time("app", 1_770_301_845.5, {"n": n, "text": "größer", "list": [1, None, True], "deep": {"x": 1.5}})
        for n in range(count)
    )
    errors = [str(sender.last_error)] if sender.last_error else []
    sender.close()
    print(json.dumps({"accepted": accepted, "errors": errors}))


main(**json.loads(sys.argv[1]))
