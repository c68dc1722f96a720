package LLM::Exchanges;

# Many exchanges side by side with one nginx: clients that send what is given, byte for byte, and an upstream that answers each request by
# its X-Test. It goes in rounds: whoever has something to write writes one piece, and then nginx takes in all that was written. So every
# piece is a read of its own, and what a client does is known before the upstream goes on.

use strict;
use warnings;

use IO::Select;
use Time::HiRes qw(sleep time);

use LLM::Client;
use LLM::ClientH2;
use LLM::Upstream;
use LLM::Wait;

# Replies that are longer come whole: a byte at a time they would take long, and show nothing more.
my $longest_split = 3000;

# Options: upstream (an LLM::Upstream), worker (nginx's pid), split (bytes of a reply in one piece; 0: all).
sub new {
    my ($class, %o) = @_;

    return bless { split => 0, %o, jobs => {}, connections => {} }, $class;
}

# To be played: exchanges of one id or more, one after the other, as LLM::Case gives them, with clients of this port.
sub add {
    my ($self, $port, @exchanges) = @_;

    my $job = { port => $port, waiting => [@exchanges], seen => [], connections => 0 };
    $self->{jobs}{ $_->{id} } = $job for @exchanges;
    push @{ $self->{order} }, $job;
    return $job;
}

