"""Which cells an experiment has, and in which order they are run.

The order is drawn by the experiment's seed, and interleaved between pipelines: each block is one sample in one repeat
through every pipeline, so that a machine which slows down does so for all of them alike.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from .models import Cell, Experiment, ExperimentPipeline

MAX_CELLS = 1_000_000
"""Of one experiment, warm-up included."""
CHUNK = 5_000
"""Cells that are written in one transaction: who records conversations waits no longer than that takes."""
WARM_UP = 0
"""The repeat that counts in nothing."""
_NAMESPACE = uuid.UUID("f0f4f1a6-9a0e-5d6a-8a55-0c4b7c9c2d11")


class CellPlace(NamedTuple):
    """One cell, by where its sample and its pipeline stand in their lists; `repeat` from 1, 0 is warm-up."""

    sample: int
    pipeline: int
    repeat: int


def places(samples: int, pipelines: int, repeats: int, warm_up: int, seed: int, first: int = 0) -> Iterator[CellPlace]:
    """All cells of so many samples and pipelines, in the order that the seed draws. Warm-up comes first: `warm_up`
    samples through every pipeline, as far as there are samples. `first`: how many cells there are already, of other
    pipelines."""
    drawn = random.Random(f"{seed} {first}")
    by_repeat = [(sample, repeat) for repeat in range(1, repeats + 1) for sample in range(samples)]
    drawn.shuffle(by_repeat)
    # Whichever pipelines are added later warm up with the same ones.
    warming = random.Random(f"{seed} warm-up").sample(range(samples), min(warm_up, samples))
    among = list(range(pipelines))
    for sample, repeat in [*((sample, WARM_UP) for sample in warming), *by_repeat]:
        drawn.shuffle(among)
        for pipeline in among:
            yield CellPlace(sample, pipeline, repeat)


def count(samples: int, pipelines: int, repeats: int, warm_up: int) -> int:
    """How many `places` gives."""
    return pipelines * (samples * repeats + min(warm_up, samples))


def cell_id(experiment: int, sample: int, pipeline: int, repeat: int) -> str:
    """By the rows' ids: planning the same again makes nothing new."""
    return uuid.uuid5(_NAMESPACE, json.dumps([experiment, sample, pipeline, repeat])).hex


def session_id(cell: str, attempt: int) -> str:
    """Of one run of a cell: a run that was given up is never mixed with the next one."""
    return uuid.uuid5(_NAMESPACE, json.dumps([cell, attempt])).hex


def turn_id(session: str, index: int) -> str:
    return uuid.uuid5(_NAMESPACE, json.dumps(["turn", session, index])).hex


def plan(experiment: Experiment, pipelines: Sequence[ExperimentPipeline], samples: Sequence[int], first: int) -> None:
    """Writes the cells of these pipelines with all samples, given by their rows' ids; `first` is the order of the first
    of them. What is planned already stays as it is."""
    order = places(len(samples), len(pipelines), experiment.repeats, experiment.warm_up, experiment.seed, first)
    numbered = enumerate(order, first)
    while chunk := list(islice(numbered, CHUNK)):
        cells = [_cell(experiment, pipelines[each.pipeline], samples[each.sample], each, at) for at, each in chunk]
        Cell.objects.bulk_create(cells, ignore_conflicts=True)


def _cell(experiment: Experiment, pipeline: ExperimentPipeline, sample: int, place: CellPlace, order: int) -> Cell:
    return Cell(
        id=cell_id(experiment.pk, sample, pipeline.pk, place.repeat), project_id=experiment.project_id,
        experiment=experiment, pipeline=pipeline, sample_id=sample, repeat=place.repeat, order=order,
    )  # fmt: skip
