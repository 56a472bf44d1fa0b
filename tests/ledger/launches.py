"""Records the Triton launches of a call, with no GPU.

Without TRITON_INTERPRET launches are recorded and not run: that gives what the compiler would be asked for.
With it they are interpreted, and the bytes of every load and store are counted.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import triton
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.runtime import interpreter, jit

from fastgan.ops import triton_support


@dataclass
class Launch:
    """One launch: the arguments' types and values as Triton specialises on them, or the bytes it asked for.

    Attributes
    ----------
    aligned : list of tuple
        Arguments that are multiples of 16: their position, for a member of a tuple its position in that too.
    arguments : list of tuple
        What the compiled kernel is given: types, and values where they are numbers or tensors of integers, else None.
    tensors : int
        Bytes of the tensors it is given.
    """

    kernel: Any
    grid: tuple[int, ...]
    num_warps: int
    num_stages: int | None = None  # the compiler's own choice
    signature: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    aligned: list[tuple[int, ...]] = field(default_factory=list)
    arguments: list[tuple[str, Any]] = field(default_factory=list)
    tensors: int = 0
    bytes: int = 0

    @property
    def name(self) -> str:
        return self.kernel.__name__


def _keep(launch: Launch, kind: Any, value: Any) -> None:
    """What the compiled kernel is given for an argument, members of tuples one by one."""
    if isinstance(value, tuple):
        for member_kind, member in zip(kind, value, strict=True):
            _keep(launch, member_kind, member)
    elif kind != "constexpr":
        is_tensor = isinstance(value, Tensor)
        launch.tensors += value.nbytes if is_tensor else 0
        launch.arguments.append((kind, None if is_tensor and value.is_floating_point() else value))


def _specialise(launch: Launch, kernel: Any, arguments: dict[str, Any]) -> None:
    """What the just-in-time compiler does: ones become constants, multiples of 16 are marked."""
    for position, parameter in enumerate(kernel.params):
        name, value = parameter.name, arguments[parameter.name]
        specialised = not parameter.do_not_specialize
        if parameter.is_constexpr or value is None or (specialised and type(value) is int and value == 1):
            launch.constants[name] = value
            launch.signature[name] = "constexpr"
            continue
        launch.signature[name] = parameter.annotation_type or jit.mangle_type(value)
        _keep(launch, launch.signature[name], value)
        if not specialised:
            continue
        members = enumerate(value) if isinstance(value, tuple) else [(None, value)]
        for index, member in members:
            address = member.data_ptr() if hasattr(member, "data_ptr") else member
            if isinstance(address, int) and address % 16 == 0:
                launch.aligned.append((position,) if index is None else (position, index))


@contextmanager
def record_launches() -> Iterator[list[Launch]]:
    """Collect the launches made in the block; Triton serves CPU tensors in it."""
    launches: list[Launch] = []
    interpreting = triton_support.interpreting()
    kernel_type = interpreter.InterpretedFunction if interpreting else jit.JITFunction
    run = kernel_type.run

    def record(
        kernel: Any,
        *args: Any,
        grid: Any,
        warmup: bool,
        num_warps: int = 4,
        num_stages: int | None = None,
        **kwargs: Any,
    ) -> None:
        launch = Launch(kernel.fn if interpreting else kernel, tuple(grid), num_warps, num_stages)
        launches.append(launch)
        if interpreting:
            with _disable_current_modes():  # the interpreter's own copies are no kernels of the call
                run(kernel, *args, grid=grid, warmup=warmup, num_warps=num_warps, **kwargs)
        else:
            bound = inspect.signature(kernel.fn).bind(*args, **kwargs)
            _specialise(launch, kernel, bound.arguments)

    builder = interpreter.InterpreterBuilder
    load, store = builder.create_masked_load, builder.create_masked_store

    def count(pointers: Any, mask: Any) -> None:
        launches[-1].bytes += int(mask.data.sum()) * pointers.get_element_ty().primitive_bitwidth // 8

    def counted_load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        count(pointers, mask)
        return load(self, pointers, mask, *rest)

    def counted_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        count(pointers, mask)
        return store(self, pointers, value, mask, *rest)

    with (
        mock.patch.object(triton_support, "interpreting", return_value=True),
        mock.patch.object(kernel_type, "run", record),
        mock.patch.object(builder, "create_masked_load", counted_load),
        mock.patch.object(builder, "create_masked_store", counted_store),
    ):
        yield launches


def _source(launch: Launch) -> triton.compiler.ASTSource:
    return triton.compiler.ASTSource(
        fn=launch.kernel,
        signature=launch.signature,
        constexprs=launch.constants,
        attrs={path: [["tt.divisibility", 16]] for path in launch.aligned},
    )


def compile_launch(launch: Launch, target: GPUTarget) -> triton.compiler.CompiledKernel:
    """Compile what was recorded ahead of time."""
    options = {"num_warps": launch.num_warps}
    if launch.num_stages is not None:
        options["num_stages"] = launch.num_stages
    return triton.compile(_source(launch), target=target, options=options)


def source_ir(launch: Launch) -> str:
    """The kernel as Triton first reads it, before anything is optimised away."""
    target = GPUTarget("cuda", 90, 32)
    backend = triton.compiler.make_backend(target)
    options = backend.parse_options({"num_warps": launch.num_warps})
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    functions, modules = backend.get_codegen_implementation(options), backend.get_module_map()
    return _source(launch).make_ir(target, options, functions, modules, context).str_nodebug()
