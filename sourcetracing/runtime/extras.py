"""Packages that only some work needs (the extras of pyproject.toml): imported where that work begins, and missed in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from sourcetracing.errors import UserError
from sourcetracing.settings.places import IS_CHECKOUT

_PACKAGES = {"umap": "umap-learn", "webrtcvad": "webrtcvad-wheels"}  # module -> package; the others differ by - for _ alone
ABSENT = "absent"
_BY_HAND = {"resemblyzer": "pip install --no-deps resemblyzer==0.1.4"}  # asks for webrtcvad, which needs a C compiler


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Around an import: raises `UserError` that names a missing package, and the command that installs all of `extra`.

    what: the setting or the work that needs it, as the user knows it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in ("", "sourcetracing"):
            raise
        package = _PACKAGES.get(module, module.replace("_", "-"))
        raise UserError(f"{what} needs the package {package}; install it with: {_command(module, extra)}") from None


def _command(module: str, extra: str) -> str:
    project = f"pip install '{'.' if IS_CHECKOUT else 'sourcetracing'}[{extra}]'"
    return f"{project} && {_BY_HAND[module]}" if module in _BY_HAND else project


def version_of(package: str) -> str:
    """The version that is installed, ABSENT for none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ABSENT
