"""modulated_conv2d against the convolution of each sample with weights of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.functional import modulated_conv2d, setup_filter, upfirdn2d
from tests.tolerances import assert_close

TAPS = setup_filter([1, 3, 4, 1])  # not symmetric: a filter read in the wrong direction shows
OPTIONS: list[dict[str, Any]] = [
    {"padding": 1},
    {"demodulate": False, "padding": 0},
    {"padding": 2, "flip_weight": False, "eps": 1e-2},
    {"padding": 1, "up": 2, "filter": TAPS},
    {"padding": 0, "up": 2, "filter": TAPS, "flip_weight": False},
    {"padding": 1, "up": 3},
]


def per_sample(
    input: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    padding: int = 0,
    up: int = 1,
    filter: Tensor | None = None,
    flip_weight: bool = True,
    eps: float = 1e-8,
) -> Tensor:
    """The published equations: weights for each sample, and a convolution in as many groups."""
    batch = len(input)
    w = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        w = w / (w.square().sum((2, 3, 4), keepdim=True) + eps).sqrt()
    w = w if flip_weight else w.flip((3, 4))
    taps = 1 if filter is None else len(filter)
    before, behind = padding + (taps + up - 1) // 2, padding + (taps - up) // 2
    if up == 1:
        before = behind = padding
        filter = None
    x = upfirdn2d(input, filter, up=up, padding=(before, behind, before, behind), gain=up * up)
    return F.conv2d(x.reshape(1, -1, *x.shape[2:]), w.flatten(0, 1), groups=batch).unflatten(1, (batch, -1))[0]


def inputs(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    shapes = ((3, 4, 5, 6), (5, 4, 3, 3), (3, 4))
    return [torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def derivatives(function: Callable[..., Tensor], leaves: list[Tensor], options: dict[str, Any]) -> list[Tensor]:
    """The value, first derivatives, and second ones as a penalty on the first has them."""
    y = function(*leaves, **options)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    first = torch.autograd.grad((y * weights + y**3).sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
    return [y, *first, *second]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_weights_of_each_sample(options: dict[str, Any]) -> None:
    leaves = inputs()
    actual, expected = derivatives(modulated_conv2d, leaves, options), derivatives(per_sample, leaves, options)
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        torch.testing.assert_close(a, e, rtol=0, atol=1e-12 * max(1.0, e.abs().max().item()), msg=f"tensor {i}")


@pytest.mark.parametrize("options", OPTIONS[:1] + OPTIONS[3:4], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_other_dtypes_and_weights_kept_in_float32(dtype: torch.dtype, options: dict[str, Any]) -> None:
    x, w, s = (t.detach() for t in inputs(dtype))
    expected = modulated_conv2d(x.double(), w.double(), s.double(), **options)
    # Half types round between the two scalings and the convolution.
    for weight, styles in ((w, s), (w.float(), s.float())):
        actual = modulated_conv2d(x, weight, styles, **options)
        assert actual.dtype == dtype
        assert_close(actual, expected, dtype)


def test_float16_does_not_overflow() -> None:
    x, w, s = torch.rand(2, 512, 4, 4) + 10, torch.rand(8, 512, 3, 3) * 100, torch.rand(2, 512) * 1000
    leaves = [t.half().requires_grad_() for t in (x, w, s)]
    y = modulated_conv2d(*leaves, padding=1)
    expected = modulated_conv2d(*(t.detach().double() for t in leaves), padding=1)
    assert_close(y, expected, torch.float16)
    gradients = torch.autograd.grad(y.float().mean(), leaves)
    assert all(g.isfinite().all() for g in gradients)


def test_channels_of_zeros_are_zeros() -> None:
    x, w, s = (t.detach().clone() for t in inputs(torch.float16))
    w[1], s[2] = 0, 0
    y = modulated_conv2d(x, w, s, padding=1)
    assert y.isfinite().all() and (y[:, 1] == 0).all() and (y[2] == 0).all()


def test_layout_autocast_and_compile() -> None:
    x, w, s = inputs(torch.float32)
    y = modulated_conv2d(x.contiguous(memory_format=torch.channels_last), w, s, up=2, filter=TAPS, padding=1)
    assert y.is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        half = modulated_conv2d(x, w * 100, s, padding=1)
    assert_close(half, modulated_conv2d(x.double(), w.double(), s.double(), padding=1), torch.bfloat16)
    assert modulated_conv2d(x[:0], w, s[:0], padding=1).shape == (0, 5, 5, 6)
    step = torch.compile(modulated_conv2d, fullgraph=True, backend="aot_eager")
    assert_close(step(x, w, s, up=2, filter=TAPS), modulated_conv2d(x, w, s, up=2, filter=TAPS), torch.float32)


X, W, S = torch.randn(2, 4, 5, 5), torch.randn(3, 4, 3, 3), torch.randn(2, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input": X.int()}, TypeError, "input must be float32"),
        ({"input": X[0]}, ValueError, r"input must be \[N, C, H, W\], got \[4, 5, 5\]"),
        (
            {"weight": W[:, :3]},
            ValueError,
            r"weight must be \[C_out, 4, kH, kW\] to match input \[2, 4, 5, 5\], got \[3, 3, 3, 3\]",
        ),
        ({"styles": S[:1]}, ValueError, r"styles must be \[2, 4\] to match input \[2, 4, 5, 5\], got \[1, 4\]"),
        ({"styles": S.to("meta")}, ValueError, "styles must be on input's device cpu, got meta"),
        ({"padding": -1}, ValueError, "padding must be at least 0, got -1"),
        ({"up": 0}, ValueError, "up must be at least 1, got 0"),
        ({"up": 2.0}, TypeError, "up must be an integer, got float"),
        ({"eps": None}, TypeError, "eps must be a number, got NoneType"),
    ],
)
def test_errors_name_the_argument(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^modulated_conv2d: {message}"):
        modulated_conv2d(**{"input": X, "weight": W, "styles": S, **arguments})
