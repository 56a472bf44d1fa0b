"""fastgan: fused kernels for adversarial training.

The public names are resolved when first used, so importing the package costs neither torch's
compiler stack nor Triton nor CuPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgan import augment, features, functional, metrics, nn, penalties
    from fastgan.ops.precision import exact_convolutions
    from fastgan.ops.registry import use_backend

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "augment",
    "exact_convolutions",
    "features",
    "functional",
    "metrics",
    "nn",
    "penalties",
    "use_backend",
]

_SUBMODULES = ("augment", "features", "functional", "metrics", "nn", "penalties")
_NAMES = {"exact_convolutions": "fastgan.ops.precision", "use_backend": "fastgan.ops.registry"}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"fastgan.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fastgan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
