"""One of several processes (started by torchrun): trains, then compares its replicas with the other processes'."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning.fabric import Fabric

from fastgan.data import open_data
from fastgan.trainers.loop import Trainer
from fastgan.trainers.sngan import SNGAN
from tests.trainers.runs import tiny_config

if __name__ == "__main__":
    config = tiny_config(processes=2, accumulate=2)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    trainer = Trainer(SNGAN, config, open_data("digits"), fabric)
    start = [p.detach().clone() for p in trainer.generator.module.parameters()]
    seen = []
    draw = trainer.sampler.next
    trainer.sampler.next = lambda: seen.append(draw()) or seen[-1]  # type: ignore[method-assign, func-returns-value]
    for _ in range(3):
        trainer.update()
    assert any(not torch.equal(a, b) for a, b in zip(start, trainer.generator.module.parameters(), strict=True))

    def everywhere(tensor: torch.Tensor) -> torch.Tensor:
        return fabric.all_gather(tensor.detach())

    modules = {"generator": trainer.generator.module, "discriminator": trainer.discriminator.module}
    modules["ema"] = trainer.ema.module
    for name, module in modules.items():
        tensors = list(module.named_parameters())
        tensors += [(key, buffer) for key, buffer in module.named_buffers() if key.endswith(("_u", "_v"))]
        for key, tensor in tensors:
            first, second = everywhere(tensor)
            assert torch.equal(first, second), f"{name}.{key} differs between processes"
    drawn = everywhere(torch.cat(seen)).flatten()
    assert drawn.unique().numel() == drawn.numel(), "an image was drawn twice"
    noise = everywhere(torch.randn(8))
    assert not torch.equal(noise[0], noise[1]), "processes draw the same noise"

    path = Path(sys.argv[1])
    trainer.save(path)
    after = everywhere(torch.randn(8))
    again = Trainer(SNGAN, config, open_data("digits"), fabric)
    again.load(path / "step-00000003.safetensors")
    assert torch.equal(everywhere(torch.randn(8)), after), "random numbers do not continue"
    print(f"process {fabric.global_rank} agrees")
