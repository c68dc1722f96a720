# Why: what the gateway asked for in the client's place is taken out of a stream in nginx's own buffers, some of it held back until it
# is known what it is. However nginx carries the reply, what is left must be all the rest, in order, and end where it ends.

use strict;
use warnings;

use IO::Uncompress::Gunzip ();

use LLM::Test;

my $t = LLM::Test->gateway(
    keys   => [ { name => 'alice', secret => 'sk-alice' } ],
    http   => 'proxy_cache_path %%DIR%%/temp/cache keys_zone=cache:1m;',
    listen => 'sndbuf=16k', # so little that replies pile up in nginx and not in the socket
    server => <<'EOF', more => <<'MORE');
    location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
    location /buffered/ { proxy_buffering on; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
    location /filed/ { proxy_buffering on; proxy_buffers 2 16k; proxy_busy_buffers_size 16k; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
    location /cached/ {
        proxy_cache cache;
        proxy_cache_methods POST;
        proxy_cache_valid 200 1h;
        proxy_cache_key $uri;
        proxy_buffering on;
        proxy_pass http://127.0.0.1:%%PORT_1%%/;
    }
    location /small/ { proxy_buffer_size 1k; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
    location /gzipped/ { gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
    location /first/ { error_page 502 = /second/v1/chat/completions; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
    location /second/ { proxy_pass http://127.0.0.1:%%PORT_1%%/; }
EOF
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
}
MORE
my $up = $t->upstream(1);
$t->start;

my $path = '/v1/chat/completions';
my @asks = (headers => [ $t->bearer('sk-alice') ], body => chat_request(stream => \1));

sub ask {
    my ($uri, @send) = @_;

    my $c  = $t->client;
    my $id = $t->new_id;
    $c->request(POST => $uri, headers => [ $t->bearer('sk-alice'), @send ], body => chat_request(stream => \1), id => $id);
    return ($c, $id);
}

# A stream of so many chunks, and what is left of it for the client.
sub stream_of {
    my ($count, $usage) = @_;

    my ($all, $rest) = ('', '');
    for my $n (1 .. $count) {
        my $text = "token $n" . ' and more' x ($n % 7);
        $all  .= chunk($text, usage => $n % 3 ? $usage // '"usage":null' : undef);
        $rest .= chunk($text);
    }
    return ($all . final_usage(7, $count) . done(), $rest . done());
}

# Answers with a stream while the client reads it, or reads it only when all is sent.
sub run_stream {
    my ($uri, $all, %o) = @_;

    my ($c, $id) = ask($uri, @{ $o{send} // [] });
    my $u = $up->take;
    like($u->request->{body}, qr/"include_usage":true/, 'usage was asked for');
    $u->head(type => 'text/event-stream', framing => $o{framing}, length => length $all);
    for my $piece ($all =~ /(.{1,5003})/gs) {
        $u->piece($piece);
        $c->read_some if !$o{slow};
    }
    $u->finish;
    my $r = $c->response;
    $c->close;
    return ($r, $t->log_line($id));
}

for my $place ('', '/small', '/buffered', '/filed') {
    for my $framing (qw(chunked length close)) {
        # Where nginx does not buffer, a client that does not read stops the upstream.
        for my $slow ($place =~ /ed/ ? (0, 1) : 0) {
            case "a long stream, location $place/, $framing" . ($slow ? ', slow client' : '') => sub {
                my ($all, $rest) = stream_of(600);
                my ($r, $log) = run_stream("$place$path", $all, framing => $framing, slow => $slow);
                ok($r->{body} eq $rest, 'what is left is right') or diag(length($r->{body}) . ' of ' . length $rest);
                is($r->{complete}, 1, 'and whole');
                is($r->{headers}{'content-length'}, undef, 'without a length');
                is("$log->{prompt_tokens}/$log->{completion_tokens} $log->{usage_source}", '7/600 upstream', 'tokens');
            };
        }
    }
}

case 'a cached stream' => sub {
    my ($all, $rest) = stream_of(300);
    my ($r, $log) = run_stream("/cached$path", $all, framing => 'chunked');
    ok($r->{body} eq $rest, 'is right when it is stored');
    is($log->{completion_tokens}, 300, 'and counted');
    my ($c, $id) = ask("/cached$path");
    $r = $c->response;
    ok($r->{body} eq $rest, 'and from the cache') or diag(substr $r->{body}, 0, 300);
    ok(!$up->pending, 'for which the upstream is not asked');
};

case 'a stream that is compressed for the client' => sub {
    my ($all, $rest) = stream_of(300);
    my ($r, $log) = run_stream("/gzipped$path", $all, framing => 'chunked', send => [ 'Accept-Encoding' => 'gzip' ]);
    IO::Uncompress::Gunzip::gunzip(\$r->{body} => \my $plain);
    ok($plain eq $rest, 'is right');
    is($log->{completion_tokens}, 300, 'and counted');
};

case 'what is no stream keeps its length' => sub {
    my ($c) = ask($path);
    $up->take->reply(chat_reply(7, 10));
    my $r = $c->response;
    is($r->{body}, chat_reply(7, 10), 'a JSON reply has its usage');
    is($r->{headers}{'content-length'}, length chat_reply(7, 10), 'and its length');
    ($c) = ask($path);
    $up->take->reply('{"error":"no"}', status => 400);
    $r = $c->response;
    is("$r->{status} $r->{body} $r->{headers}{'content-length'}", '400 {"error":"no"} 14', 'an error is as it was');
};

case 'many streams on one connection' => sub {
    my ($all, $rest) = stream_of(3);
    my $c = $t->client;
    for (1 .. 5) {
        $c->request(POST => $path, @asks);
        my $u = $up->take;
        $u->head;
        $u->piece($all);
        $u->finish;
        ok($c->response->{body} eq $rest, "stream $_");
    }
};

case 'a stream after an internal redirect' => sub {
    my ($c, $id) = ask("/first$path");
    $up->take->close;
    my $u = $up->take;
    is(scalar(() = $u->request->{body} =~ /stream_options/g), 1, 'asked once');
    my ($all, $rest) = stream_of(5);
    $u->head;
    $u->piece($all);
    $u->finish;
    ok($c->response->{body} eq $rest, 'is right');
    is($t->log_line($id)->{completion_tokens}, 5, 'and counted');
};

case 'what is held back' => sub {
    my ($c) = ask($path);
    my $u = $up->take;
    $u->head;
    my $chunk = chunk('hello', usage => '"usage":null');
    my $begin = index($chunk, 'hello') + 3;
    $u->piece(substr $chunk, 0, $begin);
    is($c->wait_body($begin), substr($chunk, 0, $begin), 'nothing, once a choice has begun');
    $u->piece(substr $chunk, $begin);
    my $rest = chunk('hello');
    is($c->wait_body(length $rest), $rest, 'then the rest less the usage');
    $u->piece(":\n\n" . substr final_usage(7, 1), 0, 30);
    is($c->wait_body(length("$rest:\n\n")), "$rest:\n\n", 'a comment is not held');
    $u->close;
    my $r = $c->response;
    ok(!$r->{complete}, 'the upstream breaks off');
    is($r->{body}, "$rest:\n\n", 'half a last chunk is nobody\'s');
};

case 'a chunk in two parts, once there was content' => sub {
    my $usage = '"usage":null';
    my ($first, $second) = (chunk('a', usage => $usage), chunk('b', usage => $usage));
    my $rest = chunk('a') . chunk('b') . done();
    my $right = 0;
    for my $at (1 .. length($second) - 1) {
        my ($c, $id) = ask($path);
        my $u = $up->take;
        $u->head;
        $u->piece($first . substr $second, 0, $at);
        $c->wait_body(length chunk('a'));
        $u->piece(substr($second, $at) . final_usage(7, 2) . done());
        $u->finish;
        my $r = $c->response;
        $right++ if $r->{complete} && $r->{body} eq $rest && $t->log_line($id)->{completion_tokens} == 2;
    }
    is($right, length($second) - 1, 'is right, wherever it is cut');
};

case 'lines in chunks of their own' => sub {
    for my $line ('id: N', 'retry: N', ': N', 'event:', "id: N\nretry: N", "id: N\n: N") {
        my ($c) = ask($path);
        my $u = $up->take;
        $u->head(type => 'text/event-stream', framing => 'chunked');
        my $rest = '';
        for my $n (1 .. 8) {
            my $lines = $line =~ s/N/$n/gr;
            $u->piece($_) for "$lines\n", chunk("token $n", usage => '"usage":null');
            $rest .= "$lines\n" . chunk("token $n");
        }
        $u->piece($_) for "id: 9\n", final_usage(7, 8), "id: 10\n", done();
        $u->finish;
        is($c->response->{body}, "${rest}id: 10\n" . done(), "stay where they are: $line");
    }
};

case 'a part of a chunk does not wait for the rest' => sub {
    for my $end ("\n", "\r\n") {
        my ($c) = ask($path);
        my $u = $up->take;
        my $name = $end eq "\n" ? 'LF' : 'CR LF';
        my ($first, $long) = (chunk('a'), chunk('b' x 10000, usage => '"usage":null'));
        s/\n/$end/g for $first, $long;
        $u->head;
        $u->piece($first . substr $long, 0, 5000);
        my $body = $first . substr $long, 0, 5000;
        is($c->wait_body(length $body), $body, "if it is long, with $name");
        $u->piece(substr $long, 5000);
        $long =~ s/,"usage":null//;
        is($c->wait_body(length "$first$long"), "$first$long", "and is right, with $name");
        $u->piece($first . substr $first, 0, 40);
        like($c->wait_body(length "$first$long$first"), qr/^\Q$first$long$first\E/, "nor does what is whole, with $name");
        $u->finish;
        my $r = $c->response;
        is($r->{body}, "$first$long$first" . substr($first, 0, 40), "nor is it lost, with $name");
    }
};

# As much as a client without the gateway sees.
case 'a part of a chunk is not lost where the upstream breaks off' => sub {
    my $chunk = chunk('a' x 100, usage => '"usage":null');
    my $usage = index $chunk, ',"usage"';
    for ([ 'in text', 100 ], [ 'before usage', $usage ], [ 'in usage', $usage + 12 ], [ 'at its last line feed', length($chunk) - 1 ]) {
        my ($name, $size) = @$_;
        for my $where ($path, "/buffered$path") {
            my ($c, $id) = ask($where);
            my $u = $up->take;
            $u->head;
            # Chunks that look alike are passed over as soon as some have come.
            my $before = '';
            for (1 .. 5) {
                $u->piece($chunk);
                $before .= $chunk =~ s/,"usage":null//r;
                $c->wait_body(length $before);
            }
            $u->piece(substr $chunk, 0, $size);
            $u->close;
            my $r = $c->response;
            ok(!$r->{complete}, "$name, $where: the cut is passed on");
            my $part = substr $chunk, 0, $size;
            $part =~ s/,"usage":null//;
            $part = substr $part, 0, $usage if $name eq 'in usage';
            is($r->{body}, $before . $part, 'after all that came');
            $c->close;
            is($t->log_line($id)->{outcome}, 'upstream_error', 'outcome');
        }
    }
};

case 'HTTP/2, many at once' => sub {
    my ($all, $rest) = stream_of(200);
    my $h = $t->client_h2(2);
    my @streams;
    for (1 .. 20) {
        my $n = $h->request(POST => $path, @asks);
        my $u = $up->take;
        $u->head;
        push @streams, [ $n, $u, [ $all =~ /(.{1,1009})/gs ] ];
    }
    while (grep { @{ $_->[2] } } @streams) {
        for (@streams) {
            $_->[1]->piece(shift @{ $_->[2] }) if @{ $_->[2] };
        }
        $h->sync;
    }
    $_->[1]->finish for @streams;
    my $right = grep { $_->{body} eq $rest && $_->{complete} } map { $h->response($_->[0]) } @streams;
    is($right, 20, 'all are right');
};

case 'a client that leaves in the middle' => sub {
    my ($all) = stream_of(50, usage(7, 3));
    for my $length (10, 200, 1000, 5000) {
        my ($c, $id) = ask($path);
        my $u = $up->take;
        $u->head;
        $u->piece(substr $all, 0, $length);
        $c->wait_head;
        $c->reset;
        $u->wait_close;
        is($t->log_line($id)->{outcome}, 'client_abort', "after $length bytes");
    }
};

$t->finish;
