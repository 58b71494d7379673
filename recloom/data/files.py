"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path


def write_atomically(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `file`, then rename it; nothing is left if `write` fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(file: Path, text: str) -> None:
    """A whole text in UTF-8, or what was there before."""
    write_atomically(file, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def others_in(folder: Path, own: Iterable[str]) -> list[str]:
    """The names in a folder that match none of its `own` (names or patterns); none where there is no folder."""
    patterns = tuple(own)
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(entry.name for entry in found if not any(fnmatchcase(entry.name, pattern) for pattern in patterns))


@contextmanager
def folder_atomically(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its name (replacing it) when the block ends without an error.

    Where `folder` is a link, what it points to is replaced.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        old = temporary.with_name(temporary.name + "-old")
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(temporary, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
