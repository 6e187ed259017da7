"""What a message looks like, and what a learned model thinks of that. Pure but for reading the shipped model."""
