package LLM::Upstream;

# An upstream played by the test itself, so that it can move in step with the client.

use strict;
use warnings;

use IO::Socket::INET;

use LLM::Wait;

sub new {
    my ($class, $port) = @_;

    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1024, ReuseAddr => 1)
        or die "listening on port $port: $!\n";
    return bless { listener => $listener, port => $port }, $class;
}

sub accept {
    my ($self) = @_;

    wait_readable($self->{listener}, "a connection to the upstream on port $self->{port}");
    return LLM::Upstream::Connection->adopt(scalar $self->{listener}->accept, "upstream connection on port $self->{port}");
}

# True if somebody has connected and was not accepted yet.
sub pending {
    my ($self) = @_;

    return scalar IO::Select->new($self->{listener})->can_read(0);
}

sub listener { return $_[0]{listener} }

# Accepts a connection and reads the whole request from it.
sub take {
    my ($self) = @_;

    my $connection = $self->accept;
    $connection->read_request;
    return $connection;
}

sub close { my ($self) = @_; CORE::close $self->{listener}; return }

package LLM::Upstream::Connection;

use strict;
use warnings;

use parent -norequire, 'LLM::Peer';
require LLM::Peer;

# Reads a request: { line, method, uri, head, headers, body }. Kept in {request}; undef if the connection ended first.
sub read_request {
    my ($self) = @_;

    until ($self->{in} =~ /\r\n\r\n/) {
        return if $self->{eof};
        $self->read_more('a request header');
    }
    $self->{in} =~ s/\A(.*?)\r\n\r\n//s;
    my $request = parse_head($1);
    $request->{body} = $self->_read_body($request) // return;
    return $self->{request} = $request;
}

sub parse_head {
    my ($head) = @_;

    $head =~ s/\r//g;
    my ($line, @lines) = split /\n/, $head;
    my ($method, $uri) = split / /, $line;
    my %headers;
    for (@lines) {
        my ($name, $value) = /\A([^:]+):\s*(.*)\z/ or next;
        $headers{ lc $name } = $value;
    }
    return { line => $line, method => $method, uri => $uri, head => $head, headers => \%headers };
}

sub _read_body {
    my ($self, $request) = @_;

    die "the upstream of the tests does not read chunked requests\n" if $request->{headers}{'transfer-encoding'};
    my $length = $request->{headers}{'content-length'} // 0;
    until (length $self->{in} >= $length) {
        return if $self->{eof};
        $self->read_more('a request body');
    }
    return substr $self->{in}, 0, $length, '';
}

sub request { return $_[0]{request} }

# The header of a response, in one write with what comes first of the body (first => BYTES). Framing: chunked
# (default), length => n, or close.
sub head {
    my ($self, %o) = @_;

    my $status  = $o{status} // 200;
    my $framing = $o{framing} // 'chunked';
    $self->{chunked} = $framing eq 'chunked';
    my $text = "HTTP/1.1 $status Some\r\n";
    my @headers = ('Content-Type' => $o{type} // 'text/event-stream', @{ $o{headers} // [] });
    push @headers, 'Transfer-Encoding' => 'chunked' if $framing eq 'chunked';
    push @headers, 'Content-Length' => $o{length} if $framing eq 'length';
    push @headers, Connection => 'close' if $framing eq 'close';
    for (my $i = 0; $i < @headers; $i += 2) {
        $text .= "$headers[$i]: $headers[$i + 1]\r\n";
    }
    return $self->write("$text\r\n" . ($o{first} // ''));
}

# A piece of the body, in one write.
sub piece {
    my ($self, $bytes) = @_;

    return $self->write($self->{chunked} ? sprintf("%x\r\n%s\r\n", length $bytes, $bytes) : $bytes);
}

# Pieces of the body, each once this client has got what came before. None any more once it has got something else.
sub pieces_in_step {
    my ($self, $client, @pieces) = @_;

    my $sent = '';
    for my $piece (@pieces) {
        $self->piece($piece);
        $sent .= $piece;
        last if $client->wait_body(length $sent) ne $sent;
    }
    return;
}

# The proper end of a response.
sub finish {
    my ($self) = @_;

    $self->write("0\r\n\r\n") if $self->{chunked};
    $self->close;
    return;
}

# A whole response with a length.
sub reply {
    my ($self, $body, %o) = @_;

    $self->head(framing => 'length', length => length $body, type => 'application/json', first => $body, %o);
    $self->close;
    return;
}

# Waits until nginx has closed this connection.
sub wait_close {
    my ($self) = @_;

    $self->read_more('the end of an upstream connection') until $self->{eof};
    return 1;
}

1;
