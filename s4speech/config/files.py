"""Reading YAML: files, the files they extend, and ``key=value`` overrides, merged into plain data."""

import copy
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from s4speech.errors import InputError

Data = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads ``1e-3`` as a number and dates as text, and refuses aliases and repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # A few nested aliases expand to gigabytes, and configurations come from strangers' model directories.
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases are not read; use `extends`", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                problem = f"key {describe(key.value)} is not text; put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if key.value in seen:  # plain YAML would silently keep the last one
                problem = f"key {key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes the text which `_Loader` would read as a number."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_FLOAT = re.compile(
    r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_REPLACED = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")
for _class in (_Loader, _Dumper):
    # YAML 1.1 takes 1e-3 for text and 2024-01-31 for a date object; neither is what anyone means here.
    _class.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def dump_yaml(data: object) -> str:
    """Plain data as YAML text that `read_yaml` reads back equal."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML text. Raises InputError: not YAML, naming `where` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = error.problem or error.context or "not readable"
        raise InputError(f"{where}{line}: got invalid YAML ({problem}); correct that line") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())[:200]
        raise InputError(f"{where}: got invalid YAML ({problem}); correct it") from error


def read_yaml(path: Path, _extending: tuple[Path, ...] = ()) -> Data:
    """Read one YAML mapping, merged over the files that its optional top-level key `extends` names.

    `extends` is a path or a list of paths, relative to the file that says it. Later files win over earlier
    ones, and the file itself over all; mappings are merged, anything else (lists too) is replaced.
    Raises InputError: missing or unreadable file, invalid YAML, no mapping, a file that extends itself.
    """
    by = f" (extended by {_extending[-1]})" if _extending else ""
    if path.resolve() in (other.resolve() for other in _extending):
        raise InputError(f"{path}{by}: the file extends itself; remove it from `extends`")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}{by}: no such file; wanted a YAML file, check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}{by}: cannot be read as UTF-8 text ({error}); wanted a YAML file") from error
    data = parse_yaml(text, str(path))
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise InputError(f"{path}: got {describe(data)}, wanted `key: value` lines at the top level")
    parents = data.pop("extends", [])
    parents = [parents] if isinstance(parents, str) else parents
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        raise InputError(f"{path}: extends: got {describe(parents)}, wanted a path or a list of paths")
    merged: Data = {}
    for parent in parents:
        merged = merge(merged, read_yaml(path.parent / parent, (*_extending, path)))
    return merge(merged, data)


def merge(base: Data, over: Data) -> Data:
    """`base` with `over` laid on it: mappings key by key, anything else replaced. Neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def parse_override(override: str) -> tuple[list[str], Any]:
    """``a.b=1e-3`` -> (["a", "b"], 0.001); the value is YAML. Raises InputError: any other form."""
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"override {override!r}: wanted key=value or key.sub=value")
    return keys, parse_yaml(text, f"override {override!r}")


def apply_overrides(data: Data, overrides: Sequence[str]) -> Data:
    """`data` with each ``key.sub=value`` set, in order; a mapping as value replaces the whole section.

    Raises InputError: an override of another form, or one that reaches inside something that is no section.
    """
    result = copy.deepcopy(data)
    for override in overrides:
        keys, value = parse_override(override)
        node = result
        for depth, key in enumerate(keys[:-1], start=1):
            if node.get(key) is None:
                node[key] = {}
            if not isinstance(node[key], dict):
                section = ".".join(keys[:depth])
                raise InputError(
                    f"override {override!r}: {section} is {describe(node[key])}, wanted a section; "
                    f"set it as a whole with {section}=VALUE"
                )
            node = node[key]
        node[keys[-1]] = value
    return result


def describe(value: object) -> str:
    """A short one-line name for a value in an error message."""
    kind = {dict: "a section", list: "a list", type(None): "nothing"}.get(type(value))
    if kind is not None:
        return kind
    text = repr(value)
    return f"{text[:57] + '...' if len(text) > 60 else text} ({type(value).__name__})"
