"""spectral_conv itself: against torch's layers on the weight written out, and what is special about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import fastgan
from fastgan.functional import spectral_conv, spectral_linear, spectral_norm
from fastgan.ops.spectral_norm.matrix import as_matrix
from tests.tolerances import assert_close

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
LEAVES = ("input", "weight", "bias")
#: Which of LEAVES have gradients: in a first layer the input has none; weight and bias may be frozen.
SOME = [("input", "weight", "bias"), ("weight", "bias"), ("weight",), ("input", "bias"), ("input",), ("bias",)]


@dataclass(frozen=True)
class Layer:
    """Shapes of input and weight, torch's function, and the arguments that it shares with ours."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    stock: Callable[..., Tensor]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def transposed(self) -> bool:
        return "transpose" in self.stock.__name__

    @property
    def dim(self) -> int:
        return int(self.transposed)

    def arguments(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Tensor]:
        """Values as at initialisation, sigma between 1 and 4; u and v near the leading singular vectors."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=generator, dtype=torch.float64)

        weight = normal(*self.weight)
        matrix = as_matrix(weight, self.dim)
        weight *= 2 / sum(n**0.5 for n in matrix.shape)
        u = F.normalize(matrix @ (matrix.mT @ normal(matrix.shape[0])), dim=0)
        v = F.normalize(matrix.mT @ u + 0.1 * normal(matrix.shape[1]), dim=0)
        bias = normal(self.weight[1] * self.options.get("groups", 1) if self.transposed else self.weight[0])
        made = {"input": normal(*self.input), "weight": weight, "bias": bias, "u": u, "v": v}
        return {name: tensor.to(dtype) for name, tensor in made.items()}

    def ours(self, input: Tensor, weight: Tensor, bias: Tensor, u: Tensor, v: Tensor, **sigma: Tensor) -> Tensor:
        if self.stock is F.linear:
            return spectral_linear(input, weight, bias, u, v, **sigma)
        transposed = {"transposed": True, "dim": 1} if self.transposed else {}
        return spectral_conv(input, weight, bias, u, v, **sigma, **transposed, **self.options)

    def theirs(self, input: Tensor, weight: Tensor, bias: Tensor, u: Tensor, v: Tensor) -> Tensor:
        normalized, *_ = spectral_norm(weight, u, v, n_power_iterations=0, dim=self.dim)
        return self.stock(input, normalized, bias, **self.options)


SMALL = {
    "conv1d": Layer((2, 3, 9), (4, 3, 5), F.conv1d, {"stride": 2, "padding": 2}),
    "conv2d": Layer((2, 3, 6, 5), (4, 3, 3, 3), F.conv2d, {"padding": 1}),
    "conv2d-strided": Layer((2, 3, 7, 6), (4, 3, 4, 2), F.conv2d, {"stride": (2, 1), "padding": (1, 0)}),
    "conv2d-dilated": Layer((2, 4, 7, 6), (6, 2, 3, 2), F.conv2d, {"dilation": (2, 3), "groups": 2}),
    "conv3d": Layer((2, 3, 4, 3, 4), (4, 3, 2, 3, 2), F.conv3d, {"padding": (0, 1, 1)}),
    "transposed1d": Layer((2, 3, 5), (3, 4, 4), F.conv_transpose1d, {"stride": 2}),
    "transposed2d": Layer(
        (2, 4, 3, 4), (4, 3, 3, 3), F.conv_transpose2d, {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}
    ),
    "transposed3d": Layer((1, 3, 2, 3, 2), (3, 2, 2, 2, 3), F.conv_transpose3d, {"dilation": (1, 2, 1)}),
    "linear": Layer((2, 3, 7), (5, 7), F.linear),
}
LARGE = {
    "conv2d": Layer((4, 128, 8, 8), (256, 128, 3, 3), F.conv2d, {"padding": 1}),
    "transposed2d": Layer((4, 256, 4, 4), (256, 128, 4, 4), F.conv_transpose2d, {"stride": 2, "padding": 1}),
    "linear": Layer((32, 1024), (768, 1024), F.linear),
}
every_small_layer = pytest.mark.parametrize("layer", [pytest.param(layer, id=name) for name, layer in SMALL.items()])
every_large_layer = pytest.mark.parametrize("layer", [pytest.param(layer, id=name) for name, layer in LARGE.items()])


@pytest.fixture(params=["reference", "cpu"], autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with fastgan.use_backend(request.param):
        yield request.param


def cotangent(y: Tensor, seed: int = 1) -> Tensor:
    # Rounded to float32, so that it is the same in both dtypes.
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(seed)).to(y.dtype)


def with_leaves(arguments: dict[str, Tensor], wanted: tuple[str, ...]) -> tuple[dict[str, Tensor], list[Tensor]]:
    arguments = {name: x.detach().requires_grad_(name in wanted) for name, x in arguments.items()}
    return arguments, [arguments[name] for name in wanted]


def output_and_gradients(
    function: Callable[..., Tensor], arguments: dict[str, Tensor], wanted: tuple[str, ...] = LEAVES
) -> list[Tensor]:
    arguments, leaves = with_leaves(arguments, wanted)
    y = function(**arguments)
    return [y, *torch.autograd.grad(y, leaves, cotangent(y))]


def in_layouts(arguments: dict[str, Tensor], **layouts: str) -> dict[str, Tensor]:
    changed = {name: arguments[name].contiguous(memory_format=LAYOUTS[layout]) for name, layout in layouts.items()}
    return {**arguments, **changed}


# --- what the numbers are


@every_small_layer
@pytest.mark.parametrize("wanted", SOME, ids="-".join)
def test_equals_torch_s_layer_to_the_second_derivative(layer: Layer, wanted: tuple[str, ...]) -> None:
    found = []
    for function in (layer.ours, layer.theirs):
        arguments, leaves = with_leaves(layer.arguments(), wanted)
        y = function(**arguments)
        plain = torch.autograd.grad(y, leaves, cotangent(y), retain_graph=True)
        through = cotangent(y).requires_grad_()
        first = torch.autograd.grad(y, leaves, through, create_graph=True)
        directions = [cotangent(x, seed) for seed, x in enumerate(first, 2)]
        second = torch.autograd.grad(first, [*leaves, through], directions, allow_unused=True)
        found.append([y, *plain, *first, *second])
    for i, (a, e) in enumerate(zip(*found, strict=True)):
        assert (a is None) == (e is None), f"tensor {i}"
        if e is not None:
            assert_close(a, e, torch.float64, f"tensor {i} of output, gradients and second derivatives")


@every_large_layer
@pytest.mark.parametrize("wanted", SOME[:4], ids="-".join)
def test_float32_at_realistic_sizes(layer: Layer, wanted: tuple[str, ...]) -> None:
    """Within 2e-6 of each result's largest entry; torch's layer on the weight written out is off by up to 6e-7."""
    arguments = layer.arguments(torch.float32)
    actual = output_and_gradients(layer.ours, arguments, wanted)
    exact = {name: x.double() for name, x in arguments.items()}
    for name, a, e in zip(("output", *wanted), actual, output_and_gradients(layer.theirs, exact, wanted), strict=True):
        assert a.dtype == torch.float32
        error = ((a.double() - e).abs().max() / e.abs().max()).item()
        assert error <= 2e-6, f"{name}: {error:.2e}"


@every_small_layer
def test_sigma_given_equals_sigma_computed_and_has_no_gradient_of_its_own(layer: Layer) -> None:
    arguments, leaves = with_leaves(layer.arguments(), LEAVES)
    _, sigma, *_ = spectral_norm(*(arguments[n] for n in ("weight", "u", "v")), n_power_iterations=0, dim=layer.dim)
    assert sigma.requires_grad
    results = []
    for given in ({}, {"sigma": sigma.detach()}, {"sigma": sigma}):
        y = layer.ours(**arguments, **given)
        results.append([y, *torch.autograd.grad(y, leaves, cotangent(y))])
    for given in results[1:]:
        assert all(torch.equal(a, e) for a, e in zip(given, results[0], strict=True))
    (nothing,) = torch.autograd.grad(layer.ours(**arguments, sigma=sigma).sum(), sigma, allow_unused=True)
    assert nothing is None


@every_small_layer
def test_a_penalty_and_a_loss_in_one_backward(layer: Layer) -> None:
    found = []
    for function in (layer.ours, layer.theirs):
        arguments, leaves = with_leaves(layer.arguments(), LEAVES)
        y = function(**arguments)
        (slope,) = torch.autograd.grad(y.square().sum(), arguments["input"], create_graph=True)
        (slope.square().sum() + y.sin().sum()).backward()
        found.append([x.grad for x in leaves])
    for a, e in zip(*found, strict=True):
        assert_close(a, e, torch.float64)


def test_third_derivatives_say_that_they_are_not_there() -> None:
    layer = SMALL["conv2d"]
    arguments, (_, weight, _) = with_leaves(layer.arguments(), LEAVES)
    y = layer.ours(**arguments)
    for _ in range(2):
        (y,) = torch.autograd.grad(y.square().sum(), weight, create_graph=True)
    with pytest.raises(NotImplementedError, match="spectral_norm: third derivatives"):
        y.sum().backward()


def test_the_backward_op_says_that_it_has_no_derivative() -> None:
    layer = SMALL["linear"]
    x, weight, _, u, v = layer.arguments().values()
    grad = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    sigma = torch.ones((), dtype=torch.float64)
    grads = torch.ops.fastgan.spectral_conv_backward(
        grad, x, weight, sigma, u, v, 0, [], [], [], False, [], 1, "direct", [True] * 3, None
    )
    with pytest.raises(NotImplementedError, match=r"^spectral_conv_backward: .* create_graph=True"):
        grads[0].sum().backward()


# --- memory


@every_small_layer
@pytest.mark.parametrize("wanted", SOME, ids="-".join)
@pytest.mark.parametrize("create_graph", [False, True])
def test_nothing_given_is_written_and_gradients_are_fresh(
    layer: Layer, wanted: tuple[str, ...], create_graph: bool
) -> None:
    arguments, leaves = with_leaves(layer.arguments(), wanted)
    y = layer.ours(**arguments)
    given = [*arguments.values(), y, cotangent(y)]
    before = [x.detach().clone() for x in given]
    grads = torch.autograd.grad(y, leaves, given[-1], create_graph=create_graph)
    assert all(torch.equal(x, b) for x, b in zip(given, before, strict=True))
    pointers = [x.untyped_storage().data_ptr() for x in (*given, *grads)]
    assert len(set(pointers)) == len(pointers)


@pytest.mark.parametrize("layouts", [(a, b) for a in LAYOUTS for b in LAYOUTS], ids="-".join)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["conv2d", "conv2d-strided", "transposed2d"])
def test_layouts_are_those_of_torch_s_layer(name: str, dtype: torch.dtype, layouts: tuple[str, str]) -> None:
    layer = SMALL[name]
    arguments = in_layouts(layer.arguments(dtype), input=layouts[0], weight=layouts[1])
    y = layer.ours(**arguments)
    stock = layer.stock(*(arguments[name] for name in LEAVES), **layer.options)
    assert y.stride() == stock.stride()


class RecordBackward(TorchDispatchMode):
    """Arguments and results of the calls of spectral_conv_backward."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[tuple[Any, ...], tuple[Tensor, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        if func is torch.ops.fastgan.spectral_conv_backward.default:
            self.calls.append((args, results))
        return results


