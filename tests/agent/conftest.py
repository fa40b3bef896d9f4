from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.backend import Backend, agents, workers


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    async with Backend(tmp_path) as made:
        yield made


@pytest.fixture
async def employ(backend: Backend) -> AsyncIterator[Callable[..., Any]]:
    """`await employ(name, offer, …)`: an agent in this process, ready."""
    async with workers(backend) as employing:
        yield employing


@pytest.fixture
async def start(backend: Backend, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """`await start(name, offer, …)`: an agent as a process of its own, ready."""
    async with agents(tmp_path, backend.url) as starting:
        yield starting
