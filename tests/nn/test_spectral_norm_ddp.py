"""Two processes (gloo) that train a critic with spectral norm, two forwards before each backward."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.runs import run_python


@pytest.mark.parametrize("broadcast_buffers", [True, False])
def test_replicas_stay_equal(broadcast_buffers: bool) -> None:
    script = str(Path(__file__).with_name("spectral_norm_ddp_run.py"))
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    result = run_python(*torchrun, script, str(broadcast_buffers))
    assert "process 0 agrees" in result.stdout and "process 1 agrees" in result.stdout
