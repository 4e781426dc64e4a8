"""What a run takes of the memory, and what is said where it ends."""
