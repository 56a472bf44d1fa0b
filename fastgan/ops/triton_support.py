"""What every Triton backend shares: the import of Triton, which may fail, and where such kernels can run.

Backend modules take ``triton`` and ``tl`` from here. Without Triton both are stand-ins that let a module
with kernels be imported, so that it can say why it cannot serve; nothing in it can be launched.
"""

from __future__ import annotations

import os
from typing import Any

import torch

__all__ = ["interpreting", "tl", "triton", "unsupported_reason"]

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class _Absent:
    """Stands for ``triton`` and ``triton.language`` where they are not installed."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, function: Any = None, **_: Any) -> Any:
        return self if function is None else function


try:
    import triton
    import triton.language as tl

    _import_error = None
except ImportError as error:
    triton = tl = _Absent()
    _import_error = str(error)


def interpreting() -> bool:
    """Whether Triton's interpreter runs the kernels, on CPU tensors (TRITON_INTERPRET=1 before the import)."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    """Why Triton kernels cannot serve such tensors, or None where they can."""
    if _import_error is not None:
        return f"Triton cannot be imported ({_import_error}); pip install triton"
    if dtype not in _DTYPES:
        return f"no Triton kernel for {dtype}"
    if device_type == "cuda" or (device_type == "cpu" and interpreting()):
        return None
    return f"Triton kernels run on CUDA and HIP tensors, not on {device_type} (on the CPU with TRITON_INTERPRET=1)"
