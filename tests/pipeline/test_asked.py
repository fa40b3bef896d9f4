"""What a session asks of the components of its turns, a voice and a language, on the virtual clock."""

from __future__ import annotations

from openomni.events import ReplySound, Respond, SessionChange

from .test_dialogue import Runner, Talk


async def question(talk: Talk) -> None:
    await talk.speak(1.0)
    await talk.wait(3.0)


def test_each_turn_takes_what_is_in_force_as_it_begins() -> None:
    async def script(talk: Talk) -> None:
        await question(talk)
        talk.inputs.put_nowait(SessionChange(voice="low", language="de"))
        await question(talk)
        talk.inputs.put_nowait(SessionChange(voice="high"))
        await question(talk)
        talk.inputs.put_nowait(SessionChange(voice="", language=""))
        await question(talk)

    talk = Talk(Runner()).hold(script)
    assert [turn.status for turn in talk.turns] == ["completed"] * 4
    of = {kind: [asked for each, asked in talk.runner.options if each == kind] for kind in ("stt", "llm", "tts")}
    assert of["stt"] == [{}, {"language": "de"}, {"language": "de"}, {}]
    assert of["tts"] == [{}, {"voice": "low"}, {"voice": "high"}, {}]
    assert of["llm"] == [{}] * 4


def test_a_session_may_begin_with_them_and_the_record_shows_them() -> None:
    talk = Talk(Runner(), settings={"voice": "low", "language": "de"}).hold(question)
    (turn,) = talk.turns
    assert {stage.kind: stage.output.get("asked") for stage in turn.stages} == {
        "stt": {"language": "de"}, "llm": None, "tts": {"voice": "low"},
    }  # fmt: skip


def test_a_voice_is_loaded_when_it_is_asked_for() -> None:
    async def script(talk: Talk) -> None:
        talk.inputs.put_nowait(SessionChange(voice="low"))
        talk.inputs.put_nowait(SessionChange(voice=""))
        await question(talk)

    assert Talk(Runner()).hold(script).runner.loaded == ["low"]


def test_a_response_may_have_a_voice_of_its_own() -> None:
    async def script(talk: Talk) -> None:
        talk.inputs.put_nowait(SessionChange(voice="low", create_response=False))
        await talk.speak(1.0)
        await talk.wait(2.0)
        assert not talk.all(ReplySound)
        talk.inputs.put_nowait(Respond(voice="high"))
        await talk.wait(3.0)
        talk.inputs.put_nowait(Respond(instructions="Say it again."))
        await talk.wait(3.0)

    talk = Talk(Runner()).hold(script)
    assert [asked for kind, asked in talk.runner.options if kind == "tts"] == [{"voice": "high"}, {"voice": "low"}]


def test_what_is_recognised_while_somebody_speaks_is_in_their_language_too() -> None:
    async def script(talk: Talk) -> None:
        await talk.speak(3.5)
        await talk.wait(3.0)

    talk = Talk(Runner(), taking={"recognise_every": 1.0}, settings={"language": "de"}).hold(script)
    recognised = [asked for kind, asked in talk.runner.options if kind == "stt"]
    assert len(recognised) > 1
    assert all(asked == {"language": "de"} for asked in recognised)
    (turn,) = talk.turns
    waste = [stage for stage in turn.stages if stage.status == "superseded"]
    assert waste
    assert all(stage.output["asked"] == {"language": "de"} for stage in waste)
