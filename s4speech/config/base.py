"""Typed configuration models, and loading them with errors that name the file and the key."""

import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from s4speech.config.files import Data, apply_overrides, describe, dump_yaml, parse_override, read_yaml
from s4speech.errors import InputError

_Loc = tuple[int | str, ...]


class StrictModel(BaseModel):
    """Base of every configuration section: immutable, unknown keys refused, no silent conversions.

    An int is taken for a float; "3" for 3, 1.0 for 1 and 1 for true are not.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        ser_json_inf_nan="constants",
        protected_namespaces=(),
    )


_Model = TypeVar("_Model", bound=StrictModel)


def load_config(cls: type[_Model], path: str | Path, overrides: Sequence[str] = ()) -> _Model:
    """Read a YAML file, what it extends, and ``key.sub=value`` overrides (YAML values) into a `cls`.

    Raises InputError, in one line that names the file (or the override) and the dotted key: missing file,
    invalid YAML, unknown key, missing key, wrong type, or a value that a validator of the model refuses.
    """
    path = Path(path)
    data = apply_overrides(read_yaml(path), overrides)
    try:
        # As JSON: there a list is the one way to write a tuple and text the one way to write a path or an
        # enum, so strict mode takes them and still refuses "3" for 3.
        return cls.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise InputError(_message(cls, path, overrides, data, error.errors())) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: got a value that no configuration holds ({error}); use plain YAML"
        ) from error


def dump_config(model: BaseModel) -> str:
    """A model as YAML text; `load_config` of it gives an equal model."""
    return dump_yaml(model.model_dump(mode="json"))


def _message(
    cls: type[BaseModel], path: Path, overrides: Sequence[str], data: Data, errors: Sequence[ErrorDetails]
) -> str:
    """The first error in one line: where, key, got, wanted, next step, and how many more there are."""
    error = errors[0]
    keys = _keys(error, data)
    dotted = ".".join(keys)
    where = str(path)
    for override in overrides:
        named, _ = parse_override(override)
        if keys[: len(named)] == named:
            where = f"override {override!r}"
    text = _reason(cls, error)
    more = len(errors) - 1
    count = f" (and {more} more error{'s' if more > 1 else ''})" if more else ""
    line = f"{where}: {dotted}: {text}{count}" if dotted else f"{where}: {text}{count}"
    return " ".join(line.split())


def _reason(cls: type[BaseModel], error: ErrorDetails) -> str:
    """What was got and what was wanted."""
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    got = describe(error["input"])
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key; {_suggestion(cls, error['loc'])}"
        case "missing" if isinstance(error["input"], list):
            return f"got a list of {len(error['input'])}, wanted a longer one"
        case "missing" | "union_tag_not_found":
            return "missing; add it to the file or give it as an override key=value"
        case "union_tag_invalid":
            return f"got {error['ctx']['tag']!r}, wanted one of: {error['ctx']['expected_tags']}"
        case "value_error" | "assertion_error":
            return message if isinstance(error["input"], dict) else f"got {got}: {message}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"got {got}, wanted a section"
        case _:
            wanted = message.removeprefix("Input should ").removeprefix("be ").replace("a valid ", "a ")
            return f"got {got}, wanted {wanted}"


def _keys(error: ErrorDetails, data: Data) -> list[str]:
    """The error's place as the user wrote it: without the names of union members that pydantic puts in."""
    keys: list[str] = []
    node: Any = data
    for position, key in enumerate(error["loc"], start=1):
        last = position == len(error["loc"])
        if isinstance(node, dict) and (key in node or (last and error["type"] == "missing")):
            node = node.get(key)
        elif isinstance(node, list) and isinstance(key, int) and key < len(node):
            node = node[key]
        else:
            continue
        keys.append(str(key))
    if error["type"].startswith("union_tag"):
        keys.append(error["ctx"]["discriminator"].strip("'"))
    return keys


def _suggestion(cls: type[BaseModel], loc: _Loc) -> str:
    """What the user may have meant by the unknown key at `loc`."""
    names: set[str] = set()
    for model in _models_at(cls, loc[:-1]):
        names.update(field.alias or name for name, field in model.model_fields.items())
    lower = {name.lower(): name for name in sorted(names)}
    close = difflib.get_close_matches(str(loc[-1]).lower(), lower, n=1)
    if close:
        return f"did you mean {lower[close[0]]!r}?"
    return f"wanted one of: {', '.join(sorted(names))}" if names else "remove it"


def _models_at(cls: type[BaseModel], loc: _Loc) -> set[type[BaseModel]]:
    """The models that may sit at `loc`, following fields and, in tagged unions, the tags."""
    models: set[type[BaseModel]] = {cls}
    for key in loc:
        fields = [model.model_fields[str(key)] for model in models if key in model.model_fields]
        if fields:
            models = set(_models_in(field.annotation for field in fields))
        else:  # a list index, or the tag or class name of a union's member
            tagged = {model for model in models if _is_member(model, key)}
            models = tagged or models
    return models


def _is_member(model: type[BaseModel], tag: int | str) -> bool:
    tags = (get_args(field.annotation) for field in model.model_fields.values())
    return model.__name__ == tag or any(values == (tag,) for values in tags)


def _models_in(annotations: Iterable[Any]) -> Iterable[type[BaseModel]]:
    """The models named anywhere in the annotations: in unions, lists, mappings, Annotated."""
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        yield from _models_in(get_args(annotation))
