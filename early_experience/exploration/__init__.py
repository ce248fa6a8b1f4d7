"""Who proposes alternative actions, and how they are tried from a state."""
