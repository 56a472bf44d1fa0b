"""The smallest run of every recipe: seconds for some steps, and all of its parts are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric import Fabric

from fastgan.data import open_data
from fastgan.trainers.config import TrainConfig, build_config
from fastgan.trainers.loop import Trainer
from fastgan.trainers.recipe import find_recipe
from fastgan.trainers.state import optimizer_state

_COMMON: dict[str, Any] = {"data": "digits", "batch_size": 4, "device": "cpu", "latent_dim": 4, "held_out": 8}
SETTINGS: dict[str, dict[str, Any]] = {
    "sngan": {"g_channels": 4, "d_channels": 4, "seed": 1},
    "gan": {"g_channels": 8, "d_channels": 4, "image_size": 8, "metric_samples": 16, "optimizer": "adam"},
    "wgan": {"g_channels": 4, "d_channels": 4, "image_size": 16},
    "wgan-gp": {"g_channels": 4, "d_channels": 4, "n_dis": 2},
    "wgan-lp": {"g_channels": 4, "d_channels": 4, "n_dis": 2},
    "biggan": {
        "g_channels": 2, "d_channels": 2, "image_size": 32, "embedding_dim": 4, "attention": 16, "ema_start": 2,
        "n_dis": 1, "accumulate": 1, "standing_batches": 2,
    },
    "sagan": {"g_channels": 2, "d_channels": 2, "image_size": 32, "attention": 16},
    "r3gan": {"channels": 8, "blocks": 1, "image_size": 8, "g_lr": 1e-3, "d_lr": 1e-3, "burn_in": 4},
    "stargan": {"g_channels": 4, "d_channels": 4, "blocks": 1, "halvings": 2, "image_size": 8},
    "unit": {"g_channels": 4, "d_channels": 4, "blocks": 1, "halvings": 2, "image_size": 8, "held_out": 40},
    "progan": {"channels": 8, "channel_base": 64, "image_size": 8, "phase_steps": 1},
    "dcgan": {"g_channels": 4, "d_channels": 4, "image_size": 16},
    "vae": {"networks": "conv", "channels": 4, "hidden": 8, "image_size": 8, "optimizer": "adam"},
    "cvae": {"hidden": 8, "image_size": 8, "likelihood": "gaussian"},
    "vaegan": {"channels": 4, "hidden": 8, "d_channels": 4, "d_hidden": 8, "image_size": 8, "gamma": 0.1},
    "stylegan2": {"image_size": 8, "w_dim": 6, "channel_base": 64, "path_every": 2, "augment": "ada"},
}  # fmt: skip


def settings(name: str) -> dict[str, Any]:
    """What differs from the defaults of the recipe called ``name``."""
    config = find_recipe(name).Config
    return {key: value for key, value in _COMMON.items() if hasattr(config, key)} | SETTINGS[name]


def config(name: str, *layers: Mapping[str, Any], **values: Any) -> TrainConfig:
    """Settings of such a run, ``layers`` and ``values`` over them."""
    return build_config(find_recipe(name).Config, settings(name), *layers, values)


def trainer(name: str, fabric: Fabric | None = None, **values: Any) -> Trainer:
    """Such a run before its first step."""
    chosen = config(name, values)
    data = open_data(chosen.data, image_size=chosen.image_size)
    if fabric is None:
        fabric = Fabric(accelerator="cpu", devices=1, precision=chosen.precision)  # type: ignore[arg-type]
    return Trainer(find_recipe(name), chosen, data, fabric)


def state(trainer: Trainer) -> dict[str, torch.Tensor]:
    """All that a step changes, copied."""
    tensors = {f"{k}.{name}": t.clone() for k, m in trainer._modules().items() for name, t in m.state_dict().items()}
    for prefix, optimizer in trainer._optimizers().items():
        tensors |= {name: t.clone() for name, t in optimizer_state(prefix, optimizer)[0].items()}
    return tensors | {"rng": torch.get_rng_state()}
