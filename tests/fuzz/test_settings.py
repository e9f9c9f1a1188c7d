"""Words and files of settings: they resolve to settings that can be written, read back and planned with, or are refused in one line."""

from __future__ import annotations

import dataclasses
import typing
from functools import partial
from pathlib import Path

import yaml
from hypothesis import strategies as st

from sourcetracing.errors import UserError
from sourcetracing.features.front_end import build_front_end
from sourcetracing.layout import Layout
from sourcetracing.settings.checking import fields_of
from sourcetracing.settings.declaring import RANGE, admitted
from sourcetracing.settings.reading import ConfigSources, load_settings, read_config, to_yaml
from sourcetracing.settings.recorded import grouping_recipe, label_recipe, protocol_recipe
from sourcetracing.settings.schema import Settings
from sourcetracing.training.networks import build_model
from sourcetracing.training.runs import front_ends, run_of, settings_of_runs
from sourcetracing.training.table_plans import plans_of
from tests.support.fuzzing import SHORT_AND_LONG, run_cases
from tests.support.mutations import mutated
from tests.support.places import ROOT

ODD_WORDS = ("", "nan", ".nan", ".inf", "-.inf", "null", "~", "true", "no", "0", "-1", "1e3", "1e12", "1e308", "1e999", "0x10", "1_000")
ODD_WORDS += (
    "010",
    "12:30",
    "2026-01-01",
    "${seed}",
    "${nothing}",
    "${oc.env:HOME}",
    "???",
    "[",
    "]",
    "{",
    "{}",
    "[]",
    "[[]]",
    "[{}]",
    "*a",
)
ODD_WORDS += (
    "&a [*a]",
    "!!python/object:os.system x",
    "!!binary x",
    "%",
    "@",
    "`",
    "'",
    '"',
    "\0",
    "\x85",
    "\u2028",
    "\ud800",
    "é",
    "日本",
)
ODD_WORDS += (
    "a: b: c",
    "- x",
    "x #y",
    "=",
    "a=b",
    ".",
    "..",
    "/",
    "~/x",
    "/proc/x",
    "a" * 300,
    "9" * 400,
    str(2**63),
    str(2**31),
    "[.nan]",
)
ODD_WORDS += ("[1, a]", "[0]", "[-1, 5]", "[5, 1]", "[1, 2, 3]", "[null]", "[true]", "{a: 1}", "{a: .inf}", "[en]", "[en, en]", "[all]")


def leaves(group: type = Settings, prefix: str = "") -> dict[str, tuple[typing.Any, dataclasses.Field]]:
    """Dotted name -> (type, field) of every single setting."""
    found = {}
    for name, (kind, field) in fields_of(group).items():
        found |= leaves(kind, f"{prefix}{name}.") if dataclasses.is_dataclass(kind) else {f"{prefix}{name}": (kind, field)}
    return found


LEAVES = leaves()
# Files that do not come with the project, and a device that is not there, are other stories.
QUIET = {"ssl.model", "ssl.revision", "train.initial_weights", "compute.device", "executor.kind", "executor.address"}


def _numbers(rules: typing.Mapping) -> list[str]:
    """Both ends of a range, what lies just outside of them, and what floats can do."""
    ends = [end for end in (rules["at_least"], rules["at_most"]) if end is not None]
    return [str(number) for end in ends for number in (end, end - 1, end + 1, end * 2)] + [
        "0",
        "1",
        "2",
        "3",
        "7.5",
        "1e-30",
        "1e30",
        ".nan",
    ]


@st.composite
def words(draw: st.DrawFn) -> str:
    """One key=value."""
    key = draw(st.sampled_from(sorted(LEAVES)))
    kind, field = LEAVES[key]
    pool = [*map(str, admitted(field.metadata) or ()), *_numbers(field.metadata)]
    text = draw(st.one_of(st.sampled_from(pool), st.sampled_from(ODD_WORDS), st.text(max_size=8)))
    if typing.get_origin(kind) is list and draw(st.booleans()):
        text = f"[{', '.join(draw(st.lists(st.sampled_from(pool), max_size=3)))}]"
    if draw(st.integers(0, 9)) == 0:
        key = draw(
            st.sampled_from([key[:-1], key + ".x", key.split(".")[0], f"systems.lfcc_aasist.{key}", "systems.x." + key, key.upper()])
        )
    return f"{key}={text}"


