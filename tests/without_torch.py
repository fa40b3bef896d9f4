"""Lhotse without the runtime of neural networks that it asks for, and of which reading and writing manifests needs
nothing: while it is imported, a module that holds nothing stands for that."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ABSENT = ("torch", "torchaudio")


def _missing(name: str) -> None:
    if name.startswith("__"):
        raise AttributeError(name)


class _NothingClass(type):
    def __getattr__(cls, name: str) -> Any:
        _missing(name)
        return cls


class Nothing(metaclass=_NothingClass):
    """May be a base class, a decorator, an annotation or a default, and does nothing."""

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        return super().__new__(cls)

    def __init_subclass__(cls, **options: Any) -> None:
        pass

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def __getattr__(self, name: str) -> Any:
        _missing(name)
        return self

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self


class _Module(types.ModuleType):
    __version__ = "0"
    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        _missing(name)
        return Nothing


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in ABSENT:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextmanager
def without_torch() -> Iterator[None]:
    """What is imported in the block believes that there is one; where there is, it is that."""
    if importlib.util.find_spec(ABSENT[0]) is not None:
        yield
        return
    finder = _Finder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [each for each in sys.modules if each.partition(".")[0] in ABSENT]:
            del sys.modules[name]
