"""What every op owes, on every sample of every op: a new op is tested here by adding samples."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

import fastgan
from fastgan import functional
from fastgan.ops import native, registry
from tests.ledger.torch_kernels import TorchKernels
from tests.samples import SAMPLES, Sample, in_dtype, tensors
from tests.tolerances import assert_close

ALL = [pytest.param(sample, id=f"{op}-{sample.name}") for op, samples in SAMPLES.items() for sample in samples]
ONE_EACH = [pytest.param(samples[0], id=op) for op, samples in SAMPLES.items()]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def on_backend(backend: str, parameters: list[Any]) -> list[Any]:
    """The samples, each with the backend, of the ops that have it."""
    return [
        pytest.param(p.values[0], backend, id=f"{backend}-{p.id}")
        for p in parameters
        if backend in registry.tables()[p.values[0].op].backends
    ]


ON_CPU = [*on_backend("reference", ALL), *on_backend("cpu", ALL)]
#: What is registered with torch is the same for all backends, and slow to test: every sample on one of them.
REGISTERED = [*on_backend("cpu", ALL), *on_backend("reference", ONE_EACH)]
#: Ops without a derivative of their own. Some backwards are differentiated as compositions of others.
NOT_DIFFERENTIABLE = (
    "double_backward",
    "spectral_conv_backward",
    "norm_act_conv2d_weight_gradient",
    "product_nuclear_norm_backward",
    "trace_sqrtm_product_backward",
    "symmetric_eigh",
)
#: Names of samples that are also compiled for real; between them, every layout.
INDUCTOR_SAMPLES = ("typical", "swish-channels_last", "channels_last", "gaps", "expanded")


def call(sample: Sample, arguments: dict[str, Any]) -> list[Tensor]:
    """The results of the public function, lists spliced in."""
    return tensors(getattr(functional, sample.function or sample.op)(**arguments))


def oracle(sample: Sample, arguments: dict[str, Any]) -> list[Tensor]:
    """The public function on the reference's composition of torch calls, which autograd differentiates by itself."""
    reference = getattr(importlib.import_module(f"fastgan.ops.{sample.op}.reference"), sample.op)
    module = inspect.getmodule(getattr(functional, sample.function or sample.op))
    with mock.patch.object(module, f"_{sample.op}", lambda *args: reference(*args[:-1])):
        return call(sample, arguments)


def with_leaves(sample: Sample, arguments: dict[str, Any]) -> tuple[dict[str, Any], list[Tensor]]:
    """The arguments with leaves of a graph where they have derivatives, and the leaves."""
    leaves = [x.detach().requires_grad_() for x in sample.differentiable(arguments)]
    return sample.substitute(arguments, leaves), leaves


def in_graph(results: list[Tensor]) -> list[Tensor]:
    """The results that have derivatives. Of the oracle's results autograd itself knows which."""
    return [x for x in results if x.requires_grad]


def first_and_second(
    function: Callable[[Sample, dict[str, Any]], list[Tensor]], sample: Sample, arguments: dict[str, Any], seed: int
) -> list[Tensor]:
    """Results, first derivatives of a random functional of them, second derivatives of a random functional of those.

    The first derivatives come twice: as autograd asks for them when nobody differentiates further, and in a graph.
    """
    generator = torch.Generator().manual_seed(seed)

    def random_like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype)

    arguments, leaves = with_leaves(sample, arguments)
    results = function(sample, arguments)
    cotangents = [random_like(x) for x in in_graph(results)]
    plain = torch.autograd.grad(in_graph(results), leaves, cotangents, retain_graph=True)
    cotangents = [x.detach().requires_grad_() for x in cotangents]
    first = torch.autograd.grad(in_graph(results), leaves, cotangents, create_graph=True)
    inputs = [*leaves, *cotangents]
    second = torch.autograd.grad(first, inputs, [random_like(g) for g in first], allow_unused=True)
    # A derivative that is undefined is the number zero.
    filled = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, second, strict=True)]
    return [*results, *plain, *first, *filled]


def check_against_the_oracle(sample: Sample, dtype: torch.dtype) -> None:
    """Fail unless the op equals the oracle on the same inputs, in values and in which results have derivatives."""
    arguments = sample.arguments(dtype)
    exact = in_dtype(arguments, torch.float64)
    actual = first_and_second(call, sample, arguments, seed=1)
    expected = first_and_second(oracle, sample, exact, seed=1)
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        error = sample.float32_error if dtype == torch.float32 else None
        assert_close(a, e, dtype, f"tensor {i} of results, first and second derivatives", error)
        assert a.requires_grad == e.requires_grad
    for like, result in zip(sample.leading(arguments), actual, strict=False):
        assert result.dtype == sample.result_dtype(dtype)
        assert result.stride() == torch.empty_like(like).stride() or not sample.keeps_layout


