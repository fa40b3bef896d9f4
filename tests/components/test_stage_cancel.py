"""A cancel stops the output at once; what can't be interrupted keeps its slot; what hangs is told; nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import virtual_time
from components.feeding import for_ever, given, outputs, prompt, sound
from openomni import Audio, Transcript
from openomni.components.simulated import SimulatedTranscriber, SimulatedWriter
from openomni.components.stage import LocalStage, StageError
from openomni.events import Text, Value


class Blocking:
    """Blocks in its first call until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.calls = 0

    def generate(self, messages: Any) -> str:
        self.calls += 1
        if self.calls == 1:
            self.begun.set()
            self.let_go.wait(30)
        return f"call {self.calls}"

    async def has_begun(self) -> None:
        await asyncio.to_thread(self.begun.wait, 30)


async def test_cancelled_task_ends_at_once_and_the_slot_stays_busy_until_the_call_returns() -> None:
    component = Blocking()
    stage = LocalStage("llm", component)
    reading = asyncio.create_task(outputs(stage, prompt()))
    await component.has_begun()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (stage.busy, stage.abandoned) == (1, 1)
    following = asyncio.create_task(outputs(stage, prompt()))
    component.let_go.set()
    assert await following == [Text("call 2")]
    assert (stage.busy, stage.abandoned) == (0, 0)


async def test_closed_generator_gives_nothing_more_and_is_closed_between_items() -> None:
    left: list[str] = []

    class Writer:
        def generate(self, messages: Any) -> Iterator[str]:
            try:
                while True:
                    yield "word "
            finally:
                left.append(threading.current_thread().name)

    stage = LocalStage("llm", Writer())
    running = stage.run(given(prompt()))
    assert await anext(running) == Text("word ")
    await running.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(running)
    await stage.all_free()
    assert left == ["llm:Writer#0"]


async def test_component_that_outruns_its_reader_waits_for_it() -> None:
    made: list[int] = []

    async def generate(self: object, messages: Any) -> AsyncIterator[str]:
        while True:
            made.append(1)
            yield "x"

    stage = LocalStage("llm", type("Fast", (), {"generate": generate})())
    running = stage.run(given(prompt()))
    await anext(running)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(made) < 100
    await running.aclose()
    assert not stage.busy


async def test_cancel_hook_interrupts_the_call_under_way_only() -> None:
    class Interruptible(Blocking):
        def __init__(self) -> None:
            super().__init__()
            self.cancels = 0

        def cancel(self) -> None:
            self.cancels += 1
            self.let_go.set()

    component = Interruptible()
    stage = LocalStage("llm", component)
    running = asyncio.create_task(outputs(stage, prompt()))
    await component.has_begun()
    running.cancel()
    await stage.all_free()
    assert component.cancels == 1
    assert await outputs(stage, prompt()) == [Text("call 2")]
    assert component.cancels == 1


async def test_cancel_hook_that_raises_does_no_harm() -> None:
    class Bad(Blocking):
        def cancel(self) -> None:
            self.let_go.set()
            raise RuntimeError("bad hook")

    component = Bad()
    stage = LocalStage("llm", component)
    running = asyncio.create_task(outputs(stage, prompt()))
    await component.has_begun()
    running.cancel()
    await stage.all_free()
    assert await outputs(stage, prompt()) == [Text("call 2")]


async def test_live_recogniser_that_waits_for_input_is_woken() -> None:
    class Hearer:
        def __init__(self) -> None:
            self.unwound: list[str] = []

        def transcribe_stream(self, chunks: Iterator[Audio]) -> Iterator[str]:
            try:
                while True:
                    try:
                        yield f"{next(chunks).duration:.1f}"
                    except Exception:  # carries on, as a loop over chunks may
                        self.unwound.append("carried on")
            finally:
                self.unwound.append("unwound")

    async def silent_after_one() -> AsyncIterator[Value]:
        yield sound(0.1)
        await asyncio.Event().wait()

    component = Hearer()
    stage = LocalStage("stt", component)
    running = stage.run(silent_after_one())
    assert await anext(running) == Transcript("0.1", final=False)
    await running.aclose()
    await stage.all_free()
    assert component.unwound == ["unwound"]


async def test_live_recogniser_is_left_in_the_middle_of_endless_input() -> None:
    class Hearer:
        async def transcribe_stream(self, chunks: AsyncIterator[Audio]) -> AsyncIterator[str]:
            async for _ in chunks:
                yield "x"

    stage = LocalStage("stt", Hearer())
    running = stage.run(for_ever(sound()))
    await anext(running)
    await running.aclose()
    assert not stage.busy


async def test_asynchronous_component_cleans_up_before_the_cancel_is_over() -> None:
    steps: list[str] = []

    class Remote:
        async def generate(self, messages: Any) -> AsyncIterator[str]:
            try:
                yield "x"
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                steps.append("connection closed")

    stage = LocalStage("llm", Remote())
    running = stage.run(given(prompt()))
    await anext(running)
    await running.aclose()
    assert steps == ["connection closed"]
    assert not stage.busy


