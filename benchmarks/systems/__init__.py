"""The recipes' ``small`` presets, trained and measured: ``python -m fastgan_bench.systems`` writes docs/systems.md."""
