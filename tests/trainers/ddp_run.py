"""One of several processes (started by torchrun): trains, then compares its replicas with the other processes'."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from fastgan.data import open_data
from fastgan.trainers.diagnose import explain_non_finite
from fastgan.trainers.loop import NonFiniteLossError, Trainer
from fastgan.trainers.run import make_trainer
from fastgan.trainers.sngan import SNGAN
from tests.trainers.runs import assert_discriminator_learned, discriminator_moments, tiny_config


class SpoiledInOneProcess(SNGAN):
    """A gradient of one process, in its third step, makes both processes' weights NaN."""

    def discriminator_loss(self, discriminator: Any, *arguments: Any) -> torch.Tensor:
        loss = super().discriminator_loss(discriminator, *arguments)
        return loss * torch.inf if self.spoiled else loss

    def prepare(self, step: int, *arguments: Any) -> None:
        super().prepare(step, *arguments)
        self.spoiled = step == 2 and torch.distributed.get_rank() == 1


def diagnose(fabric: Fabric, out: Path) -> None:
    """Both processes say where a loss ceased to be finite; the one that sees it does not leave the other waiting."""
    config = tiny_config(processes=2, schedule="simultaneous", n_dis=1)
    trainer = Trainer(SpoiledInOneProcess, config, open_data("digits"), fabric)
    place = explain_non_finite(trainer, 4, out / "none")
    expected = "the gradient at the output of discriminator" if fabric.global_rank else "in another process"
    assert place.startswith(f"the first that is not finite is {expected}, in step 3; "), place


def main() -> None:
    config = tiny_config(processes=2, accumulate=2)
    trainer = make_trainer(SNGAN, config)
    fabric = trainer.fabric
    assert fabric.world_size == 2
    start = [p.detach().clone() for p in trainer.generator.module.parameters()]
    seen = []
    draw = trainer.sampler.next
    trainer.sampler.next = lambda: seen.append(draw()) or seen[-1]  # type: ignore[method-assign, func-returns-value]
    latents: list[torch.Tensor] = []
    latent = trainer.recipe.latent
    trainer.recipe.latent = lambda n, **o: latents.append(latent(n, **o)) or latents[-1]  # type: ignore[method-assign, func-returns-value]
    for _ in range(3):
        trainer.update()
    assert any(not torch.equal(a, b) for a, b in zip(start, trainer.generator.module.parameters(), strict=True))
    assert_discriminator_learned(discriminator_moments(trainer))

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
    noise = everywhere(torch.cat(latents)).flatten(0, 1)
    assert noise.unique(dim=0).shape == noise.shape, "processes draw the same noise"

    path = Path(sys.argv[1])
    trainer.save(path)
    after = everywhere(torch.randn(8))
    again = Trainer(SNGAN, config, open_data("digits"), fabric)
    again.load(path / "step-00000003.safetensors")
    assert torch.equal(everywhere(torch.randn(8)), after), "random numbers do not continue"

    # One process's NaN stops both, before the next collective call.
    spoiled = torch.tensor(torch.nan if fabric.global_rank else 0.0)
    trainer._unchecked.append({"loss/generator": spoiled})
    try:
        trainer.check_losses()
    except NonFiniteLossError as error:
        assert ("another process" in str(error)) == (fabric.global_rank == 0), error
    else:
        raise AssertionError("a NaN went by")
    # And so does one process's weight, before anything is written.
    if fabric.global_rank:
        next(again.generator.parameters()).data.fill_(torch.nan)
    try:
        again.save(path / "spoiled")
    except NonFiniteLossError as error:
        assert ("another process" in str(error)) == (fabric.global_rank == 0), error
        assert not (path / "spoiled").exists()
    else:
        raise AssertionError("a weight that is NaN was saved")
    diagnose(fabric, path)
    print(f"process {fabric.global_rank} agrees")


if __name__ == "__main__":
    main()
