"""The seeded workload of the benchmark: records of one shape, with secrets in known shares and addresses as the web has them.

RULES
- Same seed, same bytes; a shorter workload is a prefix of a longer one.
- Lines of 430 to 510 bytes with their newline, ASCII, valid JSON, fields in a fixed order; `seq` counts from 1.
- Times ascend within 2026-02-05, 1 ms apart on average, from 08:00 UTC on.
- Addresses follow Zipf's law (exponent 1) over 20,000; three of five ranks resolve in MaxMind's City test database, one lies in
  a network that it does not know, one is private.
- 6 % are ERROR or CRITICAL, two of three have `duration_ms`. At most one secret a record: 2 % an e-mail address, 1 % a card
  number (Luhn holds) and 0.5 % a bearer token in the message, 1 % a `password` field.
"""

from __future__ import annotations

import ipaddress
import random
import sys
from collections.abc import Iterator
from itertools import accumulate, cycle, islice, zip_longest
from pathlib import Path

import maxminddb

LENGTHS = (430, 510)
SHARES = {"email": 0.02, "password": 0.01, "card": 0.01, "bearer": 0.005}
ERRORS = 0.06
ADDRESSES = 20_000
DAY = "2026-02-05"
FIRST_MS = 8 * 3_600_000
CHUNK = 8192
"""Records drawn at a time, always whole, so that a shorter workload is a prefix."""
LEVELS = {"DEBUG": 0.08, "INFO": 0.74, "WARNING": 0.12, "ERROR": 0.05, "CRITICAL": 0.01}
SERVICES = ("api", "worker", "scheduler", "billing", "search", "mailer", "gateway", "reports")
LOGGERS = ("app.jobs", "app.http", "app.db.pool", "app.cache", "app.auth.session", "app.billing.invoice", "app.queue")
PHRASES = (
    "Workflow executed successfully",
    "Request finished",
    "Cache entry expired and was rebuilt",
    "Upstream answered late, retried",
    "Job taken from the queue",
    "Invoice rendered",
    "Connection returned to the pool",
    "Session renewed",
    "Search index refreshed",
)
FILLER = (
    " after two retries on step fetch while the previous run was still waiting for its lease to be given back by the other worker,"
    " which had finished its part of the batch and reported the number of rows that it had read, written and left as they were"
)
PATHS = ("/api/v1/reports/", "/api/v1/orders/", "/api/v2/users/", "/internal/jobs/", "/api/v1/search/")
METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE")
STATUSES = (200, 200, 200, 200, 201, 204, 301, 400, 404, 500, 503)
NAMES = ("anna.kramer", "j.okafor", "lee", "maria-lopez", "support", "tom_field", "yuki.sato")
HOSTS = ("example.com", "example.org", "mail.example.net", "shop.example.co.uk")
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def records(seed: int, count: int, city: Path) -> Iterator[bytes]:
    """Yield `count` lines, each with its newline. `city` is the mmdb in which addresses are to resolve."""
    rng = random.Random(seed)
    addresses = population(rng, city)
    weights = list(accumulate(1 / rank for rank in range(1, len(addresses) + 1)))
    lines = _lines(rng, addresses, weights)
    return islice(lines, count)


def written(directory: Path, seed: int, count: int, city: Path) -> Path:
    """The workload as a file in `directory`, made when it is not there yet. `directory` gets a `.gitignore` of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".gitignore").write_text("*\n")
    path = directory / f"workload-{seed}-{count}.ndjson"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb", buffering=1 << 20) as file:
            file.writelines(records(seed, count, city))
        unfinished.rename(path)
    return path


def population(rng: random.Random, city: Path) -> list[str]:
    """The addresses by rank: of every five three known to the database, one unknown, one private."""
    known, unknown, private = _known(rng, city), _unknown(rng, city), _private(rng)
    turn = cycle((known, known, unknown, known, private))
    return [next(next(turn)) for _ in range(ADDRESSES)]


def _known(rng: random.Random, city: Path) -> Iterator[str]:
    """All addresses of the database's IPv4 networks, each once, the networks in turns as long as they last."""
    with maxminddb.open_database(city) as reader:
        networks = [network for network, _ in reader if network.version == 4 and network.num_addresses <= 1 << 16]
    shuffled = [rng.sample(range(network.num_addresses), network.num_addresses) for network in networks]
    for places in zip_longest(*shuffled):
        yield from (str(network[place]) for network, place in zip(networks, places, strict=True) if place is not None)


