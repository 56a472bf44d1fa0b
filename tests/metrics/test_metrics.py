"""What each metric does that the others do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fastgan import functional, metrics
from fastgan.features import FeatureNetwork


def _pair(n: int = 40, m: int = 50, d: int = 5) -> tuple[Tensor, Tensor]:
    mix = torch.randn(d, d, dtype=torch.float64)
    return torch.randn(n, d, dtype=torch.float64) @ mix, 1.2 * torch.randn(m, d, dtype=torch.float64) @ mix + 0.5


def test_names_cost_nothing_until_used() -> None:
    code = "import sys, fastgan; fastgan.metrics.__all__; print({'torchmetrics', 'scipy', 'triton'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert {name for name in dir(metrics) if name[0].isupper()} >= set(metrics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'FID'"):
        metrics.FID  # noqa: B018


@pytest.mark.parametrize("metric", [metrics.FrechetDistance, metrics.KernelDistance, metrics.InceptionScore])
def test_inception_is_never_replaced(
    metric: type[metrics.FrechetDistance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its weights there is an error that says how to get them."""
    monkeypatch.setattr("fastgan.features.fetch.cache_folder", lambda: tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"weights of the FID Inception-v3 are not in .*; get them with .*https://"
    ):
        metric()
    with pytest.raises(ValueError, match="unknown features"):
        metric("inception-v2")
    with pytest.raises(TypeError, match=r"feature must be a name, an integer, an nn\.Module or None, got float"):
        metric(1.5)  # type: ignore[arg-type]


class _Colours(FeatureNetwork):
    """Mean colours, which depend on nothing else; and a layer that would depend on the batch."""

    dim = 3
    title = "mean colours"

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images.float().mean((2, 3)))

    def logits(self, features: Tensor) -> Tensor:
        return 2 * features


def test_network_and_its_title() -> None:
    images = torch.rand(30, 3, 4, 4) * torch.rand(30, 3, 1, 1)
    network = _Colours()
    distance = metrics.FrechetDistance(network)
    assert repr(distance) == "FrechetDistance(mean colours)" and distance.title == "mean colours"
    distance.train()  # as a part of a model
    distance.update(images[:15], real=True)
    distance.update(images[15:], real=False)
    features = network(images)
    expected = functional.frechet_distance_from_features(features[:15].double(), features[15:].double())
    assert distance.compute().item() == pytest.approx(expected.item(), rel=1e-12)
    assert not features.requires_grad or not distance.real_moments.requires_grad
    assert repr(distance).startswith("FrechetDistance(mean colours, estimated error ")
    # Of images in [0, 1] it is given 256 steps, as one that was found by its name.
    steps = metrics.FrechetDistance(network, normalize=True)
    steps.update(images[:15], real=True)
    steps.update(images[15:], real=False)
    assert steps.compute().item() == pytest.approx(255**2 * expected.item(), rel=0.05)
    score = metrics.InceptionScore(network, splits=1)
    score.update(images)
    assert score.compute()[0].item() == pytest.approx(functional.inception_score(2 * features).item(), rel=1e-6)


def test_frechet_with_a_reference(tmp_path: Path) -> None:
    x, y = _pair()
    whole = metrics.FrechetDistance(None, return_error=True)
    whole.update(x, real=True)
    whole.update(y, real=False)
    expected, error = whole.compute()
    assert 0 < error < 1e-10 * expected and whole.error == error
    metrics.FrechetReference.from_features(x).save(tmp_path / "real.safetensors")
    known = metrics.FrechetReference.load(tmp_path / "real.safetensors")
    metric = metrics.FrechetDistance(None, reference=known)
    metric.update(y, real=False)
    assert metric.compute().item() == pytest.approx(expected.item(), rel=1e-12)
    with pytest.raises(ValueError, match="real must be False where there is a reference"):
        metric.update(x, real=True)
    whole.rtol = 1e-30
    whole.update(y[:0], real=False)
    with pytest.raises(torch.linalg.LinAlgError, match="estimated error"):
        whole.compute()


