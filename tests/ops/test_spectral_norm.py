"""spectral_norm itself: against torch's two implementations and exact singular values, and what is special about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import spectral_norm as hooked_spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode

import fastgan
from fastgan.functional import spectral_norm, spectral_norm_group
from fastgan.ops.layout import channel_extents
from fastgan.ops.spectral_norm import cpu, reference
from fastgan.ops.spectral_norm.matrix import as_matrix, columns_in_memory, columns_of, from_matrix
from tests.tolerances import assert_close

BACKENDS = ["reference", "cpu"]
FLOATS = [torch.float32, torch.float64]
LAYERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "linear": (lambda: nn.Linear(7, 5), 0),
    "conv2d": (lambda: nn.Conv2d(3, 6, 3), 0),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(4, 5, 3), 1),
}
every_backend = pytest.mark.parametrize("backend", BACKENDS)
every_float = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def unit(length: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return F.normalize(torch.randn(length, dtype=dtype), dim=0)


def problem(*shape: int, dim: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """A weight with random start vectors."""
    weight = torch.randn(shape, dtype=dtype)
    return weight, unit(shape[dim], dtype), unit(weight.numel() // shape[dim], dtype)


def of_spectrum(singular_values: list[float], rows: int, columns: int) -> Tensor:
    """A float64 matrix with these singular values."""
    values = torch.tensor(singular_values, dtype=torch.float64)
    left, right = (torch.linalg.qr(torch.randn(n, len(values), dtype=torch.float64)).Q for n in (rows, columns))
    return (left * values) @ right.mT


class RecordCalls(TorchDispatchMode):
    """Names of the fastgan ops called, with the number of members of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "fastgan":
            self.calls.append((func._schema.name.partition("::")[2], len(args[0])))
        return func(*args, **(kwargs or {}))


# --- what the numbers are


@every_backend
@every_float
@pytest.mark.parametrize(("shape", "dim"), [((6, 9), 0), ((9, 6), 0), ((7, 7), 0), ((4, 5, 3, 3), 1)], ids=str)
@pytest.mark.parametrize("v_first", [False, True])
def test_sigma_converges_to_the_largest_singular_value(
    shape: tuple[int, ...], dim: int, v_first: bool, dtype: torch.dtype, backend: str
) -> None:
    weight, u, v = problem(*shape, dim=dim, dtype=dtype)
    with fastgan.use_backend(backend):
        normalized, sigma, u, v = spectral_norm(weight, u, v, n_power_iterations=500, dim=dim, v_first=v_first)
    assert_close(sigma, torch.linalg.matrix_norm(as_matrix(weight, dim).double(), 2), dtype)
    assert_close(torch.linalg.matrix_norm(as_matrix(normalized, dim), 2), torch.tensor(1.0), dtype)
    assert_close(torch.stack([u.norm(), v.norm()]), torch.ones(2), dtype)


class Parametrization:
    """One layer under torch.nn.utils.parametrizations.spectral_norm."""

    v_first = False

    def __init__(self, layer: nn.Module, n_power_iterations: int) -> None:
        self.layer = parametrizations.spectral_norm(layer, n_power_iterations=n_power_iterations)
        self.original = self.layer.parametrizations.weight.original

    def vectors(self) -> list[Tensor]:
        norm = self.layer.parametrizations.weight[0]
        return [norm._u.clone(), norm._v.clone()]

    def weight(self) -> Tensor:
        return self.layer.weight


class Hook:
    """One layer under the older torch.nn.utils.spectral_norm."""

    v_first = True

    def __init__(self, layer: nn.Module, n_power_iterations: int) -> None:
        self.layer = hooked_spectral_norm(layer, n_power_iterations=n_power_iterations)
        self.original = self.layer.weight_orig

    def vectors(self) -> list[Tensor]:
        return [self.layer.weight_u.clone(), self.layer.weight_v.clone()]

    def weight(self) -> Tensor:
        (hook,) = self.layer._forward_pre_hooks.values()
        hook(self.layer, None)
        return self.layer.weight


