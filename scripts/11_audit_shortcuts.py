"""11 - How far do trivial cues alone get? Duration, silence, level, bandwidth, noise floor, tilt, by logistic regression.

Reads   exp/<name>/utterances.csv, protocol.csv; paths.corpus, paths.musan, paths.rirs; scores of trained systems, if any
Writes  exp/<name>/shortcuts/cues.parquet, scores.parquet (the baselines' scores, as trained systems have them); with a cure on
        (audio.normalize, trim_silence_db, band_limit_hz) also cues_cured.parquet, scores_cured.parquet of what systems hear then
        exp/<name>/tables/shortcuts.csv (as table4.csv), shortcuts_means.csv, shortcuts.md
        where tables of other settings lie there, these three below exp/<name>/tables/<digest>/
Costs   demo: 20 s on 2 cores, a second time 6 s; cues and scores that belong to the settings and audio on disk are kept
Run     python scripts/11_audit_shortcuts.py configs/demo.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.layout import Layout
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.shortcuts.audit import report_shortcuts


def main(config: ConfigSources) -> None:
    """Computes what is missing, writes the tables and shows the verdict."""
    layout = Layout.of(config.resolve())
    print(f"11 shortcuts: {layout.root}", flush=True)
    print(f"\n{report_shortcuts(config)}\n")
    print(f"wrote {layout.shortcut_text}")
    say_next("python scripts/12_test_robustness.py CONFIG.yaml   or: python scripts/13_make_tables.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=EXPERIMENT)
