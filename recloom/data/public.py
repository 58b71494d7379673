"""Named public data sets: where they can be had, how they are checked, how they are read.

`get("ml-100k")` looks in the cache, then tries the sources in order, and says in its notes what happened. What was
fetched is kept as it came (one file a source) and checked whenever it is read, so a damaged file is fetched again.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from recloom.data.files import write_atomically
from recloom.data.movielens import read_grouplens, read_recbole
from recloom.errors import InputError

CONNECT_SECONDS = 10
DOWNLOAD_SECONDS = 120
LARGEST = 64 * 2**20  # bytes; no archive or member here comes near
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, RuntimeError)

MOVIELENS_TERMS = (
    "MovieLens data by GroupLens, University of Minnesota: for research; no redistribution and no commercial use "
    "without permission; no endorsement implied. Cite F. M. Harper and J. A. Konstan, The MovieLens Datasets: "
    "History and Context, ACM TiiS 5(4), 2015. "
    "Full terms: https://files.grouplens.org/datasets/movielens/ml-100k-README.txt"
)

Frames = tuple[pl.DataFrame, pl.DataFrame]


class DataUnavailable(InputError):
    """A public data set could not be had from any of its sources; the message lists what each one said."""


class SourceError(Exception):
    """One source failed; the next is tried."""


@dataclass(frozen=True)
class Source:
    """One place that holds a data set in one zip archive.

    Args:
        name: as shown to people.
        address: a URL, or a pinned requirement (`recbole==1.2.1`) to download as a wheel from the user's package index.
        file: name of the archive in the cache.
        read: from the members' bytes, in the order of `members`, to `(log, items)`.
        members: path in the archive -> "sha256:..." or "" where the archive's own checksum vouches for it.
        checksum: "md5:..." or "sha256:..." of the whole archive, or "" where the members' vouch for it.
    """

    name: str
    address: str
    file: str
    read: Callable[..., Frames] = field(repr=False)
    members: Mapping[str, str] = field(repr=False)
    checksum: str = ""


@dataclass(frozen=True)
class PublicData:
    """A named data set: its sources in the order they are tried. Without sources it is made on the spot by `make`."""

    name: str
    title: str
    terms: str
    sources: tuple[Source, ...] = ()
    make: Callable[[], Frames] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PublicFrames:
    """What `get` returns.

    Args:
        log: `user_id, item_id, timestamp` (int64, seconds) and `rating` (int64) where there is one.
        items: `item_id, title, attributes` (list of strings) and `release_year` (int64) where there is one.
        terms: to be shown to the user once.
        source: the name of the source used.
        notes: what was tried and what failed, one line each.
    """

    log: pl.DataFrame
    items: pl.DataFrame
    terms: str
    source: str
    notes: list[str]


def available() -> list[PublicData]:
    """Return every public data set that `get` knows."""
    return list(PUBLIC.values())


def get(
    name: str, cache: str | os.PathLike[str] | None = None, progress: Callable[[str], None] | None = None
) -> PublicFrames:
    """Return a public data set, from the cache or from the first source that answers with the right content.

    Args:
        name: one of `available()`.
        cache: folder to keep downloads in; `$XDG_CACHE_HOME/recloom` or `~/.cache/recloom` by default.
        progress: called with one line at every step, among them all that end up in the notes.

    Raises:
        InputError: the name is not known.
        DataUnavailable: no source could be reached or none held the right content.
    """
    if name not in PUBLIC:
        raise InputError(f"no public data set is called {name!r}; there are: {', '.join(PUBLIC)}")
    data = PUBLIC[name]
    if data.make is not None:
        return PublicFrames(*data.make(), data.terms, "recloom.simulate", [])
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        if progress:
            progress(line)

    folder = (default_cache() if cache is None else Path(cache)) / name
    for source in data.sources:
        if frames := _from_cache(source, folder, note):
            return PublicFrames(*frames, data.terms, source.name, notes)
    for source in data.sources:
        if progress:
            progress(f"{name}: trying {source.name}")
        try:
            archive = fetch(source.address)
            frames = _open(source, archive)
        except SourceError as error:
            note(f"{name}: {source.name} failed: {error}")
            continue
        _keep(archive, folder / source.file, note)
        return PublicFrames(*frames, data.terms, source.name, notes)
    raise DataUnavailable(
        "\n  ".join([f"{name} could not be had from any source:", *notes])
        + '\nCheck the network or the package index, or use the data set "simulated", which needs neither.'
    )


def default_cache() -> Path:
    """Return the user's cache folder for recloom, by the XDG rules (a relative XDG_CACHE_HOME does not count)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~")  # stays "~" where there is no home
        base = os.path.join(home, ".cache") if os.path.isabs(home) else tempfile.gettempdir()
    return Path(base) / "recloom"


