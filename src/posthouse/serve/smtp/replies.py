"""What SMTP and LMTP sessions answer, word for word (RFC 5321 §4.2, RFC 3463): an interface, in one place."""

from posthouse.mail.status import reply

OK = reply(250, "2.0.0", "OK")
BYE = reply(221, "2.0.0", "Goodbye", close=True)
GO_AHEAD = reply(354, "", "Send the message; end it with a line that has only a dot")
READY_FOR_TLS = reply(220, "2.0.0", "Ready to start TLS")
LOGGED_IN = reply(235, "2.7.0", "Logged in")
VERIFY = reply(252, "2.1.5", "Addresses are not verified here; send a message and see")
EXPAND = reply(502, "5.5.1", "Lists are not expanded here")
HELP = reply(214, "2.0.0", "This is Posthouse; it speaks RFC 5321. Ask postmaster at this host for help")

LOGIN_FIRST = reply(530, "5.7.0", "Log in first: this port is for users of this server")
TLS_FIRST = reply(530, "5.7.0", "Start TLS first (STARTTLS)")
TLS_FOR_LOGIN = reply(538, "5.7.11", "Start TLS first (STARTTLS): passwords are not taken in the clear")
NO_TLS = reply(502, "5.5.1", "TLS is not offered here")
NO_AUTH = reply(503, "5.5.1", "There is no login on this port; users send mail on the submission port")
TLS_INJECTION = reply(421, "4.7.0", "Nothing may follow STARTTLS before TLS begins", close=True)
HARVEST = reply(450, "4.7.1", "Too many unknown recipients; try again later")
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients for one message; send the rest in another")

FOR_NOTICES_ONLY = reply(550, "5.7.1", "This address is only for notices of non-delivery, which have no sender")

TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors; goodbye", close=True)
TOO_MANY_LOGINS = reply(421, "4.7.0", "Too many failed logins; goodbye", close=True)
LOGIN_CHANGED = reply(421, "4.7.0", "This login has been changed or removed; log in again", close=True)
WORN_OUT = reply(421, "4.3.2", "This connection has been used enough; open a new one", close=True)
TIMED_OUT = reply(421, "4.4.2", "Nothing came for too long; goodbye", close=True)
TOO_SLOW = reply(421, "4.4.2", "The message comes too slowly; goodbye", close=True)
STORE_FAILED = reply(421, "4.3.0", "This server cannot store mail until it has restarted; try again later", close=True)
BROKEN = reply(421, "4.3.0", "Something went wrong on this server; it has been noted. Try again later", close=True)
