"""Whether convolutions may take algorithms that round more than a direct sum does."""

from __future__ import annotations

import os
import threading
from types import TracebackType

import torch

__all__ = ["convolution_algorithm", "exact_convolutions", "exact_convolutions_wanted"]

_BY_DEFAULT = os.environ.get("FASTGAN_EXACT_CONVOLUTIONS", "") not in ("", "0")
# Thread-local, like the backend that use_backend forces.
_state = threading.local()


def exact_convolutions_wanted() -> bool:
    """Whether Winograd's algorithm is off in this thread."""
    return getattr(_state, "exact", _BY_DEFAULT)


def convolution_algorithm(asked: str = "auto") -> str:
    """The algorithm for a convolution that is called in this thread, where nothing or `asked` is asked for."""
    return "direct" if exact_convolutions_wanted() else asked


class exact_convolutions:  # a context manager, named like torch.no_grad
    """Turn Winograd's algorithm off, or on again, for the convolutions called in the block.

    The choice is read where a convolution's forward is called, and its derivatives follow it. The environment variable
    ``FASTGAN_EXACT_CONVOLUTIONS=1`` turns it off in the whole process.

    Parameters
    ----------
    exact : bool, default True
        Whether all convolutions are direct.

    Raises
    ------
    RuntimeError
        When entered inside a ``torch.compile`` region (enter it outside, around the call).

    Notes
    -----
    Direct convolution in float32 has a relative error of about 5e-7 to 3e-6, Winograd's of 1e-6 to 4e-6, and TF32 on
    GPUs (``torch.backends.cudnn.allow_tf32``) of about 3e-4.
    """

    def __init__(self, exact: bool = True) -> None:
        self._exact = bool(exact)

    def __enter__(self) -> None:
        if torch.compiler.is_compiling():
            raise RuntimeError(
                "exact_convolutions: cannot be entered inside a torch.compile region; enter it around the call"
            )
        _state.outer = (*getattr(_state, "outer", ()), exact_convolutions_wanted())
        _state.exact = self._exact

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        *_state.outer, _state.exact = _state.outer
