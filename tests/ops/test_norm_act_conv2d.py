"""norm_act_conv2d against its two functions, and what it leaves to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.functional import conv2d, norm_act, norm_act_conv2d
from fastgan.ops.norm_act_conv2d import norm_act_conv2d_weight_gradient
from tests.tolerances import WINOGRAD_ERROR, assert_close


@pytest.mark.parametrize("algorithm", ["auto", "winograd"])
@pytest.mark.parametrize("options", [{}, {"padding": 0}, {"padding": 3}, {"padding": "same"}], ids=str)
def test_equals_the_two_functions(options: dict[str, Any], algorithm: str) -> None:
    x, w = torch.randn(3, 4, 5, 6).double(), torch.randn(2, 4, 3, 3).double()
    scale, shift = torch.randn(3, 4).double(), torch.randn(4).double()
    ours, theirs = ([torch.zeros(4).double(), torch.ones(4).double()] for _ in range(2))
    y, statistics = norm_act_conv2d(
        x, w, None, *ours, scale, shift, training=True, momentum=0.3, act="relu", algorithm=algorithm,
        return_statistics=True, **options,
    )  # fmt: skip
    a = norm_act(x, *theirs, scale, shift, training=True, momentum=0.3, act="relu")
    expected = conv2d(a, w, return_statistics=True, **options)
    for actual, other in zip((y, statistics, *ours), (*expected, *theirs), strict=True):
        assert_close(actual, other, torch.float64)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_parts_of_images_have_the_layout_that_a_compiler_foresees(layout: torch.memory_format) -> None:
    whole, w = torch.randn(2, 6, 8, 9).contiguous(memory_format=layout), torch.randn(2, 4, 3, 3)
    for x in (whole[:, :4], whole[:, :4, :, :5]):
        strides = set()
        for algorithm in ("direct", "winograd"):
            with fastgan.use_backend("cpu"):
                y = norm_act_conv2d(x, w, training=True, act="relu", algorithm=algorithm)
            strides.add(y.stride())
            compiled = torch.compile(norm_act_conv2d, fullgraph=True, backend="aot_eager")
            strides.add(compiled(x, w, training=True, act="relu", algorithm="winograd").stride())
        assert len(strides) == 1


def test_the_activation_is_neither_kept_nor_made_again() -> None:
    x, w = (torch.randn(s).requires_grad_() for s in ((2, 16, 9, 8), (5, 16, 3, 3)))
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = norm_act_conv2d(x, w, training=True, act="relu", algorithm="winograd")
    assert sum(t.shape == x.shape for t in saved) == 1
    grads = torch.autograd.grad(y, (x, w), torch.ones_like(y))
    twins = [t.detach().double().requires_grad_() for t in (x, w)]
    with fastgan.use_backend("reference"):
        z = norm_act_conv2d(*twins, training=True, act="relu")
    for ours, exact in zip(grads, torch.autograd.grad(z, twins, torch.ones_like(z)), strict=True):
        # A gradient through a normalisation is a difference of numbers as large as the gradient behind it.
        assert (ours - exact).abs().max() <= WINOGRAD_ERROR * max(exact.abs().max().item(), 16.0)


def test_given_statistics_may_be_none() -> None:
    x, w = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3)
    scale = torch.randn(3)
    arguments = (x, scale, None, None, None, "given", "relu", 0.0, 1.0, 0.0, None)
    y = torch.ops.fastgan.norm_act_conv2d(*arguments, w, None, None, [1, 1], "winograd", False, "cpu")[0]
    expected = conv2d((x * scale[:, None, None]).relu(), w, algorithm="direct")
    assert (y - expected).abs().max() <= 2 * WINOGRAD_ERROR * expected.abs().max()


def test_the_weight_gradient_op_says_that_it_has_no_derivative() -> None:
    x, w = torch.randn(2, 3, 5, 5, requires_grad=True), torch.randn(4, 3, 3, 3)
    moments = torch.zeros(3), torch.ones(3)
    arguments = (x, None, None, *moments, "given", "relu", 0.0, 1.0, 1e-5, None)
    grad = norm_act_conv2d_weight_gradient(torch.randn(2, 4, 5, 5), *arguments, w, [1, 1], "winograd", None)
    with pytest.raises(NotImplementedError, match=r"^norm_act_conv2d_weight_gradient: .* create_graph=True"):
        grad.sum().backward()


def test_bad_arguments_are_named_and_nothing_is_written() -> None:
    x, w, running = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 3, 3), [torch.zeros(3), torch.ones(3)]
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, r"weight must be \[C_out, 3, kH, kW\]", {"weight": w[:, :2]}),
        (ValueError, r"scale must be \[3\] or \[2, 3\]", {"scale": torch.ones(4)}),
        (ValueError, r"residual must be torch.float32 \[2, 2, 4, 4\] or \[2, 2, 2, 2\]", {"residual": x}),
        (TypeError, "residual must have input's dtype", {"residual": x.double()}),
        (ValueError, "act must be one of linear, relu, lrelu, got 'gelu'", {"act": "gelu"}),
        (ValueError, "algorithm must be one of auto, winograd, direct, got 'fft'", {"algorithm": "fft"}),
    ]
    given = {"input": x, "weight": w, "running_mean": running[0], "running_var": running[1], "training": True}
    for kind, message, options in wrong:
        with pytest.raises(kind, match=f"norm_act_conv2d: {message}"):
            norm_act_conv2d(**{**given, "algorithm": "winograd", **options})
    assert running[0].tolist() == [0.0] * 3 and running[1].tolist() == [1.0] * 3
