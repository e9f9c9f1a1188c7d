"""What an installed copy consists of, and that pyproject.toml, requirements.txt and the imports in the code agree."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BY_HAND = {"resemblyzer", "pyworld"}  # installed by commands of their own, which messages name
FOLDERS = ("sourcetracing", "models", "scripts")
CODE = [*ROOT.glob("train_*.py"), *(file for name in FOLDERS for file in (ROOT / name).rglob("*.py"))]


def ranges() -> dict[str, Requirement]:
    """All that pyproject.toml asks for, extras included, by package."""
    extras = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name != "all"}
    asked = [Requirement(line) for lines in (PROJECT["dependencies"], *extras.values()) for line in lines]
    assert len({requirement.name for requirement in asked}) == len(set(map(str, asked))), "two extras ask for different versions"
    return {canonicalize_name(requirement.name): requirement for requirement in asked}


def test_each_pin_satisfies_its_range_and_nothing_is_pinned_or_asked_for_alone():
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    pins = {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, filter(None, lines))}
    assert set(pins) == set(ranges())
    for name, asked in ranges().items():
        ((operator, version),) = [(part.operator, part.version) for part in pins[name].specifier]
        assert operator == "==" and version in asked.specifier, f"{asked} is pinned as {pins[name]}"
        assert any(part.operator == ">=" for part in asked.specifier)


def test_all_is_every_extra_but_the_developers():
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.name == PROJECT["name"] and everything.extras == set(extras) - {"all", "dev"}


def imports_of(file: Path) -> set[tuple[str, bool]]:
    """(top-level package, whether it is imported as soon as the module is) of what a file imports from elsewhere."""
    found = set()

    def visit(node: ast.AST, at_once: bool) -> None:
        for child in ast.iter_child_nodes(node):
            names = [alias.name for alias in child.names] if isinstance(child, ast.Import) else []
            names += [child.module] if isinstance(child, ast.ImportFrom) and child.module else []
            found.update((name.partition(".")[0], at_once) for name in names)
            for_checking = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            visit(child, at_once and not for_checking and not isinstance(child, ast.FunctionDef))

    visit(ast.parse(file.read_text(encoding="utf-8")), True)
    return {(name, at_once) for name, at_once in found if name not in sys.stdlib_module_names | {"sourcetracing", "_project_root"}}


def test_what_the_code_imports_is_declared_and_extras_are_imported_where_they_are_used():
    packages = {module: {canonicalize_name(name) for name in names} for module, names in packages_distributions().items()}
    core = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    for file in CODE:
        for module, at_once in imports_of(file):
            allowed = core if at_once else core | set(ranges()) | BY_HAND
            assert packages.get(module, {module}) & allowed, f"{file.relative_to(ROOT)} imports {module}"


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory) -> set[str]:
    """The names in a wheel of a copy of the checkout, so that nothing is left behind in it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file() and name.split("/")[0] not in {"tests", "docs", "benchmarks"}:
            (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "copy" / name).write_bytes((ROOT / name).read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", folder, folder / "copy"], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_code_the_networks_and_the_settings_with_their_data_and_nothing_else(wheel_files):
    places = {"sourcetracing": "sourcetracing", "models": "sourcetracing/models", "configs": "sourcetracing/configs"}
    files = [(folder, file) for folder in places for file in (ROOT / folder).rglob("*") if file.is_file() and file.suffix != ".pyc"]
    expected = {f"{places[folder]}/{file.relative_to(ROOT / folder).as_posix()}" for folder, file in files}
    assert {name for name in wheel_files if "dist-info/" not in name} == expected
