"""How Fabric treats the networks of several processes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.fabric.strategies import DDPStrategy
from lightning.fabric.strategies.ddp import _DDPBackwardSyncControl
from torch import nn
from torch.distributed.fsdp import FSDPModule

__all__ = ["MixedStrategy"]


class _BackwardSyncControl(_DDPBackwardSyncControl):
    def no_backward_sync(self, module: nn.Module, enabled: bool) -> AbstractContextManager:
        """Sharded gradients are reduced part by part: keeping them whole in between is what sharding avoids."""
        return nullcontext() if isinstance(module, FSDPModule) else super().no_backward_sync(module, enabled)


class MixedStrategy(DDPStrategy):
    """Data parallelism that leaves sharded modules alone, which Fabric's own strategies cannot mix."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._backward_sync_control = _BackwardSyncControl()

    def setup_module(self, module: nn.Module) -> Any:
        """DistributedDataParallel, or the sharded module itself."""
        return module if isinstance(module, FSDPModule) else super().setup_module(module)
