# A message was moved out of Junk: its user says that it is wanted. One that is thrown away is not.
require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables", "special-use"];

if environment :matches "imap.mailbox" "*" {
  set "mailbox" "${1}";
}
if anyof(
  specialuse_exists "${mailbox}" "\\Trash",
  specialuse_exists "${mailbox}" "\\Junk",
  string :matches "${mailbox}" ["*Trash*", "Deleted *", "Bin", "Papierkorb", "Corbeille", "Papelera", "Cestino",
                                "Prullenbak", "Kosz", "Lixeira", "Papirkurv", "Papperskorgen", "Roskakori", "*Junk*",
                                "*Spam*"]
) {
  stop;
}
if environment :matches "imap.user" "*" {
  set "user" "${1}";
}
pipe :copy "gatekeeper-learn" ["ham", "${user}"];
