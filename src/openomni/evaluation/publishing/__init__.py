"""An experiment as a folder that opens offline: a page, tables, figures, a paragraph of methods, and what it was made
of, which another server takes in.

`write` makes all of it of a bundle, which is what a server gives of an experiment; `read` gives it back.
"""

from __future__ import annotations

from .folder import BUNDLE, FORMAT, read, write

__all__ = ["BUNDLE", "FORMAT", "read", "write"]
