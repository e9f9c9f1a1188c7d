"""01 - Get the corpus, the noises and the room responses. For the demo corpus: synthesize them.

Reads   nothing (demo: an espeak-ng library that the extra `demo` brings)
Writes  paths.corpus, paths.protocols, paths.musan, paths.rirs; with --check exp/<name>/missing_files.txt
Costs   demo: 20 to 45 s on 2 cores, 192 MB; MCL-MLAAD: about 4 GB, MUSAN 11 GB, RIRS_NOISES 1.3 GB. What is there and complete is kept;
        an interrupted download goes on where it was
Run     python scripts/01_download_resources.py configs/demo.yaml
        python scripts/01_download_resources.py configs/mcl_mlaad.yaml --dry-run
        python scripts/01_download_resources.py configs/mcl_mlaad.yaml --check
"""

import _project_root  # noqa: F401

from sourcetracing.corpora.availability import download_all, print_counts, print_plan
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.groups import CORPUS
from sourcetracing.settings.reading import ConfigSources

FLAGS = {
    "--dry-run": "print what would be fetched, from where, how large, under which licence; fetch nothing",
    "--check": "count what is there against what is needed, per language and source; list what is missing",
}


def main(config: ConfigSources, flags: dict[str, str]) -> None:
    """Downloads (or makes) what the corpus needs and names the next step."""
    settings = config.resolve()
    print(f"01 resources: corpus {settings.corpus.reader!r} -> {settings.paths.corpus}", flush=True)
    if "--dry-run" in flags:
        print_plan(settings)
    if "--check" in flags:
        print_counts(settings)
    if flags:
        return
    counts = download_all(settings)
    print("complete: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    say_next("python scripts/02_build_protocols.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*CORPUS, "augment", "download", "compute"], flags=FLAGS)
