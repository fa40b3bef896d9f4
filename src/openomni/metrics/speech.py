"""How a reply sounds, judged without a reference: DNSMOS, by its weights and ONNX Runtime alone."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..lazy import Lazy
from ..media import Audio
from ..models import load_catalogue
from ..models import locate as located
from .declaring import metric
from .results import Measured, NotApplicable, not_applicable
from .runs import Run

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

MODEL = "dnsmos-p835"
RATE = 16_000
WINDOW_S = 9.01
"""What the model hears at once; what is shorter is repeated."""
CURVES = {
    "signal": (-0.08397278, 1.22083953, 0.0052439),
    "background": (-0.13166888, 1.60915514, -0.39604546),
    "overall": (-0.06766283, 1.11546468, 0.04602535),
}
"""From what the model gives, in its order, to opinions from 1 to 5, as its authors fitted them: the factors of x², x
and 1."""
AUDIBLE_S = 0.2
"""Less of a reply than this is no speech to have an opinion of."""


@metric("dnsmos_overall", version="1", unit="MOS", better="higher", kind="accuracy",
        install="openomni[evaluation]", requires=("onnxruntime", "soxr"))  # fmt: skip
class DnsmosOverall:
    """Quality of the reply's sound, from 1 to 5, as listeners after ITU-T P.835 would rate it overall.

    DNSMOS P.835 by Microsoft (weights of the package speechmos, MIT), whose hash is part of the version. Of several
    replies, the mean. `signal` and `background` are in the detail.
    """

    def __init__(self) -> None:
        (pin,) = load_catalogue().find(MODEL).files.values()
        self.pins = {"model": MODEL, "sha256": pin.sha256}
        self._session: Any = None

    def warm_up(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = located(MODEL, "dnsmos")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def measure(self, run: Run) -> Measured | NotApplicable:
        heard = [reply for turn in run.turns if (reply := turn.reply()) is not None and reply.duration >= AUDIBLE_S]
        if not heard:
            return not_applicable("no reply was spoken")
        opinions = [self._opinion(reply) for reply in heard]
        means = {name: round(fmean(each[name] for each in opinions), 6) for name in CURVES}
        return Measured(means["overall"], {**means, "replies": len(heard)})

    def _opinion(self, reply: Audio) -> dict[str, float]:
        """The mean of the windows that begin at each second."""
        if self._session is None:
            self.warm_up()
        sound = np.clip(reply.resample(RATE).samples, -1.0, 1.0)
        length = int(WINDOW_S * RATE)
        while len(sound) < length:  # doubled, as its authors do: how often decides how many windows there are
            sound = np.concatenate([sound, sound])
        hops = int(len(sound) // RATE - WINDOW_S) + 1
        windows = [sound[at * RATE : int((at + WINDOW_S) * RATE)] for at in range(hops)]
        raw = [self._session.run(None, {"input_1": window[None]})[0][0] for window in windows if len(window) >= length]
        return {
            name: fmean(float(np.polyval(curve, each[place])) for each in raw)
            for place, (name, curve) in enumerate(CURVES.items())
        }
