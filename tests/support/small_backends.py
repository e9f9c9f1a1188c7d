"""Each back-end that takes features, so small that an epoch takes a second: name -> settings."""

SMALL_BACKENDS = {
    "aasist": ["backend=aasist", "aasist.channels=[4,4]", "aasist.gat_dims=[4,4]"],
    "resnet18": ["backend=resnet18", "resnet18.width=2"],
    "ecapa_tdnn": ["backend=ecapa_tdnn", "ecapa_tdnn.channels=8"],
    "embedding_head": [
        "backend=embedding_head",
        "embedding_head.hidden=8",
        "embedding_head.embedding=8",
        "metric_learning.classes_per_batch=3",
        "metric_learning.rows_per_class=3",
    ],
}
# Those that are fitted in one go: the number type changes nothing for them.
FITTED_BACKENDS = {name: [f"backend={name}", f"{name}.coefficients=[1,20]"] for name in ("statistics", "neighbours", "plain_neighbours")}
FITTED_BACKENDS["fingerprints"] = ["backend=fingerprints", "fingerprints.score=correlation"]
