"""Datasets: frozen lists of inputs with their references, read from the field's formats, audited before anything is
taken.

`audit` looks at a folder or a file and lists everything that is wrong with it; what has no error has `samples` and a
`hash`. `export` writes them for others. No database and no bus here: who keeps datasets is somebody else's subject.
"""

from __future__ import annotations

from .auditing import Audit, audit
from .exporting import export
from .formats import FORMATS
from .hashing import dataset_hash, sample_hash, version_of
from .problems import ACCEPTABLE, Problem
from .samples import (
    AfterPause,
    AfterReply,
    AtTime,
    Dataset,
    IntoReply,
    Sample,
    Sound,
    Utterance,
    When,
    checked,
)

__all__ = [
    "ACCEPTABLE",
    "FORMATS",
    "AfterPause",
    "AfterReply",
    "AtTime",
    "Audit",
    "Dataset",
    "IntoReply",
    "Problem",
    "Sample",
    "Sound",
    "Utterance",
    "When",
    "audit",
    "checked",
    "dataset_hash",
    "export",
    "sample_hash",
    "version_of",
]
