"""What a sample may be, what its hash counts, and which texts fit their sound."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from openomni.datasets import AtTime, Audit, Sample, Sound, Utterance, checked, dataset_hash, version_of
from openomni.datasets.fitting import misfit, words
from openomni.errors import WrongUsage

FILES = {"a.wav": "1" * 64, "b.wav": "2" * 64, "moved/a.wav": "1" * 64}


def said(path: str = "a.wav", **more: Any) -> Utterance:
    return Utterance(sound=Sound(path), **more)


def sample(id: str = "x", *utterances: Utterance, **more: Any) -> Sample:
    return Sample(id=id, utterances=utterances or (said(),), **more)


def test_the_hash_counts_neither_the_order_of_samples_nor_where_files_lie() -> None:
    samples = [sample(str(number), said("b.wav", text=str(number))) for number in range(20)]
    shuffled = random.Random(0).sample(samples, 20)
    assert dataset_hash(samples, FILES) == dataset_hash(shuffled, FILES)
    assert dataset_hash([sample()], FILES) == dataset_hash([sample("x", said("moved/a.wav"))], FILES)
    same = [sample("x", said(fields={"a": 1, "b": 2}))], [sample("x", said(fields={"b": 2, "a": 1}))]
    assert dataset_hash(same[0], FILES) == dataset_hash(same[1], FILES)


def test_the_hash_counts_all_else() -> None:
    others = [
        sample("y"),
        sample(group="g"),
        sample("x", said("b.wav")),
        sample("x", Utterance(sound=Sound("a.wav", 0.5))),
        sample("x", Utterance(sound=Sound("a.wav", channel=1))),
        sample("x", said(), said("b.wav")),
        sample("x", said("b.wav"), said()),
        sample("x", said(when=AtTime(1.0))),
        sample("x", said(fields={"a": 1})),
        *(sample("x", said(**{name: "z"})) for name in ("text", "answer", "speaker", "emotion", "language", "consent")),
        sample("x", said(text="")),
    ]
    hashes = {dataset_hash([each], FILES) for each in (sample(), *others)}
    assert len(hashes) == len(others) + 1
    assert dataset_hash([sample(), sample()], FILES) not in hashes


def test_an_integer_and_a_float_of_the_same_time_are_the_same() -> None:
    one, other = (sample("x", Utterance(sound=Sound("a.wav", start, 2))) for start in (1, 1.0000000001))
    assert dataset_hash([one], FILES) == dataset_hash([other], FILES)


@pytest.mark.parametrize(
    ("known", "version"), [({}, 1), ({1: "h"}, 1), ({1: "g"}, 2), ({1: "h", 2: "g"}, 1), ({3: "g"}, 4)]
)
def test_a_hash_has_one_version(known: dict[int, str], version: int) -> None:
    assert version_of("h", known) == version


@pytest.mark.parametrize(
    "wrong",
    [
        sample(""),
        sample("x" * 300),
        Sample(id="x", utterances=()),
        sample("x", said("")),
        sample("x", said(text="\0")),
        sample("x", said(speaker="s" * 300)),
        sample("x", Utterance(sound=Sound("a", -1.0))),
        sample("x", Utterance(sound=Sound("a", float("nan")))),
        sample("x", Utterance(sound=Sound("a", 1.0, 1.0))),
        sample("x", Utterance(sound=Sound("a", 0.0, float("inf")))),
        sample("x", said(fields={"a": float("nan")})),
        sample("x", said(fields={"a": None})),
        sample("x", said(fields={"text": "twice"})),
        sample("x", said(fields={"a": 2**80})),
        sample("x", said(fields={"a": object()})),
        sample("x", said(fields={"a": "z" * 100_000})),
        sample("x", said(when=AtTime(-1.0))),
    ],
)
def test_what_is_out_of_bounds_is_refused(wrong: Sample) -> None:
    with pytest.raises(ValueError, match=r"."):
        checked(wrong)


def test_samples_go_over_a_wire_and_back() -> None:
    dialogue = sample("d", said(text="Hello"), said("b.wav", when=AtTime(2.5), fields={"n": [1, "a"]}), group="g")
    assert msgspec.json.decode(msgspec.json.encode(dialogue), type=Sample) == dialogue


def test_nothing_is_frozen_of_what_has_an_error() -> None:
    from openomni.datasets import Problem

    with pytest.raises(WrongUsage, match="nothing of it is taken"):
        Audit(format="jsonl", root="/", problems=(Problem("error", "a", "b"),)).dataset("x")
    assert Audit(format="jsonl", root="/", samples=(sample(),), hash="h").dataset("x", 3).version == 3


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Don't, I'm well-read!", 3),
        ("3.5 km", 2),
        ("… — !", 0),
        ("今天天气怎么样", 3.5),
        ("Привет, мир", 2),
        ("สวัสดี", 3),
    ],
)
def test_words_for_their_length_in_time(text: str, count: float) -> None:
    assert words(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 500), ("", 500), ("Yes.", 0.15), ("Yes.", 8), ("What is the capital of France?", 1.718), ("word " * 60, 10),
     ("今天天气怎么样?你想去哪里?", 2.0), ("A long pause, and then", 17)],
)  # fmt: skip
def test_texts_that_fit(text: str | None, seconds: float) -> None:
    assert misfit(text, seconds) is None


@pytest.mark.parametrize(
    ("text", "seconds", "why"),
    [("Yes.", 30, "small part"), ("Well, I never!", 240, "small part"), ("word " * 20, 1, "20 words"),
     ("x" * 500, 2, "500 characters"), ("今" * 60, 2, "30 words")],
)  # fmt: skip
def test_texts_that_do_not(text: str, seconds: float, why: str) -> None:
    assert why in str(misfit(text, seconds))
