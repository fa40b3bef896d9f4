"""What is kept of the pauses in what a person said, and of a reply that they stopped, on the virtual clock."""

from __future__ import annotations

import pytest

from openomni.events import AXIS_RATE, CancelResponse, Commit, Played, ReplyEnd, ReplySound, ReplyText, SessionChange
from openomni.records import PauseRecord

from .test_ahead import Reader
from .test_dialogue import REPLY, Runner, Talk, judged


async def with_a_pause(talk: Talk) -> None:
    await talk.speak(1.0)
    await talk.wait(0.5)
    await talk.speak(1.0)
    await talk.wait(2.0)


def test_each_pause_is_kept_with_what_was_thought_of_it() -> None:
    talk = Talk(Reader(likely=0.3, ending_heard=0.6), finished=judged(0.1)).hold(with_a_pause)
    (turn,) = talk.turns
    went_on, ended = turn.pauses
    assert (went_on.ended, ended.ended) == (False, True)
    assert went_on.lasted_s == pytest.approx(0.5, abs=0.07), "to the windows of 32 ms"
    assert ended.lasted_s == pytest.approx(0.8, abs=0.05)
    assert went_on.at / AXIS_RATE == pytest.approx(1.0, abs=0.05)
    assert ended.at == turn.segments[0].end
    assert (ended.finished, ended.recogniser, ended.language_model) == (0.1, 0.6, 0.3)
    assert ended.silence_s == 0.8, "unfinished_silence, as the defaults have it"
    kept = {stage.revision for stage in turn.stages if stage.status == "completed"}
    assert {ended.revision} == kept
    assert went_on.revision < ended.revision


def test_who_is_sure_waits_less_and_the_record_says_so() -> None:
    (turn,) = Talk(finished=judged(0.9)).hold(_one_question).turns
    (pause,) = turn.pauses
    assert (pause.finished, pause.silence_s, pause.ended) == (0.9, 0.2, True)
    assert pause.words.startswith("90% sure that the person had finished, so 0.20 s of silence ended it (0.2")


def test_a_judge_that_is_slow_shows_in_how_long_it_was_silent() -> None:
    (turn,) = Talk(finished=judged(0.9, after=0.5)).hold(_one_question).turns
    (pause,) = turn.pauses
    assert pause.silence_s == 0.2
    assert pause.lasted_s > 0.5


@pytest.mark.parametrize("says_so", [Commit(), None], ids=["the client", "the end of the capture"])
def test_what_else_ends_a_turn_is_no_silence(says_so: Commit | None) -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.wait(0.3)
        if says_so is not None:
            talk.inputs.put_nowait(says_so)
            await talk.wait(1.0)

    (turn,) = Talk(finished=judged(0.1)).hold(script).turns
    assert turn.status == "completed"
    (pause,) = turn.pauses
    assert (pause.finished, pause.lasted_s, pause.ended) == (0.1, None, False)


def test_without_a_judge_silence_alone_is_told() -> None:
    (turn,) = Talk().hold(_one_question).turns
    (pause,) = turn.pauses
    assert (pause.finished, pause.recogniser, pause.language_model, pause.ended) == (None, None, None, True)
    assert pause.words == f"{pause.silence_s:.2f} s of silence ended it ({pause.lasted_s:.2f} s passed)"


def test_a_pause_too_short_to_run_ahead_in_is_kept_as_well() -> None:
    (turn,) = Talk(taking={"speculate_after": None}).hold(_one_question).turns
    (pause,) = turn.pauses
    assert (pause.at, pause.ended) == (turn.segments[0].end, True)
    assert {stage.revision for stage in turn.stages} == {pause.revision} == {0}


def test_a_client_that_says_itself_when_it_ends_has_no_pauses() -> None:
    async def script(talk: Talk) -> None:
        await with_a_pause(talk)
        talk.inputs.put_nowait(Commit())
        await talk.wait(2.0)

    (turn,) = Talk(settings={"turn_detection": False}).hold(script).turns
    assert turn.status == "completed"
    assert turn.pauses == []


def test_what_lay_behind_is_told_in_words() -> None:
    pause = PauseRecord(
        at=16_000, revision=0, finished=0.31, recogniser=0.4, language_model=0.12, silence_s=0.74, ended=True
    )
    assert pause.words == (
        "only 31% sure that the person had finished (recogniser 40%, language model 12%), "
        "so 0.74 s of silence ended it, while the models ran ahead"
    )


def test_a_written_reply_that_is_stopped_was_read_as_far_as_it_came() -> None:
    async def script(talk: Talk) -> None:
        talk.inputs.put_nowait(SessionChange(text_only=True))
        await talk.speak(1.0)
        await talk.until(ReplyText)
        await talk.wait(0.05)
        talk.inputs.put_nowait(CancelResponse())
        await talk.wait(1.0)
        await talk.speak(1.0)
        await talk.wait(3.0)

    talk = Talk(Runner(llm_delay=0.03)).hold(script)
    assert talk.turns[0].interrupted
    (read,) = [message.content for message in talk.prompts[-1] if message.role == "assistant"]
    assert 0 < len(read) < len(REPLY.strip())
    assert REPLY.startswith(read)


def test_a_report_that_comes_again_changes_nothing() -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplySound)
        await talk.wait(1.5)
        await talk.speak(1.2, which=1)
        await talk.until(ReplyEnd)
        await talk.wait(6.0)
        first, *_ = talk.turns
        talk.before = first  # type: ignore[attr-defined]
        state = talk.playing[first.turn_id]
        for ended in (False, True):  # after a break, a client tells again what it told
            talk.inputs.put_nowait(Played(first.turn_id, state[0], state[0], talk._played(state), ended))
        await talk.wait(0.1)
        await talk.speak(1.2, which=2)
        await talk.wait(6.0)

    talk = Talk(Runner(said=("tell me a story", "no stop", "and now")), finished=judged(0.9)).hold(script)
    first = talk.turns[0]
    heard = next(stage.output["heard"] for stage in first.stages if stage.kind == "llm")
    assert heard.startswith("It is long, that story.")
    assert first == talk.before  # type: ignore[attr-defined]
    assert heard in [message.content for message in talk.prompts[-1]]


def test_what_was_heard_of_an_old_reply_stands_when_its_end_is_told_late() -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(1.0)
        await talk.until(ReplySound)
        await talk.wait(1.5)
        await talk.speak(1.2, which=1)
        await talk.wait(6.0)
        talk.inputs.put_nowait(Played(talk.turns[0].turn_id, 2.0, 2.0, 1.5, True))
        await talk.wait(0.1)
        await talk.speak(1.2, which=2)
        await talk.wait(6.0)

    talk = Talk(Runner(said=("tell me a story", "no stop", "and now")), finished=judged(0.9), plays=False).hold(script)
    heard = next(stage.output["heard"] for stage in talk.turns[0].stages if stage.kind == "llm")
    assert heard.startswith("It is long, that story.")
    assert heard in [message.content for message in talk.prompts[-1]]


async def _one_question(talk: Talk) -> None:
    await talk.speak(1.0)
    await talk.wait(2.0)
