package LLM::FramesH2;

# The frames of HTTP/2, for the client and the upstream that the tests play.

use strict;
use warnings;

use Exporter 'import';

use constant {
    DATA          => 0,
    HEADERS       => 1,
    RST_STREAM    => 3,
    SETTINGS      => 4,
    PING          => 6,
    GOAWAY        => 7,
    WINDOW_UPDATE => 8,
    END_STREAM    => 1,
    ACK           => 1,
    END_HEADERS   => 4,

    largest_window => 0x7fffffff,
};

our @EXPORT = qw(DATA HEADERS RST_STREAM SETTINGS PING GOAWAY WINDOW_UPDATE END_STREAM ACK END_HEADERS largest_window
    frame header_block take_frame);

sub frame {
    my ($type, $flags, $stream, $payload) = @_;

    return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload;
}

sub _integer {
    my ($value) = @_;

    return chr $value if $value < 127;
    my $out = chr 127;
    for ($value -= 127; $value >= 128; $value >>= 7) {
        $out .= chr(128 | $value & 127);
    }
    return $out . chr $value;
}

# Literal header fields, never indexed, not compressed.
sub header_block {
    my (@fields) = @_;

    my $block = '';
    while (my ($name, $value) = splice @fields, 0, 2) {
        $name = lc $name;
        $block .= "\x10" . _integer(length $name) . $name . _integer(length $value) . $value;
    }
    return $block;
}

# Takes the first frame off the bytes: (type, flags, stream, payload), or nothing if it is not there as a whole.
sub take_frame {
    my ($in) = @_;

    return if length $$in < 9;
    my ($high, $low, $type, $flags, $number) = unpack 'CnCCN', $$in;
    my $length = $high << 16 | $low;
    return if length $$in < 9 + $length;
    my $payload = substr $$in, 9, $length;
    substr $$in, 0, 9 + $length, '';
    return ($type, $flags, $number & largest_window, $payload);
}

1;
