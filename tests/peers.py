"""Libraries that tests compare with, apart from the environment's other packages (tests/peers.txt says why)."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock, patch

import torchmetrics  # noqa: F401  before torch-fidelity can be seen, which it would import

FOLDER = Path(sys.prefix) / "peers"
_TORCHVISION = [f"torchvision{name}" for name in ("", ".datasets", ".models", ".transforms", ".transforms.functional")]


def peer(module: str) -> ModuleType:
    """Import a module of a peer.

    torchvision, which peers import for their parts that load images and networks, is a stand-in meanwhile: what a test
    uses must not need it.
    """
    if not FOLDER.is_dir():
        raise ModuleNotFoundError(f"{FOLDER} is missing: pip install --no-deps --target {FOLDER} -r tests/peers.txt")
    if module not in sys.modules:
        with patch.object(sys, "path", [*sys.path, str(FOLDER)]), contextlib.ExitStack() as stack:
            for name in _TORCHVISION:
                # Not patch.dict, which would also forget what the peer imports.
                real = sys.modules.get(name)
                sys.modules[name] = MagicMock()
                stack.callback(_put_back, name, real)
            importlib.import_module(module)
    return sys.modules[module]


def _put_back(name: str, module: ModuleType | None) -> None:
    del sys.modules[name]
    if module is not None:
        sys.modules[name] = module
