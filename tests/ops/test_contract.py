"""What every op owes, on every sample of every op: a new op is tested here by adding samples."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

import fastgan
from fastgan import functional
from fastgan.ops import native, registry
from tests.ledger.torch_kernels import TorchKernels
from tests.samples import SAMPLES, Sample, differentiable
from tests.tolerances import assert_close

ALL = [pytest.param(sample, id=f"{op}-{sample.name}") for op, samples in SAMPLES.items() for sample in samples]
ONE_EACH = [pytest.param(samples[0], id=op) for op, samples in SAMPLES.items()]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
CPU_BACKENDS = ["reference", "cpu"]
#: Names of samples that are also compiled for real; between them, every layout.
INDUCTOR_SAMPLES = ("typical", "swish-channels_last", "gaps", "expanded")


def call(sample: Sample, arguments: dict[str, Any]) -> Tensor:
    return getattr(functional, sample.op)(**arguments)


def oracle(sample: Sample, arguments: dict[str, Any]) -> Tensor:
    """The public function on the reference's composition of torch calls, which autograd differentiates by itself."""
    reference = getattr(importlib.import_module(f"fastgan.ops.{sample.op}.reference"), sample.op)
    with mock.patch.object(functional, f"_{sample.op}", lambda *args: reference(*args[:-1])):
        return call(sample, arguments)


def first_and_second(
    function: Callable[[dict[str, Any]], Tensor], arguments: dict[str, Any], seed: int
) -> list[Tensor]:
    """Output, first derivatives of a random functional of it, second derivatives of a random functional of those."""
    generator = torch.Generator().manual_seed(seed)

    def random_like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype)

    leaves = {k: v.detach().requires_grad_() for k, v in differentiable(arguments).items()}
    output = function({**arguments, **leaves})
    cotangent = random_like(output).requires_grad_()
    first = torch.autograd.grad(output, list(leaves.values()), cotangent, create_graph=True)
    inputs = [*leaves.values(), cotangent]
    second = torch.autograd.grad(first, inputs, [random_like(g) for g in first], allow_unused=True)
    # A derivative that is undefined is the number zero.
    filled = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, second, strict=True)]
    return [output, *first, *filled]


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "cpu" and native.unavailable_reason():
        pytest.fail(f"the CPU extension must be there for the tests: {native.unavailable_reason()}")
    return request.param


@pytest.mark.proves("executed")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sample", ALL)
def test_equals_the_float64_oracle(sample: Sample, dtype: torch.dtype, backend: str) -> None:
    arguments = sample.arguments(dtype)
    exact = {k: v.double() if isinstance(v, Tensor) else v for k, v in arguments.items()}
    with fastgan.use_backend(backend):
        actual = first_and_second(lambda a: call(sample, a), arguments, seed=1)
    expected = first_and_second(lambda a: oracle(sample, a), exact, seed=1)
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert_close(a, e, dtype, f"tensor {i} of output, first and second derivatives")
    assert actual[0].dtype == dtype
    assert actual[0].stride() == torch.empty_like(arguments["input"]).stride()


@pytest.mark.parametrize("sample", ALL)
def test_gradcheck_and_gradgradcheck(sample: Sample, backend: str) -> None:
    arguments = sample.arguments()
    # The numerical derivative writes into its inputs, so none may overlap itself.
    leaves = {k: v.detach() for k, v in differentiable(arguments).items()}
    leaves = {k: (v.clone() if 0 in v.stride() else v).requires_grad_() for k, v in leaves.items()}

    def function(*tensors: Tensor) -> Tensor:
        return call(sample, {**arguments, **dict(zip(leaves, tensors, strict=True))})

    with fastgan.use_backend(backend):
        assert torch.autograd.gradcheck(function, tuple(leaves.values()))
        assert torch.autograd.gradgradcheck(function, tuple(leaves.values()))


