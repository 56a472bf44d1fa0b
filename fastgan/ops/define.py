"""Registration of ops with torch: schema, dispatch, fake kernel, autograd and autocast, in one form.

``torch.library.register_autograd`` would do for the formulas, but a call through it costs about
twice a plain ``autograd.Function``, and it drops forward-mode tangents silently. So the autograd
kernel is our own, with the two refusals at its head. It also carries lists of tensors through
``autograd.Function``, which only sees tensors that are arguments themselves.

A hop through the dispatcher into Python costs 15 µs and more with lists, and an op has two of them. Where nobody but
autograd listens, which is every eager call on ordinary tensors, an op is called without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from fastgan.ops.registry import OpTable

__all__ = ["AUTOCAST_KEYS", "Op", "define_autocast", "define_autograd", "define_op", "on_host", "will_run"]

LIBRARY = torch.library.Library("fastgan", "DEF")
AUTOCAST_KEYS = ("AutocastCPU", "AutocastCUDA")

_KEYS = torch._C.DispatchKey
_BELOW = torch._C._after_autograd_keyset
#: What is left below autograd for ordinary tensors: the keys of a device and nothing else.
_ORDINARY = frozenset(torch._C.DispatchKeySet(device).raw_repr() for device in (_KEYS.CPU, _KEYS.CUDA))
#: The keys of a tensor whose memory holds what it stands for, with and without (inference mode) those of autograd.
_ORDINARY_TENSORS = frozenset(
    torch._C.DispatchKeySet(device).add(autocast).raw_repr() | extra
    for device, autocast, autograd in (
        (_KEYS.CPU, _KEYS.AutocastCPU, _KEYS.AutogradCPU),
        (_KEYS.CUDA, _KEYS.AutocastCUDA, _KEYS.AutogradCUDA),
    )
    for extra in (0, torch._C.DispatchKeySet(autograd).add(_KEYS.ADInplaceOrView).raw_repr())
)
_AUTOCAST = torch._C.DispatchKeySet(_KEYS.AutocastCPU).add(_KEYS.AutocastCUDA)


def _listened_to() -> bool:
    """Whether the dispatcher has more to do for a call than to find the backend."""
    return (
        torch._C._dispatch_tls_is_dispatch_key_included(_KEYS.Python)  # a dispatch mode
        or torch._C._dispatch_tls_is_dispatch_key_included(_KEYS.PreDispatch)
        or torch._C._len_torch_function_stack() > 0
        or torch._C._is_any_autocast_enabled()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch.autograd._profiler_enabled()
        or torch._C._get_tracing_state() is not None
    )


def _ordinary(values: Sequence[Any]) -> bool:
    """Whether all tensors in `values`, and in lists there, are of the kind that kernels can read."""
    for value in values:
        kind = type(value)
        if kind is torch.Tensor or kind is torch.nn.Parameter:
            # Not on another device, sparse, batched, negated, or a zero that is not written out.
            if torch._C._dispatch_keys(value).raw_repr() not in _ORDINARY_TENSORS:
                return False
        elif kind is list or kind is tuple:
            if not _ordinary(value):
                return False
        elif isinstance(value, torch.Tensor):
            return False
    return True


def on_host(tensor: torch.Tensor) -> bool:
    """Whether the values of `tensor` are there to be looked at, by the host and without waiting for a device."""
    return (
        not torch.compiler.is_compiling()
        and tensor.device.type == "cpu"
        and _ordinary((tensor,))
        and forward_ad._current_level < 0
        and not torch._C._are_functorch_transforms_active()
    )


class Op:
    """``torch.ops.fastgan.<name>``, called without the dispatcher where nobody listens.

    Attributes
    ----------
    name : str
    overload : torch._ops.OpOverload
        The op as torch knows it.
    """

    def __init__(self, name: str, check: Callable[..., None], launch: Callable[..., Any]) -> None:
        self.name = name
        self.overload = getattr(torch.ops.fastgan, name).default
        self._has_lists = any(_is_tensor_list(argument.type) for argument in self.overload._schema.arguments)
        self._check = check
        self._launch = launch
        self._apply: Callable[[Any, tuple[Any, ...]], Any] | None = None  # the autograd function

    def __call__(self, *args: Any) -> Any:
        if torch.compiler.is_compiling():
            return self.overload(*args)
        if _listened_to() or not _ordinary(args):
            return self._call_overload(args)
        return self.above_autograd(None, args)

    def run(self, *args: Any) -> Any:
        """The same from a derivative's formula: what autograd saved and hands in need no check."""
        if torch.is_grad_enabled() or _listened_to() or not _ordinary(args):
            return self._call_overload(args)
        return self._launch(*args)

    def _call_overload(self, args: tuple[Any, ...]) -> Any:
        # torch's loop over a batch of gradients knows no lists, and says so without a name.
        if self._has_lists and any(map(torch._C._functorch.is_legacy_batchedtensor, _tensors(args))):
            raise NotImplementedError(f"{self.name}: is_grads_batched and vectorize=True are not supported")
        return self.overload(*args)

    def above_autograd(self, keyset: Any, args: tuple[Any, ...]) -> Any:
        """Record the call in the graph where that is wanted; a `keyset` of None is that of ordinary tensors."""
        if self._apply is not None and torch.is_grad_enabled() and any(x.requires_grad for x in _tensors(args)):
            return self._apply(keyset, args)
        return self.below_autograd(keyset, args)

    def below_autograd(self, keyset: Any, args: Sequence[Any]) -> Any:
        """What the graph does not see."""
        with torch._C._AutoDispatchBelowAutograd():
            if keyset is None or (keyset & _BELOW).raw_repr() in _ORDINARY:
                return self.dispatch(*args)
            return self.overload.redispatch(keyset & _BELOW, *args)

    def dispatch(self, *args: Any) -> Any:
        """Check the arguments and call a backend."""
        self._check(self.name, *args)
        return self._launch(*args)


