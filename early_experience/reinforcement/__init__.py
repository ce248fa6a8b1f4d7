"""Learning from a policy's own episodes: groups, advantages, rows, the loop."""
