"""The folder list is the pipeline: imports point down the order of packages, no modules import each other, tests mirror the packages."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

from sourcetracing.settings.parts import Registry
from tests.support.places import ROOT

# Each package imports those before it alone. The networks know nothing of files, settings or errors.
ORDER = (
    *("models", "errors", "settings", "layout", "runtime", "audio", "metrics", "drawing", "downloads", "published", "synthesis"),
    *("postprocessing", "corpora", "protocols", "speakers", "features", "training", "scoring", "tables", "openset", "embeddings"),
    *("verification", "enrolment", "shortcuts", "tracing", "robustness", "report", "explanation", "casework"),
    "starting",
    *("detection.data", "detection.features", "detection.classifier", "detection.experiments", "detection.report"),
)
TESTS_OF_NO_PACKAGE = {"support", "scripts", "whole_pipeline", "golden", "gpu", "known_issues", "fuzz"}


def modules_below(root: Path) -> dict[str, Path]:
    """Module name -> file. The folder models/ is imported as sourcetracing.models, which takes the place of the module of that name."""
    files = [*(root / "sourcetracing").rglob("*.py"), *(root / "models").rglob("*.py")]
    names = {file: file.relative_to(root).with_suffix("").parts for file in files if file != root / "sourcetracing" / "models.py"}
    dotted = {file: ".".join(parts if parts[0] == "sourcetracing" else ("sourcetracing", *parts)) for file, parts in names.items()}
    return {name.removesuffix(".__init__"): file for file, name in dotted.items()}


def imports_of(name: str, file: Path) -> set[str]:
    """Every dotted name that a module imports, wherever the import stands: at the top, in a function, under TYPE_CHECKING, as a string."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{source}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)}
    return {imported for imported in found if imported.split(".")[0] in {"sourcetracing", "models"}}


def graph_of(root: Path) -> dict[str, set[str]]:
    """Module -> modules of the project that it imports. A name that a module defines stands for that module."""
    modules = modules_below(root)
    graph: dict[str, set[str]] = {}
    for name, file in modules.items():
        parents = [[imported, imported.rpartition(".")[0]] for imported in imports_of(name, file)]
        graph[name] = {next((known for known in names if known in modules), names[0]) for names in parents} - {name}
    return graph


def package_of(module: str) -> str:
    """The entry of ORDER that a module belongs to; its own name where there is none."""
    inside = module.removeprefix("sourcetracing.")
    return next((package for package in ORDER if f"{inside}.".startswith(f"{package}.")), module)


def complaints(root: Path) -> list[str]:
    """What is wrong with the imports below a folder, one line for each arrow."""
    graph, place = graph_of(root), {package: number for number, package in enumerate(ORDER)}
    arrows = [(one, other) for one, others in sorted(graph.items()) for other in sorted(others)]
    empty = {"sourcetracing", "sourcetracing.detection"}  # packages that hold packages
    named = [f"{module} is in no package of the order" for module in graph if package_of(module) not in place and module not in empty]
    upward = [
        f"{one} imports {other}, which is above it"
        for one, other in arrows
        if place.get(package_of(one), len(ORDER)) < place.get(package_of(other), len(ORDER))
    ]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [*named, *upward, "a loop: " + " <- ".join(error.args[1])]
    return [*named, *upward]


def test_imports_point_down_and_make_no_loop():
    assert len(graph_of(ROOT)) > 150
    assert complaints(ROOT) == []


PLANTED = {
    "at the top": {"settings/a.py": "from sourcetracing.training.loop import train"},
    "a whole package": {"settings/a.py": "from sourcetracing import training"},
    "without from": {"settings/a.py": "import sourcetracing.training.loop as loop"},
    "deferred": {"settings/a.py": "def f():\n    from sourcetracing.training.loop import train\n    return train"},
    "for types alone": {
        "settings/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sourcetracing.training import loop"
    },
    "by its name": {"settings/a.py": "from importlib import import_module\nx = import_module('sourcetracing.training.loop')"},
    "relative": {"settings/a.py": "from ..training.loop import train"},
    "between stations": {"detection/features/a.py": "from sourcetracing.detection.report.page import write"},
    "networks that read settings": {"../models/backends/a.py": "from sourcetracing.settings.schema import Settings"},
}


@pytest.mark.parametrize("files", PLANTED.values(), ids=PLANTED)
def test_an_upward_import_is_found(tmp_path, files):
    plant(tmp_path, files)
    assert [line for line in complaints(tmp_path) if "which is above it" in line]


def test_a_loop_is_found(tmp_path):
    one, other = "def f():\n    from sourcetracing.training.plan import plan", "from sourcetracing.training.loop import train"
    plant(tmp_path, {"training/loop.py": one, "training/plan.py": other})
    assert [line.split(":")[0] for line in complaints(tmp_path)] == ["a loop"]


def test_a_package_that_the_order_does_not_name_is_found(tmp_path):
    plant(tmp_path, {"utils.py": ""})
    assert complaints(tmp_path) == ["sourcetracing.utils is in no package of the order"]


def test_downward_imports_are_fine(tmp_path):
    targets = 'BACKENDS = {"mine": "sourcetracing.models.backends.mine:Mine"}'  # data: imported when it is asked for, by whoever asks
    plant(tmp_path, {"settings/backends.py": targets, "training/a.py": "from sourcetracing.settings.backends import BACKENDS"})
    assert complaints(tmp_path) == []


def plant(root: Path, files: dict[str, str]) -> None:
    """A small project with modules of given texts."""
    known = {"__init__.py": "", "training/__init__.py": "", "training/loop.py": "", "settings/__init__.py": "", "settings/schema.py": ""}
    for name, text in {**known, "detection/report/page.py": "", **files}.items():
        file = root / "sourcetracing" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def test_every_module_is_reached_from_tests_and_scripts():
    """By imports, or by the name of a part in a registry: a module that nobody reaches is dead."""
    modules, graph = modules_below(ROOT), graph_of(ROOT)
    settings = [import_module(name) for name in modules if package_of(name) == "settings"]
    registries = [value for module in settings for value in vars(module).values() if isinstance(value, Registry)]
    names = {entry.target.partition(":")[0] for registry in registries for entry in registry.values()}
    outside = [file for folder in ("tests", "scripts") for file in (ROOT / folder).rglob("*.py")] + [*ROOT.glob("train_*.py")]
    names |= {name for file in outside for name in imports_of("outside", file)}
    waiting = {known for name in names for known in (name, name.rpartition(".")[0]) if known in modules}
    reached: set[str] = set()
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= graph[module] - reached
    assert {module for module, file in modules.items() if file.name != "__init__.py"} - reached == set()


def test_tests_mirror_the_packages():
    """Each folder of tests is a package or one of the named extras, and each package but the small ones has tests of its own."""
    folders = {str(path.parent.relative_to(ROOT / "tests")).replace("/", ".") for path in (ROOT / "tests").rglob("test_*.py")} - {"."}
    packages = {package for package in ORDER if package not in {"errors", "layout"}}
    assert folders - TESTS_OF_NO_PACKAGE == packages
