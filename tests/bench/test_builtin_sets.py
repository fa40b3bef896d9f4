"""The datasets that come along: whole, the same each time, and made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from openomni.bench import builtin_sets
from openomni.bench.questions import QUESTIONS
from openomni.datasets import audit


@pytest.mark.long
def test_the_same_is_spoken_again_and_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    told: list[str] = []
    kept = audit(builtin_sets.folder("interruptions", told.append))
    assert kept.ok, kept.problems
    assert len(kept.samples) == 4
    assert all(sample.needs_realtime for sample in kept.samples)
    folder = tmp_path / "again"
    folder.mkdir()
    builtin_sets._make(builtin_sets.SETS["interruptions"](), folder, told.append)
    assert audit(folder).hash == kept.hash
    told.clear()
    builtin_sets.folder("interruptions", told.append)
    assert told == []


def test_the_questions_are_many_short_and_mostly_answered() -> None:
    samples = builtin_sets.SETS["questions"]()
    said = [text for sample in samples for text, _ in sample["said"]]
    assert len(said) >= 40
    assert len({sample["id"] for sample in samples}) == len(samples)
    dialogues = [sample["said"] for sample in samples if len(sample["said"]) > 1]
    assert len(dialogues) >= 4
    rules = {when["rule"] for turns in dialogues for _, when in turns if when}
    assert rules == {"after_reply", "after_pause"}
    assert sum(bool(sample.get("answer")) for sample in samples) >= 20
    assert builtin_sets.ANSWERS.keys() <= set(QUESTIONS)  # a question that was changed lost its answer
