"""Weights in Q8_0 from a GGUF file that has them in Q4_1.

llama.cpp multiplies Q8_0 by several rows at once on common CPUs, and Q4_1 row by row. Measured with SmolLM2-135M on two
cores with AVX2: a prompt is read 1.5 times as fast, a reply written as fast as before. Eight bits hold what four said
(0.6 % off); Q4_0, which is faster still, takes so small a model some of what it knows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ... import models
from ...errors import OpenOmniError

VERSION = 1
"""Of this way; raised when the same file would become another one."""


def as_q8_0(path: Path) -> Path:
    """The file with its Q4_1 weights in Q8_0, made the first time, in the folder of models. Raises OpenOmniError for
    a file that is no GGUF, or has none in Q4_1."""
    found = path.stat()
    key = hashlib.sha256(f"{VERSION} {path.resolve()} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()
    made = models.cache_folder() / "requantised" / f"{path.stem}.as-q8_0.{key[:16]}.gguf"
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
    old, new = gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.Q8_0
    if not any(tensor.tensor_type == old for tensor in reader.tensors):
        raise OpenOmniError(f"{path} has no weights in Q4_1; leave `weights: q8_0` out")
    made.parent.mkdir(parents=True, exist_ok=True)
    part = made.with_suffix(f".{os.getpid()}.part")
    writer = gguf.GGUFWriter(part, reader.fields["general.architecture"].contents())
    for name, value, kind, inside in _told(reader):
        writer.add_key_value(name, value, kind, sub_type=inside)

    def converted(tensor: Any) -> Any:
        return (
            gguf.quants.quantize(gguf.quants.dequantize(tensor.data, old), new)
            if tensor.tensor_type == old
            else tensor.data
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for tensor, data in zip(reader.tensors, pool.map(converted, reader.tensors), strict=True):
            kind = new if tensor.tensor_type == old else tensor.tensor_type
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
