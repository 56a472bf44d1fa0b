"""Every op's Triton kernels, interpreted on the CPU, on every sample of the op: what the contract asks of a backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import fastgan
from fastgan.ops import registry
from tests.ledger.launches import record_launches
from tests.ledger.torch_kernels import TorchKernels
from tests.ops.test_contract import DTYPES, call, first_and_second, oracle
from tests.samples import SAMPLES, Sample, differentiable
from tests.tolerances import assert_close

pytestmark = pytest.mark.interpreter

ALL = [
    pytest.param(sample, id=f"{op}-{sample.name}")
    for op, samples in SAMPLES.items()
    if "triton" in registry.tables()[op].backends
    for sample in samples
]
#: Gradients are checked numerically where that takes few calls.
SMALL = [p for p in ALL if 0 < sum(x.numel() for x in differentiable(p.values[0].arguments()).values()) <= 21]


@pytest.fixture
def _triton() -> Iterator[None]:
    with fastgan.use_backend("triton"):
        yield


@pytest.mark.proves("interpreted", backend="triton")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sample", ALL)
@pytest.mark.usefixtures("_triton")
def test_equals_the_float64_oracle(sample: Sample, dtype: torch.dtype) -> None:
    arguments = sample.arguments(dtype)
    exact = {k: v.double() if isinstance(v, Tensor) else v for k, v in arguments.items()}
    actual = first_and_second(lambda a: call(sample, a), arguments, seed=1)
    expected = first_and_second(lambda a: oracle(sample, a), exact, seed=1)
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert_close(a, e, dtype, f"tensor {i} of output, first and second derivatives")
    assert actual[0].dtype == dtype
    assert actual[0].stride() == torch.empty_like(arguments["input"]).stride()


@pytest.mark.parametrize("sample", SMALL)
@pytest.mark.usefixtures("_triton")
def test_gradcheck_and_gradgradcheck(sample: Sample) -> None:
    arguments = sample.arguments()
    leaves = {k: v.detach().requires_grad_() for k, v in differentiable(arguments).items()}

    def function(*tensors: Tensor) -> Tensor:
        return call(sample, {**arguments, **dict(zip(leaves, tensors, strict=True))})

    assert torch.autograd.gradcheck(function, tuple(leaves.values()))
    assert torch.autograd.gradgradcheck(function, tuple(leaves.values()))


@pytest.mark.parametrize("sample", ALL[::5])
@pytest.mark.usefixtures("_triton")
def test_the_host_never_waits(sample: Sample) -> None:
    with record_launches(), TorchKernels() as torch_side:
        first_and_second(lambda a: call(sample, a), sample.arguments(torch.float32), seed=1)
    assert torch_side.waits == []


@pytest.mark.parametrize("sample", [p for p in ALL if "empty" in p.id])
@pytest.mark.usefixtures("_triton")
def test_empty_tensors_launch_nothing(sample: Sample) -> None:
    with record_launches() as launches:
        first_and_second(lambda a: call(sample, a), sample.arguments(torch.float32), seed=1)
    assert launches == []


@pytest.mark.parametrize("sample", ALL[::5])
@pytest.mark.usefixtures("_triton")
def test_two_runs_give_the_same_bits(sample: Sample) -> None:
    runs = [first_and_second(lambda a: call(sample, a), sample.arguments(torch.float32), seed=1) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
