package LLM::Client;

# An HTTP/1.1 client that shows a response while it comes in, byte by byte.

use strict;
use warnings;

use parent 'LLM::Peer';

use LLM::Wait;

sub connect_to {
    my ($class, $port) = @_;

    my $self = $class->SUPER::connect_to($port, "client of port $port");
    $self->{expected} = [];
    $self->_next_response;
    return $self;
}

sub local_port { return $_[0]{socket}->sockport }

# Sends a request. Options: headers => [name => value, ...], body => bytes (Content-Length is added unless `headers` says
# how the body is framed), id => value of X-Test.
sub request {
    my ($self, $method, $uri, %o) = @_;

    my $sent = $self->write($self->format_request($method, $uri, %o));
    push @{ $self->{expected} }, $method;
    return $sent;
}

sub format_request {
    my ($self, $method, $uri, %o) = @_;

    my @headers = (Host => 'localhost', @{ $o{headers} // [] });
    push @headers, 'X-Test' => $o{id} if defined $o{id};
    my $head = "$method $uri HTTP/1.1\r\n";
    for (my $i = 0; $i < @headers; $i += 2) {
        $head .= "$headers[$i]: $headers[$i + 1]\r\n";
    }
    my $body = $o{body};
    $head .= 'Content-Length: ' . length($body) . "\r\n"
        if defined $body && $head !~ /^(?:Content-Length|Transfer-Encoding):/mi;
    return "$head\r\n" . ($body // '');
}

# Says that a request was written by hand.
sub expect_response {
    my ($self, $method) = @_;

    push @{ $self->{expected} }, $method;
    return;
}

sub _next_response {
    my ($self) = @_;

    $self->{state}    = 'head';
    $self->{response} = { body => '', headers => {}, complete => 0 };
    return;
}

# Parses what has come in.
sub _advance {
    my ($self) = @_;

    my $r = $self->{response};
    while (1) {
        my $state = $self->{state};
        if ($state eq 'head') {
            $self->{in} =~ s/\A(.*?\r\n)\r\n//s or last;
            $self->_take_head($1);
        } elsif ($state eq 'length') {
            $r->{body} .= substr $self->{in}, 0, $self->{left} - length $r->{body}, '';
            last if length $r->{body} < $self->{left};
            $self->_finish;
        } elsif ($state eq 'size') {
            $self->{in} =~ s/\A([0-9a-fA-F]+)[^\r\n]*\r\n// or last;
            $self->{left}  = hex $1;
            $self->{state} = $self->{left} ? 'chunk' : 'trailer';
        } elsif ($state eq 'chunk') {
            my $piece = substr $self->{in}, 0, $self->{left}, '';
            $r->{body} .= $piece;
            $self->{left} -= length $piece;
            last if $self->{left};
            $self->{state} = 'chunk end';
        } elsif ($state eq 'chunk end') {
            $self->{in} =~ s/\A\r\n// or last;
            $self->{state} = 'size';
        } elsif ($state eq 'trailer') {
            $self->{in} =~ s/\A\r\n// or last;
            $self->_finish;
        } elsif ($state eq 'until close') {
            $r->{body} .= $self->{in};
            $self->{in} = '';
            $self->_finish if $self->{eof};
            last;
        } else {
            last;
        }
    }
    return;
}

sub _take_head {
    my ($self, $head) = @_;

    my $r = $self->{response};
    my ($line, @lines) = split /\r\n/, $head;
    $line =~ m{\AHTTP/1\.[01] (\d{3})} or die "not an HTTP response: $line\n";
    my $status = $1;
    if ($status == 100) {
        $self->{continued}++;
        return;
    }
    $r->{status} = $status;
    $r->{head}   = $head;
    for (@lines) {
        my ($name, $value) = /\A([^:]+):\s*(.*?)\s*\z/ or next;
        $name = lc $name;
        $r->{headers}{$name} = exists $r->{headers}{$name} ? "$r->{headers}{$name}, $value" : $value;
    }
    my $method = shift @{ $self->{expected} } // 'GET';
    my $length = $r->{headers}{'content-length'};
    if ($method eq 'HEAD' || $status == 204 || $status == 304) {
        $self->_finish;
    } elsif (($r->{headers}{'transfer-encoding'} // '') =~ /chunked/i) {
        $self->{state} = 'size';
    } elsif (defined $length) {
        $self->{left}  = $length;
        $self->{state} = 'length';
    } else {
        $self->{state} = 'until close';
    }
    return;
}

sub _finish {
    my ($self) = @_;

    $self->{response}{complete} = 1;
    $self->{state} = 'done';
    return;
}

# Takes in what is there without waiting.
sub pump {
    my ($self) = @_;

    1 while $self->read_some;
    $self->_advance;
    return $self->{response};
}

sub _wait {
    my ($self, $for, $condition) = @_;

    $self->_advance;
    until ($condition->()) {
        last if $self->{eof};
        $self->read_more($for);
        $self->_advance;
    }
    return $self->{response};
}

sub wait_continue {
    my ($self) = @_;

    $self->_wait('100 Continue', sub { $self->{continued} || $self->{state} ne 'head' });
    return $self->{continued};
}

# Waits for the status; undef if the connection ended before.
sub wait_head {
    my ($self) = @_;

    return $self->_wait('a response header', sub { $self->{state} ne 'head' })->{status};
}

# Waits until so many bytes of the body have come (or the response ended); returns the body so far.
sub wait_body {
    my ($self, $length) = @_;

    my $r = $self->{response};
    $self->_wait("$length bytes of a body", sub { length $r->{body} >= $length || $self->{state} eq 'done' });
    return $r->{body};
}

# Waits for the end of the response and returns it: { status, headers, head, body, complete }. The next one may follow.
sub response {
    my ($self) = @_;

    my $r = $self->_wait('the end of a response', sub { $self->{state} eq 'done' });
    $self->_next_response if $self->{state} eq 'done';
    return $r;
}

# Waits until the other side has closed.
sub wait_close {
    my ($self) = @_;

    until ($self->{eof}) {
        $self->read_more('the end of the connection');
    }
    $self->_advance;
    return $self->{response};
}

1;
