"""Convolutions and activations with derivatives of ours, for what is left to autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan.tape.rerouting import rerouted
from tests.tape.counting import Products
from tests.tape.stock import assert_same


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


#: A convolution, the shapes of input, weight and bias, and the rest of its arguments.
CONVOLUTIONS: dict[str, tuple[Any, list[tuple[int, ...]], tuple[Any, ...], dict[str, Any]]] = {
    "1d": (F.conv1d, [(2, 3, 9), (4, 3, 3), (4,)], (2, 1), {}),
    "2d": (F.conv2d, [(2, 3, 6, 5), (4, 3, 3, 2)], (), {"padding": (1, 0), "stride": (1, 2)}),
    "grouped": (F.conv2d, [(2, 4, 5, 5), (6, 2, 3, 3), (6,)], (1, 1), {"groups": 2}),
    "dilated": (F.conv2d, [(2, 2, 7, 7), (3, 2, 3, 3), (3,)], (1, 2, 2), {}),
    "3d": (F.conv3d, [(1, 2, 4, 4, 3), (2, 2, 3, 3, 1), (2,)], (), {"stride": 2, "padding": (1, 1, 0)}),
    "transposed": (
        F.conv_transpose2d,
        [(2, 4, 3, 3), (4, 2, 3, 3), (4,)],
        (2, 1),
        {"output_padding": 1, "groups": 2},
    ),
    "transposed 1d": (F.conv_transpose1d, [(2, 3, 4), (3, 2, 4)], (2,), {}),
}
ACTIVATIONS: dict[str, Callable[[], tuple[Any, tuple[Any, ...], dict[str, Any]]]] = {
    "silu": lambda: (F.silu, (), {}),
    "elu": lambda: (F.elu, (1.0,), {}),
    "tanh": lambda: (torch.tanh, (), {}),
}


def made(function: Any, tensors: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    call = rerouted(function, (*tensors, *args), kwargs)
    assert call is not None
    return call()


def arguments(shapes: list[tuple[int, ...]], args: tuple[Any, ...]) -> tuple[list[Tensor], tuple[Any, ...]]:
    tensors = [torch.randn(shape).requires_grad_() for shape in shapes]
    return tensors, args if len(shapes) == 3 or not args else (None, *args)


def derivatives(call: Callable[[], Tensor], tensors: list[Tensor]) -> list[Tensor | None]:
    """The call, all its gradients, and theirs."""
    torch.manual_seed(1)
    y = call()
    first = torch.autograd.grad(y, tensors, torch.randn(y.shape).requires_grad_(), create_graph=True)
    directions = [torch.randn(g.shape) for g in first]
    return [y, *first, *torch.autograd.grad(first, tensors, directions, allow_unused=True)]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_derivatives_of_convolutions_equal_torch_s(name: str) -> None:
    function, shapes, args, kwargs = CONVOLUTIONS[name]
    tensors, args = arguments(shapes, args)
    ours = derivatives(lambda: made(function, tensors, args, kwargs), tensors)
    assert_same(ours, derivatives(lambda: function(*tensors, *args, **kwargs), tensors), 1e-12)


@pytest.mark.parametrize("name", ["grouped", "transposed"])
def test_gradgradcheck(name: str) -> None:
    function, shapes, args, kwargs = CONVOLUTIONS[name]
    tensors, args = arguments(shapes, args)
    assert torch.autograd.gradgradcheck(lambda *given: made(function, list(given), args, kwargs), tensors)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_of_activations_equal_torch_s(name: str) -> None:
    function, args, kwargs = ACTIVATIONS[name]()
    x = torch.randn(3, 4, 5) + torch.zeros(1, requires_grad=True)
    leaf = [x]
    ours = derivatives(lambda: made(function, leaf, args, kwargs), leaf)
    assert_same(ours, derivatives(lambda: function(x, *args, **kwargs), leaf), 1e-12)


def test_only_what_is_wanted_is_computed() -> None:
    """Of the gradient of the gradient, torch finds more, and group by group."""
    tensors = [torch.randn(2, 8, 5, 5).requires_grad_(), torch.randn(8, 2, 3, 3).requires_grad_()]

    def products(y: Tensor, wanted: list[Tensor]) -> list[list[str]]:
        counts = []
        seed = torch.randn(y.shape).requires_grad_()
        with Products() as first:
            (g,) = torch.autograd.grad(y, tensors[0], seed, create_graph=True)
        with Products() as second:
            torch.autograd.grad(g.square().sum(), wanted)
        counts += [first.found, second.found]
        return counts

    options = {"padding": 1, "groups": 4}
    ours = products(made(F.conv2d, tensors, (), options), tensors[1:])
    assert ours == [["input"], ["weight"]]
    stock = products(F.conv2d(*tensors, **options), tensors[1:])
    assert stock[0] == ["input"] and len(stock[1]) > 4


def test_frozen_weights_have_no_gradient() -> None:
    x, weight = torch.randn(2, 3, 5, 5).requires_grad_(), torch.randn(4, 3, 3, 3)
    y = made(F.conv2d, [x, weight], (), {})
    with Products() as counted:
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        assert not g.requires_grad
    assert counted.found == ["input"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocasting_is_torch_s(dtype: torch.dtype) -> None:
    torch.set_default_dtype(torch.float32)
    layer, x = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 6, 6).requires_grad_()
    tensors = [x, layer.weight, layer.bias]
    results = []
    for call in (lambda: made(F.conv2d, tensors, (), {}), lambda: F.conv2d(*tensors)):
        with torch.autocast("cpu", dtype):
            y = call()
        assert y.dtype is dtype
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        results.append([y, *torch.autograd.grad(g.square().sum() + y.float().sum(), tensors)])
    assert_same(*results, 1e-2)
    assert [each.dtype for each in results[0]] == [each.dtype for each in results[1]]


@pytest.mark.parametrize(
    ("function", "shapes", "args", "kwargs"),
    [
        (F.conv2d, [(2, 3, 5, 5), (4, 3, 3, 3)], (), {"padding": "same"}),
        (F.conv2d, [(3, 5, 5), (4, 3, 3, 3)], (), {}),
        (F.silu, [(3,)], (), {"inplace": True}),
        (F.elu, [(3,)], (0.5,), {}),
        (F.elu, [(3,)], (), {"alpha": 0.5}),
        (F.gelu, [(3,)], (), {}),
        (F.linear, [(2, 3), (4, 3)], (), {}),
    ],
)
def test_other_calls_are_left_to_torch(
    function: Any, shapes: list[tuple[int, ...]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    assert rerouted(function, (*(torch.randn(shape) for shape in shapes), *args), kwargs) is None
