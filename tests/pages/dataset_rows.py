"""Datasets for the pages' tests, with sound that can be played."""

from __future__ import annotations

from typing import Any


def nothing() -> None:
    from openomni.api.datasets.models import Dataset
    from openomni.api.records.models import Recording

    Dataset.objects.all().delete()
    Recording.objects.all().delete()


def datasets() -> None:
    """A dataset of single questions and dialogues in two versions, and one that was derived of it."""
    from openomni.api.datasets import keeping
    from openomni.api.datasets.keeping import About
    from openomni.api.experiments.models import Experiment
    from openomni.api.ground.caller import Caller
    from openomni.datasets import AfterPause, IntoReply, Sample, Sound, Utterance
    from pages.conversation_rows import RATE, _record, _speech, conversation

    conversation("talk1", "closed", False)
    _record("talk1", "said", "audio", _speech(30, 140))
    from openomni.api.records.models import Recording

    Recording.objects.filter(pk="said").update(rate=RATE)
    known: dict[str, Any] = {"speaker": "Ann", "language": "en", "consent": "research, sharing", "emotion": "joy"}
    samples = [
        Sample(id=f"question-{number:02}", utterances=(
            Utterance(sound=Sound("said", number / 2, number / 2 + 2), text=f"What is {number} times seven?",
                      answer=str(7 * number), **known),
        ))
        for number in range(40)
    ]  # fmt: skip
    samples[1:1] = [
        Sample(id="talk", utterances=(
            Utterance(sound=Sound("said", 1, 2), text="I would like to book a", **known),
            Utterance(sound=Sound("said", 3), text="a table for two.", when=AfterPause(1.5)),
            Utterance(sound=Sound("said", 5, 6), text="No, stop.", when=IntoReply(3)),
        )),
        Sample(id="8f14e45fceea167a5a36dedd4bea2543", utterances=(
            Utterance(sound=Sound("said", 7, 9), fields={"heard": "Ouvre the door."}),
        )),
    ]  # fmt: skip
    caller = Caller("default", frozenset({"researcher"}), user_name="owner")
    keeping.keep(caller, "d1", samples[:-1], About(name="lab-questions", source="lab (jsonl)"), {})
    version = keeping.keep(caller, "d2", samples, About(name="lab-questions", source="lab (jsonl)"), {})
    about = About(name="lab-questions-noisy", derived_from=version, derivation={"seed": 0})
    keeping.keep(caller, "d3", samples[:3], about, {each.id: each.id for each in samples[:3]})
    Experiment.objects.create(project_id="default", name="three-voices", dataset=version, baseline="local")
