"""Recipes that are not fastgan's own, named by the file or the module that they are in."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

from .config import ConfigError

__all__ = ["load_class", "reference"]

# Modules loaded from files are kept under names of this kind, for one file is one module.
_PREFIX = "_fastgan_recipe_"


def load_class(name: str) -> Any:
    """What ``FILE.py:CLASS`` or ``MODULE:CLASS`` names; ConfigError where it is not there.

    A file is run once in a process. An error in it is the author's to see, and goes through.
    """
    place, _, attribute = name.rpartition(":")
    module = _from_file(Path(place).expanduser()) if place.endswith(".py") else _from_module(place)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigError(f"{place} has no {attribute!r}") from None


def reference(cls: type) -> str:
    """The name by which ``load_class`` finds ``cls`` from anywhere on this machine."""
    module = cls.__module__
    place = str(sys.modules[module].__file__) if module.startswith(_PREFIX) else module
    return f"{place}:{cls.__qualname__}"


def _from_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    name = f"{_PREFIX}{zlib.crc32(str(path).encode()):08x}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None  # it ends in .py
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up while it runs
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _from_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # What the module itself imports and does not find is another matter.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(f"no module {name!r}; a file is named as in path/to/file.py:CLASS") from None
