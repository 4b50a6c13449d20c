"""What patterns of users cost, `regex` and `grok`: megabytes of lines a second and core, and the same by RE2 alone.

    python -m tests.bench.regexes [--lines 5000] [--rounds 9]

METHOD
- Lines are made here, as their programs write them: those of `asctime` in Python's logging, of syslog, of Apache in the combined form
  and in Catalina's, one of twenty with an umlaut. A round reads all lines of a form, in blocks as a source has them, into rows and one
  column; a form's number is the median of its rounds, by this process' CPU.
- `RE2 alone` is what patterns cost that are not proved to be harmless elsewhere (see `decode/pattern_paths.py`).
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

from shipper.decode.grok import Grok
from shipper.decode.regex import Regex

SEED = 20260205
BLOCK = 1 << 18
LEVELS = ("INFO", "INFO", "INFO", "WARNING", "ERROR")
WORDS = ("request", "of", "user", "took", "longer", "than", "the", "limit", "retry", "in", "connection", "to", "db-1", "closed")
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "curl/8.5.0",
    "-",
)
FORMS: dict[str, Any] = {
    "regex, asctime": Regex.Config(patterns=r"^(?P<time>\S+ \S+) - (?P<logger>\S+) - (?P<level>[A-Z]+) - (?P<message>.*)$"),
    "regex, syslog": Regex.Config(
        patterns=r"^(?P<timestamp>\w{3} +\d+ \S+) (?P<host__hostname>\S+) (?P<process__name>[^\[: ]+)(?:\[(?P<pid>\d+)\])?: (?P<message>.*)$",
        types={"pid": "integer"},
    ),
    "regex, combined": Regex.Config(
        patterns=r'^(?P<ip>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<verb>\w+) (?P<path>\S+) [^"]*" (?P<status>\d+) (?P<bytes>\d+|-) '
        r'"(?P<referrer>[^"]*)" "(?P<message>[^"]*)"$',
        types={"status": "integer"},
    ),
    "regex, two .*": Regex.Config(patterns=r"^(?P<time>.*) - (?P<logger>.*) - (?P<level>.*) - (?P<message>.*)$"),
    "grok, syslog": Grok.Config(match="^%{SYSLOGLINE}$"),
    "grok, combined": Grok.Config(match="^%{COMBINEDAPACHELOG}$"),
    "grok, catalina": Grok.Config(match="^%{CATALINALOG}$"),
}


def text(rng: random.Random) -> str:
    """What a program has to say."""
    return " ".join(rng.choices(WORDS, k=rng.randint(4, 12))) + (
        " für Jürgen" if rng.random() < 0.05 else f" {rng.randrange(10**6)}"
    )


def line(name: str, rng: random.Random) -> str:
    """A line of a form."""
    clock = f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"
    if name.endswith("syslog"):
        return f"Feb  5 {clock} web-{rng.randrange(9)} app[{rng.randrange(1, 9999)}]: {text(rng)}"
    if name.endswith("catalina"):
        return (
            f"05-Feb-2026 {clock}.{rng.randrange(1000):03} INFO [http-nio-{rng.randrange(9)}] org.example.Service.run {text(rng)}"
        )
    if name.endswith("combined"):
        address = ".".join(str(rng.randrange(1, 255)) for _ in range(4))
        request = f"GET /api/v1/users/{rng.randrange(10**6)}?page={rng.randrange(99)} HTTP/1.1"
        return f'{address} - - [05/Feb/2026:{clock} +0100] "{request}" 200 {rng.randrange(10**5)} "-" "{rng.choice(AGENTS)}"'
    return f"2026-02-05 {clock},{rng.randrange(1000):03} - app.jobs - {rng.choice(LEVELS)} - {text(rng)}"


def blocks(lines: Sequence[bytes]) -> list[list[bytes]]:
    """The lines as a source gives them."""
    found: list[list[bytes]] = [[]]
    size = 0
    for one in lines:
        size += len(one) + 1
        if size > BLOCK:
            found.append([])
            size = len(one) + 1
        found[-1].append(one)
    return found


def cost(decoder: Any, parts: Sequence[list[bytes]], rounds: int) -> float:
    """Median of seconds to read all blocks."""
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        for part in parts:
            reading = decoder.read(part)
            assert not reading.refused
            assert len(reading.fields["message"]) == len(part)
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    print(f"{'form':18}{'MB/s':>8}{'us a line':>12}{'RE2 alone, MB/s':>18}{'bytes a line':>15}")
    for name, config in FORMS.items():
        rng = random.Random(SEED)
        lines = [line(name, rng).encode() for _ in range(asked.lines)]
        size, parts = sum(map(len, lines)) + len(lines), blocks(lines)
        decoder = (Grok if name.startswith("grok") else Regex)(config, ("message",), ())
        quick = cost(decoder, parts, asked.rounds)
        for matcher, _ in decoder._matchers:
            matcher._quick = None
        alone = cost(decoder, parts, asked.rounds)
        print(
            f"{name:18}{size / quick / 1e6:8.0f}{quick / len(lines) * 1e6:12.2f}{size / alone / 1e6:18.0f}{size / len(lines):15.0f}"
        )


if __name__ == "__main__":
    main()
