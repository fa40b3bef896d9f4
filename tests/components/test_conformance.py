"""The conformance suite passes what is right and names what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from openomni import Audio, Conversation, Endings, component
from openomni.components.conformance import check, conformance


@pytest.mark.parametrize("kind", ["stt", "llm", "tts", "emotion", "retrieval", "end_to_end"])
def test_simulated_components_conform(kind: str) -> None:
    assert check(kind, "simulated") == []


def faults(kind: str, method: str, call: Callable[..., Any], **attributes: Any) -> str:
    """Why a component with this one method does not conform, a line each."""
    made = type("Made", (), {method: call, **attributes})
    with pytest.raises(AssertionError) as caught:
        conformance(kind, made, timeout=2.0)
    return str(caught.value)


def test_factory_of_a_good_component_passes() -> None:
    conformance("llm", type("Polite", (), {"generate": lambda self, messages: "Hello there."}))


def test_a_detector_that_writes_into_its_sound_changes_nothing_for_the_next_one() -> None:
    def one_that(writes: bool) -> Any:
        def detect(samples: Any) -> float:
            loudest.append(float(np.abs(samples).max()))
            if writes:
                samples[:] = 0
            return 0.5

        detect.window = 512  # type: ignore[attr-defined]
        return type("Made", (), {"open": lambda self: detect})

    loudest: list[float] = []
    conformance("vad", one_that(writes=True))
    first, loudest = max(loudest), []
    conformance("vad", one_that(writes=False))
    again, loudest = list(loudest), []
    conformance("vad", one_that(writes=False))
    assert max(loudest) == first
    assert loudest == again
    assert sum(each > 0 for each in again) > 8


def test_faults_of_a_voice_are_named() -> None:
    def speaking(samples: Any) -> Callable[..., Audio]:
        return lambda self, text: Audio(samples, 16_000)

    assert "answers: its sound reaches 2; scale it to −1…1" in faults("tts", "synthesize", speaking([2.0, 0.5]))
    assert "holds values that are no numbers" in faults("tts", "synthesize", speaking([0.5, np.nan]))
    assert "gave nothing but silence" in faults("tts", "synthesize", speaking(np.zeros(100)))
    assert "gave nothing; write synthesize(text: str)" in faults("tts", "synthesize", speaking([]))


def test_faults_of_a_writer_are_named() -> None:
    words = ["one", "two", "three", "four", "five", "six"]

    def cumulative(self: object, messages: Any) -> Iterator[str]:
        for count in range(1, 5):
            yield " ".join(words[:count])

    assert "every piece repeats the one before it" in faults("llm", "generate", cumulative)
    assert "keep the spaces between them" in faults("llm", "generate", lambda self, messages: iter(words))
    assert "answers: gave nothing" in faults("llm", "generate", lambda self, messages: "")


def test_first_answer_that_fails_ends_the_checks() -> None:
    said = faults("stt", "transcribe", lambda self, audio: 5)
    assert said.splitlines()[1:] == ["answers: returned int (5); expected Transcript or str"]
    assert "answers: hung: nothing came out of it for 2 s" in faults("stt", "transcribe", _hanging)


async def _hanging(self: object, audio: Audio) -> str:
    await asyncio.Event().wait()
    return ""


def test_short_and_silent_sound_must_not_raise() -> None:
    def picky(self: object, audio: Audio) -> str:
        if audio.peak == 0 or audio.duration < 0.1:
            raise ValueError("too little to hear")
        return "words"

    assert faults("stt", "transcribe", picky).splitlines()[1:] == [
        "takes no sound at all: raised ValueError: too little to hear",
        "takes 50 ms of sound: raised ValueError: too little to hear",
        "takes a second of silence: raised ValueError: too little to hear",
    ]


def test_who_plays_the_user_says_something_and_comes_to_an_end() -> None:
    assert check("player", "script") == []
    assert "says something first: says nothing to a sample" in faults("player", "say", lambda self, conversation: None)
    assert "says something first: gave 5; expected words, Audio" in faults(
        "player", "say", lambda self, conversation: 5
    )
    assert "comes to an end: said 200 utterances and goes on" in faults("player", "say", lambda self, conversation: "a")

    def forgetful(self: object, conversation: Conversation) -> str:
        return conversation.so_far[0].said

    assert "says something first: raised IndexError" in faults("player", "say", forgetful)


def test_component_that_serves_only_once_is_named() -> None:
    def once(self: Any, audio: Audio) -> str:
        if hasattr(self, "used"):
            raise RuntimeError("state was used up")
        self.used = True
        return "words"

    assert "answers again: raised RuntimeError: state was used up" in faults("stt", "transcribe", once)


def test_slots_that_do_not_run_together_are_named() -> None:
    class Counted:
        running = 0

    async def generate(self: object, messages: Any) -> str:
        Counted.running += 1
        try:
            await asyncio.sleep(0.01)
            if Counted.running > 1:
                raise RuntimeError("one at a time, please")
        finally:
            Counted.running -= 1
        return "Hello there."

    assert "answers 3 calls at a time: raised RuntimeError: one at a time" in faults(
        "llm", "generate", generate, slots=3
    )


def test_declaration_wants_a_docstring_and_types() -> None:
    @component("llm", "nameless")
    class Nameless:
        def __init__(self, size=3) -> None:  # type: ignore[no-untyped-def]
            pass

        def generate(self, messages: Any) -> str:
            return "Hello there."

    assert check("llm", Nameless) == [
        "says what it is: its class has no docstring; write one line",
        "says its parameters: no type that JSON knows at size; annotate it",
    ]


def detector(call: Callable[..., Any], window: int = 512) -> type:
    made = type("Detector", (), {"window": window, "__call__": call, "total": 0.0})
    return type("Vad", (), {"open": lambda self: made()})


def test_detector_must_give_probabilities_and_keep_streams_apart() -> None:
    shared = {"total": 0.0}

    def good(self: Any, samples: Any) -> float:
        self.total = 0.9 * self.total + float(np.abs(samples).mean())
        return min(self.total, 1.0)

    def leaking(self: Any, samples: Any) -> float:
        shared["total"] = 0.9 * shared["total"] + float(np.abs(samples).mean())
        return min(shared["total"], 1.0)

    conformance("vad", detector(good))
    with pytest.raises(AssertionError, match="keeps streams apart: two detectors share state"):
        conformance("vad", detector(leaking))
    with pytest.raises(AssertionError, match=r"gives 0…1: gave 7\.0; expected a number in 0…1"):
        conformance("vad", detector(lambda self, samples: 7.0))


def test_a_judge_of_pauses_is_tried_with_what_others_know_and_without() -> None:
    def by_recogniser(self: object, audio: Audio, text: str, endings: Endings) -> float:
        return 0.5 if endings.recogniser is None else endings.recogniser

    async def by_words(self: object, audio: Audio, text: str) -> int:
        return int(text.endswith("?"))

    for finished in (by_recogniser, by_words, lambda self, *given: 0.5):
        conformance("turn", type("Judge", (), {"finished": finished}))

    def careless(self: object, audio: Audio, text: str, endings: Endings) -> float:
        return 0.5 if endings.reader is None else 2 * endings.reader

    said = "takes what others know of the end, or don't: gave 2.0; expected a number in 0…1"
    assert faults("turn", "finished", careless).splitlines()[1:] == [said]
    assert "gives 0…1: raised TypeError" in faults(
        "turn", "finished", lambda self, audio, text, endings: endings.reader + 1
    )
