"""Mean and covariance that parts are merged into, against numpy's of all samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastgan.metrics import moments


@pytest.mark.parametrize("d", [1, 5, 300])  # the last is more than one block of columns
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_parts_in_any_way(d: int, offset: float) -> None:
    x = torch.randn(90, d, dtype=torch.float64) + offset
    expected = np.cov(x.numpy().T).reshape(d, d)
    # Of numbers near a million, deviations are known to 1e-10.
    tolerance = 1e-13 if offset == 0 else 1e-8
    for sizes in ([90], [1, 89], [30, 0, 59, 1], [1] * 90):
        one, several = moments.empty(d), [moments.empty(d)]
        for part in x.split(sizes):
            moments.add(one, part)
            several.append(moments.empty(d))
            moments.add(several[-1], part)
        for merged in (one, moments.merge(torch.stack(several))):
            assert moments.number(merged) == 90
            np.testing.assert_allclose(moments.mean(merged), x.mean(0), rtol=1e-14, atol=1e-14)
            np.testing.assert_allclose(moments.covariance(merged), expected, rtol=tolerance, atol=tolerance)


def test_merging_changes_no_part() -> None:
    parts = torch.stack([moments.empty(3), moments.empty(3)])
    moments.add(parts[0], torch.randn(4, 3))
    before = parts.clone()
    moments.merge(parts)
    assert torch.equal(parts, before)


def test_float32_is_summed_in_float64() -> None:
    x = torch.randn(1000, 2) + 1000
    one = moments.empty(2)
    for part in x.split(7):
        moments.add(one, part)
    np.testing.assert_allclose(moments.covariance(one), np.cov(x.double().numpy().T), rtol=1e-11)
