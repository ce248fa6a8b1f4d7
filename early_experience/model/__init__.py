"""The language model: parameter table, transformer, attention, sharding."""
