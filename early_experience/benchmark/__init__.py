"""Commands that print the figures README and the log quote."""
