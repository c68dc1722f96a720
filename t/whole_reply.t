# Why: a reply with a Content-Length is whole with its last byte. The upstream may say its end later (over HTTP/2 in a frame of its
# own), and a client that has all need not wait for that: it did not abort, and the request holds nothing any more.

use strict;
use warnings;

use LLM::Test;
use LLM::UpstreamH2;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => { 'keys.json' => key_file([ { name => 'key', secret => 'sk-key' } ]) });

my %pass = (grpc => 'grpc_pass grpc://127.0.0.1:%%PORT_1%%;');
# Came with nginx 1.29.4.
my ($is_new) = $t->check_conf("%%HTTP_BEGIN%% server { location / { proxy_http_version 2; } } }");
$pass{proxy} = 'proxy_http_version 2; proxy_pass http://127.0.0.1:%%PORT_1%%;' if $is_new;

my $locations = join '', map {
    my $pass = $pass{$_};
    "        location /$_-off/   { llm_usage_inject off;   $pass }\n"
        . "        location /$_-final/ { llm_usage_inject final; $pass }\n"
        . "        location /$_-buffered/ { proxy_buffering on; $pass }\n"
} sort keys %pass;

$t->write_conf(<<"EOC");
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_2%% http2;
$locations
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOC
my $up = LLM::UpstreamH2->new($t->port(1));
$t->start;

my $reply = chat_reply(9, 5);

my @ways = sort keys %pass;

