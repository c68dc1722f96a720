# Why: where two readers of one connection disagree on where a request ends, the second one takes a body for a request that nobody has
# checked. Whatever the framing, what the gateway did not decide on must never be a request at the model server; and what is refused
# early, with its body still on the way, must not leave the body behind as the next request.

use strict;
use warnings;

use LLM::Test;

my $t = LLM::Test->gateway(
    keys   => [ { name => 'alice', secret => 'sk-alice' } ],
    http   => 'upstream model { server 127.0.0.1:%%PORT_1%%; keepalive 4; }',
    server => <<'EOF');
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        # The test ends its half of the connection to have the end of the other.
        proxy_ignore_client_abort on;
        location / { proxy_pass http://model; }
        location /closed { deny all; proxy_pass http://model; }
        location /little { client_max_body_size 10; proxy_pass http://model; }
EOF
my $upstream = $t->daemon(1);
$t->start;

my $good    = chat_request();
my $hidden  = "POST /hidden HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($good) . "\r\n\r\n$good";
my $chunked = sprintf "%x\r\n%s\r\n0\r\n\r\n", length $good, $good;

# Sends it all on one connection; returns the statuses of all answers, and the requests that the upstream saw.
sub talk {
    my ($bytes) = @_;

    my $before = $upstream->count;
    my $c      = $t->client;
    $c->write($bytes);
    shutdown $c->socket, 1;
    until ($c->eof) {
        $c->read_more('the end of the connection');
    }
    my @statuses = $c->{in} =~ m{HTTP/1\.1 (\d+)}g;
    $c->close;
    my @seen = $upstream->requests;
    return (\@statuses, [ @seen[ $before .. $#seen ] ]);
}

# Lines of a request's head that say where its body ends.
my %framing = (
    'Content-Length and chunked'     => "Content-Length: %LENGTH%\r\nTransfer-Encoding: chunked",
    'chunked and Content-Length'     => "Transfer-Encoding: chunked\r\nContent-Length: 4",
    'two lengths'                    => "Content-Length: %LENGTH%\r\nContent-Length: 4",
    'the same length twice'          => "Content-Length: %LENGTH%\r\nContent-Length: %LENGTH%",
    'a list of lengths'              => 'Content-Length: %LENGTH%, 4',
    'a length with a sign'           => 'Content-Length: +%LENGTH%',
    'a length below zero'            => 'Content-Length: -1',
    'a length in hexadecimal'        => 'Content-Length: 0x10',
    'a length beyond 64 bits'        => 'Content-Length: 18446744073709551620',
    'an unknown coding'              => 'Transfer-Encoding: xchunked',
    'a coding before chunked'        => 'Transfer-Encoding: gzip, chunked',
    'identity'                       => "Transfer-Encoding: identity\r\nContent-Length: %LENGTH%",
    'two codings'                    => "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    'chunked twice'                  => "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    'a tab before chunked'           => "Transfer-Encoding:\tchunked\r\nContent-Length: %LENGTH%",
    'a vertical tab before chunked'  => "Transfer-Encoding:\x0bchunked\r\nContent-Length: %LENGTH%",
    'a blank before the colon'       => "Transfer-Encoding : chunked\r\nContent-Length: %LENGTH%",
    'a blank before the name'        => " Transfer-Encoding: chunked\r\nContent-Length: %LENGTH%",
    'a continued line'               => "Transfer-Encoding:\r\n chunked\r\nContent-Length: %LENGTH%",
    'an underscore in the name'      => "Transfer_Encoding: chunked\r\nContent-Length: %LENGTH%",
    'a carriage return in a value'   => "X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: %LENGTH%",
    'a NUL in a value'               => "X-A: b\0\r\nContent-Length: %LENGTH%",
    'lines that end by a line feed'  => "X-A: b\nTransfer-Encoding: chunked\nX-B: c",
    'Upgrade: h2c'                   => "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: %LENGTH%",
    'Connection: Content-Length'     => "Connection: Content-Length\r\nContent-Length: %LENGTH%",
    'Expect'                         => "Expect: 100-continue\r\nContent-Length: %LENGTH%",
    'a length that ends too early'   => 'Content-Length: 4',
    'no length'                      => 'X-A: b',
);

# What follows the head: the body of one reader, and a request of another.
my %body = (
    'the request as a body'            => $hidden,
    'chunks, then the request'         => $chunked . $hidden,
    'no chunk, then the request'       => "0\r\n\r\n$hidden",
    'a chunk with an extension'        => sprintf("%x;a=b\r\n%s\r\n0\r\n\r\n%s", length $good, $good, $hidden),
    'a chunk too long for 64 bits'     => "10000000000000004\r\nabcd\r\n0\r\n\r\n$hidden",
    'a chunk whose size has a sign'    => "+4\r\nabcd\r\n0\r\n\r\n$hidden",
    'a chunk that ends by a line feed' => sprintf("%x\n%s\n0\n\n%s", length $good, $good, $hidden),
    'trailers'                         => sprintf("%x\r\n%s\r\n0\r\nContent-Length: 4\r\nAuthorization: Bearer sk-alice\r\n\r\n%s", length $good, $good, $hidden),
);

# The most that the upstream may see of the first request.
my @where = ([ 'a good key', '/', 'sk-alice', 1 ], [ 'a wrong key', '/', 'sk-nobody', 0 ], [ 'a door that is shut', '/closed', 'sk-alice', 0 ],
    [ 'a body that is too large', '/little', 'sk-alice', 1 ]);

for (@where) {
    my ($who, $uri, $key, $most) = @$_;
    case $who => sub {
        for my $how (sort keys %framing) {
            my @wrong;
            for my $what (sort keys %body) {
                my $length = length $body{$what};
                my $head   = $framing{$how} =~ s/%LENGTH%/$length/gr;
                my ($statuses, $seen) = talk("POST $uri HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $key\r\n$head\r\n\r\n$body{$what}");
                my $uris = join ' ', map { $_->{uri} } @$seen;
                push @wrong, "$what: statuses @$statuses, the upstream saw [$uris]" if !@$statuses || @$seen > $most || $uris =~ /hidden/;
            }
            is(join("\n", @wrong), '', $how);
        }
    };
}

# The upstream must end each request where the gateway did: its framing is the gateway's, whatever the client's was.
case 'what goes to the upstream has one framing' => sub {
    my $before = $upstream->count;
    for my $head ('Content-Length: ' . length $good, 'Transfer-Encoding: chunked', 'transfer-encoding:   CHUNKED') {
        my ($statuses) = talk("POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-alice\r\n$head\r\n\r\n" . ($head =~ /chunked/i ? $chunked : $good));
        is_deeply($statuses, [200], $head);
    }
    my @seen = $upstream->requests;
    is(@seen - $before, 3, 'all came');
    for (@seen[ $before .. $#seen ]) {
        my @framing = $_->{head} =~ /^(content-length|transfer-encoding):/mig;
        is(scalar @framing, 1, "one of the two: @framing");
        is($_->{body}, $good, 'and the whole body');
    }
};

case 'a key is good for its own request only' => sub {
    my $with    = "POST /with HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-alice\r\nContent-Length: " . length($good) . "\r\n\r\n$good";
    my $without = "POST /without HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($good) . "\r\n\r\n$good";
    my ($statuses, $seen) = talk($with . $without . $with);
    is_deeply($statuses, [ 200, 401, 200 ], 'statuses');
    is_deeply([ map { $_->{uri} } @$seen ], [ '/with', '/with' ], 'requests at the upstream');
};

$t->finish;
