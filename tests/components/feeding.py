"""Feeds a stage, and reads what comes out of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

from openomni.components.stage import TIMEOUT, LocalStage, StageTiming
from openomni.events import Message, Prompt, Sound, Value
from openomni.media import Audio


async def given(*values: Value) -> AsyncIterator[Value]:
    for value in values:
        yield value


async def for_ever(value: Value) -> AsyncIterator[Value]:
    while True:
        yield value
        await asyncio.sleep(0)


async def outputs(
    stage: LocalStage,
    *values: Value,
    timing: StageTiming | None = None,
    timeout: float = TIMEOUT,
    asked: Mapping[str, str] | None = None,
) -> list[Value]:
    async with aclosing(stage.run(given(*values), timing, timeout, asked)) as running:
        return [value async for value in running]


def sound(seconds: float = 0.1, rate: int = 16_000) -> Sound:
    return Sound(Audio.silence(seconds, rate))


def prompt(text: str = "Hello") -> Prompt:
    return Prompt((Message("user", text),))
