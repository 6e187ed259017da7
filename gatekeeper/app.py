"""Builds and wires every object of one process. START READING HERE."""
