"""Metrics that people answer: their YAML, their versions, and what each scale takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openomni.metrics import rated
from openomni.metrics.rated import RatedMetric, RatedMetricError
from openomni.metrics.scales import KINDS, OffScale, Rated

T = TypeVar("T")
OVERALL = """\
metric: overall
question: How good was it?
scale: {kind: integer, from: 0, to: 5, words: {0: useless, 5: perfect}}
better: higher
"""


def with_scale(scale: Any, about: str = "turn") -> RatedMetric:
    return rated.parsed({"metric": "m", "question": "?", "about": about, "scale": scale})


LABELS = ["agent", "person"]
SCALES: list[tuple[Any, Any, float | None, str]] = [
    ({"kind": "integer", "from": 1, "to": 5}, 3, 3.0, ""),
    ("integer", 0.0, 0.0, ""),
    ("stars", 5, 5.0, ""),
    ("yes_no", True, 1.0, "yes"),
    ("yes_no", False, 0.0, "no"),
    ({"kind": "number", "from": -1, "to": 1}, -0.25, -0.25, ""),
    ({"kind": "label", "labels": LABELS}, "person", None, "person"),
    ({"kind": "label", "labels": LABELS, "ordered": True}, "person", 1.0, "person"),
    ({"kind": "labels", "labels": LABELS}, ["person", "agent"], 2.0, "agent + person"),
    ({"kind": "labels", "labels": LABELS}, [], 0.0, "none"),
    ("text", " It drags. ", None, "It drags."),
]


@pytest.mark.parametrize(("scale", "answer", "value", "label"), SCALES)
def test_an_answer_is_worth_a_value_a_label_or_both(scale: Any, answer: Any, value: float | None, label: str) -> None:
    found = with_scale(scale).rate(answer)
    assert (found.value, found.label) == (value, label)
    # What is kept of it fills the form in again, and is worth the same.
    assert with_scale(scale).rate(found.answer) == found


@pytest.mark.parametrize(
    ("scale", "answer", "line"),
    [
        ("integer", 6, "m takes a whole number of 0 to 5, not 6"),
        ("integer", 2.5, "m takes a whole number of 0 to 5, not 2.5"),
        ("integer", True, "m takes a whole number of 0 to 5, not True"),
        ("stars", 0, "m takes 1 to 5 stars, not 0"),
        ("yes_no", 1, "m takes true (yes) or false (no), not 1"),
        ("number", float("nan"), "m takes a number of -1 to 1, not nan"),
        ("number", "0.5", "m takes a number of -1 to 1, not '0.5'"),
        ({"kind": "label", "labels": LABELS}, "persn", "m does not take 'persn'; did you mean 'person'?"),
        ({"kind": "labels", "labels": LABELS}, "person", "m takes a list of labels, not 'person'"),
        ("text", "  ", "m takes some words; leave it out where there is nothing to say"),
        ("text", "x" * 2001, "m takes at most 2,000 characters, not 2,001"),
        ("text", "a\0b", "m takes a text without NUL characters and halves of surrogates"),
    ],
)
def test_what_is_off_the_scale_is_refused_in_one_line(scale: Any, answer: Any, line: str) -> None:
    with pytest.raises(OffScale) as refused:
        with_scale(scale).rate(answer)
    assert str(refused.value) == line


def test_stretches_are_put_in_order_and_counted() -> None:
    asked = with_scale({"kind": "spans", "labels": ["overlap", "backchannel"]})
    found = asked.rate([
        {"label": "backchannel", "start_s": 2, "end_s": 2.4, "track": "agent"},
        {"label": "overlap", "start_s": 0.50049, "end_s": 1.0},
    ])  # fmt: skip
    assert (found.value, found.label) == (2.0, "1 overlap, 1 backchannel")
    assert found.answer[0] == {"label": "overlap", "track": "person", "start_s": 0.5, "end_s": 1.0}
    assert asked.rate([]) == Rated(0.0, "none", [])
    wrong = {"label": "overlap", "start_s": 1.0, "end_s": 1.0}
    for bad in ([wrong], [{**wrong, "end_s": 2, "colour": "red"}], [{**wrong, "end_s": 2, "track": "left"}], "all"):
        with pytest.raises(OffScale):
            asked.rate(bad)


@pytest.mark.parametrize(("answer", "label"), [(-3, "second"), (0, "tie"), (2, "first")])
def test_a_preference_says_which_of_the_two_as_they_were_shown(answer: int, label: str) -> None:
    assert with_scale({"kind": "preference", "steps": 3}, "pair").rate(answer).label == label


def test_a_preference_may_allow_no_tie() -> None:
    with pytest.raises(OffScale, match="takes no tie"):
        with_scale({"kind": "preference", "ties": False}, "pair").rate(0)


def test_a_metric_reads_as_it_was_written_and_its_version_is_its_content() -> None:
    (one,) = rated.parse(OVERALL)
    assert (one.name, one.about, one.label, one.required) == ("overall", "turn", "Overall", True)
    assert rated.parsed(one.content) == one
    assert rated.parsed(msgspec.json.decode(msgspec.json.encode(one.content))).version == one.version
    (named_otherwise,) = rated.parse(OVERALL.replace("metric: overall", "metric: total"))
    (asked_otherwise,) = rated.parse(OVERALL.replace("useless", "of no use"))
    assert named_otherwise.version == one.version != asked_otherwise.version


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("metric: a\nquestion: b\nscal: stars\n", "f:3: unknown key 'scal'; did you mean 'scale'?"),
        ("metric: a\nquestion: b\nscale: starz\n", "f:3: unknown kind of scale 'starz'; did you mean 'stars'?"),
        ("metric: a\nquestion: b\nscale: {kind: stars, from: 0}\n",
         "f:3: a scale of kind stars has no 'from'; there are: to"),
        ("metric: a\nquestion: b\nabout: tunr\nscale: stars\n",
         "f:3: about 'tunr' is nothing that can be rated; did you mean 'turn'?"),
        ("metric: a\nquestion: b\nabout: pair\nscale: stars\n",
         "f:4: a is about a pair, and its scale is stars; a pair takes the scale `preference`"),
        ("metric: a\nquestion: b\nscale: {kind: integer, from: 5, to: 0}\n",
         "f:3: the scale of a: it goes from 5 to 0; take at least two and at most 101 answers"),
        ("metric: a\nquestion: b\nscale: {kind: integer, words: {9: never}}\n",
         "f:3: the scale of a: words has '9', which is no answer of 0 to 5"),
        ("metric: a\nquestion: b\nscale: {kind: label, labels: [x]}\n",
         "f:3: the scale of a: it has 1 labels; give it 2 to 60"),
        ("metric: a\nquestion: b\nscale: stars\nexamples: [{answer: 9}]\n",
         "f:4: an example of a takes 1 to 5 stars, not 9"),
        ("metric: a\nquestion: b\nscale: stars\nbetter: more\n", "f:4: "),
        ("metric: A\nquestion: b\nscale: stars\n", "f:1: "),
        ("metric: a\nscale: stars\n", "f:1: "),
        ("- a\n", "f:1: a metric is a mapping with metric, question and scale"),
        ("", "f: there is no metric in it; a metric has at least metric, question and scale"),
        ("metric: a\nquestion: b\nscale: stars\n---\nmetric: a\nquestion: c\nscale: stars\n",
         "f:5: the metric a is there twice"),
        ("a: [", "f:1: no YAML: "),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_the_mend(text: str, line: str) -> None:
    with pytest.raises(RatedMetricError) as refused:
        rated.parse(text, "f")
    assert str(refused.value).startswith(line), refused.value
    assert "\n" not in str(refused.value)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(RatedMetricError, match="check the path"):
        rated.load(tmp_path / "none.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * (rated.MAX_FILE + 1))
    with pytest.raises(RatedMetricError, match="at most 256 KiB"):
        rated.load(tmp_path / "big.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"metric: \xe9")
    with pytest.raises(RatedMetricError, match="not UTF-8"):
        rated.load(tmp_path / "latin.yaml")


def test_those_that_come_along_have_all_of_the_original_and_the_fields_own() -> None:
    original = {
        "recognition", "transcript", "generated_text", "voice", "overall", "multi_turn", "retrieval", "retrieval_text",
        "emotion_overall", "emotion_text", "emotion_audio", "emotion_video",
    }  # fmt: skip
    fields = {
        "timing", "naturalness", "appropriateness", "task_success", "mos", "speaker", "emotion_label", "turn_events",
        "preference",
    }  # fmt: skip
    assert original | fields <= rated.builtin().keys()
    for name in ("recognition", "generated_text", "voice", "overall", "multi_turn", "retrieval"):
        assert rated.builtin()[name].scale.range == (0.0, 5.0)
    assert all(each.guidance or not each.required for each in rated.builtin().values())


def one_line_or(act: Callable[[], T], refusal: type[Exception]) -> T | None:
    """What comes of it; None where it was refused, in one line."""
    line = ""
    try:
        return act()
    except refusal as refused:
        line = str(refused)
    assert line
    assert "\n" not in line
    return None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(answer=ANYTHING, kind=st.sampled_from(sorted(KINDS)))
def test_any_answer_is_rated_or_refused_and_nothing_else(answer: Any, kind: str) -> None:
    labels = {"labels": ["a", "b"]} if kind in ("label", "labels", "spans") else {}
    asked = with_scale({"kind": kind, **labels}, "pair" if kind == "preference" else "turn")
    found = one_line_or(lambda: asked.rate(answer), OffScale)
    if found is None:
        return
    low, high = asked.scale.range
    assert found.label or found.value is not None or kind == "correction"
    assert found.value is None or ((low is None or low <= found.value) and (high is None or found.value <= high))
    assert asked.rate(found.answer) == found


@given(content=ANYTHING | st.dictionaries(
    st.sampled_from(["metric", "question", "scale", "about", "better", "examples", "pass", "x"]), ANYTHING
))  # fmt: skip
def test_any_content_is_a_metric_or_refused(content: Any) -> None:
    made = one_line_or(lambda: rated.parsed(content), RatedMetricError)
    assert made is None or rated.parsed(made.content) == made
