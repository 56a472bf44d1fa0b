"""symmetric_eigh's CUDA launcher and kernel, run on the CPU through the emulation, against LAPACK in float64."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from fastgan.ops import cuda_source
from fastgan.ops.symmetric_eigh import cuda

from .emulate import ORDERS, ROOT, Kernels, build, emulated, needs_emulation
from .guarded import Arena, allocations

pytestmark = needs_emulation

DTYPES = (torch.float32, torch.float64)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
#: Errors relative to the largest eigenvalue, in units of the type's rounding: rotations add theirs up.
ROUNDINGS = 20


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return build(ROOT / "csrc" / "cuda" / "symmetric_eigh.cu")


@pytest.fixture
def gpu(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Call it with an order: the launcher then runs on CPU tensors, as on a GPU with an H100's shared memory."""
    monkeypatch.setattr(cuda_source, "shared_memory", lambda device: 227 * 1024)
    kernels.launches.clear()

    def set_order(order: int) -> None:
        monkeypatch.setattr(cuda_source, "function", emulated(kernels, order))

    set_order(0)
    return set_order


def rotated(values: Tensor) -> Tensor:
    """A symmetric matrix with those eigenvalues [n], in float64."""
    basis = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64)).Q
    matrix = (basis * values) @ basis.T
    return (matrix + matrix.T) / 2


