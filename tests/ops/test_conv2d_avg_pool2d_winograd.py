"""Winograd's pooled convolution, the gradient of its upsampled one, against torch's ops in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.functional import conv2d_avg_pool2d
from fastgan.ops import native
from fastgan.ops.conv2d.choice import LANES
from fastgan.ops.conv2d_avg_pool2d import conv2d_avg_pool2d as op
from tests.ops.test_upsample_conv2d_winograd import SHAPES, results, threads, worst
from tests.tolerances import WINOGRAD_ERROR

__all__ = ["threads"]  # a fixture

SLOPES = {"linear": 1.0, "relu": 0.0, "lrelu": 0.3}


def make(shape: tuple[int, ...], layout: torch.memory_format = torch.channels_last) -> tuple[Tensor, ...]:
    """Input, weight, bias and cotangent; the shape is of the output."""
    n, c_in, c_out, h, w = shape
    x, grad = torch.randn(n, c_in, 2 * h, 2 * w), torch.randn(n, c_out, h, w)
    weight, bias = torch.randn(c_out, c_in, 3, 3) * (9 * c_in) ** -0.5, torch.randn(c_out)
    x, weight, grad = (t.contiguous(memory_format=layout) for t in (x, weight, grad))
    return x, weight, bias, grad


def ours(act: str) -> Any:
    return lambda x, w, b: op(x, w, b, None, act, SLOPES[act], [1, 1], 1, "winograd", "cpu")


def stock(act: str) -> Any:
    return lambda x, w, b: F.avg_pool2d(F.conv2d(F.leaky_relu(x, SLOPES[act]), w, b, padding=1), 2)


@pytest.mark.parametrize("act", SLOPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_and_gradients_are_within_the_documented_error(shape: tuple[int, ...], act: str, threads: int) -> None:
    given = make(shape)
    actual = results(ours(act), *given)
    expected = results(stock(act), *(t.double() for t in given))
    for name, a, e in zip(("output", "input", "weight", "bias"), actual, expected, strict=True):
        assert a.shape == e.shape
        assert worst(a, e) <= WINOGRAD_ERROR, name


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("act", SLOPES)
def test_second_derivatives(act: str, layout: torch.memory_format) -> None:
    x, weight, bias, grad = make((2, 9, 18, 5, 6), layout)

    def second(function: Any, dtype: torch.dtype) -> list[Tensor]:
        leaves = [t.to(dtype).requires_grad_() for t in (x, weight, grad)]
        y = function(act)(*leaves[:2], bias.to(dtype))
        (g,) = torch.autograd.grad(y, leaves[0], leaves[2], create_graph=True)
        return [g, *torch.autograd.grad(g.square().sum(), leaves[1:])]

    for a, e in zip(second(ours, torch.float32), second(stock, torch.float64), strict=True):
        assert worst(a, e) <= 2 * WINOGRAD_ERROR, "a product of two convolutions"


@pytest.mark.parametrize("where", ["input", "weight", "grad"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_where_direct_convolution_has_them(value: float, where: str) -> None:
    x, weight, bias, grad = make((2, 5, 6, 9, 9))
    {"input": x, "weight": weight, "grad": grad}[where][1, 2, 1, 1] = value
    actual = results(ours("linear"), x, weight, bias, grad)
    with fastgan.exact_convolutions():
        expected = results(conv2d_avg_pool2d, x, weight, bias, grad)
    for a, e in zip(actual, expected, strict=True):
        assert torch.equal(a.isnan(), e.isnan()) and torch.equal(a.isinf(), e.isinf())


def test_odd_images_are_pooled_otherwise() -> None:
    x, weight, bias, _ = make((2, 5, 6, 4, 4))
    odd = x[..., :7, :5]
    assert worst(ours("relu")(odd, weight, bias), stock("relu")(odd, weight, bias).double()) <= WINOGRAD_ERROR


def test_a_large_convolution_takes_it_unless_it_is_to_be_exact() -> None:
    if native.isa_level() not in LANES:
        pytest.skip("the choice was not measured at this level")
    x, weight, bias, _ = make((16, 128, 128, 16, 16))
    automatic = conv2d_avg_pool2d(x, weight, bias)
    assert torch.equal(automatic, ours("linear")(x, weight, bias))
    with fastgan.exact_convolutions():
        assert not torch.equal(automatic, conv2d_avg_pool2d(x, weight, bias))
