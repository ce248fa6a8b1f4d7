"""Generation: KV caches, constraints, and what a model has read."""
