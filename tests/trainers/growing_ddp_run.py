"""One of two processes (started by torchrun) whose networks grow: replicas stay equal through a fade."""

from __future__ import annotations

import torch

from fastgan.trainers.progan import ProGAN
from fastgan.trainers.run import make_trainer
from tests.trainers import tiny
from tests.trainers.test_progan import GROWING


def main() -> None:
    trainer = make_trainer(ProGAN, tiny.config("progan", GROWING, {"processes": 2}))
    modules = {"generator": trainer.generator.module, "discriminator": trainer.discriminator.module}
    start = {
        f"{k}.{name}": p.detach().clone() for k, module in modules.items() for name, p in module.named_parameters()
    }
    for _ in range(7):
        trainer.update()
    moved = 0
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters():
            first, second = trainer.fabric.all_gather(parameter.detach())
            assert torch.equal(first, second), f"{prefix}.{name} differs between processes"
            moved += not torch.equal(parameter, start[f"{prefix}.{name}"])
    # All but the 1×1 convolutions of 4×4, which are not used: weight and bias of one in each network.
    assert moved == len(start) - 4, f"{moved} of {len(start)} parameters moved"
    print(f"process {trainer.fabric.global_rank} has grown to {trainer.recipe.growth.value}")  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
