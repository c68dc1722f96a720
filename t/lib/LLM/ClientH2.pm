package LLM::ClientH2;

# An HTTP/2 client (prior knowledge, no TLS): just enough to decide when which frame is sent and to see what comes back. Of
# response headers only the status is read, which nginx sends indexed or as plain digits.

use strict;
use warnings;

use parent 'LLM::Peer';

use LLM::FramesH2;
use LLM::Wait;

my %status_of = (8 => 200, 9 => 204, 10 => 206, 11 => 304, 12 => 400, 13 => 404, 14 => 500);

sub connect_to {
    my ($class, $port) = @_;

    my $self = $class->SUPER::connect_to($port, "HTTP/2 client of port $port");
    $self->{next_stream}  = 1;
    $self->{streams}      = {};
    $self->{window}       = 65_535;
    $self->{first_window} = 65_535;
    $self->write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            . frame(SETTINGS, 0, 0, pack 'nN', 4, largest_window)
            . frame(WINDOW_UPDATE, 0, 0, pack 'N', largest_window - 65_535));
    return $self;
}

# Opens a stream and returns its number. Options: headers => [...], body => bytes (sent at once, ends the stream),
# open => true if body pieces follow by data(), id => value of x-test.
sub request {
    my ($self, $method, $uri, %o) = @_;

    my $number = $self->{next_stream};
    $self->{next_stream} += 2;
    my @fields = (':method' => $method, ':scheme' => 'http', ':path' => $uri, ':authority' => 'localhost', @{ $o{headers} // [] });
    push @fields, 'x-test' => $o{id} if defined $o{id};
    my $block = header_block(@fields);
    my $ends = !defined $o{body} && !$o{open};
    $self->{streams}{$number} = { body => '', complete => 0, window => $self->{first_window} };
    $self->write(frame(HEADERS, END_HEADERS | ($ends ? END_STREAM : 0), $number, $block));
    $self->data($number, $o{body}, last => 1) if defined $o{body};
    return $number;
}

# Sends a piece of a request's body.
sub data {
    my ($self, $number, $bytes, %o) = @_;

    my $s = $self->{streams}{$number};
    while (1) {
        my $length = length $bytes;
        $length = 16_384 if $length > 16_384;
        while ($length > $s->{window} || $length > $self->{window}) {
            return 0 if $s->{complete} || $s->{reset} || $self->{eof};
            $self->read_more('a window update');
            $self->_advance;
        }
        my $piece = substr $bytes, 0, $length, '';
        $s->{window}    -= $length;
        $self->{window} -= $length;
        my $ends = $o{last} && $bytes eq '';
        $self->write(frame(DATA, $ends ? END_STREAM : 0, $number, $piece)) or return 0;
        return 1 if $bytes eq '';
    }
}

sub cancel {
    my ($self, $number) = @_;

    return $self->write(frame(RST_STREAM, 0, $number, pack 'N', 8));
}

# Returns when nginx has taken in all that was sent so far: it answers a PING in its turn.
sub sync {
    my ($self) = @_;

    my $awaited = ++$self->{pings};
    $self->write(frame(PING, 0, 0, pack 'NN', 0, $awaited));
    until (($self->{ponged} // 0) >= $awaited || $self->{eof}) {
        $self->read_more('a PING to come back');
        $self->_advance;
    }
    return;
}

sub _advance {
    my ($self) = @_;

    while (my ($type, $flags, $number, $payload) = take_frame(\$self->{in})) {
        $self->_take($type, $flags, $number, $payload);
    }
    return;
}

sub _take {
    my ($self, $type, $flags, $number, $payload) = @_;

    my $s = $self->{streams}{$number} // {};
    if ($type == DATA) {
        $s->{body} .= $payload;
    } elsif ($type == HEADERS) {
        $s->{status} //= _status($payload);
    } elsif ($type == RST_STREAM) {
        $s->{reset} = 1;
    } elsif ($type == SETTINGS && !($flags & ACK)) {
        $self->_take_settings($payload);
    } elsif ($type == PING && !($flags & ACK)) {
        $self->write(frame(PING, ACK, 0, $payload));
    } elsif ($type == PING) {
        $self->{ponged} = (unpack 'NN', $payload)[1];
    } elsif ($type == GOAWAY) {
        $self->{goaway} = unpack 'N', $payload;
    } elsif ($type == WINDOW_UPDATE) {
        ($number ? $s : $self)->{window} += unpack 'N', $payload;
    }
    $s->{complete} = 1 if ($type == DATA || $type == HEADERS) && $flags & END_STREAM;
    return;
}

sub _take_settings {
    my ($self, $payload) = @_;

    while (length $payload >= 6) {
        my ($id, $value) = unpack 'nN', substr $payload, 0, 6, '';
        next if $id != 4;
        $_->{window} += $value - $self->{first_window} for values %{ $self->{streams} };
        $self->{first_window} = $value;
    }
    $self->write(frame(SETTINGS, ACK, 0, ''));
    return;
}

sub _status {
    my ($block) = @_;

    $block =~ s/\A[\x20-\x3f]+//;
    my $first = ord $block;
    return $status_of{ $first & 127 } if $first & 128;
    return $1 if $block =~ /\A.\x03(\d{3})/s;
    die 'no plain status in a response: ' . unpack('H*', substr $block, 0, 16) . "\n";
}

sub _over { my ($self, $s) = @_; return $s->{complete} || $s->{reset} || $self->{eof} }

sub _wait {
    my ($self, $number, $for, $condition) = @_;

    my $s = $self->{streams}{$number};
    $self->_advance;
    until ($condition->($s) || $self->_over($s) || defined $self->{goaway} && $self->{goaway} < $number) {
        $self->read_more($for);
        $self->_advance;
    }
    return $s;
}

sub wait_head {
    my ($self, $number) = @_;

    return $self->_wait($number, 'a response header', sub { $_[0]{status} })->{status};
}

sub wait_body {
    my ($self, $number, $length) = @_;

    return $self->_wait($number, "$length bytes of a body", sub { length $_[0]{body} >= $length })->{body};
}

# Waits for the end of the stream: { status, body, complete, reset }. Without a status the server went away or said GOAWAY.
sub response {
    my ($self, $number) = @_;

    return $self->_wait($number, 'the end of a response', sub { 0 });
}

1;
