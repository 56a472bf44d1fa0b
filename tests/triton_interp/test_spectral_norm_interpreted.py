"""spectral_norm's Triton kernels, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from triton import language as tl

from fastgan.ops.spectral_norm import reference
from fastgan.ops.spectral_norm import spectral_norm as op
from fastgan.ops.spectral_norm import triton as kernels
from fastgan.ops.spectral_norm import triton_device as device
from fastgan.ops.spectral_norm import triton_plan as plans
from fastgan.ops.spectral_norm.matrix import as_matrix, columns
from tests.ledger.launches import record_launches
from tests.ledger.torch_kernels import TorchKernels
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter

PRODUCT, FINISH = "spectral_norm_product_kernel", "spectral_norm_finish_kernel"
BACKWARD = ["spectral_norm_bwd_dot_kernel", "spectral_norm_bwd_kernel"]
DOUBLE_BACKWARD = ["spectral_norm_double_bwd_dots_kernel", "spectral_norm_double_bwd_kernel"]
EPS = 1e-12


@pytest.fixture(autouse=True)
def _fresh_plans() -> Iterator[None]:
    """Plans that were made under other settings are not used."""
    plans.make_plan.cache_clear()
    yield
    plans.make_plan.cache_clear()


def make(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, dtype=torch.float64).to(dtype)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def unit_vectors(weights: list[Tensor], dims: list[int]) -> tuple[list[Tensor], list[Tensor]]:
    lengths = [(w.shape[d], columns(w, d)) for w, d in zip(weights, dims, strict=True)]
    us, vs = zip(*((F.normalize(make(n), dim=0), F.normalize(make(m), dim=0)) for n, m in lengths), strict=True)
    return [u.to(w) for u, w in zip(us, weights, strict=True)], [v.to(w) for v, w in zip(vs, weights, strict=True)]


def double(tensors: list[Tensor]) -> list[Tensor]:
    return [x.double() for x in tensors]


def check(weights: list[Tensor], dims: list[int], materialize: list[bool] | None = None, **options: Any) -> None:
    """Forward, backward and double backward against the reference in float64."""
    dtype, materialize = weights[0].dtype, materialize or [True] * len(weights)
    arguments = [options.get("n_power_iterations", 1), EPS, options.get("v_first", False)]
    us, vs = unit_vectors(weights, dims)
    if arguments[0] == 0:  # of random vectors sigma would be the small rest of a sum that cancels
        *_, us, vs = reference.spectral_norm(weights, us, vs, dims, materialize, 1, EPS, False)
    actual = kernels.spectral_norm(weights, us, vs, dims, materialize, *arguments)
    expected = reference.spectral_norm(double(weights), double(us), double(vs), dims, materialize, *arguments)
    for name, ours, theirs in zip(("output", "sigma", "u", "v"), actual, expected, strict=True):
        for i, (a, e) in enumerate(zip(ours, theirs, strict=True)):
            assert_close(a, e, dtype, f"{name} {i}")
    _, sigmas, us, vs = actual
    h, g = ([torch.randn_like(w) for w in weights] for _ in range(2))
    w64, s64, u64, v64 = (double(x) for x in (weights, sigmas, us, vs))
    grads = [kernels.spectral_norm_backward(g, weights, sigmas, us, vs, dims)]
    expected_grads = [reference.spectral_norm_backward(double(g), w64, s64, u64, v64, dims)]
    grads += kernels.spectral_norm_double_backward(h, g, weights, sigmas, us, vs, dims)
    expected_grads += reference.spectral_norm_double_backward(double(h), double(g), w64, s64, u64, v64, dims)
    for name, ours, theirs in zip(("dW", "ddG", "ddW"), grads, expected_grads, strict=True):
        for i, (a, e) in enumerate(zip(ours, theirs, strict=True)):
            assert_close(a, e, dtype, f"{name} {i}")
            assert a.stride() == torch.empty_like(weights[i]).stride()


@pytest.mark.parametrize("v_first", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_layout_in_one_group(dtype: torch.dtype, v_first: bool) -> None:
    def normal(*shape: int) -> Tensor:
        return make(*shape, dtype=dtype)

    weights = {
        "wide accesses": (normal(6, 8, 3, 3), 0),
        "narrow accesses": (normal(6, 3, 3, 3), 0),
        "columns permuted": (channels_last(normal(4, 8, 3, 3)), 0),
        "columns permuted, odd": (channels_last(normal(5, 3, 3, 2)), 0),
        "columns between rows": (normal(5, 8, 4, 4), 1),
        "columns between rows, odd": (normal(5, 7, 3, 3), 1),
        "transposed": (channels_last(normal(5, 8, 4, 4)), 1),
        "transposed matrix": (normal(33, 7).t(), 0),
        "columns in another order": (normal(6, 5, 4, 3).permute(2, 1, 3, 0), 1),
        "transposed in another order": (normal(3, 6, 5, 4).permute(0, 3, 2, 1), 1),
        "strided": (normal(12, 7, 5)[:, ::2], 0),
        "one row": (normal(1, 50), 0),
        "one column": (normal(20, 1), 0),
    }
    check(*(list(x) for x in zip(*weights.values(), strict=True)), v_first=v_first)


def test_columns_are_found_in_channels_last_without_a_copy() -> None:
    """Only an unusual order of the dimensions costs torch's kernels, which would be some for each weight."""
    weights, dims = [channels_last(make(4, 8, 3, 3)), channels_last(make(5, 8, 4, 4))], [0, 1]
    us, vs = unit_vectors(weights, dims)
    with record_launches(), TorchKernels() as first:
        _, sigmas, us, vs = kernels.spectral_norm(weights, us, vs, dims, [True] * 2, 1, EPS, False)
    assert first.waits == []
    with record_launches(), TorchKernels() as torch_side:
        kernels.spectral_norm(weights, us, vs, dims, [True] * 2, 1, EPS, False)
        kernels.spectral_norm_backward(weights, weights, sigmas, us, vs, dims)
        kernels.spectral_norm_double_backward(weights, weights, weights, sigmas, us, vs, dims)
    assert torch_side.kernels == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_several_blocks_and_steps(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_BLOCK", 1024)
    monkeypatch.setattr(plans, "_PROGRAMS", 16)
    shapes = [((70, 20, 3, 3), 0), ((41, 13, 3, 3), 1), ((130, 90), 0)]
    weights, dims = [make(*shape, dtype=dtype) for shape, _ in shapes], [dim for _, dim in shapes]
    weights.append(channels_last(make(30, 70, 2, 2, dtype=dtype)))
    dims.append(1)
    with record_launches() as launches:
        check(weights, dims, n_power_iterations=2)
    assert {launch.name for launch in launches} == {PRODUCT, FINISH, *BACKWARD, *DOUBLE_BACKWARD}
    described = tuple((tuple(w.shape), w.stride(), d, True) for w, d in zip(weights, dims, strict=True))
    blocks = plans.Blocks.of(dtype)
    plan = plans.make_plan(described, blocks, weights[0].device)
    lines = plan.layers.tolist()
    assert all(line[9] > 1 and line[11] > 1 for line in lines), "several programs to a weight"
    layers = [plans.Layer(*line[:6]) for line in lines]
    assert any(1 < line[13] < layer.tiles(blocks) for line, layer in zip(lines, layers, strict=True)), "several steps"


@pytest.mark.parametrize("v_first", [False, True])
def test_more_partial_sums_than_one_block_holds(v_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "SUMS", tl.constexpr(4))
    check([make(50, 8), make(8, 50), make(4, 5)], [0, 1, 0], v_first=v_first)


def test_long_sums() -> None:
    """As many rows and columns as the largest discriminators have, summed to float32's tolerance."""
    check([make(8, 13824), make(1536, 8)], [0, 0])


@pytest.mark.parametrize("n_power_iterations", [0, 1, 2])
@pytest.mark.parametrize("v_first", [False, True])
def test_members_that_are_not_materialised(n_power_iterations: int, v_first: bool) -> None:
    weights, dims = [make(6, 4, 3, 3), make(7, 5, 2, 2), make(2, 1100), make(3, 9)], [0, 1, 0, 0]
    options = {"n_power_iterations": n_power_iterations, "v_first": v_first}
    check(weights, dims, [True, False, False, True], **options)
    check(weights, dims, [False] * 4, **options)


@pytest.mark.parametrize("n_power_iterations", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 6])
def test_launches_do_not_depend_on_the_number_of_weights(count: int, n_power_iterations: int) -> None:
    weights, dims = [make(4, 3 + i) for i in range(count)], [0] * count
    with record_launches() as launches:
        check(weights, dims, n_power_iterations=n_power_iterations)
    products = [PRODUCT] * max(1, 2 * n_power_iterations)
    assert [launch.name for launch in launches] == [*products, FINISH, *BACKWARD, *DOUBLE_BACKWARD]


