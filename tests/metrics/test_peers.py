"""The packages that figures are published with: same features in, the same figure out, or by how much not."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from fastgan import functional, metrics
from fastgan.metrics import moments
from tests.peers import peer

#: Relative; where a test allows more, the peer is wrong by that.
RIGHT = 1e-6


class _Given(nn.Module):
    """torchmetrics' way to take features."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.num_features = d

    def forward(self, x: Tensor) -> Tensor:
        return x


def _pair(n: int = 60, m: int = 80, d: int = 12, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    mix = torch.randn(d, d, dtype=torch.float64)
    x, y = (torch.randn(rows, d, dtype=torch.float64) @ mix for rows in (n, m))
    return x + offset, 1.1 * y + offset + 0.2


def _fed(metric: Any, x: Tensor, y: Tensor) -> Any:
    for side, samples in ((True, x), (False, y)):
        for part in samples.split(25):
            metric.update(part, real=side)
    return metric.compute()


def _statistics(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(0).numpy(), np.cov(x.numpy(), rowvar=False)


def _pytorch_fid(x: Tensor, y: Tensor, monkeypatch: pytest.MonkeyPatch) -> float:
    module = peer("pytorch_fid.fid_score")
    if "disp" not in inspect.signature(scipy.linalg.sqrtm).parameters:
        # The argument is gone in SciPy 1.18, and with it pytorch-fid's only way to call it.
        root = scipy.linalg.sqrtm
        monkeypatch.setattr(module.linalg, "sqrtm", lambda a, disp=True: root(a) if disp else (root(a), 0.0))
    return float(module.calculate_frechet_distance(*_statistics(x), *_statistics(y)))


def _torch_fidelity_fid(x: Tensor, y: Tensor) -> float:
    statistics = [dict(zip(("mu", "sigma"), _statistics(samples), strict=True)) for samples in (x, y)]
    result = peer("torch_fidelity.metric_fid").fid_statistics_to_metric(*statistics, False)
    return float(result["frechet_inception_distance"])


def _torchmetrics_fid(x: Tensor, y: Tensor) -> float:
    metric = FrechetInceptionDistance(feature=_Given(x.shape[1])).set_dtype(torch.float64)
    return float(_fed(metric, x, y))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Matrix is singular")
@pytest.mark.parametrize(("n", "m", "d"), [(60, 80, 12), (10, 40, 16), (16, 17, 16)])
def test_frechet(n: int, m: int, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all ranks, small ones too: peers lose half of the digits there, which leaves more than six."""
    x, y = _pair(n, m, d)
    ours = float(_fed(metrics.FrechetDistance(None), x, y))
    assert _pytorch_fid(x, y, monkeypatch) == pytest.approx(ours, rel=RIGHT)
    assert _torch_fidelity_fid(x, y) == pytest.approx(ours, rel=RIGHT)
    assert _torchmetrics_fid(x, y) == pytest.approx(ours, rel=RIGHT)


def test_frechet_of_features_far_from_zero() -> None:
    """Torchmetrics subtracts sums of squares: of numbers near a million it is wrong by 1e-5, ours is not."""
    x, y = _pair(offset=1e6)
    centre = x.mean(0)
    exact = float(functional.frechet_distance_from_features(x - centre, y - centre))
    assert float(_fed(metrics.FrechetDistance(None), x, y)) == pytest.approx(exact, rel=1e-9)
    wrong = abs(_torchmetrics_fid(x, y) / exact - 1)
    assert 1e-6 < wrong < 1e-3


def test_one_line_is_swapped() -> None:
    """The same arguments, in the same places, with the same defaults; more of them by keyword alone."""
    swaps = {
        metrics.FrechetDistance: FrechetInceptionDistance,
        metrics.KernelDistance: KernelInceptionDistance,
        metrics.InceptionScore: InceptionScore,
    }
    for ours, theirs in swaps.items():
        mine, stock = (list(inspect.signature(c.__init__).parameters.values())[1:] for c in (ours, theirs))
        named = [p for p in stock if p.kind != inspect.Parameter.VAR_KEYWORD]
        assert [(p.name, p.default) for p in mine[: len(named)]] == [(p.name, p.default) for p in named]
        assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in mine[len(named) :])
        for method in ("update", "compute", "reset"):
            signatures = [list(inspect.signature(getattr(c, method)).parameters) for c in (ours, theirs)]
            assert signatures[0] == signatures[1]


def test_images_reach_a_module_as_in_torchmetrics() -> None:
    """A network of one's own gets images as they are, whatever `normalize` says."""

    class Pixels(_Given):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).double()

    real, fake = torch.rand(2, 20, 3, 2, 2)
    for normalize, images in ((True, (real, fake)), (False, [(255 * x).byte() for x in (real, fake)])):
        sides = [c(Pixels(12), normalize=normalize) for c in (metrics.FrechetDistance, FrechetInceptionDistance)]
        ours, theirs = (float(_fed(metric, *images)) for metric in sides)
        assert ours == pytest.approx(theirs, rel=RIGHT)


def test_kernel() -> None:
    x, y = _pair(50, 50)
    ours = functional.polynomial_mmd(x, y).item()
    # A subset of all samples is the same whatever is drawn.
    for metric in (metrics.KernelDistance(None, 3, 50), KernelInceptionDistance(_Given(12), 3, 50)):
        mean, deviation = _fed(metric, x, y)
        assert mean.item() == pytest.approx(ours, rel=RIGHT) and deviation.item() < 1e-9 * abs(ours)
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    kernel_mmd = peer("torch_fidelity.metric_kid").kernel_mmd
    assert kernel_mmd(x.numpy(), y.numpy(), **options) == pytest.approx(ours, rel=RIGHT)
    # Random subsets: another draw of the same estimate.
    x, y = _pair(400, 300)
    mean, deviation = _fed(metrics.KernelDistance(None, 60, 100), x, y)
    torch.manual_seed(1)
    their_mean, their_deviation = _fed(KernelInceptionDistance(_Given(12), 60, 100), x, y)
    assert abs(mean - their_mean) < 4 * their_deviation / 60**0.5
    assert deviation == pytest.approx(their_deviation.item(), rel=0.4)


def test_gaussian_kernel() -> None:
    """torch-fidelity's Gaussian kernel, of which the published CMMD takes the biased estimate."""
    x, y = _pair(30, 30)
    module = peer("torch_fidelity.metric_kid")
    kernels = [module.kernel_rbf(a.numpy(), b.numpy(), kid_kernel_rbf_sigma=10.0) for a, b in ((x, x), (x, y), (y, y))]
    expected = 1000 * module.mmd2(*kernels, mmd_est="biased")
    assert float(_fed(metrics.MaximumMeanDiscrepancy(None), x, y)) == pytest.approx(expected, rel=RIGHT)


def test_inception_score() -> None:
    logits = 2 * torch.randn(100, 9, dtype=torch.float64)
    ours = metrics.InceptionScore(None, splits=1)
    ours.update(logits)
    theirs = InceptionScore(_Given(9), splits=2)
    theirs.update(logits)
    score, deviation = ours.compute()
    assert deviation == 0
    module = peer("torch_fidelity.metric_isc")
    expected = module.isc_features_to_metric(logits, splits=1)["inception_score_mean"]
    assert score.item() == pytest.approx(expected, rel=RIGHT)
    parts = [functional.inception_score(part).item() for part in logits.chunk(10)]
    expected = module.isc_features_to_metric(logits, splits=10, shuffle=False)
    assert np.mean(parts) == pytest.approx(expected["inception_score_mean"], rel=RIGHT)
    assert np.std(parts) == pytest.approx(expected["inception_score_std"], rel=RIGHT)
    # Random splits: another draw of the same estimate.
    ours = metrics.InceptionScore(None, splits=2)
    ours.update(logits)
    (mean, deviation), (their_mean, _) = ours.compute(), theirs.compute()
    assert abs(mean - their_mean) < 0.1 * (mean - 1) and 0 < deviation < 0.1 * mean


def test_precision_to_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    import prdc

    x, y = _pair(300, 200, 8)
    ours = _fed(metrics.PrecisionRecallDensityCoverage(None), x, y)
    theirs = prdc.compute_prdc(x.numpy(), y.numpy(), 5)
    assert {name: value.item() for name, value in ours.items()} == pytest.approx(theirs, rel=1e-12)
    assert all(0.1 < value < 1.5 for value in theirs.values())
    ours = _fed(metrics.PrecisionRecallDensityCoverage(None, nearest_k=3), x, y)
    module = peer("torch_fidelity.metric_prc")
    theirs = module.prc_features_to_metric(y, x, prc_neighborhood=3, prc_batch_size=64, save_cpu_ram=True)
    for name in ("precision", "recall"):
        assert ours[name].item() == pytest.approx(theirs[name], rel=RIGHT)


def test_precision_to_coverage_far_from_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """Prdc subtracts squared norms: of features near thirty million it miscounts by percents, ours does not."""
    import prdc

    # Exact in either place, so that the right counts are those near zero.
    real, fake = (torch.randint(-64, 64, (n, 8)).double() / 16 for n in (200, 150))
    near, far = ([x + offset for x in (real, fake)] for offset in (0.0, 2.0**25))
    exact = {name: value.item() for name, value in _fed(metrics.PrecisionRecallDensityCoverage(None), *near).items()}
    ours = _fed(metrics.PrecisionRecallDensityCoverage(None), *far)
    assert {name: value.item() for name, value in ours.items()} == exact
    theirs = prdc.compute_prdc(*(x.numpy() for x in near), 5)
    assert theirs == pytest.approx(exact, rel=1e-12)
    theirs = prdc.compute_prdc(*(x.numpy() for x in far), 5)
    assert 0.01 < abs(theirs["density"] / exact["density"] - 1) < 1


def test_moments_are_numpys() -> None:
    x, _ = _pair()
    seen = moments.empty(12)
    moments.add(seen, x)
    for given, expected in zip((moments.mean(seen), moments.covariance(seen)), _statistics(x), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-12)
