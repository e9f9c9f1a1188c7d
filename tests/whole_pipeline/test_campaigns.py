"""Miniatures of benchmarks/kill_campaign.py and disk_full_campaign.py: two scripts, killed and on full disks, end with the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

pytestmark = pytest.mark.slow
ONLY = "only=02_build,04_pre"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Shared, so that the scripts run undisturbed once."""
    return tmp_path_factory.mktemp("campaigns")


def campaign(name: str, folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), f"folder={folder}", ONLY, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_killed_beside_a_second_start(folder):
    done = campaign("kill_campaign", folder, "kills=3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 ended with the same bytes" in done.stdout


def test_on_a_disk_that_becomes_full(folder):
    probe = subprocess.run(["unshare", *(["--map-root-user"] if os.geteuid() else []), "--mount", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this system lets no user mount a disk of a few megabytes")
    done = campaign("disk_full_campaign", folder, "points=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 full disks: 2 ended in one line" in done.stdout