async def test_asynchronous_component_that_ignores_its_cancel_keeps_its_slot() -> None:
    let_go = asyncio.Event()

    class Stubborn:
        async def generate(self, messages: Any) -> str:
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue
            return "late"

    stage = LocalStage("llm", Stubborn())
    reading = asyncio.create_task(outputs(stage, prompt()))
    while not stage.busy:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (stage.busy, stage.abandoned) == (1, 1)
    let_go.set()
    await stage.all_free()
    assert stage.abandoned == 0


# ---- hanging -------------------------------------------------------------------------------------------------


def test_component_that_hangs_is_told_and_the_next_call_works() -> None:
    async def main() -> None:
        hanging = SimulatedTranscriber(fail="hang")
        stage = LocalStage("stt", hanging)
        with pytest.raises(StageError, match="stt:simulated: hung: nothing came out of it for 60 s"):
            await outputs(stage, sound())
        assert not stage.busy
        hanging._fail = ""
        assert [value.text for value in await outputs(stage, sound()) if isinstance(value, Transcript)]

    virtual_time.run(main())


async def test_blocked_thread_hangs_its_slot_and_says_so() -> None:
    component = Blocking()
    stage = LocalStage("llm", component)
    with pytest.raises(StageError, match=r"hung: nothing came out of it for 0\.05 s"):
        await outputs(stage, prompt(), timeout=0.05)
    assert (stage.busy, stage.abandoned) == (1, 1)
    with pytest.raises(StageError, match=r"no slot came free in 0.05 s \(taken: 1, 1 by calls that were given up"):
        await outputs(stage, prompt(), timeout=0.05)
    component.let_go.set()
    await stage.all_free()
    assert await outputs(stage, prompt()) == [Text("call 2")]


def test_waiting_for_input_is_no_hanging() -> None:
    class Hearer:
        async def transcribe_stream(self, chunks: AsyncIterator[Audio]) -> AsyncIterator[str]:
            async for _ in chunks:
                await asyncio.sleep(40)
                yield "x"

    async def slow() -> AsyncIterator[Value]:
        for _ in range(3):
            await asyncio.sleep(500)
            yield sound()

    async def main() -> None:
        running = LocalStage("stt", Hearer()).run(slow())
        assert len([value async for value in running]) == 4

    virtual_time.run(main())


def test_reader_that_is_slow_makes_nothing_hang() -> None:
    async def main() -> None:
        stage = LocalStage("llm", SimulatedWriter("one two three", token_s=50))
        words = []
        async for value in stage.run(given(prompt())):
            await asyncio.sleep(500)
            if isinstance(value, Text):
                words.append(value.text)
        assert "".join(words) == "one two three"

    virtual_time.run(main())


def test_hang_in_the_middle_gives_what_came_before() -> None:
    class Writer:
        async def generate(self, messages: Any) -> AsyncIterator[str]:
            yield "half"
            await asyncio.Event().wait()

    async def main() -> None:
        stage = LocalStage("llm", Writer())
        running = stage.run(given(prompt()))
        assert await anext(running) == Text("half")
        with pytest.raises(StageError, match="hung"):
            await anext(running)
        assert not stage.busy

    virtual_time.run(main())


# ---- nothing left behind -------------------------------------------------------------------------------------


async def test_closing_stops_what_runs_and_ends_the_threads() -> None:
    before = set(threading.enumerate())
    component = Blocking()
    stage = LocalStage("llm", component, slots=2)
    reading = asyncio.create_task(outputs(stage, prompt()))
    await component.has_begun()
    await stage.close()
    with pytest.raises(StageError, match="was stopped, its stage is closing"):
        await reading
    component.let_go.set()
    await stage.all_free()
    workers = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("llm:Blocking")]
    for worker in workers:
        await asyncio.to_thread(worker.join, 10)
    assert [worker.name for worker in workers if worker.is_alive()] == []


async def test_stage_that_is_dropped_takes_its_threads_along() -> None:
    stage = LocalStage("llm", type("Dropped", (), {"generate": lambda self, messages: "x"})())
    await outputs(stage, prompt())
    (worker,) = (thread for thread in threading.enumerate() if thread.name == "llm:Dropped#0")
    await asyncio.sleep(0)  # the loop has let go of the run, too
    del stage
    gc.collect()
    await asyncio.to_thread(worker.join, 10)
    assert not worker.is_alive()


async def test_no_task_is_left_after_ending_cancelling_and_failing() -> None:
    alone = asyncio.all_tasks()
    for component in (SimulatedWriter(), SimulatedWriter(fail="raise"), SimulatedWriter(fail="wrong_type")):
        stage = LocalStage("llm", component)
        with contextlib.suppress(StageError):
            await outputs(stage, prompt())
        running = stage.run(given(prompt()))
        reading = asyncio.create_task(anext(running))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        await running.aclose()
        await stage.close()
    assert asyncio.all_tasks() == alone


async def test_loop_that_ends_before_the_call_returns_leaves_the_process_alive() -> None:
    component = Blocking()

    def short_lived() -> None:
        async def main() -> None:
            running = asyncio.create_task(outputs(LocalStage("llm", component), prompt()))
            await component.has_begun()
            running.cancel()

        asyncio.run(main())
        component.let_go.set()

    await asyncio.to_thread(short_lived)
    assert component.calls == 1
