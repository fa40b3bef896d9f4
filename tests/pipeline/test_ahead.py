"""What models do while somebody is still speaking, on the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from openomni.events import Endings, Heard, Message
from openomni.media import Audio
from openomni.pipeline.prompt import recent
from openomni.pipeline.spec import PipelineError, StageSpec, parse

from .test_dialogue import Runner, Talk, judged


@dataclass
class Reader(Runner):
    """A language model that knows how likely a sentence is over."""

    likely: float | None = 0.9
    asked: list[list[Message]] = field(default_factory=list)

    async def ending(self, stage: StageSpec, messages: Sequence[Message]) -> float | None:
        self.asked.append(list(messages))
        return self.likely


async def long_question(talk: Talk) -> None:
    await talk.speak(3.5)
    await talk.wait(2.0)


def test_somebody_who_speaks_on_is_recognised_and_read_meanwhile() -> None:
    talk = Talk(Runner(), taking={"recognise_every": 1.0}).hold(long_question)
    (turn,) = talk.turns
    assert turn.status == "completed"
    early = [heard for heard in talk.runner.heard if heard < 3.0]
    assert early == pytest.approx([1.15, 2.15], abs=0.2)
    told = [event for event in talk.all(Heard) if not event.final]
    assert len(told) >= len(early)
    assert [Message("user", "what is the time")] in talk.runner.prepared
    kept = [stage for stage in turn.stages if stage.status == "completed"]
    waste = [stage for stage in turn.stages if stage.status == "superseded"]
    assert {stage.kind for stage in waste} == {"stt"}
    assert len(waste) >= len(early)
    assert max(stage.revision for stage in waste) < min(stage.revision for stage in kept)


def test_without_it_the_pause_is_waited_for() -> None:
    talk = Talk(Runner()).hold(long_question)
    assert all(heard > 3.0 for heard in talk.runner.heard)


def test_the_pause_does_not_wait_for_a_recognition_that_is_under_way() -> None:
    slow = Talk(Runner(stt_delay=0.9), taking={"recognise_every": 1.0}).hold(long_question)
    plain = Talk(Runner(stt_delay=0.9)).hold(long_question)
    assert slow.turns[0].voice_to_voice_s == pytest.approx(plain.turns[0].voice_to_voice_s, abs=0.05)


def test_the_judge_is_told_what_the_other_models_think() -> None:
    told: list[tuple[str, Endings]] = []

    async def judge(audio: Audio, text: str, endings: Endings) -> float:
        told.append((text, endings))
        return 0.9

    runner = Reader(ending_heard=0.7)
    Talk(runner, finished=judge).hold(long_question)
    assert told[-1] == ("what is the time", Endings(recogniser=0.7, reader=0.9))
    assert runner.asked[-1] == [Message("user", "what is the time")]


@pytest.mark.parametrize(("heard", "asked"), [(None, 1), (0.9, 1), (0.99, 0)])
def test_the_language_model_is_not_asked_where_the_recogniser_is_sure(heard: float | None, asked: int) -> None:
    runner = Reader(ending_heard=heard)
    talk = Talk(runner, finished=judged(0.9)).hold(long_question)
    assert len(runner.asked) == asked
    assert [turn.status for turn in talk.turns] == ["completed"]


def test_models_that_can_not_say_leave_it_to_the_judge() -> None:
    told: list[Endings] = []

    async def judge(audio: Audio, text: str, endings: Endings) -> float:
        told.append(endings)
        return 0.9

    talk = Talk(Reader(likely=None), finished=judge).hold(long_question)
    assert told[-1] == Endings()
    assert talk.turns[-1].status == "completed"


def test_the_oldest_turns_leave_by_halves_so_that_what_was_read_stays_a_beginning() -> None:
    history = [message for n in range(9) for message in (Message("user", f"q{n}"), Message("assistant", f"a{n}"))]
    kept = [recent(history[: 2 * count], 4) for count in range(1, 10)]
    assert [len(each) // 2 for each in kept] == [1, 2, 3, 4, 3, 4, 3, 4, 3]
    assert all(each[-1] == Message("assistant", f"a{n}") for n, each in enumerate(kept))
    goes_on = [after[: len(before)] == before for before, after in pairwise(kept)]
    assert goes_on == [True, True, True, False, True, False, True, False]


def test_recognising_all_the_time_is_refused() -> None:
    spec = {"name": "x", "stages": [{"stt": "simulated"}], "turn_taking": {"recognise_every": 0.05}}
    with pytest.raises(PipelineError, match=r"recognise_every must be at least 0\.2 seconds, or null"):
        parse(spec, "x")


def test_the_reading_is_the_language_models_own_time() -> None:
    @dataclass
    class Slow(Reader):
        async def ending(self, stage: StageSpec, messages: Sequence[Message]) -> float | None:
            await asyncio.sleep(0.4)
            return 0.9

    async def judge(audio: Audio, text: str, endings: Endings) -> float:
        return 0.9

    (turn,) = Talk(Slow(), finished=judge).hold(long_question).turns
    spent = dict.fromkeys(("model", "queue", "residue"), 0.0)
    for part in turn.parts:
        if part.what in spent and (part.what != "model" or part.stage.startswith("llm")):
            spent[part.what] += part.end_s - part.start_s
    assert spent["model"] > 0.4
    assert spent["queue"] < 0.01
    assert spent["residue"] < 0.01
