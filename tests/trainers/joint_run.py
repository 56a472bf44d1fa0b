"""For torchrun: trains each recipe some steps, and writes what became of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from fastgan.data import open_data
from fastgan.trainers.loop import Trainer
from fastgan.trainers.processes import launch, make_fabric
from fastgan.trainers.recipe import Recipe, find_recipe
from fastgan.trainers.state import module_tensors
from tests.trainers import tiny

if TYPE_CHECKING:
    from lightning.fabric import Fabric

BATCH = 8
OPTIONS: dict[str, dict[str, Any]] = {"": {}, "fsdp": {"fsdp": True}, "unrolled": {"schedule": "unrolled", "unroll": 2}}


def train(name: str, fabric: Fabric, **values: Any) -> dict[str, Tensor]:
    """Two steps in float64, of gradient descent, where equal gradients make equal weights; and the first losses.

    (Adam's steps have the size of the learning rate also where a gradient is rounding.)
    """
    recipe = find_recipe(name)

    class Descending(recipe):  # type: ignore[misc, valid-type]
        def optimizers(self, generator: nn.Module, discriminator: nn.Module) -> Any:
            return [m and SGD(m.parameters(), 0.01, 0.5) for m in (generator, discriminator)]

        def prepare(self, *arguments: Any) -> None:
            rates = [[g["lr"] for g in o.param_groups] for o in arguments[1:3] if o]
            super().prepare(*arguments)
            for optimizer, kept in zip([o for o in arguments[1:3] if o], rates, strict=True):
                for group, lr in zip(optimizer.param_groups, kept, strict=True):
                    group["lr"] = lr

    if name == "stylegan2":
        values["stddev_group"] = 1  # a group is of one process's images
    trainer = _trainer(name, Descending, fabric, **values)
    for module in (m for network in trainer._modules().values() for m in network.modules()):
        if "StdDev" in type(module).__name__:
            module.group_size = 1  # a group is of one process's images
    found: dict[str, Tensor] = {}
    for step in range(2):
        for key, loss in trainer.update().items():
            found[f"{key} {step}"] = fabric.all_reduce(loss, reduce_op="mean")
    return found | _weights(trainer)


def one_step(name: str, fabric: Fabric) -> dict[str, Tensor]:
    """What the recipe's own optimisers and schedule make of a step."""
    trainer = _trainer(name, find_recipe(name), fabric)
    trainer.update()
    return _weights(trainer)


def _trainer(name: str, recipe: type[Recipe], fabric: Fabric, **values: Any) -> Trainer:
    processes = fabric.world_size
    settings = {"precision": "64-true", "batch_size": BATCH // processes, "processes": processes}
    config = tiny.config(name, settings | values)
    return Trainer(recipe, config, open_data(config.data, image_size=config.image_size), fabric)


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    modules = trainer._modules().items()
    return {name: t.clone() for key, module in modules for name, t in module_tensors(key, module).items()}


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    out, *cases = sys.argv[1:]
    fabrics = {unused: make_fabric("cpu", 2, "64-true", leaves_parameters_unused=unused) for unused in (False, True)}
    for fabric in fabrics.values():
        launch(fabric)
    for case in cases:
        name, _, option = case.partition("+")
        fabric = fabrics[find_recipe(name).leaves_parameters_unused]
        found = {f"own {key}": tensor for key, tensor in ({} if option else one_step(name, fabric)).items()}
        found |= train(name, fabric, **OPTIONS[option])
        torch.save(found, Path(out) / f"{case}-{fabric.global_rank}.pt")


if __name__ == "__main__":
    main()
