"""A dataset's identity: a hash of what it holds, and the version that goes with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from .samples import Sample, checked


def dataset_hash(samples: Iterable[Sample], files: Mapping[str, str]) -> str:
    """SHA-256, in hex, of the samples. `files`: path → SHA-256 of the file's bytes.

    It counts: each sample's id, group, references and other fields; the bytes of its media, with the stretch, track
    and channel that are heard; the order of the utterances in a dialogue, and when each is said. It does not count:
    the dataset's name and version, the order of the samples, where a file lies and what it is called.
    """
    digests = sorted(sample_hash(sample, files) for sample in samples)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def sample_hash(sample: Sample, files: Mapping[str, str]) -> str:
    """SHA-256, in hex, of one sample, as `dataset_hash` counts it. Raises ValueError as `checked` does."""
    plain = msgspec.to_builtins(checked(sample))
    for utterance in plain["utterances"]:
        utterance["sound"]["path"] = files[utterance["sound"]["path"]]
    # Sorted keys and the shortest digits of each number: the same on every machine.
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def version_of(digest: str, known: Mapping[int, str]) -> int:
    """The version that a dataset of this hash has, where `known` are the versions of its name so far: the one that has
    the hash already, else the next."""
    return next((version for version, its in sorted(known.items()) if its == digest), max(known, default=0) + 1)
