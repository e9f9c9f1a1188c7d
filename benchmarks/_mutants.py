"""Small faults for a Python file: each mutant is one replaced expression, told by its line and what stands there before and after."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
OPPOSITES = {"min": "max", "argmin": "argmax", "idxmin": "idxmax", "any": "all", "all": "any", "floor": "ceil", "first": "last"}
OPPOSITES |= {there: here for here, there in OPPOSITES.items()}
# Arguments without which a figure stays what it is: checks, number types, how a thing is shown or written.
HARMLESS = {
    "strict",
    "encoding",
    "desc",
    "unit",
    "disable",
    "flush",
    "file",
    "copy",
    "ignore_index",
    "compression",
    "frozen",
    "observed",
    "dtype",
    "invalid",
    "divide",
}
Change = Callable[[ast.AST], ast.AST | None]


@dataclass(frozen=True)
class Mutant:
    """Bytes start:end of a file become `after`."""

    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int

    def applied_to(self, source: str) -> str:
        content = source.encode()
        return (content[: self.start] + self.after.encode() + content[self.end :]).decode()


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a file, in the order of its lines. Annotations, texts, decorators and what is raised are left alone."""
    starts, content, made = _line_starts(source), source.encode(), []
    for node in _expressions(ast.parse(source)):
        for kind, changed in _changes(node):
            start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
            before = content[start:end].decode()
            after = ast.unparse(changed)
            if isinstance(changed, ast.expr) and not isinstance(changed, (ast.Constant, ast.Name, ast.Slice)):
                after = f"({after})"
            made.append(Mutant(node.lineno, kind, before, after, start, end))
    return sorted(made, key=lambda mutant: (mutant.start, mutant.end, mutant.kind, mutant.after))


def _line_starts(source: str) -> list[int]:
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Assert)):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _expressions(child)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """(kind, the node with one fault)."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            yield "comparison", _with(node, ops=[COMPARISONS[type(operator)]()])
        case ast.BinOp(op=operator) if type(operator) in ARITHMETIC and not _is_text(node):
            yield "arithmetic", _with(node, op=ARITHMETIC[type(operator)]())
        case ast.BoolOp(op=operator):
            yield "and/or", _with(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub()):
            yield "sign", node.operand
        case ast.Constant(value=bool(value)):
            yield "constant", ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield "constant", ast.Constant(value + 1)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and not value.value):
            yield "return", ast.Return(ast.Constant(None))
        case ast.Slice(lower=lower, upper=upper):
            if lower is not None:
                yield "slice", _with(node, lower=_plus_one(lower))
            if upper is not None:
                yield "slice", _with(node, upper=_plus_one(upper))
        case ast.Call():
            yield from _changed_calls(node)
        case ast.IfExp():
            yield "condition", _with(node, test=ast.UnaryOp(ast.Not(), node.test))


def _changed_calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in OPPOSITES:
        field = {"attr" if isinstance(node.func, ast.Attribute) else "id": OPPOSITES[name]}
        yield "opposite", _with(node, func=_with(node.func, **field))
    for number, keyword in enumerate(node.keywords):
        if keyword.arg and keyword.arg not in HARMLESS:
            yield "argument", _with(node, keywords=node.keywords[:number] + node.keywords[number + 1 :])


def _with(node: ast.AST, **fields) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _plus_one(node: ast.expr) -> ast.expr:
    return ast.BinOp(node, ast.Add(), ast.Constant(1))


def _is_text(node: ast.BinOp) -> bool:
    """Whether an operation joins or formats texts."""
    sides = (node.left, node.right)
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, (str, type(None)))) for side in sides
    )
