"""Both decoders write the same, token by token, whatever a model says: here one whose weights are random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
from ctranslate2.specs import WhisperSpec

from openomni.components.stt.ct2_weights import Weights
from openomni.components.stt.whisper_decoder import CTranslate2Decoder, GreedyDecoder, Marks
from openomni.components.stt.whisper_graph import BLOCK, in_blocks
from openomni.errors import OpenOmniError

WIDTH, HEADS, LAYERS, FRAMES, WORDS, STAMPS = 64, 2, 2, 100, 400, 101
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|cy|>", "<|de|>", "<|transcribe|>", "<|startofprev|>",
           "<|nospeech|>", "<|notimestamps|>"]  # fmt: skip
MARKS = Marks(end=WORDS, no_timestamps=WORDS + 7, no_speech=WORDS + 6)
ENGLISH, SEVERAL = [WORDS + 1], [WORDS + 1, WORDS + 3, WORDS + 4]


def a_model(folder: Path, seed: int, quantization: str | None = None) -> Path:
    """Of random weights, as large as keeps the numbers in order."""
    rng = np.random.default_rng(seed)
    spec = WhisperSpec(1, HEADS, LAYERS, HEADS)
    words = [*(f"w{word}" for word in range(WORDS)), *SPECIAL, *(f"<|{stamp * 0.02:.2f}|>" for stamp in range(STAMPS))]

    def some(*shape: int) -> Any:
        scale = 0.3 if len(shape) == 1 else 1.6 / np.sqrt(np.prod(shape[1:]))
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    def linear(layer: Any, outputs: int, inputs: int = WIDTH) -> None:
        layer.weight, layer.bias = some(outputs, inputs), some(outputs)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = 1 + some(WIDTH), some(WIDTH)

    for conv, inputs in ((spec.encoder.conv1, 80), (spec.encoder.conv2, WIDTH)):
        conv.weight, conv.bias = some(WIDTH, inputs, 3), some(WIDTH)
    for half, positions in ((spec.encoder, FRAMES), (spec.decoder, 64)):
        half.position_encodings.encodings = some(positions, WIDTH)
        norm(half.layer_norm)
        for layer in half.layer:
            linear(layer.self_attention.linear[0], 3 * WIDTH)
            linear(layer.self_attention.linear[1], WIDTH)
            linear(layer.ffn.linear_0, 4 * WIDTH)
            linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH)
            for each in (layer.self_attention, layer.ffn):
                norm(each.layer_norm)
    for layer in spec.decoder.layer:
        norm(layer.attention.layer_norm)
        for each, outputs in zip(layer.attention.linear, (WIDTH, 2 * WIDTH, WIDTH), strict=True):
            linear(each, outputs)
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = some(len(words), WIDTH)
    spec.decoder.projection.bias = np.zeros(len(words), np.float32)
    spec.decoder.projection.bias[WORDS] = 3.8  # so that some texts end
    spec.register_vocabulary(words)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [3, 17, 90], [5, WORDS]
    spec.config.lang_ids = [WORDS + 2, WORDS + 3]
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir()
    spec.save(str(folder))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_model(tmp_path_factory.mktemp("whisper") / "model", 0)


@pytest.fixture(scope="module")
def whisper(model: Path) -> Any:
    return opened(model)


def opened(model: Path) -> Any:
    return ctranslate2.models.Whisper(str(model), device="cpu", compute_type="float32")


def encoded(whisper: Any, seed: int) -> Any:
    features = np.random.default_rng(seed).standard_normal((1, 80, 2 * FRAMES)).astype(np.float32)
    return whisper.encode(ctranslate2.StorageView.from_array(features))


@pytest.mark.parametrize("prompt", [ENGLISH, SEVERAL], ids=["english", "several languages"])
def test_it_writes_what_ctranslate2_writes(tmp_path: Path, prompt: list[int]) -> None:
    lengths, same = set(), 0
    for seed in range(4):
        whisper = opened(model := a_model(tmp_path / str(seed), seed))
        theirs, ours = CTranslate2Decoder(whisper, 1), GreedyDecoder(model, MARKS, 32, 1)
        for number in range(10):
            sound = encoded(whisper, number)
            expected, written = theirs.write(sound, prompt, 24), ours.write(sound, prompt, 24)
            assert written.no_speech == pytest.approx(expected.no_speech, rel=1e-3)
            lengths.add(len(written.tokens))
            if written.tokens == expected.tokens:
                same += 1
                # CTranslate2 does not count what comes after the last token that is allowed.
                assert len(written.tokens) == 24 or written.logprob == pytest.approx(expected.logprob, rel=1e-3)
                continue
            at = [ours == theirs for ours, theirs in zip(written.tokens, expected.tokens, strict=False)].index(False)
            first, other = (written.logits[at][each.tokens[at]] for each in (written, expected))
            assert abs(first - other) < 2e-3  # as good as the same
    assert same >= 38
    assert len(lengths) > 3  # some came to an end by themselves


@pytest.mark.parametrize("draft", ["all", "the beginning", "wrong at last", "wrong at once", "more than there is"])
def test_a_draft_changes_nothing(model: Path, whisper: Any, draft: str) -> None:
    decoder = GreedyDecoder(model, MARKS, 32, 1)
    for seed in range(6):
        sound = encoded(whisper, seed)
        written = decoder.write(sound, ENGLISH, 20)
        tokens = written.tokens
        guess = {
            "all": tokens, "the beginning": tokens[: len(tokens) // 2], "wrong at last": [*tokens[:-1], 1, 2],
            "wrong at once": [7] * 12, "more than there is": [*tokens, 9, 9, 9],
        }[draft]  # fmt: skip
        again = decoder.write(sound, ENGLISH, 20, guess)
        assert again.tokens == tokens
        assert again.logprob == pytest.approx(written.logprob, rel=1e-3)
        assert len(again.logits) == len(written.logits)
        assert all(np.allclose(one, other, atol=1e-3) for one, other in zip(again.logits, written.logits, strict=True))


def test_in_eight_bits_a_draft_changes_no_number(model: Path, whisper: Any) -> None:
    """Else two tokens that are about as likely would change places, and a turn that is run again its text."""
    decoder = GreedyDecoder(model, MARKS, 8, 1)
    for seed in range(3):
        sound = encoded(whisper, seed)
        written = decoder.write(sound, ENGLISH, 20)
        for count in range(len(written.tokens) + 1):
            again = decoder.write(sound, ENGLISH, 20, written.tokens[:count])
            assert np.array_equal(again.logits, written.logits)


def test_a_cancelled_call_ends_between_two_tokens(model: Path, whisper: Any) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(OpenOmniError, match="cancelled"):
        GreedyDecoder(model, MARKS, 32, 1).write(encoded(whisper, 0), ENGLISH, 20, cancelled=cancelled)
    assert asked == 3


def test_eight_bits_are_near(model: Path, whisper: Any) -> None:
    exact, near = (GreedyDecoder(model, MARKS, bits, 1) for bits in (32, 8))
    sound = encoded(whisper, 0)
    first, other = (decoder.write(sound, ENGLISH, 1).logits[0] for decoder in (exact, near))
    assert 0 < np.abs(first - other).max() < 0.05 * np.abs(first).max()


def test_blocks_of_weights_come_back() -> None:
    weights = np.random.default_rng(0).standard_normal((6, 2 * BLOCK)).astype(np.float32)
    weights[0, :BLOCK] = 0
    levels, scales = in_blocks(weights)
    back = (levels.astype(np.float32) - 128) * scales.reshape(6, 2, 1)
    assert np.abs(back.reshape(weights.shape) - weights).max() <= np.abs(weights).max() / 127 / 2 * 1.01


@pytest.mark.parametrize("kept", ["int8", "int16", "float16"])
def test_weights_are_read_however_they_are_kept(tmp_path: Path, kept: str) -> None:
    exact, other = (
        Weights(a_model(tmp_path / name, 0, quantization) / "model.bin")
        for name, quantization in (("exact", None), ("kept", kept))
    )
    for name in ("decoder/layer_1/ffn/linear_0/weight", "decoder/projection/weight", "decoder/layer_norm/beta"):
        assert other.array(name) == pytest.approx(exact.array(name), abs=float(np.abs(exact.array(name)).max()) / 100)


@pytest.mark.parametrize("content", [b"", b"\x06\x00\x00\x00", b"\xff" * 64, b"\x06\0\0\0\x05\0Nope\0" + b"\xff" * 9])
def test_a_file_that_is_no_model_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(OpenOmniError, match=r"model\.bin"):
        Weights(tmp_path / "model.bin")
