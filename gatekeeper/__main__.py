"""python -m gatekeeper."""
