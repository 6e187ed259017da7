"""Every metric the program exposes, in one place."""
