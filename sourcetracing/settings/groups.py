"""Which groups of settings decide what: scripts put their `uses`, the groups that --help shows, together from these.

Groups of single front-ends and back-ends come from their registries, so that --help shows those of a new part as well.
"""

from __future__ import annotations

from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.frontends import FRONTENDS

CORPUS = ("", "paths", "corpus", "demo", "mlaad", "mcl_mlaad", "folder")  # "" = the settings without a group
STORE = ("", "paths", "corpus", "audio", "augment", "rawboost", *(name for name, entry in FRONTENDS.items() if entry.options), "store")
_LEARNERS = (*(name for name, entry in BACKENDS.items() if entry.options), "finetune", "metric_learning")
RUN = (*STORE, *_LEARNERS, "train", "evaluation", "compute")
EXPERIMENT = (*RUN, "experiment", "speakers", "executor")  # which runs there are, and in which stores they find their features
