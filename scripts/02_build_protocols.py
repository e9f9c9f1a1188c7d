"""02 - Check every audio file, split the utterances into train, dev and eval, count them (Table 1), look for leakage.

Reads   paths.corpus (fake/<language>/<model_dir>/*.wav and meta.csv, or your own layout); paths.protocols or mcl_mlaad.lists
Writes  exp/<name>/utterances.csv, protocol.csv, label_assignment.txt, protocol.json, tables/table1_counts.csv, tables/leakage.csv,
        tables/audio_facts.csv, of corpus.reader=mlaad tables/counts_by_model.csv (and bad_audio.csv, audio_notes.csv if any file is bad or
        odd); with --audit at most tables/leakage_planned.csv; with --propose FILE only that file;
        the same below exp/<name>/protocols/<digest>/ where a protocol of other settings lies there, which stays
Costs   reads all audio once: 1 s for the demo; nothing when nothing changed. --audit needs no audio
Run     python scripts/02_build_protocols.py configs/demo.yaml
        python scripts/02_build_protocols.py configs/demo.yaml --audit
        python scripts/02_build_protocols.py configs/demo.yaml split.group_by=transcript
        python scripts/02_build_protocols.py configs/mlaad_openset.yaml --propose mine.yaml   # then: configs/mlaad_openset.yaml mine.yaml
"""

from pathlib import Path

import _project_root  # noqa: F401
import pandas as pd

from sourcetracing.layout import Layout
from sourcetracing.protocols.audio_facts import printed, remarks_on
from sourcetracing.protocols.building import audit_protocol, build_protocols
from sourcetracing.protocols.leakage import overall_table, summarize, worst_cells
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.groups import CORPUS
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.settings.schema import Settings
from sourcetracing.starting.proposing import write_proposal
from sourcetracing.training.table_plans import GROUP_MARK, plans_of

FLAGS = {
    "--audit": "report what train, dev and eval share: files, transcripts, recordings, speakers, audio",
    "--propose FILE": "draw known and unknown sources of the whole corpus by the rules of open_split; write them to FILE as settings",
}
NUM_WORST_CELLS = 10
WORST_COLUMNS = ["kind", "language", "source", "first", "second", "affected_anywhere", "utterances", "percent_anywhere"]
MAX_SOURCE_COLUMNS = 8  # more do not fit a terminal; tables/table1_counts.csv has them all


def main(config: ConfigSources, flags: dict[str, str]) -> None:
    """Builds the protocol and prints its counts, or prints the audit."""
    settings = config.resolve()
    print(f"02 protocols: {settings.paths.corpus} -> {Layout.of(settings).root}", flush=True)
    if "--propose" in flags:
        print("\n".join(write_proposal(settings, Path(flags["--propose"]))))
        say_next(f"python scripts/02_build_protocols.py CONFIG.yaml {flags['--propose']}")
        return
    if "--audit" in flags:
        _report_audit(settings)
        return
    plans = plans_of(settings)
    trained, tested = ([name for plan in plans for name in getattr(plan, sets)] for sets in ("train_sets", "test_sets"))
    built = build_protocols(settings, trained, [name.partition(GROUP_MARK)[0] for name in tested])
    too_many = settings.corpus.sources if len(settings.corpus.sources) > MAX_SOURCE_COLUMNS else []
    print(built.counts.drop(columns=too_many).to_string(index=False))
    if built.num_left_out:
        print(f"left out {built.num_left_out} bad audio files, listed in {Layout.of(settings).bad_audio}")
    if Layout.of(settings).audio_notes.is_file():
        print(f"what is odd about audio files that were kept: {Layout.of(settings).audio_notes}")
    if Layout.of(settings).model_counts.is_file():
        _say_models(Layout.of(settings).model_counts)
    _say_facts(built.audio_facts, settings)
    print("".join(f"{line}\n" for line in built.remarks))
    print(f"what two splits share, and the part of the second that it touches (--audit says more):\n{_overall(built.leakage)}\n")
    print(f"{'wrote' if built.is_new else 'unchanged:'} {Layout.of(settings).protocol}")
    next_script = "03_label_speakers" if any(plan.needs_speakers for plan in plans) else "04_preprocess_dataset"
    say_next(f"python scripts/{next_script}.py CONFIG.yaml")


def _say_models(path: Path) -> None:
    models = read_csv(path, texts=["language", "source", "architecture"])
    by_language = models.groupby("language")["source"].nunique()
    least = models.loc[models["utterances"].idxmin()]
    sizes, pairs = models["utterances"], f"{least['language']} {least['source']}"
    print(
        f"\n{models['source'].nunique()} sources, {by_language.min()} to {by_language.max()} in a language; utterances of a source in a "
        f"language: {sizes.min()} ({pairs}) to {sizes.max()}, median {sizes.median():.0f}: {path}"
    )


def _say_facts(facts: pd.DataFrame, settings: Settings) -> None:
    print(f"\nwhat the files of a source have in common (medians; {Layout.of(settings).audio_facts} says more):")
    print(printed(facts, settings.audio) or "of all sources much the same")
    print("".join(f"{line}\n" for line in remarks_on(facts, settings.audio)) or "no source stands out by it")


def _overall(leakage: pd.DataFrame) -> str:
    return overall_table(leakage).to_string(index=False)


def _report_audit(settings: Settings) -> None:
    table, written = audit_protocol(settings)
    print(_overall(table))
    if len(worst := worst_cells(table, NUM_WORST_CELLS)):
        print(f"\nwhere most of a split is affected:\n{worst[WORST_COLUMNS].round(1).to_string(index=False)}")
    print("\n" + "\n".join(summarize(table)))
    if written != Layout.of(settings).leakage:
        print("the protocol is not built yet: audited as it would be, without looking at the audio")
    print(f"every language and source: {written}")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*CORPUS, "split", "open_split", "train", "audio", "experiment", "speakers", "compute"], flags=FLAGS)