def _unknown(rng: random.Random, city: Path) -> Iterator[str]:
    """Public addresses that the database has nothing about."""
    with maxminddb.open_database(city) as reader:
        while True:
            address = ipaddress.IPv4Address(rng.randrange(0x01000000, 0xDF000000))
            if address.is_global and reader.get(address) is None:
                yield str(address)


def _private(rng: random.Random) -> Iterator[str]:
    while True:
        yield f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def _lines(rng: random.Random, addresses: list[str], weights: list[float]) -> Iterator[bytes]:
    now_ms, seq = FIRST_MS, 0
    levels, level_weights = list(LEVELS), list(LEVELS.values())
    while True:
        chunk = zip(
            rng.choices(addresses, cum_weights=weights, k=CHUNK),
            rng.choices(levels, level_weights, k=CHUNK),
            rng.choices(SERVICES, k=CHUNK),
            rng.choices(LOGGERS, k=CHUNK),
            rng.choices((0, 1, 2), k=CHUNK),
            strict=True,
        )
        for address, level, service, logger, step in chunk:
            now_ms += step
            seq += 1
            head = f'{{"timestamp":"{_stamp(now_ms)}","level":"{level}","logger":"{logger}","service":"{service}"'
            yield _line(rng, f'{head},"environment":"production","version":"2.14.3","seq":{seq},"message":"', address)


def _line(rng: random.Random, head: str, address: str) -> bytes:
    random_, bits = rng.random, rng.getrandbits
    in_message, password = _secret(rng, random_())
    message = f"{PHRASES[int(random_() * len(PHRASES))]} #{bits(30)} trace of shard {bits(5)}{in_message}"
    tail = (
        f'","request_id":"req_{bits(64):016x}","trace_id":"{bits(128):032x}","user_id":"u-{bits(16)}","client_ip":"{address}",'
        f'"method":"{METHODS[int(random_() * 6)]}","path":"{PATHS[int(random_() * 5)]}{bits(12)}",'
        f'"status_code":{STATUSES[int(random_() * 11)]}{password}'
    )
    if random_() < 2 / 3:
        tail += f',"duration_ms":{round(random_() ** 3 * 900, 1)}'
    length = len(head) + len(message) + len(tail) + 2
    missing = LENGTHS[0] + int(random_() * (LENGTHS[1] - LENGTHS[0] + 1)) - length
    return f"{head}{message}{FILLER[: max(0, missing)]}{tail}}}\n".encode()


def _secret(rng: random.Random, drawn: float) -> tuple[str, str]:
    """What a record carries: (text for its message, a further field). `drawn` in [0, 1) decides."""
    if drawn >= sum(SHARES.values()):
        return "", ""
    if drawn < 0.02:
        return f" for {rng.choice(NAMES)}{rng.randrange(1000)}@{rng.choice(HOSTS)}", ""
    if drawn < 0.03:
        return "", f',"password":"{_token(rng, 12)}"'
    if drawn < 0.04:
        return f" card {card(rng)}", ""
    return f" with Bearer {_token(rng, 32)}", ""


def card(rng: random.Random) -> str:
    """A card number of 16 digits whose Luhn sum holds, plain or in groups of four."""
    digits = [4 if rng.random() < 0.6 else 5, rng.randrange(1, 6), *(rng.randrange(10) for _ in range(13))]
    total = sum(digit if place % 2 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(digits))
    text = "".join(map(str, [*digits, -total % 10]))
    return rng.choice(("", " ", "-")).join(text[at : at + 4] for at in range(0, 16, 4))


def _token(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(BASE62, k=length))


def _stamp(now_ms: int) -> str:
    seconds, ms = divmod(now_ms, 1000)
    return f"{DAY}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}Z"


if __name__ == "__main__":
    sys.stdout.buffer.writelines(records(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
