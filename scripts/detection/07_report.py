"""07 - One page of everything: layers, mixtures, pruning, augmentation, DET curves, scores, and what was chosen where.

Reads   exp/<name>/detection/files.csv, results/, scores/ and the folders of script 06; what is missing is named on the page
Writes  exp/<name>/detection/report.html (self-contained)
Costs   demo: about 10 s
Run     python scripts/detection/07_report.py configs/demo_detection.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.detection.report.page import write_detection_report
from sourcetracing.runtime.cli import run_script
from sourcetracing.settings.reading import ConfigSources


def main(config: ConfigSources) -> None:
    """Writes the page and shows what was chosen."""
    print("07 report", flush=True)
    print(write_detection_report(config.resolve()))
    print("next: open the report in a browser")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["", "paths", "detection", "logreg", "selection"])
