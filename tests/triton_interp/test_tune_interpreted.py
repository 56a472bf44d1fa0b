"""What ``fastgan tune`` times, interpreted on the CPU: each form runs, and is the one it is called."""

from __future__ import annotations

import pytest
import torch

from fastgan import tune
from tests.ledger.launches import record_launches
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter


@pytest.mark.parametrize("op", ["upsample_conv2d", "conv2d_avg_pool2d"])
def test_candidates_run_forward_and_backward_and_agree(op: str) -> None:
    _, calls = tune.candidates(tune.Layer(op, 4, 6, 4), 2, torch.float32, "cpu")
    launches, gradients = {}, {}
    for form, call in calls.items():
        with record_launches() as recorded:
            gradients[form] = call()
        launches[form] = [launch.name for launch in recorded]
    assert launches["stock"] == [] and "box_filter2d_kernel" in launches["quarter"]
    assert op != "upsample_conv2d" or launches["fused"][0] == "upsample_conv2d_kernel"
    assert op != "upsample_conv2d" or launches["phase"][0] == "upsample_conv2d_phase_kernel"
    for form, found in gradients.items():
        for ours, stock in zip(found, gradients["stock"], strict=True):
            assert_close(ours, stock.double(), torch.float32, form)
