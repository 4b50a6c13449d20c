"""Gather negatives from real files of this machine: `python -m tests.corpus.gather` writes negatives/real.ndjson anew.

It was run once; what it wrote is reviewed and committed. Elsewhere it gathers other lines, so no test runs it. Lines that hold what the
README calls an address, a secret under its name or a number of a person are left out here, by patterns of its own.
"""

from __future__ import annotations

import gzip
import re
import sysconfig
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.corpus.forms import Entry
from tests.corpus.make import HERE, REAL, SEED, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 240
_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
_SITE = Path(sysconfig.get_paths()["purelib"])
_SHARE = Path("/usr/share")
_NAMES = "pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|cookie|auth(?:orization)?|credentials?|otp|pin"
_LEFT_OUT = re.compile(
    r"[^\s@]@[^\s@]+\.[^\s@]"  # an address
    rf"|(?i:\b[\w.-]*(?:{_NAMES})\w*[\"']?\s*(?::=|=>|[:=])\s*[^\s=])"  # a value under a name that may tell of a secret
    r"|(?i:-(?:p|password|token|user)[ =]\S)"
    r"|(?i:basic |bearer |://[^/\s]*:[^/\s]*@)"
    r"|PRIVATE KEY|machine .*password|\+\d[\d ()./-]{6}"  # keys and telephone numbers
)
_HARD = re.compile(
    r"(?i:pass|secret|token|key|cookie|auth|card|phone|tax|account|basic|bearer|iban|sign|hash)|[0-9a-fA-F]{8}|[\w+/=-]{24}|(?:\d[ .-]?){6}"
)
"""Lines that a careless rule would take; three quarters of the others are passed over."""
SOURCES = {
    "python_library": (_LIBRARY, "*.py", 260),
    "python_tests": (_LIBRARY / "test", "test_*.py", 300),
    "python_test_data": (_LIBRARY / "test", "**/*.txt", 100),
    "python_email_data": (_LIBRARY / "test" / "test_email" / "data", "*.txt", 40),
    "python_encodings": (_LIBRARY / "encodings", "*.py", 40),
    "python_topics": (_LIBRARY / "pydoc_data", "*.py", 60),
    "record": (_SITE, "*.dist-info/RECORD", 160),
    "metadata": (_SITE, "*.dist-info/METADATA", 80),
    "certificates": (_SITE / "certifi", "cacert.pem", 60),
    "type_hints": (_SITE / "mypy" / "typeshed" / "stdlib", "*.pyi", 80),
    "manual_page": (_SHARE / "man" / "man1", "*.gz", 140),
    "changelog": (_SHARE / "doc", "*/changelog*.gz", 120),
    "licence": (_SHARE / "doc", "*/copyright", 40),
    "time_zones": (_SHARE / "zoneinfo", "tzdata.zi", 40),
    "file_list": (Path("/var/lib/dpkg/info"), "*.md5sums", 60),
}
"""Kind -> where its files are, which they are, how many lines."""
_ROFF = re.compile(r"\\f[A-Z]|\\-|^\.\w+ ?")


_read: dict[Path, list[str]] = {}


def lines(path: Path) -> list[str]:
    """Return the lines of a file worth a place in the corpus."""
    if path not in _read:
        _read[path] = _lines(path)
    return _read[path]


def _lines(path: Path) -> list[str]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [text for line in raw.decode("utf-8", "replace").splitlines() if (text := _worth(line))]


def _worth(line: str) -> str:
    text = _ROFF.sub("", line).rstrip()
    plain = text.isprintable() or "\t" in text
    return text if plain and 12 <= len(text) <= _LONGEST and not _LEFT_OUT.search(text) and "\ufffd" not in text else ""


def gathered(random: Random) -> Iterator[Entry]:
    """Yield entries of all sources, each line once."""
    known: set[str] = set()
    for kind, (folder, pattern, wanted) in SOURCES.items():
        files = sorted(path for path in folder.glob(pattern) if path.is_file())
        left = wanted
        while left and files:
            found = lines(random.choice(files))
            text = random.choice(found) if found else ""
            if text and text not in known and (_HARD.search(text) or random.random() < 0.25):
                known.add(text)
                left -= 1
                yield Entry(kind, "plain", text)


def main() -> None:
    """Write negatives/real.ndjson."""
    found = [f"{line_of(entry)}\n" for entry in gathered(Random(SEED))]
    (HERE / REAL).write_text("".join(found))
    print(f"{REAL}: {len(found)} entries")


if __name__ == "__main__":
    main()
