"""Log lines: an event name, then facts, in logfmt (or JSON); to the journal when there is one, else standard error."""
