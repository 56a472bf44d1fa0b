"""conv2d_avg_pool2d on Triton's box filter, interpreted on the CPU: what the samples do not reach."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fastgan.ops import tuned
from fastgan.ops.conv2d_avg_pool2d import triton as kernels
from tests.ledger.launches import record_launches
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter


@pytest.mark.parametrize(("form", "boxes"), [("stock", (0, 0)), ("quarter", (1, 2))])
def test_every_form(form: str, boxes: tuple[int, int]) -> None:
    """Forward and backward, with the launches that each takes."""
    x, w, b = torch.randn(2, 3, 6, 5), torch.randn(4, 3, 3, 3) / 5, torch.randn(4)
    with tuned.forcing(form), record_launches() as launches:
        y = kernels.conv2d_avg_pool2d(x, w, b, None, "lrelu", 0.2, [1, 1], 1, "auto")
    assert len(launches) == boxes[0]
    grad = torch.randn_like(y)
    with tuned.forcing(form), record_launches() as launches:
        grads = kernels.conv2d_avg_pool2d_backward(grad, x, w, None, "lrelu", 0.2, [1, 1], 1, "auto", [True, True])
    assert len(launches) == boxes[1]
    wide = [t.double().requires_grad_() for t in (x, w)]
    exact = F.avg_pool2d(F.conv2d(F.leaky_relu(wide[0], 0.2), wide[1], b.double(), padding=1), 2)
    assert_close(y, exact, torch.float32)
    for ours, theirs in zip(grads, torch.autograd.grad(exact, wide, grad.double()), strict=True):
        assert_close(ours, theirs, torch.float32, "gradient")


def test_a_table_does_not_decide_what_it_cannot_describe() -> None:
    x, w = torch.randn(2, 4, 6, 5), torch.randn(4, 2, 3, 3)
    with tuned.forcing("stock"), record_launches() as launches:
        kernels.conv2d_avg_pool2d(x, w, None, None, "linear", 0.0, [1, 1], 2, "auto")
    assert [launch.name for launch in launches] == ["box_filter2d_kernel"]
