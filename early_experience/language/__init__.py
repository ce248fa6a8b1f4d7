"""Language models: one interface, behind an endpoint or on a checkpoint."""
