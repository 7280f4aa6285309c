"""Where product code calls AWS, read from its source. A new place appears here by itself.

Two kinds of place: inside a class that holds a client (`self.client.get_item(...)`), and where such a class's methods
are used (`services.table.get(...)`, or handed on as in `partial(services.table.delete_many, keys)`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.crashlab.calls import Call
from tests.world import ROOT

FOLDERS = ("layers/core/python", "functions", "infra/admin.py")
# attributes and parameters that hold such an object
HOLDERS = {"table", "storage", "work", "fetches", "hooks", "dispatcher", "inner"}
ASKING = {"_ask", "get_secret_value"}  # ModalDispatcher's one way to Modal's client, and to its token
LOCAL = {"generate_presigned_post", "generate_presigned_url", "meta", "exceptions", "close"}  # arithmetic and facts


@dataclass(frozen=True)
class Site:
    """`lines` of the expression in `function`; `method` is what is called there. `deferred`: it is called later."""

    file: str
    function: str
    lines: range
    method: str
    deferred: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.lines.start} {self.function} -> {self.method}"

    def reached_by(self, call: Call) -> bool:
        """Whether a call comes from here."""
        for depth, frame in enumerate(call.frames):
            here = frame.file == self.file and frame.function.removesuffix(".<locals>.<genexpr>") == self.function
            if here and (self.deferred or frame.line in self.lines):
                inner = (".".join(below.function.split(".")[1:]) for below in call.frames[:depth])
                return depth == 0 or any((name + ".").startswith(self.method + ".") for name in inner)
        return False


@dataclass(frozen=True)
class Wrapper:
    """A class that holds a client; `methods` are those that call AWS, `deferring` those that return one that does."""

    file: str
    name: str
    methods: frozenset[str]
    deferring: frozenset[str]


def uncovered(calls: Iterable[Call]) -> list[Site]:
    """Sites that none of the calls comes from."""
    different = {(call.operation, call.frames): call for call in calls}.values()
    return [site for site in all_sites() if not any(site.reached_by(call) for call in different)]


def unknown(calls: Iterable[Call]) -> list[Call]:
    """Calls that were made where this module sees no call: it would miss a new one there."""
    different = {(call.operation, call.frames): call for call in calls}.values()
    return [call for call in different if not any(site.reached_by(call) for site in all_sites())]


@cache
def all_sites() -> tuple[Site, ...]:
    return tuple(site for path in _sources() for site in _sites(path))


def place(call: Call) -> str:
    """The caller of the class that holds the client, for people to read."""
    wrapped = {(wrapper.file, wrapper.name) for wrapper in wrappers()}
    for frame in call.frames:
        if (frame.file, frame.function.split(".")[0]) not in wrapped:
            return str(frame)
    return str(call.frames[0]) if call.frames else "outside"


@cache
def wrappers() -> tuple[Wrapper, ...]:
    return tuple(
        _wrapper(path, node)
        for path in _sources()
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ClassDef) and any(True for _ in _client_uses(node))
    )


def _wrapper(path: Path, node: ast.ClassDef) -> Wrapper:
    functions = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
    calling = {name for name, function in functions.items() if any(True for _ in _client_uses(function))}
    while more := {name for name, each in functions.items() if name not in calling and _own_calls(each) & calling}:
        calling |= more
    deferring = {
        name
        for name in calling
        if _generates(functions[name])
        or (
            all(isinstance(each, (ast.FunctionDef, ast.Return, ast.Expr)) for each in functions[name].body)
            and any(isinstance(each, ast.FunctionDef) for each in functions[name].body)
        )
    }
    return Wrapper(_name(path), node.name, frozenset(calling), frozenset(deferring))


def _sites(path: Path) -> Iterator[Site]:
    methods = frozenset().union(*(wrapper.methods for wrapper in wrappers()))
    deferring = frozenset().union(*(wrapper.deferring for wrapper in wrappers()))
    for function, scope in _functions(_tree(path)):
        called = {id(node.func): node for node in _own_nodes(scope) if isinstance(node, ast.Call)}
        for use in _client_uses(scope, own=True):
            whole = called.get(id(use), use)
            yield Site(_name(path), function, _lines(whole), use.attr, _paginates(use))
        for node in _own_nodes(scope):
            if isinstance(node, ast.Attribute) and node.attr in methods and _last_name(node.value) in HOLDERS:
                whole = called.get(id(node), node)
                later = id(node) not in called or node.attr in deferring
                yield Site(_name(path), function, _lines(whole), node.attr, later)


def _client_uses(node: ast.AST, own: bool = False) -> Iterator[ast.Attribute]:
    for each in _own_nodes(node) if own else ast.walk(node):
        if not isinstance(each, ast.Attribute):
            continue
        if (_last_name(each.value) == "client" and each.attr not in LOCAL) or each.attr in ASKING:
            yield each


def _paginates(use: ast.Attribute) -> bool:
    return use.attr == "get_paginator"  # the calls are made by the loop over it


def _generates(function: ast.FunctionDef) -> bool:
    """Its calls are made where its caller takes the next of what it yields."""
    return any(isinstance(each, (ast.Yield, ast.YieldFrom)) for each in _own_nodes(function))


def _own_calls(function: ast.FunctionDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
            yield from _functions(node, f"{prefix}{node.name}.<locals>.")
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        else:
            yield from _functions(node, prefix)


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Everything in a function but what is in functions of its own."""
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, ast.FunctionDef):
            yield node
            yield from _own_nodes(node)


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _lines(node: ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _sources() -> list[Path]:
    found = (ROOT / folder for folder in FOLDERS)
    return sorted(path for each in found for path in (each.rglob("*.py") if each.is_dir() else (each,)))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))
