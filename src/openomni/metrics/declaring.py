"""How a metric says what it is: `@metric(...)` on a function of a run, or on a class whose `measure` is one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from ..errors import WrongUsage, nearest

Takes = Literal["turn", "cell", "repeats"]
"""`turn`: one `RunTurn`. `cell`: one `Run`. `repeats`: a tuple of all `Run`s of one sample through one pipeline."""
Better = Literal["higher", "lower", ""]
Kind = Literal["latency", "accuracy", "cost", "other"]
Statistic = Literal["mean", "p50", "p95", "rate"]
"""How the values of many samples become one; `rate`: the sum of all `errors` divided by that of all `total`."""
MAX_NAME, MAX_VERSION, MAX_UNIT = 80, 40, 20
M = TypeVar("M", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Declaration:
    """What `@metric` says."""

    name: str
    version: str
    takes: Takes
    unit: str
    better: Better
    kind: Kind
    statistic: Statistic
    install: str
    requires: tuple[str, ...]


declared: dict[str, Callable[..., Any]] = {}
"""Name → function or class, of all modules that were imported."""


def metric(
    name: str, *, version: str, takes: Takes = "cell", unit: str = "", better: Better = "", kind: Kind = "other",
    statistic: Statistic = "mean", install: str = "", requires: str | tuple[str, ...] = (),
) -> Callable[[M], M]:  # fmt: skip
    """Declares a function, or a class with a method `measure`, to be a metric.

    Args:
        name: What it is called: lower-case letters, digits, `-`, `_` and `.`.
        version: Another one wherever the same run may get another score: scores of two versions are never mixed.
        takes: `turn`, `cell` (a run: one utterance, or a dialogue) or `repeats` (all runs of a sample).
        unit: Of its numbers: s, words, dB; empty for a share or a label.
        better: `higher` or `lower`; empty where neither is.
        kind: Which axis of a comparison it is on: `latency`, `accuracy`, `cost` or `other`.
        statistic: What sums up many samples: `mean`, `p50`, `p95`, or `rate` (errors ÷ total of all).
        install: What pip installs to make it run, such as `my-package[gpu]`.
        requires: Modules that it imports when it is built.
    """
    if not re.fullmatch(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}", name):
        raise WrongUsage(f"{name!r} is no name of a metric; use lower-case letters, digits, '-', '_' and '.'")
    if not isinstance(version, str) or not re.fullmatch(rf"[A-Za-z0-9._-]{{1,{MAX_VERSION}}}", version):
        raise WrongUsage(f'@metric({name!r}): {version!r} is no version; write a text such as "1"')
    if len(unit) > MAX_UNIT or not unit.isprintable():
        raise WrongUsage(f"@metric({name!r}): a unit has at most {MAX_UNIT} characters, such as words or s")
    for what, given, choices in (
        ("takes", takes, Takes), ("better", better, Better), ("kind", kind, Kind), ("statistic", statistic, Statistic)
    ):  # fmt: skip
        if given not in (valid := get_args(choices)):
            raise WrongUsage(f"@metric({name!r}): {what}={given!r}; {nearest(str(given), filter(None, valid))}")
    needed = (requires,) if isinstance(requires, str) else tuple(requires)
    declaration = Declaration(name, version, takes, unit, better, kind, statistic, install, needed)

    def declare(made: M) -> M:
        _check(declaration, made)
        made.__openomni_metric__ = declaration  # type: ignore[attr-defined]
        declared[name] = made
        return made

    return declare


def declaration_of(made: object) -> Declaration | None:
    """What `@metric` said of this very function or class, not of one that it inherits from."""
    found = getattr(made, "__dict__", {}).get("__openomni_metric__")
    return found if isinstance(found, Declaration) else None


def _check(declaration: Declaration, made: object) -> None:
    measure = getattr(made, "measure", None) if isinstance(made, type) else made
    where = f"@metric({declaration.name!r})"
    if not callable(measure):
        raise WrongUsage(
            f"{where}: {getattr(made, '__qualname__', made)!s} has no method measure(self, run); write one"
        )
    try:
        signature = inspect.signature(measure)
        signature.bind(*(None,) * (2 if isinstance(made, type) else 1))
    except (TypeError, ValueError):
        mend = "def measure(self, run)" if isinstance(made, type) else "def a_name(run)"
        raise WrongUsage(f"{where}: it has to take one thing, the {declaration.takes}; write {mend}") from None
    if inspect.iscoroutinefunction(measure) or inspect.isgeneratorfunction(inspect.unwrap(measure)):
        raise WrongUsage(f"{where}: a metric is a plain function; it returns what it measured")
