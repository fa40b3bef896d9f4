"""Silero's voice activity detector, run by onnxruntime on one thread."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import installs, models
from ...errors import OpenOmniError
from ...lazy import Lazy
from ...media import Samples
from ..registry import component

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

WINDOW = 512
"""Samples at 16 kHz that the network takes at a time: 32 ms."""
CONTEXT = 64
"""Samples before a window that it looks back on."""


@component("vad", "silero", install="openomni[local]", requires=("onnxruntime", "faster_whisper"))
class Silero:
    """Silero VAD v6 (MIT), from the file that faster-whisper brings along; nothing is downloaded.

    Args:
        model: Path of another `.onnx` with the same inputs (input, h, c).
    """

    def __init__(self, model: str = "") -> None:
        import onnxruntime

        path = Path(model).expanduser() if model else _shipped()
        if not path.is_file():
            raise OpenOmniError(f"there is no Silero model at {path}; check the path, or leave `model` out")
        options = onnxruntime.SessionOptions()
        # A window takes a quarter of a millisecond; handing it between threads would take longer.
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(models.note(path)), options, providers=["CPUExecutionProvider"]
        )

    def open(self) -> SileroDetector:
        """A detector for one stream. Several may run at once, each from its own thread."""
        return SileroDetector(self._session)

    def warm_up(self) -> None:
        self.open()(np.zeros(WINDOW, np.float32))


class SileroDetector:
    """One stream's state. Called with 512 samples at 16 kHz, one window after another; gives the probability, 0…1,
    that this one holds speech."""

    window = WINDOW

    def __init__(self, session: Any) -> None:
        self._session = session
        self.reset()

    def reset(self) -> None:
        """Forgets what was heard."""
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)
        self._input = np.zeros((1, CONTEXT + WINDOW), np.float32)

    def __call__(self, samples: Samples) -> float:
        if samples.shape != (WINDOW,):
            raise ValueError(f"Silero takes windows of {WINDOW} samples, not {samples.shape}")
        self._input[0, :CONTEXT] = self._input[0, -CONTEXT:]
        self._input[0, CONTEXT:] = samples
        feed = {"input": self._input, "h": self._hidden, "c": self._cell}
        probability, self._hidden, self._cell = self._session.run(None, feed)
        return float(probability.reshape(-1)[0])


def _shipped() -> Path:
    """The newest Silero model among faster-whisper's assets, found without importing it and its runtime."""
    spec = util.find_spec("faster_whisper")
    folders = [Path(place) / "assets" for place in (spec.submodule_search_locations if spec else None) or ()]
    found = sorted(path for folder in folders for path in folder.glob("silero_vad*.onnx"))
    if not found:
        raise OpenOmniError(
            f"no Silero model comes with faster-whisper here; {installs.line('local')}, or give `model`"
        )
    return found[-1]
