"""One program a peer: it trains on the same rows, when `benchmark peers` asks.

Each runs by its path, in the Python that has what it needs, so none but `ours`
imports anything of this project's beside `worker`.
"""
