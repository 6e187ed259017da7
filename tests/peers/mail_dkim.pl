# The judge: what Mail::DKIM makes of the message on standard input. perl mail_dkim.pl dkim|arc PORT-OF-NAMESERVER
use strict;
use warnings;
use Mail::DKIM::ARC::Verifier;
use Mail::DKIM::DNS;
use Mail::DKIM::Verifier;
use Net::DNS;

my ($what, $port) = @ARGV;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $port, recurse => 1));
my $verifier = $what eq 'arc' ? Mail::DKIM::ARC::Verifier->new : Mail::DKIM::Verifier->new;
while (my $line = <STDIN>) {
    $line =~ s/\r?\n\z//;
    $verifier->PRINT("$line\015\012");
}
$verifier->CLOSE;
print $verifier->result, "\n", $verifier->result_detail, "\n";
