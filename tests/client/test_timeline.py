"""A turn's timeline fits the console and adds up."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from openomni.cli.timeline import GUTTER, render

TURN: dict[str, Any] = {
    "index": 0, "pipeline": "local", "status": "completed", "transcript": "What is the capital of France?",
    "reply_text": "Paris.", "voice_to_voice_s": 0.5,
    "stages": [
        {"kind": "stt", "component": "faster-whisper", "status": "completed", "started_s": 0.2, "ended_s": 0.3},
        {"kind": "tts", "component": "piper", "status": "completed", "started_s": 0.3, "ended_s": 0.9},
        {"kind": "emotion", "component": "mine", "status": "failed", "started_s": 0.2, "ended_s": 0.25,
         "reason": "mine: ValueError: no face"},
    ],
    "parts": [
        {"what": "end_of_turn", "stage": "", "start_s": 0.0, "end_s": 0.2},
        {"what": "queue", "stage": "stt:faster-whisper", "start_s": 0.2, "end_s": 0.21},
        {"what": "model", "stage": "stt:faster-whisper", "start_s": 0.21, "end_s": 0.3},
        {"what": "model", "stage": "tts:piper", "start_s": 0.3, "end_s": 0.49},
        {"what": "residue", "stage": "", "start_s": 0.49, "end_s": 0.5},
    ],
}  # fmt: skip


def drawn(turn: dict[str, Any], width: int) -> list[str]:
    out = StringIO()
    Console(file=out, width=width).print(render(turn))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 133, 200])
def test_every_line_fits_and_lanes_begin_below_one_another(width: int) -> None:
    lines = drawn(TURN, width)
    assert max(map(len, lines)) <= width
    lanes = [line for line in lines if line.endswith((" ms", "beside"))][1:]
    assert [line[:GUTTER].strip() for line in lanes] == [
        "end of turn", "stt faster-whisper", "tts piper", "emotion mine", "residue",
    ]  # fmt: skip
    starts = [len(line) - len(line[GUTTER:].lstrip()) for line in lanes[:3]]
    assert starts == sorted(starts)
    assert starts[0] == GUTTER


def test_the_sum_names_every_owner_and_the_residue() -> None:
    text = " ".join(drawn(TURN, 160)).replace("\u00a0", " ")
    assert "end of turn 200 + queue 10 + model 280 + residue 10 = 500 ms  (2.0% unexplained)" in text


def test_a_failed_turn_says_why_and_draws_nothing() -> None:
    failed = {**TURN, "status": "failed", "reason": "stt faster-whisper: it broke", "parts": [],
              "voice_to_voice_s": None}  # fmt: skip
    lines = drawn(failed, 80)
    assert "failed" in lines[0]
    assert "not heard" in lines[0]
    assert any("it broke" in line for line in lines)


def test_words_with_markup_in_them_are_shown_as_they_are() -> None:
    assert any("[bold]hello[/bold]" in line for line in drawn({**TURN, "transcript": "[bold]hello[/bold]"}, 80))
