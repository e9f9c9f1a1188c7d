"""Imported first by every script here: makes `import sourcetracing` work from any folder, installed or not."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
