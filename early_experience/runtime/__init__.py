"""What every stage stands on; nothing here knows an environment or a model."""
