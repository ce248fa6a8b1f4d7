"""What a run has made, gathered for the page; and the page."""
