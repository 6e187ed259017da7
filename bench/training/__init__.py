"""Learning the shipped model, and measuring it: `make model`, `make detection`. No part of what is installed."""
