"""The root of a positive semi-definite matrix: its square, repeated and vanishing eigenvalues, derivatives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.functional import sqrtm_psd
from tests.functional.spectra import SPECTRA, covariance, orthogonal, spectrum


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> Any:
    with fastgan.use_backend(request.param):
        yield request.param


@pytest.mark.parametrize("kind", SPECTRA)
@pytest.mark.parametrize("d", [1, 2, 17, 64, 130])
def test_against_known_eigenvalues(kind: str, d: int, backend: str) -> None:
    values, vectors = spectrum(kind, d), orthogonal(d, d)
    root = sqrtm_psd(covariance(vectors, values))
    # Rounding the matrix moves an eigenvalue by a few eps, and its root by that over twice the root.
    assert (root - covariance(vectors, values.sqrt())).abs().max() < 1e-14 + 1e-15 / values.min().sqrt()
    assert (root @ root - covariance(vectors, values)).abs().max() < 1e-13
    assert torch.equal(root, root.mT)


def test_singular_matrices(backend: str) -> None:
    u = orthogonal(12, 1)
    values = torch.arange(12, dtype=torch.float64).sub(4).clamp_min(0)
    root = sqrtm_psd(covariance(u, values))
    assert (root - covariance(u, values.sqrt())).abs().max() < 1e-13, "noise is no eigenvalue"
    assert (sqrtm_psd(torch.zeros(2, 3, 3)) == 0).all()


def symmetric_root(matrix: Tensor) -> Tensor:
    return sqrtm_psd((matrix + matrix.mT) / 2)


@pytest.mark.parametrize("kind", ["flat", "repeated", "geometric-1e-3"])
def test_derivatives_also_of_repeated_eigenvalues(kind: str, backend: str) -> None:
    matrices = torch.stack([covariance(orthogonal(4, i), spectrum(kind, 4)) for i in range(2)]).requires_grad_()
    assert torch.autograd.gradcheck(symmetric_root, matrices)
    assert torch.autograd.gradgradcheck(symmetric_root, matrices)


def test_third_derivative(backend: str) -> None:
    def third(function: Any, x: Tensor) -> Tensor:
        y = function(x)
        for _ in range(3):
            (y,) = torch.autograd.grad((y * weights).sum(), x, create_graph=True)
        return y

    weights = torch.randn(3, 3, dtype=torch.float64)
    diagonal = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    actual = third(lambda x: sqrtm_psd(torch.diag(x)), diagonal)
    torch.testing.assert_close(actual, third(lambda x: torch.diag(x.sqrt()), diagonal))


def test_whitening_has_finite_gradients_in_null_directions(backend: str) -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    sqrtm_psd(x.mT @ x).square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    torch.testing.assert_close(x.grad, 2 * x.detach(), msg="the square of the root is the matrix")


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"sqrtm_psd: matrix must be \[\.\.\., d, d\], got \[2, 3\]"):
        sqrtm_psd(torch.ones(2, 3))
    with pytest.raises(ValueError, match="sqrtm_psd: matrix must be finite"):
        sqrtm_psd(torch.full((2, 2), torch.nan))
    with pytest.raises(
        ValueError, match="sqrtm_psd: matrix must be positive semi-definite, got one with eigenvalues from -1"
    ):
        sqrtm_psd(torch.diag(torch.tensor([-1.0, 2.0])))
    with pytest.raises(TypeError, match="sqrtm_psd: matrix must be float32"):
        sqrtm_psd(torch.eye(3, dtype=torch.int32))
