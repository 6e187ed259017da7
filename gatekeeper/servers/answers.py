"""What the SMTP proxy says by itself, without asking anybody (RFC 5321 §4.2.2, RFC 3463)."""

from __future__ import annotations

from typing import Final

from gatekeeper.model import Reply

OK: Final = Reply.of(250, "2.0.0 Ok")
BYE: Final = Reply.of(221, "2.0.0 Bye")
SENDER_OK: Final = Reply.of(250, "2.1.0 Ok")
TLS_THERE: Final = Reply.of(503, "5.5.1 TLS is there already")
TLS_FIRST: Final = Reply.of(530, "5.7.0 Say STARTTLS first")
GO_AHEAD: Final = Reply.of(354, "End data with <CR><LF>.<CR><LF>")
UNKNOWN: Final = Reply.of(500, "5.5.1 Command not recognized")
NOT_OFFERED: Final = Reply.of(502, "5.5.1 Command not implemented")
NOT_CHECKED: Final = Reply.of(252, "2.0.0 Argument not checked, but will take mail and try")
COMMANDS_HERE: Final = Reply.of(214, "2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP QUIT (RFC 5321)")
LINE_TOO_LONG: Final = Reply.of(500, "5.5.2 Line too long")
BARE_LF: Final = Reply.of(500, "5.5.2 Command line ends in LF alone, not CRLF")
TOO_MANY_RECIPIENTS: Final = Reply.of(452, "4.5.3 Too many recipients, send the rest in another message")
NO_RECIPIENTS: Final = Reply.of(554, "5.5.1 No valid recipients")
TOO_BIG: Final = Reply.of(552, "5.3.4 Message bigger than SIZE allows")
NOT_TRUSTED: Final = Reply.of(550, "5.7.0 Not allowed from here")
TOO_MANY_ERRORS: Final = Reply.of(421, "4.7.0 Too many errors, goodbye")
TOO_MUCH_IDLING: Final = Reply.of(421, "4.7.0 Too many commands without mail, goodbye")
TOO_FAR_AHEAD: Final = Reply.of(421, "4.7.0 Too much was sent before the message was answered, goodbye")
TIMEOUT: Final = Reply.of(421, "4.4.2 Timeout, goodbye")
LONG_ENOUGH: Final = Reply.of(421, "4.4.2 This session has lasted long enough, please connect again")
GOING_DOWN: Final = Reply.of(421, "4.3.2 Service shutting down, try again in a moment")
OUR_FAULT: Final = Reply.of(421, "4.3.0 Local error, try again later")
BUSY: Final = Reply.of(421, "4.3.2 Too busy at the moment, try again in a few minutes")
BUSY_AT_MAIL: Final = Reply.of(451, "4.3.2 Too busy for new mail at the moment, try again in a few minutes")
SERVER_FULL: Final = Reply.of(421, "4.3.2 Too many connections, try again later")
ADDRESS_FULL: Final = Reply.of(421, "4.7.0 Too many connections from your address, try again later")
