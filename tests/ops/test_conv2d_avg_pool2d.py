"""What conv2d_avg_pool2d has of its own; what it shares with upsample_conv2d is in test_upsample_conv2d.py."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fastgan.functional import box_filter2d, conv2d_avg_pool2d
from tests.tolerances import assert_close


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (8, 7)])
@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
def test_it_is_a_strided_convolution_of_the_filtered_image(size: tuple[int, int], act: str) -> None:
    x, w = torch.randn(2, 3, *size, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    activated = {"linear": x, "relu": x.relu(), "lrelu": F.leaky_relu(x, 0.2)}[act]
    by_hand = F.conv2d(box_filter2d(x, padding=1, scale=0.25, act=act), w, stride=2)
    assert_close(conv2d_avg_pool2d(activated, w), by_hand, torch.float64)
    assert_close(F.avg_pool2d(F.conv2d(activated, w, padding=1), 2), by_hand, torch.float64)


def test_r1_through_it_equals_stock() -> None:
    x = torch.randn(2, 5, 9, 8, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 5, 3, 3, dtype=torch.float64, requires_grad=True)
    results = []
    for layer in (conv2d_avg_pool2d, lambda x, w: F.avg_pool2d(F.conv2d(x, w, padding=1), 2)):
        (g,) = torch.autograd.grad(layer(x, w).tanh().sum(), x, create_graph=True)
        results.append(torch.autograd.grad(g.square().sum(), (x, w)))
    for a, e in zip(*results, strict=True):
        assert_close(a, e, torch.float64)