@every_backend
@every_float
@pytest.mark.parametrize("n_power_iterations", [1, 2])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("stock", [Parametrization, Hook])
def test_every_step_is_torch_s(
    stock: type[Parametrization] | type[Hook], layer: str, n_power_iterations: int, dtype: torch.dtype, backend: str
) -> None:
    make, dim = LAYERS[layer]
    theirs = stock(make().to(dtype), n_power_iterations)
    weight = theirs.original.detach().clone().requires_grad_()
    u, v = theirs.vectors()
    for step in range(5):
        expected = theirs.weight()
        options = {"n_power_iterations": n_power_iterations, "dim": dim, "v_first": stock.v_first}
        with fastgan.use_backend(backend):
            actual, _, u, v = spectral_norm(weight, u, v, **options)
        grad = torch.randn_like(expected)
        (expected_grad,) = torch.autograd.grad(expected, theirs.original, grad)
        (actual_grad,) = torch.autograd.grad(actual, weight, grad)
        for name, a, e in zip(
            ("weight", "gradient", "u", "v"),
            (actual, actual_grad, u, v),
            (expected, expected_grad, *theirs.vectors()),
            strict=True,
        ):
            assert_close(a, e, dtype, f"{name} of step {step}")
        with torch.no_grad():  # the same step of training on both sides
            theirs.original -= 0.05 * expected_grad
            weight -= 0.05 * expected_grad


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_block_of_vectors_converges_at_the_rate_of_the_value_behind_it(k: int) -> None:
    spectrum = [1.0, 0.9, 0.8, 0.65, 0.2, 0.1]
    weight = of_spectrum(spectrum, 20, 30)
    u, v = (torch.linalg.qr(torch.randn(n, k, dtype=torch.float64)).Q for n in (20, 30))
    if k == 1:
        u, v = u[:, 0], v[:, 0]
    errors = []
    while not errors or errors[-1] > 1e-11:
        _, sigma, u, v = spectral_norm(weight, u, v)
        errors.append(1 - sigma.item())
    # The vectors' error falls by (σ_{k+1} / σ₁)² an iteration, and that of sigma, quadratic in it, by the square.
    rate = errors[-1] / errors[-2]
    assert rate == pytest.approx(spectrum[k] ** 4, rel=0.05)


@every_float
def test_a_block_of_vectors_is_better_than_one(dtype: torch.dtype) -> None:
    weight = torch.randn(24, 5, 3, 3, dtype=dtype)  # a flat spectrum, as at initialisation
    us, vs = (torch.linalg.qr(torch.randn(n, 8, dtype=dtype)).Q for n in (24, 45))
    _, one, *_ = spectral_norm(weight, us[:, 0], vs[:, 0], n_power_iterations=5)
    normalized, block, new_us, new_vs = spectral_norm(weight, us, vs, n_power_iterations=5)
    exact = torch.linalg.matrix_norm(as_matrix(weight, 0), 2)
    assert 0 <= exact - block < 0.25 * (exact - one)
    assert_close(normalized, weight / block, dtype)
    for vectors in (new_us, new_vs):
        assert vectors.dtype == dtype
        assert_close(vectors.mT @ vectors, torch.eye(8, dtype=dtype), dtype)


@every_backend
@every_float
@pytest.mark.parametrize(
    ("shape", "dim"), [((11, 4), 0), ((4, 11), 0), ((6, 6), 0), ((3, 8, 2, 2), 1), ((1, 5), 0), ((5,), 0)], ids=str
)
def test_exact_is_the_largest_singular_value_and_its_derivative(
    shape: tuple[int, ...], dim: int, dtype: torch.dtype, backend: str
) -> None:
    weight, u, v = problem(*shape, dim=dim, dtype=dtype)
    weight.requires_grad_()
    with fastgan.use_backend(backend):
        normalized, sigma, u, v = spectral_norm(weight, u, v, dim=dim, exact=True)
    leaf = weight.detach().double().requires_grad_()
    matrix = as_matrix(leaf, dim)
    norm = torch.linalg.matrix_norm(matrix, 2)
    assert_close(sigma, torch.linalg.svdvals(matrix)[0], dtype)
    assert_close(normalized, leaf / norm, dtype)
    assert_close(as_matrix(weight, dim) @ v, sigma * u, dtype)
    grad, grad_sigma = torch.randn_like(weight), torch.randn_like(sigma)
    (actual,) = torch.autograd.grad([normalized, sigma], weight, [grad, grad_sigma])
    (expected,) = torch.autograd.grad([leaf / norm, norm], leaf, [grad.double(), grad_sigma.double()])
    assert_close(actual, expected, dtype)