@pytest.mark.parametrize("wanted", SOME[:3], ids="-".join)
@pytest.mark.parametrize("layouts", [("contiguous", "channels_last"), ("channels_last", "contiguous")], ids="-".join)
@pytest.mark.parametrize("dim", [0, 1, 3])
def test_a_weight_gradient_in_another_layout_than_the_weight(
    dim: int, layouts: tuple[str, str], wanted: tuple[str, ...]
) -> None:
    """The correction must follow the layout that the convolution chose for the weight's gradient."""
    shape = (4, 3, 5, 2)
    arguments = in_layouts(Layer((2, 3, 6, 5), shape, F.conv2d).arguments(), input=layouts[0], weight=layouts[1])
    rows, columns = shape[dim], 120 // shape[dim]
    arguments |= {"u": torch.randn(rows, dtype=torch.float64), "v": torch.randn(columns, dtype=torch.float64)}

    def ours(input: Tensor, weight: Tensor, bias: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return spectral_conv(input, weight, bias, u, v, dim=dim)

    def theirs(input: Tensor, weight: Tensor, bias: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return F.conv2d(input, spectral_norm(weight, u, v, n_power_iterations=0, dim=dim)[0], bias)

    with RecordBackward() as recorded:
        actual = output_and_gradients(ours, arguments, wanted)
    ((_, (_, grad_weight, _)),) = recorded.calls
    if layouts[0] == "channels_last":
        assert grad_weight.stride() != arguments["weight"].stride(), "this case is not what it is meant to be"
    for a, e in zip(actual, output_and_gradients(theirs, arguments, wanted), strict=True):
        assert_close(a, e, torch.float64)


@pytest.mark.parametrize("asked", SOME, ids="-".join)
def test_a_backward_computes_what_is_asked_for(asked: tuple[str, ...]) -> None:
    layer = SMALL["conv2d"]
    arguments, _ = with_leaves(layer.arguments(), LEAVES)
    y = layer.ours(**arguments)
    with RecordBackward() as recorded:
        torch.autograd.grad(y.sum(), [arguments[name] for name in asked])
    ((args, results),) = recorded.calls
    assert args[-2] == [name in asked for name in LEAVES]
    assert [x.numel() > 0 for x in results] == [name in asked for name in LEAVES]


# --- how it runs


@every_large_layer
def test_threads_change_nothing_but_the_rounding(layer: Layer) -> None:
    before = torch.get_num_threads()
    runs = {}
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            runs[threads], again = (output_and_gradients(layer.ours, layer.arguments(torch.float32)) for _ in range(2))
            assert all(torch.equal(a, b) for a, b in zip(runs[threads], again, strict=True)), f"{threads} threads"
    finally:
        torch.set_num_threads(before)
    for threads in (2, 5):
        for a, b in zip(runs[threads], runs[1], strict=True):
            assert_close(a, b, torch.float32)


@pytest.mark.parametrize("name", ["conv2d", "transposed2d", "linear"])
def test_autocast_leaves_the_weight_s_dtype(name: str) -> None:
    layer = SMALL[name]
    arguments = layer.arguments(torch.float32)
    expected = output_and_gradients(layer.ours, arguments)
    with torch.autocast("cpu", torch.bfloat16):
        actual = output_and_gradients(layer.ours, arguments)
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))

    halves = {**arguments, "input": arguments["input"].bfloat16(), "bias": arguments["bias"].bfloat16()}
    with torch.autocast("cpu", torch.bfloat16):
        actual = output_and_gradients(layer.ours, halves)
    assert [x.dtype for x in actual] == [torch.float32, torch.bfloat16, torch.float32, torch.bfloat16]
    rounded = {**arguments, **{k: halves[k].float() for k in ("input", "bias")}}
    for a, e in zip(actual, output_and_gradients(layer.ours, rounded), strict=True):
        assert torch.equal(a, e.to(a.dtype))


