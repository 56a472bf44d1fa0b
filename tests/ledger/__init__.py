"""The GPU ledger: what can be known about the kernels without a GPU, recorded and guarded against regressions.

``python -m tests.ledger`` works everything out anew and writes docs/ledger.json and docs/ledger.md. A new op
adds its workloads to workloads.py.
"""
