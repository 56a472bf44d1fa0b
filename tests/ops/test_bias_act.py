"""bias_act itself: its values against torch's own activations, its errors, and what is special about it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.functional import bias_act
from fastgan.ops import native
from fastgan.ops.bias_act import reference
from fastgan.ops.bias_act.activations import ACTIVATIONS
from tests.tolerances import assert_close

STOCK: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z,
    "relu": F.relu,
    "lrelu": lambda z: F.leaky_relu(z, 0.2),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "swish": F.silu,
}
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e30, -1e30, 1e-30, -1e-30, 88.8, -88.8, 20.0, -20.0, -104.0]
BACKENDS = ["reference", "cpu"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_value_and_gradients_equal_torch_s_own(act: str, backend: str) -> None:
    x = torch.randn(4, 6, 5, dtype=torch.float64, requires_grad=True)
    b = torch.randn(6, dtype=torch.float64, requires_grad=True)
    expected = STOCK[act](x + b[:, None]) * ACTIVATIONS[act].gain
    with fastgan.use_backend(backend):
        actual = bias_act(x, b, act=act)
    grad = torch.randn_like(x)
    for a, e in zip(
        [actual, *torch.autograd.grad(actual, (x, b), grad)],
        [expected, *torch.autograd.grad(expected, (x, b), grad)],
        strict=True,
    ):
        assert_close(a, e, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_special_values(act: str, backend: str, dtype: torch.dtype) -> None:
    x = torch.tensor(SPECIAL, dtype=dtype)
    with fastgan.use_backend(backend):
        actual = bias_act(x, act=act, gain=1.0)
        clamped = bias_act(x, act=act, gain=1.0, clamp=2.0)
    expected = STOCK[act](x)
    torch.testing.assert_close(actual, expected, equal_nan=True)
    torch.testing.assert_close(clamped, expected.clamp(-2, 2), equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_at_the_kinks_are_torch_s(backend: str) -> None:
    x = torch.tensor([0.0, -0.0, 1.0, math.inf, -math.inf], requires_grad=True)
    with fastgan.use_backend(backend):
        (relu,) = torch.autograd.grad(bias_act(x, act="relu", gain=1.0).sum(), x)
        (lrelu,) = torch.autograd.grad(bias_act(x, act="lrelu", gain=1.0).sum(), x)
        (clamped,) = torch.autograd.grad(bias_act(x, act="linear", gain=2.0, clamp=2.0).sum(), x)
    assert relu.tolist() == [0, 0, 1, 1, 0]
    assert lrelu.tolist() == pytest.approx([0.2, 0.2, 1, 1, 0.2])
    assert clamped.tolist() == [2, 2, 0, 0, 0]  # at the bound itself too


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bound_that_the_dtype_rounds_still_stops_the_gradient(dtype: torch.dtype) -> None:
    x = torch.tensor([5.0, -5.0, 0.1], dtype=dtype, requires_grad=True)
    for bound in (0.3, 0.7, 1 / 3):  # some round up, some down
        (grad,) = torch.autograd.grad(bias_act(x, act="relu", gain=1.0, clamp=bound).sum(), x)
        assert grad.tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_conversions_are_exact_over_every_bit_pattern(dtype: torch.dtype) -> None:
    every = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16).view(dtype)
    with fastgan.use_backend("cpu"):
        same = bias_act(every, act="linear", gain=1.0)
        halved = bias_act(every, act="linear", gain=0.5, clamp=1e4)
    torch.testing.assert_close(same.float(), every.float(), equal_nan=True, rtol=0, atol=0)
    expected = (every.float() * 0.5).clamp(*(s * torch.tensor(1e4).to(dtype).item() for s in (-1, 1))).to(dtype)
    torch.testing.assert_close(halved.float(), expected.float(), equal_nan=True, rtol=0, atol=0)


def test_float_to_half_rounds_to_nearest_even_everywhere() -> None:
    x = torch.randn(200_000) * torch.exp(torch.linspace(-20, 13, 200_000))
    ties = torch.arange(1, 4097).float() * 2.0**-11 + 1
    for dtype in (torch.float16, torch.bfloat16):
        for values in (x, ties):
            # The product of a half and a float is rounded once, by the kernel's store.
            one = torch.ones(len(values), dtype=dtype)
            factor = 1.0009765625
            with fastgan.use_backend("cpu"):
                actual = bias_act(values.to(dtype), act="linear", gain=factor)
            assert torch.equal(actual, (values.to(dtype).float() * factor).to(dtype)), one.dtype


def test_bias_gradient_of_a_long_sum_is_accurate() -> None:
    g = torch.rand(2, 3, 700, 500)
    x, b = torch.randn_like(g), torch.randn(3, requires_grad=True)
    for layout in (torch.contiguous_format, torch.channels_last):
        y = bias_act(x.contiguous(memory_format=layout), b, act="relu", gain=1.0)
        (actual,) = torch.autograd.grad(y, b, g.contiguous(memory_format=layout))
        expected = (g.double() * (y > 0)).sum((0, 2, 3))
        assert_close(actual, expected, torch.float32)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("pixels", [(61, 67), (3, 5)], ids=str)  # rows with one bias; rows short enough for periods
def test_work_split_over_threads(dtype: torch.dtype, layout: torch.memory_format, pixels: tuple[int, int]) -> None:
    shape = (300_000 // (13 * pixels[0] * pixels[1]), 13, *pixels)  # several threads, fresh pages, a ragged end
    x = torch.randn(shape).to(dtype).contiguous(memory_format=layout).requires_grad_()
    b = torch.randn(13).to(dtype).requires_grad_()
    grad = torch.randn(shape).to(dtype).contiguous(memory_format=layout).requires_grad_()
    ddx = torch.randn(shape).to(dtype).contiguous(memory_format=layout)
    results = []
    for backend, cast in (("cpu", dtype), ("reference", torch.float64)):
        leaves = [t.detach().to(cast).requires_grad_() for t in (x, b, grad)]
        with fastgan.use_backend(backend):
            y = bias_act(leaves[0], leaves[1], act="tanh")
        first = torch.autograd.grad(y, leaves[:2], leaves[2], create_graph=True)
        second = torch.autograd.grad(first[0], leaves, ddx.to(cast))
        results.append([y, *first, *second])
    for i, (actual, expected) in enumerate(zip(*results, strict=True)):
        assert_close(actual, expected, dtype, f"tensor {i}")


def test_an_unwanted_bias_gradient_is_not_computed() -> None:
    x, b = torch.randn(2, 3, requires_grad=True), torch.randn(3)
    y = bias_act(x, b, act="tanh")
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert grad.shape == x.shape
    x, b = x.detach(), b.requires_grad_()
    (grad,) = torch.autograd.grad(bias_act(x, b, act="tanh").sum(), b)
    assert grad.shape == b.shape


@pytest.mark.parametrize("act", [a for a, d in ACTIVATIONS.items() if d.piecewise_linear])
def test_piecewise_linear_second_derivative_is_undefined(act: str) -> None:
    x, b = torch.randn(2, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    grad = torch.randn(2, 3, requires_grad=True)
    first = torch.autograd.grad(bias_act(x, b, act=act, gain=1.5), (x, b), grad, create_graph=True)
    second = torch.autograd.grad(sum(f.sum() for f in first), (x, b, grad), allow_unused=True)
    assert second[0] is None and second[1] is None and second[2] is not None


def test_third_derivatives_say_that_they_are_not_there() -> None:
    x = torch.randn(3, requires_grad=True)
    (first,) = torch.autograd.grad(bias_act(x, act="tanh").sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="third derivatives"):
        second.sum().backward()
    exact = reference.bias_act(x, None, "tanh", 0.0, 1.0, None, 0)
    for _ in range(3):
        (exact,) = torch.autograd.grad(exact.sum(), x, create_graph=True)
    assert exact.isfinite().all()


def test_the_output_is_what_is_saved() -> None:
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        x = torch.randn(2, 3, requires_grad=True)
        y = bias_act(x, act="lrelu")
        assert [t.data_ptr() for t in saved] == [y.data_ptr()]
        saved.clear()
        bias_act(x, act="linear")
        assert not saved


X = torch.randn(2, 64, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input": [1.0]}, TypeError, "input must be a Tensor, got list"),
        ({"input": X.long()}, TypeError, r"input must be float32, .* got torch.int64"),
        ({"input": X.to(torch.complex64)}, TypeError, "got torch.complex64"),
        (
            {"bias": torch.randn(64).double()},
            TypeError,
            r"bias must have input's dtype torch.float32, got torch.float64",
        ),
        (
            {"bias": torch.randn(48)},
            ValueError,
            r"bias must be \[64\] to match dimension 1 of input \[2, 64, 4, 4\], got \[48\]",
        ),
        ({"bias": torch.randn(64, 1)}, ValueError, r"bias must be \[64\]"),
        ({"bias": torch.randn(64).to("meta")}, ValueError, "bias must be on input's device cpu, got meta"),
        ({"bias": torch.randn(4), "dim": 4}, ValueError, r"dim must be in \[-4, 3\]"),
        ({"act": "gelu"}, ValueError, "act must be one of linear, relu, .*, got 'gelu'"),
        ({"act": "relu", "alpha": 0.1}, ValueError, "alpha must be None for act='relu'"),
        ({"clamp": -1.0}, ValueError, "clamp must be None or at least 0, got -1.0"),
        ({"clamp": math.nan}, ValueError, "clamp"),
    ],
)
def test_errors_name_the_argument(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^bias_act: .*{message}"):
        bias_act(**{"input": X, **arguments})


@pytest.mark.parametrize("function", ["exp", "expm1", "log1p", "sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_elementary_functions_are_within_the_stated_error(function: str, dtype: torch.dtype) -> None:
    n = 400_000
    if function == "log1p":
        x = torch.cat(
            [torch.rand(n, dtype=dtype), torch.logspace(-300 if dtype == torch.float64 else -37, 0, n, dtype=dtype)]
        )
    else:
        lowest = -700.0 if dtype == torch.float64 else -86.0
        x = torch.cat([torch.rand(n, dtype=dtype) * lowest, -torch.logspace(-37, 1.9, n, dtype=dtype)])
        if function in ("sigmoid", "tanh"):
            x = torch.cat([x, -x])
    actual = torch.empty_like(x)
    name = f"elementary_{str(dtype).partition('.')[2]}"
    getattr(native.extension(), name)(function, x.data_ptr(), actual.data_ptr(), x.numel())
    # float32 against float64's value; float64 against numpy's long double.
    import numpy as np

    exact = x.numpy().astype(np.longdouble)
    expected = 1 / (1 + np.exp(-exact)) if function == "sigmoid" else getattr(np, function)(exact)
    spacing = np.spacing(np.abs(expected).astype(x.numpy().dtype)).astype(np.longdouble)
    ulp = (np.abs(actual.numpy().astype(np.longdouble) - expected) / spacing).max()
    assert ulp <= {"sigmoid": 4, "tanh": 4}.get(function, 2), f"{function}: {ulp:.2f} ulp"
