"""The data: records, sequences, experience trees, rows and their loader."""
