"""THE TABLE: stage -> waves -> checks."""
