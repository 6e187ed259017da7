# A message was moved into Junk: its user says that it is spam.
require ["vnd.dovecot.pipe", "copy", "imapsieve", "environment", "variables"];

if environment :matches "imap.user" "*" {
  set "user" "${1}";
}
pipe :copy "gatekeeper-learn" ["spam", "${user}"];
