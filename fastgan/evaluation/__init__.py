"""Measuring generated images against real ones: what ``fastgan evaluate`` does."""

from __future__ import annotations

from .evaluate import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
