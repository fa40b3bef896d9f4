"""A voice's network in two parts gives what it gives as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from openomni import models
from openomni.components.tts.vits import FIRST, Vits

pytestmark = pytest.mark.models

IDS = [1, 0, 20, 0, 59, 0, 24, 0, 27, 0, 100, 0, 3, 0, 35, 0, 62, 0, 122, 0, 24, 0, 17, 0, 10, 0, 2] * 3


@pytest.fixture(scope="module")
def voice() -> Path:
    return models.locate("en_US-joe-medium", "piper")


def inputs() -> dict[str, Any]:
    # Without noise, so that twice the same is the same.
    scales = np.array([0.0, 1.0, 0.0], np.float32)
    return {"input": np.array([IDS], np.int64), "input_lengths": np.array([len(IDS)], np.int64), "scales": scales}


def test_the_pieces_together_are_what_the_whole_gives(voice: Path) -> None:
    pieces, frames = Vits(voice, threads=2).speak(inputs())
    made = list(pieces)
    whole = onnxruntime.InferenceSession(str(voice)).run(None, inputs())[0].reshape(-1)
    assert len(made) > 3
    assert len(made[0]) == FIRST * 256
    assert np.concatenate(made) == pytest.approx(whole, abs=1e-4)
    assert len(frames) == len(IDS)
    assert frames.sum() * 256 == len(whole)


def test_a_graph_that_can_not_be_cut_speaks_as_a_whole(voice: Path, tmp_path: Path) -> None:
    graph = onnx.load(str(voice))
    for node in graph.graph.node:
        node.name = node.name.replace("/dec/", "/decoder/")
    onnx.save(graph, str(tmp_path / "other.onnx"))
    network = Vits(tmp_path / "other.onnx", threads=2)
    pieces, frames = network.speak(inputs())
    assert not network.pieces
    assert len(list(pieces)) == 1
    assert frames is None
