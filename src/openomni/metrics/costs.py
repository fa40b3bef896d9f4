"""What a run costs: as components say themselves, or by a table of prices."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from .declaring import metric
from .prices import Prices, checked
from .results import Measured, NotApplicable, not_applicable
from .runs import Run, RunStage

NAMED = 5
"""Components that a reason names."""


@metric("cost", version="1", better="lower", kind="cost")
class Cost:
    """Money for one run of a sample, all of its stages together, those that were begun in vain included.

    What a component says itself counts first; then the table of prices. It is not applicable where something ran whose
    price nobody says: a sum of the others would make it look cheap. The currency is in the detail.

    Args:
        prices: A table of prices: `currency`, and `prices` by `kind:component` and unit; `{}` costs nothing.
    """

    def __init__(self, prices: dict[str, Any] | None = None) -> None:
        self._prices: Prices | None = None if prices is None else checked(prices)

    def measure(self, run: Run) -> Measured | NotApplicable:
        sums: dict[str, float] = defaultdict(float)
        by_component: dict[str, float] = defaultdict(float)
        unknown: set[str] = set()
        for stage in (stage for turn in run.turns for stage in turn.stages if turn.given.get(stage.kind) is None):
            if stage.status == "pending":
                continue  # it never began
            currency, found = self._of(stage)
            if isinstance(found, str):
                unknown.add(found)
            else:
                sums[currency] += found
                by_component[stage.name] += found
        paid = {currency: cost for currency, cost in sums.items() if cost} or dict(sums)
        if unknown:
            named = sorted(unknown)
            more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
            return not_applicable(f"{'; '.join(named[:NAMED])}{more}; give a table of prices", known=dict(sums))
        if not paid:
            return not_applicable("no stage ran")
        if len(paid) > 1:
            return not_applicable(
                f"it is in {' and '.join(sorted(paid))}, which can't be added; price all in one", **paid
            )
        ((currency, cost),) = paid.items()
        return Measured(cost, {"currency": currency, "components": dict(by_component)})

    def _of(self, stage: RunStage) -> tuple[str, float | str]:
        """Currency and amount, or why it isn't known."""
        usage = stage.usage
        if usage is not None and usage.cost is not None:
            return usage.currency or "USD", usage.cost
        if self._prices is None:
            return "", f"{stage.name} does not say what it costs"
        return self._prices.currency, self._prices.of(stage.name, usage, stage.model_s)