def test_exact_of_an_empty_weight_is_what_the_iteration_gives() -> None:
    for shape in ((0, 5), (5, 0)):
        weight, u, v = torch.empty(shape), torch.randn(shape[0]), torch.randn(shape[1])
        expected = spectral_norm(weight, u, v)
        for a, e in zip(spectral_norm(weight, u, v, exact=True), expected, strict=True):
            assert torch.equal(a, e)


# --- scales, zeros and what is not finite


def stock_step(weight: Tensor, u: Tensor, v: Tensor) -> list[Tensor]:
    """The weight and its gradient, u and v after one access of torch's parametrisation that starts from these."""
    layer = Parametrization(nn.Linear(*reversed(weight.shape), bias=False, dtype=weight.dtype), 1)
    with torch.no_grad():
        layer.original.copy_(weight)
    norm = layer.layer.parametrizations.weight[0]
    norm._u.copy_(u)
    norm._v.copy_(v)
    normalized = layer.weight()
    (grad,) = torch.autograd.grad(normalized.sum(), layer.original)
    return [normalized, grad, *layer.vectors()]


@every_backend
@pytest.mark.parametrize("scale", [1e30, 1e18, 1e-6, 1e-11, 1e-13, 1e-30, 0.0])
def test_huge_tiny_and_zero_weights_give_what_torch_s_do(scale: float, backend: str) -> None:
    weight, u, v = problem(5, 8)
    weight = weight * scale
    leaf = weight.clone().requires_grad_()
    with fastgan.use_backend(backend):
        normalized, _, new_u, new_v = spectral_norm(leaf, u, v)
        (grad,) = torch.autograd.grad(normalized.sum(), leaf)
    # From 1e19 on torch's norms overflow in float32. The CPU kernel takes norms in float64, where they do not.
    wide = torch.float64 if scale == 1e30 and backend == "cpu" else torch.float32
    expected = stock_step(*(x.to(wide) for x in (weight, u, v)))
    for a, e in zip([normalized, grad, new_u, new_v], expected, strict=True):
        finite = e[e.isfinite()]
        magnitude = finite.abs().max() if finite.any() else 1.0
        assert_close(a / magnitude, e / magnitude, torch.float32)
    assert normalized.isnan().all() == (scale == 0)


@every_backend
def test_members_of_very_different_scales_do_not_disturb_each_other(backend: str) -> None:
    scales = [1e-9, 1.0, 1e9, 1e16]
    members = [problem(6, 5) for _ in scales]
    weights = [weight * scale for (weight, _, _), scale in zip(members, scales, strict=True)]
    us, vs = [u for _, u, _ in members], [v for _, _, v in members]
    with fastgan.use_backend(backend):
        normalized, sigmas, *_ = spectral_norm_group(weights, us, vs)
    expected, expected_sigmas, *_ = reference.spectral_norm(
        *([x.double() for x in each] for each in (weights, us, vs)), [0] * 4, [True] * 4, 1, 1e-12, False
    )
    for i, scale in enumerate(scales):
        assert_close(normalized[i], expected[i], torch.float32)
        assert_close(sigmas[i] / scale, expected_sigmas[i] / scale, torch.float32)


