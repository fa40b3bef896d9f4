"""Each metric that comes along, on runs whose values are computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from metrics.made import run, sample, stage, turn
from openomni.metrics import Result, Run, registry
from openomni.records import UsageRecord


def score(name: str, given: Any, **parameters: Any) -> Result:
    return registry.build(name, parameters).measure(given)


def heard(*pairs: tuple[str | None, str]) -> Run:
    """A run of a dialogue: what was said, and what was recognised."""
    said = sample(*({"text": text, "language": "en"} for text, _ in pairs))
    return run(*(turn(at, transcript=text) for at, (_, text) in enumerate(pairs)), of=said, kinds=("stt",))


# ---- what was understood -------------------------------------------------------------------------------------


def test_wer_is_two_deletions_of_four_words() -> None:
    result = score("wer", heard(("This is a test", "This test")))
    assert result.value == 0.5
    assert result.detail == {"substitutions": 0, "deletions": 2, "insertions": 0, "errors": 2, "total": 4}


def test_wer_of_a_dialogue_sums_up_its_errors_and_averages_no_rates() -> None:
    nine = "the quick brown fox jumps over a lazy dog"
    assert score("wer", heard(("stay", "go"), (nine, nine))).value == 0.1


def test_case_punctuation_and_spelling_are_no_errors_unless_they_are_asked_for() -> None:
    said = heard(("Colour, isn't it?", "color is not it"))
    assert score("wer", said).value == 0
    assert score("wer", said, normaliser="none").value == 4 / 3


def test_an_empty_reference_has_no_rate_of_its_own_and_its_insertions_are_told() -> None:
    result = score("wer", heard(("", "thank you")))
    assert (result.outcome, result.value) == ("not_applicable", None)
    assert (result.detail["errors"], result.detail["total"]) == (2, 0)


def test_what_was_never_heard_as_a_turn_was_not_understood() -> None:
    said = sample({"text": "good morning"}, {"text": "and good night"})
    assert score("wer", run(turn(0, transcript="good morning"), of=said)).value == 3 / 5


def test_an_utterance_that_was_cut_in_two_is_what_both_turns_understood() -> None:
    said = sample({"text": "stay where you are"})
    assert score("wer", run(turn(transcript="stay where"), turn(transcript="you are"), of=said)).value == 0


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (run(turn(transcript="x")), "reference text"),
        (run(turn(transcript="x", given={"stt": "corrected"}), of=sample({"text": "x"})), "was given"),
        (run(turn(), of=sample({"text": "x"}), kinds=("end_to_end",)), "writes no transcript"),
    ],
)
def test_without_a_reference_or_a_transcript_there_is_no_wer(given: Run, why: str) -> None:
    result = score("wer", given)
    assert result.outcome == "not_applicable"
    assert why in result.reason


def test_cer_counts_characters_and_blanks() -> None:
    result = score("cer", heard(("ab cd", "ab ce")), normaliser="none")
    assert (result.value, result.detail["total"]) == (0.2, 5)


def test_an_answer_is_right_where_its_words_are_in_the_reply() -> None:
    said = sample({"answer": "Buenos Aires"}, {"answer": "Lima"}, {"answer": "one"}, {})
    replies = ("It's Buenos Aires!", "I do not know.", "someone did", "Hello")
    result = score("answer_rate", run(*(turn(at, reply_text=each) for at, each in enumerate(replies)), of=said))
    assert (result.detail["errors"], result.detail["total"]) == (1, 3)  # "one" is no part of "someone"


def test_self_consistency_is_the_share_of_pairs_that_say_the_same() -> None:
    said = [run(turn(reply_text=each)) for each in ("It is Lima.", "it is lima", "Quito", "Quito!")]
    assert score("self_consistency", tuple(said)).value == 2 / 6
    assert score("self_consistency", tuple(said[:1])).outcome == "not_applicable"


# ---- waiting -------------------------------------------------------------------------------------------------


def test_a_reply_that_came_early_is_no_zero_and_is_not_left_out() -> None:
    early = run(turn(0, voice_to_voice_s=-0.5), turn(1, voice_to_voice_s=0.0), live=True)
    assert score("voice_to_voice_s", early).value == -0.25


def test_nobody_answering_is_an_outcome_even_where_others_were_answered() -> None:
    silent = turn(1, outcome="unanswered")
    result = score("voice_to_voice_s", run(turn(0, voice_to_voice_s=0.5), silent, live=True))
    assert (result.outcome, result.value, result.fault) == ("failed", None, False)
    assert result.reason == "1 of 2 utterances were never answered"
    assert score("voice_to_voice_s", run(live=True)).reason == "it was never answered"


def test_an_interrupted_reply_has_no_latency_and_is_not_taken_for_silence() -> None:
    cut = turn(0, voice_to_voice_s=0.9, interrupted=True, outcome="interrupted")
    assert score("voice_to_voice_s", run(cut, turn(1, voice_to_voice_s=0.5), live=True)).value == 0.5
    assert score("voice_to_voice_s", run(cut, live=True)).outcome == "not_applicable"


def test_each_utterance_is_early_on_time_late_or_unanswered() -> None:
    waits = (-0.5, 0.0, 3.0, 3.1, None)
    said = run(*(turn(at, voice_to_voice_s=each) for at, each in enumerate(waits)), of=sample(*[{}] * 5), live=True)
    shares = {name: score(name, said).value for name in ("early_rate", "on_time_rate", "late_rate")}
    assert shares == {"early_rate": 1 / 5, "on_time_rate": 2 / 5, "late_rate": 1 / 5}
    assert score("late_rate", said, late_after_s=2.9).value == 2 / 5
    assert score("on_time_rate", run(turn(voice_to_voice_s=0.5))).outcome == "not_applicable"


def test_each_pace_has_its_latency() -> None:
    fast, live = run(turn(turn_s=1.5)), run(turn(voice_to_voice_s=0.7), live=True)
    assert (score("turn_s", fast).value, score("voice_to_voice_s", live).value) == (1.5, 0.7)
    assert score("turn_s", live).outcome == score("voice_to_voice_s", fast).outcome == "not_applicable"


def test_rtf_is_all_model_time_by_all_speech() -> None:
    slow = turn(0, utterance_s=1.0, stages=(stage("stt", model_s=0.5), stage("llm", model_s=1.0)))
    quick = turn(1, utterance_s=4.0, stages=(stage("stt", model_s=0.5), stage("llm", model_s=9.0, status="superseded")))
    assert score("rtf", run(slow, quick)).value == 2.0 / 5.0


def test_stages_of_a_kind_are_added_up_and_the_first_of_them_answers_first() -> None:
    twice = turn(stages=(stage("llm", model_s=0.2, ttfb_s=0.1), stage("llm", "y", model_s=0.3, ttfb_s=0.25)))
    assert score("llm.model_s", run(twice)).value == 0.5
    assert score("llm.ttfb_s", run(twice)).value == 0.1
    assert "kind tts" in score("tts.model_s", run(twice)).reason


# ---- turn-taking ---------------------------------------------------------------------------------------------

LIVE = run(
    turn(0, voice_to_voice_s=-0.1), turn(1, cut=True), turn(2), turn(2), turn(3, outcome="unanswered"),
    turn(4, outcome="failed", status="failed"), of=sample({}, {}, {}, {}, {}, {}), live=True,
)  # fmt: skip
"""Six utterances: one talked over, one cut, one cut in two, one answered by silence, one that failed, one not heard."""


@pytest.mark.parametrize(("name", "count"), [("unanswered_rate", 3), ("early_rate", 1), ("cut_rate", 2)])
def test_rates_are_of_all_utterances_so_that_none_is_dropped(name: str, count: int) -> None:
    result = score(name, LIVE)
    assert (result.value, result.detail["errors"], result.detail["total"]) == (count / 6, count, 6)


def test_at_fast_pace_nobody_is_cut_or_talked_over_and_some_are_not_answered() -> None:
    fast = run(turn(outcome="unanswered"))
    assert score("cut_rate", fast).outcome == score("early_rate", fast).outcome == "not_applicable"
    assert score("unanswered_rate", fast).value == 1


def test_yield_time_is_that_of_the_replies_that_were_stopped() -> None:
    assert score("yield_s", run(turn(0, yield_s=0.25), turn(1, yield_s=0.75), turn(2), live=True)).value == 0.5


def test_who_never_gives_way_is_not_left_out_of_yield_time() -> None:
    # The second utterance was said into a reply that went on to its end, and made no turn.
    found = score("yield_s", run(turn(0, yield_s=0.25), live=True, yields_s=(0.25, 3.75)))
    assert (found.value, found.detail["turns"]) == (2.0, 2)


# ---- cost ----------------------------------------------------------------------------------------------------

PRICES = {
    "currency": "EUR",
    "prices": {
        "llm:cloud": {"1M input tokens": 2.0, "1M cached tokens": 0.5, "1M output tokens": 8.0},
        "stt:own": {"model hour": 3.6},
        "tts:free": {},
    },
}


def used(**usage: Any) -> UsageRecord:
    return UsageRecord(**usage)


def test_cost_is_what_components_say_themselves() -> None:
    stages = (stage("llm", usage=used(cost=0.02, currency="USD")), stage("tts", usage=used(cost=0.01, currency="USD")))
    result = score("cost", run(turn(stages=stages)))
    assert result.value == pytest.approx(0.03)
    assert result.detail["currency"] == "USD"


def test_cost_by_a_table_has_cached_tokens_once_and_counts_what_was_begun_in_vain() -> None:
    tokens = used(input_tokens=1000, cached_tokens=400, output_tokens=100)
    stages = (
        stage("llm", "cloud", usage=tokens), stage("llm", "cloud", usage=tokens, status="superseded"),
        stage("stt", "own", model_s=0.5), stage("tts", "free"),
    )  # fmt: skip
    result = score("cost", run(turn(stages=stages)), prices=PRICES)
    one = (600 * 2.0 + 400 * 0.5 + 100 * 8.0) / 1e6
    assert result.value == pytest.approx(2 * one + 0.5 * 0.001)
    assert result.detail["components"] == {"llm:cloud": pytest.approx(2 * one), "stt:own": 0.0005, "tts:free": 0}


def test_a_sum_without_what_nobody_prices_is_no_cost() -> None:
    stages = (stage("llm", usage=used(cost=0.02, currency="USD")), stage("tts", "piper"))
    result = score("cost", run(turn(stages=stages)))
    assert (result.outcome, result.value) == ("not_applicable", None)
    assert "tts:piper does not say what it costs" in result.reason


def test_amounts_of_two_currencies_are_not_added() -> None:
    stages = (stage("llm", usage=used(cost=1.0, currency="USD")), stage("tts", usage=used(cost=1.0, currency="EUR")))
    assert "EUR and USD" in score("cost", run(turn(stages=stages))).reason
