"""Scan page: what `shipper redact scan` prints, for people at 80 columns and for programs as lines of JSON."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from shipper.model.errors import HostError
from shipper.scanning import Hit, Scanner, sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PRICES_SHOWN = 40


def hits(paths: Sequence[str], packs: Sequence[str], *, as_json: bool) -> int:
    """Print what is found in the files; return how much. Raises HostError for a file that cannot be read."""
    scanner = Scanner(packs, os.environ)
    for hit in _all(scanner, paths):
        shown = hit.context.replace("\n", "\n    ")
        text = msgspec.json.encode(hit).decode() if as_json else f"{hit.file}:{hit.line}:{hit.column}: {hit.rule}\n    {shown}"
        click.echo(text)
    found = scanner.found.total()
    if not as_json:
        files = f"{len(paths)} file{'' if len(paths) == 1 else 's'}"
        click.echo(f"{found:,} found in {files}" if found else f"nothing found in {files}")
        for rule, count in scanner.found.most_common():
            click.echo(f"    {count:>8,}  {rule}")
    return found


def costs(paths: Sequence[str], packs: Sequence[str], *, as_json: bool) -> int:
    """Print what the rules cost; return 0."""
    scanner = Scanner(packs, os.environ)
    text = b""
    for path in paths:
        with _opened(path) as file:
            text += file.read(16 << 20)
    text = text if text.endswith(b"\n") else text + b"\n" if text else sample()
    prices = scanner.prices(text)
    if as_json:
        for price in prices:
            click.echo(msgspec.json.encode(price).decode())
        return 0
    click.echo(f"{len(prices)} rules together: {scanner.price_of_all(text):,.0f} ns a record. Each alone, the dearest first:")
    for price in prices[:_PRICES_SHOWN]:
        click.echo(f"    {price.ns_per_record:>8,.0f} ns  {price.rule}{f'  ({price.hits:,} hits)' if price.hits else ''}")
    return 0


def _all(scanner: Scanner, paths: Sequence[str]) -> Iterator[Hit]:
    for path in paths:
        with _opened(path) as file:
            yield from scanner.scan(path, file)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """A file for reading; `-` is standard input."""
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}") from error
