"""The training loop that every recipe stands on, on Lightning Fabric (device, precision, data parallelism)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fastgan.data import ImageData, Sampler, hold_out
from fastgan.models.layers import fast_layers, stock_layers

from . import checkpoint, state
from .config import TrainConfig
from .diagnose import explain_non_finite
from .ema import Ema
from .joint import joint_draws
from .processes import anywhere, share_statistics, watch_processes
from .recipe import Recipe, check_no_discriminator
from .sharded import shard
from .unrolled import check_unrolled, unrolled_loss

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from .report import Reporter

__all__ = ["NonFiniteLossError", "Trainer"]

# Losses wait on the device until they are checked; this many at most.
_MOST_UNCHECKED = 256


class NonFiniteLossError(FloatingPointError):
    """A loss at ``step``, or a weight or moment after it, that is NaN or infinite.

    The run stops before it saves anything made from it.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class Trainer:
    """A run in memory: networks, optimisers, moving average and the position in the data.

    A step is ``n_dis`` updates of the discriminator and one of the generator. In the schedule ``simultaneous`` the
    generator's gradient is taken before the last of the discriminator's updates, so that both move from one point; in
    ``unrolled`` it is taken at, and through, the discriminator that would be ``unroll`` updates later. Where the recipe
    has no discriminator, ``discriminator`` and ``d_optimizer`` are None and a step is one update of the generator, on a
    real batch of its own.

    Parameters
    ----------
    recipe : type of Recipe
        What to train.
    config : TrainConfig
        Its settings.
    data : ImageData
        Real images.
    fabric : Fabric
        Launched already.
    """

    def __init__(self, recipe: type[Recipe], config: TrainConfig, data: ImageData, fabric: Fabric) -> None:
        self.config = config
        self.fabric = fabric
        # The same run from its start.
        self.rebuild = partial(type(self), recipe, config, data, fabric)
        self._fingerprint = data.fingerprint()
        self.data, self.held_out = hold_out(data, config.held_out)
        self.recipe = recipe(config, data.image_channels, data.num_classes)
        self.data = self.recipe.observe(self.data, self.held_out)
        torch.manual_seed(config.seed)  # the same initial weights in every process
        generator, discriminator = self.recipe.networks(stock_layers() if config.stock else fast_layers())
        self._layout = torch.channels_last if config.channels_last else torch.contiguous_format
        if discriminator is None:
            check_no_discriminator(self.recipe.name, config)
        for module in (generator, discriminator):
            if module is not None:
                module.to(memory_format=self._layout)  # type: ignore[call-overload]  # missing from torch's stubs
        generator = fabric.strategy.precision.convert_module(generator.to(fabric.device))
        self.ema = Ema(generator)
        if config.fsdp:
            for module in (generator, self.ema.module):
                # Shards are cut from contiguous weights; images keep their layout.
                shard(module.to(memory_format=torch.contiguous_format), fabric.device, fabric.world_size)  # type: ignore[call-overload]
        optimizers = self.recipe.optimizers(generator, discriminator)
        self._unroll = config.unroll if config.schedule == "unrolled" else 0
        if self._unroll:
            check_unrolled(self.recipe, cast(nn.Module, discriminator), cast(Optimizer, optimizers[1]))
        self.generator, self.g_optimizer = fabric.setup(generator, optimizers[0])
        self.discriminator, self.d_optimizer = cast(tuple[Any, Any], (None, None))
        if discriminator is not None:
            self.discriminator, self.d_optimizer = fabric.setup(discriminator, cast(Optimizer, optimizers[1]))
        if fabric.world_size > 1:
            share_statistics(generator, discriminator)
        self.sampler = Sampler(len(self.data), config.batch_size, config.seed, fabric.global_rank, fabric.world_size)
        self.step = 0
        # Every process draws for all of them, and keeps its part.
        torch.manual_seed(config.seed + 1_000_003)
        self._dtype = next(generator.parameters()).dtype
        self._unchecked: list[dict[str, Tensor]] = []

    @property
    def images_per_step(self) -> int:
        """Real images that all processes together use in a step."""
        return self.config.n_dis * self.config.batch_size * self.fabric.world_size

    def update(self) -> dict[str, Tensor]:
        """Take one step; returns the losses (on the device) as ``loss/discriminator`` and ``loss/generator``."""
        modules, optimizers = self._modules(), self._optimizers()
        self.recipe.prepare(
            self.step, optimizers["g_optimizer"], optimizers.get("d_optimizer"), modules.get("discriminator")
        )
        losses = self._update_generator() if self.discriminator is None else self._update_both()
        self.ema.update(self.generator.module, self.recipe.ema_decay(self.step))
        self.step += 1
        self._unchecked.append(losses)
        if len(self._unchecked) == _MOST_UNCHECKED:
            self.check_losses()
        return losses

    def _update_generator(self) -> dict[str, Tensor]:
        loss = self._backward(self.generator, self.g_optimizer, self._generator_losses(*self._batch()))
        self.g_optimizer.step()
        return {"loss/generator": loss}

    def _update_both(self) -> dict[str, Tensor]:
        for updates_left in reversed(range(self.config.n_dis)):
            images, labels = self._batch()
            d_loss = self._backward(self.discriminator, self.d_optimizer, self._discriminator_losses(images, labels))
            d_waits = self.config.schedule == "simultaneous" and not updates_left
            if not d_waits:
                self.d_optimizer.step()
        # The generator's loss reaches through the discriminator: its weights need no gradients, nor data parallelism's
        # bookkeeping of them.
        self.discriminator.module.requires_grad_(False)
        g_loss = self._backward(self.generator, self.g_optimizer, self._generator_losses(images, labels))
        self.discriminator.module.requires_grad_(True)
        if d_waits:
            self.d_optimizer.step()
        self.g_optimizer.step()
        return {"loss/discriminator": d_loss, "loss/generator": g_loss}

    def _batch(self) -> tuple[Tensor, Tensor | None]:
        images, labels = self.data.batch(self.sampler.next())
        device = self.fabric.device
        images = images.to(device).to(self._dtype, memory_format=self._layout) / 127.5 - 1
        return images, None if labels is None else labels.to(device)

    def _parts(self, images: Tensor, labels: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        parts = self.config.accumulate
        return zip(images.chunk(parts), [None] * parts if labels is None else labels.chunk(parts), strict=True)

    def _discriminator_losses(self, images: Tensor, labels: Tensor | None) -> list[Callable[[], Tensor]]:
        loss = partial(self.recipe.discriminator_loss, self.discriminator, self.generator.module)
        return [partial(loss, x, y) for x, y in self._parts(images, labels)]

    def _generator_losses(self, images: Tensor, labels: Tensor | None) -> list[Callable[[], Tensor]]:
        loss = partial(self.recipe.generator_loss, self.generator, self._modules().get("discriminator"))
        if self._unroll:
            networks = (self.generator, self.discriminator.module, self.d_optimizer.optimizer)
            loss = partial(unrolled_loss, self.recipe, *networks, self._unroll)
        return [partial(loss, x, y) for x, y in self._parts(images, labels)]

    def _backward(self, module: Any, optimizer: Optimizer, losses: list[Callable[[], Tensor]]) -> Tensor:
        """Add up the gradients of the mean of ``losses``, in place of earlier ones, and return that mean."""
        optimizer.zero_grad()
        total = torch.zeros((), device=self.fabric.device, dtype=self._dtype)
        for index, compute in enumerate(losses):
            sync: AbstractContextManager = self.fabric.no_backward_sync(module, enabled=index + 1 < len(losses))
            part = self.config.batch_size // self.config.accumulate
            draws = joint_draws(part, self.fabric.global_rank, self.fabric.world_size)
            # The recipe calls the other network unwrapped, so the precision is set here for both.
            with sync:
                with self.fabric.autocast(), draws:
                    loss = compute() / len(losses)
                self.fabric.backward(loss)
            total += loss.detach()
        return total

    def check_losses(self) -> None:
        """Raise NonFiniteLossError, naming the step, if a loss since the last check is NaN or infinite.

        With several processes all must call this, and all raise: none is left waiting for another.
        """
        if not self._unchecked:
            return
        values = torch.stack([torch.stack(list(losses.values())) for losses in self._unchecked])
        wrong = ~values.isfinite()
        first = self.step - len(self._unchecked) + 1
        rows = torch.arange(len(values), device=values.device).where(wrong.any(1), len(values)).min()
        if self.fabric.world_size > 1:
            everywhere = cast(Tensor, self.fabric.all_reduce(-rows.float(), reduce_op="max"))
            here, rows = rows, -everywhere.long()
        else:
            here = rows
        if rows < len(values):
            row = int(rows)
            step = first + row
            if here != rows:
                raise NonFiniteLossError(f"a loss of another process is not finite at step {step}", step)
            column = int(wrong[row].nonzero()[0])
            name = list(self._unchecked[row])[column]
            raise NonFiniteLossError(f"{name} is {values[row, column].item()} at step {step}", step)
        self._unchecked.clear()

    def find_non_finite(self) -> str | None:
        """Name what of the networks and optimisers holds NaN or infinity, None where all is finite.

        All processes must call this, and all get a name where one does.
        """
        name = state.first_non_finite(self._tensors()[0])
        return (name or "a weight of another process") if anywhere(self.fabric, name is not None) else None

    def check_finite(self) -> None:
        """Raise NonFiniteLossError as ``check_losses`` does, or if what the last step made is not finite."""
        self.check_losses()
        # Finite losses do not show what their gradients have made of the weights.
        if name := self.find_non_finite():
            raise NonFiniteLossError(f"{name} is not finite after step {self.step}", self.step)

    def average(self) -> nn.Module:
        """The moving average, whole; where it is sharded, a copy that all processes must call for."""
        if not self.config.fsdp:
            return self.ema.module
        tensors = state.module_tensors("ema", self.ema.module)
        with torch.random.fork_rng():
            module, _ = self.recipe.networks(stock_layers() if self.config.stock else fast_layers())
        module = module.to(self.fabric.device, self._dtype)
        module.load_state_dict({name.removeprefix("ema."): tensor for name, tensor in tensors.items()})
        return module.requires_grad_(False).eval()

    def sample(self, n: int, seed: int) -> Tensor:
        """Make ``n`` images by ``average()``, labels in turn; training's random numbers are not touched."""
        classes = self.recipe.num_classes
        labels = None if classes is None else torch.arange(n) % classes
        with torch.no_grad():
            return self.recipe.sample(self.average(), n, labels, torch.Generator().manual_seed(seed))

    def picture(self, n: int, seed: int) -> Tensor:
        """A grid of about ``n`` images by the moving average, uint8 [height, width, channels]."""
        with torch.no_grad():
            return self.recipe.picture(self.average(), n, torch.Generator().manual_seed(seed))

    def _modules(self) -> dict[str, nn.Module]:
        modules = {"generator": self.generator.module, "ema": self.ema.module}
        return modules if self.discriminator is None else modules | {"discriminator": self.discriminator.module}

    def _optimizers(self) -> dict[str, Optimizer]:
        optimizers = {"g_optimizer": self.g_optimizer.optimizer}
        return optimizers if self.d_optimizer is None else optimizers | {"d_optimizer": self.d_optimizer.optimizer}

    def _tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors of networks and optimisers, whole, and the optimisers' numbers; all processes must call this."""
        tensors: dict[str, Tensor] = {}
        for prefix, module in self._modules().items():
            tensors |= state.module_tensors(prefix, module)
        optimizers = {}
        for prefix, optimizer in self._optimizers().items():
            part, optimizers[prefix] = state.optimizer_state(prefix, optimizer)
            tensors |= part
        return tensors, optimizers

    def save(self, folder: Path) -> None:
        """Write a checkpoint of finite numbers; every process must call this, the first one writes."""
        self.check_finite()
        tensors, optimizers = self._tensors()
        for name, own in state.rng_state(self.fabric.device).items():
            states = cast(Tensor, self.fabric.all_gather(own.to(self.fabric.device)))
            tensors[name] = states.view(self.fabric.world_size, -1)
        meta = {
            "recipe": self.recipe.name,
            "config": dataclasses.asdict(self.config),
            "image_channels": self.data.image_channels,
            "num_classes": self.data.num_classes,
            "data": self._fingerprint,
            "position": self.sampler.position,
            "world_size": self.fabric.world_size,
            "optimizers": optimizers,
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        if self.fabric.is_global_zero:
            checkpoint.save(folder, self.step, tensors, meta, self.config.keep_checkpoints)
        self.fabric.barrier()

    def load(self, path: Path) -> None:
        """Continue from a checkpoint; CheckpointError, with nothing changed here, if it does not fit this run."""
        (tensors, meta), where = checkpoint.load(path), str(path)
        fabric, precision = self.fabric, self.fabric.strategy.precision
        state.check_run(meta, self.recipe.name, self.config, fabric.world_size, self._fingerprint, where)
        modules = {prefix: state.check_module(prefix, m, tensors, where) for prefix, m in self._modules().items()}
        saved = meta["optimizers"]
        optimizers = {
            k: state.check_optimizer(k, o, tensors, saved.get(k), where) for k, o in self._optimizers().items()
        }
        rng = state.check_rng(tensors, fabric.device, fabric.global_rank, fabric.world_size, where)
        if meta["precision"].keys() != precision.state_dict().keys():
            raise checkpoint.CheckpointError(f"{where}: its state of precision does not fit this run")
        # All fits: from here on nothing is refused.
        for prefix, module in self._modules().items():
            state.load_module(module, modules[prefix])
        for prefix, optimizer in self._optimizers().items():
            state.load_optimizer(optimizer, optimizers[prefix])
        state.set_rng_state(rng, fabric.device)
        precision.load_state_dict(meta["precision"])
        self.sampler.position = meta["position"]
        self.step = meta["step"]
        self._unchecked.clear()

    def run(self, out: Path, reporter: Reporter, metric: Callable[[nn.Module], float] | None = None) -> None:
        """Train to ``config.steps``, writing checkpoints and what ``reporter`` shows into ``out``.

        ``metric`` measures the moving average every ``metric_every`` steps, in the first process.
        """
        try:
            with watch_processes(self.fabric, out / "checkpoints"):
                self._run(out, reporter, metric)
        except NonFiniteLossError as error:
            reporter.print(f"{error}: the last steps are repeated, to see where it begins")
            place = explain_non_finite(self, error.step, out / "checkpoints")
            advice = "try a lower learning rate or another precision"
            raise NonFiniteLossError(f"{error}; {place}; {advice}", error.step) from error

    def _run(self, out: Path, reporter: Reporter, metric: Callable[[nn.Module], float] | None) -> None:
        c = self.config

        def due(every: int) -> bool:
            return every > 0 and self.step % every == 0

        while self.step < c.steps:
            losses = self.update()
            last = self.step == c.steps
            reporter.advance(self.step)
            if due(c.log_every) or last:
                self.check_losses()
                reporter.scalars(self.step, {name: loss.item() for name, loss in losses.items()})
            shown = due(c.sample_every) or (c.sample_every and last)
            measured = metric is not None and due(c.metric_every)
            if shown or measured:
                self.check_finite()
            if shown:
                # All processes make what the first one shows, which the others would wait for.
                picture = self.picture(64, seed=0)
                if self.fabric.is_global_zero:
                    reporter.images(self.step, picture)
            if metric is not None and measured:
                average = self.average()
                if self.fabric.is_global_zero:
                    reporter.metric(self.step, self.recipe.metric, metric(average))
            if due(c.checkpoint_every) or last:
                self.save(out / "checkpoints")