# Plays all. Each job then has: response (of its last exchange), seen (requests as the upstream got them), late (true if it did not end).
sub play {
    my ($self) = @_;

    my @jobs = @{ $self->{order} // [] };
    while (@jobs) {
        $self->_begin($_) for grep { !$_->{client} && !$_->{connections} } @jobs;
        $self->_asleep;
        my $busy = grep { @{ $_->{pieces} // [] } } values %{ $self->{connections} };
        $self->_read(\@jobs, $busy ? 0 : 0.02);
        # What clients have done is known to nginx before the upstream goes on.
        $self->_asleep;
        $self->_write_pieces;
        @jobs = grep { $_->{client} || $_->{connections} || @{ $_->{waiting} } } @jobs;
    }
    return;
}

sub _begin {
    my ($self, $job) = @_;

    my $next = shift @{ $job->{waiting} } or return;
    $job->{now}   = $next;
    $job->{until} = time + time_limit();
    $job->{responses} = 0;
    if ($next->{http2}) {
        my $c = $job->{client} = LLM::ClientH2->connect_to($job->{port});
        my @headers = map { lc $_->[0] => $_->[1] } @{ $next->{headers} };
        $job->{stream} = $c->request($next->{method} => $next->{path}, headers => \@headers, body => $next->{body}, id => $next->{id});
    } else {
        my $c = $job->{client} = LLM::Client->connect_to($job->{port});
        $c->expect_response($next->{method});
        $c->write($next->{bytes});
    }
    return;
}

sub _read {
    my ($self, $jobs, $patience) = @_;

    my $listener = $self->{upstream}->listener;
    my %by_socket = map { $_->{client} ? ($_->{client}->socket => $_) : () } @$jobs;
    my @sockets = (values %{ $self->{connections} }, map { $_->{client} // () } @$jobs);
    my %silent = %by_socket;
    for my $socket (IO::Select->new($listener, map { $_->socket } @sockets)->can_read($patience)) {
        if ($socket == $listener) {
            my $connection = $self->{upstream}->accept;
            $self->{connections}{ $connection->socket } = $connection;
        } elsif (my $connection = $self->{connections}{$socket}) {
            $self->_hear($connection);
        } else {
            delete $silent{$socket};
            $self->_receive($by_socket{$socket});
        }
    }
    # nginx may keep the connection, or wait for more of a request; but nothing may follow a whole response.
    $self->_leave($_) for grep { $_->{has_all} } values %silent;
    for my $job (grep { $_->{client} && time > $_->{until} } @$jobs) {
        $job->{late} = 1;
        $self->_leave($job);
    }
    return;
}

# A client takes in what is there, and goes when it has enough or all.
sub _receive {
    my ($self, $job) = @_;

    my $c = $job->{client};
    my ($now, $before) = ($job->{now}, length $c->{in});
    $c->read_some;
    $job->{received} += length($c->{in}) - $before;
    $job->{until} = time + time_limit();
    # Not everything that is read here is HTTP: a case may say so.
    my $legible = eval { $c->_advance; 1 };
    $job->{response} = $now->{http2} ? $c->{streams}{ $job->{stream} } : $c->{response};
    $job->{has_all} = $self->_has_all($job);
    $self->_leave($job) if $c->eof || !$legible || $job->{response}{reset} || defined $now->{leave_after} && $job->{received} >= $now->{leave_after};
    return;
}

# Whether a client has all its responses.
sub _has_all {
    my ($self, $job) = @_;

    my ($now, $response) = ($job->{now}, $job->{response});
    while (!$now->{http2} && $response->{complete} && $job->{responses} + 1 < $now->{responses}) {
        $job->{responses}++;
        $job->{client}->_next_response;
        $job->{client}->_advance;
        $response = $job->{response} = $job->{client}{response};
    }
    return $response->{complete};
}

sub _leave {
    my ($self, $job) = @_;

    $job->{client}->close;
    @$job{qw(client received responses has_all)} = (undef, 0, 0, 0);
    return;
}

# A connection of the upstream takes in what is there of a request, and knows its answer once that is whole.
sub _hear {
    my ($self, $connection) = @_;

    1 while $connection->read_some;
    return $self->_hang_up($connection) if $connection->eof;
    return if $connection->{job} || $connection->{in} !~ /\A(.*?\r\n)\r\n/s;
    my $head = $1;
    my ($length) = ($head =~ /^content-length:\s*(\d+)/mi, 0);
    return if length($connection->{in}) < length($head) + 2 + $length;
    my ($id) = $head =~ /^x-test:\s*(\S+)/mi or die "a request without X-Test:\n$head\n";
    my $job = $connection->{job} = $self->{jobs}{$id} or die "nobody has sent this request:\n$head\n";
    $job->{connections}++;
    push @{ $job->{seen} }, $connection->{in} if !@{ $job->{waiting} } || $job->{waiting}[0]{id} eq $id;
    my $now = $job->{now};
    my @ends = @{ $now->{chunks} };
    @ends = map { $_ * $self->{split} } 1 .. length($now->{reply}) / $self->{split}
        if $self->{split} && !@ends && length $now->{reply} < $longest_split;
    my ($at, @pieces) = 0;
    for my $end (@ends, length $now->{reply}) {
        push @pieces, substr $now->{reply}, $at, $end - $at if $end > $at;
        $at = $end;
    }
    $connection->{pieces} = \@pieces;
    $connection->{end}    = $now->{end} // 'close';
    return;
}

sub _write_pieces {
    my ($self) = @_;

    for my $connection (grep { $_->{job} } values %{ $self->{connections} }) {
        my $piece = shift @{ $connection->{pieces} };
        my $taken = !defined $piece || $connection->write($piece);
        next if $taken && @{ $connection->{pieces} };
        next if $taken && $connection->{end} eq 'hold';
        $connection->{end} eq 'reset' && $taken ? $self->_hang_up($connection, 'reset') : $self->_hang_up($connection);
    }
    return;
}

sub _hang_up {
    my ($self, $connection, $how) = @_;

    delete $self->{connections}{ $connection->socket };
    $connection->{job}{connections}-- if $connection->{job};
    $how ? $connection->reset : $connection->close;
    return;
}

# Waits until nginx sleeps: it has done with all that was there for it. That is as much as can be told from outside.
sub _asleep {
    my ($self) = @_;

    my $until = time + 1;
    while (time < $until) {
        open my $stat, '<', "/proc/$self->{worker}/stat" or die "nginx's worker $self->{worker} has gone\n";
        return if <$stat> =~ /\) S /;
        sleep 0.0001;
    }
    return;
}

1;
