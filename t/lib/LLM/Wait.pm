package LLM::Wait;

# Waiting for what can be observed, with a bound. Nothing in the tests sleeps for a fixed time.

use strict;
use warnings;

use Exporter 'import';
use IO::Select;
use Time::HiRes qw(time sleep);

our @EXPORT = qw(time_limit wait_until wait_readable wait_writable);

# Generous: machines are noisy, and only a failing test ever waits for so long.
sub time_limit {
    return $ENV{LLM_TIMEOUT} || 30;
}

# Polls until the condition holds and returns its value. Dies when it does not come true in time.
sub wait_until {
    my ($what, $condition) = @_;

    my $deadline = time + time_limit();
    my $pause    = 0.001;
    while (1) {
        my $value = $condition->();
        return $value if $value;
        die "timed out waiting for $what\n" if time > $deadline;
        sleep $pause;
        $pause *= 1.5 if $pause < 0.02;
    }
}

sub wait_readable {
    my ($socket, $what, $limit) = @_;

    return 1 if IO::Select->new($socket)->can_read($limit // time_limit());
    die "timed out reading: $what\n";
}

sub wait_writable {
    my ($socket, $what) = @_;

    return 1 if IO::Select->new($socket)->can_write(time_limit());
    die "timed out writing: $what\n";
}

1;
