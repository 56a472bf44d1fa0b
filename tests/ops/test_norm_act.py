"""norm_act itself: against torch's own normalisations, robustness, hand-over of statistics, and its errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fastgan
from fastgan.functional import affine_act, norm_act
from tests.tolerances import assert_close

BACKENDS = ["reference", "cpu"]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def _inputs(shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    x = (torch.randn(shape, dtype=torch.float64) * 2 + 3).to(dtype).contiguous(memory_format=layout)
    weight, bias = torch.randn(2, shape[1], dtype=dtype)
    return x.requires_grad_(), weight.clone().requires_grad_(), bias.clone().requires_grad_()


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("training", [True, False])
def test_equals_torch_s_own(norm: str, training: bool, backend: str, layout: torch.memory_format) -> None:
    x, weight, bias = _inputs((3, 5, 4, 6), layout, torch.float64)
    running = torch.randn(5, dtype=torch.float64), torch.rand(5, dtype=torch.float64) + 0.5
    ours, stock = ([r.clone() for r in running] for _ in range(2))
    with fastgan.use_backend(backend):
        actual = norm_act(x, *ours, weight, bias, training, 0.3, 1e-3, norm=norm, act="lrelu", alpha=0.1)
    function = F.batch_norm if norm == "batch" else F.instance_norm
    expected = F.leaky_relu(function(x, *stock, weight, bias, training, 0.3, 1e-3), 0.1)
    grad = torch.randn_like(x)
    leaves = (x, weight, bias)
    for a, e in zip(
        [actual, *torch.autograd.grad(actual, leaves, grad), *ours],
        [expected, *torch.autograd.grad(expected, leaves, grad), *stock],
        strict=True,
    ):
        assert_close(a, e, torch.float64)
    assert actual.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_pixel_norm_equals_the_formula(layout: torch.memory_format) -> None:
    x, _, _ = _inputs((2, 33, 17, 19), layout, torch.float64)  # more than one tile of pixels
    actual, expected = norm_act(x, norm="pixel", eps=1e-8), x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    grad = torch.randn_like(x)
    assert_close(actual, expected, torch.float64)
    assert_close(torch.autograd.grad(actual, x, grad)[0], torch.autograd.grad(expected, x, grad)[0], torch.float64)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("norm", ["batch", "instance", "pixel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
# Pieces of samples, blocks of rows and a ragged end; and blocks of several samples.
@pytest.mark.parametrize("shape", [(3, 37, 53, 61), (101, 37, 3, 5)], ids=str)
def test_work_split_over_threads(
    shape: tuple[int, ...], norm: str, layout: torch.memory_format, dtype: torch.dtype
) -> None:
    before = torch.get_num_threads()
    x = torch.randn(shape).to(dtype).contiguous(memory_format=layout)
    grad = torch.randn(shape).to(dtype).contiguous(memory_format=layout)
    weight, bias = torch.randn(2, shape[0], 37)
    results = []
    try:
        torch.set_num_threads(3)
        for backend, cast in (("cpu", dtype), ("reference", torch.float64)):
            wide = torch.float32 if backend == "cpu" else torch.float64
            leaves = [x.to(cast).requires_grad_(), *(p.to(wide).requires_grad_() for p in (weight, bias))]
            with fastgan.use_backend(backend):
                y = norm_act(leaves[0], None, None, *leaves[1:], norm=norm, act="lrelu")
            results.append([y, *torch.autograd.grad(y, leaves, grad.to(cast))])
    finally:
        torch.set_num_threads(before)
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, actual.dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(
    ("norm", "shape"), [("batch", (4, 6, 40, 40)), ("instance", (4, 6, 40, 40)), ("batch", (64, 6, 5, 7))]
)
def test_statistics_survive_a_large_mean(
    norm: str, shape: tuple[int, ...], layout: torch.memory_format, backend: str
) -> None:
    x = (torch.randn(shape, dtype=torch.float64) + 1e4).float().contiguous(memory_format=layout)
    mean, var = torch.zeros(6), torch.zeros(6)
    with fastgan.use_backend(backend):
        y = norm_act(x, mean, var, training=True, momentum=1.0, norm=norm)
    dims = (0, 2, 3) if norm == "batch" else (2, 3)
    exact_var, exact_mean = torch.var_mean(x.double(), dims)
    if norm == "instance":
        exact_var, exact_mean = exact_var.mean(0), exact_mean.mean(0)
    # E[x²] - E[x]² would be off by several times the variance itself.
    assert ((var - exact_var) / exact_var).abs().max() < 1e-6
    # The nearest float32, but for ties; a running instance norm rounds each sample's mean and then theirs.
    roundings = 1 if norm == "batch" else 2
    assert ((mean - exact_mean) / exact_mean).abs().max() < roundings * 2**-24 * 1.01
    # The mean's rounding moves all of a channel by up to half a unit of 1e4, and nothing else is lost.
    expected = norm_act(x.double(), training=True, norm=norm)
    assert (y - expected).abs().max() < 2**-10 * 0.51 + 1e-5


@pytest.mark.parametrize(
    ("shape", "layout"),
    [*(((2, 3, 30, 30), layout) for layout in LAYOUTS), ((113, 3, 4, 4), torch.contiguous_format)],
    ids=str,
)
def test_statistics_of_a_channel_whose_first_value_is_far_off(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = torch.randn(shape)
    x[0, :, 0, 0] = 1e5
    x = x.contiguous(memory_format=layout)
    mean, var = torch.zeros(3), torch.zeros(3)
    norm_act(x, mean, var, training=True, momentum=1.0)
    exact_var, exact_mean = torch.var_mean(x.double(), (0, 2, 3))
    assert ((var - exact_var) / exact_var).abs().max() < 1e-6
    assert ((mean - exact_mean) / exact_mean).abs().max() < 1e-6


def test_the_first_read_is_saved_where_statistics_are_handed_in() -> None:
    x, weight, bias = _inputs((3, 5, 4, 6), torch.channels_last, torch.float64)
    wrong = torch.stack([torch.zeros(5), torch.full((5,), 72.0 * 4)]).double()  # mean 0, variance 4
    running = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    y = norm_act(x, *running, weight, bias, True, 1.0, 0.0, statistics=wrong)
    assert_close(y, affine_act(x, weight / 2, bias), torch.float64)  # what was handed in is what was used
    assert_close(running[0], torch.zeros(5), torch.float64)
    assert_close(running[1], torch.full((5,), 72 * 4 / 71, dtype=torch.float64), torch.float64)


def test_a_network_keeps_no_output_for_the_backward() -> None:
    x, weight, bias = _inputs((3, 5, 4, 6), torch.contiguous_format, torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        saved: list[Tensor] = []
        norm_act(x, None, None, weight, bias, True, act="relu")
    assert [t.data_ptr() == x.data_ptr() for t in saved if t.numel() >= x.numel()] == [True]


def test_a_penalty_through_given_statistics_adds_no_pass_over_zeros() -> None:
    x, weight, bias = _inputs((3, 5, 4, 6), torch.contiguous_format, torch.float64)
    running = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    y = norm_act(x, *running, weight, bias, act="relu")
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    second = torch.autograd.grad(gradient.square().sum(), (x, weight, bias), allow_unused=True)
    assert [g is None for g in second] == [True, False, True]


def test_special_values_are_torch_s() -> None:
    x = torch.tensor([[float("inf"), -float("inf"), float("nan"), 0.0, -1.0]])
    for backend in BACKENDS:
        with fastgan.use_backend(backend):
            relu, lrelu = affine_act(x, act="relu"), affine_act(x, act="lrelu")
        torch.testing.assert_close(relu, F.relu(x), equal_nan=True)
        torch.testing.assert_close(lrelu, F.leaky_relu(x, 0.2), equal_nan=True)


def test_third_derivatives_are_refused() -> None:
    x, weight, bias = _inputs((3, 5, 4, 6), torch.contiguous_format, torch.float64)
    y = norm_act(x, None, None, weight, bias, True, act="relu")
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="norm_act: third derivatives"):
        torch.autograd.grad(second.sum(), x)


X = torch.randn(2, 3, 4, 4)
ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"input": X.int()}, TypeError, "norm_act: input must be float32"),
    ({"input": X[0, 0, 0]}, ValueError, r"norm_act: input must be \[N, C, ...\], got \[4\]"),
    ({"weight": X[0, 0]}, ValueError, r"norm_act: weight must be \[3\] or \[2, 3\] to match input .*got \[4, 4\]"),
    ({"bias": torch.zeros(3).double()}, TypeError, "norm_act: bias must have input's dtype torch.float32"),
    ({"norm": "group"}, ValueError, "norm_act: norm must be one of batch, instance, pixel, got 'group'"),
    ({"act": "tanh"}, ValueError, "norm_act: act must be one of linear, relu, lrelu, got 'tanh'"),
    ({"alpha": 0.2, "act": "relu"}, ValueError, "norm_act: alpha must be None for act='relu'"),
    ({"running_mean": torch.zeros(3)}, ValueError, "running_mean and running_var must be given together"),
    ({"running_mean": torch.zeros(4), "running_var": torch.zeros(4)}, ValueError, r"running_mean must be \[3\]"),
    ({"input": X[:1, :, :1, :1]}, ValueError, "norm_act: expected more than 1 value per channel when training"),
    ({"input": X[:, :, :1, :1], "norm": "instance"}, ValueError, "expected more than 1 spatial element"),
    ({"statistics": torch.zeros(3)}, ValueError, r"norm_act: statistics must be \[2, 3\]"),
    ({"statistics": torch.zeros(2, 3), "norm": "pixel"}, ValueError, "must be None for norm='pixel'"),
    ({"momentum": None}, TypeError, "norm_act: momentum must be a number, got NoneType"),
    ({"eps": "1"}, TypeError, "norm_act: eps must be a number, got str"),
    ({"gain": None}, TypeError, "norm_act: gain must be a number, got NoneType"),
    ({"eps": -1e-5}, ValueError, "norm_act: eps must be at least 0, got -1e-05"),
    ({"process_group": "gloo"}, TypeError, "norm_act: process_group must be a torch.distributed.ProcessGroup, got str"),
    ({"statistics": torch.zeros(2, 3, device="meta")}, ValueError, "norm_act: statistics must be on input's device"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), ERRORS, ids=[e[2][:40] for e in ERRORS])
def test_errors(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        norm_act(**{"input": X, "training": True, **arguments})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.ones(3, device="meta"), "must be on input's device cpu, got meta"),
        (torch.ones(3, requires_grad=True), "must not require grad while training"),
        (torch.ones(1).expand(3), "must have an element of its own for each channel"),
        (torch.ones(4), r"must be \[3\]"),
    ],
)
@pytest.mark.parametrize("at", [0, 1])
def test_a_refused_call_moves_no_running_statistic(wrong: torch.Tensor, message: str, at: int) -> None:
    running = [torch.zeros(3), torch.zeros(3)]
    running[at] = wrong
    argument = ("running_mean", "running_var")[at]
    with pytest.raises(ValueError, match=f"norm_act: {argument} {message}"):
        norm_act(X, *running, training=True)
    assert not running[1 - at].any()


def test_affine_act_names_its_own_arguments() -> None:
    with pytest.raises(ValueError, match=r"affine_act: scale must be \[3\] or \[2, 3\]"):
        affine_act(X, torch.zeros(5))


def test_an_empty_batch_moves_no_running_statistic() -> None:
    running = torch.randn(3), torch.rand(3)
    expected = [r.clone() for r in running]
    assert norm_act(X[:0], *running, training=True).shape == (0, 3, 4, 4)
    assert all(torch.equal(a, e) for a, e in zip(running, expected, strict=True))
