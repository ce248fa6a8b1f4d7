"""Shopping in a web shop as text, after an instruction."""
