"""The loss, the mixed-objective step, checkpoints and the loop."""
