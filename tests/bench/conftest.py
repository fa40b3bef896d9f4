from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from openomni.events import AXIS_RATE
from openomni.media import Audio


@pytest.fixture(scope="session")
def question() -> Audio:
    return Audio.load(Path(str(resources.files("openomni.cli") / "data" / "question.wav")), AXIS_RATE)
