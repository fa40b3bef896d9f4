"""The figures of a benchmark as people read them."""

from __future__ import annotations

from openomni.bench import report
from openomni.bench.live import LiveFigures


def test_each_figure_has_its_line_in_its_unit_and_one_that_was_not_measured_has_none() -> None:
    figures = {
        "voice_to_voice_p50_s": 0.4321, "answered": 60.0, "false_cut_rate": 0.025, "history_words_off": 0.126,
        "part_end_of_turn_p50_s": 0.2,
    }  # fmt: skip
    lines = list(report.table(LiveFigures(figures, notes=["one voice is missing"])))
    told = [" ".join(line.split()) for line in lines]
    assert told == [
        "voice to voice, p50 432 ms",
        "questions answered 60",
        "cut at a pause of 0.3–0.7 s in a sentence 2.5 %",
        "words that the history is off after a cut, mean 0.13",
        "",
        "on the path to the first sound, p50 of each",
        "end of turn 200 ms",
        "note: one voice is missing",
    ]
