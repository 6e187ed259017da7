"""What a message costs: CPU, messages per second and memory, measured on loopback (docs/performance.md)."""
