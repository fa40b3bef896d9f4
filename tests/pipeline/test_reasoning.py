"""What a model thinks aloud is told from what it answers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import virtual_time
from openomni.events import ReplyText, SessionOutput, Text
from openomni.pipeline.reasoning import Reasoning, Sorted
from openomni.pipeline.spec import parse
from openomni.pipeline.task import MOST_REASONING
from openomni.pipeline.turn import Turn
from openomni.pipeline.utterance import Utterance
from pipeline.scripted import ScriptedRunner, tone

ANALYSIS = "<|channel|>analysis<|message|>"


@dataclass
class Told:
    said: str = ""
    thought: str = ""

    def take(self, piece: Sorted) -> None:
        if piece.takes_back:
            self.thought, self.said = self.thought + self.said, ""
        self.said += piece.said
        self.thought += piece.thought


def told(*pieces: str, model: str = "") -> Told:
    reasoning, found = Reasoning(model or uuid.uuid4().hex), Told()
    for piece in pieces:
        found.take(reasoning.feed(piece))
    found.take(reasoning.rest())
    return found


@pytest.mark.parametrize(
    ("text", "said", "thought"),
    [
        ("<think>They ask.</think>\n\nIt is noon.", "It is noon.", "They ask."),
        ("<THINKING>\nHm.</thinking> Noon.", "Noon.", "\nHm."),
        ("<reasoning effort='low'>Hm.</reasoning>Noon.", "Noon.", "Hm."),
        ("[THINK]Hm.[/THINK]Noon.", "Noon.", "Hm."),
        ("◁think▷Hm.◁/think▷Noon.", "Noon.", "Hm."),
        (f"{ANALYSIS}Hm.<|end|><|start|>assistant<|channel|>final<|message|>Noon.<|return|>", "Noon.", "Hm."),
        ("<think></think>Noon.", "Noon.", ""),
        ("<think>Hm. They never stop", "", "Hm. They never stop"),
        ("Well. <think>Hm.</think>Noon.", "Well. Noon.", "Hm."),
        ("<think>a</think>One. <think>b</think>Two.", "One. Two.", "ab"),
        ("<think>I use <think> here.</think>Noon.", "Noon.", "I use <think> here."),
        ("They ask for it.</think>\n\nIt is noon.", "It is noon.", "They ask for it."),
        ("<think>a</think>Noon.</think> Yes.", "Noon. Yes.", "a"),
        ("2 < 3 and <b>4</b> <thin", "2 < 3 and <b>4</b> <thin", ""),
        ("Write `<think>` and `</think>`.", "Write `<think>` and `</think>`.", ""),
        ("", "", ""),
    ],
)
def test_reasoning_is_no_part_of_the_reply_however_it_is_streamed(text: str, said: str, thought: str) -> None:
    for pieces in ([text], list(text), [text[:3], text[3:9], text[9:]]):
        assert told(*pieces) == Told(said, thought)


ATOMS = [
    "<think>",
    "</think>",
    "<thinking x='1'>",
    "</",
    "<",
    "think",
    ">",
    "`",
    "word ",
    "\n",
    "[THINK]",
    "[",
    "◁",
    " ",
]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(ATOMS), max_size=20).map("".join), st.lists(st.integers(0, 100), max_size=10))
def test_pieces_change_nothing(text: str, cuts: list[int]) -> None:
    ends = [0, *sorted(min(at, len(text)) for at in cuts), len(text)]
    assert told(*(text[a:b] for a, b in pairwise(ends))) == told(text)


def test_nothing_waits_where_no_tag_can_begin() -> None:
    reasoning = Reasoning("waiting for nothing")
    assert [reasoning.feed(piece).said for piece in ("It", " is", " < 5", " noon.")] == ["It", " is", " < 5", " noon."]


def test_whose_template_opens_the_reasoning_is_known_from_the_first_reply_on() -> None:
    model = uuid.uuid4().hex
    assert Reasoning(model).feed("Hm.").said == "Hm.", "nobody can know yet"
    assert told("Hm.", "</think>", "Noon.", model=model) == Told("Noon.", "Hm.")
    again = Reasoning(model)
    assert again.feed("Hm again.") == Sorted()
    assert again.feed("</think>Noon.") == Sorted("Noon.", "Hm again.")


def test_a_reply_that_never_closes_what_it_may_not_have_opened_is_said() -> None:
    model = uuid.uuid4().hex
    told("Hm.</think>Noon.", model=model)
    assert told("It is noon.", model=model) == Told("It is noon.", "")
    assert Reasoning(model).feed("It is").said == "It is", "from then on at once"


def test_a_template_that_is_known_to_open_the_reasoning_is_believed() -> None:
    def first(*pieces: str) -> Told:
        reasoning, found = Reasoning("known", first=True), Told()
        for piece in (*map(reasoning.feed, pieces), reasoning.rest()):
            found.take(piece)
        return found

    assert first("Hm.", "</think>\n", "Noon.") == Told("Noon.", "Hm.")
    assert first("<think>Hm.</think>Noon.") == Told("Noon.", "Hm.")
    assert first("Hm. They never st") == Told("", "Hm. They never st")


# ---- in a turn -----------------------------------------------------------------------------------------------


def spoken_turn(reply: str, **writer: bool) -> tuple[Turn, list[SessionOutput], list[str]]:
    out: list[SessionOutput] = []

    async def emit(event: SessionOutput) -> None:
        out.append(event)

    stages = [{"stt": "simulated"}, {"llm": "simulated", "text": uuid.uuid4().hex, **writer}, {"tts": "simulated"}]
    runner = ScriptedRunner(reply=reply)
    turn = Turn("t1", parse({"name": "thinks", "stages": stages}), runner, Utterance(audio=tone(1.0)), emit)
    virtual_time.run(turn.run())
    given = dict(runner.seen).get("tts", [])
    return turn, out, [value.text for value in given if isinstance(value, Text)]


def test_reasoning_is_neither_shown_nor_spoken_and_stands_in_the_record() -> None:
    turn, out, spoken = spoken_turn("<think> They ask. </think> It is noon. Have a good day.")
    assert spoken == ["It is noon.", "Have a good day."]
    assert turn.reply.text == "It is noon. Have a good day. "
    assert "".join(event.text for event in out if isinstance(event, ReplyText)) == turn.reply.text
    (writer,) = [task for task in turn.tasks if task.stage.kind == "llm"]
    assert writer.output["text"] == turn.reply.text
    assert writer.output["reasoning"] == " They ask. "
    assert writer.first_arrival == pytest.approx(turn.tasks[2].ready, abs=0.15), "its first word is one of the reply"


def test_a_pipeline_says_that_its_model_reasons_first() -> None:
    turn, _, spoken = spoken_turn("They ask me. </think> It is noon.", reasons_first=True)
    assert (turn.reply.text, spoken) == ("It is noon. ", ["It is noon."])


def test_reasoning_alone_leaves_nothing_to_say() -> None:
    turn, out, spoken = spoken_turn("<think> They ask and ask")
    assert (turn.reply.text, spoken) == ("", [])
    assert not [event for event in out if isinstance(event, ReplyText)]
    (writer,) = [task for task in turn.tasks if task.stage.kind == "llm"]
    assert (writer.status, writer.reason) == ("completed", "it gave its reasoning and no reply")
    assert writer.output["reasoning"] == " They ask and ask "


def test_what_was_taken_for_a_reply_is_taken_back() -> None:
    turn, _, spoken = spoken_turn("They ask me. Let me see </think> It is noon.")
    assert spoken == ["They ask me.", "It is noon."], "what was spoken can't be unsaid, what waited was dropped"
    assert turn.reply.text == "It is noon. "
    assert "".join(clause.clause.written for clause in turn.reply.clauses).strip() == "It is noon."
    (writer,) = [task for task in turn.tasks if task.stage.kind == "llm"]
    assert writer.output["reasoning"] == "They ask me. Let me see "
    assert writer.output["text"] == turn.reply.text


def test_a_record_keeps_so_much_reasoning_and_tells_how_much_there_was() -> None:
    long = "word" * (MOST_REASONING // 4)
    turn, _, _ = spoken_turn(f"<think>{long} {long}</think> Yes.")
    (writer,) = [task for task in turn.tasks if task.stage.kind == "llm"]
    assert writer.output["reasoning"] == long
    assert writer.output["reasoning_letters"] == 2 * MOST_REASONING + 1