def check_numerically(sample: Sample) -> None:
    """Fail unless first and second derivatives are those that finite differences show."""
    arguments, leaves = with_leaves(sample, sample.arguments())
    # The numerical derivative writes into its inputs, so none may overlap itself.
    leaves = [(x.detach().clone() if 0 in x.stride() else x).requires_grad_() for x in leaves]

    def function(*leaves: Tensor) -> tuple[Tensor, ...]:
        return tuple(call(sample, sample.substitute(arguments, leaves)))

    assert torch.autograd.gradcheck(function, tuple(leaves))
    assert torch.autograd.gradgradcheck(function, tuple(leaves))


def test_the_cpu_extension_is_there() -> None:
    assert native.unavailable_reason() is None


@pytest.mark.proves("executed")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("sample", "backend"), ON_CPU)
def test_equals_the_float64_oracle(sample: Sample, dtype: torch.dtype, backend: str) -> None:
    with fastgan.use_backend(backend):
        check_against_the_oracle(sample, dtype)


@pytest.mark.parametrize(("sample", "backend"), [p for p in ON_CPU if p.values[0].numerical])
def test_gradcheck_and_gradgradcheck(sample: Sample, backend: str) -> None:
    with fastgan.use_backend(backend):
        check_numerically(sample)


class _RecordCalls(TorchDispatchMode):
    """Every call of a fastgan op with its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "fastgan":
            self.calls.append((func, args))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("sample", "backend"), REGISTERED)
def test_opcheck_of_the_op_and_of_its_derivatives(sample: Sample, backend: str) -> None:
    with fastgan.use_backend(backend), _RecordCalls() as recorded:
        first_and_second(call, sample, sample.arguments(), seed=2)
    assert recorded.calls
    for op, args in recorded.calls:
        has_derivative = not op._schema.name.endswith(NOT_DIFFERENTIABLE)

        def leaf(x: Tensor, has_derivative: bool = has_derivative) -> Tensor:
            return x.detach().clone().requires_grad_(has_derivative and x.is_floating_point())

        torch.library.opcheck(op, tree_map_only(Tensor, leaf, args))


def _total(results: list[Tensor]) -> Tensor:
    """A number that depends on every element that has a derivative."""
    return torch.stack([x.double().square().sum() for x in in_graph(results)]).sum()


def _results_and_gradients(
    function: Callable[[dict[str, Any]], list[Tensor]], sample: Sample, arguments: dict[str, Any]
) -> list[Tensor]:
    arguments, leaves = with_leaves(sample, arguments)
    results = function(arguments)
    return [*results, *torch.autograd.grad(_total(results), leaves)]


def _leading_in(dtype: torch.dtype, sample: Sample, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the leading one, and those that share its dtype, in `dtype`."""
    names = (sample.leader or next(iter(arguments)), *sample.constants)
    cast = {k: in_dtype(arguments[k], dtype) for k in names}
    return {**arguments, **cast}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("sample", ONE_EACH)
def test_compiles_without_a_graph_break(sample: Sample, dynamic: bool) -> None:
    def step(arguments: dict[str, Any]) -> list[Tensor]:
        return [x.sin() for x in call(sample, arguments)]

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for seed in (0, 1):
        arguments = sample.arguments(seed=seed)
        actual, expected = (_results_and_gradients(f, sample, arguments) for f in (compiled, step))
        for a, e in zip(actual, expected, strict=True):
            assert_close(a, e, torch.float64)


@pytest.mark.parametrize(("sample", "backend"), [p for p in REGISTERED if p.values[0].name in INDUCTOR_SAMPLES])
def test_compiles_with_inductor_also_under_autocast(sample: Sample, backend: str) -> None:
    def step(arguments: dict[str, Any]) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            half = call(sample, _leading_in(torch.bfloat16, sample, arguments))
        return [x.sin() + y for x, y in zip(call(sample, arguments), half, strict=True)]

    torch._dynamo.reset()
    arguments = sample.arguments(torch.float32)
    with fastgan.use_backend(backend):
        actual = _results_and_gradients(torch.compile(step, fullgraph=True), sample, arguments)
        expected = _results_and_gradients(step, sample, arguments)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, torch.bfloat16)
    leading = len(sample.leading(arguments))
    assert [x.stride() for x in actual[:leading]] == [x.stride() for x in expected[:leading]]


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
    arguments, leaves = with_leaves(sample, sample.arguments())
    with fastgan.use_backend("reference"):
        results = call(sample, arguments)
    with _RecordCalls() as recorded:
        first = torch.autograd.grad(_total(results), leaves, create_graph=True)
        torch.autograd.grad(_total(first), leaves, allow_unused=True)
    assert recorded.calls or not hasattr(torch.ops.fastgan, f"{sample.op}_backward")
    assert all(args[-1] == "reference" for _, args in recorded.calls)


def _check_refusals(function: Callable[[Tensor], Tensor], x: Tensor, ops: str) -> None:
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match=ops):
        function(forward_ad.make_dual(x, torch.ones_like(x)))
    for transform in (
        lambda: torch.func.grad(lambda x: function(x).sum())(x),
        lambda: torch.func.jvp(function, (x,), (torch.ones_like(x),)),
        lambda: torch.func.vjp(function, x),
    ):
        with pytest.raises(NotImplementedError, match=ops):
            transform()


