"""The house rules that a machine can check: sizes, imports, state, names, documentation.

``python tests/test_layout.py`` prints the figures of the comparison form.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("neuro", "kernels", "datasets", "hardware")
LINKED = ("kernels", "datasets", "hardware")
FILE_LINES = 400
BODY_LINES = 60
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common", "tools", "stuff"}
MUTABLE_CALLS = {
    *("list", "dict", "set", "bytearray", "defaultdict", "OrderedDict", "Counter", "deque"),
    *("WeakKeyDictionary", "WeakValueDictionary", "WeakSet"),
    *("array", "zeros", "ones", "empty", "full", "tensor"),
}
ARRAY = re.compile(r"\b(Tensor|ndarray|NDArray|ArrayLike)\b")
SHAPE = re.compile(r"\[[^\]\n]*\]|\bshapes?\b|\bscalar\b|\b[0-9]-d\b", re.IGNORECASE)
QUANTITY = re.compile(r"(tau|dt|duration|time|period|interval|delay|latency|refractory|rate|frequency)(_\w+)?")
ELSEWHERE = re.compile(
    r"\b([Aa]s|As in|Definition of) :(meth|func):`"
)  # "As in :meth:`Rule.backward`": said once, there
UNIT = re.compile(r"\b(s|ms|us|seconds?|milliseconds?|microseconds?|Hz|hertz|steps?|SI)\b|1/s")


def sources() -> list[Path]:
    """Every module that ships, each once (the links inside ``neuro/`` are not followed)."""
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts]
    return sorted(path for path in found if not any(part in LINKED for part in path.relative_to(ROOT).parts[1:-1]))


def python_files() -> list[Path]:
    """The sources, the tests, the examples and the benchmarks."""
    others = [path for room in ("tests", "examples", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    return sources() + sorted(others)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_source = pytest.mark.parametrize("path", sources(), ids=named)
each_file = pytest.mark.parametrize("path", python_files(), ids=named)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


class Function(NamedTuple):
    """One function of one file; ``owner`` is the class it is a method of, or None."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    owner: ast.ClassDef | None

    @property
    def name(self) -> str:
        return f"{self.owner.name}.{self.node.name}" if self.owner else self.node.name

    @property
    def body_lines(self) -> int:
        body = self.node.body[1:] if ast.get_docstring(self.node) is not None else self.node.body
        return body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0


