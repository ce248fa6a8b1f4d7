"""Units of work on many processes: on this machine, or on a Ray cluster."""
