"""Filter: drop records by a condition, with a reason that the account tells.

RULES
- A dropped record is settled like a delivered one: the source's offset moves past it, and the account counts it under the reason.
- The reason is from the configuration alone, so that there are as many as filters.
- What another stage dropped or held before keeps that stage's reason.
"""

from __future__ import annotations

import re
from operator import not_
from typing import TYPE_CHECKING

from shipper.config.condition import Condition  # noqa: TC001  msgspec reads the annotations
from shipper.config.fields import ComponentConfig
from shipper.model.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipper.model.columns import Columns
    from shipper.stages.stage import Resources

REASON = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Filter:
    """Keep the records for which a condition holds, or drop them.

    Dropped records are settled and counted in the account, `dropped: {health_check: 1200}`; they never reach an index. What comes
    after the filter in the pipeline still costs something for them: put filters first. It costs 0.1 yardsticks a record (see
    `docs/performance.md`).
    """

    class Config(ComponentConfig, frozen=True, kw_only=True):
        """Settings of `filter`; either `keep` or `drop`."""

        keep: Condition | None = None
        """Records that go on; all others are dropped."""
        drop: Condition | None = None
        """Records that are dropped; all others go on."""
        reason: str = "filtered"
        """What they are counted as: lowercase letters, digits and `_`, at most 40."""

    example = """
- filter: {drop: {path: [/health, /ready]}, reason: health_check}
- filter: {keep: {has: message}}
"""

    def __init__(self, config: Config, resources: Resources) -> None:  # noqa: ARG002  part of the contract
        """Raises ComponentError for settings that say nothing, or two things."""
        condition = config.drop if config.keep is None else config.keep
        if condition is None or (config.keep is not None and config.drop is not None):
            raise ComponentError("a filter has either `keep` or `drop`", "drop", "write two filters for both")
        if not REASON.fullmatch(config.reason):
            raise ComponentError("a reason is lowercase letters, digits and _, at most 40", "reason", "such as health_check")
        self.reads: Sequence[str] = condition.reads
        self.adds: Sequence[str] = ()
        self._condition, self._keeps, self._reason = condition, config.keep is not None, config.reason

    def process(self, columns: Columns, now: float) -> None:  # noqa: ARG002  part of the contract
        """Drop the rows that are to be dropped."""
        mask = self._condition.mask(columns)
        if self._keeps:
            if not all(mask):
                columns.drop_where(map(not_, mask), self._reason)
        elif any(mask):
            columns.drop_where(mask, self._reason)
