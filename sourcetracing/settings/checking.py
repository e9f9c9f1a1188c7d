"""Is this piece of YAML a valid piece of `Settings`? Every complaint names the key and what would be right."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from functools import cache
from typing import Any

from sourcetracing.errors import UserError
from sourcetracing.settings.declaring import RANGE, SOME, admitted, shown
from sourcetracing.settings.names import is_utf_8, printable, require_distinct


@cache
def fields_of(group: type) -> dict[str, tuple[Any, dataclasses.Field]]:
    """Name -> (type, dataclass field) of a settings group."""
    hints = typing.get_type_hints(group)
    return {field.name: (hints[field.name], field) for field in dataclasses.fields(group)}


def did_you_mean(wrong: str, names: typing.Iterable[str], *, nearness: float = 0.5) -> str:
    """`; did you mean 'x'?` for the nearest name, or the list of names where none is near and they are few."""
    names = sorted(names)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=nearness)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(names)}" if len(names) <= 30 else ""


def _nearest_setting(wrong: str, prefix: str, root: type) -> str:
    """The same question for settings: a near name in its own group, else anywhere."""
    leaves = [f"{key}.{name}" for key, (kind, _) in fields_of(root).items() if dataclasses.is_dataclass(kind) for name in fields_of(kind)]
    everywhere = [*fields_of(root), *leaves]
    here = [name for name in everywhere if name.rpartition(".")[0] == prefix.rstrip(".")]
    exact = [name for name in everywhere if name.rpartition(".")[2] == wrong]
    close = difflib.get_close_matches(prefix + wrong, here, n=1, cutoff=0.75)
    by_last_part = {name.rpartition(".")[2]: name for name in reversed(everywhere)}
    anywhere = [by_last_part[name] for name in difflib.get_close_matches(wrong, by_last_part, n=1, cutoff=0.6)]
    found = [*exact, *close, *anywhere]
    return f"; did you mean {found[0]!r}?" if found else f"; there are: {', '.join(here)}"


def type_name(kind: Any) -> str:
    """How a type is written in messages and in `--help`: int, list[str] ..."""
    if dataclasses.is_dataclass(kind):
        return "a group of settings"
    return str(kind) if typing.get_origin(kind) else kind.__name__


_ONE_AND_MANY = {int: ("a whole number", "whole numbers"), float: ("a number", "numbers"), str: ("text", "words")}


def in_words(kind: Any, *, many: bool = False) -> str:
    """What a setting of that type holds, for those who do not write Python: a whole number, a list of words ..."""
    if kind is bool:
        return "true or false"
    if typing.get_origin(kind) is list:
        return f"{'lists' if many else 'a list'} of {in_words(typing.get_args(kind)[0], many=True)}"
    if typing.get_origin(kind) is dict:
        return f"a mapping from names to {in_words(typing.get_args(kind)[1], many=True)}"
    return _ONE_AND_MANY[kind][many] if kind in _ONE_AND_MANY else f"{'groups' if many else 'a group'} of settings"


def lookup(group: type, dotted: str, where: str) -> Any:
    """The type of the setting `dotted` (such as train.epochs); an unknown name is refused with the nearest one."""
    kind: Any = group
    parts = dotted.split(".")
    for depth, part in enumerate(parts):
        prefix = ".".join([*parts[:depth], ""]) if depth else ""
        if kind is dict or typing.get_origin(kind) is dict:
            return Any
        if not dataclasses.is_dataclass(kind):
            raise UserError(f"{where}: {prefix.rstrip('.')} is a single setting ({in_words(kind)}), it has no {part!r} below it")
        known = fields_of(kind)
        if part not in known:
            raise UserError(f"{where}: unknown setting '{prefix}{part}'{_nearest_setting(part, prefix, group)}")
        kind = known[part][0]
    return kind


def spelled_out(piece: Any, group: type) -> Any:
    """`executor: ray` as `executor: {kind: ray}`: a group that has a setting `kind` may be given by that alone."""
    if not dataclasses.is_dataclass(group):
        return piece
    known = fields_of(group)
    if not isinstance(piece, dict):
        return {"kind": piece} if "kind" in known else piece
    return {key: spelled_out(value, known[key][0]) if key in known else value for key, value in piece.items()}


def check_piece(piece: Any, group: type, where: str, prefix: str = "", root: type | None = None) -> None:
    """Refuses unknown keys and wrong types in nested dict `piece`, a part of settings group `group`."""
    root, piece = root or group, spelled_out(piece, group)
    if not isinstance(piece, dict):
        raise UserError(
            f"{_place(where, prefix.rstrip('.'), piece)}: a group of settings is expected, such as {_example_of(group, prefix)}"
        )
    known = fields_of(group)
    for key, value in piece.items():
        if key not in known:
            raise UserError(f"{where}: unknown setting '{prefix}{key}'{_nearest_setting(str(key), prefix, root)}")
        kind = known[key][0]
        if dataclasses.is_dataclass(kind):
            check_piece(value, kind, where, f"{prefix}{key}.", root)
        elif not has_type(value, kind):
            raise UserError(f"{_place(where, f'{prefix}{key}', value)}: {in_words(kind)} is expected{_type_hint(value, kind)}")


def _place(where: str, key: str, value: Any) -> str:
    """The file, setting and value at fault; a word of the command line says all three."""
    if not key or where.partition("=")[0].strip() == key:
        return where
    return f"{where}: {key} has no value" if value is None else f"{where}: {key}={value!r}"


def _example_of(group: type, prefix: str) -> str:
    defaults = {name: field.default for name, (_, field) in fields_of(group).items() if field.default is not dataclasses.MISSING}
    name = next(iter(defaults), "")
    return f"{prefix}{name}={defaults.get(name, '')}"


def _type_hint(value: Any, kind: Any) -> str:
    if typing.get_origin(kind) is list and not isinstance(value, list):
        return f", such as [{value}]"
    if typing.get_origin(kind) is list:
        inner = typing.get_args(kind)[0]
        wrong = next(item for item in value if not has_type(item, inner))
        return f", and {wrong!r} is none{_type_hint(wrong, inner)}"
    return " (put it in quotation marks)" if kind is str and isinstance(value, bool | int | float) else ""


def has_type(value: Any, kind: Any) -> bool:
    """Whether a YAML value fits a setting's type; an int fits float, a bool fits only bool."""
    if kind is Any:
        return True
    if typing.get_origin(kind) is list:
        return isinstance(value, list) and all(has_type(item, typing.get_args(kind)[0]) for item in value)
    if typing.get_origin(kind) is dict:
        return isinstance(value, dict) and all(has_type(item, typing.get_args(kind)[1]) for item in value.values())
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def check_values(settings: Any, prefix: str = "") -> None:
    """Refuses values outside what a setting admits (choices, ranges, number of items), and numbers that are not finite."""
    for name, (kind, field) in fields_of(type(settings)).items():
        value, key = getattr(settings, name), f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            check_values(value, f"{key}.")
            continue
        _refuse_infinite(value, key)
        if isinstance(value, list):
            _check_items(value, key, field.metadata.get("items"))
        for item in value if isinstance(value, list) else [value]:
            _check_value(item, key, field.metadata)
        for name_of_items, items in (value if isinstance(value, dict) else {"": value}).items():
            if isinstance(items, list) and not field.metadata.get("may_repeat"):
                require_distinct(f"{key}.{name_of_items}".rstrip("."), items)