def test_more_weights_than_a_launch_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_ARGUMENTS", kernels._OTHER_ARGUMENTS + 8 * 8 * 2)  # two in the double backward
    weights, dims = [make(4, 3 + i) for i in range(5)], [0] * 5
    weights[1] = make(0, 3)
    with record_launches() as launches:
        check(weights, dims)
    names = [launch.name for launch in launches]
    assert [names.count(name) for name in (FINISH, BACKWARD[1], DOUBLE_BACKWARD[1])] == [2, 2, 2]
    assert names.count(PRODUCT) == 4


def test_weights_without_elements() -> None:
    weights, dims = [make(0, 5), make(4, 0), make(3, 4)], [0, 0, 0]
    for n_power_iterations in (0, 1):
        check(weights, dims, n_power_iterations=n_power_iterations)
        with record_launches() as launches:
            check(weights[:2], dims[:2], n_power_iterations=n_power_iterations)
        assert launches == []


def test_results_share_no_memory() -> None:
    weights = [make(3, 4), make(2, 5, 3, 3)]
    us, vs = unit_vectors(weights, [0, 0])
    for n_power_iterations in (0, 1):
        results = kernels.spectral_norm(weights, us, vs, [0, 0], [True, True], n_power_iterations, EPS, False)
        tensors = [*weights, *us, *vs, *(x for result in results for x in result)]
        assert len({x.untyped_storage().data_ptr() for x in tensors}) == len(tensors)


