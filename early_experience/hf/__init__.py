"""Hugging Face checkpoints: their config, tensor names, and files."""
