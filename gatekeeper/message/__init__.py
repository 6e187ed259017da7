"""Reading and editing one message; pure."""
