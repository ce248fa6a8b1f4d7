"""TextCraft behind the environment interface."""
