"""symmetric_eigh by csrc/cuda/symmetric_eigh.cu, a block for each matrix, and by CuPy's or torch's cuSOLVER beyond it.

Which one serves depends on the shape and on the GPU's shared memory, in this order:

1. the kernel, where the matrix fits a block: n ≤ 128, in float64 on GPUs with 164 KiB of it (sm_80) n ≤ 117;
2. CuPy's ``linalg.eigh``, which gives a whole batch to cuSOLVER's ``syevjBatched`` at once: n ≤ 512 and a batch of 8;
3. ``torch.linalg.eigh``.

The bounds of 2 have not been measured on a GPU. Only the kernel can be captured in a CUDA graph.
"""

from __future__ import annotations

import importlib

import numpy as np
import torch
from torch import Tensor

from fastgan.ops import cuda_source
from fastgan.ops.symmetric_eigh import reference

__all__ = ["choose", "plan", "symmetric_eigh", "unsupported_reason"]

# These two are the kernel's own.
MOST_ROWS = 128
MOST_THREADS = 512
#: Bytes of a block's shared memory that the kernel has beside the matrices, at most.
OWN_SHARED = 2176
#: Pairs of rows whose elements a warp rotates in turn.
PAIRS_PER_WARP = 4
#: What CuPy's batched solver gets beyond the kernel.
CUPY_MOST_ROWS = 512
CUPY_LEAST_BATCH = 8

_SUFFIXES = {torch.float32: "f32", torch.float64: "f64"}


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    if device_type != "cuda":
        return f"serves CUDA tensors, not {device_type}"
    if dtype not in _SUFFIXES:
        return f"does not serve {dtype}"
    return cuda_source.unavailable_reason("symmetric_eigh")


def plan(n: int, itemsize: int, vectors: bool) -> tuple[int, int]:
    """Threads of a block, and bytes of shared memory: the lower triangle, and eigenvectors in rows of odd length."""
    warps = max(1, min(MOST_THREADS // 32, n // (2 * PAIRS_PER_WARP)))
    elements = n * (n + 1) // 2 + (n * (n | 1) if vectors else 0)
    return 32 * warps, elements * itemsize


def choose(batch: int, n: int, itemsize: int, vectors: bool, shared: int) -> str:
    """Who serves: "kernel", "cupy" or "torch", on a GPU with `shared` bytes of shared memory for a block."""
    if n <= MOST_ROWS and plan(n, itemsize, vectors)[1] + OWN_SHARED <= shared:
        return "kernel"
    return "cupy" if n <= CUPY_MOST_ROWS and batch >= CUPY_LEAST_BATCH else "torch"


def _by_cupy(matrix: Tensor, vectors: bool) -> tuple[Tensor, Tensor]:
    cupy = importlib.import_module("cupy")
    with torch.cuda.device_of(matrix), cuda_source.current_stream(matrix.get_device()):
        array = cupy.from_dlpack(matrix.detach())
        if not vectors:
            return torch.from_dlpack(cupy.linalg.eigvalsh(array)), matrix.new_empty(0)
        eigenvalues, eigenvectors = (torch.from_dlpack(x) for x in cupy.linalg.eigh(array))
        return eigenvalues, eigenvectors.contiguous()


def symmetric_eigh(matrix: Tensor, vectors: bool) -> tuple[Tensor, Tensor]:
    batch, n, _ = matrix.shape
    server = choose(batch, n, matrix.element_size(), vectors, cuda_source.shared_memory(matrix.device))
    if server == "cupy":
        return _by_cupy(matrix, vectors)
    if server == "torch":
        return reference.symmetric_eigh(matrix, vectors)
    matrix = matrix.contiguous()
    eigenvalues = torch.empty(batch, n, dtype=matrix.dtype, device=matrix.device)
    eigenvectors = torch.empty_like(matrix) if vectors else matrix.new_empty(0)
    if matrix.numel() > 0:
        threads, shared = plan(n, matrix.element_size(), vectors)
        addresses = (matrix.data_ptr(), eigenvalues.data_ptr(), eigenvectors.data_ptr() if vectors else 0)
        launch = cuda_source.function(
            "symmetric_eigh", f"symmetric_eigh_kernel_{_SUFFIXES[matrix.dtype]}", matrix.device
        )
        launch((batch,), (threads,), (*addresses, np.int32(n)), shared)
    return eigenvalues, eigenvectors
