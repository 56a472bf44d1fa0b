"""What recipes share that translate images between domains: which images, how they are shown and judged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from fastgan.augment import RandomHorizontalFlip
from fastgan.data import ImageData
from fastgan.losses import LOSSES, get

from .adversarial import check_betas, check_not_negative, check_positive
from .config import ConfigError, TrainConfig, setting
from .images import image_grid
from .rates import check_decay_from, decay_setting, set_rates
from .recipe import Evaluator, Recipe
from .sources import Sources, open_sources

__all__ = ["TranslationConfig", "TranslationRecipe"]


@dataclass
class TranslationConfig(TrainConfig):
    """Settings that translating recipes have in common."""

    data: str = setting(
        "emoji-styles", "name of a data set, or path of a folder or .npz file; its labels are domains", free=True
    )
    image_size: int = setting(128, "height and width the images are brought to")
    loss: str = setting("wasserstein", "the pair of losses, of fastgan.losses")
    flip: bool = setting(True, "mirror half of the images")
    g_channels: int = setting(64, "width of the generator at full resolution")
    d_channels: int = setting(64, "width of the discriminator after the first halving")
    blocks: int = setting(6, "residual blocks of the generator")
    halvings: int = setting(6, "times that the discriminator halves the resolution")
    g_lr: float = setting(1e-4, "learning rate of the generator")
    d_lr: float = setting(1e-4, "learning rate of the discriminator")
    beta1: float = setting(0.5, "Adam's first decay")
    beta2: float = setting(0.999, "Adam's second decay")
    weight_decay: float = setting(0.0, "Adam's L2 penalty on all weights")
    decay_from: float = decay_setting(0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "g_channels", "d_channels", "blocks", "halvings", "g_lr", "d_lr")
        check_betas(self, "beta1", "beta2")
        check_not_negative(self, "weight_decay")
        check_decay_from(self)
        fitting = [name for name in LOSSES if not get(name).paired]
        if self.loss not in fitting:
            raise ConfigError(f"unknown loss {self.loss!r} for translations; there are: {', '.join(fitting)}")
        if self.image_size % max(4, 2**self.halvings):
            raise ConfigError(
                f"image_size must be a multiple of 4 and of 2 to the power of halvings={self.halvings}, "
                f"got {self.image_size}"
            )


class TranslationRecipe(Recipe):
    """A generator from images of one domain to another; the data's labels are the domains.

    What is shown and measured are translations of images that training has not seen: of subjects that the data set
    leaves out in every domain, where it is one whose true translations are known, otherwise of ``held_out`` images.
    """

    metric = "PSNR of translations"

    def __init__(self, config: Any, image_channels: int, num_classes: int | None) -> None:
        if num_classes is None:
            raise ConfigError(f"{self.name} needs labels, the domains of the images, which {config.data} has not")
        self.config = config
        self.image_channels = image_channels
        self.labels = self.domains(num_classes)
        self.num_classes = len(self.labels)
        self.loss = get(config.loss)
        self._flip = RandomHorizontalFlip() if config.flip else nn.Identity()
        self._sources: Sources | None = None

    @abstractmethod
    def domains(self, num_classes: int) -> Sequence[int]:
        """The labels that are translated between."""

    @abstractmethod
    def translate(self, generator: nn.Module, images: Tensor, domains: Tensor, targets: Tensor) -> Tensor:
        """Bring ``images`` of ``domains`` to other ones, ``targets``; int64 [N] on the CPU, numbers in ``labels``."""

    def optimizers(self, generator: nn.Module, discriminator: nn.Module) -> tuple[Optimizer, Optimizer]:
        """See ``Recipe.optimizers``."""
        c = self.config
        options = {"betas": (c.beta1, c.beta2), "weight_decay": c.weight_decay, "fused": True}
        return Adam(generator.parameters(), c.g_lr, **options), Adam(discriminator.parameters(), c.d_lr, **options)

    def prepare(self, step: int, g_optimizer: Optimizer, d_optimizer: Optimizer, discriminator: nn.Module) -> None:
        """See ``Recipe.prepare``: the learning rates fall."""
        set_rates(self.config, step, g_optimizer, d_optimizer)

    def observe(self, data: ImageData, held_out: ImageData | None) -> ImageData:
        """See ``Recipe.observe``: finds the sources."""
        self._sources = open_sources(self.config, self.labels, held_out)
        if self._sources.subjects is None:
            self.metric = Recipe.metric
        return data

    @property
    def sources(self) -> Sources:
        """Images that training has not seen; the run's data are opened for them where no run has been started here."""
        if self._sources is None:
            self._sources = open_sources(self.config, self.labels)
        return self._sources

    def translations(self, generator: nn.Module, places: Tensor, targets: Tensor) -> Tensor:
        """Bring the sources at ``places`` to the domains ``targets``, both int64 [N]."""
        images = self.sources.images[places].to(next(generator.parameters())) / 127.5 - 1
        return self.translate(generator, images, self.sources.domains[places], targets)

    def sample(self, generator: nn.Module, n: int, labels: Tensor | None, random: torch.Generator) -> Tensor:
        """See ``Recipe.sample``: translations to the domains ``labels`` of sources drawn from the other domains."""
        targets = torch.arange(n) % len(self.labels) if labels is None else labels.cpu()
        return self.translations(generator, self.sources.others(targets, random), targets)

    def picture(self, generator: nn.Module, n: int, random: torch.Generator) -> Tensor:
        """See ``Recipe.picture``: a source, then its translation to each other domain, with the true one beside it."""
        sources, domains = self.sources, len(self.labels)
        count, group, columns = self._layout(n)
        places = torch.randperm(len(sources.images), generator=random)[torch.arange(count) % len(sources.images)]
        steps = torch.arange(1, domains)
        targets = ((sources.domains[places, None] + steps) % domains).sort(1).values
        asked, others = places.repeat_interleave(domains - 1), targets.flatten()
        made = self.translations(generator, asked, others).cpu()
        shown = made.unflatten(0, (count, domains - 1, 1))
        if sources.subjects is not None:
            truth = (sources.truth(asked, others).to(made) / 127.5 - 1).unflatten(0, (count, domains - 1, 1))
            shown = torch.cat([shown, truth], 2)
        given = (sources.images[places].to(made) / 127.5 - 1)[:, None]
        return image_grid(torch.cat([given, shown.flatten(1, 2)], 1).flatten(0, 1), columns * group)

    def pictured(self, n: int) -> str:
        """See ``Recipe.pictured``."""
        count, _, _ = self._layout(n)
        truth = "" if self.sources.subjects is None else " beside the true ones"
        return f"{count} images and their {count * (len(self.labels) - 1)} translations{truth}"

    def _layout(self, n: int) -> tuple[int, int, int]:
        """Sources in a picture of about ``n`` images, images in the group of each, and groups a row."""
        group = 1 + (len(self.labels) - 1) * (1 if self.sources.subjects is None else 2)
        columns = max(1, 10 // group)
        return columns * max(1, n // (columns * group)), group, columns

    def evaluator(self, data: ImageData, held_out: ImageData | None, samples: int, device: torch.device) -> Evaluator:
        """See ``Recipe.evaluator``: how near translations are to the true ones, where these are known."""
        from .translation_score import TranslationEvaluator

        if self.sources.subjects is None:
            return super().evaluator(data, held_out, samples, device)
        return TranslationEvaluator(self, samples)
