"""Weights that llama.cpp multiplies faster, from a GGUF file that has them in Q4_1.

On common CPUs it multiplies Q4_0 and Q8_0 by several rows at once, and Q4_1 row by row. So the feed-forward layers,
which are most of a model, get Q4_0, which is fastest; attention gets Q8_0, which loses nothing. (All in Q4_0,
SmolLM2-135M takes Florence for the capital of Italy.) Measured with it on two cores with AVX2: a prompt is read in
four fifths of the time, a reply written in 85 % of it. Q4_0 has no offset for each block of 32 weights, so the best
scale is looked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import models
from ...errors import OpenOmniError
from ...lazy import Lazy

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

BLOCK = 32
"""Weights with a scale of their own."""
SCALES = (0.85, 0.95, 1.05)
"""Of the largest weight of a block, which is at the end of the range at 1: a lower scale clips it and is finer."""
AT_ONCE = 8192
"""Blocks whose arrays fit into a core's cache."""
FEED_FORWARD = ".ffn_"
"""In the names of tensors."""
VERSION = 1
"""Of this way; raised when the same file would become another one."""


def as_mixed(path: Path) -> Path:
    """The file with its Q4_1 weights in Q4_0 and Q8_0, made the first time, in the folder of models. Raises
    OpenOmniError for a file that is no GGUF, or has none in Q4_1."""
    found = path.stat()
    key = hashlib.sha256(f"{VERSION} {path.resolve()} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()
    made = models.cache_folder() / "requantised" / f"{path.stem}.as-mixed.{key[:16]}.gguf"
    if not made.is_file():
        try:
            _make(path, made)
        except OSError as error:
            raise OpenOmniError(
                f"{made} can't be written ({error.strerror}); make room or leave `weights` out"
            ) from None
    return made


def _make(path: Path, made: Path) -> None:
    import gguf

    try:
        reader = gguf.GGUFReader(path)
    except ValueError as error:
        raise OpenOmniError(f"{path} can't be read ({error}); is it a GGUF file?") from None
    kinds = gguf.GGMLQuantizationType
    old = kinds.Q4_1
    if not any(tensor.tensor_type == old for tensor in reader.tensors):
        raise OpenOmniError(f"{path} has no weights in Q4_1; leave `weights: mixed` out")
    made.parent.mkdir(parents=True, exist_ok=True)
    part = made.with_suffix(f".{os.getpid()}.part")
    writer = gguf.GGUFWriter(part, reader.fields["general.architecture"].contents())
    for name, value, kind, inside in _told(reader):
        writer.add_key_value(name, value, kind, sub_type=inside)

    def converted(tensor: Any) -> tuple[Any, Any]:
        if tensor.tensor_type != old:
            return tensor.data, tensor.tensor_type
        weights = gguf.quants.dequantize(tensor.data, old)
        if FEED_FORWARD in tensor.name:
            return q4_0(weights), kinds.Q4_0
        return gguf.quants.quantize(weights, kinds.Q8_0), kinds.Q8_0

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for tensor, (data, kind) in zip(reader.tensors, pool.map(converted, reader.tensors), strict=True):
            writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(made)


def _told(reader: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """What the file says of the model: name, value, kind, and kind of an array's values."""
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            yield name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None


def q4_0(weights: Any) -> Any:
    """Blocks of half a scale and 16 bytes of two weights each, uint8 of shape (rows, 18 × columns / 32), from float32
    of shape (rows, columns)."""
    blocks = weights.reshape(-1, BLOCK)
    packed = np.empty((len(blocks), 2 + BLOCK // 2), np.uint8)
    for first in range(0, len(blocks), AT_ONCE):
        packed[first : first + AT_ONCE] = _packed(blocks[first : first + AT_ONCE])
    return packed.reshape(*weights.shape[:-1], -1)


def _packed(blocks: Any) -> Any:
    largest = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(1)]
    least = np.full(len(blocks), np.inf, np.float32)
    scales, levels = np.zeros(len(blocks), np.float32), np.zeros(blocks.shape, np.int8)
    for part in SCALES:
        scale = largest / np.float32(-8 * part)
        tried = np.clip(np.rint(blocks / np.where(scale == 0, 1, scale)[:, None]), -8, 7)
        # With the levels given, the best scale is a matter of least squares.
        scale = np.einsum("ij,ij->i", tried, blocks) / np.maximum(np.einsum("ij,ij->i", tried, tried), 1)
        scale = scale.astype(np.float16).astype(np.float32)
        off = blocks - tried * scale[:, None]
        errors = np.einsum("ij,ij->i", off, off)
        better = errors < least
        least[better], scales[better], levels[better] = errors[better], scale[better], tried[better]
    nibbles = (levels + 8).astype(np.uint8)
    low, high = nibbles[:, : BLOCK // 2], nibbles[:, BLOCK // 2 :]
    return np.hstack([scales.astype(np.float16).view(np.uint8).reshape(-1, 2), low | (high << 4)])
