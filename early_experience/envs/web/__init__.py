"""Web pages as text, and what can be done on them."""