def spectra(n: int) -> dict[str, Tensor]:
    """Matrices [n, n] with all that eigenvalues can have: both signs, multiplicities, ranks, sizes apart."""
    scale = torch.arange(n, dtype=torch.float64) / max(1, n - 1)
    blocks = torch.block_diag(rotated(scale[: n // 2] + 1), rotated(scale[n // 2 :] - 2))
    return {
        "normal": rotated(torch.randn(n, dtype=torch.float64)),
        "repeated": rotated((scale * 3).round()),
        "power law": rotated(10.0 ** (-12 * scale)),
        "rank one": rotated((scale == 1).double()),
        "opposite": rotated(torch.where(scale < 0.5, -1.0, 1.0).double()),
        "diagonal": torch.diag(torch.randn(n, dtype=torch.float64)),
        "blocks": blocks,
        "zero": torch.zeros(n, n, dtype=torch.float64),
    }


def check(matrices: Tensor, side: str = "end") -> tuple[Tensor, Tensor]:
    """Fail unless the launcher gives eigenvalues in order and eigenvectors that belong to them."""
    arena = Arena(side)
    with allocations(arena):
        given = arena.copy(matrices)
        alone, nothing = cuda.symmetric_eigh(given, False)
        eigenvalues, eigenvectors = cuda.symmetric_eigh(given, True)
        arena.check()
    assert nothing.numel() == 0
    assert torch.equal(alone, eigenvalues), "the eigenvalues do not depend on whether vectors are asked for"
    wide, vectors = matrices.double(), eigenvectors.double()
    exact = torch.linalg.eigvalsh(wide)
    scale = exact.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    bound = ROUNDINGS * torch.finfo(matrices.dtype).eps
    assert (eigenvalues.diff(dim=-1) >= 0).all()
    assert ((eigenvalues.double() - exact).abs() / scale).max() <= bound
    identity = torch.eye(matrices.shape[-1], dtype=torch.float64)
    assert (vectors.mT @ vectors - identity).abs().max() <= bound
    residual = wide.tril() + wide.tril(-1).mT
    residual = residual @ vectors - vectors * eigenvalues.double()[:, None]
    assert (residual.abs() / scale[..., None]).max() <= bound
    return eigenvalues, eigenvectors


@pytest.mark.proves("emulated", op="symmetric_eigh", backend="cuda", derivatives=("forward",))
@each_dtype
@pytest.mark.parametrize("n", [1, 2, 3, 8, 33, 50])
def test_spectra(gpu: Any, n: int, dtype: torch.dtype) -> None:
    check(torch.stack(list(spectra(n).values())).to(dtype))


@each_dtype
def test_the_largest(gpu: Any, dtype: torch.dtype) -> None:
    check(spectra(128)["power law"][None].to(dtype), "start")


@each_dtype
def test_orders_of_warps_and_blocks_give_the_same_bits(gpu: Any, dtype: torch.dtype) -> None:
    matrices = torch.stack([rotated(torch.randn(21, dtype=torch.float64)) for _ in range(3)]).to(dtype)
    results = []
    for order in ORDERS:
        gpu(order)
        results.append(check(matrices, ("start", "end")[order % 2]))
    for eigenvalues, eigenvectors in results[1:]:
        assert torch.equal(eigenvalues, results[0][0]) and torch.equal(eigenvectors, results[0][1])


@each_dtype
@pytest.mark.parametrize("power", [-1.0, 1.0])
def test_sizes_at_the_ends_of_the_type(gpu: Any, power: float, dtype: torch.dtype) -> None:
    """A power of two of the matrix gives that of the eigenvalues, where squares would overflow or vanish."""
    factor = 2.0 ** (power * {torch.float32: 110, torch.float64: 950}[dtype])
    matrix = rotated(torch.randn(9, dtype=torch.float64))[None].to(dtype)
    plain, vectors = cuda.symmetric_eigh(matrix, True)
    scaled, same = cuda.symmetric_eigh(matrix * factor, True)
    assert torch.equal(scaled, plain * factor) and torch.equal(same, vectors)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_spoils_its_matrix_alone(gpu: Any, bad: float) -> None:
    matrices = torch.stack([rotated(torch.randn(6, dtype=torch.float64)) for _ in range(3)])
    matrices[1, 4, 2] = bad
    eigenvalues, eigenvectors = cuda.symmetric_eigh(matrices, True)
    assert eigenvalues[1].isnan().all() and eigenvectors[1].isnan().all()
    assert eigenvalues[[0, 2]].isfinite().all() and eigenvectors[[0, 2]].isfinite().all()


def test_only_the_lower_triangle_is_read(gpu: Any) -> None:
    matrix = rotated(torch.randn(7, dtype=torch.float64))[None]
    spoilt = matrix + torch.ones(7, 7).triu(1)
    for a, b in zip(cuda.symmetric_eigh(matrix, True), cuda.symmetric_eigh(spoilt, True), strict=True):
        assert torch.equal(a, b)


def test_empty_batches_launch_nothing(gpu: Any, kernels: Kernels) -> None:
    for shape in ((0, 4, 4), (3, 0, 0)):
        eigenvalues, eigenvectors = cuda.symmetric_eigh(torch.empty(shape), True)
        assert eigenvalues.shape == shape[:2] and eigenvectors.shape == shape
    assert kernels.launches == []


H100, A100 = 227 * 1024, 163 * 1024


@pytest.mark.parametrize(
    ("batch", "n", "dtype", "vectors", "shared", "server"),
    [
        (1000, 50, torch.float64, True, A100, "kernel"),
        (1, 128, torch.float64, True, H100, "kernel"),
        (1, 128, torch.float32, True, A100, "kernel"),
        (9, 117, torch.float64, True, A100, "kernel"),
        (9, 118, torch.float64, True, A100, "cupy"),
        (9, 128, torch.float64, False, A100, "kernel"),
        (8, 129, torch.float32, True, H100, "cupy"),
        (8, 513, torch.float32, True, H100, "torch"),
        (7, 129, torch.float32, True, H100, "torch"),
    ],
    ids=str,
)
def test_who_serves(batch: int, n: int, dtype: torch.dtype, vectors: bool, shared: int, server: str) -> None:
    assert cuda.choose(batch, n, dtype.itemsize, vectors, shared) == server


@pytest.mark.parametrize("vectors", [False, True])
def test_larger_ones_go_to_cupy(gpu: Any, monkeypatch: pytest.MonkeyPatch, vectors: bool) -> None:
    """With torch's own solver in the place of CuPy's: what goes in, and what is made of what comes out."""
    calls = []

    def eigh(array: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(tuple(array.shape))
        return torch.linalg.eigh(array)  # eigenvectors in columns, as cuSOLVER's

    linalg = SimpleNamespace(eigh=eigh, eigvalsh=lambda array: eigh(array)[0])
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(from_dlpack=torch.from_dlpack, linalg=linalg))
    monkeypatch.setattr(cuda_source, "current_stream", lambda index: nullcontext())
    matrices = torch.stack([rotated(torch.randn(130, dtype=torch.float64)) for _ in range(8)])
    eigenvalues, eigenvectors = cuda.symmetric_eigh(matrices, vectors)
    assert calls == [(8, 130, 130)]
    torch.testing.assert_close(eigenvalues, torch.linalg.eigvalsh(matrices))
    if vectors:
        assert eigenvectors.is_contiguous()
        torch.testing.assert_close(matrices @ eigenvectors, eigenvectors * eigenvalues[:, None])
