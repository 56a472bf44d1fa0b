"""Every op's Triton kernels, interpreted on the CPU, on every sample of the op: what the contract asks of a backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import fastgan
from fastgan.ops import registry
from tests.ledger.launches import record_launches
from tests.ledger.torch_kernels import TorchKernels
from tests.ops.test_contract import DTYPES, call, check_against_the_oracle, check_numerically, first_and_second
from tests.samples import SAMPLES, Sample

pytestmark = pytest.mark.interpreter


def _size(sample: Sample) -> int:
    return sum(x.numel() for x in sample.differentiable(sample.arguments()))


ALL = [
    pytest.param(sample, id=f"{op}-{sample.name}")
    for op, samples in SAMPLES.items()
    if "triton" in registry.tables()[op].backends
    for sample in samples
]
#: Gradients are checked numerically where that takes few calls.
SMALL = [p for p in ALL if p.values[0].numerical and 0 < _size(p.values[0]) <= 21]


@pytest.fixture
def _triton() -> Iterator[None]:
    with fastgan.use_backend("triton"):
        yield


@pytest.mark.proves("interpreted", backend="triton")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sample", ALL)
@pytest.mark.usefixtures("_triton")
def test_equals_the_float64_oracle(sample: Sample, dtype: torch.dtype) -> None:
    check_against_the_oracle(sample, dtype)


@pytest.mark.parametrize("sample", SMALL)
@pytest.mark.usefixtures("_triton")
def test_gradcheck_and_gradgradcheck(sample: Sample) -> None:
    check_numerically(sample)


@pytest.mark.parametrize("sample", ALL[::5])
@pytest.mark.usefixtures("_triton")
def test_the_host_never_waits(sample: Sample) -> None:
    with record_launches(), TorchKernels() as torch_side:
        first_and_second(call, sample, sample.arguments(torch.float32), seed=1)
    assert torch_side.waits == []


@pytest.mark.parametrize("sample", [p for p in ALL if "empty" in p.id])
@pytest.mark.usefixtures("_triton")
def test_empty_tensors_launch_nothing(sample: Sample) -> None:
    with record_launches() as launches:
        first_and_second(call, sample, sample.arguments(torch.float32), seed=1)
    assert launches == []


@pytest.mark.parametrize("sample", ALL[::5])
@pytest.mark.usefixtures("_triton")
def test_two_runs_give_the_same_bits(sample: Sample) -> None:
    runs = [first_and_second(call, sample, sample.arguments(torch.float32), seed=1) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
