package LLM::UpstreamH2;

# An upstream that speaks HTTP/2 (prior knowledge, no TLS), of one request per connection: what matters is that the end of its
# reply is a frame of its own. nginx talks to it by grpc_pass, whose upstreams need not speak gRPC, and newer ones by proxy_pass
# with proxy_http_version 2.

use strict;
use warnings;

use parent 'LLM::Upstream';

# Accepts a connection and waits for the end of the request on it, of which nothing is read.
sub take {
    my ($self) = @_;

    my $connection = bless $self->accept, 'LLM::UpstreamH2::Connection';
    $connection->start;
    return $connection;
}

package LLM::UpstreamH2::Connection;

use strict;
use warnings;

use parent -norequire, 'LLM::Peer';

use LLM::FramesH2;

my $preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

sub start {
    my ($self) = @_;

    $self->write(frame(SETTINGS, 0, 0, pack 'nN', 4, largest_window) . frame(WINDOW_UPDATE, 0, 0, pack 'N', largest_window - 65_535));
    $self->_wait('a request', sub { $self->{asked} });
    return;
}

sub _wait {
    my ($self, $for, $condition) = @_;

    until ($condition->() || $self->{eof}) {
        $self->read_more($for);
        $self->{in} =~ s/\A\Q$preface\E//;
        while (my ($type, $flags, $number, $payload) = take_frame(\$self->{in})) {
            $self->write(frame(SETTINGS, ACK, 0, ''))  if $type == SETTINGS && !($flags & ACK);
            $self->write(frame(PING, ACK, 0, $payload)) if $type == PING && !($flags & ACK);
            $self->{reset} = 1 if $type == RST_STREAM;
            ($self->{stream}, $self->{asked}) = ($number, 1) if ($type == HEADERS || $type == DATA) && $flags & END_STREAM;
        }
    }
    return;
}

# The header of a reply. Options: status, type, length (Content-Length), last => true if no body follows.
sub head {
    my ($self, %o) = @_;

    my @fields = (':status' => $o{status} // 200, 'content-type' => $o{type} // 'application/json');
    push @fields, 'content-length' => $o{length} if defined $o{length};
    return $self->write(frame(HEADERS, END_HEADERS | ($o{last} ? END_STREAM : 0), $self->{stream}, header_block(@fields)));
}

# A piece of the body; the end is not in it.
sub piece {
    my ($self, $bytes) = @_;

    return $self->write(frame(DATA, 0, $self->{stream}, $bytes));
}

sub finish {
    my ($self) = @_;

    return $self->write(frame(DATA, END_STREAM, $self->{stream}, ''));
}

# Waits until nginx wants no more of the reply.
sub wait_close {
    my ($self) = @_;

    $self->_wait('the end of a stream', sub { $self->{reset} });
    return 1;
}

1;