def define_op(table: OpTable, schema: str, fake: Callable[..., Any], check: Callable[..., None]) -> Op:
    """Define ``fastgan::<schema>`` and dispatch its calls to the table's backends.

    The schema's first argument is the tensor, or the list of tensors, whose device and dtype choose the
    backend; its last is ``str? backend``, the forced one. No argument has a default: torch would drop it
    from the call. `check` raises for arguments that no backend may see (an empty first list among them):
    kernels read raw pointers, and the op can be called without the public function that explains itself.
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    launcher = table.launcher

    def launch(first: Any, *args: Any) -> Any:
        like = first if isinstance(first, torch.Tensor) else first[0]
        return launcher(name, args[-1], like.device.type, like.dtype)(first, *args[:-1])

    def checked_fake(*args: Any) -> Any:
        check(name, *args)
        return fake(*args)

    op = Op(name, check, launch)
    LIBRARY.impl(name, op.dispatch, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fastgan::{name}", checked_fake, lib=LIBRARY)
    return op


def will_run(node: Any) -> bool:
    """Whether the current backward pass goes on to `node`, an entry of ``ctx.next_functions``.

    ``needs_input_grad`` does not tell: a penalty's gradient with respect to the input needs none of the weights.
    """
    try:
        return node is not None and torch._C._will_engine_execute_node(node)
    except RuntimeError:  # a leaf that autograd.grad was asked for, of which torch does not say so
        return True


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (each for each in value if isinstance(each, torch.Tensor))


def _refuse(name: str, args: tuple[Any, ...]) -> None:
    if torch._C._are_functorch_transforms_active():
        raise NotImplementedError(f"{name}: torch.func transforms are not supported; use torch.autograd")
    if forward_ad._current_level >= 0:
        for tensor in _tensors(args):
            if forward_ad.unpack_dual(tensor).tangent is not None:
                raise NotImplementedError(f"{name}: forward-mode differentiation is not supported")


Lengths = tuple["int | None", ...]


def _is_tensor_list(schema_type: Any) -> bool:
    return isinstance(schema_type, torch.ListType) and isinstance(schema_type.getElementType(), torch.TensorType)


def _flatten(values: Sequence[Any], spliced: Sequence[bool]) -> tuple[Lengths, list[Any]]:
    """The values with the lists that are to be `spliced` in, and their lengths (None for what is not)."""
    lengths: list[int | None] = []
    flat: list[Any] = []
    for value, is_list in zip(values, spliced, strict=True):
        if is_list:
            lengths.append(len(value))
            flat += value
        else:
            lengths.append(None)
            flat.append(value)
    return tuple(lengths), flat


def _nest(lengths: Lengths, flat: Sequence[Any]) -> tuple[Any, ...]:
    """The inverse of ``_flatten``."""
    nested: list[Any] = []
    at = 0
    for length in lengths:
        if length is None:
            nested.append(flat[at])
            at += 1
        else:
            nested.append(list(flat[at : at + length]))
            at += length
    return tuple(nested)


def define_autograd(
    op: Op,
    setup_context: Callable[[Any, tuple[Any, ...], Any], None],
    backward: Callable[..., tuple[Any, ...]],
) -> None:
    """Register the derivative of `op`.

    `setup_context(ctx, inputs, output)` and `backward(ctx, *grads)` are those of an
    ``autograd.Function``, except that gradients are never materialised: an undefined one arrives as
    None, `backward` is not called when all are, and it returns one entry per argument of the schema.
    Where the schema has lists of tensors, gradients arrive and are returned as lists of the same lengths. The formulas
    see ``ctx.needs_input_grad`` flat, with those lists spliced in, and behind an entry of our own.
    """
    schema = op.overload._schema
    in_lists = [_is_tensor_list(argument.type) for argument in schema.arguments]
    out_lists = [_is_tensor_list(result.type) for result in schema.returns]

    def formula(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        if not torch._C._is_any_autocast_enabled():
            return backward(ctx, *grads)
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):  # a backward runs in the dtypes of its forward
            return backward(ctx, *grads)

    class Node(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, keyset: Any, *args: Any) -> Any:
            ctx.set_materialize_grads(False)
            output = op.below_autograd(keyset, args)
            setup_context(ctx, args, output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            if all(grad is None for grad in grads):
                return (None,) * len(ctx.needs_input_grad)
            return (None, *formula(ctx, *grads))

    class ListNode(torch.autograd.Function):
        """The same for ops with lists, whose lengths are in the layout, which receives those of the output."""

        @staticmethod
        def forward(ctx: Any, keyset_and_layout: tuple[Any, dict[str, Lengths]], *flat: Any) -> Any:
            ctx.set_materialize_grads(False)
            keyset, layout = keyset_and_layout
            args = _nest(layout["inputs"], flat)
            output = op.below_autograd(keyset, args)
            setup_context(ctx, args, output)
            layout["outputs"], flat_output = _flatten(output if len(out_lists) > 1 else (output,), out_lists)
            ctx.layout = layout
            return tuple(flat_output)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            if all(grad is None for grad in grads):
                return (None,) * len(ctx.needs_input_grad)
            results = formula(ctx, *_nest(ctx.layout["outputs"], grads))
            flat: list[Any] = []
            for result, length in zip(results, ctx.layout["inputs"], strict=True):
                flat += [result] if length is None else [None] * length if result is None else result
            return (None, *flat)

    # The graph shows nodes by these names.
    for node in (Node, ListNode):
        node.__name__ = node.__qualname__ = "".join(part.title() for part in op.name.split("_"))

    def apply(keyset: Any, args: tuple[Any, ...]) -> Any:
        return Node.apply(keyset, *args)

    def apply_to_lists(keyset: Any, args: tuple[Any, ...]) -> Any:
        layout: dict[str, Lengths] = {}
        layout["inputs"], flat = _flatten(args, in_lists)
        flat_outputs = ListNode.apply((keyset, layout), *flat)  # fills in the outputs' lengths
        outputs = _nest(layout["outputs"], flat_outputs)
        return outputs if len(out_lists) > 1 else outputs[0]

    def kernel(keyset: Any, *args: Any) -> Any:
        _refuse(op.name, args)
        return op.above_autograd(keyset, args)

    op._apply = apply_to_lists if any(in_lists + out_lists) else apply
    LIBRARY.impl(op.name, kernel, "Autograd", with_keyset=True)


def define_autocast(op: Op, cast: Callable[..., tuple[Any, ...]]) -> None:
    """Under autocast call `op` with ``cast(*args)`` instead of its arguments."""
    for key in AUTOCAST_KEYS:
        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

        def kernel(*args: Any, keys: Any = keys) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(keys):
                return op.overload(*cast(*args))

        LIBRARY.impl(op.name, kernel, key)