@pytest.mark.parametrize("sample", ONE_EACH)
def test_forward_mode_and_torch_func_are_refused_by_name(sample: Sample) -> None:
    arguments = sample.arguments()
    with _RecordCalls() as recorded:
        call(sample, arguments)
    ops = "|".join(op._schema.name.partition("::")[2] for op, _ in recorded.calls)
    inputs = sample.differentiable(arguments)
    for i, x in enumerate(inputs):

        def function(x: Tensor, i: int = i) -> Tensor:
            return call(sample, sample.substitute(arguments, [*inputs[:i], x, *inputs[i + 1 :]]))[0]

        _check_refusals(function, x, ops)


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
    arguments, leaves = with_leaves(sample, sample.arguments())
    results = [_Undefined.apply(x) for x in in_graph(call(sample, arguments))]
    with _RecordCalls() as recorded:
        grads = torch.autograd.grad(_total(results), leaves, allow_unused=True)
    assert all(grad is None for grad in grads) and not recorded.calls


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sample", ALL)
def test_two_runs_give_the_same_bits(sample: Sample, dtype: torch.dtype) -> None:
    runs = [first_and_second(call, sample, sample.arguments(dtype), seed=3) for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())


@pytest.mark.parametrize(("sample", "backend"), ON_CPU)
def test_no_host_synchronisation(sample: Sample, backend: str) -> None:
    with fastgan.use_backend(backend), TorchKernels() as watched:
        first_and_second(call, sample, sample.arguments(torch.float32), seed=4)
    assert watched.waits == []
    assert watched.kernels


@pytest.mark.parametrize("sample", ONE_EACH)
def test_meta_tensors_and_autocast(sample: Sample) -> None:
    meta = tree_map_only(Tensor, lambda x: x.to("meta"), sample.arguments())
    assert [x.shape for x in call(sample, meta)] == [x.shape for x in call(sample, sample.arguments())]

    for dtype in (torch.bfloat16, torch.float32):
        arguments, leaves = with_leaves(sample, _leading_in(dtype, sample, sample.arguments(torch.float32)))
        with torch.autocast("cpu", torch.bfloat16):
            results = call(sample, arguments)
        expected = torch.bfloat16 if sample.follows_autocast else sample.result_dtype(dtype)
        assert {x.dtype for _, x in zip(sample.leading(arguments), results, strict=False)} == {expected}
        gradients = torch.autograd.grad(_total(results), leaves)
        assert [g.dtype for g in gradients] == [x.dtype for x in leaves]


def _wrong(argument: Any, first: bool, typed: bool) -> Iterator[Any]:
    """What does not fit the op's other arguments, in place of one of them; `typed` where they ask for a dtype."""
    if isinstance(argument, Tensor):
        # A smaller batch of the first tensor alone may be what the others fit; as any other argument it cannot be.
        if not first:
            yield argument[:1] if argument.dim() else argument[None]
        if typed:
            yield argument.float()
        yield argument.to("meta")
    elif isinstance(argument, (list, tuple)):
        yield argument[:-1]
        for i, member in enumerate(argument):
            for wrong in _wrong(member, first, typed):
                yield [*argument[:i], wrong, *argument[i + 1 :]]


def _may_be_sliced(op: Any, args: tuple[Any, ...]) -> set[int]:
    """The arguments whose first dimension the others leave free: the first, and the weight where there is no bias."""
    names = [argument.name for argument in op._schema.arguments]
    no_bias = "bias" in names and args[names.index("bias")] is None
    return {0} | {i for i, name in enumerate(names) if name == "weight" and no_bias}


@pytest.mark.parametrize("sample", ONE_EACH)
def test_what_could_reach_a_raw_pointer_is_refused_by_the_op_itself(sample: Sample) -> None:
    with _RecordCalls() as recorded:
        first_and_second(call, sample, sample.arguments(), seed=5)
    for op, args in recorded.calls:
        if len(tensors(args)) == 1:
            continue  # there is nothing that it could not match
        for i, argument in enumerate(args):
            typed = i > 0 or any(x.is_floating_point() for x in tensors(args[1:]))
            for wrong in _wrong(argument, i in _may_be_sliced(op, args), typed):
                with pytest.raises((ValueError, TypeError), match=op._schema.name.partition("::")[2]):
                    op(*args[:i], wrong, *args[i + 1 :])


def test_every_declared_backend_has_file_sample_and_test() -> None:
    root = Path(fastgan.__file__).parent
    for op, table in registry.tables().items():
        assert SAMPLES.get(op), f"{op} has no samples"
        csrc = root.parent / "csrc"
        if all((csrc / kernels).is_file() for kernels in (f"cpu/{op}.cpp", f"cuda/{op}.cu")):
            assert (csrc / "common" / f"{op}_math.h").is_file()
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
