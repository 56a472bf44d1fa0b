"""polar_factor's Triton kernels, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.functional import polar_factor
from fastgan.ops.polar_factor import triton as kernels
from tests.ledger.launches import record_launches

pytestmark = pytest.mark.interpreter

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
#: Of products of numbers of size 1, n of them.
ERROR = {torch.float32: 2e-5, torch.float64: 1e-13}


def names(matrix: Tensor, steps: int = 4) -> list[str]:
    with record_launches() as launches, fastgan.use_backend("triton"):
        polar_factor(matrix, steps=steps)
    return [launch.name.removeprefix("polar_factor_").removesuffix("_kernel") for launch in launches]


def test_launches() -> None:
    assert names(torch.randn(3, 32, 32)) == ["resident"]
    step = ["symmetric", "product", "symmetric"]
    assert names(torch.randn(3, 33, 33)) == ["symmetric", *step * 4, "traces"]


@pytest.mark.parametrize(
    ("block", "n", "dtype"),
    [
        (64, 64, torch.float32),
        (64, 100, torch.float64),
        (64, 150, torch.float32),
        (128, 150, torch.float32),  # float64 has tiles of 64 alone
    ],
    ids=str,
)
def test_products(block: int, n: int, dtype: torch.dtype) -> None:
    """With an even and an odd number of tiles, whole and not."""
    products = kernels.Products(block, dtype)
    x, y = torch.randn(2, n, n, dtype=dtype), torch.randn(2, n, n, dtype=dtype)
    gram = products.symmetric(x, torch.empty_like(x))
    exact = x.double().mT @ x.double()
    assert (gram - exact).abs().max() <= ERROR[dtype] * exact.abs().max()
    assert torch.equal(gram.tril(-block), gram.mT.tril(-block)), "what is above the diagonal is a copy"
    quintic = torch.tensor([3.0, -2.0, 0.5], dtype=dtype)
    exact = 0.5 * gram.double() @ gram.double() - 2.0 * gram.double() + 3.0 * torch.eye(n)
    polynomial = products.symmetric(gram, torch.empty_like(x), quintic)
    assert (polynomial - exact).abs().max() <= ERROR[dtype] * exact.abs().max()
    exact = x.double() @ y.double()
    assert (products.product(x, y, torch.empty_like(x)) - exact).abs().max() <= ERROR[dtype] * exact.abs().max()
    traces = products.traces(x, gram, y)
    missing = x.double() - x.double() @ gram.double()
    exact = torch.stack([(x.double() * y).sum((1, 2)), (missing * y).sum((1, 2))], 1)
    size = torch.stack([(x.double() * y).abs().sum((1, 2)), (missing * y).abs().sum((1, 2))], 1)
    assert ((traces - exact).abs() <= ERROR[dtype] * size).all()


@each_dtype
@pytest.mark.parametrize("n", [20, 40])
def test_deficient_zero_and_not_finite(n: int, dtype: torch.dtype) -> None:
    matrices = torch.randn(4, n, n, dtype=dtype)
    matrices[0, 3:] = 0
    matrices[1] = 0
    matrices[2, 5, 7] = torch.nan
    matrices[3, 1, 1] = torch.inf
    with fastgan.use_backend("triton"):
        polar, nuclear_norm, residual = polar_factor(matrices, steps=9)
    exact = torch.linalg.svdvals(matrices[0]).sum()
    torch.testing.assert_close(nuclear_norm[0], exact, rtol={torch.float32: 1e-5, torch.float64: 1e-12}[dtype], atol=0)
    assert not polar[1].any() and nuclear_norm[1] == 0 and residual[1] == 0
    assert polar[2:].isnan().all() and nuclear_norm[2:].isnan().all()


def test_larger_tiles_from_the_size_on_that_has_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "LARGE", 130)
    matrix = torch.randn(1, 144, 144)
    with record_launches() as launches, fastgan.use_backend("triton"):
        actual = polar_factor(matrix, steps=6)
    grids = {launch.name: launch.grid for launch in launches}
    assert grids == {
        "polar_factor_symmetric_kernel": (6, 1),
        "polar_factor_product_kernel": (4, 1),
        "polar_factor_traces_kernel": (4, 1),
    }
    for ours, expected in zip(actual, polar_factor(matrix, steps=6), strict=True):
        torch.testing.assert_close(ours, expected, rtol=2e-5, atol=2e-5 * actual.nuclear_norm.item())