@every_backend
@pytest.mark.parametrize("vectors", ["one", "exact", "block"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_gives_nan(value: float, vectors: str, backend: str) -> None:
    weight, u, v = problem(5, 8)
    weight[2, 3] = value
    if vectors == "block":
        u, v = (torch.linalg.qr(torch.randn(n, 2)).Q for n in (5, 8))
    with fastgan.use_backend(backend):
        normalized, sigma, *_ = spectral_norm(weight, u, v, exact=vectors == "exact")
    assert sigma.isnan() and normalized.isnan().any() and not normalized.isfinite()[2, 3]


# --- inputs and outputs


@every_backend
@pytest.mark.parametrize("n_power_iterations", [0, 1, 2])
@pytest.mark.parametrize("vectors", ["one", "exact", "block"])
def test_inputs_are_not_written_and_outputs_are_fresh(vectors: str, n_power_iterations: int, backend: str) -> None:
    weight, u, v = problem(5, 4, 3)
    if vectors == "block":
        u, v = (torch.linalg.qr(torch.randn(n, 2)).Q for n in (5, 12))
    inputs = weight.requires_grad_(), u, v
    before = [x.detach().clone() for x in inputs]
    with fastgan.use_backend(backend):
        outputs = spectral_norm(*inputs, n_power_iterations=n_power_iterations, exact=vectors == "exact")
        first = torch.autograd.grad(outputs[0].square().sum(), weight, create_graph=True)
        torch.autograd.grad(first[0].square().sum(), weight)
    for x, y in zip(inputs, before, strict=True):
        assert torch.equal(x, y)
    pointers = [x.untyped_storage().data_ptr() for x in (*inputs, *outputs)]
    assert len(set(pointers)) == len(pointers)
    assert [x.requires_grad for x in outputs] == [True, True, False, False]


@every_backend
def test_a_member_that_is_not_materialised_has_no_output_but_a_sigma(backend: str) -> None:
    weights = [torch.randn(4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    us, vs = [unit(4, torch.float64) for _ in weights], [unit(5, torch.float64) for _ in weights]
    op = torch.ops.fastgan.spectral_norm
    outputs, sigmas, new_us, new_vs = op(weights, us, vs, [0, 0], [False, True], 1, 1e-12, False, backend)
    expected, expected_sigmas, *_ = op(weights, us, vs, [0, 0], [True, True], 1, 1e-12, False, backend)
    assert outputs[0].numel() == 0 and not outputs[0].requires_grad
    assert_close(outputs[1], expected[1], torch.float64)
    assert_close(torch.stack(sigmas), torch.stack(expected_sigmas), torch.float64)
    cotangent = torch.randn((), dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(sigmas[0], weights[0], cotangent, create_graph=True)
    outer = torch.outer(new_us[0], new_vs[0])
    assert_close(first, cotangent * outer, torch.float64)
    direction = torch.randn_like(first)
    second, nothing = torch.autograd.grad(first, [cotangent, weights[0]], direction, allow_unused=True)
    assert_close(second, (direction * outer).sum(), torch.float64)
    assert nothing is None
    public = spectral_norm_group(weights, us, vs, materialize=[False, True])
    assert [x.shape for x in public[0]] == [(0,), (4, 5)]


def group(count: int = 3) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    members = [problem(4, 3 + i, dtype=torch.float64) for i in range(count)]
    weights, us, vs = (list(x) for x in zip(*members, strict=True))
    return [weight.requires_grad_() for weight in weights], us, vs


@every_backend
def test_members_whose_outputs_are_not_used_have_no_gradient(backend: str) -> None:
    weights, us, vs = group()
    with fastgan.use_backend(backend):
        outputs, sigmas, *_ = spectral_norm_group(weights, us, vs)
        alone, *_ = spectral_norm(weights[1], us[1], vs[1])
    grad = torch.randn_like(alone)
    with RecordCalls() as recorded:
        grads = torch.autograd.grad(outputs[1], weights, grad, allow_unused=True, retain_graph=True)
    assert grads[0] is None and grads[2] is None
    assert_close(grads[1], torch.autograd.grad(alone, weights[1], grad)[0], torch.float64)
    assert recorded.calls == [("spectral_norm_backward", 1)]
    with RecordCalls() as recorded:
        grads = torch.autograd.grad(sigmas[2], weights, allow_unused=True)
    assert grads[0] is None and grads[1] is None and grads[2] is not None
    assert recorded.calls == [], "sigma's derivative needs no weight"


@every_backend
def test_members_that_need_no_gradient_are_left_out_of_the_backward(backend: str) -> None:
    weights, us, vs = group()
    weights[1] = weights[1].detach()
    with fastgan.use_backend(backend):
        outputs, *_ = spectral_norm_group(weights, us, vs)
    with RecordCalls() as recorded:
        sum(output.square().sum() for output in outputs).backward()
    assert recorded.calls == [("spectral_norm_backward", 2)]
    assert [weight.grad is None for weight in weights] == [False, True, False]


@every_backend
def test_second_derivatives_of_some_members_only(backend: str) -> None:
    weights, us, vs = group()
    with fastgan.use_backend(backend):
        outputs, *_ = spectral_norm_group(weights, us, vs)
        alone, *_ = spectral_norm(weights[2], us[2], vs[2])
    first = torch.autograd.grad([x.square().sum() for x in outputs], weights, create_graph=True)
    with RecordCalls() as recorded:
        second = torch.autograd.grad(first[2].square().sum(), weights, allow_unused=True)
    # Once through the gradient, whose derivative is asked for of one member, and once more through its cotangent.
    assert recorded.calls == [("spectral_norm_double_backward", 1), ("spectral_norm_backward", 1)]
    assert second[0] is None and second[1] is None
    (expected,) = torch.autograd.grad(alone.square().sum(), weights[2], create_graph=True)
    assert_close(second[2], torch.autograd.grad(expected.square().sum(), weights[2])[0], torch.float64)


@every_backend
def test_two_forwards_before_one_backward(backend: str) -> None:
    theirs = Parametrization(nn.Linear(6, 4).double(), 1)
    weight = theirs.original.detach().clone().requires_grad_()
    u, v = theirs.vectors()
    expected = theirs.weight().square().sum() + theirs.weight().sin().sum()
    with fastgan.use_backend(backend):
        one, _, u, v = spectral_norm(weight, u, v)
        two, _, u, v = spectral_norm(weight, u, v)
    (actual,) = torch.autograd.grad(one.square().sum() + two.sin().sum(), weight)
    assert_close(actual, torch.autograd.grad(expected, theirs.original)[0], torch.float64)


def test_third_derivatives_say_that_they_are_not_there() -> None:
    weight, u, v = problem(4, 5, dtype=torch.float64)
    weight.requires_grad_()
    output, *_ = spectral_norm(weight, u, v)
    for _ in range(2):
        (output,) = torch.autograd.grad(output.square().sum(), weight, create_graph=True)
    with pytest.raises(NotImplementedError, match="spectral_norm: third derivatives"):
        output.sum().backward()
    exact = reference.spectral_norm([weight], [u], [v], [0], [True], 1, 1e-12, False)[0][0]
    for _ in range(3):
        (exact,) = torch.autograd.grad(exact.square().sum(), weight, create_graph=True)
    assert exact.isfinite().all()


# --- how it runs


def test_threads_change_nothing_but_the_rounding() -> None:
    members = [(512, 64, 3, 3), (3, 200_000), (200_000, 3), (1000, 1)]
    made = [problem(*shape) for shape in members]
    weights, us, vs = (list(x) for x in zip(*made, strict=True))

    def everything() -> list[Tensor]:
        leaves = [weight.detach().clone().requires_grad_() for weight in weights]
        with fastgan.use_backend("cpu"):
            outputs, *rest = spectral_norm_group(leaves, us, vs, n_power_iterations=2)
        torch.manual_seed(1)
        cotangents = [torch.randn_like(x) for x in outputs]
        first = torch.autograd.grad(outputs, leaves, cotangents, create_graph=True)
        second = torch.autograd.grad(first, leaves, cotangents)
        return [*outputs, *(x for each in rest for x in each), *first, *second]

    before = torch.get_num_threads()
    try:
        runs = {}
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            runs[threads] = everything()
            for a, b in zip(runs[threads], everything(), strict=True):
                assert torch.equal(a, b), f"two runs with {threads} threads differ"
    finally:
        torch.set_num_threads(before)
    for threads in (2, 5):
        for a, b in zip(runs[threads], runs[1], strict=True):
            assert_close(a, b, torch.float32)


@every_backend
def test_autocast_leaves_the_weight_s_dtype(backend: str) -> None:
    weight, u, v = problem(5, 8)
    weight.requires_grad_()
    with fastgan.use_backend(backend):
        expected, *_ = spectral_norm(weight, u, v)
        with torch.autocast("cpu", torch.bfloat16):
            results = spectral_norm(weight, u, v)
            output = F.linear(torch.randn(3, 8), results[0])
    assert [x.dtype for x in results] == [torch.float32] * 4
    assert torch.equal(results[0], expected)
    assert output.dtype == torch.bfloat16
    output.sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32


class Critic(nn.Module):
    """Two layers normalised in one call, whose vectors are buffers that a forward in training mode moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.randn(6, 9), torch.randn(1, 6)])
        for name, length in (("u0", 6), ("v0", 9), ("u1", 1), ("v1", 6)):
            self.register_buffer(name, unit(length))

    def forward(self, x: Tensor) -> Tensor:
        us, vs = [self.u0, self.u1], [self.v0, self.v1]
        weights, _, new_us, new_vs = spectral_norm_group(list(self.weights), us, vs)
        with torch.no_grad():
            for old, new in zip(us + vs, new_us + new_vs, strict=True):
                old.copy_(new)
        return F.linear(F.leaky_relu(F.linear(x, weights[0]), 0.2), weights[1])


@every_backend
def test_two_forwards_compile_into_one_graph(backend: str) -> None:
    torch._dynamo.reset()
    eager, other = Critic(), Critic()
    other.load_state_dict(eager.state_dict())

    def step(critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - critic(real)).mean() + F.relu(1 + critic(fake)).mean()

    compiled = torch.compile(step, fullgraph=True)
    with fastgan.use_backend(backend):
        for seed in range(3):
            torch.manual_seed(seed)
            inputs = torch.randn(2, 4, 9)
            losses = [function(critic, *inputs) for function, critic in ((step, eager), (compiled, other))]
            assert_close(losses[1], losses[0], torch.float32)
            for critic, loss in zip((eager, other), losses, strict=True):
                critic.zero_grad()
                loss.backward()
            for (name, a), e in zip(other.named_parameters(), eager.parameters(), strict=True):
                assert_close(a.grad, e.grad, torch.float32, name)
            for (name, a), e in zip(other.named_buffers(), eager.buffers(), strict=True):
                assert_close(a, e, torch.float32, name)


# --- errors

W, U, V = torch.randn(4, 3, 2), torch.randn(4), torch.randn(6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weight": [1.0]}, TypeError, "weight must be a Tensor, got list"),
        ({"weight": W.long()}, TypeError, r"weight must be float32, .* got torch.int64"),
        ({"weight": W.to(torch.complex64)}, TypeError, r"weight must be float32, .* got torch.complex64"),
        ({"weight": W.to_sparse()}, TypeError, "weight must be dense, got torch.sparse_coo"),
        ({"weight": torch.tensor(1.0)}, ValueError, "weight must have at least one dimension, got a scalar"),
        ({"u": None}, TypeError, "u must be a Tensor, got NoneType"),
        ({"v": 3}, TypeError, "v must be a Tensor, got int"),
        ({"u": U[:3]}, ValueError, r"u must be \[4\] to match weight \[4, 3, 2\] with dim=0, got \[3\]"),
        ({"v": torch.randn(5)}, ValueError, r"v must be \[6\] to match weight \[4, 3, 2\] with dim=0, got \[5\]"),
        ({"dim": 1}, ValueError, r"u must be \[3\] to match weight \[4, 3, 2\] with dim=1, got \[4\]"),
        ({"dim": -2}, ValueError, r"u must be \[3\] to match weight \[4, 3, 2\] with dim=1, got \[4\]"),
        ({"v": V[:, None]}, ValueError, r"v must be \[6\] .* got \[6, 1\]"),
        ({"u": U.double()}, TypeError, "u must be torch.float32 like weight, got torch.float64"),
        ({"v": V.half()}, TypeError, "v must be torch.float32 like weight, got torch.float16"),
        ({"u": U.to("meta")}, ValueError, "u must be on cpu like weight, got meta"),
        ({"weight": W.to("meta")}, ValueError, "u must be on meta like weight, got cpu"),
        ({"dim": 3}, ValueError, r"dim must be in \[-3, 2\] for weight \[4, 3, 2\], got 3"),
        ({"dim": -4}, ValueError, r"dim must be in \[-3, 2\] for weight \[4, 3, 2\], got -4"),
        ({"dim": 0.0}, TypeError, "dim must be an integer, got float"),
        ({"dim": True}, TypeError, "dim must be an integer, got bool"),
        ({"n_power_iterations": -1}, ValueError, "n_power_iterations must be at least 0, got -1"),
        ({"n_power_iterations": 1.5}, TypeError, "n_power_iterations must be an integer, got float"),
        ({"n_power_iterations": -1, "exact": True}, ValueError, "n_power_iterations must be at least 0, got -1"),
        ({"eps": 0}, ValueError, "eps must be positive, got 0"),
        ({"eps": math.nan}, ValueError, "eps must be positive, got nan"),
        ({"eps": "small"}, TypeError, "eps must be a number, got str"),
        ({"u": U[:3], "exact": True}, ValueError, r"u must be \[4\]"),
        ({"u": torch.randn(4, 2)}, ValueError, r"v must be \[6, k\] to match weight \[4, 3, 2\] with dim=0, got \[6\]"),
        ({"v": torch.randn(6, 2)}, ValueError, r"v must be \[6\] .* got \[6, 2\]"),
        (
            {"u": torch.randn(4, 2), "v": torch.randn(6, 3)},
            ValueError,
            r"v must have 2 vectors, like u, got \[6, 3\]",
        ),
        (
            {"u": torch.randn(4, 5), "v": torch.randn(6, 5)},
            ValueError,
            r"u must have from 1 to 4 vectors, got \[4, 5\]",
        ),
        ({"u": torch.randn(4, 0), "v": torch.randn(6, 0)}, ValueError, "u must have from 1 to 4 vectors"),
        (
            {"u": torch.randn(4, 2), "v": torch.randn(6, 2), "v_first": True},
            ValueError,
            "v_first must be False where u has several vectors",
        ),
        (
            {"u": torch.randn(4, 2), "v": torch.randn(6, 2), "exact": True},
            ValueError,
            "exact must be False where u has several vectors",
        ),
    ],
)
def test_errors_name_the_argument(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^spectral_norm: .*{message}"):
        spectral_norm(**{"weight": W, "u": U, "v": V, **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weights": [], "us": [], "vs": []}, ValueError, "_group: weights must have at least one member, got none"),
        ({"us": [U]}, ValueError, "_group: us must have 2 members, like weights, got 1"),
        ({"vs": [V] * 3}, ValueError, "_group: vs must have 2 members, like weights, got 3"),
        ({"dims": [0]}, ValueError, "_group: dims must have 2 members, like weights, got 1"),
        ({"dims": [0, 3]}, ValueError, r"_group: dim must be in \[-3, 2\] for weights\[1\] \[4, 3, 2\], got 3"),
        ({"dims": [0, "1"]}, TypeError, "_group: dim must be an integer, got str"),
        ({"materialize": [True]}, ValueError, ": materialize must have 2 members, like weights, got 1"),
        ({"weights": [W, 1.0]}, TypeError, r"_group: weights\[1\] must be a Tensor, got float"),
        ({"us": [U, None]}, TypeError, r"_group: us\[1\] must be a Tensor, got NoneType"),
        ({"n_power_iterations": -2}, ValueError, "_group: n_power_iterations must be at least 0, got -2"),
        ({"eps": -1.0}, ValueError, "_group: eps must be positive, got -1.0"),
        ({"us": [U, U[:2]]}, ValueError, r": us\[1\] must be \[4\] to match weights\[1\] \[4, 3, 2\] .* got \[2\]"),
        ({"weights": [W, W.long()]}, TypeError, r": weights\[1\] must be float32, .* got torch.int64"),
        (
            {"weights": [W, W.double()], "us": [U, U.double()], "vs": [V, V.double()]},
            ValueError,
            r": weights\[1\] must be torch.float32 on cpu like weights\[0\], got torch.float64 on cpu",
        ),
        (
            {"weights": [W, W.to("meta")], "us": [U, U.to("meta")], "vs": [V, V.to("meta")]},
            ValueError,
            r": weights\[1\] must be torch.float32 on cpu like weights\[0\], got torch.float32 on meta",
        ),
    ],
)
def test_errors_of_a_group_name_the_member(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^spectral_norm{message}"):
        spectral_norm_group(**{"weights": [W, W], "us": [U, U], "vs": [V, V], **arguments})


def test_one_dim_serves_a_whole_group() -> None:
    weights, us, vs = group()
    whole = spectral_norm_group([w.detach().mT.contiguous() for w in weights], us, vs, dims=-1)
    for w, u, v, normalized in zip(weights, us, vs, whole[0], strict=True):
        assert_close(normalized.mT, spectral_norm(w, u, v)[0], torch.float64)


# --- the weight as a matrix

DENSE: dict[str, Tensor] = {
    "vector": torch.randn(5),
    "contiguous-2d": torch.randn(4, 5),
    "transposed-2d": torch.randn(5, 4).mT,
    "contiguous-4d": torch.randn(3, 4, 2, 5),
    "channels_last": torch.randn(3, 4, 2, 5).contiguous(memory_format=torch.channels_last),
    "channels_last-one-channel": torch.randn(3, 1, 2, 5).contiguous(memory_format=torch.channels_last),
    "channels_last-1x1": torch.randn(3, 4, 1, 1).contiguous(memory_format=torch.channels_last),
    "channels_last_3d": torch.randn(3, 4, 2, 5, 2).contiguous(memory_format=torch.channels_last_3d),
    "permuted-3d": torch.randn(3, 4, 5).permute(2, 0, 1),
    "permuted-3d-other": torch.randn(3, 4, 5).permute(1, 2, 0),
    "permuted-5d": torch.randn(2, 3, 4, 2, 3).permute(3, 1, 4, 0, 2),
    "permuted-5d-ones": torch.randn(2, 1, 4, 1, 3).permute(3, 4, 1, 0, 2),
    "ones": torch.randn(1, 1, 1),
}


@pytest.mark.parametrize(
    ("name", "dim"), [(name, dim) for name, weight in DENSE.items() for dim in range(weight.dim())]
)
def test_columns_in_the_order_of_memory(name: str, dim: int) -> None:
    weight = DENSE[name]
    matrix = as_matrix(weight, dim)
    rows, columns = matrix.shape
    assert rows == weight.shape[dim]
    assert torch.equal(from_matrix(matrix, weight, dim), weight)

    order = columns_in_memory(torch.arange(columns), weight, dim)
    assert order.is_contiguous()
    outer, channels, inner = channel_extents(weight, dim)
    memory = torch.as_strided(weight, (weight.numel(),), (1,)).view(outer, channels, inner)
    assert torch.equal(memory.movedim(1, 0).reshape(rows, columns), matrix[:, order])

    v = torch.randn(columns)
    assert torch.equal(columns_in_memory(v, weight, dim), v[order])
    assert torch.equal(columns_of(columns_in_memory(v, weight, dim), weight, dim), v)
    strided = torch.stack([v, v], dim=1)[:, 1]
    assert torch.equal(columns_in_memory(strided, weight, dim), v[order])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dim", [0, 1])
def test_a_weight_is_read_where_it_lies(dim: int, memory_format: torch.memory_format) -> None:
    """Nothing as large is made beside the results: no permuted copy, for a transposed convolution either."""
    weight, u, v = problem(12, 10, 3, 3, dim=dim)
    weight = weight.contiguous(memory_format=memory_format)

    class LargeResults(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.made: list[Any] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.numel() >= weight.numel():
                self.made.append(func)
            return result

    with LargeResults() as large:
        (output,), sigma, new_u, new_v = cpu.spectral_norm([weight], [u], [v], [dim], [True], 1, 1e-12, False)
        assert large.made == [torch.ops.aten.empty_like.default]
        cpu.spectral_norm_backward([output], [weight], sigma, new_u, new_v, [dim])
        assert large.made == [torch.ops.aten.empty_like.default] * 2
    assert output.stride() == weight.stride()
