"""Which Chromium the pages are tested in."""

from __future__ import annotations

import shutil

import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first one is a Chromium without a window to draw: half the work on each page."""


def chromium() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium here for the pages' tests; Debian, Ubuntu: apt install chromium-headless-shell")
    return found