def _refuse_infinite(value: Any, key: str) -> None:
    """Also within the lists and groups of settings that may be anything."""
    if isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_infinite(item, key)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}={value!r}: a finite number is expected")


def _check_items(values: list, key: str, items: str | int | None) -> None:
    if items == RANGE and (len(values) != 2 or values[0] > values[1]):
        raise UserError(f"{key}={values}: two numbers are expected, the lower one first")
    if items == SOME and not values:
        raise UserError(f"{key}=[]: it must name at least one")
    if isinstance(items, int) and len(values) != items:
        raise UserError(f"{key}={values}: {items} values are expected")


def _check_value(value: Any, key: str, rules: typing.Mapping) -> None:
    if isinstance(value, str) and not is_utf_8(value):
        raise UserError(f"{key}={printable(value)}: is not UTF-8, and no file of settings could hold it. Rename it")
    choices, at_least, at_most = admitted(rules), rules.get("at_least"), rules.get("at_most")
    if choices is not None and value not in choices:
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise UserError(f"{key}={value!r}: must be one of {', '.join(map(str, choices))}{hint if 'mean' in hint else ''}")
    if at_least is not None and not value >= at_least:
        raise UserError(f"{key}={value!r}: must be at least {shown(at_least)}")
    if at_most is not None and not value <= at_most:
        raise UserError(f"{key}={value!r}: must be at most {shown(at_most)}")