@st.composite
def fitting_words(draw: st.DrawFn) -> str:
    """One key=value that each setting by itself admits: an end of its range, a choice, a list of these."""
    key = draw(st.sampled_from(sorted(LEAVES)))
    kind, field = LEAVES[key]
    rules = field.metadata
    item = typing.get_args(kind)[0] if typing.get_origin(kind) is list else kind
    if choices := admitted(rules):
        pool = list(map(str, choices))
    elif item is bool:
        pool = ["true", "false"]
    elif item in (int, float):
        low, high = rules["at_least"], rules["at_most"]
        near = [low, low + 1, low + (high - low) / 1000, *(number for number in (1, 2, 3, 7, 40) if low <= number <= high)]
        pool = [str(int(number) if item is int else float(number)) for number in near]
    else:
        pool = ["en", "de", "quiet", "loud", "foreign", "all", "x", "3", "sweep", "last"]
    if item is kind:
        return f"{key}={draw(st.sampled_from(pool))}"
    length = rules.get("items") if isinstance(rules.get("items"), int) else 2 if rules.get("items") == RANGE else draw(st.integers(0, 3))
    values = [draw(st.sampled_from(pool)) for _ in range(length)]
    return f"{key}=[{', '.join(sorted(values, key=float) if rules.get('items') == RANGE else values)}]"


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """One of configs/ with bytes changed, or a nested dict of right and wrong keys, or any text."""
    made_of = draw(st.sampled_from(["config", "config", "dict", "text"]))
    if made_of == "text":
        return draw(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))))
    if made_of == "dict":
        scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(ODD_WORDS[:40]), st.dates())
        values = st.recursive(
            scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=2), max_leaves=4
        )
        tree: dict = {}
        for key in draw(st.lists(st.sampled_from(sorted(LEAVES)), min_size=1, max_size=3)):
            group, _, name = key.rpartition(".")
            (tree.setdefault(group, {}) if group else tree)[name] = draw(values)
        return yaml.dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
    return draw(mutated(draw(st.sampled_from(CONFIGS)).read_bytes(), PIECES))


CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


PIECES = [
    b"\n",
    b": ",
    b"- ",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\t",
    b"#",
    b"&a ",
    b"*a",
    b"'",
    b'"',
    b"0",
    b"9" * 30,
    b".nan",
    b"~",
    b",",
    b"\0",
    b"\xff",
]


def is_planned(config: ConfigSources) -> None:
    """What scripts do before they compute anything."""
    settings = config.resolve()
    for recipe in (protocol_recipe, label_recipe, grouping_recipe):
        recipe(settings)
    Layout.of(settings).protocol.is_file()
    plans_of(settings)
    front_ends(config)
    for each in settings_of_runs(config)[:2]:
        run_of(each, "store")


def builds(settings: Settings) -> None:
    """The front-end takes a crop, the back-end what comes out of it, where neither needs a checkpoint."""
    if settings.frontend == "ssl":
        return
    front_end = build_front_end(settings)
    build_model(settings, front_end.output_shape(round(settings.audio.crop_seconds * settings.audio.sample_rate)))


def check_words(tmp_path: Path, given: list[str]) -> None:
    try:
        config = read_config([str(ROOT / "configs" / "tiny.yaml"), *(word for word in given if word.split("=")[0] not in QUIET)])
        settings = config.resolve()
    except UserError as error:
        assert_one_line(error)
        return
    written = tmp_path / "again.yaml"
    written.write_text(to_yaml(settings), encoding="utf-8", errors="surrogateescape")
    assert load_settings([str(written)]) == dataclasses.replace(settings, systems={})
    for act in (partial(is_planned, config), partial(builds, settings)):
        try:
            act()
        except UserError as error:
            assert_one_line(error)


def check_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    try:
        is_planned(read_config([str(path)]))
    except UserError as error:
        assert_one_line(error)


def assert_one_line(error: UserError) -> None:
    assert str(error).strip()
    assert len(str(error).splitlines()) == 1, str(error)


@SHORT_AND_LONG
def test_words(tmp_path, is_long):
    run_cases("settings_words", is_long, st.lists(words(), min_size=1, max_size=3), partial(check_words, tmp_path))


@SHORT_AND_LONG
def test_fitting_words(tmp_path, is_long):
    run_cases("fitting_settings", is_long, st.lists(fitting_words(), min_size=1, max_size=2), partial(check_words, tmp_path))


@SHORT_AND_LONG
def test_files(tmp_path, is_long):
    run_cases("settings_files", is_long, files(), partial(check_file, tmp_path))
