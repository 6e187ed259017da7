"""Reasons to distrust or to trust, one file each; none knows another."""
