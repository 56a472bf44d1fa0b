"""Winograd's upsampled convolution against torch's two ops in float64: sizes, channels, threads, scales, NaN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.functional import norm_act_upsample_conv2d, upsample_conv2d
from fastgan.ops import native
from fastgan.ops.conv2d.choice import LANES
from fastgan.ops.conv2d.winograd import scratch_bytes
from fastgan.ops.upsample_conv2d import upsample_conv2d as op
from fastgan.ops.upsample_conv2d import winograd
from tests.tolerances import WINOGRAD_ERROR, assert_close

#: Batch, channels in and out, height and width.
SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 3, 5, 1, 7),
    (3, 17, 33, 2, 2),
    (2, 16, 32, 5, 6),
    (1, 7, 600, 9, 4),
    (2, 600, 7, 3, 11),
    (4, 64, 48, 13, 16),
    (1, 600, 600, 8, 9),
    (1, 5, 3, 130, 70),
    (2, 256, 128, 16, 16),
    (0, 3, 4, 8, 8),
]


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def make(shape: tuple[int, ...], layout: torch.memory_format, kind: str = "random") -> tuple[Tensor, ...]:
    """Input, weight, bias, residual and cotangent; a `kind` but random is rectified, or scaled by 1e-4 to 1e4."""
    n, c_in, c_out, h, w = shape
    x, grad, residual = torch.randn(n, c_in, h, w), *torch.randn(2, n, c_out, 2 * h, 2 * w)
    weight, bias = torch.randn(c_out, c_in, 3, 3) * (9 * c_in) ** -0.5, torch.randn(c_out)
    if kind == "rectified":
        x, grad = x.relu(), grad.relu()
    if kind == "scaled":
        x, grad = (t * 10 ** (8 * torch.rand(t.shape[1], 1, 1) - 4) for t in (x, grad))
    x, weight, residual, grad = (t.contiguous(memory_format=layout) for t in (x, weight, residual, grad))
    return x, weight, bias, residual, grad


def ours(x: Tensor, w: Tensor, b: Tensor, residual: Tensor | None = None) -> Tensor:
    return op(x, w, b, [1, 1], 1, residual, False, "winograd", "cpu")[0]


def stock(x: Tensor, w: Tensor, b: Tensor, residual: Tensor | None = None) -> Tensor:
    y = F.conv2d(F.interpolate(x, scale_factor=2), w, b, padding=1)
    return y if residual is None else y + residual


def results(function: Any, *given: Tensor) -> list[Tensor]:
    *leaves, grad = given
    leaves = [t.detach().requires_grad_() for t in leaves]
    y = function(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


def worst(actual: Tensor, expected: Tensor) -> float:
    """The largest error, relative to the largest magnitude."""
    if expected.numel() == 0:
        return 0.0
    return (actual.double() - expected).abs().max().item() / (expected.abs().max().item() or 1.0)


@pytest.mark.parametrize("kind", ["random", "rectified", "scaled"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_and_gradients_are_within_the_documented_error(shape: tuple[int, ...], kind: str, threads: int) -> None:
    given = make(shape, torch.channels_last, kind)
    actual = results(ours, *given)
    expected = results(stock, *(t.double() for t in given))
    for name, a, e in zip(("output", "input", "weight", "bias", "residual"), actual, expected, strict=True):
        assert a.shape == e.shape
        assert worst(a, e) <= WINOGRAD_ERROR, name


def test_the_error_of_a_weight_gradient_does_not_grow_with_the_number_of_pixels(threads: int) -> None:
    given = make((24, 16, 16, 48, 48), torch.channels_last)
    actual = results(ours, *given)[2]
    assert worst(actual, results(stock, *(t.double() for t in given))[2]) <= WINOGRAD_ERROR / 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("shape", [(3, 20, 37, 9, 17), (1, 16, 600, 33, 5), (5, 8, 16, 3, 2)], ids=str)
def test_statistics_are_those_of_the_output(
    shape: tuple[int, ...], residual: bool, layout: torch.memory_format, threads: int
) -> None:
    x, w, b, added, _ = make(shape, layout)
    b = b + 1e3  # a mean far above the deviation
    y, statistics = op(x, w, b, [1, 1], 1, added if residual else None, True, "winograd", "cpu")
    assert y.is_contiguous(memory_format=layout)
    wide = y.double()
    mean = wide.mean((0, 2, 3))
    assert_close(statistics[0], mean, torch.float32)
    assert_close(statistics[1], (wide - mean[:, None, None]).square().sum((0, 2, 3)), torch.float32)


def test_the_same_bits_again_and_the_same_output_whatever_the_number_of_threads() -> None:
    given = make((2, 40, 70, 50, 23), torch.channels_last)
    before, by_threads = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            once, again = (results(ours, *given) for _ in range(2))
            assert all(map(torch.equal, once, again))
            by_threads.append(once[:2])
    finally:
        torch.set_num_threads(before)
    for others in by_threads[1:]:
        assert all(map(torch.equal, by_threads[0], others))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["input", "weight", "residual", "grad"])
def test_nan_and_infinity_are_where_direct_convolution_has_them(value: float, where: str) -> None:
    given = make((2, 5, 6, 9, 9), torch.channels_last)
    dict(zip(("input", "weight", "bias", "residual", "grad"), given, strict=True))[where][1, 2, 1, 1] = value
    with fastgan.exact_convolutions():
        expected = results(lambda *a: upsample_conv2d(*a[:3], residual=a[3]), *given)
    for a, e in zip(results(ours, *given), expected, strict=True):
        assert torch.equal(a.isnan(), e.isnan()) and torch.equal(a.isinf(), e.isinf())


def test_nothing_overflows_that_the_quarter_form_can_hold() -> None:
    x, weight, bias, residual, grad = make((1, 16, 16, 8, 8), torch.channels_last)
    given = (x.sign() * 1e38, weight * 1e-2, bias, residual, grad * 1e-3)
    with fastgan.exact_convolutions():
        assert upsample_conv2d(*given[:3]).isfinite().all()
    for part in results(ours, *given):
        assert part.isfinite().all()


def test_exact_convolutions_turn_it_off_in_the_derivatives_too() -> None:
    if native.isa_level() not in LANES:
        pytest.skip("the choice was not measured at this level")
    x, w, b, _, grad = make((16, 128, 128, 16, 16), torch.channels_last)
    direct = results(lambda *a: op(*a, [1, 1], 1, None, False, "direct", "cpu")[0], x, w, b, grad)
    assert not any(map(torch.equal, results(upsample_conv2d, x, w, b, grad)[:3], direct[:3]))
    leaves = [t.detach().requires_grad_() for t in (x, w, b)]
    with fastgan.exact_convolutions():
        y = upsample_conv2d(*leaves)
        both = norm_act_upsample_conv2d(x, w, b, act="relu", training=True)
    assert all(map(torch.equal, [y, *torch.autograd.grad(y, leaves, grad)], direct))
    activated = fastgan.functional.norm_act(x, act="relu", training=True)
    assert torch.equal(both, op(activated, w, b, [1, 1], 1, None, False, "direct", "cpu")[0])
    assert not torch.equal(norm_act_upsample_conv2d(x, w, b, act="relu", training=True), both)


def test_what_it_does_not_serve_is_the_quarter_form() -> None:
    x, w, b, _, _ = make((2, 8, 6, 9, 8), torch.channels_last)
    cases: list[tuple[Tensor, Tensor, list[int], int]] = [
        (x, w, [0, 0], 1),
        (x, w[:, :4], [1, 1], 2),
        (x, torch.randn(6, 8, 5, 5), [2, 2], 1),
        (x.double(), w.double(), [1, 1], 1),
    ]
    for input, weight, *geometry in cases:
        bias = b.to(input.dtype)
        taken, direct = (op(input, weight, bias, *geometry, None, False, a, "cpu")[0] for a in ("winograd", "direct"))
        assert torch.equal(taken, direct)


def test_a_small_layer_does_not_take_it_and_errors_name_the_argument() -> None:
    x, w, b, _, _ = make((1, 4, 4, 5, 5), torch.channels_last)
    auto, direct = (op(x, w, b, [1, 1], 1, None, False, a, "cpu")[0] for a in ("auto", "direct"))
    assert torch.equal(auto, direct)
    with pytest.raises(ValueError, match="upsample_conv2d: algorithm must be one of auto, winograd, direct, got 'fft'"):
        op(x, w, b, [1, 1], 1, None, False, "fft", "cpu")


def test_any_strides_of_the_weight() -> None:
    x, w, b, _, _ = make((2, 20, 24, 6, 5), torch.contiguous_format)
    expected = stock(x.double(), w.double(), b.double())
    for other in (w.transpose(0, 1).contiguous().transpose(0, 1), w.transpose(2, 3).contiguous().transpose(2, 3)):
        y = winograd.upsample_conv2d(x, other, b, None, None)
        assert y is not None
        assert worst(y, expected) <= WINOGRAD_ERROR


def test_second_derivatives_are_the_same_ops() -> None:
    x, w, b, _, grad = make((2, 20, 24, 6, 5), torch.channels_last)

    def penalty(function: Any, *given: Tensor) -> tuple[Tensor, ...]:
        x, w, b = (t.detach().requires_grad_() for t in given[:3])
        (of_input,) = torch.autograd.grad(function(x, w, b), x, given[3], create_graph=True)
        return torch.autograd.grad(of_input.square().sum(), w)

    (actual,), (expected,) = (
        penalty(ours, x, w, b, grad), penalty(stock, *(t.double() for t in (x, w, b, grad)))
    )  # fmt: skip
    assert worst(actual, expected) <= 2 * WINOGRAD_ERROR


def test_scratch_memory_is_kept_and_bounded() -> None:
    given = make((4, 600, 600, 16, 16), torch.channels_last)
    results(ours, *given)
    once = scratch_bytes()
    results(ours, *given)
    assert 0 < once == scratch_bytes() <= 256 << 20
