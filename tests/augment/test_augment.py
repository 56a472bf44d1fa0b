"""Augmentations against plain formulas, their derivatives, and the path of a penalty behind them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fastgan.augment import ADA, DiffAugment, RandomHorizontalFlip
from fastgan.penalties import R1
from tests.tape.stock import LOSSES, compare

POLICIES = ["color", "translation", "cutout", "color,translation,cutout"]
MODULES: dict[str, Callable[[], nn.Module]] = {
    "flip": RandomHorizontalFlip,
    **{policy: lambda policy=policy: DiffAugment(policy) for policy in POLICIES},  # type: ignore[misc]
    "ada": lambda: ADA(p=0.8),
}


def _images(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_flip(dtype: torch.dtype) -> None:
    x = torch.randint(0, 256, (200, 1, 2, 5)).to(dtype)
    y = RandomHorizontalFlip()(x)
    assert y.dtype == dtype
    mirrored = (y == x.flip(3)).flatten(1).all(1)
    assert 60 < mirrored.sum() < 140 and torch.equal(y[~mirrored], x[~mirrored])
    assert torch.equal(RandomHorizontalFlip(1.0)(x), x.flip(3)) and torch.equal(RandomHorizontalFlip(0.0)(x), x)


def test_color_is_the_papers_formula() -> None:
    x = _images(4, 3, 6, 5)
    torch.manual_seed(3)
    y = DiffAugment("color")(x)
    torch.manual_seed(3)
    brightness, saturation, contrast = (torch.rand(4, dtype=torch.float64) for _ in range(3))
    for image, result, b, s, c in zip(x, y, brightness, saturation, contrast, strict=True):
        expected = image + (b - 0.5)
        expected = expected.mean(0) + 2 * s * (expected - expected.mean(0))
        expected = expected.mean() + (0.5 + c) * (expected - expected.mean())
        torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("size", [(16, 16), (24, 9)])
def test_translation_moves_by_whole_pixels(size: tuple[int, int]) -> None:
    x = _images(40, 2, *size, dtype=torch.float32)
    most = [int(side / 8 + 0.5) for side in size]
    seen = set()
    padded = torch.nn.functional.pad(x, (most[1], most[1], most[0], most[0]))
    for image, result in zip(padded, DiffAugment("translation")(x), strict=True):
        found = [
            (i, j)
            for i in range(2 * most[0] + 1)
            for j in range(2 * most[1] + 1)
            if torch.equal(image[:, i : i + size[0], j : j + size[1]], result)
        ]
        assert len(found) == 1
        seen.update(found)
    assert {i for i, _ in seen} == set(range(2 * most[0] + 1)) and {j for _, j in seen} == set(range(2 * most[1] + 1))


def test_cutout_is_a_square_of_half_the_size() -> None:
    x = torch.rand(60, 2, 8, 8) + 1
    y = DiffAugment("cutout")(x)
    heights = set()
    for image, result in zip(x, y, strict=True):
        gone = result[0] == 0
        assert torch.equal(gone, gone.any(1)[:, None] & gone.any(0)) and torch.equal(result[:, ~gone], image[:, ~gone])
        assert not result[:, gone].any()
        heights.add(int(gone.any(1).sum()))
    assert heights == {2, 3, 4}


@pytest.mark.parametrize("name", MODULES)
def test_evaluation_mode_leaves_images_alone(name: str) -> None:
    x = _images(2, 3, 8, 8)
    assert torch.equal(MODULES[name]().eval()(x), x)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("channels", [1, 3])
def test_derivatives(name: str, channels: int) -> None:
    module = MODULES[name]()
    x = _images(3, channels, 5, 4).requires_grad_()

    def augmented(x: Tensor) -> Tensor:
        torch.manual_seed(5)
        return module(x)

    assert not torch.equal(augmented(x), x)
    assert torch.autograd.gradcheck(augmented, (x,), fast_mode=True)
    # A product, for the second derivative of an affine map is zero.
    assert torch.autograd.gradgradcheck(lambda x: augmented(x) ** 2, (x,), fast_mode=True)


@pytest.mark.parametrize("name", MODULES)
def test_penalty_behind_it_takes_four_passes(name: str) -> None:
    net = nn.Sequential(
        MODULES[name](), nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 2, 3, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(18, 1),
    ).double()  # fmt: skip
    for _ in range(2):
        compare(net, _images(5, 3, 9, 9), R1(2.0), LOSSES["softplus"], path="four passes")


@pytest.mark.parametrize("name", MODULES)
def test_penalty_that_differentiates_twice_agrees(name: str) -> None:
    net = nn.Sequential(MODULES[name](), nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(196, 1)).double()
    compare(net, _images(5, 3, 9, 9), R1(2.0), LOSSES["softplus"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", MODULES)
def test_half_types_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    x = torch.rand(8, 3, 40, 40).to(dtype)
    results = []
    for given in (x, x.float()):
        torch.manual_seed(1)
        results.append(MODULES[name]()(given))
    assert results[0].dtype == dtype
    assert torch.equal(results[0], results[1].to(dtype))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RandomHorizontalFlip(1.5), ValueError, r"RandomHorizontalFlip: p must be in \[0, 1\], got 1.5"),
        (lambda: RandomHorizontalFlip()(torch.zeros(2, 3)), ValueError, r"must be \[N, C, H, W\], got \[2, 3\]"),
        (lambda: DiffAugment("colour"), ValueError, "DiffAugment: policy must be some of color, translation, cutout"),
        (lambda: DiffAugment()(torch.zeros(1, 3, 4, 4, dtype=torch.uint8)), TypeError, "DiffAugment: input must be"),
        (lambda: ADA()(torch.zeros(3, 4, 4)), ValueError, r"ADA: input must be \[N, C, H, W\], got \[3, 4, 4\]"),
        (lambda: ADA()(torch.zeros(1, 2, 4, 4)), ValueError, "ADA: input must be .* C 1 or 3"),
        (lambda: ADA()(torch.zeros(1, 3, 3, 4)), ValueError, "H and W at least 4, got"),
        (lambda: ADA(p=-0.1), ValueError, r"ADA: p must be in \[0.0, 1.0\], got -0.1"),
        (lambda: ADA(interval=0), ValueError, "ADA: interval must be at least 1, got 0"),
    ],
)
def test_wrong_arguments(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
