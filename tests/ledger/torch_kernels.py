"""Counts the kernels that a call makes PyTorch launch, their bytes, and where it would make the host wait."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

#: Calls that reach aten's convolution by themselves, unless they are made inside an op, below autograd.
_COMPOSITE = ("conv2d", "conv_transpose2d")
_CONVOLUTIONS = ("convolution", "convolution_backward")
_PRODUCTS = ("mm", "bmm")
#: Operations of a decomposition of n rows and columns, over n³ (Golub and Van Loan, Matrix Computations): Cholesky's,
#: eigenvalues by QR steps without vectors, singular values.
_DECOMPOSITIONS = {"linalg_cholesky_ex": 1 / 3, "_linalg_eigvals": 10, "_linalg_svd": 8 / 3}
_ALLOCATES_ONLY = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted")
_WAITS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "unique_dim", "_unique2")


@dataclass
class TorchKernel:
    """One aten call that runs a kernel; `peak` names what bounds its operations (tests/ledger/table.py)."""

    op: str
    bytes: int
    flops: int
    peak: str = "half"

    def as_dict(self) -> dict[str, Any]:
        """For the ledger, which names peaks other than that of half types."""
        return {key: value for key, value in asdict(self).items() if value != "half"}


def _imagined(func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Results of the shapes and strides that the call would give, with nothing computed."""
    with FakeTensorMode() as imagination:
        args, kwargs = tree_map_only(Tensor, imagination.from_tensor, (args, kwargs))
        results = func(*args, **kwargs)
    return tree_map_only(Tensor, lambda x: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype), results)


def _nbytes(tensor: Tensor) -> int:
    """Of the elements that a kernel reads or writes; an expanded dimension is read once."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride != 0 else min(size, 1)
    return elements * tensor.element_size()


class TorchKernels(TorchDispatchMode):
    """Collects aten's kernels, those made inside fastgan's ops included.

    One kernel is counted for each call that is no view and no allocation: what eager PyTorch launches on a
    GPU, or less (large reductions take two). Each reads its tensor arguments once and writes its results.

    Parameters
    ----------
    convolves : bool, default True
        Whether convolutions are computed. Where only shapes matter that would be most of the time.

    Attributes
    ----------
    kernels : list of TorchKernel
        In order of the calls.
    waits : list of str
        Calls that would make the host wait for the device: values read back, results of a size that
        depends on values, copies to the CPU.
    """

    def __init__(self, convolves: bool = True) -> None:
        super().__init__()
        self.convolves = convolves
        self.kernels: list[TorchKernel] = []
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "fastgan":
            # Straight to the op's own implementation, with this mode still watching what it calls.
            with self:
                return func.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *args, **kwargs)
        name = func._schema.name.partition("::")[2]
        if name in _COMPOSITE:
            with self:
                return func.decompose(*args, **kwargs)
        skipped = name in _CONVOLUTIONS and not self.convolves
        result = _imagined(func, args, kwargs) if skipped else func(*args, **kwargs)
        to_cpu = name == "_to_copy" and str(kwargs.get("device", "")).startswith("cpu")
        if name in _WAITS or to_cpu:
            self.waits.append(name)
        if not func.is_view and name not in _ALLOCATES_ONLY:
            inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            flops = 0
            if name in _CONVOLUTIONS + _PRODUCTS:
                flops = flop_registry[func.overloadpacket](*args, **kwargs, out_val=result)
            elif name in _DECOMPOSITIONS:
                flops = round(_DECOMPOSITIONS[name] * inputs[0].numel() * inputs[0].shape[-1])
            wide = flops > 0 and inputs[0].dtype in (torch.float32, torch.float64)
            peak = str(inputs[0].dtype).removeprefix("torch.") if wide else "half"
            self.kernels.append(TorchKernel(name, sum(map(_nbytes, inputs + outputs)), flops, peak))
        return result
