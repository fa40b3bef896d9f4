"""The weights in a `model.bin` of CTranslate2, for runtimes that don't read it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import OpenOmniError
from ...lazy import Lazy

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

VERSION = 6
"""Of the file format; the newest that is known."""
TYPES = ("float32", "int8", "int16", "int32", "float16")


class Weights:
    """Arrays by their names, such as `decoder/layer_0/ffn/linear_0/weight`; they stay in the file until they are used.

    Raises OpenOmniError for a file that can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._at = 0
        try:
            self._bytes = np.memmap(path, np.uint8, "r")
            self._buffer = memoryview(self._bytes)  # type: ignore[arg-type]
            (version,) = self._take("I")
            if not 4 <= version <= VERSION:
                raise OpenOmniError(f"{path} is of format {version} of CTranslate2, and 4 to {VERSION} are known")
            self.spec = self._text()
            self._take("I")  # the specification's revision
            self._arrays = dict(self._variables())
            self._aliases = {self._text(): self._text() for _ in range(self._take("I")[0])}
        except (struct.error, ValueError, IndexError, KeyError) as error:
            raise OpenOmniError(f"{path} is no model of CTranslate2, or is cut off ({error})") from None

    def __contains__(self, name: str) -> bool:
        return self._aliases.get(name, name) in self._arrays

    def flag(self, name: str, default: int = 0) -> int:
        """A number that says how the model is built."""
        return int(self._arrays[name]) if name in self._arrays else default

    def array(self, name: str) -> Any:
        """In float32; int8 and int16 are multiplied with their scales. Raises KeyError."""
        name = self._aliases.get(name, name)
        stored = self._arrays[name]
        values = np.asarray(stored, np.float32)
        if stored.dtype.kind == "i":
            scale = np.asarray(self._arrays[f"{name}_scale"], np.float32)
            values = values / (scale[:, None] if scale.ndim else scale)
        return values

    def count(self, prefix: str) -> int:
        """How many layers there are: `decoder/layer_` with numbers from 0."""
        names = {name[len(prefix) :].split("/")[0] for name in self._arrays if name.startswith(prefix)}
        return sum(map(str.isdigit, names))

    def _variables(self) -> Iterator[tuple[str, Any]]:
        for _ in range(self._take("I")[0]):
            name = self._text()
            (rank,) = self._take("B")
            shape = self._take(f"{rank}I")
            kind, size = self._take("BI")
            data = self._bytes[self._at : self._at + size]
            self._at += size
            yield name, data.view(TYPES[kind]).reshape(shape) if size else np.zeros(shape, TYPES[kind])

    def _take(self, kinds: str) -> tuple[int, ...]:
        found = struct.unpack_from(f"<{kinds}", self._buffer, self._at)
        self._at += struct.calcsize(f"<{kinds}")
        return found

    def _text(self) -> str:
        (size,) = self._take("H")
        found = bytes(self._bytes[self._at : self._at + size]).rstrip(b"\0").decode()
        self._at += size
        return found
