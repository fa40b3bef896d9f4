"""Files as they come from the world, damaged or laid out oddly: each gives its turns where a player has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.conftest import Installation

pytestmark = [pytest.mark.models, pytest.mark.long]

INPUTS = {
    "damaged.mp3": [2.0, 29.806],
    "damaged.m4a": [2.0, 30.172],
    "late-with-a-hole.mkv": [6.0, 14.172],
    "rate-changes.mp3": [1.0, 6.227],
    "first-track-silent.mkv": [1.0],
    "turned.mp4": [1.0],
}
"""Where the question begins in each, in seconds from the beginning of its earliest track."""
SILENCE = 0.55
"""Of the question, before its first word."""
NEAR = 0.3
"""What a VAD takes before speech, and the steps that it goes in."""


@pytest.mark.parametrize("pace", ["realtime", "fast"])
@pytest.mark.parametrize("name", INPUTS)
def test_each_question_of_a_file_is_a_turn_in_its_place(
    local: Installation, shared_data: Path, name: str, pace: str
) -> None:
    turns = local.listen(shared_data.parent / "faults" / "inputs" / name, "--pipeline", "local", "--pace", pace)
    begun = [turn["segments"][0]["start"] / 16_000 for turn in turns]
    assert begun == pytest.approx([place + SILENCE for place in INPUTS[name]], abs=NEAR), turns
    for turn in turns:
        assert turn["status"] in ("completed", "interrupted"), turn
        assert "capital of Italy" in turn["transcript"]
        assert turn["reply_text"].strip()
