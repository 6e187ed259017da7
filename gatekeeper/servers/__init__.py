"""What listens: each turns bytes into facts, asks the gate, and carries the action out."""
