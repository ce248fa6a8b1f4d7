"""Agent learning via early experience (arXiv 2510.08558), in JAX."""
