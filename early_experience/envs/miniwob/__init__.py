"""MiniWoB++ in a real browser."""
