"""Questions that take several searches to answer, in the Search-R1 format."""
