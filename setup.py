"""Which folders of a checkout become which folders of the installed package; everything else is in pyproject.toml.

models/ and configs/ go inside sourcetracing/, so that no general name lands among a user's packages (sourcetracing/models.py and
sourcetracing/settings/places.py find them either way).
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["sourcetracing", "sourcetracing.*"]),
        *(f"sourcetracing.{name}" for name in find_packages(include=["models", "models.*"])),
        "sourcetracing.configs",
    ],
    package_dir={"sourcetracing.models": "models", "sourcetracing.configs": "configs"},
    package_data={"": ["**/templates/*", "**/*.csv", "**/*.md", "**/*.yaml"]},
)
