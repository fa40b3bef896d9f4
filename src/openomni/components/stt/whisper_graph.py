"""Whisper's decoder as graphs for ONNX Runtime, built from the weights of a model that was converted for CTranslate2.

CTranslate2 lays out the weights anew for each token on many CPUs. Measured with tiny.en on two cores with AVX2: a token
takes it 6 to 13 ms, and here 3 to 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ...errors import OpenOmniError
from ...lazy import Lazy
from .ct2_weights import Weights

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

BLOCK = 32
"""Weights of a row that share a scale."""
INT8_COMPUTING = 4
"""`accuracy_level` of MatMulNBits that multiplies in int8."""
GELU = 3
"""CTranslate2's number of the activation."""
LARGEST = 1_900_000_000
"""Bytes that fit into one graph."""
EPSILON = 1e-5

Bits = Literal[8, 32]


class Graphs:
    """`memory`: keys and values of each layer from the encoder's output (frames, width). `step`: from embedded tokens
    (tokens, width), a mask (tokens, past + tokens), and each layer's keys and values, past and of the sound, each
    (heads, positions, width of a head), to logits (tokens, vocabulary) and the new keys and values.

    Raises OpenOmniError for a model that is built otherwise.
    """

    def __init__(self, weights: Weights, bits: Bits) -> None:
        self._weights, self._bits = weights, bits
        self.layers = weights.count("decoder/layer_")
        self.heads = weights.flag("decoder/num_heads")
        self.width = int(weights.array("decoder/layer_norm/gamma").shape[0])
        if (
            weights.spec != "WhisperSpec"
            or not self.layers
            or not self.heads
            or weights.flag("decoder/activation", GELU) != GELU
            or weights.flag("decoder/scale_embeddings")
            or not weights.flag("decoder/pre_norm", 1)
        ):
            raise OpenOmniError("its decoder is not built as Whisper's")
        if bits == 32 and 4 * self.layers * 16 * self.width**2 > LARGEST:
            raise OpenOmniError("its decoder is too large for one graph in float32")

    def memory(self) -> bytes:
        graph = _Graph(self._weights, 32)  # many positions at once are faster so
        graph.take("encoded", ["frames", self.width])
        for layer in range(self.layers):
            both = graph.linear("encoded", f"decoder/layer_{layer}/attention/linear_1")
            for what, values in zip("kv", graph.split(both, [self.width] * 2), strict=True):
                graph.give(self._by_head(graph, values), f"{what}{layer}", [self.heads, "frames", None])
        return graph.bytes()

    def step(self) -> bytes:
        graph = _Graph(self._weights, self._bits)
        graph.take("embedded", ["tokens", self.width])
        graph.take("mask", ["tokens", "positions"])
        state = "embedded"
        for layer in range(self.layers):
            for what in ("pk", "pv", "k", "v"):
                graph.take(f"{what}{layer}", [self.heads, f"{what[0]}_positions", self.width // self.heads])
            name = f"decoder/layer_{layer}"
            normed = graph.norm(state, f"{name}/self_attention/layer_norm")
            query, *new = graph.split(graph.linear(normed, f"{name}/self_attention/linear_0"), [self.width] * 3)
            keys, values = (
                graph.node("Concat", [f"p{what}{layer}", self._by_head(graph, each)], axis=1)
                for what, each in zip("kv", new, strict=True)
            )
            graph.give(keys, f"nk{layer}", [self.heads, "positions", None])
            graph.give(values, f"nv{layer}", [self.heads, "positions", None])
            heard = self._attend(graph, query, keys, values, "mask")
            state = graph.node("Add", [state, graph.linear(heard, f"{name}/self_attention/linear_1")])
            normed = graph.norm(state, f"{name}/attention/layer_norm")
            query = graph.linear(normed, f"{name}/attention/linear_0")
            heard = self._attend(graph, query, f"k{layer}", f"v{layer}")
            state = graph.node("Add", [state, graph.linear(heard, f"{name}/attention/linear_2")])
            normed = graph.norm(state, f"{name}/ffn/layer_norm")
            wide = graph.node("Gelu", [graph.linear(normed, f"{name}/ffn/linear_0")])
            state = graph.node("Add", [state, graph.linear(wide, f"{name}/ffn/linear_1")])
        graph.give(graph.linear(graph.norm(state, "decoder/layer_norm"), "decoder/projection"), "logits",
                   ["tokens", None])  # fmt: skip
        return graph.bytes()

    def _by_head(self, graph: _Graph, values: str) -> str:
        shape = graph.constant(np.array([0, self.heads, self.width // self.heads], np.int64))
        return graph.node("Transpose", [graph.node("Reshape", [values, shape])], perm=[1, 0, 2])

    def _attend(self, graph: _Graph, query: str, keys: str, values: str, mask: str | None = None) -> str:
        scale = graph.constant(np.float32((self.width // self.heads) ** -0.5))
        query = self._by_head(graph, graph.node("Mul", [query, scale]))
        scores = graph.node("MatMul", [query, graph.node("Transpose", [keys], perm=[0, 2, 1])])
        if mask is not None:
            scores = graph.node("Add", [scores, mask])
        heard = graph.node("MatMul", [graph.node("Softmax", [scores], axis=-1), values])
        shape = graph.constant(np.array([0, self.width], np.int64))
        return graph.node("Reshape", [graph.node("Transpose", [heard], perm=[1, 0, 2]), shape])


class _Graph:
    """Nodes as they are added, in float32 throughout."""

    def __init__(self, weights: Weights, bits: Bits) -> None:
        import onnx

        self._onnx = onnx
        self._weights, self._bits = weights, bits
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def take(self, name: str, shape: list[Any]) -> None:
        self._inputs.append(self._value(name, shape))

    def give(self, value: str, name: str, shape: list[Any]) -> None:
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self._outputs.append(self._value(name, shape))

    def node(self, kind: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        name = f"n{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name

    def split(self, value: str, sizes: list[int]) -> list[str]:
        names = [f"n{len(self._nodes)}_{part}" for part in range(len(sizes))]
        inputs = [value, self.constant(np.array(sizes, np.int64))]
        self._nodes.append(self._onnx.helper.make_node("Split", inputs, names, axis=-1))
        return names

    def constant(self, values: Any) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def norm(self, value: str, name: str) -> str:
        gamma, beta = (self.constant(self._weights.array(f"{name}/{each}")) for each in ("gamma", "beta"))
        return self.node("LayerNormalization", [value, gamma, beta], axis=-1, epsilon=EPSILON)

    def linear(self, value: str, name: str) -> str:
        """Times the transposed weights (outputs, inputs), plus the bias where there is one."""
        weights = self._weights.array(f"{name}/weight")
        if self._bits == 8 and weights.shape[1] % BLOCK == 0:
            levels, scales = in_blocks(weights)
            product = self.node(
                "MatMulNBits", [value, self.constant(levels), self.constant(scales)], "com.microsoft",
                K=weights.shape[1], N=weights.shape[0], bits=8, block_size=BLOCK, accuracy_level=INT8_COMPUTING,
            )  # fmt: skip
        else:
            product = self.node("MatMul", [value, self.constant(np.ascontiguousarray(weights.T))])
        if f"{name}/bias" not in self._weights:
            return product
        return self.node("Add", [product, self.constant(self._weights.array(f"{name}/bias"))])

    def bytes(self) -> bytes:
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "whisper", self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())

    def _value(self, name: str, shape: list[Any]) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape)


def in_blocks(weights: Any) -> tuple[Any, Any]:
    """Levels (outputs, blocks, 32), uint8 with 128 for nothing, and the scales of the blocks, float32 in one row."""
    blocks = weights.reshape(weights.shape[0], -1, BLOCK)
    scales = np.abs(blocks).max(2) / 127
    levels = np.rint(blocks / np.where(scales == 0, 1, scales)[..., None]) + 128
    return levels.astype(np.uint8), scales.reshape(-1)
