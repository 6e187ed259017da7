-- Version 2: everything is answered.
dofile(COMMON)
local conn = open(2, 0x7F, 0x3F)
for _, option in ipairs({ SMFIP_NOCONNECT, SMFIP_NOHELO, SMFIP_NOMAIL, SMFIP_NORCPT, SMFIP_NOHDRS, SMFIP_NOBODY }) do
  want("leaving out " .. option, mt.test_option(conn, option), false)
end
want("add headers", mt.test_action(conn, SMFIF_ADDHDRS), true)
want("change headers", mt.test_action(conn, SMFIF_CHGHDRS), true)
for _, action in ipairs({ SMFIF_CHGBODY, SMFIF_ADDRCPT, SMFIF_DELRCPT, SMFIF_QUARANTINE }) do
  want("action " .. action, mt.test_action(conn, action), false)
end
client(conn, "mail.good.test", "192.0.2.10")
want("helo", mt.getreply(conn), SMFIR_CONTINUE)
mail(conn, "<old@good.test>", "<alice@example.org>")
content(conn, "<old@good.test>")
want("end of message", mt.getreply(conn), SMFIR_ACCEPT)
want("a score", mt.eom_check(conn, MT_HDRINSERT, "X-Spam-Score"), true)
mt.disconnect(conn)
