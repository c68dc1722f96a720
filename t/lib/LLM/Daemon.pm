package LLM::Daemon;

# A forked upstream that answers many connections by itself, where the test need not move in step with it.
#
# What it answers is said by the request's X-Reply header (JSON): status, type, headers, body, framing (length, chunked,
# close), cut (bytes of the body after which the connection ends), hold (a name: the answer waits for go(name)). Without it
# a request that asks for a stream gets a small stream, others a small JSON reply. Each request is written
# down before it is answered.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use POSIX qw(_exit);
use Socket;

use LLM::Upstream;
use LLM::Wait;
use LLM::Wire;

my $json = JSON::PP->new->canonical;

# The ends of this process of what it tells its daemons by. A daemon ends when nobody has its own open any more: none may keep those of the others.
my %controls;

sub start {
    my ($class, $port, $record) = @_;

    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1024, ReuseAddr => 1)
        or die "listening on port $port: $!\n";
    socketpair my $ours, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!\n";
    open my $truncate, '>', $record or die "$record: $!\n";
    CORE::close $truncate;

    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        CORE::close $_ for $ours, values %controls;
        eval { _serve($listener, $its, $record) };
        print STDERR "upstream daemon: $@" if $@;
        _exit(0);
    }
    CORE::close $its;
    $ours->autoflush(1);
    $controls{$pid} = $ours;
    return bless { pid => $pid, control => $ours, record => $record, parent => $$ }, $class;
}

# Lets the requests that are held under this name be answered, now and later.
sub go {
    my ($self, $name) = @_;

    syswrite $self->{control}, "$name\n";
    return;
}

# All requests so far: { method, uri, head, headers, length, sha256, body (of small ones) }.
sub requests {
    my ($self) = @_;

    open my $file, '<', $self->{record} or die "$self->{record}: $!\n";
    seek $file, $self->{read} //= 0, 0;
    while (my $line = <$file>) {
        last if $line !~ /\n\z/;
        $self->{read} += length $line;
        push @{ $self->{requests} }, $json->decode($line);
    }
    return @{ $self->{requests} // [] };
}

sub count {
    my ($self) = @_;

    return scalar(my @all = $self->requests);
}

sub last_request {
    my ($self) = @_;

    return ($self->requests)[-1];
}

sub stop {
    my ($self) = @_;

    return if !$self->{pid} || $self->{parent} != $$;
    CORE::close $self->{control};
    delete $controls{ $self->{pid} };
    local $?;
    waitpid $self->{pid}, 0;
    $self->{pid} = 0;
    return;
}

sub DESTROY { $_[0]->stop; return }

sub _serve {
    my ($listener, $control, $record) = @_;

    local $SIG{PIPE} = 'IGNORE';
    local $SIG{TERM} = 'DEFAULT';
    open my $log, '>>', $record or die "$record: $!\n";
    my $select = IO::Select->new($listener, $control);
    my (%connections, %go);
    while (1) {
        for my $socket ($select->can_read) {
            if ($socket == $listener) {
                my $connection = LLM::Upstream::Connection->adopt(scalar $listener->accept, 'daemon');
                $connections{ $connection->socket } = $connection;
                $select->add($connection->socket);
            } elsif ($socket == $control) {
                sysread $control, my $names, 4096 or return;
                $go{$_} = 1 for split /\n/, $names;
            } else {
                $connections{$socket}->read_some;
            }
        }
        for my $key (keys %connections) {
            my $connection = $connections{$key};
            my $socket     = $connection->socket;
            _answer_all($connection, \%go, $log);
            next if $connection->socket && !$connection->eof;
            $select->remove($socket);
            $connection->close;
            delete $connections{$key};
        }
    }
}

sub _answer_all {
    my ($c, $go, $log) = @_;

    while (1) {
        $c->{waiting} //= _next_request($c, $log) // return;
        my $reply = $c->{waiting};
        return if defined $reply->{hold} && !$go->{ $reply->{hold} };
        $c->{waiting} = undef;
        _reply($c, $reply);
        return if !$c->socket;
    }
}

# The whole body, or undef if some of it is still to come.
sub _take_body {
    my ($c, $r) = @_;

    if (!$r->{headers}{'transfer-encoding'}) {
        my $length = $r->{headers}{'content-length'} // 0;
        return length $c->{in} < $length ? undef : substr $c->{in}, 0, $length, '';
    }
    while ($c->{in} =~ /\A([0-9a-f]+)\r\n/i && length $c->{in} >= $+[0] + hex($1) + 2) {
        my ($begin, $size) = ($+[0], hex $1);
        $r->{chunks} .= substr $c->{in}, $begin, $size;
        substr $c->{in}, 0, $begin + $size + 2, '';
        return delete $r->{chunks} if $size == 0;
    }
    return;
}

sub _next_request {
    my ($c, $log) = @_;

    if (!$c->{partial}) {
        $c->{in} =~ s/\A(.*?)\r\n\r\n//s or return;
        $c->{partial} = LLM::Upstream::Connection::parse_head($1);
    }
    my $r      = $c->{partial};
    my $body = _take_body($c, $r) // return;
    $c->{partial} = undef;

    my %seen = (%$r, length => length $body, sha256 => sha256_hex($body));
    $seen{body} = $body if length $body < 65536;
    syswrite $log, $json->encode(\%seen) . "\n";

    return $json->decode($r->{headers}{'x-reply'}) if $r->{headers}{'x-reply'};
    return { type => 'text/event-stream', body => plain_stream(7, 10), framing => 'chunked' } if $body =~ /"stream":\s*true/;
    return { body => chat_reply(7, 10) } if $r->{method} ne 'GET';
    return { body => '{"object":"list","data":[]}' };
}

sub _reply {
    my ($c, $reply) = @_;

    my $body    = $reply->{body}    // '';
    my $framing = $reply->{framing} // 'length';
    $c->head(
        status  => $reply->{status},
        type    => $reply->{type} // 'application/json',
        headers => $reply->{headers},
        framing => $framing,
        length  => length $body,
    );
    my $whole = !defined $reply->{cut};
    $body = substr $body, 0, $reply->{cut} if !$whole;
    $c->piece($body) if $body ne '';
    if (!$whole || $framing eq 'close') {
        $c->close;
    } elsif ($framing eq 'chunked') {
        $c->write("0\r\n\r\n");
    }
    return;
}

1;
