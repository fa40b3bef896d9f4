"""Datasets as JSON, in and out. A sample is an `openomni.datasets.Sample`, whose paths are ids of recordings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from ninja import Field, Schema
from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ... import bounds
from ...datasets import Sample, checked
from ...datasets.samples import MAX_UTTERANCES
from ..ground.fields import Body, Line, Moment, Name, NewId, SlugOrNone
from .models import Dataset, DatasetSample, DatasetVersion
from .recognised import wer_of_local

MAX_DERIVATION = 16 << 10
"""Bytes of JSON."""
VERSIONS = 100
"""Of a dataset, the newest, that are listed with it."""


def _sample(value: object) -> Sample:
    try:
        return checked(msgspec.convert(value, Sample))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def _inlined(schema: dict[str, Any]) -> Any:
    """The JSON Schema with what it refers to in its place: its definitions have no room in the document."""
    parts: dict[str, Any] = schema.pop("$defs")

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return whole(parts[value["$ref"].rpartition("/")[2]])
        return {name: whole(each) for name, each in value.items() if name != "discriminator"}

    return whole(schema)


SAMPLE_SCHEMA = _inlined(msgspec.json.schema(Sample))
SENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "a sample as `GET /datasets/{name}/samples` gives it; its paths are ids of recordings",
    "required": ["id", "utterances"],
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": bounds.MAX_NAME},
        "utterances": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_UTTERANCES,
            "items": {"type": "object", "required": ["sound"], "properties": {"sound": {"type": "object"}}},
        },
    },
}
"""What is sent, in short: the whole of it stands in the document once, where it is given."""


class _AsSample:
    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_sample)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(SENT_SCHEMA)


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(msgspec.json.encode(value)) > MAX_DERIVATION:
        raise ValueError(f"it takes more than {MAX_DERIVATION >> 10} KiB; say less")
    return value


SampleIn = Annotated[Sample, _AsSample()]
DatasetName = Annotated[
    str,
    # It stands in paths, in lists with commas, and before `@version`.
    Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"),
]
SampleId = Annotated[str, Field(min_length=1, max_length=bounds.MAX_NAME)]
Pairs = Annotated[
    dict[SampleId, SampleId],
    Field(max_length=1000, description="by id of a sample, that of the one in `derived_from` that it was made of"),
]


class SamplesNew(Body):
    """A part of a dataset: its samples from number `offset` on, counted from 0."""

    offset: int = Field(ge=0, le=bounds.MAX_PLACE)
    samples: list[SampleIn] = Field(min_length=1, max_length=1000)
    pairs: Pairs = {}


class DatasetNew(Body):
    """A version of a dataset: of `samples`, where they are few, or of a `draft` that they were sent to in parts.
    `derived_from` is NAME or NAME@VERSION; `derivation` says what was done to its samples. `hash`: what the sender
    computed; with it, sending this again gives what was made."""

    name: DatasetName
    samples: list[SampleIn] | None = Field(None, min_length=1, max_length=1000)
    draft: NewId | None = None
    pairs: Pairs = {}
    source: Line = ""
    derived_from: Line = ""
    derivation: Annotated[dict[str, Any], AfterValidator(_small)] = {}
    hash: str = Field("", pattern="^([0-9a-f]{64})?$")


class TurnsWanted(Body):
    """Which turns: those that fit all that is given. Without anything it is every live turn."""

    session: Name = ""
    pipeline: Name = ""
    tag: Name = Field("", description="name of one that they bear themselves")
    participant: Name = Field("", description="code of who is heard")
    device: SlugOrNone = ""
    since: Moment | None = None
    until: Moment | None = None


class RecordedNew(Body):
    """A dataset of what was recorded live: of `turns`, each a sample, or of `sessions`, each a dialogue with the timing
    that it had."""

    turns: TurnsWanted | None = None
    sessions: list[Name] | None = Field(None, min_length=1, max_length=1000)


class PartReceived(Schema):
    """How many samples of a draft are here."""

    received: int


class VersionBrief(Schema):
    version: int = Field(alias="number")
    hash: str
    samples: int
    created_at: datetime


class DatasetOut(Schema):
    """A dataset with its newest version; `versions`: how many there are."""

    name: str
    version: int
    hash: str
    samples: int
    seconds: float
    versions: int
    created_at: datetime

    @staticmethod
    def of(row: Dataset) -> dict[str, Any]:
        versions = list(row.versions.all())  # by a prefetch, the newest first
        newest = versions[0] if versions else DatasetVersion(number=0, samples=0)
        return {
            "name": row.name,
            "version": newest.number,
            "hash": newest.hash,
            "samples": newest.samples,
            "seconds": newest.seconds,
            "versions": len(versions),
            "created_at": row.created_at,
        }


class RecognisedOut(Schema):
    """The word error rate of the built-in pipeline over all `words` of a dataset, as an experiment measured it."""

    wer: float
    words: int
    experiment: str


class DatasetVersionOut(Schema):
    """A version of a dataset. `samples`: how many it was made of; where somebody was erased since, fewer are there.
    `sheet` counts what they hold; `wer_of_local` is null until an experiment ran the pipeline `local` on it and was
    scored by `wer`; `versions` are the newest of the same name."""

    dataset: str
    version: int = Field(alias="number")
    hash: str
    samples: int
    seconds: float
    source: str
    derived_from: str
    derivation: dict[str, Any]
    sheet: dict[str, Any]
    wer_of_local: RecognisedOut | None
    created_by: str
    created_at: datetime
    versions: list[VersionBrief]

    @staticmethod
    def resolve_dataset(row: DatasetVersion) -> str:
        return row.dataset.name

    @staticmethod
    def resolve_derived_from(row: DatasetVersion) -> str:
        of = row.derived_from
        return f"{of.dataset.name}@{of.number}" if of else ""

    @staticmethod
    def resolve_wer_of_local(row: DatasetVersion) -> dict[str, Any] | None:
        return wer_of_local(row)

    @staticmethod
    def resolve_versions(row: DatasetVersion) -> list[DatasetVersion]:
        return list(row.dataset.versions.order_by("-number")[:VERSIONS])


class LeftOutOut(Schema):
    """A turn that fits and is not in the dataset, and why."""

    turn_id: str
    why: str


class MadeOut(Schema):
    """A version of a dataset, and the first thousand turns that were left out of it."""

    kept: DatasetVersionOut
    left_out: list[LeftOutOut]


class SampleOut(Schema):
    """A sample at its `position` in its version. `pair`: of a derived one, the id of the sample that it was made of."""

    id: str = Field(alias="sample_id")
    position: int
    hash: str
    seconds: float
    needs_realtime: bool
    pair: str
    sample: Annotated[dict[str, Any], Field(json_schema_extra=SAMPLE_SCHEMA)]

    @staticmethod
    def resolve_sample(row: DatasetSample) -> Any:
        return row.content
