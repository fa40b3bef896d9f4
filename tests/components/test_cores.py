"""CTranslate2 gets an OpenMP of its own size, and nobody else notices."""

from __future__ import annotations

import os

import pytest

from openomni.components.cores import ctranslate2_alone


@pytest.mark.parametrize("before", [None, "8"])
def test_the_environment_is_as_it_was_afterwards_also_when_the_import_fails(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if before:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    seen: list[str] = []
    with pytest.raises(ImportError):
        _import(seen)
    assert seen == ["1"]
    assert os.environ.get("OMP_NUM_THREADS") == before


def _import(seen: list[str]) -> None:
    with ctranslate2_alone():
        seen.append(os.environ["OMP_NUM_THREADS"])
        raise ImportError
