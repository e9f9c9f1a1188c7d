"""The networks: they live in models/ at the root of a checkout.

An installed package has them as the folder sourcetracing/models, which hides this file (pyproject.toml puts it there), so that no package
called `models` lands in anybody's site-packages. Either way they are imported as `sourcetracing.models.<kind>.<module>`.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[1] / "models")]
