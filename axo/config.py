"""Configurations: a YAML file becomes a frozen dataclass; unknown keys and wrong types are errors."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, overload

from axo.errors import UserError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in the YAML file `path`.

    Raises UserError naming the file (and line) when it cannot be read, is not YAML, is not a
    mapping with string keys, or gives a key twice.
    """
    import yaml

    # libyaml's parser, where PyYAML has it, is six to eight times as fast; menus and layouts are long.
    fastest: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(fastest):  # type: ignore[misc, valid-type]  # chosen at run time
        """SafeLoader that refuses duplicate keys, of which PyYAML would silently keep the last."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice", node.start_mark)
            mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
            return mapping

    try:
        document = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise UserError(f"{path}: must be a mapping of keys to values")
    return document


def read_config(path: str | os.PathLike[str], kind: type[T]) -> T:
    """Read the YAML file `path` as dataclass `kind`; UserError names the file and key of a fault."""
    return parse(kind, read_yaml(path), str(path))


def parse(kind: type[T], mapping: Any, place: str) -> T:
    """The dataclass `kind` from `mapping`; `place` (a file, then keys) heads every error.

    Fields may be bool, int, float (an integer serves), str, nested dataclasses, tuples, dicts with
    string keys, unions with None, and Any. A field without default is required.
    Raises UserError for an unknown or missing key, a wrong type, and what `kind` itself refuses.
    """
    if not isinstance(mapping, dict):
        raise UserError(f"{place}: must be a mapping of keys to values, not {mapping!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise UserError(f"{place}: unknown key {key!r}{nearest(str(key), list(fields))}")
    for name, field in fields.items():
        has_default = (
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        )
        if name not in mapping and not has_default:
            raise UserError(f"{place}: key {name!r} is missing")
    hints = typing.get_type_hints(kind)
    values = {key: _value(hints[key], value, f"{place}: {key}") for key, value in mapping.items()}
    try:
        return kind(**values)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


@overload
def to_plain(value: DataclassInstance, defaults: bool = True) -> dict[str, Any]: ...
@overload
def to_plain(value: object, defaults: bool = True) -> Any: ...
def to_plain(value: object, defaults: bool = True) -> Any:
    """JSON values of a dataclass, or of tuples, lists and mappings of such: what `parse` reads back.

    Without `defaults`, fields that have their default value are left out.
    Raises TypeError for a value that has no place in JSON.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {
            field.name: to_plain(item, defaults)
            for field, item in fields
            if defaults or field.default is dataclasses.MISSING or item != field.default
        }
    if isinstance(value, tuple | list):
        return [to_plain(item, defaults) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item, defaults) for key, item in value.items()}
    raise TypeError(f"{value!r} is no JSON value")


def _value(hint: Any, value: Any, place: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _value(next(choice for choice in arguments if choice is not type(None)), value, place)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return parse(hint, value, place)
    if origin is tuple:
        return _tuple(arguments, value, place)
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise UserError(f"{place}: must be a mapping of keys to values, not {value!r}")
        return {key: _value(arguments[1], item, f"{place}: {key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise UserError(f"{place}: must be {_NAMES[hint]}, not {value!r}{_hint(hint, value)}")
    return value


_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}


def _hint(hint: Any, value: Any) -> str:
    """YAML 1.1 reads 1e-3 as a text: say so, for it surprises everyone once."""
    if hint is float and isinstance(value, str):
        try:
            return f"; write {float(value)!r}"
        except ValueError:
            return ""
    return ""


def _tuple(arguments: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise UserError(f"{place}: must be a list, not {value!r}")
    kinds = (arguments[0],) * len(value) if arguments[-1] is Ellipsis else arguments
    if len(kinds) != len(value):
        raise UserError(f"{place}: must have {len(kinds)} entries, not {len(value)}")
    return tuple(
        _value(kind, item, f"{place}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )
