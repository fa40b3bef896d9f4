"""What a session asks of one call: a voice, a language; and what becomes of it where a component has none of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from components.feeding import outputs, prompt, sound
from openomni import Audio, Declined, Frame, Message, Transcript, component
from openomni.components import registry
from openomni.components.conformance import check
from openomni.components.simulated import tone
from openomni.components.stage import LocalStage, StageError, StageTiming
from openomni.events import Text

HALF = Audio.silence(0.5, 16_000)


def hearer(method: Any, name: str = "transcribe") -> LocalStage:
    return LocalStage("stt", type("Hearer", (), {name: method})())


def plain(self: object, audio: Audio, language: str | None = None) -> str:
    return str(language)


async def coroutine(self: object, audio: Audio, *, language: str | None = None) -> str:
    await asyncio.sleep(0)
    return str(language)


def generator(self: object, audio: Audio, language: str | None = None) -> Iterator[Transcript]:
    yield Transcript(str(language))


@pytest.mark.parametrize("method", [plain, coroutine, generator], ids=lambda method: method.__name__)
async def test_a_method_that_names_an_option_is_given_it(method: Any) -> None:
    stage = hearer(method)
    assert await outputs(stage, sound(), asked={"language": "de"}) == [Transcript("de")]
    assert await outputs(stage, sound()) == [Transcript("None")]


async def test_so_is_one_that_hears_while_it_comes() -> None:
    async def transcribe_stream(
        self: object, chunks: AsyncIterator[Audio], language: str | None = None
    ) -> AsyncIterator[Transcript]:
        async for _ in chunks:
            pass
        yield Transcript(str(language))

    stage = hearer(transcribe_stream, "transcribe_stream")
    assert await outputs(stage, sound(), asked={"language": "de"}) == [Transcript("de")]


async def test_a_method_that_names_none_is_called_as_ever_and_the_run_says_so() -> None:
    timing = StageTiming()
    stage = hearer(lambda self, audio, **others: str(others))
    assert await outputs(stage, sound(), asked={"language": "de"}, timing=timing) == [Transcript("{}")]
    assert timing.declined == {"language": "stt:Hearer takes no language"}


async def test_an_option_is_no_place_for_another_argument() -> None:
    class Agent:
        def respond(self, audio: Audio, messages: Sequence[Message], voice: str = "own") -> str:
            return f"{len(messages)} {voice}"

    stage = LocalStage("end_to_end", Agent())
    assert await outputs(stage, prompt(), sound()) == [Text("1 own")]
    assert await outputs(stage, prompt(), sound(), asked={"voice": "other"}) == [Text("1 other")]


class Voices:
    """Has the voices `low` and `high`, and says which one spoke what."""

    def __init__(self) -> None:
        self.spoken: list[str] = []

    def synthesize(self, text: str, voice: str | None = None) -> Iterator[Audio]:
        if voice not in (None, "low", "high"):
            raise Declined("voice", f"there is no voice {voice!r}; there are low and high")
        self.spoken.append(f"{voice} {text}")
        yield HALF


async def test_a_voice_is_the_same_for_all_clauses_of_a_run_and_for_no_other() -> None:
    voices = Voices()
    stage = LocalStage("tts", voices)
    await outputs(stage, Text("One,"), Text("two."), asked={"voice": "low"})
    await outputs(stage, Text("Three."))
    assert voices.spoken == ["low One,", "low two.", "None Three."]


async def test_what_a_component_declines_fails_nothing_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    voices, timing = Voices(), StageTiming()
    stage = LocalStage("tts", voices)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            values = await outputs(stage, Text("One,"), Text("two."), asked={"voice": "alloy"}, timing=timing)
            assert len(values) == 2
    assert voices.spoken == ["None One,", "None two."] * 2
    assert timing.declined == {"voice": "there is no voice 'alloy'; there are low and high"}
    assert [record.getMessage() for record in caplog.records] == [
        "tts:Voices keeps its own voice: there is no voice 'alloy'; there are low and high"
    ]


async def test_a_voice_that_breaks_off_after_it_spoke_fails() -> None:
    class Breaks:
        def synthesize(self, text: str, voice: str | None = None) -> Iterator[Audio]:
            yield HALF
            raise Declined("voice", "out of breath")

    with pytest.raises(StageError, match="out of breath"):
        await outputs(LocalStage("tts", Breaks()), Text("One."), asked={"voice": "low"})


async def test_nobody_can_decline_what_was_not_asked() -> None:
    class Sulks:
        def synthesize(self, text: str, voice: str | None = None) -> Audio:
            raise Declined("voice", "not today")

    with pytest.raises(StageError, match="not today"):
        await outputs(LocalStage("tts", Sulks()), Text("One."))


async def test_a_voice_is_loaded_beside_what_runs() -> None:
    begun, loaded = asyncio.Event(), []

    class Slow:
        async def synthesize(self, text: str) -> Audio:
            begun.set()
            await asyncio.Event().wait()
            return HALF

        def load_voice(self, voice: str) -> None:
            loaded.append(voice)
            raise Declined("voice", "not here")  # its next run says so

    stage = LocalStage("tts", Slow())
    speaking = asyncio.create_task(outputs(stage, Text("One.")))
    await begun.wait()
    await stage.load_voice("low")
    assert loaded == ["low"]
    speaking.cancel()
    await LocalStage("tts", Voices()).load_voice("low")


@component("end_to_end", "options-test")
class Options:
    """Takes both."""

    def respond(
        self, audio: Audio, messages: Sequence[Message], frames: Sequence[Frame], voice: str = "", language: str = ""
    ) -> Audio:
        return HALF


def test_what_is_known_of_a_component_says_what_may_be_asked() -> None:
    assert registry.find("end_to_end", "options-test").options == ("voice", "language")
    assert registry.find("tts", "simulated").options == ()
    assert registry.find("tts", "piper").options == ("voice",)
    assert registry.find("stt", "faster-whisper").options == ("language",)


@component("tts", "picky-test")
class Picky:
    """Raises for a voice that it does not have."""

    def synthesize(self, text: str, voice: str | None = None) -> Audio:
        if voice is not None:
            raise KeyError(voice)
        return tone(0.5, 16_000)


def test_the_conformance_check_asks_for_what_nobody_has() -> None:
    assert "answers when it is asked for an unknown voice: raised KeyError: 'no-such-name'" in check("tts", Picky)
