"""A turn in the terminal: every character of the picture says what the turn's record says."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from openomni.cli.timeline import GUTTER, render

WIDTH = 100


def part(what: str, start: float, end: float, stage: str = "") -> dict[str, Any]:
    return {"what": what, "stage": stage, "start_s": start, "end_s": end}


def stage(kind: str, component: str, started: float, model: float, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "component": component, "status": "completed", "reason": "", "started_s": started,
            "ended_s": started + model, "queue_s": 0.0, "lost_s": 0.0, "transfer_s": 0.0, "load_s": 0.0,
            "model_s": model, **more}  # fmt: skip


PARTS = [
    part("end_of_turn", 0.0, 0.2), part("queue", 0.2, 0.25, "stt:whisper"), part("model", 0.25, 0.5, "stt:whisper"),
    part("model", 0.5, 0.9, "llm:smol"), part("residue", 0.9, 1.0),
]  # fmt: skip
TURN: dict[str, Any] = {
    "index": 2, "pipeline": "mine", "status": "completed", "interrupted": False, "voice_to_voice_s": 1.0, "reason": "",
    "transcript": " What is it? ", "reply_text": "It is this.", "pauses": [], "parts": PARTS,
    "stages": [stage("stt", "whisper", 0.2, 0.3), stage("llm", "smol", 0.5, 0.4)],
}  # fmt: skip


def shown(**changes: Any) -> list[str]:
    """The lines, as a terminal of a hundred columns shows them."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    console.print(render({**TURN, **changes}))
    file = console.file
    assert isinstance(file, io.StringIO)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def row(lines: list[str], name: str) -> str:
    (found,) = (line for line in lines if line.startswith(name))
    return found


def test_the_title_names_the_turn_and_what_a_person_waited() -> None:
    title = shown()[0]
    assert re.fullmatch(r"Turn 3  mine +voice to voice 1000 ms", title)
    assert len(title) == WIDTH


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "failed"}, "Turn 3  mine  failed "),
        ({"interrupted": True}, "Turn 3  mine  interrupted "),
        ({"status": None}, "Turn 3  mine   "),
    ],
)
def test_what_did_not_go_well_stands_in_the_title(changes: dict[str, Any], says: str) -> None:
    assert shown(**changes)[0].startswith(says)


def test_where_nobody_heard_it_the_title_says_so() -> None:
    assert shown(voice_to_voice_s=None)[0].endswith("first sound after 1000 ms")
    bare = shown(voice_to_voice_s=None, parts=[], stages=[])
    assert bare[0].endswith("not heard")
    assert len(bare) == 3, "a title and what was said, no picture"


def test_the_words_follow_each_with_its_mark() -> None:
    lines = shown(reason="the model is away")
    assert lines[1:4] == ["  » What is it?", "  « It is this.", "  ! the model is away"]


def test_each_owner_has_a_lane_as_long_as_what_it_owned() -> None:
    lines, lane = shown(), WIDTH - GUTTER - 11
    for name, start, end, figure in (
        ("end of turn", 0.0, 0.2, "200 ms"),
        ("stt whisper", 0.2, 0.5, "300 ms"),
        ("llm smol", 0.5, 0.9, "400 ms"),
        ("residue", 0.9, 1.0, "100 ms"),
    ):
        line = row(lines, name)
        assert line.endswith(figure)
        drawn = line[GUTTER : GUTTER + lane].rstrip()
        assert len(drawn) - len(drawn.lstrip()) == pytest.approx(start * lane, abs=1)
        assert len(drawn) == pytest.approx(end * lane, abs=1)


def test_the_axis_has_round_numbers_at_their_places() -> None:
    lines, lane = shown(), WIDTH - GUTTER - 11
    axis = next(line for line in lines if re.fullmatch(r" +0( +\d+)+", line))
    for tick in ("200", "400", "800"):
        assert axis.index(tick) == GUTTER + round(int(tick) / 1000 * lane)


def test_the_sum_is_exact_and_tells_what_nobody_owns() -> None:
    said = " ".join(" ".join(shown()).split())
    assert "= 1000 ms (10.0% unexplained)" in said
    for piece in ("end of turn 200", "queue 50", "model 650", "residue 100"):
        assert piece in said


def test_a_stage_beside_the_path_is_there_with_its_reason_and_a_superseded_one_is_not() -> None:
    beside = stage("emotion", "face", 0.1, 0.3, status="failed", reason="no face")
    old = stage("tts", "old", 0.1, 0.3, status="superseded")
    lines = shown(stages=[*TURN["stages"], beside, old])
    assert row(lines, "emotion face").endswith("beside")
    assert lines[lines.index(row(lines, "emotion face")) + 1] == " " * GUTTER + "no face"
    assert not any(line.startswith("tts old") for line in lines)


def test_what_was_lost_is_in_the_legend_only_where_something_was() -> None:
    assert "lost" not in shown()[-1]
    lines = shown(parts=[*PARTS[:1], part("lost", 0.2, 0.25, "stt:whisper"), *PARTS[2:]])
    assert "lost attempts" in " ".join(lines[-2:])


def test_long_times_are_seconds() -> None:
    parts = [part("end_of_turn", 0.0, 2.0), part("model", 2.0, 12.5, "llm:smol")]
    lines = shown(parts=parts, voice_to_voice_s=12.5, stages=[stage("llm", "smol", 2.0, 10.5)])
    assert lines[0].endswith("voice to voice 12.5 s")
    assert row(lines, "llm smol").endswith("10.5 s")
