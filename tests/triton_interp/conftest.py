from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fastgan.ops.triton_support import interpreting


@pytest.fixture(scope="session", autouse=True)
def _interpreter() -> None:
    assert interpreting(), "interpreter tests need TRITON_INTERPRET=1 in the environment, as `make test` sets it"
    from . import bfloat16_patch

    bfloat16_patch.install()


@pytest.fixture(autouse=True)
def _quiet_numpy() -> Iterator[None]:
    # Lanes that a mask or tl.where discards may overflow, as they do silently on a GPU.
    with np.errstate(all="ignore"):
        yield
