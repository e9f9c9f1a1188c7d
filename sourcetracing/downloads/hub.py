"""Data sets of the Hugging Face Hub, through huggingface_hub.

Its variables hold: HF_TOKEN, HF_ENDPOINT (a mirror), HF_HUB_OFFLINE, and the proxies of the system. `snapshot_download` is not used, for it
lists a whole data set before it filters: MLAAD has several 100,000 files. Here only the wanted folders are listed, and a file that is there
with the listed size costs no request, since the library gives a file its name only once it is complete.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2  # what huggingface_hub speaks HTTP with; it passes its errors on
from huggingface_hub import HfApi, constants, hf_hub_download, is_offline_mode
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from tqdm import tqdm

from sourcetracing.downloads.archives import safe_name
from sourcetracing.downloads.records import byte_bar, checksum_of, require_free_space
from sourcetracing.errors import UserError
from sourcetracing.runtime.parallel import in_threads

NUM_WORKERS = 8
_COMMIT = re.compile("[0-9a-f]{40}")
_AGAIN = "run the same command again; it goes on from here"


@dataclass(frozen=True)
class HubListing:
    """Files of a data set at a commit."""

    commit: str
    files: dict[str, int]  # path in the data set -> bytes
    sha256: dict[str, str]  # path -> hex digest; the Hub knows it of large files and audio, not of small texts


def list_hub(hub_id: str, revision: str, folders: Sequence[str] | None = None, *, setting_name: str = "") -> HubListing:
    """The files of a data set below some folders; None = all of it.

    revision: a commit, or a branch or tag, which is looked up. setting_name: the setting that holds it, for messages.
    Raises `UserError`: unknown data set, revision or folder, terms not accepted, no network, offline mode.
    """
    with _plain_errors(hub_id, revision, setting_name):
        api = HfApi()
        # Without `expand` the answer would name every file of the data set.
        is_commit = _COMMIT.fullmatch(revision)
        commit = revision if is_commit else api.dataset_info(hub_id, revision=revision, expand=["sha"]).sha

        def list_folder(folder: str | None) -> list[RepoFile]:
            try:
                tree = api.list_repo_tree(hub_id, folder, recursive=True, revision=commit, repo_type="dataset")
                return [entry for entry in tree if isinstance(entry, RepoFile)]
            except RemoteEntryNotFoundError:
                raise UserError(f"data set {hub_id} has no folder {folder} at revision {revision} (setting {setting_name})") from None

        found = in_threads(list_folder, [None] if folders is None else folders, num_workers=NUM_WORKERS)
        entries = sorted((entry for _, part in found for entry in part), key=lambda entry: entry.path)
    sizes = {entry.path: entry.size for entry in entries}
    return HubListing(commit, sizes, {entry.path: entry.lfs.sha256 for entry in entries if entry.lfs})


def fetch_hub(hub_id: str, commit: str, files: Mapping[str, int], target: Path, *, sha256: Mapping[str, str] | None = None) -> None:
    """Fetches files of a data set into a folder, under their paths in the data set; what is there already is left alone.

    files: path -> bytes, as `list_hub` gives them; a file that is there is taken for complete if it has the listed size.
    sha256: path -> hex digest, as `list_hub` gives them, of the files whose bytes shall be compared on arrival.
    Raises `UserError`: terms not accepted, no network, offline mode with files missing, full disk, an unknown file, bytes other
    than listed.
    """
    missing = {path: size for path, size in files.items() if not _is_there(target / safe_name(f"data set {hub_id}", path), size)}
    if not missing:
        return
    if is_offline_mode():
        raise UserError(
            f"{target / next(iter(missing))} and {len(missing) - 1} more files are missing, but HF_HUB_OFFLINE is set. Unset it"
        )
    require_free_space(target, sum(missing.values()), f"the rest of {hub_id}")
    with _plain_errors(hub_id, commit, ""), byte_bar(f"fetch {hub_id}", sum(missing.values())) as progress:

        def fetch_one(path: str) -> None:
            _fetch_file(hub_id, commit, path, missing[path], (sha256 or {}).get(path), target)

        for path, _ in in_threads(fetch_one, missing, num_workers=NUM_WORKERS):
            progress.update(missing[path])


def _is_there(path: Path, size_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == size_bytes


def _fetch_file(hub_id: str, commit: str, path: str, size_bytes: int, sha256: str | None, target: Path) -> None:
    # The library keeps notes on what it fetched, and would believe them of a file that was spoilt later.
    (target / path).unlink(missing_ok=True)
    fetched = Path(hf_hub_download(hub_id, path, repo_type="dataset", revision=commit, local_dir=target, tqdm_class=_NoBar))
    found_bytes = fetched.stat().st_size
    if found_bytes != size_bytes:
        raise UserError(f"{fetched} has {found_bytes:,} bytes, and the list of {hub_id} says {size_bytes:,}. Run the same command again")
    if sha256 and checksum_of(fetched) != f"sha256:{sha256}":
        fetched.unlink()
        raise UserError(f"{path} of {hub_id} did not arrive as the Hub lists it (its SHA-256 differs); it was removed, {_AGAIN}")


class _NoBar(tqdm):
    """In place of the library's bar for each file."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "disable": True})


