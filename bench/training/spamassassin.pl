# SpamAssassin in one process, local rules and Bayes. Reads lines and answers each with one:
#   learn spam|ham PATH   teach Bayes
#   keep PATH             write what it has learned to a file, as sa-learn --backup does
#   take PATH             replace what it has learned by such a file, as sa-learn --restore does
#   rules PATH            the score of all rules but Bayes'
#   bayes PATH            what Bayes adds to that
#   whole PATH            the score as SpamAssassin itself adds it up, to check the two above
#   named                 its version, and a digest of its rules' scores
#   spent                 the CPU seconds of this process
# The first argument is the directory of its Bayes files, which it makes.
use strict;
use warnings;
use Digest::SHA;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($directory) = @ARGV;
$| = 1;
my $filter = Mail::SpamAssassin->new({
    local_tests_only => 1,
    dont_copy_prefs => 1,
    userprefs_filename => "/dev/null",
    userstate_dir => $directory,
    home_dir_for_helpers => $directory,
    post_config_text => join("\n",
        "use_bayes 1", "use_bayes_rules 1", "bayes_auto_learn 0", "bayes_auto_expire 0", "bayes_learn_to_journal 0",
        "bayes_path $directory/bayes", "bayes_min_spam_num 100", "bayes_min_ham_num 100", "lock_method flock",
    ) . "\n",
});
$filter->init(1);
# With network tests off and Bayes on, the third of each rule's four scores holds.
my $scores = $filter->{conf}->{scoreset}->[2];
my @bands = ([0.01, "BAYES_00"], [0.05, "BAYES_05"], [0.20, "BAYES_20"], [0.40, "BAYES_40"], [0.60, "BAYES_50"],
             [0.80, "BAYES_60"], [0.95, "BAYES_80"], [0.99, "BAYES_95"]);
my ($bayes) = grep { ref($_) eq "Mail::SpamAssassin::Plugin::Bayes" } @{ $filter->{plugins}->{plugins} };
my $writing = 0;

sub mail_of {
    my ($path) = @_;
    open(my $file, "<:raw", $path) or die "$path: $!";
    local $/;
    my $text = <$file>;
    close($file);
    return $filter->parse($text);
}

sub start_writing {
    return if $writing;
    $filter->init_learner({ caller_will_untie => 1, wait_for_lock => 1, no_relearn => 0 });
    $writing = 1;
}

sub stop_writing {
    return unless $writing;
    $filter->rebuild_learner_caches();
    $filter->finish_learner();
    $writing = 0;
}

while (my $line = <STDIN>) {
    chomp $line;
    my ($what, $rest) = split / /, $line, 2;
    my $answer = "";
    if ($what eq "learn") {
        start_writing();
        my ($kind, $path) = split / /, $rest, 2;
        my $mail = mail_of($path);
        $filter->learn($mail, undef, $kind eq "spam" ? 1 : 0, 0)->finish();
        $mail->finish();
    } elsif ($what eq "keep") {
        stop_writing();
        open(my $out, ">", $rest) or die "$rest: $!";
        my $before = select($out);
        $bayes->{store}->backup_database() or die "nothing learned could be written";
        select($before);
        close($out) or die "$rest: $!";
        $filter->finish_learner();
    } elsif ($what eq "take") {
        stop_writing();
        $bayes->{store}->restore_database($rest, 0) or die "$rest could not be taken";
        $filter->finish_learner();
    } elsif ($what eq "named") {
        my $all = join("\n", map { "$_ $scores->{$_}" } sort keys %$scores);
        $answer = Mail::SpamAssassin::Version() . ", rules " . substr(Digest::SHA::sha256_hex($all), 0, 8);
    } elsif ($what eq "spent") {
        my ($user, $system) = times;
        $answer = sprintf("%.2f", $user + $system);
    } elsif ($what eq "rules") {
        my $mail = mail_of($rest);
        $filter->{conf}->set_score_set(2);  # which rules are looked for hangs on it too
        my $status = $filter->check($mail);
        my $score = 0;
        for my $rule (@{ $status->{test_names_hit} }) {
            $score += $scores->{$rule} // 0 unless $rule =~ /^BAYES_/;
        }
        $answer = sprintf("%.3f", $score);
        $status->finish();
        $mail->finish();
    } elsif ($what eq "whole") {
        stop_writing();
        my $mail = mail_of($rest);
        my $status = $filter->check($mail);
        $answer = sprintf("%.3f", $status->get_score());
        $status->finish();
        $mail->finish();
    } elsif ($what eq "bayes") {
        stop_writing();
        my $mail = mail_of($rest);
        my $status = Mail::SpamAssassin::PerMsgStatus->new($filter, $mail);
        $status->extract_message_metadata();
        my $probability = $bayes->scan($status, $mail);
        if (!defined $probability) {
            $answer = "0";
        } else {
            my $rule = "BAYES_99";
            for my $band (@bands) {
                if ($probability < $band->[0]) { $rule = $band->[1]; last; }
            }
            $answer = sprintf("%.6f", ($scores->{$rule} // 0) + ($probability >= 0.999 ? ($scores->{BAYES_999} // 0) : 0) + 1e-4 * $probability);
        }
        $status->finish();
        $mail->finish();
    }
    print "$answer\n";
}
$filter->finish();
