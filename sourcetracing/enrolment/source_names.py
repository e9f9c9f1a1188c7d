"""What an enrolled source may be called: what every disk can have as a folder, and nobody takes for another one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from sourcetracing.errors import UserError
from sourcetracing.settings.names import invisible_sign, require_folder_name

_IN_NO_NAME = '<>:"/\\|?*'  # signs that no folder of Windows' disks can have in its name
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
BUT_FOR_FORM = "they differ in letter case or Unicode form alone, and would be one folder on some disks"


def require_source_name(name: str) -> None:
    """Raises `UserError` for a name that a folder on some disk cannot have, or that a command line would take for something else."""
    require_folder_name("NAME", name, _IN_NO_NAME)
    if name.startswith("."):
        raise UserError(f"NAME={name!r}: a name without a dot in front is expected: such folders are hidden")
    if name.startswith("-"):
        raise UserError(f"NAME={name!r} reads like a flag; begin with a letter")
    if name.endswith(".") or _folded(name.split(".")[0]).strip() in _DEVICES:
        what = "ends with a dot" if name.endswith(".") else "is the name of a device"
        raise UserError(f"NAME={name!r} {what}: folders on Windows' disks cannot be called so. Take another name")


def twin_of(name: str, others: Iterable[str]) -> str | None:
    """The first of other names that looks the same: but for letter case, Unicode form and width, and invisible signs. None without."""
    folded = _folded(name)
    return next((other for other in others if other != name and _folded(other) == folded), None)


def _folded(name: str) -> str:
    visible = "".join(sign for sign in name if not invisible_sign(sign))
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())