# errors


@contextmanager
def _plain_errors(hub_id: str, revision: str, setting_name: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # The library hides why it could not reach the Hub behind "not found on this disk".
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
        line = _plain_error(cause, hub_id, revision, f" (setting {setting_name})" if setting_name else "")
        if line is None:
            raise
        raise UserError(line) from None


def _plain_error(error: BaseException, hub_id: str, revision: str, see: str) -> str | None:
    match error:
        case GatedRepoError():
            return (
                f"data set {hub_id} is gated: accept the terms at https://huggingface.co/datasets/{hub_id}, make a token at "
                f"https://huggingface.co/settings/tokens, set HF_TOKEN to it, and {_AGAIN}"
            )
        case RepositoryNotFoundError():
            advice = f"check the name, or set HF_TOKEN{see}"
            return f"data set {hub_id} does not exist at {constants.ENDPOINT}, or is private: {advice}"
        case RevisionNotFoundError():
            return f"data set {hub_id} has no revision {revision}{see}"
        case RemoteEntryNotFoundError():
            return f"data set {hub_id} at revision {revision} does not hold {error.response.url}"
        case OfflineModeIsEnabled():
            return f"data set {hub_id} cannot be listed or fetched: HF_HUB_OFFLINE is set. Unset it"
        case HFValidationError():
            return f"{hub_id!r} is no name of a data set{see}: {_first_line(error)}"
        case HfHubHTTPError() if error.response.status_code == 401:
            return f"{constants.ENDPOINT} does not accept the token in HF_TOKEN: {_first_line(error)}"
        case HfHubHTTPError():
            hint = " (with HF_TOKEN set, more requests are allowed)" if error.response.status_code == 429 else ""
            said = error.server_message or error.response.reason_phrase
            return f"{constants.ENDPOINT} answered {error.response.status_code} {said} for data set {hub_id}{hint}. Later, {_AGAIN}"
        case httpx2.RequestError() | httpx2.InvalidURL():
            return (
                f"{constants.ENDPOINT} cannot be reached ({_first_line(error)}). Check the network, its proxy and HF_ENDPOINT, and {_AGAIN}"
            )
        case FileMetadataError() | json.JSONDecodeError():
            return f"{constants.ENDPOINT} does not answer as the Hugging Face Hub does. Check HF_ENDPOINT and the network's login page"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no space is left on the disk for data set {hub_id}. Free some, and {_AGAIN}"
        case OSError() if error.errno is None:  # a file that arrived too short, many times
            return f"data set {hub_id}: {_first_line(error)} Check the network, and {_AGAIN}"
        case RuntimeError():  # all that the Hub's own protocol, Xet, has to say of a failure
            return f"data set {hub_id}: {_first_line(error)}. With HF_HUB_DISABLE_XET=1 it comes over plain HTTP; {_AGAIN}"
    return None


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
