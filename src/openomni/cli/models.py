"""`openomni models`: which models there are, which are here, and fetching and checking them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import models
from ..components import registry
from ..errors import OpenOmniError, WrongUsage
from ..models.hub import SCHEME
from ..models.progress import bar
from ..pipeline import spec
from .chosen import find
from .output import write_json

app = typer.Typer(help="List, pull and check models.", add_completion=False, no_args_is_help=True)

Json = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="As `openomni models list` shows them.")]

PARAMETERS = ("model", "voice")
"""What components call the parameter that names their model."""


@app.command("list")
def list_models(json: Json = None) -> None:
    """The catalogue, and what of it is here."""
    found = [_described(model) for model in models.load_catalogue()]
    width = max((len(each["name"]) for each in found), default=0)
    for each in found:
        state = "here  " if each["present"] else "absent"
        size = f"{each['size'] / 1e6:5.0f} MB"
        print(f"{each['name']:<{width}}  {each['kind']:<4} {size}  {state}  {each['licence']:<14}  {each['about']}")
    print(f"They lie in {models.cache_folder()}; 1 MB is 1,000,000 bytes")
    write_json(json, {"models": found})


@app.command()
def pull(
    names: Names = None,
    pipeline: Annotated[str | None, typer.Option(help="All that this pipeline, a name or a file, needs.")] = None,
    json: Json = None,
) -> None:
    """Fetches models into the cache: those named, those of a pipeline, or else those of the pipeline `local`."""
    wanted = _named(names or ())
    if pipeline or not wanted:
        wanted += needed_by(find(pipeline or "local"))
    _pull(wanted)
    for model in wanted:
        print(f"{model.name}  {model.path}")
    write_json(json, {"models": [_described(model) for model in wanted]})


@app.command()
def check(names: Names = None, json: Json = None) -> None:
    """Reads every byte of the models here, or of those named, and compares their SHA-256 with the catalogue's."""
    wanted = _named(names or ()) or [model for model in models.load_catalogue() if model.folder.is_dir()]
    if not wanted:
        print("no model is here yet; `openomni models pull` fetches those of the local pipeline")
    results = []
    for model in wanted:
        faults = models.verify(model)
        results.append(_described(model) | {"faults": faults})
        print(f"{'fault' if faults else 'ok   '}  {model.name}  {'; '.join(faults) or model.path}")
    write_json(json, {"models": results})
    wrong = [each["name"] for each in results if each["faults"]]
    if wrong:
        mend = f"remove {models.load_catalogue().find(wrong[0]).folder} and run `openomni models pull {wrong[0]}`"
        raise OpenOmniError(f"{len(wrong)} of {len(results)} models are not what they should be; {mend}")


def pull_for(pipeline: spec.Pipeline) -> None:
    """Fetches what a pipeline's stages load and is not here yet, with a progress bar."""
    _pull(needed_by(pipeline))


def needed_by(pipeline: spec.Pipeline) -> list[models.Model]:
    """The models of the catalogue that a pipeline's stages and its turn-taking load. Raises `WrongUsage` for a name
    that is in none."""
    catalogue = models.load_catalogue()
    ours = {model.component for model in catalogue}
    return list(
        {
            model.name: model
            for place, stage in _loading(pipeline)
            if stage.component in ours
            for reference in _references(stage)
            if (model := _of_catalogue(catalogue, reference, place, stage.component))
        }.values()
    )


def _loading(pipeline: spec.Pipeline) -> Iterator[tuple[str, spec.StageSpec]]:
    """What may load a model, with where it is named."""
    for stage in pipeline.stages:
        yield pipeline.place(stage), stage
    for kind, name in pipeline.turn_taking.needs:
        yield f"{pipeline.where}: turn_taking", spec.StageSpec(kind, name)


def _references(stage: spec.StageSpec) -> Iterator[str]:
    """The models that a stage names, or gets by default."""
    properties: dict[str, Any] = registry.find(stage.kind, stage.component).schema["properties"]
    for parameter in PARAMETERS:
        if parameter in properties:
            value = stage.parameters.get(parameter, properties[parameter].get("default"))
            if isinstance(value, str):
                yield value


def _of_catalogue(catalogue: models.Catalogue, reference: str, place: str, component: str) -> models.Model | None:
    """None for a path or a hub's address, which a component finds by itself."""
    elsewhere = reference.startswith((SCHEME, "/", ".", "~")) or Path(reference).exists()
    if elsewhere and reference not in catalogue:
        return None
    try:
        return catalogue.find(reference, component)
    except WrongUsage as error:
        raise WrongUsage(f"{place}: {error}") from None


def _pull(wanted: Sequence[models.Model]) -> None:
    absent = [model for model in wanted if not models.is_present(model)]
    if absent:
        with bar() as progress:
            for model in absent:
                models.pull(model, progress)


def _named(names: Sequence[str]) -> list[models.Model]:
    catalogue = models.load_catalogue()
    return [catalogue.find(name) for name in names]


def _described(model: models.Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "aliases": list(model.aliases),
        "kind": model.kind,
        "component": model.component,
        "about": model.about,
        "licence": model.licence,
        "size": model.size,
        "present": models.is_present(model),
        "path": str(model.path),
        "files": {name: {"size": pin.size, "sha256": pin.sha256} for name, pin in model.files.items()},
        "sources": [str(source) for source in model.sources],
    }
