"""Agents, their rollouts, and statistics."""
