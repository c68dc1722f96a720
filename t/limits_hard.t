# Why: a stream may use up a quota while it runs. A hard limit then ends it with an event that clients take for an error, and
# stops the model; what was used is charged. Without `hard` the stream goes on, and the next request is refused.

use strict;
use warnings;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file(
            [
                map { { name => $_, secret => "sk-$_", quota => 1000 } } qw(hard soft dry length cut_event greedy h2 outgrows messages responses chosen lines asked silent silent_messages silent_lines modest begun foreign jumps)
            ]
        ),
        'other.json' => key_file([ { name => 'jumps', secret => 'sk-jumps' } ]),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_zone other:1m;
    llm_api_keys %%DIR%%/keys.json zone=llm;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location = /status { llm_api_keys off; llm_status; }
        location /hard { llm_limit quota=1000/total hard; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /v1/ { llm_limit quota=1000/total hard; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /chosen { llm_errors anthropic; llm_limit quota=1000/total hard; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /api/ { llm_limit quota=1000/total hard; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /asked/ { llm_usage_inject continuous; llm_limit quota=1000/total hard; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /soft { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /dry { llm_limit quota=1000/total hard dry_run; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /jump { try_files /nothing /landing; }
        location /landing { llm_api_keys %%DIR%%/other.json zone=other; llm_limit quota=1m/total hard; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /rate { llm_limit tokens=100/d token_burst=2000; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%% http2;
        location / { llm_limit quota=1000/total hard; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOF

my $up = $t->upstream(1);
$t->start;

sub start {
    my ($uri, $key) = @_;

    my $c = $t->client;
    $c->{id} = $t->new_id;
    $c->request(POST => $uri, id => $c->{id}, headers => [ $t->bearer("sk-$key") ], body => chat_request(stream => \1, max_tokens => 10));
    my $u = $up->take;
    return ($c, $u);
}

sub step { return chunk("t$_[0] ", usage => usage(7, $_[0])) }

case 'a hard quota ends the stream' => sub {
    my ($c, $u) = start('/hard', 'hard');
    $u->head;
    my $passed = '';
    case 'nothing follows the error' => sub {
    my $c  = $t->client;
    my $id = $t->new_id;
    $c->request(POST => '/v1/chat/completions', id => $id, headers => [ $t->bearer('sk-begun') ], body => chat_request(stream => \1));
    my $u = $up->take;
    $u->head;
    my $text = '';
    for my $n (1 .. 200) {
        my $piece = join '', map { chunk(word_of($_)) } 10 * $n .. 10 * $n + 9;
        # The begin of one more event is held back until its end comes.
        last if !eval { $u->piece($piece . 'data: {"choices":[{"index":0,"delta":{'); 1 };
        $text .= $piece;
        last if index($c->wait_body(length $text), $text) != 0;
        last if !eval { $u->piece(qq("content":""}}]}\n\n)); 1 };
        $text .= qq(data: {"choices":[{"index":0,"delta":{"content":""}}]}\n\n);
        last if index($c->wait_body(length $text), $text) != 0;
    }
    $u->wait_close;
    my $body = $c->response->{body};
    is($t->log_line($id)->{outcome}, 'cut', 'it is cut');
    like($body, qr/"code":"insufficient_quota"\}\}\n\n\z/, 'the error is the last event');
};

case 'a bound of another API bounds nothing' => sub {
    my $c  = $t->client;
    my $id = $t->new_id;
    $c->request(POST => '/v1/chat/completions', id => $id, headers => [ $t->bearer('sk-foreign') ],
        body => chat_request(stream => \1, n_predict => 1, max_output_tokens => 1, options => { num_predict => 1 }));
    my $u = $up->take;
    $u->head;
    for my $n (1 .. 200) {
        last if !eval { $u->piece(join '', map { chunk(word_of($_)) } 1 .. 10); 1 };
    }
    $u->wait_close;
    $c->response;
    my $log = $t->log_line($id);
    is("$log->{outcome} $log->{usage_source}", 'cut estimated', 'it is cut');
    cmp_ok($log->{completion_tokens}, '>=', 900, 'what was shown is charged');
};

for my $n (100, 500, 900) {
        $u->piece(step($n));
        $passed .= step($n);
        is($c->wait_body(length $passed), $passed, "$n tokens pass");
    }
    $u->piece(step(1200));
    $u->wait_close;
    my $r = $c->response;
    ok($r->{complete}, 'the client sees an end');
    is(substr($r->{body}, 0, length $passed . step(1200)), $passed . step(1200), 'what came is passed on whole');
    my ($event) = substr($r->{body}, length($passed . step(1200))) =~ /\Adata: (\{.*\})\n\n\z/s;
    my $error = eval { JSON::PP->new->decode($event // '') };
    is($error->{error}{code}, 'insufficient_quota', 'and then an error event');
    my $log = $t->log_line($c->{id});
    is("$log->{outcome} $log->{refusal}", 'cut quota', 'the log says so');
    is("$log->{prompt_tokens}/$log->{completion_tokens}", '7/1200', 'and what was used');
    $t->wait_idle;
    is($t->totals('hard')->{completion_tokens}, 1200, 'which is charged');

    my $next = $t->fetch(POST => '/hard', headers => [ $t->bearer('sk-hard') ], body => chat_request());
    is($next->{status}, 429, 'the next request is refused');
    is($next->{headers}{'x-should-retry'}, 'false', 'for good');
};

case 'in the middle of an event' => sub {
    my ($c, $u) = start('/hard', 'cut_event');
    $u->head;
    my ($first, $second) = (step(1200), step(1300));
    my $half = substr $second, 0, 30;
    $u->piece($first . $half);
    $u->wait_close;
    like($c->response->{body}, qr/\A\Q$first\Edata: \{"error":.*\}\n\n\z/s, 'the error is in the place of what has begun');
    is($t->log_line($c->{id})->{outcome}, 'cut', 'outcome');
};

for (['soft', '/soft'], ['dry', '/dry']) {
    my ($key, $uri) = @$_;
    # The key's own quota is hard where a rule for keys is, unless that is a dry run.
    case "$key: it goes on" => sub {
        my ($c, $u) = start($uri, $key);
        my $text = step(500) . step(1500) . step(2500) . final_usage(7, 2500) . done();
        $u->head;
        $u->piece($_) for step(500), step(1500), step(2500), final_usage(7, 2500) . done();
        $u->finish;
        is($c->response->{body}, $text, 'whole');
        is($t->log_line($c->{id})->{outcome}, 'ok', 'outcome');
        $t->wait_idle;
        is($t->fetch(POST => $uri, headers => [ $t->bearer("sk-$key") ], body => chat_request())->{status}, 429,
            'but the next is refused');
    };
}

# The lease is the first zone's, and so is the key whose quota ends the stream.
case 'after a redirect into a location with keys of another zone' => sub {
    my ($c, $u) = start('/jump', 'jumps');
    $u->head;
    $u->piece(step(500));
    is($c->wait_body(length step(500)), step(500), 'within the quota');
    $u->piece(step(1200));
    $u->wait_close;
    like($c->response->{body}, qr/\A\Q${\step(500)}${\step(1200)}\Edata: \{"error":.*\}\n\n\z/s, 'beyond it the stream ends');
    is($t->log_line($c->{id})->{outcome}, 'cut', 'outcome');
    $t->wait_idle;
    is($t->totals('jumps')->{completion_tokens}, 1200, 'what was used is charged');
};

case 'a reply with a length is not cut' => sub {
    my ($c, $u) = start('/hard', 'length');
    my $text = step(500) . step(1500) . done();
    $u->head(framing => 'length', length => length $text);
    $u->write($text);
    $u->close;
    is($c->response->{body}, $text, 'whole');
};

case 'a large max_tokens does not help' => sub {
    my $c = $t->client;
    $c->request(POST => '/hard', headers => [ $t->bearer('sk-greedy') ], body => chat_request(stream => \1, max_tokens => 100_000));
    my $u = $up->take;
    $u->head;
    $u->piece(step(900));
    is($c->wait_body(length step(900)), step(900), 'within the quota');
    $u->piece(step(1200));
    $u->wait_close;
    like($c->response->{body}, qr/data: \{"error":.*\}\n\n\z/s, 'beyond it the stream ends');
};

# Each API's clients look for an error at another place. (Usage stands where it does for OpenAI's: what is counted is not asked here.)
for (
    [ '/v1/messages', 'messages', 'anthropic' ],
    [ '/v1/responses', 'responses', 'responses' ],
    [ '/chosen', 'chosen', 'anthropic' ],
) {
    my ($uri, $key, $api) = @$_;
    case "the last event on $uri" => sub {
        my ($c, $u) = start($uri, $key);
        $u->head;
        $u->piece(step(1200));
        $u->wait_close;
        my $r = $c->response;
        ok($r->{complete}, 'the client sees an end');
        my ($event) = $r->{body} =~ /\A\Q${\step(1200)}\Eevent: error\ndata: (\{[^\n]*\})\n\n\z/;
        my $data = eval { JSON::PP->new->decode($event // '') } // {};
        is($data->{type}, 'error', 'an event "error"');
        if ($api eq 'anthropic') {
            is(join(' ', sort keys %$data), 'error type', 'members');
            is($data->{error}{type}, 'rate_limit_error', 'type of the error');
            like($data->{error}{message}, qr/quota/, 'message');
        } else {
            is(join(' ', sort keys %$data), 'code error message param sequence_number type', 'members');
            is($data->{code}, 'insufficient_quota', 'code');
            like($data->{message}, qr/quota/, 'message');
            is($data->{error}{$_}, $data->{$_}, "error.$_ for the SDKs") for qw(code message param);
        }
        is($t->log_line($c->{id})->{outcome}, 'cut', 'outcome');
    };
}

case 'HTTP/2' => sub {
    my $c = $t->client_h2(2);
    my $stream = $c->request(POST => '/', headers => [ $t->bearer('sk-h2') ], body => chat_request(stream => \1, max_tokens => 10));
    my $u = $up->take;
    $u->head;
    $u->piece(step(1200));
    $u->wait_close;
    my $r = $c->response($stream);
    like($r->{body}, qr/\A\Q${\step(1200)}\Edata: \{"error":.*\}\n\n\z/s, 'the same');
};

case 'a stream of lines' => sub {
    my ($c, $u) = start('/api/chat', 'lines');
    my ($first, $second) = map { qq({"message":{"content":"a"},"done":false,"prompt_eval_count":7,"eval_count":$_}\n) } 500, 1200;
    $u->head(type => 'application/x-ndjson');
    $u->piece($first . substr $second, 0, 20);
    is($c->wait_body(length $first), $first, 'whole lines pass');
    $u->piece(substr $second, 20);
    $u->wait_close;
    my $r = $c->response;
    like($r->{body}, qr/\A\Q$first$second\E\{"error":"[^"]+"\}\n\z/, 'ends with a line that is an error');
    is($t->log_line($c->{id})->{outcome}, 'cut', 'outcome');
};

case 'a stream whose running counts the gateway has asked for' => sub {
    my ($c, $u) = start('/asked/v1/chat/completions', 'asked');
    like($u->request->{body}, qr/"continuous_usage_stats":true/, 'they are asked for');
    $u->head;
    my ($first, $second) = map { chunk("t$_ ") } 500, 1200;
    $u->piece(step(500));
    is($c->wait_body(length $first), $first, 'they are taken out');
    $u->piece(step(1200));
    $u->wait_close;
    like($c->response->{body}, qr/\A\Q$first$second\Edata: \{"error":.*\}\n\n\z/s, 'and the quota ends the stream');
    is($t->log_line($c->{id})->{completion_tokens}, 1200, 'with what it used');
};

case 'a stream that outgrows its reservation is seen by limits while it runs' => sub {
    my ($c, $u) = start('/rate', 'outgrows');
    $u->head;
    $u->piece(step(1500));
    is($c->wait_body(length step(1500)), step(1500), 'it runs');
    my $r = $t->fetch(POST => '/rate', headers => [ $t->bearer('sk-outgrows') ], body => chat_request(max_tokens => 900));
    is($r->{status}, 429, 'another does not fit beside it');
    $u->piece(final_usage(7, 1500) . done());
    $u->finish;
    $c->response;
};

# Most streams tell their counts at the end only. Until then it counts what they have shown: four bytes a token here.
sub word_of { my ($n) = @_; return sprintf '%03d ', $n % 1000 }

for (
    [ 'silent', '/v1/chat/completions', undef, '', sub { chunk($_[0]) } ],
    [
        'silent_messages', '/v1/messages', undef,
        qq(event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":20,"output_tokens":1}}}\n\n),
        sub { qq(event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"$_[0]"}}\n\n) },
    ],
    [ 'silent_lines', '/api/chat', 'application/x-ndjson', '', sub { qq({"message":{"content":"$_[0]"},"done":false}\n) } ],
) {
    my ($key, $uri, $type, $begin, $event) = @$_;
    case "a stream that tells nothing: $uri" => sub {
        my $c  = $t->client;
        my $id = $t->new_id;
        $c->request(POST => $uri, id => $id, headers => [ $t->bearer("sk-$key") ], body => chat_request(stream => \1));
        my $u = $up->take;
        $u->head(type => $type);
        my $text = $begin;
        $u->piece($begin) if length $begin;
        # Far beyond the quota, or until it ends.
        for my $n (1 .. 200) {
            my $piece = join '', map { $event->(word_of($_)) } 10 * $n .. 10 * $n + 9;
            last if !eval { $u->piece($piece); 1 };
            $text .= $piece;
            last if index($c->wait_body(length $text), $text) != 0;
        }
        $u->wait_close;
        my $r   = $c->response;
        my $log = $t->log_line($id);
        is("$log->{outcome} $log->{refusal} $log->{usage_source}", 'cut quota estimated', 'is ended by a hard quota all the same');
        my $words = () = $r->{body} =~ /\d\d\d "/g;
        cmp_ok($words, '<=', 1000 + 64 + 10, 'not long after it');
        cmp_ok($words, '>=', 900, 'nor long before');
        is($log->{completion_tokens}, $words + (length $begin ? 1 : 0), 'what was told and shown is charged');
    };
}

case 'no estimate goes beyond what the request wants at most' => sub {
    my $c = $t->client;
    $c->request(POST => '/v1/chat/completions', headers => [ $t->bearer('sk-modest') ], body => chat_request(stream => \1, max_tokens => 500));
    my $u = $up->take;
    $u->head;
    my $text = chunk('x' x 40) x 200 . final_usage(7, 300) . done();
    $u->piece($text);
    $u->finish;
    like($c->response->{body}, qr/\Q${\done()}\E\z/, 'so it runs to its end');
};

$t->finish;
