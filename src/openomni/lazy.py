"""A module that is imported when it is first used, not when it is named."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


class Lazy(ModuleType):
    """Stands for a module of ours that few commands come to use: `components list` reads the signatures of classes that
    compute with numpy, and would spend a third of its time on importing it.

    What was looked up once is kept here, so that later uses cost no more than those of the module itself. Any thread
    may be the first: the import lock holds the others back until all of the module is there.
    """

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value
