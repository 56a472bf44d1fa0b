"""Neighbours and the counts made of them, against all distances in float64; ties, duplicates, far-off data included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastgan.functional import PRDC, distances, kth_neighbour_distance, precision_recall_density_coverage


@pytest.fixture(params=[7, 1024])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tiles that the samples fill many times over, and not at all."""
    monkeypatch.setattr(distances, "TILE", request.param)
    monkeypatch.setattr(distances, "_GATHERED", 64)
    return request.param


def _squared(x: Tensor, y: Tensor) -> Tensor:
    return (x.double()[:, None] - y.double()[None]).square().sum(-1)


def _balls(x: Tensor, k: int) -> Tensor:
    return _squared(x, x).fill_diagonal_(torch.inf).sort(1).values[:, k - 1]


def _by_all_distances(real: Tensor, fake: Tensor, k: int) -> PRDC:
    within = _squared(real, fake)
    in_real, in_fake = within < _balls(real, k)[:, None], within < _balls(fake, k)
    shares = (in_real.any(0), in_fake.any(1), in_real.sum(0).double() / k, in_real.any(1))
    return PRDC(*(share.double().mean() for share in shares))


def _pair(kind: str, seed: int) -> tuple[Tensor, Tensor, int]:
    random = torch.Generator().manual_seed(seed)
    n, m, d = torch.randint(2, 40, (3,), generator=random).tolist()
    k = int(torch.randint(1, min(n, m), (1,), generator=random))
    real, fake = (torch.randn(rows, d, generator=random) for rows in (n, m))
    if kind == "grid":  # many equal distances
        return real.round(), fake.round(), k
    if kind == "collapsed":  # all samples equal, on one side half of them
        return torch.ones_like(real), torch.where(torch.arange(m)[:, None] % 2 == 0, 1.0, fake), k
    if kind == "far":  # float32 keeps two digits of these distances beside the norms
        return real + 1e4, fake + 1e4, k
    if kind == "outlier":
        real[0] *= 1e4
        return real, fake, k
    if kind == "shell":  # all others at one distance but for parts in 10⁷, where rounding swaps any number of them
        real = torch.nn.functional.normalize(torch.randn(30, 64, generator=random))
        real = torch.cat([torch.zeros(1, 64), real * (1 + 1e-7 * torch.randn(30, 1, generator=random))])
        return real, real.flip(0)[:20], 5
    if kind == "mixed":
        return real.half(), fake.double(), k
    return real, fake, k


@pytest.mark.parametrize("kind", ["plain", "grid", "collapsed", "far", "outlier", "shell", "mixed"])
def test_counts_and_distances_are_those_of_float64(kind: str, tile: int) -> None:
    for seed in range(12):
        real, fake, k = _pair(kind, seed)
        expected = _balls(real, k).sqrt()
        torch.testing.assert_close(kth_neighbour_distance(real, k), expected, rtol=1e-14, atol=0)
        given = precision_recall_density_coverage(real, fake, k)
        torch.testing.assert_close(given, _by_all_distances(real, fake, k), rtol=1e-14, atol=0)


def test_a_pair_on_the_edge_is_decided_in_float64() -> None:
    """A fake sample lies one part in 10¹² within a ball's edge, or beyond it: float32 sees no difference."""
    real = torch.tensor([[0.0], [1.0], [50.0]], dtype=torch.float64)
    for beyond, expected in ((-1e-12, 1.0), (0.0, 0.0), (1e-12, 0.0)):
        fake = torch.tensor([[-1.0 - beyond], [-9.0]], dtype=torch.float64)
        # Half a million apart, tiles of float64 round these too.
        for offset in (0.0, 5e5):
            result = precision_recall_density_coverage(real + offset, fake + offset, 1)
            if offset == 0.0:
                assert result.precision == expected / 2
            assert torch.equal(torch.stack(result), torch.stack(_by_all_distances(real + offset, fake + offset, 1)))


def test_less_exact_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch may multiply float32 in fewer bits, and under autocast, counts stay exact."""
    real, fake = torch.randn(60, 30), torch.randn(50, 30)
    expected = _by_all_distances(real, fake, 3)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert distances.Points.centre_of(real).dtype == torch.float64
    monkeypatch.undo()
    products = torch.backends.mkldnn.matmul
    before = products.fp32_precision
    try:
        products.fp32_precision = "bf16"
        assert distances.Points.centre_of(real).dtype == torch.float64
    finally:
        products.fp32_precision = before
    assert distances.Points.centre_of(real).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(precision_recall_density_coverage(real, fake, 3), expected, rtol=1e-14, atol=0)


def test_bad_input_is_named() -> None:
    x = torch.randn(5, 4)
    with pytest.raises(TypeError, match=r"x must be float32, float64, float16 or bfloat16, got torch\.int64"):
        kth_neighbour_distance(x.long(), 1)
    with pytest.raises(ValueError, match=r"k must be in \[1, 4\] for x \[5, 4\], got 5"):
        kth_neighbour_distance(x, 5)
    with pytest.raises(TypeError, match="k must be an integer, got float"):
        kth_neighbour_distance(x, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"fake must be \[N, 4\] on cpu to match real, got \[5, 3\]"):
        precision_recall_density_coverage(x, x[:, :3], 1)
    with pytest.raises(ValueError, match=r"nearest_k must be in \[1, 1\] for fake \[2, 4\], got 2"):
        precision_recall_density_coverage(x, x[:2], 2)
    with pytest.raises(ValueError, match="real must be finite"):
        precision_recall_density_coverage(x.log(), x, 1)
