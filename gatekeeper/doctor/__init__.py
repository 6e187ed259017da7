"""`gatekeeper doctor`: which promises hold for the configuration at hand, and the line that would mend the others."""
