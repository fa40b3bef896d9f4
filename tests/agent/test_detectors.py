"""What serves turn-taking: only what the agent offers, and its faults are its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openomni import Audio, component
from openomni.agent.detectors import Detectors
from openomni.components import registry
from openomni.components.stage import StageError
from openomni.errors import OpenOmniError
from openomni.events import NOTHING_KNOWN
from openomni.media import Samples
from openomni.pipeline.judging import EndOfTurn
from openomni.pipeline.settings import Settings
from openomni.pipeline.spec import TurnTaking


@component("turn", "judging-test")
class Judging:
    """Answers what its text says."""

    answers: Mapping[str, Any] = {"yes": 1, "half": 0.5, "no": 0.0, "text": "surely", "above": 3.0, "nan": float("nan")}

    def finished(self, audio: Audio, text: str) -> Any:
        return self.answers[text]


async def test_a_judge_that_fails_is_told_once_and_counts_as_not_known(caplog: pytest.LogCaptureFixture) -> None:
    judge = await Detectors(registry.registered("turn")).judge("judging-test")
    silence = Audio.silence(0.1, 16_000)
    assert [await judge(silence, text, NOTHING_KNOWN) for text in ("yes", "half", "no")] == [1.0, 0.5, 0.0]
    assert not [each for each in caplog.records if each.name.startswith("openomni")]
    for text in ("text", "above", "nan", "what?", "where?"):
        assert await judge(silence, text, NOTHING_KNOWN) is None
    assert [message.partition("; where")[0] for message in caplog.messages] == [
        "turn:judging-test: gave 'surely'; expected a number in 0…1",
        "turn:judging-test: raised KeyError: 'what?'",
    ]
    taking = TurnTaking(end_of_turn="judging-test", open_threshold=0.5)
    end_of_turn = EndOfTurn(Settings(taking), judge)
    assert await end_of_turn.ask(silence, "what?", NOTHING_KNOWN) == (None, taking.unfinished_silence)
    assert await end_of_turn.ask(silence, "yes", NOTHING_KNOWN) == (1.0, taking.end_of_turn_silence)
    assert await end_of_turn.ask(silence, "no", NOTHING_KNOWN) == (0.0, taking.open_silence)


@component("vad", "leaving-test")
class Leaving:
    """Ends the process, when it is allowed to."""

    where = ""

    def open(self) -> Leaving:
        self.leave("open")
        return self

    window = 512

    def warm_up(self) -> None:
        self.leave("warm_up")

    def __call__(self, samples: Samples) -> float:
        self.leave("call")
        return 0.5

    def leave(self, where: str) -> None:
        if where == self.where:
            sys.exit(0)


@pytest.mark.parametrize("where", ["open", "warm_up", "call"])
async def test_a_detector_that_exits_ends_its_session_alone(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    detectors = Detectors(registry.registered("vad"))
    monkeypatch.setattr(Leaving, "where", where)
    with pytest.raises(StageError, match="vad:leaving-test: raised SystemExit"):
        (await detectors.detector("leaving-test"))(np.zeros(512, np.float32))
    monkeypatch.setattr(Leaving, "where", "")
    assert (await detectors.detector("leaving-test"))(np.zeros(512, np.float32)) == 0.5


@pytest.mark.parametrize("ask", ["detector", "judge"])
async def test_a_pipeline_makes_no_agent_import_what_it_does_not_offer(
    ask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap_of_a_pipeline.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    detectors = Detectors(registry.registered("vad"))
    with pytest.raises(OpenOmniError, match=r"does not offer (vad|turn):trap_of_a_pipeline:X"):
        await getattr(detectors, ask)("trap_of_a_pipeline:X")
    assert "trap_of_a_pipeline" not in sys.modules
