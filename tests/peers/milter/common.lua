-- What the scripts share. miltertest is given SOCKET by the test.

-- miltertest ends with status 1 at an error, and does not say which.
function fail(why)
  mt.echo(why)
  error(why)
end

function want(what, got, expected)
  if got ~= expected then
    fail(what .. ": " .. tostring(got) .. " instead of " .. tostring(expected))
  end
end

-- Steps come before actions, whatever the manual says.
function open(version, steps, actions)
  local conn = mt.connect(SOCKET)
  if conn == nil then
    fail("no connection to " .. SOCKET)
  end
  want("negotiation", mt.negotiate(conn, version, steps, actions), nil)
  return conn
end

function did(what, failed)
  if failed ~= nil then
    fail(what .. ": " .. failed)
  end
end

function client(conn, name, address)
  did("connect", mt.conninfo(conn, name, address))
  want("connect", mt.getreply(conn), SMFIR_CONTINUE)
  did("helo", mt.helo(conn, "mail.good.test"))
end

function mail(conn, sender, ...)
  did("mail", mt.mailfrom(conn, sender))
  want("mail", mt.getreply(conn), SMFIR_CONTINUE)
  for _, recipient in ipairs({ ... }) do
    did("rcpt", mt.rcptto(conn, recipient))
    want("rcpt", mt.getreply(conn), SMFIR_CONTINUE)
  end
end

-- A message of that author with more fields of its own; miltertest puts the blank before values itself.
function content(conn, author, fields)
  for _, field in ipairs(fields or {}) do
    did("header", mt.header(conn, field[1], field[2]))
  end
  did("header", mt.header(conn, "From", author))
  did("header", mt.header(conn, "To", "<alice@example.org>"))
  did("header", mt.header(conn, "Subject", "by miltertest"))
  did("header", mt.header(conn, "Date", os.date("!%a, %d %b %Y %H:%M:%S +0000")))
  did("header", mt.header(conn, "Message-ID", "<1@good.test>"))
  did("end of header", mt.eoh(conn))
  did("body", mt.bodystring(conn, "A first chunk\r"))
  did("body", mt.bodystring(conn, "\nand a second one\r\n"))
  did("end of message", mt.eom(conn))
end