def test_backward_outside_the_block_uses_the_same_backend() -> None:
    weights = [make(3, 4).requires_grad_(), make(2, 5, 3).requires_grad_()]
    us, vs = unit_vectors([w.detach() for w in weights], [0, 0])
    outputs, sigmas, new_us, new_vs = op(weights, us, vs, [0, 0], [True, True], 1, EPS, False, "triton")
    cotangents = [torch.randn_like(y).requires_grad_() for y in outputs]
    with record_launches() as launches:
        grads = torch.autograd.grad(outputs, weights, cotangents, create_graph=True)
        torch.autograd.grad(grads, [*weights, *cotangents], [torch.randn_like(g) for g in grads])
    assert [launch.name for launch in launches] == [*BACKWARD, *DOUBLE_BACKWARD]
    g, w, sigmas, new_us, new_vs = ([x.detach() for x in xs] for xs in (cotangents, weights, sigmas, new_us, new_vs))
    for a, e in zip(grads, reference.spectral_norm_backward(g, w, sigmas, new_us, new_vs, [0, 0]), strict=True):
        assert_close(a, e, torch.float32)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("v_first", [False, True])
def test_nan_and_infinity_reach_only_their_own_weight(bad: float, v_first: bool) -> None:
    weights, dims = [make(5, 6), make(5, 6), make(4, 3, 2)], [0, 0, 1]
    weights[1][2, 3] = bad
    us, vs = unit_vectors(weights, dims)
    outputs, sigmas, new_us, new_vs = kernels.spectral_norm(weights, us, vs, dims, [True] * 3, 1, EPS, v_first)
    assert sigmas[1].isnan()
    assert outputs[1].isnan().all()
    for i in (0, 2):
        assert all(x[i].isfinite().all() for x in (outputs, sigmas, new_us, new_vs))


@pytest.mark.parametrize("n_power_iterations", [0, 1])
def test_weight_of_zeros(n_power_iterations: int) -> None:
    weights, dims = [torch.zeros(5, 6), torch.zeros(4, 3, 2)], [0, 1]
    us, vs = unit_vectors(weights, dims)
    arguments = (weights, us, vs, dims, [True, True], n_power_iterations, EPS, False)
    for ours, theirs in zip(kernels.spectral_norm(*arguments), reference.spectral_norm(*arguments), strict=True):
        for a, e in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, e, equal_nan=True)


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_squares_that_float32_cannot_hold(scale: float) -> None:
    weight = make(9, 12)
    (u,), (v,) = unit_vectors([weight], [0])
    arguments = ([0], [True], 3, 1e-38, False)
    expected = kernels.spectral_norm([weight], [u], [v], *arguments)
    actual = kernels.spectral_norm([weight * scale], [u], [v], *arguments)
    assert_close(actual[1][0].double() / scale, expected[1][0], torch.float32, "sigma")
    for name, i in (("output", 0), ("u", 2), ("v", 3)):
        assert_close(actual[i][0], expected[i][0], torch.float32, name)


def test_converges_to_the_largest_singular_value() -> None:
    weight = make(12, 3, 3, 3, dtype=torch.float64)
    (u,), (v,) = unit_vectors([weight], [0])
    _, (sigma,), _, _ = kernels.spectral_norm([weight], [u], [v], [0], [False], 100, EPS, False)
    torch.testing.assert_close(sigma, torch.linalg.matrix_norm(as_matrix(weight, 0), 2))


def test_lines_too_long_for_32_bit_places() -> None:
    """Refused when planned, so that nothing has to be allocated to see it."""
    weight = torch.empty(2, 1 + plans._LONGEST, device="meta")
    with pytest.raises(NotImplementedError, match="elements to a row"):
        plans.Layer.of(weight, 0, True)
    assert plans.Layer.of(weight[:, 1:].contiguous(), 0, True)[0].lines() == (2, plans._LONGEST)