class _RecordCalls(TorchDispatchMode):
    """Every call of a fastgan op with its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "fastgan":
            self.calls.append((func, args))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("sample", ALL)
def test_opcheck_of_the_op_and_of_its_derivatives(sample: Sample, backend: str) -> None:
    with fastgan.use_backend(backend), _RecordCalls() as recorded:
        first_and_second(lambda a: call(sample, a), sample.arguments(), seed=2)
    assert recorded.calls
    for op, args in recorded.calls:
        has_derivative = "double_backward" not in op._schema.name
        fresh = tuple(a.detach().clone().requires_grad_(has_derivative) if isinstance(a, Tensor) else a for a in args)
        torch.library.opcheck(op, fresh)


def _output_and_gradients(function: Callable[[dict[str, Any]], Tensor], arguments: dict[str, Any]) -> list[Tensor]:
    leaves = {k: v.detach().requires_grad_() for k, v in differentiable(arguments).items()}
    output = function({**arguments, **leaves})
    return [output, *torch.autograd.grad(output.double().square().sum(), list(leaves.values()))]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("sample", ONE_EACH)
def test_compiles_without_a_graph_break(sample: Sample, dynamic: bool) -> None:
    def step(arguments: dict[str, Any]) -> Tensor:
        return call(sample, arguments).sin()

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for seed in (0, 1):
        arguments = sample.arguments(seed=seed)
        actual, expected = (_output_and_gradients(f, arguments) for f in (compiled, step))
        for a, e in zip(actual, expected, strict=True):
            assert_close(a, e, torch.float64)


@pytest.mark.parametrize("sample", [p for p in ALL if p.values[0].name in INDUCTOR_SAMPLES])
def test_compiles_with_inductor_also_under_autocast(sample: Sample, backend: str) -> None:
    def step(arguments: dict[str, Any]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            half = call(sample, {**arguments, "input": arguments["input"].bfloat16()})
        return call(sample, arguments).sin() + half

    torch._dynamo.reset()
    arguments = sample.arguments(torch.float32)
    with fastgan.use_backend(backend):
        actual = _output_and_gradients(torch.compile(step, fullgraph=True), arguments)
        expected = _output_and_gradients(step, arguments)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, torch.bfloat16)
    assert actual[0].stride() == expected[0].stride()


@pytest.mark.parametrize("sample", ONE_EACH)
def test_a_forced_backend_is_guarded_by_compile(sample: Sample) -> None:
    torch._dynamo.reset()
    arguments = sample.arguments()
    compiled = torch.compile(lambda a: call(sample, a), fullgraph=True, backend="aot_eager")
    table = registry.tables()[sample.op]
    chosen = []
    for name in (None, "reference", None):
        table._launchers.clear()
        with fastgan.use_backend(name) if name else contextlib.nullcontext():
            compiled(arguments)
        chosen.append([key[1] for key in table._launchers])
    assert chosen == [[None], ["reference"], [None]]


@pytest.mark.parametrize("sample", ONE_EACH)
def test_the_backward_uses_the_forward_s_backend(sample: Sample) -> None:
    arguments = sample.arguments()
    leaves = {k: v.detach().requires_grad_() for k, v in differentiable(arguments).items()}
    with fastgan.use_backend("reference"):
        output = call(sample, {**arguments, **leaves})
    with _RecordCalls() as recorded:
        first = torch.autograd.grad(output.sum(), list(leaves.values()), create_graph=True)
        torch.autograd.grad(sum(g.sum() for g in first), list(leaves.values()), allow_unused=True)
    assert recorded.calls and all(args[-1] == "reference" for _, args in recorded.calls)


@pytest.mark.parametrize("sample", ONE_EACH)
def test_forward_mode_and_torch_func_are_refused_by_name(sample: Sample) -> None:
    arguments = sample.arguments()
    x = arguments["input"]

    def function(x: Tensor) -> Tensor:
        return call(sample, {**arguments, "input": x})

    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match=sample.op):
        function(forward_ad.make_dual(x, torch.ones_like(x)))
    for transform in (
        lambda: torch.func.grad(lambda x: function(x).sum())(x),
        lambda: torch.func.jvp(function, (x,), (torch.ones_like(x),)),
        lambda: torch.func.vjp(function, x),
    ):
        with pytest.raises(NotImplementedError, match=sample.op):
            transform()


class _Undefined(torch.autograd.Function):
    """The identity, whose gradient is undefined."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        return None


