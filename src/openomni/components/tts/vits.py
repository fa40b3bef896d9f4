"""A VITS network in two parts, text to frames and frames to sound, so that the first sound need not wait for the last.

Piper's voices come as one graph, which gives a clause as a whole. Most of the work is in its decoder, a stack of
convolutions that sees no further than `REACH` frames: given frames a few at a time, with that many on either side, it
gives the very samples that it gives for all of them at once. So the graph is cut in front of the decoder.

A voice varies by noise, which its graph draws anew in each run. Here it is the same noise each time, so that what is
said twice sounds the same, and two pipelines that are compared speak alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import OpenOmniError
from ...lazy import Lazy
from ...media import Samples

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

REACH = 12
"""Frames on either side that a sample depends on, for the decoders of Piper's medium voices (measured: 10)."""
FIRST = 18
"""Frames of the first piece, about 0.2 s: enough to be heard until the second is made."""
GROWS = 2
"""Each piece is that many times as long as the one before it, for the frames on either side are worked out twice."""
LONGEST = 150
_DECODER = "/dec/"
_ENTRY = "/dec/conv_pre/Conv"
_DURATIONS = "/Ceil"
NOISE = 1_000_003
"""Numbers of the noise before it begins again: enough for a sentence of a minute."""
OPSET = 13
"""The oldest of ONNX's sets of operators that has all of them."""
FLOAT = 1
"""ONNX's number of 32-bit floats."""
_NOISE = "openomni.noise"
_SAME_NOISE = """
<domain: "openomni", opset_import: ["": {version}]>
SameNoise (like, noise) => (drawn) {{
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    count = Size (like)
    numbered = Range (zero, count, one)
    length = Size (noise)
    index = Mod (numbered, length)
    values = Gather (noise, index)
    shape = Shape (like)
    drawn = Reshape (values, shape)
}}
"""
"""In place of a node that draws noise of the shape of `like` anew in each run."""


class Vits:
    """A voice's network. `pieces` is false where its graph can't be cut, for it is no export of Piper's own."""

    def __init__(self, model: Path, threads: int) -> None:
        self._threads = threads
        graph = _load(model)
        parts = _cut(graph)
        self.pieces = parts is not None
        if parts is None:
            self._whole = self._session(graph.SerializeToString())
            return
        before, after, self._frames, self._durations, self._given = parts
        self._before, self._after = self._session(before), self._session(after)

    def speak(self, inputs: dict[str, Any]) -> tuple[Iterator[Samples], Any]:
        """The sound of one sentence, in pieces as they are made, and how many frames each phoneme takes (None where
        the network does not tell). `inputs`: those of Piper's graph."""
        if not self.pieces:
            return iter([self._whole.run(None, inputs)[0].reshape(-1)]), None
        frames, durations, *given = self._before.run([self._frames, self._durations, *self._given], inputs)
        return self._decode(frames, dict(zip(self._given, given, strict=True))), durations.reshape(-1)

    def _decode(self, frames: Any, given: dict[str, Any]) -> Iterator[Samples]:
        count, at, length = frames.shape[2], 0, FIRST
        while at < count:
            end = count if count - at <= length + REACH else at + length
            low, high = max(at - REACH, 0), min(end + REACH, count)
            sound = self._after.run(None, {self._frames: frames[:, :, low:high], **given})[0].reshape(-1)
            hop = len(sound) // (high - low)
            yield sound[(at - low) * hop : (end - low) * hop]
            at, length = end, min(length * GROWS, LONGEST)

    def _session(self, model: bytes) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Threads that wait by spinning would take the core from the language model that writes the next clause.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _load(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path))
    except DecodeError:
        raise OpenOmniError(f"{path} is no ONNX model; name the .onnx file of a Piper voice") from None
    version = next((each.version for each in model.opset_import if not each.domain), 0)
    drawing = [node for node in model.graph.node if version >= OPSET and _draws(node)]
    if drawing:
        noise = np.random.default_rng(0).standard_normal(NOISE, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(noise, _NOISE))
        model.functions.append(onnx.parser.parse_function(_SAME_NOISE.format(version=version)))
        model.opset_import.append(onnx.helper.make_opsetid("openomni", 1))
    for node in drawing:
        node.op_type, node.domain = "SameNoise", "openomni"
        node.input.append(_NOISE)
        del node.attribute[:]
    return model


def _draws(node: Any) -> bool:
    """Whether it draws 32-bit noise of mean 0 and scale 1; another voice's is left as it is."""
    given = {attribute.name: attribute for attribute in node.attribute}
    return (
        node.op_type == "RandomNormalLike"
        and ("dtype" not in given or given["dtype"].i == FLOAT)
        and ("mean" not in given or given["mean"].f == 0.0)
        and ("scale" not in given or given["scale"].f == 1.0)
    )


def _cut(model: Any) -> tuple[bytes, bytes, str, str, list[str]] | None:
    """The graph before the decoder and the decoder, and the names of the frames, of the durations, and of what else the
    decoder is given, such as the speaker's embedding. None where it is built another way."""
    from onnx.utils import Extractor

    nodes = {node.name: node for node in model.graph.node}
    entry, durations = nodes.get(_ENTRY), nodes.get(_DURATIONS)
    if entry is None or durations is None:
        return None
    decoder = [node for node in model.graph.node if node.name.startswith(_DECODER)]
    known = {output for node in decoder for output in node.output}
    known |= {weights.name for weights in model.graph.initializer} | {""}
    frames, counts = entry.input[0], durations.output[0]
    given = sorted({name for node in decoder for name in node.input} - known - {frames})
    extractor = Extractor(model)
    outputs = [output.name for output in model.graph.output]
    try:
        before = extractor.extract_model([each.name for each in model.graph.input], [frames, counts, *given])
        after = extractor.extract_model([frames, *given], outputs[:1])
    except ValueError:  # the decoder takes something that is no value of its own
        return None
    return before.SerializeToString(), after.SerializeToString(), frames, counts, given
