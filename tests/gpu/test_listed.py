"""Each file of the project with code for CUDA has tests in test_cuda.py, which are listed as not run where there is no such device."""

from __future__ import annotations

import ast
import re

from tests.support.places import ROOT

FOR_CUDA = re.compile(r"""["']cuda["']|torch\.cuda\.|is_cuda|pin_memory""")
# file -> tests that go through its branches for CUDA
TESTS = {
    "sourcetracing/runtime/compute.py": [
        "test_marks_measure_the_gpu_s_work_and_a_copy_is_there_behind_its_mark",
        "test_auto_is_this_gpu_and_bf16_from_ampere_on",
        "test_rows_lie_on_the_gpu_where_they_fit_and_give_the_same_batches",
    ],
    "sourcetracing/runtime/process_group.py": ["test_two_gpus_train_together_what_one_trains"],
    "sourcetracing/training/within_round.py": ["test_killed_within_an_epoch_it_ends_with_the_same_bytes"],
    "sourcetracing/training/run_folder.py": ["test_a_run_says_which_gpu_it_was_made_on"],
    "sourcetracing/features/front_end.py": ["test_an_encoder_as_cuda_graphs_gives_what_it_gives_without"],
    "sourcetracing/features/encoder_batches.py": ["test_a_store_of_the_gpu_is_near_that_of_the_cpu_and_the_same_twice"],
    "sourcetracing/features/resolved.py": ["test_a_store_of_the_gpu_is_near_that_of_the_cpu_and_the_same_twice"],
    "models/backends/synced_batch_norm.py": ["test_two_gpus_train_together_what_one_trains"],
}
DECLARES = {"sourcetracing/settings/paths.py", "sourcetracing/features/ray_cluster.py"}  # the word as a choice; Ray counts GPUs itself


def test_every_file_with_code_for_cuda_has_its_tests():
    files = [path for folder in ("sourcetracing", "models", "scripts") for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if FOR_CUDA.search(path.read_text(encoding="utf-8"))}
    assert found - DECLARES == set(TESTS)
    tree = ast.parse((ROOT / "tests/gpu/test_cuda.py").read_text(encoding="utf-8"))
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for names in TESTS.values() for name in names} <= there
