"""A spoken question gets a spoken answer, with the real models."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jiwer
import pytest
from whisper_normalizer.english import EnglishTextNormalizer

from e2e.conftest import Installation, openomni
from openomni.components import registry
from openomni.media import Audio

pytestmark = pytest.mark.models
normal = EnglishTextNormalizer()


def word_errors(said: list[str], heard: list[str]) -> float:
    """Corpus WER of normalised texts."""
    return float(jiwer.wer([normal(text) for text in said], [normal(text) for text in heard]))


def check_account(turn: dict[str, Any]) -> None:
    """The partition covers voice-to-voice without gap or overlap, and little of it is nobody's."""
    parts = turn["parts"]
    assert sum(part["end_s"] - part["start_s"] for part in parts) == pytest.approx(turn["voice_to_voice_s"], abs=1e-4)
    assert turn["residue_s"] <= 0.05 * turn["voice_to_voice_s"]
    assert turn["heard_at"] == "client"


def test_the_demo_answers_the_bundled_question_and_accounts_for_its_time(tmp_path: Path) -> None:
    done = subprocess.run(
        openomni("demo", "--json", "out.json"), cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (turn,) = json.loads((tmp_path / "out.json").read_text())["turns"]
    assert word_errors(["What is the capital of Italy?"], [turn["transcript"]]) == 0
    assert turn["reply_text"].strip()
    check_account(turn)
    kept = [stage["kind"] for stage in turn["stages"] if stage["status"] != "superseded"]
    assert kept == ["stt", "llm", "tts"]
    assert "voice to voice" in done.stdout
    reply = Audio.load(tmp_path / turn["reply_audio"], 16_000)
    heard = registry.build("stt", "faster-whisper", {"model": "tiny.en"}).transcribe(reply)
    assert word_errors([turn["reply_text"]], [heard.text]) <= 0.25


def questions(shared_data: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shared_data / "interview.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_an_interview_is_found_to_be_four_turns_and_each_is_answered(local: Installation, shared_data: Path) -> None:
    asked = questions(shared_data)
    turns = local.listen(shared_data / "interview.mp4", "--pipeline", "local", "--pace", "realtime")
    assert len(turns) == 4
    assert word_errors([each["text"] for each in asked], [turn["transcript"] for turn in turns]) <= 0.10
    for turn, reference in zip(turns, asked, strict=True):
        (segment,) = turn["segments"]
        assert segment["start"] / 16_000 == pytest.approx(reference["start"], abs=0.3)
        assert segment["end"] / 16_000 == pytest.approx(reference["end"], abs=0.3)


@pytest.mark.long
def test_the_same_interview_as_queued_turns_says_the_same(local: Installation, shared_data: Path) -> None:
    asked = questions(shared_data)
    turns = local.listen(shared_data / "interview.mp4", "--pipeline", "local", "--pace", "fast")
    assert word_errors([each["text"] for each in asked], [turn["transcript"] for turn in turns]) <= 0.10
    assert all(turn["status"] == "completed" and turn["reply_text"].strip() for turn in turns)
    assert all((local.folder / turn["reply_audio"]).stat().st_size > 1000 for turn in turns)


@pytest.mark.parametrize("pace", ["realtime", "fast"])
@pytest.mark.long
def test_time_points_cut_a_video_where_they_say(local: Installation, shared_data: Path, pace: str) -> None:
    options = ["--pipeline", "local", "--pace", pace, "--time-points", "00:00,00:03.5,00:06.8,00:11.5"]
    turns = local.listen(shared_data / "interview.mp4", *options)
    asked = questions(shared_data)
    assert word_errors([each["text"] for each in asked], [turn["transcript"] for turn in turns]) <= 0.10
    assert len(turns) == 4


@pytest.mark.long
def test_a_real_voice_in_a_real_video_is_understood(local: Installation, shared_data: Path) -> None:
    turns = local.listen(shared_data / "jfk.mp4", "--pipeline", "local", "--pace", "realtime")
    said = "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"
    # Where the machine is busy, one that was cut in a pause is answered again as a whole.
    whole = [turn["transcript"] for turn in turns if turn["reason"] != "the person spoke on"]
    assert word_errors([said], [" ".join(whole)]) <= 0.10


def test_what_was_said_and_answered_is_kept_with_its_media(local: Installation, shared_data: Path) -> None:
    (turn, *_) = local.listen(shared_data / "interview.mp4", "--pipeline", "local", "--pace", "fast")
    kept = local.request("GET", f"/api/v1/turns/{turn['turn_id']}").json()
    assert (kept["transcript"], kept["status"]) == (turn["transcript"], "completed")
    recording = local.request("GET", f"/api/v1/recordings/{kept['recording']}").json()
    assert recording["status"] == "complete"
    content = local.request("GET", f"/api/v1/recordings/{kept['recording']}/content")
    assert content.content == (shared_data / "interview.mp4").read_bytes()
