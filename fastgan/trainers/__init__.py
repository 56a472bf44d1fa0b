"""Reference trainers: one recipe a file, on one shared loop."""

from __future__ import annotations

from .config import ConfigError, TrainConfig
from .recipe import Recipe, find_recipe, recipe_names

__all__ = ["ConfigError", "Recipe", "TrainConfig", "find_recipe", "recipe_names"]