@pytest.mark.parametrize("sample", ONE_EACH)
def test_undefined_gradients_stay_undefined(sample: Sample) -> None:
    arguments = sample.arguments()
    leaves = {k: v.detach().requires_grad_() for k, v in differentiable(arguments).items()}
    output = _Undefined.apply(call(sample, {**arguments, **leaves}))
    with _RecordCalls() as recorded:
        grads = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
    assert all(grad is None for grad in grads) and not recorded.calls


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sample", ALL)
def test_two_runs_give_the_same_bits(sample: Sample, dtype: torch.dtype) -> None:
    runs = [first_and_second(lambda a: call(sample, a), sample.arguments(dtype), seed=3) for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())


@pytest.mark.parametrize("sample", ALL)
def test_no_host_synchronisation(sample: Sample, backend: str) -> None:
    with fastgan.use_backend(backend), TorchKernels() as watched:
        first_and_second(lambda a: call(sample, a), sample.arguments(torch.float32), seed=4)
    assert watched.waits == []
    assert watched.kernels


@pytest.mark.parametrize("sample", ONE_EACH)
def test_meta_tensors_and_autocast(sample: Sample) -> None:
    meta = {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in sample.arguments().items()}
    assert call(sample, meta).shape == call(sample, sample.arguments()).shape

    arguments = sample.arguments(torch.float32)
    half = arguments["input"].bfloat16().requires_grad_()
    leaves = {k: v.requires_grad_() for k, v in differentiable(arguments).items() if k != "input"}
    with torch.autocast("cpu", torch.bfloat16):
        output = call(sample, {**arguments, "input": half})
    assert output.dtype == torch.bfloat16
    gradients = torch.autograd.grad(output.sum(), [half, *leaves.values()])
    assert [g.dtype for g in gradients] == [torch.bfloat16, *(torch.float32 for _ in leaves)]


@pytest.mark.parametrize("sample", ONE_EACH)
def test_what_could_reach_a_raw_pointer_is_refused_by_the_op_itself(sample: Sample) -> None:
    with _RecordCalls() as recorded:
        first_and_second(lambda a: call(sample, a), sample.arguments(), seed=5)
    for op, args in recorded.calls:
        for i, argument in enumerate(args):
            if not isinstance(argument, Tensor):
                continue
            # A smaller batch of the first tensor alone may be what the others fit; as any other argument it cannot be.
            for wrong in ([argument[:1]] if i else []) + [argument.float(), argument.to("meta")]:
                with pytest.raises((ValueError, TypeError), match=op._schema.name.partition("::")[2]):
                    op(*args[:i], wrong, *args[i + 1 :])


def test_every_declared_backend_has_file_sample_and_test() -> None:
    root = Path(fastgan.__file__).parent
    for op, table in registry.tables().items():
        assert SAMPLES[op], f"{op} has no samples"
        assert (root.parent / "csrc" / "common" / f"{op}_math.h").is_file()
        for backend in table.backends:
            assert (root / "ops" / op / f"{backend}.py").is_file()
            table.unsupported_reason(backend, "cpu", torch.float32)
        text = {
            "triton": root.parent / "tests" / "triton_interp" / f"test_{op}_interpreted.py",
            "cuda": root.parent / "tests" / "cuda_on_cpu" / f"test_{op}_emulated.py",
            "cpu": root.parent / "tests" / "ops" / f"test_{op}.py",
        }
        for backend, path in text.items():
            if backend in table.backends:
                assert path.is_file(), f"{op}'s {backend} backend has no test {path.name}"