def critic(x: Tensor, first: dict[str, Tensor], second: dict[str, Tensor]) -> Tensor:
    hidden = F.leaky_relu(spectral_conv(x, **first, stride=2, padding=1), 0.2)
    return spectral_linear(hidden.mean((2, 3)), **second)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_forward_and_backward_into_one_graph_each(dynamic: bool, layout: str) -> None:
    torch._dynamo.reset()
    layers = Layer((1, 6, 8, 8), (8, 6, 3, 3), F.conv2d), Layer((1, 8), (5, 8), F.linear)
    compiled = torch.compile(critic, fullgraph=True, dynamic=dynamic)
    for seed, batch in enumerate((2, 3, 5) if dynamic else (2, 2)):
        found = []
        for function in (critic, compiled):
            parts, leaves = [], []
            for layer in layers:
                arguments = layer.arguments(seed=seed)
                arguments.pop("input")
                arguments, tensors = with_leaves(arguments, ("weight", "bias"))
                parts.append(arguments)
                leaves += tensors
            x = torch.randn(batch, 6, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            x = x.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
            y = function(x, *parts)
            found.append([y, *torch.autograd.grad(y.square().sum(), [x, *leaves])])
        for a, e in zip(*found, strict=True):
            assert_close(a, e, torch.float64)


# --- errors

ARGUMENTS = Layer((2, 3, 6, 5), (4, 3, 3, 3), F.conv2d).arguments(torch.float32)
MATRIX = Layer((2, 7), (5, 7), F.linear).arguments(torch.float32)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weight": torch.ones(4)}, ValueError, r"weight must have at least 3 dimensions, got \[4\]"),
        ({"weight": torch.ones(4, 3)}, ValueError, r"weight must have at least 3 dimensions, got \[4, 3\]"),
        ({"weight": torch.tensor(1.0)}, ValueError, "weight must have at least one dimension, got a scalar"),
        ({"weight": None}, TypeError, "weight must be a Tensor, got NoneType"),
        ({"weight": ARGUMENTS["weight"].long()}, TypeError, "weight must be float32, .* got torch.int64"),
        ({"weight": ARGUMENTS["weight"].double()}, TypeError, "u must be torch.float64 like weight, got torch.float32"),
        ({"input": [1.0]}, TypeError, "input must be a Tensor, got list"),
        ({"input": ARGUMENTS["input"].long()}, TypeError, "input must be float32, .* got torch.int64"),
        ({"input": ARGUMENTS["input"].double()}, TypeError, "input must be torch.float32 like weight, got torch.float"),
        ({"input": ARGUMENTS["input"].half()}, TypeError, "input must be torch.float32 like weight, got torch.float16"),
        ({"input": torch.ones(2, 5, 6, 5)}, ValueError, r"input must be \[N, 3, \*, \*\] .* got \[2, 5, 6, 5\]"),
        ({"input": torch.ones(3, 5)}, ValueError, r"input must be \[N, 3, \*, \*\] .* got \[3, 5\]"),
        ({"groups": 2}, ValueError, r"input must be \[N, 6, \*, \*\] to match weight"),
        ({"transposed": True}, ValueError, r"input must be \[N, 4, \*, \*\] to match weight"),
        ({"bias": torch.ones(3)}, ValueError, r"bias must be \[4\] to match weight \[4, 3, 3, 3\], got \[3\]"),
        ({"bias": torch.ones(4).double()}, TypeError, "bias must be torch.float32 like weight, got torch.float64"),
        ({"bias": 1.0}, TypeError, "bias must be a Tensor, got float"),
        ({"u": torch.ones(3)}, ValueError, r"u must be \[4\] to match weight \[4, 3, 3, 3\] with dim=0, got \[3\]"),
        ({"v": torch.ones(26)}, ValueError, r"v must be \[27\] to match weight \[4, 3, 3, 3\] with dim=0, got \[26\]"),
        ({"dim": 1}, ValueError, r"u must be \[3\] to match weight \[4, 3, 3, 3\] with dim=1, got \[4\]"),
        ({"u": torch.ones(4).double()}, TypeError, "u must be torch.float32 like weight, got torch.float64"),
        ({"dim": 4}, ValueError, r"dim must be in \[-4, 3\] for weight \[4, 3, 3, 3\], got 4"),
        ({"dim": 0.0}, TypeError, "dim must be an integer, got float"),
        ({"sigma": 2.0}, TypeError, "sigma must be a Tensor, got float"),
        ({"sigma": torch.ones(1)}, ValueError, r"sigma must be a scalar, torch.float32 on cpu, got \[1\]"),
        ({"sigma": torch.tensor(1.0).double()}, ValueError, r"sigma must be a scalar, torch.float32 on cpu, got \[\]"),
        ({"stride": (1, 1, 1)}, ValueError, r"stride must be an integer or 2 of them, got \(1, 1, 1\)"),
        ({"padding": [1]}, ValueError, r"padding must be an integer or 2 of them, got \[1\]"),
        ({"padding": "same"}, ValueError, "padding must be an integer or 2 of them, got 'same'"),
        ({"dilation": (1.0, 1.0)}, ValueError, r"dilation must be an integer or 2 of them, got \(1.0, 1.0\)"),
        ({"output_padding": ()}, ValueError, r"output_padding must be an integer or 2 of them, got \(\)"),
    ],
)
@pytest.mark.parametrize("mode", ["direct", "autograd"])
def test_errors_name_the_argument(changes: dict[str, Any], error: type[Exception], message: str, mode: str) -> None:
    arguments = {**ARGUMENTS, **changes}
    if mode == "autograd" and "bias" not in changes:
        arguments["bias"] = arguments["bias"].clone().requires_grad_()
    with pytest.raises(error, match=f"^spectral_conv: {message}"):
        spectral_conv(**arguments)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weight": torch.ones(5)}, ValueError, r"_linear: weight must be \[out_features, in_features\], got \[5\]"),
        ({"weight": torch.ones(5, 7, 1)}, ValueError, r"_linear: weight must be \[out_.*\], got \[5, 7, 1\]"),
        ({"u": None}, TypeError, "_linear: u must be a Tensor, got NoneType"),
        ({"v": torch.ones(5)}, ValueError, r"_linear: v must be \[7\] to match weight \[5, 7\] with dim=0, got \[5\]"),
        ({"input": torch.ones(2, 6)}, ValueError, r"_conv: input must be \[..., 7\] to match weight \[5, 7\], got"),
        ({"input": torch.tensor(1.0)}, ValueError, r"_conv: input must be \[..., 7\] to match weight \[5, 7\], got"),
        ({"bias": torch.ones(7)}, ValueError, r"_conv: bias must be \[5\] to match weight \[5, 7\], got \[7\]"),
    ],
)
def test_errors_of_a_linear_layer(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^spectral{message}"):
        spectral_linear(**{**MATRIX, **changes})


@every_small_layer
def test_a_gradient_of_another_shape_does_not_reach_the_backward(layer: Layer) -> None:
    """Loops over raw pointers take the input's gradient to be as large as the input."""
    arguments, leaves = with_leaves(layer.arguments(), LEAVES)
    y = layer.ours(**arguments)
    with RecordBackward() as recorded:
        torch.autograd.grad(y, leaves, cotangent(y))
    (((grad, *rest), _),) = recorded.calls
    for wrong in (grad[:-1], grad[..., :-1], grad[0]):
        with pytest.raises(ValueError, match=r"^spectral_conv_backward: grad_output must be \["):
            torch.ops.fastgan.spectral_conv_backward(wrong, *rest)