def test_by_class() -> None:
    x, y = _pair(60, 75)
    x_labels, y_labels = torch.arange(60) % 3 + 4, torch.arange(75) % 3 + 4
    metric = metrics.ClassFrechetDistance(None, "none", return_error=True)
    mean = metrics.ClassFrechetDistance(None)
    for each in (metric, mean):
        each.update(x, x_labels, real=True)
        each.update(y, y_labels.int(), real=False)
    classes, distances, errors = metric.compute()
    expected = torch.stack([
        functional.frechet_distance_from_features(x[x_labels == c], y[y_labels == c]) for c in (4, 5, 6)
    ])  # fmt: skip
    assert classes.tolist() == [4, 5, 6] and (errors < 1e-10 * distances).all()
    torch.testing.assert_close(distances, expected, rtol=1e-12, atol=0)
    assert mean.compute().item() == pytest.approx(expected.mean().item(), rel=1e-12)
    metric.update(x[:2], torch.tensor([9, 9]), real=True)
    with pytest.raises(ValueError, match="classes must have samples on both sides; no fake ones of 9"):
        metric.compute()
    with pytest.raises(ValueError, match=r"labels must be \[60\] to match imgs \[60, 5\], got \[59\]"):
        metric.update(x, x_labels[1:], real=True)
    with pytest.raises(TypeError, match=r"labels must be a Tensor of integers, got torch\.float32"):
        metric.update(x, x_labels.float(), real=True)


def test_infinity_is_the_line_through_the_distances() -> None:
    """Two numbers of samples: with all of them, and with some that are a random subset of them."""
    x, y = _pair(200, 400)
    metric = metrics.FrechetDistanceInfinity(None, num_points=2, min_fake=100, return_error=True)
    metric.update(x, real=True)
    metric.update(y, real=False)
    result, error = metric.compute()
    at_all = functional.frechet_distance_from_features(x, y)
    # result = (400 d(400) - 100 d(100)) / 300, so this is what it makes of the subset:
    at_some = (400 * at_all - 300 * result) / 100
    assert error < 1e-9
    draws = torch.stack([functional.frechet_distance_from_features(x, y[torch.randperm(400)[:100]]) for _ in range(60)])
    assert draws.min() < at_some < draws.max()


def test_infinity_has_no_bias_by_fake_samples() -> None:
    """Of samples from the real Gaussian itself, whose distance to it is zero, distances are all bias."""
    mix = torch.randn(6, 6, dtype=torch.float64)
    real = torch.randn(50_000, 6, dtype=torch.float64) @ mix
    results = []
    for _ in range(40):
        metric = metrics.FrechetDistanceInfinity(None, num_points=6, min_fake=200)
        distance = metrics.FrechetDistance(None)
        fake = torch.randn(2000, 6, dtype=torch.float64) @ mix
        for each in (metric, distance):
            each.update(real, real=True)
            each.update(fake, real=False)
        results.append(torch.stack([metric.compute(), distance.compute()]))
    extrapolated, biased = torch.stack(results).mean(0)
    assert abs(extrapolated) < 0.4 * biased


def test_kernel_subsets() -> None:
    x, y = _pair(60, 70)
    metric = metrics.KernelDistance(None, subsets=5, subset_size=70)
    metric.update(x, real=True)
    metric.update(y, real=False)
    with pytest.raises(ValueError, match="subset_size must be at most the number of real samples, 60, got 70"):
        metric.compute()
    # Samples of a subset are drawn without replacement; another seed draws others.
    means = []
    for seed in (0, 0, 1):
        metric = metrics.KernelDistance(None, subsets=5, subset_size=30, seed=seed)
        metric.update(x, real=True)
        metric.update(y, real=False)
        means.append(metric.compute()[0].item())
    assert means[0] == means[1] != means[2]


def test_parzen_takes_the_likeliest_width() -> None:
    fake, real, held_out = torch.randn(3, 80, 2, dtype=torch.float64)
    metric = metrics.ParzenLogLikelihood([0.01, 0.4, 20.0])
    metric.update(fake, real=False)
    metric.update(real, real=True)
    with pytest.raises(ValueError, match="validation_features are missing"):
        metric.compute()
    metric.update(held_out, real=True, validation=True)
    mean, standard_error = metric.compute()
    assert metric.sigma_chosen == 0.4
    values = functional.parzen_log_likelihood(real, fake, 0.4)
    assert mean == values.mean() and standard_error == values.std() / 80**0.5
    with pytest.raises(ValueError, match="samples for validation must be real"):
        metric.update(fake, real=False, validation=True)
    given = metrics.ParzenLogLikelihood(0.4)  # nothing to choose
    given.update(fake, real=False)
    given.update(real, real=True)
    assert given.compute() == (mean, standard_error)


def test_float32_features_are_kept_as_they_are() -> None:
    """And half types as float32; the caller's tensor may change afterwards."""
    x, y = (z.float() for z in _pair())
    metric = metrics.PrecisionRecallDensityCoverage(None, 3)
    given = x.clone()
    metric.update(given, real=True)
    given.zero_()
    metric.update(y.half(), real=False)
    expected = functional.precision_recall_density_coverage(x, y.half(), 3)
    assert metric.compute() == expected._asdict()
    assert {part.dtype for part in metric.real_features + metric.fake_features} == {torch.float32}
