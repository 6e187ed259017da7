"""What is remembered between sessions, behind the same verbs on every backend."""
