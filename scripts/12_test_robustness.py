"""12 - What survives the telephone? Eval utterances after codecs, noise, rooms, gain, tempo, cuts and denoising, against themselves clean.

Reads   exp/<name>/runs/ (trained runs; train and dev are scored where they are not), the audio of a part of eval, noises and rooms
Writes  exp/<name>/robustness/<system>/<run>/ (answers-*/: logits and embedding of each utterance after each operation; figures.csv,
        worst.csv, robustness.json) and exp/<name>/tables/robustness.{csv,md,png}, robustness_worst.csv, and for runs that differ in
        train.variants alone robustness_gains.{csv,md}; script 13 shows them in the report
Costs   demo: 45 operations, three runs: 2.6 s of one core for each utterance, mostly ffmpeg's; a second call goes on where one ended
Run     python scripts/12_test_robustness.py configs/demo_openset.yaml
        python scripts/12_test_robustness.py configs/demo_openset.yaml robustness.operations=[opus_16k,noise_10db+opus_16k]
"""

import _project_root  # noqa: F401

from sourcetracing.robustness.experiment import robustness_of
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import in_users_words, say_next
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.runs import load_runs


def main(config: ConfigSources) -> None:
    """Makes what is missing and shows every run and operation in one line."""
    runs = load_runs(config)
    print(f"12 robustness after {len(runs[0].settings.robustness.operations)} operations at most", flush=True)
    print(in_users_words(robustness_of(runs)))
    say_next("python scripts/13_make_tables.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*EXPERIMENT, "robustness", "openset", "trace"])
