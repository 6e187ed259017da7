"""The parent: sockets, workers, signals, systemd."""
