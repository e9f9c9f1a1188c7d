"""README.md and docs/: short enough, and true where a program can tell."""

from __future__ import annotations

import re
import runpy
from functools import cache
from pathlib import Path

import pytest

from sourcetracing.settings.schema import Settings
from tests.support.places import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *(ROOT / f"{name}/README.md" for name in ("data", "exp"))])
DOCUMENTS += [ROOT / "benchmarks" / "README.md", *ROOT.glob("sourcetracing/published/**/README.md")]
CONFIGS = sorted(ROOT.glob("configs/**/*.yaml"))
FOLDERS = ("sourcetracing", "models", "scripts", "configs", "docs", "tests", "benchmarks")
# A user's own files, and what a run folder holds.
EXAMPLES = {"CONFIG.yaml", "MORE.yaml", "mine.yaml", "my_parts.py", "mean_pool_net.py", "my_reader.py", "my_corpus.py", "config.yaml"}
MOST_WORDS, MOST_WORDS_IN_A_SENTENCE = 1300, 30
CODE = re.compile(r"```.*?```|``?[^`]+``?|^ {4}\S.*$", re.DOTALL | re.MULTILINE)
FILE_NAME = re.compile(r"(?<![\w./$<*>-])[\w./-]*[\w-]+\.(?:py|yaml|toml)\b")
FOLDER_NAME = re.compile(rf"(?<![\w/.<-])(?:{'|'.join(FOLDERS)})/[\w./-]*+(?![*<{{$])")
COMMAND = re.compile(r"python ((?:scripts/|docs/|benchmarks/|train_)[^\s`]*)")


@cache
def files() -> tuple[str, ...]:
    """Every file of the folders that the documents speak of, and those beside them, as /path below the root."""
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    return tuple(f"/{path.relative_to(ROOT).as_posix()}" for path in [*below, *ROOT.glob("*.*")])


def is_there(name: str) -> bool:
    """Whether a path, or its end (`pictures.py`), is that of a file or folder here."""
    return (ROOT / name).is_dir() or any(path.endswith(f"/{name.strip('/')}") for path in files())


def code_of(document: Path) -> str:
    """What stands in backticks and code blocks, or, of a YAML file, its comments."""
    text = document.read_text(encoding="utf-8")
    if document.suffix == ".yaml":
        return "\n".join(re.findall(r"#.*", text))
    return "\n".join(CODE.findall(text))


def sentences_of(markdown: str) -> list[str]:
    """Sentences, table cells, list items and headings, without code blocks and addresses of links."""
    text = (
        re.sub(r"^ {4}.*$|```.*?```", "\n", markdown, flags=re.DOTALL | re.MULTILINE)
        if "```" in markdown
        else re.sub(r"(?m)^ {4}.*$", "", markdown)
    )
    text = re.sub(r"\]\([^)]*\)", "]", text)
    pieces = re.split(r"\n\s*\n|\n(?=[*#|-])|\||(?<=[.!?:;])\s+(?=[\"'(*A-Z\[])", text)
    return [" ".join(piece.split()) for piece in pieces if piece.strip(" -#*|\n")]


def named(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def test_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= MOST_WORDS
    long = [sentence for sentence in sentences_of(text) if len(sentence.split()) > MOST_WORDS_IN_A_SENTENCE]
    assert not long, "\n".join(long)


def test_long_sentences_are_found():
    text = f"# Short\n\n{'word ' * 20}\n{'word ' * 11}end. Next one.\n\n    {'code ' * 40}\n\n| a | {'cell ' * 31} |\n"
    assert [len(sentence.split()) for sentence in sentences_of(text) if len(sentence.split()) > 30] == [32, 31]


@pytest.mark.parametrize("document", [*DOCUMENTS, *CONFIGS], ids=named)
def test_files_that_are_named_exist(document: Path):
    code = code_of(document)
    names = {name.strip("./") for pattern in (FILE_NAME, FOLDER_NAME) for name in pattern.findall(code)}
    names = {name for name in names if not name.startswith(("data/", "exp/"))} - EXAMPLES
    assert not (missing := sorted(name for name in names if not is_there(name))), missing


@pytest.mark.parametrize("document", [*DOCUMENTS, *CONFIGS], ids=named)
def test_commands_run_files_that_exist(document: Path):
    scripts = COMMAND.findall(document.read_text(encoding="utf-8"))
    assert not (missing := [script for script in scripts if "$" not in script and not (ROOT / script).is_file()]), missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_and_make_targets_lead_somewhere(document: Path):
    text = document.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert not (missing := [link for link in links if not (document.parent / link).exists()]), missing
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert not (unknown := set(re.findall(r"(?:`|^ {4})make ([a-z][\w-]*)", text, re.MULTILINE)) - set(targets)), unknown


@pytest.mark.parametrize("document", [*DOCUMENTS, *CONFIGS], ids=named)
def test_settings_that_are_named_exist(document: Path):
    settings = Settings()
    groups = {name: vars(value) for name, value in vars(settings).items() if hasattr(value, "__dataclass_fields__")}
    files_in_runs = r"(?!(?:json|csv|npy|py|png|trn|md|yaml|parquet|txt|html|lock)\b)"
    found = re.findall(rf"(?<![\w./-])({'|'.join(groups)})\.{files_in_runs}([a-z_]\w*)(?=[=`, )])", code_of(document))
    assert not (unknown := sorted({f"{group}.{name}" for group, name in found if name not in groups[group]})), unknown


@pytest.mark.parametrize("name", ["settings", "modules"])
def test_pages_that_are_made_from_the_code_are_up_to_date(name: str):
    made = runpy.run_path(str(ROOT / "docs" / f"make_{name}.py"))["page"]()
    written = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert written == made, f"run: python docs/make_{name}.py"


def test_the_list_of_modules_is_complete():
    page = (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")
    modules = [path for path in files() if path.endswith(".py") and path.startswith(("/sourcetracing/", "/models/"))]
    assert not (missing := [path for path in modules if not path.endswith("/__init__.py") and f"`{path[1:]}`" not in page]), missing


def test_the_picture_of_the_pipeline_is_up_to_date():
    made = runpy.run_path(str(ROOT / "docs" / "make_pipeline.py"))["picture"]()
    assert (ROOT / "docs" / "pipeline.svg").read_text(encoding="utf-8") == made, "run: python docs/make_pipeline.py"
