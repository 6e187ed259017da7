"""gatekeeper: a spam-filtering SMTP proxy and milter daemon. Start reading in app.py."""

__version__ = "0.1.0"
