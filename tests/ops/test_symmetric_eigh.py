"""symmetric_eigh against LAPACK: sizes, spectra, gradings, scales, what is not finite, and the threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastgan.ops.symmetric_eigh import symmetric_eigh

DTYPES = [torch.float64, torch.float32]


def check(matrix: Tensor) -> None:
    """Eigenvalues, vectors that are orthonormal and put the matrix together again, within some n eps of its norm."""
    n, bound = matrix.shape[-1], 2 * (matrix.shape[-1] + 5) * torch.finfo(matrix.dtype).eps
    expected = torch.linalg.eigvalsh(matrix.double())
    # The rounding of a backward stable method is relative to the spectral norm: 256 for a matrix of 256² ones.
    size = expected.abs().amax(1).clamp_min(torch.finfo(matrix.dtype).tiny)
    eigenvalues, vectors = (x.double() for x in symmetric_eigh(matrix, True, "cpu"))
    alone, none = symmetric_eigh(matrix, False, "cpu")
    assert none.numel() == 0 and (alone.diff(dim=1) >= 0).all() and (eigenvalues.diff(dim=1) >= 0).all()
    for found in (eigenvalues, alone.double()):
        assert ((found - expected).abs().amax(1) / size).max() < bound
    together = (vectors * eigenvalues[:, None]) @ vectors.mT
    assert ((together - matrix.double()).abs().amax((1, 2)) / size).max() < bound
    assert (vectors.mT @ vectors - torch.eye(n)).abs().max() < bound


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 33, 100, 256, 257])
def test_sizes(n: int, dtype: torch.dtype) -> None:
    random = torch.randn(2, n, n, dtype=dtype)
    special = torch.stack([torch.zeros(n, n), torch.eye(n), torch.ones(n, n), torch.diag(torch.arange(n) - n / 2)])
    check(torch.cat([random + random.mT, special.to(dtype)]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("exponent", [-45, -36, -20, 0, 18, 37])
def test_scales_and_ranks(exponent: int, dtype: torch.dtype) -> None:
    """From denormal to almost the largest numbers, of every rank, with clusters and with gradings of 30 decades."""
    for n in (2, 5, 24):
        x = torch.randn(n + 1, n, n, dtype=torch.float64) * (torch.arange(n) < torch.arange(n + 1)[:, None, None])
        grades = 10.0 ** -(torch.rand(n, dtype=torch.float64) * 15)
        matrices = torch.cat([x @ x.mT, (x @ x.mT) * grades * grades[:, None]])
        check((matrices / matrices.abs().max() * 10.0**exponent).to(dtype))


def test_small_eigenvalues_of_graded_matrices_keep_their_digits() -> None:
    n = 40
    grades = 10.0 ** -(torch.arange(n, dtype=torch.float64) / 4)
    y = torch.randn(n, n, dtype=torch.float64) * 0.02
    matrix = (torch.eye(n) + y + y.mT) * grades * grades[:, None]
    inverse = torch.linalg.inv(torch.eye(n) + y + y.mT) / grades / grades[:, None]
    smallest = 1 / torch.linalg.eigvalsh(inverse)[-1]
    for graded in (matrix, matrix.flip(0, 1)):
        assert symmetric_eigh(matrix[None], False, "cpu")[0][0, 0].item() == pytest.approx(smallest.item(), rel=1e-10)
        assert symmetric_eigh(graded[None], True, "cpu")[0][0, -1].item() == pytest.approx(
            torch.linalg.eigvalsh(matrix)[-1].item(), rel=1e-13
        )


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_in_its_matrix(bad: float) -> None:
    matrix = torch.randn(3, 6, 6).square()
    matrix = matrix + matrix.mT
    expected = symmetric_eigh(matrix, True, "cpu")
    matrix[1, 4, 2] = bad
    for vectors in (True, False):
        eigenvalues, eigenvectors = symmetric_eigh(matrix, vectors, "cpu")
        assert eigenvalues[1].isnan().all() and eigenvectors[1 : 2 * vectors].isnan().all()
    for found, right in zip(symmetric_eigh(matrix, True, "cpu"), expected, strict=True):
        assert torch.equal(found[::2], right[::2])


def test_the_upper_triangle_is_not_read_and_threads_change_nothing() -> None:
    matrix = torch.randn(9, 20, 20, dtype=torch.float64)
    results = []
    for threads, x in ((1, matrix), (3, matrix), (2, matrix.tril() + torch.full_like(matrix, torch.nan).triu(1))):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            results.append(symmetric_eigh(x, True, "cpu"))
        finally:
            torch.set_num_threads(before)
    for eigenvalues, vectors in results[1:]:
        assert torch.equal(eigenvalues, results[0][0]) and torch.equal(vectors, results[0][1])
