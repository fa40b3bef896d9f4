"""A table of prices: what a component's use costs, by units that are written out.

::

    currency: USD
    prices:
      llm:openai: {1M input tokens: 0.15, 1M cached tokens: 0.075, 1M output tokens: 0.60}
      stt:openai: {minute in: 0.006}
      llm:llama-cpp: {model hour: 0.40}
      tts:piper: {}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..bounds import MAX_NAME
from ..components.kinds import KINDS
from ..errors import WrongUsage, nearest
from ..records import UsageRecord

UNITS: Mapping[str, tuple[str, float]] = {
    "request": ("requests", 1), "1k requests": ("requests", 1e3),
    "1k input tokens": ("input_tokens", 1e3), "1M input tokens": ("input_tokens", 1e6),
    "1k cached tokens": ("cached_tokens", 1e3), "1M cached tokens": ("cached_tokens", 1e6),
    "1k output tokens": ("output_tokens", 1e3), "1M output tokens": ("output_tokens", 1e6),
    "1k characters": ("characters", 1e3), "1M characters": ("characters", 1e6),
    "second in": ("seconds_in", 1), "minute in": ("seconds_in", 60), "hour in": ("seconds_in", 3600),
    "second out": ("seconds_out", 1), "minute out": ("seconds_out", 60), "hour out": ("seconds_out", 3600),
    "image": ("images", 1), "model second": ("model_s", 1), "model hour": ("model_s", 3600),
}  # fmt: skip
"""Unit → what is counted, and how many of it one is. `in`, `out`: of sound that it was given, or made; `model`: the
time that it worked, for machines that one pays by the hour."""
MAX_COMPONENTS = 1_000
MAX_PRICE = 1e12
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Prices:
    """Checked. `components`: `kind:component` → unit → price of one; without a unit it costs nothing."""

    currency: str
    components: Mapping[str, Mapping[str, float]]

    def of(self, component: str, usage: UsageRecord | None, model_s: float | None) -> float | str:
        """What this use costs, or in words why that is not known."""
        if component not in self.components:
            return f"{component} has no price"
        cost = 0.0
        prices = self.components[component]
        counted = {UNITS[unit][0] for unit in prices}
        for unit, price in prices.items():
            what, many = UNITS[unit]
            used = model_s if what == "model_s" else getattr(usage, what, None)
            if used is None and what == "cached_tokens":
                used = 0
            if used is None:
                return f"nobody counted the {what} of {component}"
            if what == "input_tokens" and "cached_tokens" in counted:
                used -= getattr(usage, "cached_tokens", None) or 0  # they are among the input, and have their price
            cost += price * used / many
        return cost


def load(path: str | Path) -> dict[str, Any]:
    """The table in a YAML file as it is written, checked. Raises `WrongUsage`, one line that begins with the path."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise WrongUsage(f"{path} is larger than {MAX_BYTES >> 20} MiB; that is no table of prices")
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(
            f"{path} can't be read ({getattr(error, 'strerror', None) or error}); check the path"
        ) from None
    except yaml.YAMLError as error:
        raise WrongUsage(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    try:
        checked(content)
    except WrongUsage as error:
        raise WrongUsage(f"{path}: {error}") from None
    return content  # type: ignore[no-any-return]


def checked(table: object) -> Prices:
    """Raises `WrongUsage`, with the place, the reason and the nearest unit."""
    if not isinstance(table, Mapping) or not {"currency", "prices"} >= set(table) >= {"prices"}:
        raise WrongUsage("a table of prices has the keys currency and prices, and no other")
    currency, listed = table.get("currency", "USD"), table["prices"]
    if not isinstance(currency, str) or not (
        len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()
    ):
        raise WrongUsage(f"currency: {currency!r:.60} is none; write its three letters, such as USD or EUR")
    if not isinstance(listed, Mapping) or not 0 < len(listed) <= MAX_COMPONENTS:
        raise WrongUsage(
            f"prices: write 1 to {MAX_COMPONENTS} components, such as llm:openai: {{1M input tokens: 0.15}}"
        )
    return Prices(currency, {_component(name): _units(name, units) for name, units in listed.items()})


def _component(name: object) -> str:
    kind, colon, short = str(name).partition(":")
    if not isinstance(name, str) or len(name) > MAX_NAME or not (colon and short):
        raise WrongUsage(f"prices: {name!r:.60} is no component; write KIND:NAME, such as llm:openai")
    if kind not in KINDS:
        raise WrongUsage(f"prices: {name}: unknown kind {kind!r}; {nearest(kind, KINDS)}")
    return name


def _units(name: object, units: object) -> dict[str, float]:
    if not isinstance(units, Mapping):
        raise WrongUsage(f"prices: {name}: write units with a price each, such as {{minute in: 0.006}}, or {{}}")
    for unit, price in units.items():
        if unit not in UNITS:
            raise WrongUsage(f"prices: {name}: unknown unit {unit!r:.60}; {nearest(str(unit), UNITS)}")
        if isinstance(price, bool) or not isinstance(price, int | float) or not (0 <= price <= MAX_PRICE):
            raise WrongUsage(f"prices: {name}: {unit}: {price!r:.60} is no price; write a number of 0 or more")
    return {str(unit): float(price) for unit, price in units.items()}
