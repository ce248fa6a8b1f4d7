"""From trajectories or imported chats to sequences, which rows are made of."""
