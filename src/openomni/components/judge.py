"""Asks a `turn` component, ours or a stranger's, whether the person has finished."""

from __future__ import annotations

import asyncio
import inspect
from numbers import Real
from typing import Any

from ..events import Endings
from ..media import Audio
from .fence import fenced


async def ask(component: Any, audio: Audio, text: str, endings: Endings) -> Any:
    """What its `finished` answers, given as many of the arguments as it takes; blocking code runs in a thread."""
    method = component.finished
    given = (audio, text, endings)[: _places(method)]
    with fenced():
        if inspect.iscoroutinefunction(method):
            return await method(*given)
        return await asyncio.to_thread(method, *given)


def fault(answer: object) -> str:
    """What is wrong with an answer; empty when nothing is."""
    number = isinstance(answer, Real) and not isinstance(answer, bool)
    return "" if number and 0 <= answer <= 1 else f"gave {answer!r}; expected a number in 0…1"  # type: ignore[operator]


def _places(method: Any) -> int:
    """How many arguments may be given by their place."""
    kinds = [parameter.kind for parameter in inspect.signature(method).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return 3
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)
