"""What a dataset holds: samples, each one utterance or a dialogue of several, with their references.

Values, frozen, and bounded by `openomni.bounds`: nothing else comes out of `checked`, whichever format it was read
from.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .. import bounds
from ..bounds import Count, Line, Name, Text

MAX_SAMPLES = 100_000
"""Of one dataset: 100,000 utterances of ten seconds are more sound than a year of working days."""
MAX_UTTERANCES = 1_000
"""Of one dialogue."""
MAX_FIELDS = 100
"""Other fields of an utterance or a sample."""
MAX_FIELDS_BYTES = 64 << 10
"""Of those, as JSON."""
MAX_PATH = 1_024
MAX_CHANNELS = 64
TIME_DIGITS = 6
"""Times are kept to the microsecond, so that what was written and read again is the same number."""

RESERVED = frozenset((
    "id", "utterance_id", "path", "file_name", "start", "end", "track", "channel", "answer", "when",
    "utterances", "dialogue", "turn", "group", "text", "transcription", "transcript", "sentence", "speaker",
    "speaker_id", "emotion", "language", "lang", "consent", "source",
))  # fmt: skip
"""Names that have a meaning in what we write, and that no other field has, therefore."""

Path = Annotated[str, Meta(min_length=1, max_length=MAX_PATH)]
Begin = Annotated[float, Meta(ge=0.0, le=bounds.MAX_SECONDS)]
Key = Annotated[str, Meta(min_length=1, max_length=bounds.MAX_NAME)]


class Sound(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A stretch of a media file. Where the file has moving pictures, those of the same stretch belong to it."""

    path: Path
    """Relative to the dataset's folder, with `/`; never outside of it."""
    start: Begin = 0.0
    """Seconds from the file's beginning."""
    end: Begin | None = None
    """Seconds from the file's beginning; None: to the file's end."""
    track: Annotated[int, Meta(ge=1, le=100)] | None = None
    """Which audio track, from 1; None: the first that sounds."""
    channel: Annotated[int, Meta(ge=1, le=MAX_CHANNELS)] | None = None
    """Which channel of the track, from 1: a person's own, as on the telephone; None: the mix of all."""


class AfterReply(msgspec.Struct, frozen=True, tag="after_reply", tag_field="rule", omit_defaults=True):
    """Said once the reply to the utterance before has ended, `seconds` later."""

    seconds: Begin = 0.0


class AfterPause(msgspec.Struct, frozen=True, tag="after_pause", tag_field="rule"):
    """Said `seconds` after the end of the utterance before, whether or not a reply has begun: somebody who stops to
    think and goes on."""

    seconds: Begin


class IntoReply(msgspec.Struct, frozen=True, tag="into_reply", tag_field="rule"):
    """Said into the reply, as its word number `word` (from 1) begins to be heard. It needs real-time pace."""

    word: Annotated[int, Meta(ge=1, le=100_000)]


class AtTime(msgspec.Struct, frozen=True, tag="at_time", tag_field="rule"):
    """Said `seconds` after the dialogue's beginning, as it was when it was recorded."""

    seconds: Begin


When = AfterReply | AfterPause | IntoReply | AtTime


class Utterance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one person says at once, and what is known of it: the references that pipelines are measured against."""

    sound: Sound
    id: Name = ""
    """Its own name in the source, where that has one beside the sample's."""
    text: Text | None = None
    """What is said; None: nobody knows; empty: nothing is."""
    answer: Text | None = None
    """What a right reply says; None: nobody knows."""
    speaker: Name = ""
    emotion: Name = ""
    """In the words of the source: `sadness` in MELD, `sad` in IEMOCAP."""
    language: Name = ""
    consent: Name = ""
    """What the speaker agreed to."""
    source: Line = ""
    """Where it is from."""
    when: When = AfterReply()
    """When it is said in its dialogue; without meaning for the first one, unless that is `AtTime`."""
    fields: dict[Key, Any] = {}
    """What else the source says: JSON values, None excepted, under names that are not `RESERVED`."""


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One input of an experiment: an utterance, or a dialogue of several in their order."""

    id: Key
    """Unique in its dataset."""
    utterances: Annotated[tuple[Utterance, ...], Meta(min_length=1, max_length=MAX_UTTERANCES)]
    group: Name = ""
    """What it shares with others (a conversation, a document): samples of one group form a cluster in statistics."""

    @property
    def is_dialogue(self) -> bool:
        return len(self.utterances) > 1

    @property
    def needs_realtime(self) -> bool:
        """Whether it can't be run at fast pace: something in it is said into a reply, which must be heard for that."""
        return any(isinstance(each.when, IntoReply) for each in self.utterances[1:])


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen list of samples. `hash` is that of `hashing.dataset_hash`; a `version`, from 1, has one hash for
    good."""

    name: Name
    version: Count
    hash: str
    samples: tuple[Sample, ...]


def checked(sample: Sample) -> Sample:
    """The sample, whatever it was made of, within bounds, its times rounded to `TIME_DIGITS`.

    Raises ValueError, which says what is out of bounds, for text that can't be stored, numbers that are none, and
    stretches that end before they begin.
    """
    try:
        plain = msgspec.to_builtins(sample)
        made = msgspec.convert(plain, Sample)
    except (msgspec.ValidationError, TypeError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None
    if not _storable(plain):
        raise ValueError("text with NUL or half a character, a number that is none, or what lies too deep")
    utterances = tuple(_rounded(each) for each in made.utterances)
    return msgspec.structs.replace(made, utterances=utterances)


def _storable(plain: Any) -> bool:
    return bounds.storable_json(plain, depth=12)


def _rounded(utterance: Utterance) -> Utterance:
    _check_fields(utterance.fields)
    sound, when = utterance.sound, utterance.when
    start = seconds(sound.start)
    end = None if sound.end is None else seconds(sound.end)
    if end is not None and end <= start:
        raise ValueError(f"it ends at {end:g} s, which is not after its start at {start:g} s")
    sound = msgspec.structs.replace(sound, start=start, end=end)
    if not isinstance(when, IntoReply):
        when = msgspec.structs.replace(when, seconds=seconds(when.seconds))
    return msgspec.structs.replace(utterance, sound=sound, when=when)


def _check_fields(fields: dict[str, Any]) -> None:
    if len(fields) > MAX_FIELDS:
        raise ValueError(f"{len(fields)} other fields, where {MAX_FIELDS} are the most")
    if any(value is None for value in fields.values()):
        raise ValueError("other fields hold None; leave them out")
    if taken := RESERVED & fields.keys():
        raise ValueError(f"another field is named {min(taken)!r}, which has a meaning of its own; rename it")
    if fields and len(msgspec.json.encode(fields)) > MAX_FIELDS_BYTES:
        raise ValueError(f"its other fields take more than {MAX_FIELDS_BYTES >> 10} KiB")


def seconds(value: float) -> float:
    """Rounded to the microsecond; never −0."""
    return round(float(value), TIME_DIGITS) + 0.0
