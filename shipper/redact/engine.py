"""Engine: which of the two screens is used. Each is imported only where it is."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipper.redact.screen import DatabaseCache, Patterns, Screen

ENGINES = ("hyperscan", "re2")


def choose_engine(wanted: str | None) -> str:
    """The engine to use: the wanted one, or hyperscan; re2 where Hyperscan cannot be imported.

    Raises ValueError for a name that is neither.
    """
    if wanted and wanted not in ENGINES:
        raise ValueError(f"expected one of {', '.join(ENGINES)}, got {wanted!r}")
    if wanted == "re2":
        return "re2"
    try:
        import_module("hyperscan")
    except ImportError:
        return "re2"
    return "hyperscan"


def make_screen(engine: str, lanes: Sequence[Patterns], guards: Mapping[str, bytes], cache: DatabaseCache | None) -> Screen:
    """Compile (number, pattern) pairs; each lane is a database of its own, the first one also has the guards.

    Raises ScreenError for a pattern the engine refuses.
    """
    if engine == "hyperscan":
        from shipper.redact.screen_hyperscan import HyperscanScreen

        return HyperscanScreen(lanes, guards, cache)
    from shipper.redact.screen_re2 import Re2Screen

    return Re2Screen([pair for lane in lanes for pair in lane], guards)