# A request, and the upstream's connection with it. Options: h2, method, request.
sub ask {
    my ($uri, %o) = @_;

    my $id     = $t->new_id;
    my $client = $o{h2} ? $t->client_h2(2) : $t->client;
    my $method = $o{method} // 'POST';
    my $number = $client->request(
        $method => "$uri/v1/chat/completions",
        headers => [ $t->bearer('sk-key'), 'Content-Type' => 'application/json' ],
        ($method eq 'POST' ? (body => $o{request} // chat_request()) : ()),
        id => $id,
    );
    return { client => $client, id => $id, h2 => $o{h2}, number => $number, upstream => $up->take };
}

sub body_of {
    my ($x, $length) = @_;

    return $x->{h2} ? $x->{client}->wait_body($x->{number}, $length) : $x->{client}->wait_body($length);
}

# The client leaves; what the log says then.
sub leave {
    my ($x) = @_;

    $x->{client}->close;
    $x->{upstream}->wait_close;
    my $log = $t->log_line($x->{id});
    return join ' ', map { $_ eq '' ? '-' : $_ } @$log{qw(outcome prompt_tokens completion_tokens usage_source)};
}

for my $uri (map { "/$_-off" } @ways) {
    for my $h2 (0, 1) {
        my $how = $uri . ($h2 ? ', an HTTP/2 client' : '');

        case "$how: a reply is whole with its last byte" => sub {
            my $x = ask($uri, h2 => $h2);
            $x->{upstream}->head(length => length $reply);
            $x->{upstream}->piece(substr $reply, 0, 30);
            is(body_of($x, 30), substr($reply, 0, 30), 'the client has its begin');
            is($t->zone->{leases}{running}, 1, 'which is not all');
            $x->{upstream}->piece(substr $reply, 30);
            is(body_of($x, length $reply), $reply, 'the client has all');
            is($t->wait_running(0)->{leases}{running}, 0, 'and the request holds nothing any more');
            is(leave($x), 'ok 9 5 upstream', 'it is no abort');
        };

        case "$how: a reply that ends in good order" => sub {
            my $x = ask($uri, h2 => $h2);
            $x->{upstream}->head(length => length $reply);
            $x->{upstream}->piece($reply);
            body_of($x, length $reply);
            $x->{upstream}->finish;
            my $r = $h2 ? $x->{client}->response($x->{number}) : $x->{client}->response;
            is($r->{body}, $reply, 'the client has it');
            is(leave($x), 'ok 9 5 upstream', 'and it is counted once');
        };

        case "$how: one byte less, and it is an abort" => sub {
            my $x = ask($uri, h2 => $h2);
            $x->{upstream}->head(length => length $reply);
            $x->{upstream}->piece(substr $reply, 0, -1);
            body_of($x, length($reply) - 1);
            like(leave($x), qr/\Aclient_abort /, 'the client has left');
        };

        case "$how: without a length only the end is the end" => sub {
            my $x = ask($uri, h2 => $h2);
            $x->{upstream}->head;
            $x->{upstream}->piece($reply);
            body_of($x, length $reply);
            like(leave($x), qr/\Aclient_abort /, 'the client could not know');
        };

        case "$how: an upstream that breaks off" => sub {
            my $x = ask($uri, h2 => $h2);
            $x->{upstream}->head(length => length $reply);
            $x->{upstream}->piece(substr $reply, 0, 30);
            body_of($x, 30);
            $x->{upstream}->close;
            my $r = $h2 ? $x->{client}->response($x->{number}) : $x->{client}->wait_close;
            ok(!$r->{complete}, 'the client gets no end');
            is($t->log_line($x->{id})->{outcome}, 'upstream_error', 'and it is not called to have left');
        };

        case "$how: an empty reply" => sub {
            my $x = ask($uri, h2 => $h2);
            $x->{upstream}->head(length => 0);
            is($h2 ? $x->{client}->wait_head($x->{number}) : $x->{client}->wait_head, 200, 'its header comes');
            like(leave($x), qr/\Aok /, 'is whole with its header');
        };

        case "$how: HEAD" => sub {
            my $x = ask($uri, h2 => $h2, method => 'HEAD');
            $x->{upstream}->head(length => length $reply);
            is($h2 ? $x->{client}->wait_head($x->{number}) : $x->{client}->wait_head, 200, 'its header comes');
            like(leave($x), qr/\Aok /, 'there is nothing more to it');
        };

        case "$how: an error of the upstream stays one" => sub {
            my $x = ask($uri, h2 => $h2);
            my $error = '{"error":{"message":"no"}}';
            $x->{upstream}->head(status => 400, length => length $error);
            $x->{upstream}->piece($error);
            is(body_of($x, length $error), $error, 'the client has it');
            is(leave($x), 'upstream_error - - none', 'and has not left it');
        };
    }
}

my $stream = chunk('hi') . final_usage(9, 5);

case 'a stream with a length' => sub {
    for my $uri (map { "/$_-off" } @ways) {
        my $x = ask($uri, request => chat_request(stream => \1, stream_options => { include_usage => \1 }));
        $x->{upstream}->head(type => 'text/event-stream', length => length $stream);
        $x->{upstream}->piece($stream);
        body_of($x, length $stream);
        is(leave($x), 'ok 9 5 upstream', "$uri: is whole with its last byte");
    }
};

case 'an edited stream: its client is told no length and waits for the end' => sub {
    for my $uri (map { "/$_-final" } @ways) {
        my $x = ask($uri, request => chat_request(stream => \1));
        my $sent = chunk('hi') . final_usage(9, 5) . done();
        $x->{upstream}->head(type => 'text/event-stream', length => length $sent);
        $x->{upstream}->piece($sent);
        is(body_of($x, length(chunk('hi') . done())), chunk('hi') . done(), "$uri: the client gets what it asked for");
        is($t->zone->{leases}{running}, 1, 'while the end is out');
        $x->{upstream}->finish;
        my $r = $x->{client}->response;
        ok($r->{complete}, 'the end comes');
        is(leave($x), 'ok 9 5 upstream', 'counted');
    }
};

case 'a buffered reply' => sub {
    for my $uri (map { "/$_-buffered" } @ways) {
        my $x = ask($uri);
        $x->{upstream}->head(length => length $reply);
        $x->{upstream}->piece($reply);
        $x->{upstream}->finish;
        is($x->{client}->response->{body}, $reply, "$uri: the client has it");
        is(leave($x), 'ok 9 5 upstream', 'counted');
    }
};

$t->finish;
