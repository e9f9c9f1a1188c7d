"""Every script on a corpus of seconds, in a folder of its own: what the campaigns of kills and of full disks share.

A stage is one command. `Street.walk` runs all of them undisturbed and keeps a copy of the folder before each; `Street.reset` puts one back;
`contents` is what a folder holds, times apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAIN = ("01_download_resources", "02_build_protocols", "03_label_speakers", "04_preprocess_dataset", "05_train_matrix")
JUDGING = ("06_get_classification_metrics", "07_ood_detector", "08_generate_embeddings", "09_visualize_embeddings", "10_verify_sources")
JUDGING += ("11_audit_shortcuts",)
DETECTION = ("00_build_manifest", "01_extract_layers", "02_layer_sweep", "03_augmented_baseline", "04_dataset_mixing", "05_pruning")
DETECTION_ENDS = ("06_augment_pruned", "07_report")
NEEDED = ("01_download_resources", "02_build_protocols", "04_preprocess_dataset", "05_train_matrix")  # by what comes later
# What says when, how long, by which process or on how busy a machine; the same work leaves other values of it each time.
TIMES = re.compile(r"(^|_)(seconds|time|started|finished|hours_of_sound|git_commit|created|date|when|pid|load|workers|inputs)($|_)")
# The last two go by the times of files: what was checked, and what was digested.
IGNORED = (".lock", "events.out.tfevents", "report.html", ".png", "detection/checked/", "clip_digests.json", "clip_looks.json")


@dataclass(frozen=True)
class Stage:
    """One command. words: what follows the Python program; pattern words (with *) are completed when it starts."""

    name: str
    words: tuple[str, ...]


def _settings(root: Path) -> list[str]:
    data = root / "data" / "tiny"
    return [
        "configs/tiny.yaml",
        f"paths.corpus={data}",
        f"paths.musan={data}/musan",
        f"paths.rirs={data}/RIRS_NOISES",
        f"paths.exp={root}/exp",
        f"ssl.model={data}/tiny_wav2vec2",
        "corpus.unknown_sources=[sinusoidal]",
        "experiment.systems=[lfcc_ecapa_tdnn]",
        "experiment.floor=[]",
        "experiment.tables=[table4]",
        "train.epochs=2",
        "augment.variants=[original,noise]",
        "evaluation.bootstrap_samples=50",
        "embedding_pictures.projections=[pca]",
        "store.block_rows=20",
        "compute.device=cpu",
        "compute.workers=1",
    ]


def _detection_settings(root: Path) -> list[str]:
    data = root / "data" / "demo_detection"
    return [
        "configs/demo_detection.yaml",
        f"detection.demo_folder={data}",
        f"ssl.model={data}/tiny_wav2vec2",
        f"paths.exp={root}/exp",
        "detection.demo_files=16",
        "detection.demo_test_files=16",
        "layer_features.block_files=20",
        "pruning.fractions=[0.5]",
        "pruning.seeds=[1]",
        "compute.device=cpu",
        "compute.workers=1",
    ]


def stages(root: Path) -> list[Stage]:
    """Every script in the order of use; they read and write below `root` alone."""
    main, run = _settings(root), f"{root}/exp/tiny/runs/lfcc_ecapa_tdnn/en-*"
    # Of GE2E's batches of 2 classes; its folder is beside the other runs.
    embedding = [*main, "system=demo_ge2e", "metric_learning.classes_per_batch=2", "augment.variants=[original]", "train.languages=[en]"]
    detection = _detection_settings(root)
    sound = f"{root}/data/tiny/fake/en/griffin_lim/*_00002.wav"
    return [
        *(Stage(name, (f"scripts/{name}.py", *main)) for name in MAIN),
        *(Stage(name, (f"scripts/{name}.py", *main)) for name in JUDGING),
        Stage("13_make_tables", ("scripts/13_make_tables.py", *main)),
        Stage("train_refd", ("train_refd.py", *main, "train.languages=[en]", "train.seed=1")),
        Stage("04_for_ge2e", ("scripts/04_preprocess_dataset.py", *embedding)),
        Stage("train_ge2e", ("train_ge2e.py", *embedding)),
        Stage("trace_audio", ("scripts/trace_audio.py", sound, "--run", run, "--csv", f"{root}/exp/traced.csv", "compute.device=cpu")),
        Stage("export_model", ("scripts/export_model.py", run, "--folder", f"{root}/exp/exported", "compute.device=cpu")),
        *(Stage(f"detection/{name}", (f"scripts/detection/{name}.py", *detection)) for name in (*DETECTION, *DETECTION_ENDS)),
    ]


@dataclass
class Street:
    """A folder in which stages run (`place`, the same for all, because settings on disk hold paths), and copies of it (`copies`)."""

    place: Path
    copies: Path
    chosen: Callable[[str], bool] = lambda name: True
    seconds: dict[str, float] = field(default_factory=dict)

    def walk(self, say: Callable[[str], None] = print) -> list[Stage]:
        """Runs the chosen stages, and what they need, undisturbed, with a copy of the folder before each and one of the end; returns them.

        A street that was walked before is taken as it is.
        """
        there, walked = stages(self.place), self.copies / "seconds.json"
        if walked.is_file():
            self.seconds = json.loads(walked.read_text())
            return [stage for stage in there if self.chosen(stage.name)]
        shutil.rmtree(self.copies, ignore_errors=True)
        shutil.rmtree(self.place, ignore_errors=True)
        last = max(number for number, stage in enumerate(there) if self.chosen(stage.name))
        for number, stage in enumerate(there[: last + 1]):
            self._keep(number)
            if not (self.chosen(stage.name) or stage.name in NEEDED):
                continue
            started = time.perf_counter()
            outcome = self.run(stage)
            if outcome.returncode:
                raise SystemExit(f"{stage.name} failed undisturbed, with status {outcome.returncode}:\n{outcome.stderr}")
            self.seconds[stage.name] = time.perf_counter() - started
            say(f"  undisturbed {stage.name}: {self.seconds[stage.name]:.1f} s")
        self._keep(last + 1)
        walked.write_text(json.dumps(self.seconds))
        return [stage for stage in there if self.chosen(stage.name)]

    def number(self, stage: Stage) -> int:
        """Its place in the order."""
        return [one.name for one in stages(self.place)].index(stage.name)

    def reset(self, number: int) -> None:
        """The folder as it was before the stage of that number."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.copies / str(number), self.place, symlinks=True)

    def after(self, number: int) -> dict[str, str]:
        """What the undisturbed stage of that number left."""
        return contents(self.copies / str(number + 1))

    def now(self) -> dict[str, str]:
        """What the folder holds."""
        return contents(self.place)

    def command(self, stage: Stage) -> list[str]:
        """The command line, patterns completed."""
        return [sys.executable, *(_completed(word) for word in stage.words)]

    def start(self, stage: Stage, **how: object) -> subprocess.Popen:
        """Starts a stage in a process group of its own."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(self.command(stage), cwd=ROOT, env=_environment(), start_new_session=True, **{**pipes, **how})

    def run(self, stage: Stage, seconds: float = 600) -> subprocess.CompletedProcess:
        """Runs a stage to its end."""
        process = self.start(stage)
        out, err = process.communicate(timeout=seconds)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def _keep(self, number: int) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.place, self.copies / str(number), symlinks=True)


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def _completed(word: str) -> str:
    if "*" not in word or not word.startswith("/"):
        return word
    return next((str(path) for path in sorted(Path("/").glob(word[1:]))), word)


def contents(root: Path) -> dict[str, str]:
    """Path below `root` -> digest of what the file holds, times apart."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not any(word in str(path) for word in IGNORED))
    return {str(path.relative_to(root)): _digest(path) for path in files}


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        facts = _without_times(json.loads(content))
        if path.name == "files.json":
            facts.pop("digest", None)  # of files' times too
        content = json.dumps(facts, sort_keys=True).encode()
    elif path.name == "history.csv":
        lines = [line.split(",") for line in content.decode().splitlines()]
        kept = [place for place, name in enumerate(lines[0]) if not TIMES.search(name)]
        content = "\n".join(",".join(line[place] for place in kept) for line in lines).encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if not TIMES.search(key)}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """`missing a`, `extra b`, `differs c`."""
    words = [f"missing {name}" for name in wanted.keys() - found.keys()] + [f"extra {name}" for name in found.keys() - wanted.keys()]
    return sorted(words + [f"differs {name}" for name in wanted.keys() & found.keys() if wanted[name] != found[name]])
