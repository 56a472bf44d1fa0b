"""Registration of ops with torch: schema, dispatch, fake kernel, autograd and autocast, in one form.

``torch.library.register_autograd`` would do for the formulas, but a call through it costs about
twice a plain ``autograd.Function``, and it drops forward-mode tangents silently. So the autograd
kernel is our own, with the two refusals at its head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

from fastgan.ops.registry import OpTable

__all__ = ["AUTOCAST_KEYS", "define_autocast", "define_autograd", "define_op"]

LIBRARY = torch.library.Library("fastgan", "DEF")
AUTOCAST_KEYS = ("AutocastCPU", "AutocastCUDA")


def define_op(table: OpTable, schema: str, fake: Callable[..., Any], check: Callable[..., None]) -> Any:
    """Define ``fastgan::<schema>`` and dispatch its calls to the table's backends.

    The schema's first argument is the tensor whose device and dtype choose the backend, its last
    ``str? backend``, the forced one. No argument has a default: torch would drop it from the call.
    `check` raises for arguments that no backend may see: kernels read raw pointers, and the op can be
    called without the public function that explains itself.
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    launcher = table.launcher

    def dispatch(first: torch.Tensor, *args: Any) -> Any:
        check(name, first, *args)
        return launcher(name, args[-1], first.device.type, first.dtype)(first, *args[:-1])

    LIBRARY.impl(name, dispatch, "CompositeExplicitAutograd")

    def checked_fake(*args: Any) -> Any:
        check(name, *args)
        return fake(*args)

    torch.library.register_fake(f"fastgan::{name}", checked_fake, lib=LIBRARY)
    return getattr(torch.ops.fastgan, name).default


def _refuse(name: str, args: tuple[Any, ...]) -> None:
    if torch._C._are_functorch_transforms_active():
        raise NotImplementedError(f"{name}: torch.func transforms are not supported; use torch.autograd")
    if forward_ad._current_level >= 0:
        for arg in args:
            if isinstance(arg, torch.Tensor) and forward_ad.unpack_dual(arg).tangent is not None:
                raise NotImplementedError(f"{name}: forward-mode differentiation is not supported")


def define_autograd(
    op: Any,
    setup_context: Callable[[Any, tuple[Any, ...], Any], None],
    backward: Callable[..., tuple[torch.Tensor | None, ...]],
) -> None:
    """Register the derivative of `op`.

    `setup_context(ctx, inputs, output)` and `backward(ctx, *grads)` are those of an
    ``autograd.Function``, except that gradients are never materialised: an undefined one arrives as
    None, `backward` is not called when all are, and it returns one entry per argument of the schema.
    """
    name = op._schema.name.partition("::")[2]
    after_autograd = torch._C._after_autograd_keyset
    below_autograd = torch._C._AutoDispatchBelowAutograd
    nothing = (None,) * (1 + len(op._schema.arguments))

    class Node(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, keyset: Any, *args: Any) -> Any:
            ctx.set_materialize_grads(False)
            with below_autograd():
                output = op.redispatch(keyset & after_autograd, *args)
            setup_context(ctx, args, output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            if all(grad is None for grad in grads):
                return nothing
            return (None, *backward(ctx, *grads))

    Node.__name__ = Node.__qualname__ = "".join(part.title() for part in name.split("_"))

    def kernel(keyset: Any, *args: Any) -> Any:
        _refuse(name, args)
        if torch.is_grad_enabled() and any(isinstance(a, torch.Tensor) and a.requires_grad for a in args):
            return Node.apply(keyset, *args)
        with below_autograd():
            return op.redispatch(keyset & after_autograd, *args)

    LIBRARY.impl(name, kernel, "Autograd", with_keyset=True)


def define_autocast(op: Any, cast: Callable[..., tuple[Any, ...]]) -> None:
    """Under autocast call `op` with ``cast(*args)`` instead of its arguments."""
    name = op._schema.name.partition("::")[2]
    for key in AUTOCAST_KEYS:
        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

        def kernel(*args: Any, keys: Any = keys) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(keys):
                return op(*cast(*args))

        LIBRARY.impl(name, kernel, key)
