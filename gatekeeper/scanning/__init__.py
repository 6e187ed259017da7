"""Those who look into a message outside of this process: one of ours that may be killed, and virus scanners."""
