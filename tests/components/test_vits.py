"""A voice's network in two parts gives what it gives as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from openomni import models
from openomni.components.tts import vits
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


@pytest.mark.long
def test_the_pieces_together_are_what_the_whole_gives(voice: Path) -> None:
    pieces, frames = Vits(voice, threads=2).speak(inputs())
    made = list(pieces)
    whole = onnxruntime.InferenceSession(str(voice)).run(None, inputs())[0].reshape(-1)
    assert len(made) > 3
    assert len(made[0]) == FIRST * 256
    assert np.concatenate(made) == pytest.approx(whole, abs=1e-4)
    assert len(frames) == len(IDS)
    assert frames.sum() * 256 == len(whole)


@pytest.mark.long
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


@pytest.mark.long
def test_what_is_said_twice_sounds_the_same_in_each_process(voice: Path) -> None:
    lively = inputs() | {"scales": np.array([0.667, 1.0, 0.8], np.float32)}
    network = Vits(voice, threads=2)
    networks = (network, network, Vits(voice, threads=2))
    first, *others = (np.concatenate(list(each.speak(lively)[0])) for each in networks)
    assert all(np.array_equal(first, other) for other in others)
    flat = np.concatenate(list(network.speak(inputs())[0]))
    assert len(flat) != len(first)  # the noise is there: it moves the durations too


def test_the_noise_is_as_the_graph_would_draw_it_and_begins_again_when_it_is_used_up(
    voice: Path,
) -> None:
    graph = vits._load(voice)
    assert sum(node.op_type == "SameNoise" for node in graph.graph.node) == 2
    node = onnx.helper.make_node("SameNoise", ["like", vits._NOISE], ["drawn"], domain="openomni")
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, None, None]) for name in ("like", "drawn")
    ]
    noise = [each for each in graph.graph.initializer if each.name == vits._NOISE]
    alone = onnx.helper.make_model(
        onnx.helper.make_graph([node], "alone", ends[:1], ends[1:], noise),
        functions=graph.functions, opset_imports=graph.opset_import, ir_version=graph.ir_version,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(alone.SerializeToString())
    (values,) = session.run(None, {"like": np.zeros((1, 192, 6000), np.float32)})
    assert values.shape == (1, 192, 6000)
    assert abs(values.mean()) < 0.01
    assert values.std() == pytest.approx(1.0, abs=0.01)
    flat = values.reshape(-1)
    assert np.array_equal(flat[vits.NOISE :], flat[: len(flat) - vits.NOISE])
    assert len(np.unique(flat[: vits.NOISE])) > 0.9 * vits.NOISE


@pytest.mark.parametrize(
    ("version", "options", "replaced"),
    [(15, {}, True), (15, {"dtype": 1, "mean": 0.0, "scale": 1.0}, True), (15, {"scale": 2.0}, False),
     (15, {"dtype": 10}, False), (11, {}, False)],
)  # fmt: skip
def test_noise_of_another_kind_is_drawn_as_before(
    tmp_path: Path, version: int, options: dict[str, Any], replaced: bool
) -> None:
    kind = options.get("dtype", onnx.TensorProto.FLOAT)
    like, drawn = (onnx.helper.make_tensor_value_info(name, kind, [1, 2, 50]) for name in ("like", "drawn"))
    node = onnx.helper.make_node("RandomNormalLike", ["like"], ["drawn"], **options)
    graph = onnx.helper.make_graph([node], "alone", [like], [drawn])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)], ir_version=8),
        str(tmp_path / "voice.onnx"),
    )
    network = Vits(tmp_path / "voice.onnx", threads=1)
    given = np.zeros((1, 2, 50), onnx.helper.tensor_dtype_to_np_dtype(kind))
    first, second = (np.concatenate(list(network.speak({"like": given})[0])) for _ in range(2))
    assert np.array_equal(first, second) is replaced
    assert first.std() > 0.5
