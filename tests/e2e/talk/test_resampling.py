"""Sound that changes its rate on the talk page stays where it was in time."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page

from e2e.talk.talker import Visit

RESAMPLED = """async ([from, to, hertz]) => {
  const { Resampler } = await import("/static/talk/resampler.js");
  const resampler = new Resampler(from, to), found = [];
  const tone = (at) => Math.sin(2 * Math.PI * hertz * at / from);
  for (let start = 0; start < from; start += 128) {
    resampler.push(Float32Array.from({ length: 128 }, (_, index) => tone(start + index)));
    const out = new Float32Array(512);
    found.push(...out.subarray(0, resampler.pull(out)));
  }
  return found;
}"""


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit("short", 60.0).page


def test_sound_is_resampled_where_it_was(page: Page) -> None:
    for source, target in ((48_000, 16_000), (44_100, 16_000), (16_000, 48_000), (22_050, 48_000)):
        tone = np.array(page.evaluate(RESAMPLED, [source, target, 1000]))
        assert len(tone) >= target * 0.99, (source, target)
        # Not a sample is shifted: the tone is what it would be had it been captured at that rate.
        expected = np.sin(2 * np.pi * 1000 * np.arange(len(tone)) / target)
        assert np.abs(tone - expected)[200:].max() < 0.01, (source, target)


def test_what_the_lower_rate_cannot_hold_is_filtered_out(page: Page) -> None:
    tone = np.array(page.evaluate(RESAMPLED, [48_000, 16_000, 10_000]))
    assert np.abs(tone[200:]).max() < 0.01
