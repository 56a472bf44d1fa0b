"""What a recipe owes to the loop, and the recipes there are."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fastgan.data import ImageData
from fastgan.models.layers import Layers

from . import own
from .config import ConfigError, TrainConfig
from .images import image_grid

__all__ = ["Evaluator", "Recipe", "find_recipe", "recipe_names", "recipe_reference"]

_RECIPES = {
    "sngan": "fastgan.trainers.sngan:SNGAN",
    "gan": "fastgan.trainers.gan:GAN",
    "dcgan": "fastgan.trainers.dcgan:DCGAN",
    "wgan": "fastgan.trainers.wgan:WGAN",
    "wgan-gp": "fastgan.trainers.wgan_gp:WGANGP",
    "wgan-lp": "fastgan.trainers.wgan_gp:WGANLP",
    "biggan": "fastgan.trainers.biggan:BigGAN",
    "sagan": "fastgan.trainers.sagan:SAGAN",
    "r3gan": "fastgan.trainers.r3gan:R3GAN",
    "vae": "fastgan.trainers.vae:VAE",
    "cvae": "fastgan.trainers.cvae:CVAE",
    "vaegan": "fastgan.trainers.vaegan:VAEGAN",
    "stargan": "fastgan.trainers.stargan:StarGAN",
    "unit": "fastgan.trainers.unit:UNIT",
    "stylegan2": "fastgan.trainers.stylegan2:StyleGAN2",
    "progan": "fastgan.trainers.progan:ProGAN",
}


class Evaluator(Protocol):
    """Measures a generator in evaluation mode; ``title`` says on what."""

    title: str

    def __call__(self, generator: nn.Module) -> float:
        """The measurement."""
        ...


class Recipe(ABC):
    """Networks, optimisers and losses of one kind of GAN; the loop does the rest.

    Parameters
    ----------
    config : TrainConfig
        An instance of the class's ``Config``.
    image_channels : int
        Channels of the data set's images.
    num_classes : int or None
        Labels of the data set, None where it has none.
    """

    name: ClassVar[str]
    Config: ClassVar[type[TrainConfig]]
    presets: ClassVar[dict[str, dict[str, Any]]]
    default_preset: ClassVar[str]
    #: What ``evaluator`` measures.
    metric: str = "Fréchet distance"
    config: Any
    #: Whether a step may leave parameters without a gradient, which data parallelism must know.
    leaves_parameters_unused: ClassVar[bool] = False
    #: Whether the losses use nothing of the generator but its forward, so that another module may stand for it.
    forward_only: ClassVar[bool] = True
    #: Whether the generator's weights may be sharded (``fsdp=true``) where it is only called: nothing else needs them
    #: whole, as spectral norms of all at once do.
    shardable: ClassVar[bool] = True
    # Labels of the generator's input; None for an unconditional one.
    num_classes: int | None

    @abstractmethod
    def __init__(self, config: Any, image_channels: int, num_classes: int | None) -> None: ...

    @abstractmethod
    def networks(self, layers: Layers) -> tuple[nn.Module, nn.Module | None]:
        """Build the generator and the discriminator.

        The latter, its optimiser, and what the other methods get in their place, are None where there is none.
        """

    @abstractmethod
    def optimizers(self, generator: nn.Module, discriminator: Any) -> tuple[Optimizer, Optimizer | None]:
        """Build the optimiser of each."""

    def discriminator_loss(
        self, discriminator: nn.Module, generator: nn.Module, images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Loss of the discriminator on one batch of real images.

        It must call ``discriminator`` once, for data parallelism allows no more before a backward pass, and take no
        gradient through ``generator``.
        """
        raise NotImplementedError(f"{type(self).__name__} must have a discriminator_loss for its discriminator")

    @abstractmethod
    def generator_loss(self, generator: nn.Module, discriminator: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        """Loss of the generator on as many fresh images as there are real ones; it must call ``generator`` once.

        ``images`` and ``labels`` are the discriminator's last batch, for losses that compare with real images; a batch
        of its own where there is no discriminator.
        """

    @abstractmethod
    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        """Make ``n`` images [n, C, H, W] in [-1, 1] with noise from ``random`` (on the CPU) and ``labels`` [n]."""

    def picture(self, generator: nn.Module, n: int, random: torch.Generator) -> Tensor:
        """Lay out about ``n`` images as ``image_grid`` does: here samples, ten a row, labels in turn."""
        labels = None if self.num_classes is None else torch.arange(n) % self.num_classes
        return image_grid(self.sample(generator, n, labels, random), columns=10)

    def pictured(self, n: int) -> str:
        """What ``picture`` shows, in words."""
        return f"{n} images"

    def observe(self, data: ImageData, held_out: ImageData | None) -> ImageData:
        """Look at a run's images before it starts, and those it leaves out; return what it draws its batches from."""
        return data

    def prepare(  # noqa: B027 (an offer, not a duty)
        self, step: int, g_optimizer: Optimizer, d_optimizer: Any, discriminator: Any
    ) -> None:
        """Set what changes in the course of a run, such as a learning rate; called before step number ``step``.

        A resumed run starts in the middle: what is set must be a function of ``step``.
        """

    def ema_decay(self, step: int) -> float:
        """Weight of the past in the generator's moving average at update number ``step`` (from 0).

        Before ``ema_start`` there is no average, the copy is the generator. Where it starts at once, the first steps
        use ``(1 + step) / (10 + step)`` if that is less, so that the random start is forgotten soon.
        """
        c = self.config
        if c.ema_start:
            return 0.0 if step < c.ema_start else c.ema_decay
        return min(c.ema_decay, (1 + step) / (10 + step))

    def evaluator(self, data: ImageData, held_out: ImageData | None, samples: int, device: torch.device) -> Evaluator:
        """Make what measures the generator during training, ``metric``: here on ``samples`` images a side of ``data``.

        ``held_out`` are images that training does not see, None where there are none.
        """
        from .evaluate import FrechetEvaluator

        return FrechetEvaluator(self, data, samples, device)


def check_no_discriminator(name: str, config: TrainConfig) -> None:
    """ConfigError if a setting about the discriminator's updates is not its default: the recipe has none."""
    for field in dataclasses.fields(TrainConfig):
        if field.name in ("n_dis", "schedule", "unroll") and getattr(config, field.name) != field.default:
            raise ConfigError(f"{field.name} must be {field.default!r} for {name}, which has no discriminator")


def recipe_names() -> list[str]:
    """Names that ``find_recipe`` knows."""
    return list(_RECIPES)


def find_recipe(name: str) -> type[Recipe]:
    """Find a recipe by its name, your own by ``FILE.py:CLASS`` or ``MODULE:CLASS``; ConfigError lists what exists."""
    if ":" in name:
        found = own.load_class(name)
        if not (isinstance(found, type) and issubclass(found, Recipe)):
            raise ConfigError(f"{name} is not a Recipe: {found!r}")
        attributes = ("name", "Config", "presets", "default_preset")
        lacking = [each for each in attributes if not hasattr(found, each)] + sorted(found.__abstractmethods__)
        if lacking:
            raise ConfigError(f"{name} lacks what a recipe must have: {', '.join(lacking)}")
        return found
    if name not in _RECIPES:
        known = ", ".join(recipe_names())
        raise ConfigError(f"unknown recipe {name!r}; there are: {known}; or path/to/file.py:CLASS, your own")
    return own.load_class(_RECIPES[name])


def recipe_reference(recipe: type[Recipe]) -> str:
    """The name by which ``find_recipe`` finds ``recipe`` again."""
    reference = own.reference(recipe)
    return next((name for name, known in _RECIPES.items() if known == reference), reference)


def find_preset(recipe: type[Recipe], name: str) -> dict[str, Any]:
    """Find a recipe's preset by its name; ConfigError lists what exists."""
    if name not in recipe.presets:
        raise ConfigError(f"unknown preset {name!r} of {recipe.name}; there are: {', '.join(recipe.presets)}")
    return recipe.presets[name]