def fetch(address: str) -> bytes:
    """Return the archive at a URL, or the wheel of a pinned requirement; raise `SourceError` where there is none."""
    return download(address) if "://" in address else pip_download(address)


def download(url: str) -> bytes:
    """Return what a URL holds. Gives up after 10 s of silence, 2 minutes in all, or 64 MiB."""
    deadline, parts, size = time.monotonic() + DOWNLOAD_SECONDS, [], 0
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:
            while part := answer.read(1 << 16):
                parts.append(part)
                size += len(part)
                if size > LARGEST or time.monotonic() > deadline:
                    raise SourceError(f"gave up after {size:,} bytes")
    except urllib.error.HTTPError as error:
        raise SourceError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        raise SourceError(f"not reachable ({getattr(error, 'reason', None) or error})") from error
    return b"".join(parts)


def pip_download(requirement: str) -> bytes:
    """Return the wheel of one requirement, without what it depends on, from whatever index pip is configured for."""
    if importlib.util.find_spec("pip") is None:
        raise SourceError("pip is not installed in this environment")
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--no-input", "--disable-pip-version-check"]
    limits = [f"--timeout={CONNECT_SECONDS}", "--retries=1"]
    with tempfile.TemporaryDirectory(prefix="recloom-") as folder:
        command = [sys.executable, "-m", "pip", "download", *options, *limits, requirement, "--dest", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SourceError(f"pip did not finish ({type(error).__name__})") from error
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise SourceError(f"pip download failed ({lines[-1].strip() if lines else 'it gave no reason'})")
        return wheels[0].read_bytes()


def _open(source: Source, archive: bytes) -> Frames:
    """Check an archive and read it; raise `SourceError` when its content is not what it should be."""
    if not _matches(archive, source.checksum):
        raise SourceError(f"{source.file} has a wrong checksum ({len(archive):,} bytes): damaged or changed")
    parts = []
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            for member, checksum in source.members.items():
                if opened.getinfo(member).file_size > LARGEST:
                    raise SourceError(f"{member} is larger than it should be")
                parts.append(opened.read(member))
                if not _matches(parts[-1], checksum):
                    raise SourceError(f"{member} has a wrong checksum: damaged or changed")
        return source.read(*parts)
    except ZIP_ERRORS as error:
        raise SourceError(f"{source.file} is not the archive it should be ({error})") from error
    except (ValueError, IndexError, pl.exceptions.PolarsError) as error:
        raise SourceError(f"{source.file} could not be read ({error})") from error


def _matches(content: bytes, checksum: str) -> bool:
    if not checksum:
        return True
    kind, expected = checksum.split(":")
    return hashlib.new(kind, content, usedforsecurity=False).hexdigest() == expected


def _from_cache(source: Source, folder: Path, note: Callable[[str], None]) -> Frames | None:
    try:
        archive = (folder / source.file).read_bytes()
        return _open(source, archive)
    except OSError:
        return None
    except SourceError as error:
        note(f"{folder.name}: the copy in the cache is fetched again: {error}")
        return None


def _keep(archive: bytes, target: Path, note: Callable[[str], None]) -> None:
    """Put an archive into the cache, whole or not at all; a cache that cannot be written is only noted."""
    try:
        write_atomically(target, lambda file: file.write_bytes(archive))
    except OSError as error:
        note(f"{target.parent.name}: not kept in the cache ({error})")


def _simulated() -> Frames:
    from recloom.data.simulate import simulate

    shop = simulate()
    return shop.log, shop.items


_WHEEL = "recbole/dataset_example/ml-100k/ml-100k"

PUBLIC: dict[str, PublicData] = {
    "ml-100k": PublicData(
        name="ml-100k",
        title="MovieLens 100K: 100,000 ratings of 1,682 films by 943 users, with titles and genres",
        terms=MOVIELENS_TERMS,
        sources=(
            Source(
                name="GroupLens",
                address="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
                file="ml-100k.zip",
                read=read_grouplens,
                members={"ml-100k/u.data": "", "ml-100k/u.item": "", "ml-100k/u.genre": ""},
                checksum="md5:0e33842e24a9c977be4e0107933c0723",
            ),
            Source(
                name="the recbole 1.2.1 wheel",
                address="recbole==1.2.1",
                file="recbole-1.2.1.whl",
                read=read_recbole,
                members={
                    f"{_WHEEL}.inter": "sha256:4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
                    f"{_WHEEL}.item": "sha256:51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
                },
            ),
        ),
    ),
    "simulated": PublicData(
        name="simulated",
        title="A simulated shop: 2,000 users, 400 items in 4 intents; its best possible score is known",
        terms="Made by recloom on the spot; no terms.",
        make=_simulated,
    ),
}
