"""A stage makes a stream of values of whatever an author wrote, and measures it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

import virtual_time
from components.feeding import given, outputs, prompt, sound
from openomni import Audio, Document, Emotion, Frame, Message, Speaker, Transcript, Usage, clock
from openomni.components.simulated import SimulatedVoice, SimulatedWriter
from openomni.components.stage import LocalStage, StageError, StageTiming
from openomni.errors import WrongUsage
from openomni.events import Documents, Picture, Sound, Text, Value


def writer(method: Any) -> LocalStage:
    return LocalStage("llm", type("Writer", (), {"generate": method})())


def hearer(method: Any, name: str = "transcribe") -> LocalStage:
    return LocalStage("stt", type("Hearer", (), {name: method})())


# ---- the four forms of a method ------------------------------------------------------------------------------


def plain(self: object, messages: Any) -> str:
    return f"{messages[-1].content}!"


def generator(self: object, messages: Any) -> Iterator[str]:
    yield messages[-1].content
    yield "!"


async def coroutine(self: object, messages: Any) -> str:
    await asyncio.sleep(0)
    return f"{messages[-1].content}!"


async def asynchronous_generator(self: object, messages: Any) -> AsyncIterator[str]:
    yield messages[-1].content
    await asyncio.sleep(0)
    yield "!"


def list_of_pieces(self: object, messages: Any) -> list[str]:
    return [messages[-1].content, "!"]


def wrapped(self: object, messages: Any) -> Any:
    return asynchronous_generator(self, messages)


@pytest.mark.parametrize(
    "method", [plain, generator, coroutine, asynchronous_generator, list_of_pieces, wrapped], ids=lambda m: m.__name__
)
async def test_every_form_of_method_serves(method: Any) -> None:
    values = await outputs(writer(method), prompt("Hello"))
    assert "".join(value.text for value in values if isinstance(value, Text)) == "Hello!"


async def test_blocking_code_runs_in_the_slots_own_thread_and_never_in_the_loop() -> None:
    seen: list[str] = []

    def generate(self: object, messages: Any) -> Iterator[str]:
        for _ in range(3):
            seen.append(threading.current_thread().name)
            yield "x"

    stage = writer(generate)
    await outputs(stage, prompt())
    await outputs(stage, prompt())
    assert set(seen) == {"llm:Writer#0"}


async def test_blocking_generator_streams_while_it_works() -> None:
    go_on = threading.Event()

    def generate(self: object, messages: Any) -> Iterator[str]:
        yield "first"
        go_on.wait(10)
        yield "second"

    running = writer(generate).run(given(prompt()))
    assert await anext(running) == Text("first")
    go_on.set()
    assert [value async for value in running] == [Text("second")]


# ---- input ---------------------------------------------------------------------------------------------------


async def test_batch_recogniser_gets_all_sound_in_one() -> None:
    stage = hearer(lambda self, audio: f"{audio.duration:.1f} s at {audio.rate}")
    assert await outputs(stage, sound(0.5), sound(0.7)) == [Transcript("1.2 s at 16000")]
    assert await outputs(stage) == [Transcript("0.0 s at 16000")]


async def heard_while_it_comes(stage: LocalStage) -> list[Value]:
    answered = asyncio.Event()

    async def live() -> AsyncIterator[Value]:
        yield sound(0.1)
        await answered.wait()  # never set if the component only answers at the end
        yield sound(0.1)

    values = []
    async for value in stage.run(live()):
        values.append(value)
        answered.set()
    return values


async def test_streaming_recogniser_hears_while_it_comes() -> None:
    def blocking(self: object, chunks: Iterator[Audio]) -> Iterator[str]:
        heard = 0.0
        for chunk in chunks:
            heard += chunk.duration
            yield f"{heard:.1f}"

    async def asynchronous(self: object, chunks: AsyncIterator[Audio]) -> AsyncIterator[str]:
        heard = 0.0
        async for chunk in chunks:
            heard += chunk.duration
            yield f"{heard:.1f}"

    expected = [Transcript("0.1", final=False), Transcript("0.2", final=False), Transcript("0.2", final=True)]
    assert await heard_while_it_comes(hearer(blocking, "transcribe_stream")) == expected
    assert await heard_while_it_comes(hearer(asynchronous, "transcribe_stream")) == expected


async def test_streaming_recogniser_that_hears_nothing_gives_an_empty_transcript() -> None:
    def transcribe_stream(self: object, chunks: Iterator[Audio]) -> Iterator[str]:
        for _ in chunks:
            yield from ()

    assert await outputs(hearer(transcribe_stream, "transcribe_stream"), sound()) == [Transcript("")]


async def test_voice_speaks_each_clause_when_it_comes_and_counts_its_seconds_through() -> None:
    spoken: list[str] = []

    class Voice:
        def synthesize(self, text: str) -> Iterator[Audio]:
            spoken.append(text)
            yield Audio.silence(0.25, 8_000)
            yield Audio.silence(0.25, 8_000)

    async def clauses() -> AsyncIterator[Value]:
        yield Text("One,")
        yield Text("  ")
        yield Text("two.")

    values = [value async for value in LocalStage("tts", Voice()).run(clauses())]
    assert spoken == ["One,", "two."]
    assert [value.start for value in values if isinstance(value, Sound)] == [0.0, 0.25, 0.5, 0.75]


async def test_author_may_leave_out_trailing_arguments() -> None:
    class Emotions:
        def recognize(self, audio: Audio, text: str) -> float:
            return 0.5 if text == "glad" else -0.5

    class AllEmotions:
        def recognize(self, *given: Any) -> float:
            return len(given[2]) / 10

    values = (sound(), Transcript("glad"), Picture(Frame(np.zeros((2, 2, 3), np.uint8))))
    assert await outputs(LocalStage("emotion", Emotions()), *values) == [Emotion(0.5)]
    assert await outputs(LocalStage("emotion", AllEmotions()), *values) == [Emotion(0.1)]


async def test_error_of_the_input_comes_through_as_it_is() -> None:
    async def broken() -> AsyncIterator[Value]:
        yield sound()
        raise LookupError("the line is cut")

    def transcribe_stream(self: object, chunks: Iterator[Audio]) -> Iterator[str]:
        for _ in chunks:
            yield "x"

    for stage in (hearer(transcribe_stream, "transcribe_stream"), hearer(lambda self, audio: "x")):
        with pytest.raises(LookupError, match="the line is cut"):
            [value async for value in stage.run(broken())]


# ---- output --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "method", "returned", "values"),
    [
        ("stt", "transcribe", "hi", [Transcript("hi")]),
        ("stt", "transcribe", Transcript("hi", language="en"), [Transcript("hi", language="en")]),
        ("emotion", "recognize", np.float32(0.5), [Emotion(0.5)]),
        ("emotion", "recognize", -1, [Emotion(-1.0)]),
        ("speaker", "identify", "Ada", [Speaker("Ada")]),
        ("retrieval", "retrieve", ["a"], [Documents((Document("a", 0.0),))]),
        ("retrieval", "retrieve", [], [Documents(())]),
        ("retrieval", "retrieve", iter([Document("a", 0.5)]), [Documents((Document("a", 0.5),))]),
        ("retrieval", "retrieve", iter([]), [Documents(())]),
        ("llm", "generate", "", []),
        ("llm", "generate", iter(["a", "", "b"]), [Text("a"), Text("b")]),
        ("tts", "synthesize", Audio.silence(0, 16_000), []),
        ("end_to_end", "respond", iter([Transcript("hi"), "yes"]), [Transcript("hi"), Text("yes")]),
    ],
)
async def test_what_an_author_returns_becomes_values(
    kind: str, method: str, returned: Any, values: list[Value]
) -> None:
    stage = LocalStage(kind, type("Author", (), {method: lambda self, *given: returned})())
    typical: dict[str, Value] = {"llm": prompt(), "tts": Text("Hi"), "retrieval": Transcript("hi")}
    assert await outputs(stage, typical.get(kind, sound())) == values


@pytest.mark.parametrize(
    ("kind", "method", "returned", "words"),
    [
        ("stt", "transcribe", 5, "stt:Author: returned int (5); expected Transcript or str"),
        ("stt", "transcribe", None, "stt:Author: returned NoneType; expected Transcript or str"),
        ("llm", "generate", iter(["a", 1]), "llm:Author: returned int (1); expected str, whole or in pieces"),
        ("tts", "synthesize", np.zeros(2), "expected Audio, whole or in pieces; wrap it: Audio(samples, rate)"),
        ("emotion", "recognize", True, "returned bool (True); expected Emotion or a number in −1…1"),
        ("emotion", "recognize", 3.0, "gave the emotion overall=3; expected −1…1"),
        ("emotion", "recognize", float("nan"), "gave the emotion overall=nan; expected −1…1"),
        ("emotion", "recognize", iter(()), "gave nothing; expected Emotion or a number in −1…1"),
        ("retrieval", "retrieve", "a passage", "returned str ('a passage'); expected a list of Document or str"),
        ("speaker", "identify", b"Ada", "returned bytes (b'Ada'); expected Speaker or str"),
        ("end_to_end", "respond", iter([{}]), "returned dict ({}); expected pieces of Audio, str or Transcript"),
        ("tts", "synthesize", iter([Audio.silence(1, 8000), Audio.silence(1, 16000)]),
         "changed its rate from 8000 to 16000 Hz in one reply; keep one rate"),
    ],
)  # fmt: skip
async def test_wrong_type_is_told_with_the_name_what_came_and_what_was_expected(
    kind: str, method: str, returned: Any, words: str
) -> None:
    stage = LocalStage(kind, type("Author", (), {method: lambda self, *given: returned})())
    typical: dict[str, Value] = {"llm": prompt(), "tts": Text("Hi"), "retrieval": Transcript("hi")}
    with pytest.raises(StageError) as caught:
        await outputs(stage, typical.get(kind, sound()))
    assert str(caught.value).endswith(words)
    assert not stage.busy


@pytest.mark.parametrize("error", [ValueError("no such\nbeam"), KeyError("x"), StopIteration(), SystemExit(3)])
async def test_component_that_raises_is_told_in_one_line_and_the_next_call_works(error: BaseException) -> None:
    calls = []

    def generate(self: object, messages: Any) -> str:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return "fine"

    stage = writer(generate)
    with pytest.raises(StageError, match=r"^llm:Writer: .*raised") as caught:
        await outputs(stage, prompt())
    assert "\n" not in str(caught.value)
    assert await outputs(stage, prompt()) == [Text("fine")]


async def test_what_came_before_an_error_is_given() -> None:
    async def generate(self: object, messages: Any) -> AsyncIterator[str]:
        yield "half"
        raise RuntimeError("lost")

    running = writer(generate).run(given(prompt()))
    assert await anext(running) == Text("half")
    with pytest.raises(StageError, match="raised RuntimeError: lost"):
        await anext(running)


async def test_input_that_the_kind_does_not_take_is_told() -> None:
    with pytest.raises(StageError, match="was given Text; stt takes Sound"):
        await outputs(hearer(lambda self, audio: ""), Text("no sound"))
    with pytest.raises(StageError, match="was given no message to answer"):
        await outputs(writer(plain))


def test_detector_of_speech_is_no_stage() -> None:
    with pytest.raises(WrongUsage, match="name it under `turn_taking`"):
        LocalStage("vad", object())


# ---- time and cost -------------------------------------------------------------------------------------------


def test_timing_is_measured_from_outside() -> None:
    async def clauses() -> AsyncIterator[Value]:
        await asyncio.sleep(1.0)
        yield Text("One.")
        await asyncio.sleep(2.0)
        yield Text("Two.")

    async def main() -> None:
        voice = LocalStage("tts", SimulatedVoice(first_chunk_s=0.25, seconds=1.0))
        timing = StageTiming()
        async for _ in voice.run(clauses(), timing):
            pass
        assert (timing.ready, timing.claimed, timing.load_started, timing.loaded) == (0.0, 0.0, None, None)
        assert (timing.model_started, timing.first_output) == (1.0, 1.25)
        assert timing.ended == 3.5
        assert timing.waited == 2.0
        assert timing.usage == Usage(characters=8)

    virtual_time.run(main())


def test_queue_and_load_have_times_of_their_own() -> None:
    class Slow:
        async def warm_up(self) -> None:
            await asyncio.sleep(3.0)

        async def generate(self, messages: Any) -> str:
            await asyncio.sleep(1.0)
            return "done"

    async def main() -> None:
        stage = LocalStage("llm", Slow())
        first, second = StageTiming(), StageTiming()
        await asyncio.gather(outputs(stage, prompt(), timing=first), outputs(stage, prompt(), timing=second))
        assert (first.load_started, first.loaded, first.model_started, first.ended) == (0.0, 3.0, 3.0, 4.0)
        assert (second.ready, second.claimed, second.load_started, second.ended) == (0.0, 4.0, None, 5.0)

    virtual_time.run(main())


def test_slots_run_together_and_the_others_wait_in_order() -> None:
    async def main() -> None:
        stage = LocalStage("llm", SimulatedWriter("Yes.", first_token_s=1.0), slots=2)
        ended: list[tuple[int, float]] = []

        async def one(number: int) -> None:
            await outputs(stage, prompt())
            ended.append((number, clock.now()))

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(one(number))
        assert ended == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0)]

    virtual_time.run(main())


async def test_usage_is_passed_on_and_summed() -> None:
    def generate(self: object, messages: Any) -> Iterator[Any]:
        yield Usage(input_tokens=3, cost=0.5)
        yield "text"
        yield Usage(output_tokens=4, cost=0.25)

    timing = StageTiming()
    values = await outputs(writer(generate), prompt(), timing=timing)
    assert values[0] == Usage(input_tokens=3, cost=0.5)
    assert timing.usage == Usage(input_tokens=3, output_tokens=4, cost=0.75)


# ---- hooks ---------------------------------------------------------------------------------------------------


async def test_warm_up_is_called_once_however_it_is_asked_for() -> None:
    calls: list[str] = []

    class Warming:
        def warm_up(self) -> None:
            calls.append("warm")

        def generate(self, messages: Any) -> str:
            return "x"

        def close(self) -> None:
            calls.append("close")

    stage = LocalStage("llm", Warming(), slots=3)
    await asyncio.gather(stage.warm_up(), stage.warm_up(), outputs(stage, prompt()))
    await stage.close()
    assert calls == ["warm", "close"]


async def test_warm_up_that_fails_is_told_and_tried_again() -> None:
    calls: list[int] = []

    class Flaky:
        def warm_up(self) -> None:
            calls.append(1)
            if len(calls) == 1:
                raise OSError("disk full")

        def generate(self, messages: Any) -> str:
            return "x"

    stage = LocalStage("llm", Flaky())
    with pytest.raises(StageError, match="llm:Flaky: raised OSError: disk full"):
        await outputs(stage, prompt())
    assert not stage.busy
    assert await outputs(stage, prompt()) == [Text("x")]


async def test_preparation_makes_way_for_a_run() -> None:
    class Preparing:
        def __init__(self) -> None:
            self.begun = threading.Event()
            self.cancelled = threading.Event()

        def prepare(self, messages: Any) -> None:
            self.begun.set()
            self.cancelled.wait(10)

        def cancel(self) -> None:
            self.cancelled.set()

        def generate(self, messages: Any) -> str:
            return "x"

    component = Preparing()
    stage = LocalStage("llm", component)
    preparing = asyncio.create_task(stage.prepare([Message("user", "hi")]))
    await asyncio.to_thread(component.begun.wait, 10)
    assert await outputs(stage, prompt()) == [Text("x")]
    await preparing
    assert not stage.busy
