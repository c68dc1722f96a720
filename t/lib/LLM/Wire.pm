package LLM::Wire;

# What clients and model servers say to each other.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Exporter 'import';
use JSON::PP;

our @EXPORT = qw(key_file usage event chunk final_usage done plain_stream chat_request chat_request_of chat_reply json);

my $json   = JSON::PP->new->canonical;
my $pretty = JSON::PP->new->canonical->pretty;

sub json { return $json->encode($_[0]) }

# The text of a key file. Each key is a hash; `secret` stands for the digest of this text.
# Of all key files that this test made: nothing that nginx writes may have one of them.
our %secrets;

sub key_file {
    my ($keys, %more) = @_;

    my @keys = map {
        my %key = %$_;
        if (defined(my $secret = delete $key{secret})) {
            $secrets{$_} = 1 for ref $secret ? @$secret : $secret;
            $key{sha256} = ref $secret ? [ map { sha256_hex($_) } @$secret ] : sha256_hex($secret);
        }
        \%key;
    } @$keys;
    return $pretty->encode({ %more, keys => \@keys });
}

sub usage {
    my ($prompt, $completion) = @_;

    return sprintf '"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}', $prompt, $completion,
        $prompt + $completion;
}

sub event { return "data: $_[0]\n\n" }

# A chunk with text of one choice, and with usage where servers send it continuously.
sub chunk {
    my ($text, %o) = @_;

    my $index = $o{index} // 0;
    my $tail  = defined $o{usage} ? ",$o{usage}" : '';
    return event(qq({"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":$index,"delta":{"content":)
            . qq("$text"},"finish_reason":null}]$tail}));
}

sub final_usage { return event('{"choices":[],' . usage(@_) . '}') }
sub done        { return event('[DONE]') }

sub plain_stream {
    my ($prompt, $completion) = @_;

    return chunk('hi') . final_usage($prompt, $completion) . done();
}

sub chat_request {
    my (%o) = @_;

    return $json->encode({ model => 'm', messages => [ { role => 'user', content => 'hi' } ], %o });
}

# One of exactly so many bytes.
sub chat_request_of {
    my ($bytes, %o) = @_;

    my $padding = $bytes - length chat_request(%o);
    die "a request of $bytes bytes has no room for this\n" if $padding < 0;
    return chat_request(%o, messages => [ { role => 'user', content => 'hi' . 'x' x $padding } ]);
}

sub chat_reply {
    my ($prompt, $completion) = @_;

    return '{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
        . '"content":"hi"},"finish_reason":"stop"}],' . usage($prompt, $completion) . '}';
}

1;