def functions(tree: ast.AST, owner: ast.ClassDef | None = None) -> Iterator[Function]:
    """Every function of ``tree``, nested ones included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(node, owner)
            yield from functions(node)
        else:
            yield from functions(node, node if isinstance(node, ast.ClassDef) else owner)


def exported(tree: ast.Module) -> list[str] | None:
    """The literal ``__all__`` of a module, or None."""
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name("__all__")], value=value)
                | ast.AnnAssign(target=ast.Name("__all__"), value=ast.expr() as value)
            ):
                return list(ast.literal_eval(value))
    return None


def public_functions(tree: ast.Module) -> list[Function]:
    """The functions in ``__all__`` and the public methods of the classes in it."""
    names = exported(tree) or []
    top = [Function(node, None) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    for owner in tree.body:
        if isinstance(owner, ast.ClassDef) and owner.name in names:
            methods = [node for node in owner.body if isinstance(node, ast.FunctionDef)]
            top += [Function(node, owner) for node in methods if not node.name.startswith("_")]
    return top


def mutable_state(tree: ast.Module) -> list[str]:
    """Names bound to something that can be changed, at module level or in a class body."""
    found: list[str] = []
    for body in (tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))):
        for statement in body:
            if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if is_mutable(statement.value) and not set(names) <= {"__all__", "__slots__", "__match_args__"}:
                found += names
    return found


def is_mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return name in MUTABLE_CALLS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def packages_of_the_tree() -> set[str]:
    inside = {path.parent.relative_to(ROOT) for path in sources() if path.name == "__init__.py"}
    return {".".join((() if path.parts[0] == "neuro" else ("neuro",)) + path.parts) for path in inside}


def mirror(path: Path) -> Path:
    """``kernels/scans/scan.py`` -> ``tests/kernels/scans/test_scan.py``."""
    relative = path.relative_to(ROOT)
    return ROOT / "tests" / relative.parent / f"test_{relative.stem.lstrip('_')}.py"


@cache
def settings() -> dict[str, dict[str, dict[str, object]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


# --- sizes ---------------------------------------------------------------------------------------------


@each_file
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


@each_file
def test_no_function_is_long(path: Path) -> None:
    assert {f.name: f.body_lines for f in functions(parsed(path)) if f.body_lines > BODY_LINES} == {}


def test_functions_are_mostly_short() -> None:
    lengths = body_lengths()
    assert statistics.median(lengths) <= 8
    assert statistics.quantiles(lengths, n=20)[-1] <= 35


def body_lengths() -> list[int]:
    return [f.body_lines for path in sources() for f in functions(parsed(path))]


# --- state ---------------------------------------------------------------------------------------------


@each_file
def test_no_global_statement(path: Path) -> None:
    assert [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, ast.Global)] == []


@each_source
def test_no_mutable_state(path: Path) -> None:
    assert mutable_state(parsed(path)) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cache = {}", ["cache"]),
        ("names: list[str] = []", ["names"]),
        ("class A:\n    instances = []", ["instances"]),
        ("import numpy as np\nw = np.zeros(3)", ["w"]),
        ("from collections import deque\nq = deque()", ["q"]),
        ("table = MappingProxyType({'a': 1})\n__all__ = ['a']\npair = (1, 2)", []),
    ],
)
def test_mutable_state_is_seen(text: str, names: list[str]) -> None:
    assert mutable_state(ast.parse(text)) == names


# --- names and documentation ---------------------------------------------------------------------------


@each_file
def test_no_vague_name(path: Path) -> None:
    assert not VAGUE & set(path.relative_to(ROOT).with_suffix("").parts)


@each_source
def test_all_is_a_literal_of_names_that_exist(path: Path) -> None:
    tree = parsed(path)
    names = exported(tree)
    if path.name in ("__init__.py", "__main__.py") and names is None:
        return
    assert names is not None, "no literal __all__"
    assert len(names) == len(set(names))
    assert all(not name.startswith("_") or name == "__version__" for name in names)


@each_source
def test_everything_public_is_documented(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree), "the module has no docstring"
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name in (exported(tree) or [])]
    assert [n.name for n in classes if not ast.get_docstring(n)] == []
    assert [f.name for f in public_functions(tree) if not documentation(f) and not overrides(f)] == []


def documentation(function: Function) -> str:
    return ast.get_docstring(function.node) or ""


def overrides(function: Function) -> bool:
    """Whether the contract stands in a base class."""
    return any("override" in ast.unparse(decorator) for decorator in function.node.decorator_list)


def unstated(*, quantity: bool) -> tuple[list[str], int]:
    """Public functions that do not say a shape (or a unit) where they take one, and how many take one."""
    missing, total = [], 0
    for path in sources():
        for function in public_functions(parsed(path)):
            if overrides(function) or not (takes_quantity(function) if quantity else takes_array(function)):
                continue
            total += 1
            said = documentation(function) + (ast.get_docstring(function.owner) or "" if function.owner else "")
            if not (UNIT if quantity else SHAPE).search(said) and not ELSEWHERE.search(said):
                missing.append(f"{named(path)}: {function.name}")
    return missing, total


def arguments(function: Function) -> list[ast.arg]:
    args = function.node.args
    return [*args.posonlyargs, *args.args, *args.kwonlyargs]


def takes_array(function: Function) -> bool:
    annotations = [a.annotation for a in arguments(function)] + [function.node.returns]
    return any(ARRAY.search(ast.unparse(annotation)) for annotation in annotations if annotation is not None)


def takes_quantity(function: Function) -> bool:
    return any(QUANTITY.fullmatch(argument.arg) for argument in arguments(function))


@pytest.mark.parametrize("quantity", [False, True], ids=["shape", "unit"])
def test_public_functions_state_shapes_and_units(quantity: bool) -> None:
    missing, total = unstated(quantity=quantity)
    assert len(missing) <= 0.05 * total, "\n".join(missing)


# --- imports -------------------------------------------------------------------------------------------


def import_cycles() -> list[list[str]]:
    """Strongly connected groups of modules; what only a type checker imports does not count."""
    graph = grimp.build_graph("neuro", exclude_type_checking_imports=True, cache_dir=None)
    return [
        sorted(group) for group in components({m: graph.find_modules_directly_imported_by(m) for m in graph.modules})
    ]


def components(edges: dict[str, set[str]]) -> list[set[str]]:
    """Groups of more than one node in which every node reaches every other."""

    @cache
    def reached(start: str) -> frozenset[str]:
        seen, todo = set[str](), [start]
        while todo:
            fresh = edges.get(todo.pop(), set()) - seen
            seen |= fresh
            todo += fresh
        return frozenset(seen)

    groups = {frozenset({a} | {b for b in reached(a) if a in reached(b)}) for a in edges}
    return [set(group) for group in groups if len(group) > 1]


def test_no_import_cycles() -> None:
    assert import_cycles() == []


def test_cycles_are_seen() -> None:
    assert components({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [{"b", "c"}]


@pytest.mark.parametrize("room", LINKED)
def test_a_room_is_not_importable_by_its_folder_name(room: str) -> None:
    command = [sys.executable, "-c", f"import {room}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert f"import neuro.{room}" in result.stderr.splitlines()[-1]


# --- packaging -----------------------------------------------------------------------------------------


def test_packages_list_is_the_tree() -> None:
    listed = settings()["tool"]["setuptools"]["packages"]
    assert isinstance(listed, list)
    assert listed == sorted(packages_of_the_tree())


@pytest.mark.parametrize("room", LINKED)
def test_the_link_leads_to_the_room(room: str) -> None:
    assert (ROOT / "neuro" / room / "__init__.py").samefile(ROOT / room / "__init__.py")


def test_every_module_has_its_test() -> None:
    modules = [path for path in sources() if path.name != "__init__.py"]
    busy = [path for path in modules if any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in parsed(path).body)]
    assert [f"{named(path)} -> {named(mirror(path))}" for path in busy if not mirror(path).exists()] == []


def print_figures() -> None:
    """The rows of the comparison form that come from the sources."""
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    tests = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py"))
    lengths = sorted(body_lengths())
    longest = max(lines, key=lambda name: lines[name])
    out = sys.stdout.write
    out(f"files {len(lines)}, lines {sum(lines.values())}; longest {lines[longest]} {longest}\n")
    out(f"bodies: {len(lengths)}, median {statistics.median(lengths)}, ")
    out(f"p95 {statistics.quantiles(lengths, n=20)[-1]:.0f}, max {lengths[-1]}\n")
    out(f"import cycles: {len(import_cycles())}; test lines per source line: {tests / sum(lines.values()):.2f}\n")
    for label, quantity in (("shape", False), ("unit", True)):
        missing, total = unstated(quantity=quantity)
        out(f"public functions that state a {label}: {total - len(missing)} of {total}\n")


if __name__ == "__main__":
    print_figures()
