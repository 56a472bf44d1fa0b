"""product_nuclear_norm by polar factors, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastgan.ops.product_nuclear_norm import reference, triton

pytestmark = pytest.mark.interpreter

#: Relative to the product of the Frobenius norms.
BOUND = {torch.float32: 1e-5, torch.float64: 1e-10}


def sizes(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.double(), dim=(1, 2)) * torch.linalg.vector_norm(y.double(), dim=(1, 2))


def assert_right(x: Tensor, y: Tensor) -> None:
    norm, error = triton.product_nuclear_norm(x, y, None)
    expected, _ = reference.product_nuclear_norm(x.double(), y.double(), None)
    wrong = (norm.double() - expected).abs()
    assert (wrong <= BOUND[x.dtype] * sizes(x, y)).all(), (wrong / sizes(x, y)).max()
    assert (wrong <= error).all()


@pytest.mark.parametrize("dtype", BOUND, ids=str)
@pytest.mark.parametrize(("n", "m", "d"), [(5, 5, 40), (3, 8, 40), (33, 20, 40), (30, 12, 20)])
def test_norms_and_their_errors(n: int, m: int, d: int, dtype: torch.dtype) -> None:
    assert_right(torch.randn(2, n, d, dtype=dtype), torch.randn(2, m, d, dtype=dtype))


@pytest.mark.parametrize("rank", [1, 6, 24])
def test_more_samples_than_features_of_any_rank(rank: int) -> None:
    spectrum = torch.arange(1.0, rank + 1) ** -2
    assert_right((torch.randn(2, 60, rank) * spectrum) @ torch.randn(2, rank, 24), torch.randn(2, 50, 24))


def test_zeros() -> None:
    norm, error = triton.product_nuclear_norm(torch.zeros(1, 5, 9), torch.randn(1, 4, 9), None)
    assert norm.item() == 0 and error.item() == 0


def test_singular_values_where_more_accuracy_is_asked_for() -> None:
    x, y = torch.randn(2, 4, 30), torch.randn(2, 4, 30)
    assert torch.equal(triton.product_nuclear_norm(x, y, 1e-7)[0], reference.product_nuclear_norm(x, y, 1e-7)[0])
