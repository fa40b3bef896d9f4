"""How OpenOmni and its extras are installed: from a checkout, for no package index has it."""

from __future__ import annotations

from collections.abc import Mapping

UPGRADE = "git pull and ./setup in its checkout bring the newest"

_MEDIA = {"av", "soxr"}
_BUS = {"aiohttp", "nats", "nkeys"}
_AGENT = _MEDIA | _BUS | {"openai", "pip", "psutil", "pydantic"}
EXTRAS: Mapping[str, set[str]] = {
    "listener": _MEDIA | {"sounddevice"},
    "responder": _MEDIA | {"sounddevice"},
    "agent": _AGENT,
    "api": _MEDIA | _BUS | {"cryptography", "dj_database_url", "django", "ninja", "unfold", "psycopg", "pydantic",
                            "psutil", "segno", "starlette", "uvicorn"},
    "evaluation": {"evalica", "jiwer", "matplotlib", "onnxruntime", "pandas", "pyarrow", "scipy", "soxr", "statsmodels",
                   "whisper_normalizer"},
    "local": _AGENT | {"faster_whisper", "gguf", "onnx", "onnxruntime", "piper", "xllamacpp"},
}  # fmt: skip
"""Extra → the modules that it brings on every machine."""


def line(extra: str) -> str:
    """What to do to have an extra."""
    return f"run ./setup {extra} in OpenOmni's checkout, or pip install '.[{extra}]' there"


def brings(module: str) -> bool:
    """Whether one of our extras has it, so that it is no fault of somebody's component when it is absent."""
    return any(module in modules for modules in EXTRAS.values())
