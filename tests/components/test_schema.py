"""Parameters are checked against a schema that comes from the constructor alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest

from openomni.components import schema
from openomni.errors import WrongUsage

if TYPE_CHECKING:
    from nowhere import Unknown


@dataclasses.dataclass
class Beam:
    width: int = 5


class Recogniser:
    """Recognises. MIT.

    Args:
        model: Which one,
            in two lines.
        device (str): Where.
    """

    def __init__(
        self,
        model: Path,
        device: Literal["cpu", "cuda"] = "cpu",
        rate: Annotated[float, msgspec.Meta(gt=0, le=4)] = 1.0,
        words: Sequence[str] = (),
        limits: dict[str, int] | None = None,
        beam: Beam = Beam(),  # noqa: B008
        fast: bool = False,
        hook: Unknown = None,
    ) -> None:
        self.__dict__.update(locals())


def refusal(**parameters: Any) -> str:
    with pytest.raises(WrongUsage) as caught:
        schema.check(schema.of(Recogniser), {"model": "x", **parameters}, "stt:mine")
    return str(caught.value)


def test_schema_has_types_defaults_and_words_of_each_parameter() -> None:
    properties = schema.of(Recogniser)["properties"]
    assert properties["model"] == {"type": "string", "format": "path", "description": "Which one, in two lines."}
    assert properties["device"] == {"enum": ["cpu", "cuda"], "default": "cpu", "description": "Where."}
    assert properties["rate"] == {"type": "number", "exclusiveMinimum": 0, "maximum": 4, "default": 1.0}
    assert properties["words"] == {"type": "array", "items": {"type": "string"}, "default": []}
    assert properties["fast"] == {"type": "boolean", "default": False}
    assert properties["beam"]["default"] == {"width": 5}
    assert schema.of(Recogniser)["required"] == ["model"]
    assert schema.about(Recogniser) == "Recognises. MIT."


def test_annotation_that_cannot_be_resolved_hides_no_other() -> None:
    properties = schema.of(Recogniser)["properties"]
    assert properties["hook"] == {"default": None}
    assert properties["device"]["enum"]


def test_class_without_constructor_takes_nothing() -> None:
    class Bare:
        """Bare."""

    with pytest.raises(WrongUsage, match="unknown parameter 'x'; it has no parameters"):
        schema.check(schema.of(Bare), {"x": 1}, "llm:bare")


def test_keywords_of_any_name_are_let_through_where_the_constructor_takes_them() -> None:
    class Open:
        def __init__(self, **options: Any) -> None:
            pass

    schema.check(schema.of(Open), {"anything": 1}, "llm:open")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"devise": "cpu"}, "stt:mine: unknown parameter 'devise'; did you mean 'device'?"),
        ({"device": "cud"}, "parameter 'device' must be 'cpu' or 'cuda', not 'cud'; did you mean 'cuda'?"),
        ({"rate": "fast"}, "parameter 'rate' must be a number, not 'fast'"),
        ({"rate": True}, "parameter 'rate' must be a number, not True"),
        ({"rate": 0}, "parameter 'rate' must be more than 0, not 0"),
        ({"rate": 5}, "parameter 'rate' must be at most 4, not 5"),
        ({"words": "one"}, "parameter 'words' must be a list, not 'one'"),
        ({"words": ["one", 2]}, "parameter 'words' item 2 must be text, not 2"),
        ({"limits": {"a": "b"}}, "parameter 'limits' must be a mapping or nothing, not {'a': 'b'}"),
        ({"beam": {"width": "wide"}}, "parameter 'beam' key 'width' must be a whole number, not 'wide'"),
        ({"fast": 1}, "parameter 'fast' must be true or false, not 1"),
        ({"model": None}, "parameter 'model' must be text, not None"),
    ],
)
def test_refusal_names_the_parameter_what_it_wants_and_what_it_got(parameters: dict[str, Any], words: str) -> None:
    assert refusal(**parameters).endswith(words)


def test_missing_parameter_is_named_with_its_type() -> None:
    with pytest.raises(WrongUsage, match="parameter 'model' is missing; give it text"):
        schema.check(schema.of(Recogniser), {}, "stt:mine")


def test_check_needs_no_more_than_the_schema_as_it_travels() -> None:
    travelled = msgspec.json.decode(msgspec.json.encode(schema.of(Recogniser)))
    schema.check(travelled, {"model": "x", "limits": {"a": 1}, "beam": {"width": 2}}, "stt:mine")
    with pytest.raises(WrongUsage, match="devise"):
        schema.check(travelled, {"model": "x", "devise": "cpu"}, "stt:mine")


def test_values_become_what_the_annotations_say() -> None:
    given = {"model": "a/b", "rate": 2, "words": ["x"], "beam": {"width": 1}, "hook": [1]}
    converted = schema.convert(Recogniser, given, "stt:mine")
    assert converted["model"] == Path("a/b")
    assert isinstance(converted["rate"], float)
    assert converted["beam"] == Beam(1)
    assert converted["hook"] == [1]
