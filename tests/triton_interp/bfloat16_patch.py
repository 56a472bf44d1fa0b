"""Corrects Triton's CPU interpreter on bfloat16; for tests only (needed on Triton 3.6 to 3.9).

Its cast from float32 truncates where the GPU rounds to nearest even, and ``tl.dot`` multiplies the raw
bits. Arithmetic on bfloat16 itself stays wrong: kernels upcast on load, which their precision asks for
anyway.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as interpreter

_convert_float = interpreter._convert_float
_create_dot = interpreter.InterpreterBuilder.create_dot


def _to_bfloat16(x: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = (bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded.astype(np.uint16)).reshape(x.shape)


def _from_bfloat16(x: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(x).view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(x.shape)


def _convert(x: np.ndarray, source: tl.dtype, target: tl.dtype, rounding: Any) -> np.ndarray:
    toward_zero = rounding is not None and "rtz" in str(rounding).lower()
    if source == tl.float32 and target == tl.bfloat16 and not toward_zero:
        return _to_bfloat16(x)
    if source == tl.bfloat16 and target == tl.float32:
        return _from_bfloat16(x)
    return _convert_float(x, source, target, rounding)


def _dot(self: Any, a: Any, b: Any, accumulator: Any, *rest: Any) -> Any:
    def upcast(operand: Any) -> Any:
        if operand.dtype.scalar != tl.bfloat16:
            return operand
        return interpreter.TensorHandle(_from_bfloat16(operand.data), tl.float32)

    return _create_dot(self, upcast(a), upcast(b), accumulator, *rest)


def install() -> None:
    """Patch the interpreter of this process."""
    interpreter._convert_float = _convert
    interpreter.InterpreterBuilder.create_dot = _dot
