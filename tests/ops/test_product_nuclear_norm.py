"""product_nuclear_norm: which of its ways a matrix takes, and that all give the same."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from fastgan.functional import product_nuclear_norm
from fastgan.ops import singular_sums


def test_eigenvalues_only_where_they_will_do() -> None:
    """Of a batch, matrices with small singular values go by these, the others by the eigenvalues of their squares."""
    x = torch.randn(3, 6, 20, dtype=torch.float64)
    x[1] *= 10.0 ** -torch.arange(6.0)[:, None] * 10
    y = torch.randn(3, 8, 20, dtype=torch.float64)
    y[1, :, 6:] = 0
    expected = torch.linalg.svdvals(x @ y.mT).sum(-1)
    with mock.patch.object(singular_sums, "_by_singular_values", wraps=singular_sums._by_singular_values) as slow:
        norm, error = product_nuclear_norm(x, y, return_error=True)
        assert ((norm - expected).abs() <= error.clamp_min(1e-14 * expected)).all()
        assert all(len(call.args[0]) == 1 for call in slow.call_args_list)
        before = slow.call_count
        singular_sums.of_matrices(x @ y.mT, lambda: torch.ones(3), 1e-30)
        assert slow.call_count == before + 1 and len(slow.call_args.args[0]) == 3


@pytest.mark.parametrize(("m", "n"), [(4, 5), (4, 50), (50, 4), (50, 60)])
def test_samples_and_features_either_way_round(m: int, n: int) -> None:
    x, y = torch.randn(2, m, 10, dtype=torch.float64), torch.randn(2, n, 10, dtype=torch.float64)
    norm, error = product_nuclear_norm(x, y, return_error=True)
    expected = torch.linalg.svdvals(x @ y.mT).sum(-1)
    assert ((norm - expected).abs() <= error).all() and (error < 1e-10 * expected).all()
