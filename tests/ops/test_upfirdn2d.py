"""upfirdn2d itself: its values against the definition, its transpose, its sizes and layouts, its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.functional import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from tests.tolerances import assert_close

BACKENDS = ["reference", "cpu"]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
#: Shape, filter's shape, and options; factors that share a divisor, paddings that crop, filters of each kind.
CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 4, 5), (4,), {"up": 2, "padding": (2, 1, 1, 2)}),
    ((1, 2, 7, 6), (4,), {"down": 2, "padding": 1, "gain": -0.5}),
    ((1, 2, 5, 4), (2, 3), {"up": (3, 2), "down": (2, 3), "padding": (2, 1, 0, 3), "flip_filter": True}),
    ((2, 1, 6, 5), (3, 3), {"up": (4, 2), "down": (2, 4), "padding": (-3, 2, 4, -2)}),
    ((1, 18, 3, 4), (5,), {"up": (2, 1), "padding": (3, 2), "flip_filter": True}),
    ((1, 2, 3, 3), (7,), {"up": 1, "down": (3, 1), "padding": (9, 0, 3, 4)}),
]


def definition(x: np.ndarray, f: np.ndarray, up: Any, down: Any, padding: Any, flip: bool, gain: float) -> np.ndarray:
    """The four steps, one after the other, in loops over pixels."""
    (up_x, up_y), (down_x, down_y) = ((v, v) if isinstance(v, int) else v for v in (up, down))
    padding = (padding,) * 2 if isinstance(padding, int) else padding
    x0, x1, y0, y1 = padding if len(padding) == 4 else (padding[0], padding[0], padding[1], padding[1])
    f = np.outer(f, f) if f.ndim == 1 else f
    f = f if flip else f[::-1, ::-1]
    batch, channels, height, width = x.shape
    spread = np.zeros((batch, channels, height * up_y, width * up_x))
    for i in range(height):
        for j in range(width):
            spread[:, :, i * up_y, j * up_x] = x[:, :, i, j]
    padded = np.zeros((batch, channels, height * up_y + y0 + y1, width * up_x + x0 + x1))
    for i in range(padded.shape[2]):
        for j in range(padded.shape[3]):
            if 0 <= i - y0 < spread.shape[2] and 0 <= j - x0 < spread.shape[3]:
                padded[:, :, i, j] = spread[:, :, i - y0, j - x0]
    rows = range(0, padded.shape[2] - f.shape[0] + 1, down_y)
    columns = range(0, padded.shape[3] - f.shape[1] + 1, down_x)
    y = np.empty((batch, channels, len(rows), len(columns)))
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            y[:, :, a, b] = gain * (padded[:, :, i : i + f.shape[0], j : j + f.shape[1]] * f).sum((2, 3))
    return y


def by_definition(x: Tensor, f: Tensor, **options: Any) -> Tensor:
    defaults = {"up": 1, "down": 1, "padding": 0, "flip_filter": False, "gain": 1.0, **options}
    defaults["flip"] = defaults.pop("flip_filter")
    return torch.from_numpy(definition(x.double().numpy(), f.double().numpy(), **defaults))


@pytest.mark.proves("executed", op="upfirdn2d", derivatives=("forward",))
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("shape", "filter", "options"), CASES)
def test_equals_the_definition(
    shape: tuple[int, ...], filter: tuple[int, ...], options: dict[str, Any], backend: str, layout: torch.memory_format
) -> None:
    x = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=layout)
    f = torch.randn(filter, dtype=torch.float64)
    with fastgan.use_backend(backend):
        actual = upfirdn2d(x, f, **options)
    assert_close(actual, by_definition(x, f, **options), torch.float64)
    assert actual.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("shape", "filter", "options"), CASES)
def test_the_gradient_is_the_transpose(
    shape: tuple[int, ...], filter: tuple[int, ...], options: dict[str, Any], backend: str
) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    f = torch.randn(filter, dtype=torch.float64)
    with fastgan.use_backend(backend):
        y = upfirdn2d(x, f, **options)
    cotangent = torch.randn_like(y)
    (transposed,) = torch.autograd.grad(y, x, cotangent)
    assert_close((y * cotangent).sum(), (x * transposed).sum(), torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
def test_third_derivatives(backend: str) -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    f = torch.randn(4, dtype=torch.float64)

    def penalised(y: Tensor) -> Tensor:
        total = y.pow(4).sum()
        for _ in range(2):
            (gradient,) = torch.autograd.grad(total, x, create_graph=True)
            total = gradient.square().sum()
        (third,) = torch.autograd.grad(total, x)
        return third

    with fastgan.use_backend(backend):
        actual = penalised(upfirdn2d(x, f, up=2, down=3, padding=3))
    matrix = torch.stack(
        [by_definition(e.reshape(x.shape), f, up=2, down=3, padding=3).flatten() for e in torch.eye(x.numel())], 1
    )
    assert_close(actual, penalised(matrix @ x.flatten()), torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("function", [upsample2d, downsample2d, filter2d])
@pytest.mark.parametrize("filter", [(4,), (3, 2)], ids=str)
def test_strips_and_threads(
    function: Callable[..., Tensor], filter: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype
) -> None:
    # Rows longer than a strip, outputs that several threads share and that have pages of their own.
    shape = (2, 1, 9, 6001) if layout == torch.contiguous_format else (2, 130, 9, 83)
    x = torch.randn(shape).to(dtype).contiguous(memory_format=layout).requires_grad_()
    f = setup_filter(torch.rand(filter))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            with fastgan.use_backend("cpu"):
                y = function(x, f)
            results.append([y, *torch.autograd.grad(y, x, torch.ones_like(y))])
    finally:
        torch.set_num_threads(threads)
    wide = x.detach().double().requires_grad_()
    with fastgan.use_backend("reference"):
        y = function(wide, f)
    expected = [y, *torch.autograd.grad(y, wide, torch.ones_like(y))]
    for one, several, e in zip(*results, expected, strict=True):
        assert torch.equal(one, several)
        assert_close(one, e, dtype)


@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("size", [(5, 8), (6, 7)])
def test_implied_paddings_give_the_sizes_of_the_names(size: tuple[int, int], taps: int) -> None:
    x, f = torch.randn(1, 1, *size), setup_filter([1.0] * taps)
    assert filter2d(x, f).shape[2:] == size
    for factor in (2, 3):
        assert upsample2d(x, f, factor).shape[2:] == (size[0] * factor, size[1] * factor)
        if taps >= factor:
            assert downsample2d(x, f, factor).shape[2:] == (size[0] // factor, size[1] // factor)
    assert upsample2d(x, f, (2, 1)).shape[2:] == (size[0], size[1] * 2)


def test_constants_stay_as_they_are_away_from_the_border() -> None:
    x, f = torch.full((1, 1, 8, 8), 3.0, dtype=torch.float64), setup_filter([1, 3, 3, 1])
    for y in (upsample2d(x, f), downsample2d(x, f), filter2d(x, f)):
        inside = y[:, :, 2:-2, 2:-2] if y.shape[2] > 4 else y[:, :, 1:-1, 1:-1]
        assert_close(inside, torch.full_like(inside, 3.0), torch.float32)  # the taps are float32


def test_bilinear_upsampling_is_torch_s() -> None:
    x, f = torch.randn(2, 3, 6, 5, dtype=torch.float64), setup_filter([1, 3, 3, 1])
    expected = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
    assert_close(upsample2d(x, f)[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1], torch.float64)


def test_setup_filter() -> None:
    f = setup_filter([1, 3, 3, 1])
    assert f.dtype == torch.float32 and torch.equal(f, torch.tensor([0.125, 0.375, 0.375, 0.125]))
    assert torch.equal(setup_filter([1, 2], normalize=False, flip_filter=True, gain=4.0), torch.tensor([4.0, 2.0]))
    matrix = setup_filter([[1, 2], [3, 4]], flip_filter=True, gain=10.0)
    torch.testing.assert_close(matrix, torch.tensor([[4.0, 3.0], [2.0, 1.0]]))
    assert torch.equal(setup_filter(None), torch.ones(1)) and torch.equal(setup_filter(5.0), torch.ones(1))
    for wrong in ([[[1.0]]], [], [1.0, -1.0]):
        with pytest.raises(ValueError, match=r"^setup_filter: f must"):
            setup_filter(wrong)


def test_only_the_filter_is_saved() -> None:
    saved: list[Tensor] = []
    f = setup_filter([1, 3, 3, 1])
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        upsample2d(torch.randn(1, 2, 4, 4, requires_grad=True), f)
    assert [t.data_ptr() for t in saved] == [f.data_ptr()]


X, F = torch.randn(2, 3, 4, 5), torch.ones(4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input": X.long()}, TypeError, r"input must be float32, .* got torch.int64"),
        ({"input": X[0]}, ValueError, r"input must be \[N, C, H, W\] with at least one pixel, got \[3, 4, 5\]"),
        ({"input": X[:, :, :0]}, ValueError, r"input must be .*, got \[2, 3, 0, 5\]"),
        ({"filter": [1.0]}, TypeError, "filter must be a Tensor, got list"),
        ({"filter": torch.ones(1, 1, 4)}, ValueError, r"filter must be None, .*, got \[1, 1, 4\]"),
        ({"filter": torch.ones(0)}, ValueError, r"filter must be None, .*, got \[0\]"),
        ({"filter": F.to("meta")}, ValueError, "filter must be on input's device cpu, got meta"),
        ({"filter": F.clone().requires_grad_()}, ValueError, "filter must not require a gradient"),
        ({"up": 0}, ValueError, "up must be at least 1, got 0"),
        ({"up": 1.5}, TypeError, "up must be of integers"),
        ({"down": (1, 2, 3)}, ValueError, r"down must be a number or \(x, y\)"),
        ({"padding": (1, 2, 3)}, ValueError, "padding must be a number"),
        ({"padding": 0.5}, TypeError, "padding must be of integers, got 0.5"),
        ({"padding": -1}, ValueError, r"padding must leave .* filter's \[4, 4\] pixels of input \[2, 3, 4, 5\]"),
        ({"gain": "2"}, TypeError, "gain must be a number, got str"),
    ],
)
def test_errors_name_the_argument(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^upfirdn2d: {message}"):
        upfirdn2d(**{"input": X, "filter": F, **arguments})
    for function in (filter2d, upsample2d, downsample2d):
        if not {"up", "down", "padding"} & set(arguments):
            with pytest.raises(error, match=f"^{function.__name__}: {message}"):
                function(**{"input": X, "filter": F, **arguments})
