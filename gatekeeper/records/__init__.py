"""One record per transaction: written, kept, found and explained."""
