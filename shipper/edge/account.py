"""The account of a run as a page of text, 80 columns: every record read, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


_LOST_FILES_SHOWN = 10


def render(account: Mapping[str, Any]) -> str:
    """The account as text."""
    lines = [f"{'unaccounted':<28}{account['unaccounted']:>12,}"]
    lines.append(f"{'records read':<28}{account['read']:>12,}   {account['read_bytes']:,} bytes")
    lines += _section("delivered", account["created"], account["indices"])
    if account["duplicate"]:
        lines.append(f"{'already there':<28}{account['duplicate']:>12,}")
    lines += _section("dropped", sum(account["dropped"].values()), account["dropped"])
    lines += _section("dead letters", sum(account["dead"].values()), account["dead"])
    lines += _section("lost (bytes)", sum(account["lost_bytes"].values()), account["lost_bytes"])
    if account.get("lost_files"):
        most = sorted(account["lost_files"].items(), key=lambda one: -one[1])[:_LOST_FILES_SHOWN]
        lines += [f"    {size:>12,}  {path or 'other files'}" for path, size in most]
    lines += _section("masked (hits)", sum(account["masked"].values()), account["masked"])
    if account["flagged"]:
        lines += _section("flagged", sum(account["flagged"].values()), account["flagged"])
    if account["skipped_bytes"]:
        lines += _section("no record (bytes)", sum(account["skipped_bytes"].values()), account["skipped_bytes"])
    if account["generated"]:
        lines.append(f"{'summaries made':<28}{account['generated']:>12,}")
    if account["in_flight"]:
        lines.append(f"{'not delivered, kept':<28}{account['in_flight']:>12,}   {account['stopped']}")
    elif account["stopped"]:
        lines.append(f"{'stopped before the end':<40}   {account['stopped']}")
    if account["unreadable"]:
        lines.append(f"{'files that cannot be read':<28}{account['unreadable']:>12,}   see the log")
    elif not account["read"] and not account["in_flight"] and not account.get("pushed"):
        lines.append(_nothing_read(account["files"]))
    return "\n".join(lines)


def _nothing_read(files: int) -> str:
    if not files:
        return "no file is there that the sources include"
    which = "the only file is" if files == 1 else f"all {files:,} files"
    return f"{which} already read to the end; --from-start reads {'it' if files == 1 else 'them'} again"


def _section(title: str, total: int, parts: Mapping[str, int]) -> list[str]:
    if not total:
        return [f"{title:<28}{0:>12}"]
    width = max(map(len, parts), default=0)
    detail = [f"    {name:<{max(24, min(width, 50))}}{f' {count:,}':>12}" for name, count in sorted(parts.items())]
    return [f"{title:<28}{total:>12,}", *detail]
