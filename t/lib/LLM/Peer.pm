package LLM::Peer;

# One TCP connection that never blocks for longer than the time limit; the base of clients and upstream connections.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP SO_LINGER SOL_SOCKET TCP_NODELAY);

use LLM::Wait;

sub adopt {
    my ($class, $socket, $what) = @_;

    $socket->blocking(0);
    setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);
    return bless { socket => $socket, what => $what, in => '', eof => 0 }, $class;
}

sub connect_to {
    my ($class, $port, $what) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp', Timeout => time_limit())
        or die "connecting to port $port: $@\n";
    return $class->adopt($socket, $what // "port $port");
}

sub socket { return $_[0]{socket} }
sub eof    { return $_[0]{eof} }

# Writes everything. False if the other side has closed.
sub write {
    my ($self, $bytes) = @_;

    my $offset = 0;
    while ($offset < length $bytes) {
        my $n = syswrite $self->{socket}, $bytes, length($bytes) - $offset, $offset;
        if (defined $n) {
            $offset += $n;
        } elsif ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR) {
            wait_writable($self->{socket}, $self->{what});
        } else {
            return 0;
        }
    }
    return 1;
}

# Reads what is there into {in}; true if something came. A reset counts as an end.
sub read_some {
    my ($self) = @_;

    return 0 if $self->{eof};
    my $n = sysread $self->{socket}, $self->{in}, 262_144, length $self->{in};
    return 1 if $n;
    return 0 if !defined $n && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);
    $self->{eof} = 1;
    return 0;
}

# Waits until something comes or the end is there.
sub read_more {
    my ($self, $for) = @_;

    return 0 if $self->{eof};
    wait_readable($self->{socket}, "$self->{what}: " . ($for // 'more'));
    return $self->read_some;
}

sub close {
    my ($self) = @_;

    CORE::close $self->{socket} if $self->{socket};
    $self->{socket} = undef;
    $self->{eof}    = 1;
    return;
}

# Ends the connection with a RST instead of a FIN.
sub reset {
    my ($self) = @_;

    setsockopt($self->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
    $self->close;
    return;
}

1;
