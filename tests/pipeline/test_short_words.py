"""Short words during a reply: which of them take the word, which go along, and what is left of those."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from openomni.components import registry
from openomni.events import (
    AXIS_RATE,
    Dismissed,
    Heard,
    Message,
    ReplyEnd,
    ReplyPaused,
    ReplyResumed,
    ReplySound,
    Sound,
    Transcript,
    Value,
)
from openomni.media import Audio
from openomni.pipeline.backchannels import COMMANDS, Understood, is_command
from openomni.pipeline.spec import TurnTaking
from pipeline.test_dialogue import Runner, Talk, judged

HUM = {"avg_logprob": -1.3, "noise_prob": 0.4}
WORD = {"avg_logprob": -1.3, "noise_prob": 0.02}


@dataclass
class Doubtful(Runner):
    """`diagnostics` go with every transcript but the first; `whole` is what is recognised in what holds two
    loudnesses, so was said in two pieces."""

    diagnostics: dict[str, Any] = field(default_factory=dict)
    whole: str = ""

    async def _give(self, kind: str, inputs: AsyncIterator[Value], taken: list[Value]) -> AsyncIterator[Value]:
        if kind != "stt":
            async for value in super()._give(kind, inputs, taken):
                yield value
            return
        taken += [value async for value in inputs]
        (sound,) = taken
        assert isinstance(sound, Sound)
        self.heard.append(sound.audio.duration)
        samples = np.abs(sound.audio.samples)
        first, last = (float(part.max()) for part in np.array_split(samples, 2))
        which = round((0.3 - samples.max()) / 0.02)
        await asyncio.sleep(self.stt_delay)
        if self.whole and abs(first - last) > 0.005 and min(first, last) > 0.05:
            yield Transcript(self.whole)
        else:
            yield Transcript(self.said[which], diagnostics=self.diagnostics if which else {})


def said_into_a_reply(word: str, diagnostics: dict[str, Any], reply: str | None = None, **more: Any) -> Talk:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplySound)
        await talk.wait(0.3)
        await talk.speak(0.3, which=1)
        await talk.wait(8.0)

    runner = Doubtful(said=("tell me a story", word), diagnostics=diagnostics)
    if reply is not None:
        runner.reply = reply
    return Talk(runner, finished=judged(0.9), **more).hold(script)


@pytest.mark.parametrize(
    "word", ["Stop.", "wait", "No!", "Why?", "Help.", "Hold on.", "Okay, stop.", "No, no.", "¿Por qué?"]
)
@pytest.mark.parametrize("diagnostics", [HUM, WORD, {"avg_logprob": -1.5}])
def test_a_command_stops_a_reply_however_badly_it_is_heard(word: str, diagnostics: dict[str, Any]) -> None:
    first, second = said_into_a_reply(word, diagnostics).turns
    assert (first.interrupted, first.dismissed) == (True, [])
    assert second.transcript == word


def test_a_command_that_was_only_guessed_stops_it_and_is_answered() -> None:
    talk = said_into_a_reply("", {**HUM, "guess": "Help."})
    first, second = talk.turns
    assert first.interrupted
    assert (second.transcript, second.status) == ("Help.", "completed")
    assert talk.prompts[-1][-1] == Message("user", "Help.")
    assert talk.all(Heard)[-1].text == "Help."


@pytest.mark.parametrize(
    ("word", "diagnostics", "why"),
    [
        ("Yes.", WORD, "attention"),
        ("Right.", {}, "attention"),
        ("Mm-hm.", HUM, "attention"),
        ("Loki.", {**WORD, "first_words": "okay:0.080 loki:0.063 no:0.010"}, "attention"),
        ("and then", HUM, "guess"),
        ("and then", {"avg_logprob": -1.3}, "guess"),
        ("", {}, "nothing"),
        ("[coughs]", {}, "nothing"),
        ("", {**HUM, "guess": "I'm not going to"}, "nothing"),
    ],
)
def test_what_is_dismissed_leaves_an_event_and_stands_in_the_record(
    word: str, diagnostics: dict[str, Any], why: str
) -> None:
    talk = said_into_a_reply(word, diagnostics)
    (turn,) = talk.turns
    assert (turn.status, turn.interrupted) == ("completed", False)
    assert len(talk.all(ReplyPaused)) == len(talk.all(ReplyResumed)) == 1
    (said,) = turn.dismissed
    assert (said.why, said.text) == (why, word or diagnostics.get("guess", ""))
    assert said.log_probability == diagnostics.get("avg_logprob")
    assert (said.end - said.start) / AXIS_RATE == pytest.approx(0.3, abs=0.07)
    (event,) = talk.all(Dismissed)
    assert (event.turn_id, event.start, event.end, event.text, event.why) == (
        turn.turn_id, said.start, said.end, said.text, why,
    )  # fmt: skip
    assert [(segment.start, segment.end) for segment in turn.segments][1:] == [(said.start, said.end)]


def test_words_that_the_recogniser_is_unsure_of_take_the_word_where_they_are_no_noise() -> None:
    first, second = said_into_a_reply("Next time.", WORD).turns
    assert first.interrupted
    assert second.transcript == "Next time."


@pytest.mark.parametrize(
    ("text", "log_probability", "first_words"),
    [
        ("TAFE.", -1.3, "ta:0.200 stop:0.060 okay:0.100"),
        ("Loki.", -0.5, "okay:0.100 loki:0.500"),
        ("Loki is a god.", -1.3, "okay:0.100 loki:0.500"),
        ("Loki.", -1.3, "okay:0.040"),
    ],
)
def test_what_may_be_a_command_or_is_long_or_sure_is_no_misheard_word_of_attention(
    text: str, log_probability: float, first_words: str
) -> None:
    diagnostics = {"avg_logprob": log_probability, "noise_prob": 0.02, "first_words": first_words}
    assert Understood.of(text, diagnostics).meaning(TurnTaking(), asked=False) == "word"


def test_a_pipelines_own_commands_stand_for_ours() -> None:
    taking = {"commands": ["computer"]}
    assert said_into_a_reply("Computer!", HUM, taking=taking).turns[0].interrupted
    assert not said_into_a_reply("Stop.", HUM, taking=taking).turns[0].interrupted


@pytest.mark.parametrize("word", ["Yes.", "Right.", "Okay.", "Good.", "Mm-hm."])
@pytest.mark.parametrize(
    "reply", ["Do you think so? ", "Do you think so? I do not know. Not yet at all. Ask me again. "]
)
def test_what_may_be_either_answers_a_reply_that_asks(word: str, reply: str) -> None:
    first, second = said_into_a_reply(word, HUM, reply).turns
    assert second.transcript == word
    assert first.dismissed == []


def test_a_question_of_long_ago_is_not_what_a_short_word_answers() -> None:
    reply = "Do you think so? " + "I do not know at all. " * 8

    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplySound)
        await talk.wait(2.5)
        await talk.speak(0.3, which=1)
        await talk.wait(8.0)

    talk = Talk(Doubtful(said=("am I right", "yes"), reply=reply), finished=judged(0.9)).hold(script)
    assert [turn.transcript for turn in talk.turns] == ["am I right"]


def after_the_reply(guess: str, reply: str) -> str:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplyEnd)
        await talk.wait(3.0)
        await talk.speak(0.3, which=1)
        await talk.wait(3.0)

    runner = Doubtful(said=("am I right", ""), diagnostics={**HUM, "guess": guess}, reply=reply)
    return str(Talk(runner, finished=judged(0.9)).hold(script).turns[-1].transcript)


def test_an_answer_that_was_only_guessed_is_one_behind_a_question_alone() -> None:
    assert after_the_reply("Good.", "Do you think so? ") == "Good."
    assert after_the_reply("Good.", "It is noon. ") == ""
    assert after_the_reply("I'm not going to", "Do you think so? ") == ""


# ---- before anything of the reply was heard ----


def goes_on(pause: float, seconds: float, second: str, diagnostics: dict[str, Any], llm_delay: float = 0.3) -> Talk:
    """Speaks on `pause` seconds after a first part, whose reply is not heard before 1.1 s."""

    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.wait(pause)
        assert not talk.all(ReplySound)
        await talk.speak(seconds, which=1)
        await talk.wait(9.0)

    whole = "what is the capital of Italy?"
    runner = Doubtful(
        said=("what is the capital of", second), diagnostics=diagnostics, whole=whole, llm_delay=llm_delay
    )
    return Talk(runner, finished=judged(0.5)).hold(script)


@pytest.mark.parametrize("pause", [0.85, 0.9, 1.0])
@pytest.mark.parametrize(
    ("second", "seconds"), [("Italy?", 0.3), ("yes", 0.3), ("Italy, in the south of Europe?", 1.2)]
)
def test_what_is_said_before_the_reply_was_heard_goes_on_with_the_question(
    pause: float, second: str, seconds: float
) -> None:
    talk = goes_on(pause, seconds, second, WORD)
    cut, whole = talk.turns
    assert (cut.interrupted, cut.voice_to_voice_s, cut.reason) == (True, None, "the person spoke on")
    assert (whole.transcript, whole.status, whole.interrupted) == ("what is the capital of Italy?", "completed", False)
    assert whole.segments[0].start == cut.segments[0].start
    assert [message.content for message in talk.prompts[-1]] == ["what is the capital of Italy?"]


def test_a_command_before_the_reply_was_heard_is_one() -> None:
    cut, command = goes_on(0.9, 0.3, "Stop.", WORD).turns
    assert (cut.interrupted, cut.reason, command.transcript) == (True, "the person spoke", "Stop.")


@pytest.mark.parametrize(("text", "diagnostics"), [("", {}), ("[coughs]", {}), ("and then", HUM)])
def test_a_noise_before_the_reply_was_heard_only_holds_it(text: str, diagnostics: dict[str, Any]) -> None:
    talk = goes_on(0.9, 0.3, text, diagnostics)
    (turn,) = talk.turns
    assert (turn.transcript, turn.status) == ("what is the capital of", "completed")
    assert len(turn.dismissed) == 1
    assert talk.all(ReplySound)


def test_what_is_too_long_to_be_one_utterance_is_two() -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.wait(0.9)
        await talk.speak(0.3, which=1)
        await talk.wait(9.0)

    runner = Doubtful(said=("what is the capital of", "Italy?"), whole="never", llm_delay=0.3)
    talk = Talk(runner, finished=judged(0.5), taking={"max_utterance": 1.5}).hold(script)
    assert [turn.transcript for turn in talk.turns] == ["what is the capital of", "Italy?"]
    assert [message.content for message in talk.prompts[-1]] == ["what is the capital of", "Italy?"]


def test_who_was_silent_for_long_says_something_new_however_slow_the_reply_is() -> None:
    first, second = goes_on(1.5, 0.3, "Italy?", WORD, llm_delay=1.5).turns
    assert [first.transcript, second.transcript] == ["what is the capital of", "Italy?"]
    assert second.segments[0].start > first.segments[0].end


# ---- words ----


@pytest.mark.parametrize("text", [*COMMANDS, "Stop!", "NO, no!", "Oh no.", "Mm, wait.", "[coughs] Stop."])
def test_these_are_commands(text: str) -> None:
    assert is_command(text)


@pytest.mark.parametrize("text", ["", "Yes.", "Mm-hm.", "No Keith.", "Stopped.", "[stop]", "Is it a bus stop?"])
def test_these_are_none(text: str) -> None:
    assert not is_command(text)


def test_a_recogniser_that_says_nothing_about_itself_is_believed() -> None:
    assert Understood.of("Italy?", {}).meaning(TurnTaking(), asked=False) == "word"
    assert Understood.of("Italy?", {"avg_logprob": "?"}).meaning(TurnTaking(), asked=False) == "word"


# ---- the real models ----


@pytest.mark.models
@pytest.mark.parametrize("word", ["stop", "wait", "help", "yes", "okay"])
@pytest.mark.parametrize("level", [-20, -40])
def test_a_synthetic_voice_is_understood_at_every_loudness(word: str, level: int, models: Any) -> None:
    recogniser, voice = models
    audio = Audio.join([sound.audio for sound in voice.synthesize(f"{word.capitalize()}.")]).resample(AXIS_RATE)
    loud = np.flatnonzero(np.abs(audio.samples) > 0.01)
    samples = audio.samples[loud[0] : loud[-1]]
    room = np.random.default_rng(3).standard_normal(len(samples) + AXIS_RATE // 5) * 10 ** (-66 / 20)
    at = AXIS_RATE // 10
    room[at : at + len(samples)] += samples * 10 ** (level / 20) / np.sqrt(np.mean(samples**2))
    transcript = recogniser.transcribe(Audio(room, AXIS_RATE))
    understood = Understood.of(transcript.text, transcript.diagnostics)
    assert understood.meaning(TurnTaking(), asked=False) == ("word" if is_command(word) else "attention"), understood


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    return registry.build("stt", "faster-whisper", {}), registry.build("tts", "piper", {"voice": "en_US-joe-medium"})
