"""The metrics that listen, with their models: a real voice, the same in noise, and one that says something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics.made import run, turn
from openomni.datasets import Sound
from openomni.media import Audio
from openomni.metrics import registry

pytestmark = pytest.mark.long

SAID = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."

EXPECTED = {"overall": 2.714234, "signal": 3.474718, "background": 2.989766}
"""What `speechmos` 0.0.1.1 itself says of that recording."""


@pytest.fixture
def voice(shared_data: Path) -> Path:
    return shared_data / "jfk.wav"


def test_a_reply_that_is_spoken_as_it_is_written_has_no_errors_and_another_has(voice: Path) -> None:
    metric = registry.build("reply_wer")
    metric.warm_up()
    spoken = turn(reply_text=SAID, reply_sound=Sound(path=str(voice)))
    right = metric.measure(run(spoken))
    assert right.value is not None
    assert right.value <= 0.1
    assert right.detail["total"] == 22
    other = metric.measure(run(turn(reply_text="Good morning, everybody.", reply_sound=Sound(path=str(voice)))))
    assert other.value is not None
    assert other.value > 1
    assert metric.measure(run(turn(reply_text=SAID))).outcome == "not_applicable"


def test_the_recognisers_weights_are_part_of_the_version() -> None:
    metric = registry.build("reply_wer")
    assert metric.parameters["pins"]["sha256"] == "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
    assert metric.version.startswith("1+")


def test_quality_is_as_its_authors_compute_it_and_falls_with_noise(voice: Path, tmp_path: Path) -> None:
    metric = registry.build("dnsmos_overall")
    metric.warm_up()
    clean = metric.measure(run(turn(reply_sound=Sound(path=str(voice)))))
    assert clean.value == pytest.approx(EXPECTED["overall"], abs=1e-4)
    assert clean.detail["signal"] == pytest.approx(EXPECTED["signal"], abs=1e-4)
    assert clean.detail["background"] == pytest.approx(EXPECTED["background"], abs=1e-4)
    sound = Audio.load(voice)
    noise = np.random.default_rng(0).normal(0, 0.1, len(sound.samples)).astype(np.float32)
    noisy = Audio(np.clip(sound.samples + noise, -1, 1), sound.rate).save(tmp_path / "noisy.wav")
    worse = metric.measure(run(turn(reply_sound=Sound(path=str(noisy)))))
    assert worse.value is not None
    assert worse.value < clean.value - 0.5
