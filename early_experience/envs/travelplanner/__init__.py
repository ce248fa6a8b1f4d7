"""Plans of trips, filled in field by field from reference information."""
