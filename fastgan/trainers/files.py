"""Files of a run that are written whole or not at all, and errors that say which could not be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "writing"]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name ``path`` in any OSError raised inside, a full disk's for one, which rarely says what was written."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error})") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a temporary file, which takes the place of ``path`` at the end, or is gone after an error."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with writing(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
