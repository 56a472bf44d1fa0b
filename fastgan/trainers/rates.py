"""Learning rates that fall to zero, evenly, in the last part of a run."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from .config import ConfigError, setting

__all__ = ["check_decay_from", "decay_setting", "set_rates"]


def decay_setting(default: float) -> Any:
    """The setting ``decay_from``."""
    return setting(default, "part of the run after which both learning rates fall to zero, evenly; 1 for never")


def check_decay_from(config: Any) -> None:
    """ConfigError unless ``config.decay_from`` is a part of a run."""
    if not 0 <= config.decay_from <= 1:
        raise ConfigError(f"decay_from must be in [0, 1], got {config.decay_from}")


def set_rates(config: Any, step: int, g_optimizer: Optimizer, d_optimizer: Optimizer) -> None:
    """Give both optimisers what ``config.decay_from`` leaves of their learning rates at ``step``."""
    rest = 1 - step / config.steps
    factor = min(rest / (1 - config.decay_from), 1) if config.decay_from < 1 else 1
    for optimizer, lr in ((g_optimizer, config.g_lr), (d_optimizer, config.d_lr)):
        for group in optimizer.param_groups:
            group["lr"] = lr * max(factor, 0)
