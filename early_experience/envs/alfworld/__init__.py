"""ALFWorld: household tasks in text, by a pure-Python PDDL engine."""
