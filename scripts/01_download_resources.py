"""01 - Get the corpus, the noises and the room responses. For the demo corpus: synthesize them.

Reads   nothing (demo: an espeak-ng library that comes with `pip install espeakng-loader`)
Writes  paths.corpus, paths.musan, paths.rirs
Costs   demo: about 20 s on 2 cores, 192 MB; files that are there and complete are kept
Run     python scripts/01_download_resources.py configs/demo.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.cli import run_script
from sourcetracing.corpora import corpus_module
from sourcetracing.settings_io import Layers


def main(layers: Layers) -> None:
    """Downloads (or makes) what the corpus needs and names the next step."""
    settings = layers.resolve()
    print(f"01 resources: corpus {settings.corpus.reader!r} -> {settings.paths.corpus}", flush=True)
    corpus = corpus_module(settings.corpus.reader)
    corpus.download(settings)
    corpus.check(settings)
    print(f"complete: {settings.paths.corpus}, {settings.paths.musan}, {settings.paths.rirs}")
    print("next: python scripts/02_build_protocols.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["", "paths", "corpus", "demo", "compute"])
