from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import virtual_time
from openomni.events import (
    Document,
    Documents,
    Emotion,
    Heard,
    Message,
    Prompt,
    ReplySound,
    ReplyText,
    SessionOutput,
    Speaker,
    Text,
    Value,
)
from openomni.pipeline.spec import parse
from openomni.pipeline.turn import Turn, TurnFailed
from openomni.pipeline.utterance import Utterance
from pipeline.scripted import ScriptedRunner, tone

PIPELINE = parse(
    {
        "name": "scripted",
        "stages": [{"stt": "simulated"}, {"llm": "simulated", "instructions": "Be brief."}, {"tts": "simulated"}],
    }
)


def make_turn(runner: ScriptedRunner, utterance: Utterance | None = None) -> tuple[Turn, list[SessionOutput]]:
    out: list[SessionOutput] = []

    async def emit(event: SessionOutput) -> None:
        out.append(event)

    return Turn("t1", PIPELINE, runner, utterance or Utterance(audio=tone(1.0)), emit), out


def test_the_voice_starts_on_the_first_clause_while_the_reply_is_still_being_written() -> None:
    runner = ScriptedRunner()
    turn, out = make_turn(runner)
    virtual_time.run(turn.run())
    kinds = [type(event) for event in out]
    assert kinds.index(ReplySound) < max(i for i, kind in enumerate(kinds) if kind is ReplyText)
    # 0.1 for the transcript, four words of 0.05 until the space after "noon." shows the clause whole, 0.05 to speak
    assert turn.reply.first_sound == pytest.approx(0.1 + 3 * 0.05 + 0.05)


def test_a_turn_tells_its_transcript_its_words_and_its_sound_in_order() -> None:
    turn, out = make_turn(ScriptedRunner())
    virtual_time.run(turn.run())
    assert out[0] == Heard("t1", "what is the time", True)
    assert (
        "".join(event.text for event in out if isinstance(event, ReplyText)).strip() == "It is noon. Have a good day."
    )
    sounds = [event for event in out if isinstance(event, ReplySound)]
    assert [event.offset for event in sounds] == [0, 8000]
    assert turn.reply.audible_offset == pytest.approx(0, abs=0.001)
    assert [task.status for task in turn.tasks] == ["completed"] * 3


def test_the_language_model_gets_instructions_history_and_the_transcript() -> None:
    runner = ScriptedRunner()
    history = [Message("user", "hello"), Message("assistant", "hi")]
    turn, _ = make_turn(runner, Utterance(audio=tone(1.0), history=history))
    virtual_time.run(turn.run())
    (prompt,) = dict(runner.seen)["llm"]
    assert isinstance(prompt, Prompt)
    assert [(m.role, m.content) for m in prompt.messages] == [
        ("system", "Be brief."),
        ("user", "hello"),
        ("assistant", "hi"),
        ("user", "what is the time"),
    ]


class Knowing(ScriptedRunner):
    """Also tells feelings, who speaks, and what was found; the last takes longest."""

    async def _give(self, kind: str, inputs: AsyncIterator[Value], taken: list[Value]) -> AsyncIterator[Value]:
        async for value in super()._give(kind, inputs, taken):
            yield value
        match kind:
            case "emotion":
                yield Emotion(0.8, label="glad")
            case "speaker":
                yield Speaker("ada")
            case "retrieval":
                await asyncio.sleep(0.4)
                yield Documents((Document("Noon is at twelve.", 0.9),))


def test_what_other_stages_know_reaches_the_language_model_and_is_waited_for() -> None:
    runner = Knowing()
    stages = [{kind: "simulated"} for kind in ("stt", "emotion", "speaker", "retrieval", "llm", "tts")]
    out: list[SessionOutput] = []

    async def emit(event: SessionOutput) -> None:
        out.append(event)

    turn = Turn("t1", parse({"name": "knows", "stages": stages}), runner, Utterance(audio=tone(1.0)), emit)
    virtual_time.run(turn.run())
    (prompt,) = dict(runner.seen)["llm"]
    assert isinstance(prompt, Prompt)
    assert prompt.messages[-1].content == (
        "Use what bears on it:\n- Noon is at twelve.\n\nwhat is the time\n"
        "(The person sounds glad.)\n(The speaker is ada.)"
    )
    tasks = {task.stage.kind: task for task in turn.tasks}
    assert tasks["llm"].ready == pytest.approx(0.1 + 0.4), "what came last released it"


def test_a_typed_message_skips_recognition() -> None:
    runner = ScriptedRunner()
    turn, _ = make_turn(runner, Utterance(text="how are you"))
    virtual_time.run(turn.run())
    assert [kind for kind, _ in runner.seen] == ["llm", "tts"]
    assert turn.reply.transcript == "how are you"


def test_an_empty_transcript_leaves_nothing_to_answer() -> None:
    runner = ScriptedRunner(transcript=" ")
    turn, out = make_turn(runner)
    virtual_time.run(turn.run())
    assert [task.status for task in turn.tasks] == ["completed", "cancelled", "cancelled"]
    assert turn.tasks[1].reason == "nothing was said"
    assert not [event for event in out if isinstance(event, ReplySound)]


@pytest.mark.parametrize("kind", ["stt", "llm", "tts"])
def test_a_component_that_raises_fails_the_turn_with_its_name_and_reason(kind: str) -> None:
    runner = ScriptedRunner(fail=kind)
    turn, _ = make_turn(runner)
    with pytest.raises(TurnFailed, match=f"{kind}:simulated: RuntimeError: scripted to fail"):
        virtual_time.run(turn.run())
    assert {task.stage.kind: task.status for task in turn.tasks}[kind] == "failed"
    assert not [task for task in turn.tasks if task.status in ("pending", "started")]
    assert runner.open_stages == 0


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.12, 0.2, 0.28, 0.4])
def test_cancelling_leaves_no_task_running_and_no_output_behind_it(moment: float) -> None:
    runner = ScriptedRunner()
    turn, out = make_turn(runner)

    async def cancel_midway() -> int:
        running = asyncio.create_task(turn.run())
        await asyncio.sleep(moment)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        said = len(out)
        await asyncio.sleep(5)
        assert len(asyncio.all_tasks()) == 1
        return said

    assert virtual_time.run(cancel_midway()) == len(out)
    assert runner.open_stages == 0
    assert not [task for task in turn.tasks if task.status in ("pending", "started")]


def test_clauses_reach_the_voice_as_sentences() -> None:
    runner = ScriptedRunner(reply="Well, it is 3.14 or so, Dr. Smith said. Then more, much more. Bye")
    turn, _ = make_turn(runner)
    virtual_time.run(turn.run())
    spoken = [value.text for value in dict(runner.seen)["tts"] if isinstance(value, Text)]
    assert spoken == ["Well, it is 3.14 or so,", "Dr. Smith said.", "Then more, much more.", "Bye"]
