"""This library's own ops."""

from __future__ import annotations

from fastgan.tape.rules.call import RULES

__all__ = ["RULES"]
