"""The reference of environment variables names what the code reads, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
READ = r"""environ(?:\.get|\.setdefault)?[(\[]\s*f?["']([A-Z][A-Za-z_]+)["']"""
OURS = r"\bOPENOMNI_[A-Z_]*[A-Z]\b"
FROM_LIBRARIES = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_CUSTOM_HEADERS", "SSL_CERT_FILE", "NO_PROXY", "HOME"}
"""What libraries read on our behalf, or the system says."""


def test_every_variable_stands_in_the_reference() -> None:
    sources = [file.read_text() for file in (ROOT / "src").rglob("*.py")]
    read = {name for text in sources for pattern in (READ, OURS) for name in re.findall(pattern, text)}
    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    told = set(re.findall(r"`([A-Z]+_[A-Z_]*[A-Z])`", page))
    assert read - told - FROM_LIBRARIES == set(), "these are read and stand in no document"
    assert told - read - FROM_LIBRARIES == set(), "these stand in the reference and nobody reads them"
