"""Components as they are built on an agent: once for each set of parameters, replaced when they hang."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from openomni import Audio, component
from openomni.agent import pool as pool_module
from openomni.agent.pool import ComponentPool, loading
from openomni.components import registry
from openomni.components.stage import StageError, StageTiming
from openomni.errors import OpenOmniError
from openomni.events import Sound, Transcript, Value
from openomni.pipeline.spec import Framework, StageSpec

made: list[Counting] = []
gates: list[threading.Event] = []


@component("stt", "counting-test")
class Counting:
    """Counts its instances; the word `hang` as its text waits for a gate."""

    def __init__(self, text: str = "one") -> None:
        self.text = text
        self.warm = False
        self.closed = False
        made.append(self)

    def warm_up(self) -> None:
        self.warm = True

    def transcribe(self, audio: Audio) -> str:
        if self.text == "hang" and audio.duration > 1:
            gates[-1].wait(20)
        return self.text

    def close(self) -> None:
        self.closed = True


@pytest.fixture
async def pool() -> AsyncIterator[ComponentPool]:
    made.clear()
    gates[:] = [threading.Event()]
    stages = ComponentPool(registry.registered("stt"))
    yield stages
    gates[0].set()
    await stages.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    return gates[0]  # type: ignore[return-value]


def stage(timeout: float | None = None, **parameters: Any) -> StageSpec:
    return StageSpec("stt", "counting-test", parameters, Framework(timeout=timeout))


async def run(
    pool: ComponentPool, spec: StageSpec, seconds: float = 0.1, timing: StageTiming | None = None
) -> list[Value]:
    async def inputs() -> AsyncIterator[Value]:
        yield Sound(Audio.silence(seconds, 16_000))

    return [value async for value in pool.run(spec, inputs(), timing or StageTiming())]


async def test_a_component_is_built_and_warmed_once_for_each_set_of_parameters(pool: ComponentPool) -> None:
    await pool.warm(stage())
    assert made[0].warm
    assert await run(pool, stage(text="one")) == [Transcript("one")]
    assert len(made) == 1, "a default that is spelt out is the same component"
    assert await run(pool, stage(text="two")) == [Transcript("two")]
    assert len(made) == 2


async def test_what_asks_at_once_shares_one_load(pool: ComponentPool) -> None:
    await asyncio.gather(*(run(pool, stage()) for _ in range(4)))
    assert len(made) == 1


async def test_loading_is_measured_for_the_first_run_alone(pool: ComponentPool) -> None:
    first, second = StageTiming(), StageTiming()
    await run(pool, stage(), timing=first)
    await run(pool, stage(), timing=second)
    started, loaded = loading(first)
    assert loaded > started
    assert first.ready == started
    started, loaded = loading(second)
    assert loaded == started


async def test_a_component_that_hangs_fails_its_turn_and_the_next_gets_another(pool: ComponentPool, gate) -> None:
    hanging = stage(timeout=0.2, text="hang")
    with pytest.raises(StageError, match="stt:counting-test: hung"):
        await run(pool, hanging, seconds=2)
    assert pool.stuck == 1

    assert await run(pool, hanging) == [Transcript("hang")]
    assert len(made) == 2


async def test_one_that_came_back_is_used_again(pool: ComponentPool, gate: threading.Event) -> None:
    hanging = stage(timeout=0.2, text="hang")
    with pytest.raises(StageError):
        await run(pool, hanging, seconds=2)
    gate.set()
    async with asyncio.timeout(10):
        while pool.stuck:
            await asyncio.sleep(0.01)
    await run(pool, hanging)
    assert len(made) == 1


async def test_the_longest_unused_component_makes_room(pool: ComponentPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "KEPT", 2)
    for text in ("a", "b", "c"):
        await run(pool, stage(text=text))
    assert [each.closed for each in made] == [True, False, False]


async def test_one_that_was_never_built_makes_room_and_one_that_hangs_does_not(
    pool: ComponentPool, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KEPT", 2)
    with pytest.raises(OpenOmniError):
        await run(pool, stage(text=7))
    with pytest.raises(StageError):
        await run(pool, stage(timeout=0.2, text="hang"), seconds=2)
    for text in ("a", "b", "c"):
        await run(pool, stage(text=text))
    assert [each.closed for each in made] == [False, True, True, False]
    assert pool.stuck == 1, "what hangs is not forgotten"


async def test_a_component_that_cannot_be_built_says_why(pool: ComponentPool) -> None:
    from openomni.errors import WrongUsage

    with pytest.raises(WrongUsage, match="unknown parameter 'txt'; did you mean 'text'"):
        await run(pool, stage(txt="x"))
