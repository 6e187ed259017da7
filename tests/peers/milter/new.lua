-- Version 6: what needs no answer gets none; several mails over one connection, forged fields, macros.
dofile(COMMON)
local conn = open(6, 0x1FFFFF, 0x1FF)
for _, option in ipairs({ SMFIP_RCPT_REJ, SMFIP_NR_HDR, SMFIP_NR_HELO, SMFIP_NR_DATA, SMFIP_NR_EOH, SMFIP_NR_BODY, SMFIP_NR_UNKN }) do
  want("option " .. option, mt.test_option(conn, option), true)
end
for _, option in ipairs({ SMFIP_NR_CONN, SMFIP_NR_MAIL, SMFIP_NR_RCPT, SMFIP_NOUNKNOWN }) do
  want("option " .. option, mt.test_option(conn, option), false)
end
did("macros", mt.macro(conn, SMFIC_CONNECT, "j", "mx.example.org", "{client_ptr}", "mail.good.test"))
client(conn, "mail.good.test", "192.0.2.10")
did("unknown", mt.unknown(conn, "FROBNICATE"))

for number = 1, 2 do
  did("macros", mt.macro(conn, SMFIC_MAIL, "i", "MILTERTEST" .. number))
  mail(conn, "<new@good.test>", "<alice@example.org>", "<bob@example.org>")
  did("data", mt.data(conn))
  want("data", mt.getreply(conn), SMFIR_CONTINUE)
  content(conn, "<new@good.test>", {
    { "X-Spam-Flag", "NO" },
    { "Authentication-Results", "mx.example.org; spf=pass" },
    { "X-Spam-Status", "No, score=-99" },
  })
  want("end of message", mt.getreply(conn), SMFIR_ACCEPT)
  want("flag", mt.eom_check(conn, MT_HDRDELETE, "x-spam-flag"), true)
  want("status", mt.eom_check(conn, MT_HDRDELETE, "x-spam-status"), true)
  want("results", mt.eom_check(conn, MT_HDRDELETE, "authentication-results"), true)
  want("subject", mt.eom_check(conn, MT_HDRDELETE, "Subject"), false)
  want("our results", mt.eom_check(conn, MT_HDRINSERT, "Authentication-Results"), true)
  want("our status", mt.eom_check(conn, MT_HDRINSERT, "X-Spam-Status"), true)
  want("body", mt.eom_check(conn, MT_BODYCHANGE), false)
  want("recipients", mt.eom_check(conn, MT_RCPTDELETE, "<alice@example.org>"), false)
  want("quarantine", mt.eom_check(conn, MT_QUARANTINE), false)
end
mt.disconnect(conn)
