"""Weights in Q4_0 and Q8_0 instead of Q4_1: nearly the same model."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from openomni import models
from openomni.components.llm.llama_cpp import LlamaCpp
from openomni.components.llm.requantised import as_mixed, q4_0
from openomni.errors import OpenOmniError
from openomni.events import Message

Q4_0, Q4_1, Q8_0 = (getattr(gguf.GGMLQuantizationType, name) for name in ("Q4_0", "Q4_1", "Q8_0"))
ROWS, COLUMNS = 24, 96


@pytest.fixture
def weights() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        monkeypatch.setenv("OPENOMNI_MODELS", str(tmp_path / "models"))


def small_model(path: Path, weights: np.ndarray, kind: gguf.GGMLQuantizationType) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("small")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
    for name in ("ffn_up", "attn_q"):
        writer.add_tensor(f"blk.0.{name}.weight", gguf.quants.quantize(weights, kind), raw_dtype=kind)
    writer.add_tensor("output_norm.weight", weights[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_best_scale_is_better_than_the_libraries(weights: np.ndarray) -> None:
    def off(packed: np.ndarray) -> float:
        return float(np.sqrt(np.mean((gguf.quants.dequantize(packed, Q4_0) - weights) ** 2)))

    assert q4_0(weights).shape == (ROWS, COLUMNS // 32 * 18)
    assert off(q4_0(weights)) < off(gguf.quants.quantize(weights, Q4_0))
    assert not gguf.quants.dequantize(q4_0(np.zeros_like(weights)), Q4_0).any()


def test_all_else_in_the_file_stays(weights: np.ndarray, tmp_path: Path) -> None:
    file = small_model(tmp_path / "small.Q4_1.gguf", weights, Q4_1)
    made = as_mixed(file)
    old, new = gguf.GGUFReader(file), gguf.GGUFReader(made)
    assert [tensor.name for tensor in new.tensors] == [tensor.name for tensor in old.tensors]
    assert [tensor.tensor_type for tensor in new.tensors[:2]] == [Q4_0, Q8_0]
    for number, most in ((0, 0.2), (1, 0.01)):
        was, now = (
            gguf.quants.dequantize(each.tensors[number].data, each.tensors[number].tensor_type) for each in (old, new)
        )
        assert np.abs(was - now).max() < most * np.abs(was).max()
    np.testing.assert_array_equal(new.tensors[2].data, old.tensors[2].data)
    told = {name: field.contents() for name, field in new.fields.items() if not name.startswith("GGUF.")}
    assert told == {name: field.contents() for name, field in old.fields.items() if not name.startswith("GGUF.")}


def test_it_is_made_once_and_again_for_another_file(weights: np.ndarray, tmp_path: Path) -> None:
    file = small_model(tmp_path / "small.Q4_1.gguf", weights, Q4_1)
    made = as_mixed(file)
    first = made.stat().st_mtime_ns
    assert as_mixed(file) == made
    assert made.stat().st_mtime_ns == first
    assert as_mixed(small_model(tmp_path / "small.Q4_1.gguf", 2 * weights, Q4_1)) != made
    assert not list(made.parent.glob("*.part"))


def test_what_can_not_be_turned_is_said_in_one_line(weights: np.ndarray, tmp_path: Path) -> None:
    other = small_model(tmp_path / "other.gguf", weights, Q8_0)
    with pytest.raises(OpenOmniError, match=r"has no weights in Q4_1; leave `weights: mixed` out"):
        as_mixed(other)
    (tmp_path / "no.gguf").write_bytes(b"no model" * 100)
    with pytest.raises(OpenOmniError, match="is it a GGUF file"):
        as_mixed(tmp_path / "no.gguf")


@pytest.mark.models
def test_the_real_model_still_knows_its_capitals() -> None:
    llama = LlamaCpp(max_tokens=16, context=512, weights="mixed")
    question = [
        Message("system", "You are a helpful assistant. Answer in one short sentence."),
        Message("user", "What is the capital of Italy?"),
    ]
    assert "Rome" in "".join(piece for piece in llama.generate(question) if isinstance(piece, str))
    llama.close()
    assert as_mixed(models.locate("smollm2-135m-instruct", "llama-cpp")).stat().st_size > 95_000_000
