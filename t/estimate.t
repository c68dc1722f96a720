# Why: a reply without counts is not free. What is charged then has to be near the truth, and has to say what it is.

use strict;
use warnings;

use LLM::Test;

my @names = qw(plain limited first second seer);

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => { 'keys.json' => key_file([ map { { name => $_, secret => "sk-$_", user => "user-$_" } } @names ]) },
    conf   => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_usage_inject off;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /limited/ {
            llm_limit per=key tokens=10k/d;
            proxy_pass http://127.0.0.1:%%PORT_1%%/;
        }
        location /down/ { proxy_pass http://127.0.0.1:%%PORT_9%%; }
        location /slow/ { proxy_read_timeout 100ms; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOF
my $up = $t->upstream(1);
$t->start;

# Each case has a model of its own, of which nothing is learned yet.
my $models = 0;
sub fresh_model { return 'model-' . ++$models }

# Sends a request and answers it. Options: method, uri, key, model, body, bytes (of the body), send (headers), reply => code that gets
# the upstream's connection, or text; type, cut (the upstream breaks off), headers. Returns the log's line and the client's response.
sub ask {
    my (%o) = @_;

    my $id   = $t->new_id;
    my $c    = $t->client;
    my @more = (model => $o{model} // fresh_model(), stream => \1);
    my $body = exists $o{body} ? $o{body} : chat_request_of($o{bytes} // 400, @more);
    $c->request(
        $o{method} // 'POST' => $o{uri} // '/v1/chat/completions',
        headers => [ $t->bearer('sk-' . ($o{key} // 'plain')), @{ $o{send} // [] } ],
        body    => $body,
        id      => $id,
    );
    if (ref $o{reply}) {
        $o{reply}->($up->take, $c);
    } elsif (defined $o{reply}) {
        my $u = $up->take;
        $u->head(type => $o{type}, headers => $o{headers}, status => $o{status});
        $u->piece($o{reply}) if length $o{reply};
        $o{cut} ? $u->close : $u->finish;
    }
    my $r = $c->response;
    $c->close;
    return ($t->log_line($id), $r);
}

sub said { my ($log) = @_; return join '/', map { length $log->{$_} ? $log->{$_} : '-' } qw(prompt_tokens completion_tokens) }

sub is_charged {
    my ($name, $want, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my $key    = $o{key} // 'plain';
        my $before = $t->totals($key);
        my ($log)  = ask(%o);
        is(said($log) . " $log->{usage_source}", $want, 'tokens and their source');
        is($log->{outcome}, $o{outcome}, 'outcome') if $o{outcome};
        $t->wait_idle;
        my $after = $t->totals($key);
        my @more  = map { $after->{$_} - $before->{$_} } qw(prompt_tokens completion_tokens);
        is_deeply(\@more, [ map { $_ eq '-' ? 0 : $_ } split m{/}, said($log) ], 'and the key is charged so');
    };
    return;
}

# --- where nothing was learned: four bytes a token, of the prompt's as of the text's

my $word = chunk('word');
my $n = 1000;
is_charged('a stream without usage', "100/$n estimated", reply => $word x 1000 . done(), outcome => 'ok');
is_charged('of which nothing is content but the middle', "100/$n estimated",
    reply => chunk('') x 100 . $word x 1000 . done(), outcome => 'ok');
is_charged('one word', '100/1 estimated', reply => $word . done());
is_charged('no word', '100/0 estimated', reply => done());
is_charged('a cut stream', "100/$n estimated", reply => $word x 1000, cut => 1, outcome => 'upstream_error');
is_charged('cut before any event', '100/0 estimated', reply => '', cut => 1, outcome => 'upstream_error');
is_charged('12 zero usage, then cut', '100/2 estimated', cut => 1,
    reply => event('{"choices":[{"index":0,"text":"a","finish_reason":null}],' . usage(0, 0) . '}') x 3);
is_charged('23 content, then an error', '100/1 estimated', outcome => 'upstream_error',
    reply => $word . event('{"error": {"message": "x", "code": 400}}') . done());
is_charged('24 content, then an error line', '100/1 estimated', outcome => 'upstream_error',
    reply => $word . qq(error: {"code":500}\n\n));
is_charged('25 cut within a number', '100/0 estimated', cut => 1,
    reply => substr(final_usage(7, 10), 0, index(final_usage(7, 10), '"completion_tokens":1') + 21));
is_charged('an error in place of the first word', '-/- none', outcome => 'upstream_error',
    reply => event('{"error": {"message": "x", "code": 400}}') . done());
is_charged('lines without counts', '100/190 estimated', type => 'application/x-ndjson', uri => '/api/generate',
    reply => sprintf(qq({"model":"m","response":"%s","done":false}\n), 'x' x 76) x 10);
{
    my $cached = qq({"model":"m","response":"a","done":false}\n{"model":"m","response":"","done":true,"eval_count":10}\n);
    is_charged('36 a cached prompt', '100/10 estimated', type => 'application/x-ndjson', uri => '/api/generate', reply => $cached);
    my $whole = '{"model":"m","response":"a","done":true,"eval_count":10}';
    is_charged('36 not streamed', '100/10 estimated', type => 'application/json', uri => '/api/generate', reply => $whole);
}
is_charged('JSON without usage', '100/4 estimated', type => 'application/json', reply => '{"choices":[{"text":"xxxxxxxxxxxxxx"}]}' . ' ');
is_charged('JSON with text where none is known to be', '100/10 estimated', type => 'application/json',
    reply => '{"choices":[{"words":"xxxxxxxxxxxxx"}]}' . ' ');
is_charged('vectors without usage', '100/0 estimated', type => 'application/json', uri => '/v1/embeddings',
    reply => '{"data":[{"embedding":[0.1,0.2]}]}');
is_charged('a prompt of 5 MB', '1048576/1 estimated', bytes => 5_000_000, reply => $word . done());

# --- what is no text: 1,000 tokens each, beside 100 of the text around it

# A body of 400 bytes and of those of the media that are in it for "MEDIA".
sub body_with {
    my ($part, @media) = @_;

    my $body = sprintf '{"model":"%s","stream":true,%s,"pad":"', fresh_model(), $part;
    $body .= 'x' x (400 + 5 * @media - 2 - length $body) . '"}';
    $body =~ s/MEDIA/$_/ for @media;
    return $body;
}

my $base64  = 'iVBORw0K' x 75_000;
my $picture = "data:image/png;base64,$base64";
my $part    = '"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":MEDIA}}]}]';
for (
    [ 'an image' => $part, qq("$picture") ],
    [ 'a small image' => $part, '"data:image/png;base64,iVBORw0KGgo="' ],
    [ 'audio' => '"messages":[{"content":[{"type":"input_audio","input_audio":{"data":MEDIA,"format":"wav"}}]}]', qq("$base64") ],
    [ 'a PDF' => '"input":[{"content":[{"type":"input_file","file_data":MEDIA}]}]', qq("data:application/pdf;base64,$base64") ],
    [ 'Anthropic\'s' => '"messages":[{"content":[{"source":{"type":"base64","media_type":"image/png","data":MEDIA}}]}]', qq("$base64") ],
    [ 'Gemini\'s' => '"contents":[{"parts":[{"inline_data":{"mime_type":"image/png","data":MEDIA}}]}]', qq("$base64") ],
    [ 'Ollama\'s' => '"messages":[{"content":"x","images":[MEDIA]}]', qq("$base64") ],
) {
    my ($name, $member, $value) = @$_;
    is_charged("no text: $name", '1100/1 estimated', body => body_with($member, $value), reply => $word . done());
}
is_charged('no text: three images', '3100/1 estimated', reply => $word . done(),
    body => body_with('"images":[MEDIA,MEDIA,MEDIA],"prompt":"x"', (qq("$base64")) x 3));
for (
    [ 'in a text' => '"messages":[{"content":[{"type":"text","text":MEDIA}]}]', $picture ],
    [ 'in a tool' => '"tools":[{"function":{"parameters":{"image_url":{"url":MEDIA}}}}]', $picture ],
    [ 'of text' => '"messages":[{"content":[{"source":{"type":"text","media_type":"text/plain","data":MEDIA}}]}]', $base64 ],
) {
    my ($name, $member, $value) = @$_;
    my $tokens = int((400 + length($value) + 2 + 3) / 4);
    is_charged("text, whatever it looks like: $name", "$tokens/1 estimated", body => body_with($member, qq("$value")), reply => $word . done());
}

case 'an image reserves no more than it counts' => sub {
    my (undef, $r) = ask(uri => '/limited/v1/chat/completions', key => 'seer', body => body_with("$part,\"max_tokens\":20", qq("$picture")),
        reply => final_usage(600, 20) . done());
    is($r->{status}, 200, 'status');
    is($r->{headers}{'x-ratelimit-remaining-tokens'}, 10_000 - 1120, 'what is left while it runs');
};

case 'an image teaches nothing of text' => sub {
    my $body = body_with($part, qq("$picture"));
    my ($model) = $body =~ /"model":"([^"]+)"/;
    my ($log) = ask(body => $body, reply => $word . final_usage(180, 10) . done());
    is(said($log) . " $log->{usage_source}", '180/10 upstream', 'is charged as told');
    ($log) = ask(model => $model, reply => $word . done());
    is(said($log), '100/1', 'and the next is estimated as before');
};

# --- what costs nothing

is_charged('a list of tokens', '-/- none', type => 'application/json', uri => '/tokenize', reply => '{"count":3,"max_model_len":9,"tokens":[1,2,3]}');
is_charged('a count of tokens', '-/- none', type => 'application/json', uri => '/v1/messages/count_tokens', reply => '{"input_tokens":14}');
is_charged('a list of models', '-/- none', method => 'GET', body => undef, uri => '/v1/models', type => 'application/json',
    reply => '{"object":"list","data":[{"id":"m"}]}');
is_charged('a stream that nothing was asked for with', '-/- none', method => 'GET', body => undef, reply => $word . done());
is_charged("the upstream says $_", '-/- none', status => $_, reply => $word . done(), outcome => 'upstream_error') for 400, 429, 500, 503;
is_charged('an upstream that cannot be reached', '-/- none', uri => '/down/', outcome => 'upstream_error');
is_charged('an upstream that does not answer in time', '-/- none', uri => '/slow/', outcome => 'upstream_error', reply => sub { $_[1]->wait_head });
is_charged('a form', '0/1 estimated', send => [ 'Content-Type' => 'multipart/form-data; boundary=b' ],
    body => "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nxxx\r\n--b--\r\n", type => 'application/json', reply => '{"text":"hi"}');
is_charged('a form with sound', '-/- none', send => [ 'Content-Type' => 'multipart/form-data; boundary=b' ], uri => '/v1/audio/transcriptions',
    body => "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nxxx\r\n--b--\r\n", type => 'application/json', reply => '{"text":"hi"}');
is_charged('a reply of another type', '-/- none', type => 'audio/mpeg', reply => 'xxx');

# --- what is known in part

sub anthropic {
    my ($n) = @_;

    return join '',
        map { "event: $_->[0]\ndata: $_->[1]\n\n" }
        [ message_start => '{"type":"message_start","message":{"usage":{"input_tokens":7,"cache_read_input_tokens":30,'
            . '"cache_creation_input_tokens":40,"output_tokens":2}}}' ],
        ([ content_block_delta => '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"' . 'x' x 8 . '"}}' ]) x $n;
}
# Eight letters each.
is_charged('Anthropic\'s begin, then cut', '77/102 estimated', uri => '/v1/messages', cut => 1, reply => anthropic(50));
is_charged('the same, but it ends in good order', '77/102 estimated', uri => '/v1/messages', reply => anthropic(50));
is_charged('Anthropic\'s begin alone', '77/2 partial', uri => '/v1/messages', cut => 1, reply => anthropic(0));
is_charged('counts that go on, then cut', '7/4 partial', cut => 1,
    reply => chunk('a', usage => usage(7, 3)) . chunk('a', usage => usage(7, 4)));
is_charged('then content without counts', '7/5 estimated', cut => 1, reply => chunk('a', usage => usage(7, 4)) . $word);
is_charged('timings of each event', '7/4 partial', cut => 1,
    reply => join '', map { event(qq({"choices":[{"index":0,"delta":{"content":"a"}}],"timings":{"cache_n":4,"prompt_n":3,"predicted_n":$_}})) } 1 .. 4);
is_charged('counts that begin without the prompt', '100/4 estimated', cut => 1, reply => chunk('a', usage => usage(0, 4)));

is_charged('TGI\'s headers', '14/5 upstream', type => 'application/json', uri => '/generate', reply => '{"generated_text":"hi"}',
    headers => [ 'x-prompt-tokens' => 14, 'X-Generated-Tokens' => 5 ]);
is_charged('TGI\'s details say it better', '3/4 upstream', type => 'application/json', uri => '/generate',
    reply => '{"generated_text":"hi","details":{"generated_tokens":4,"input_length":3}}',
    headers => [ 'x-prompt-tokens' => 14, 'x-generated-tokens' => 5 ]);
is_charged("a header that is no count: $_", '100/1 estimated', type => 'application/json', uri => '/generate',
    reply => '{"generated_text":"hi"}', headers => [ 'x-prompt-tokens' => 14, 'x-generated-tokens' => $_ ])
    for '-5', 'x', '99999999999999999999', '99999999999';

# --- the Responses API says that it is not whole

sub responses {
    my (@events) = @_;

    return join '', map { "event: $_->[0]\ndata: {\"type\":\"$_->[0]\",\"sequence_number\":1,$_->[1]}\n\n" } @events;
}
{
    my @begin = (
        [ 'response.created'           => '"response":{"status":"in_progress","usage":null}' ],
        [ 'response.output_text.delta' => '"item_id":"msg_1","output_index":0,"content_index":0,"delta":"' . 'x' x 55 . '"' ],
    );
    is_charged('34 incomplete, and no usage', '100/14 estimated', uri => '/v1/responses', outcome => 'incomplete',
        reply => responses(@begin, [ 'response.incomplete' => '"response":{"status":"incomplete","output":["' . 'x' x 5000 . '"],"usage":null}' ]));
    is_charged('incomplete, with usage', '7/10 upstream', uri => '/v1/responses', outcome => 'incomplete',
        reply => responses(@begin, [ 'response.incomplete' => '"response":{"status":"incomplete","usage":{"input_tokens":7,"output_tokens":10}}' ]));
    is_charged('incomplete, not streamed', '7/10 upstream', uri => '/v1/responses', outcome => 'incomplete', type => 'application/json',
        reply => '{"id":"r","status":"incomplete","output":[],"usage":{"input_tokens":7,"output_tokens":10}}');
    is_charged('complete', '7/10 upstream', uri => '/v1/responses', outcome => 'ok', type => 'application/json',
        reply => '{"id":"r","status":"completed","output":[],"usage":{"input_tokens":7,"output_tokens":10}}');
}

# --- clients that do not wait

case 'a client that leaves before the answer' => sub {
    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(POST => '/v1/chat/completions', headers => [ $t->bearer('sk-plain') ], body => chat_request_of(400, model => fresh_model()),
        id => $id);
    my $u = $up->take;
    $c->close;
    ok($u->wait_close, 'the upstream connection ends');
    my $log = $t->log_line($id);
    is(said($log) . " $log->{usage_source} $log->{outcome}", '100/0 estimated client_abort', 'is charged with its prompt');
};

# --- compressed replies

case 'a reply that cannot be read' => sub {
    my $plain = chat_reply(7, 1234);
    my $path  = $t->write_file('plain', $plain);
    my $gzip  = `gzip -nc $path`;
    my $model = fresh_model();
    my %o = (model => $model, type => 'application/json', reply => $gzip, headers => [ 'Content-Encoding' => 'gzip' ]);
    my ($log, $r) = ask(%o);
    ok($r->{body} eq $gzip, 'is passed on');
    is(said($log) . " $log->{usage_source}", '100/256 estimated', 'where nothing was learned');
    $t->wait_error_log(qr/\[warn\].*coded as "gzip"/);
    ask(model => $model, type => 'application/json', reply => chat_reply(50, 1234));
    ($log) = ask(%o);
    is(said($log) . " $log->{usage_source}", '50/1234 estimated', 'as the last one of this model');
    my $short = fresh_model();
    ask(model => $short, type => 'application/json', reply => chat_reply(50, 1)) for 1 .. 5;
    ($log) = ask(%o, model => $short);
    is(said($log), '50/128', 'but not less than half of the default');
};

# --- learning

sub left { my ($r) = @_; return $r->{headers}{'x-ratelimit-remaining-tokens'} }

case 'others move what is reserved, by a factor of two at most' => sub {
    my $model = fresh_model();
    ask(model => $model, type => 'application/json', reply => chat_reply(190, 60)) for 1 .. 50;
    my ($log, $r) = ask(uri => '/limited/v1/x', key => 'first', model => $model, type => 'application/json', reply => chat_reply(40, 60));
    is(left($r), 10_000 - 190 - 128, 'what a prompt of this length was, and half of the default');
};

case 'an estimate counts against limits' => sub {
    my $model = fresh_model();
    my %o = (uri => '/limited/v1/x', key => 'limited', model => $model, reply => $word x 100, cut => 1);
    my ($log, $r) = ask(%o);
    my $used = $log->{total_tokens};
    is($used, 200, 'an estimate');
    is(left($r), 10_000 - 100 - 256, 'what is reserved at first');
    ($log, $r) = ask(%o);
    # One more comes back in nine seconds.
    my $left = 10_000 - $used - 100 - 256;
    ok(left($r) >= $left && left($r) <= $left + 5, 'the next one has less') or diag(left($r));
};

case 'embeddings do not reserve for text' => sub {
    my $model = fresh_model();
    my %o = (uri => '/limited/v1/embeddings', key => 'second', model => $model, type => 'application/json',
        reply => '{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":80,"total_tokens":80}}');
    my ($log, $r) = ask(%o);
    is(said($log), '80/0', 'tokens');
    is(left($r), 10_000 - 100 - 256, 'at first nothing is known of them');
    ($log, $r) = ask(%o);
    is(left($r), 10_000 - 80 - 80, 'then it is known that there is no text');
};

case 'what is estimated teaches nothing' => sub {
    my $model = fresh_model();
    ask(model => $model, reply => $word x 1000 . done());
    ask(model => $model, reply => $word x 1000 . final_usage(9, 3), cut => 1);
    ask(model => $model, type => 'application/json', reply => chat_reply(9, 3) =~ s/"usage"/"error":{"message":"x"},"usage"/r);
    my ($log) = ask(model => $model, reply => $word x 1000 . done());
    is(said($log), "100/$n", 'the next one is estimated as the first');
};

case 'a stream is estimated as the last ones of its key and model were' => sub {
    my $model = fresh_model();
    ask(model => $model, reply => $word x 100 . final_usage(50, 200) . done());
    my ($log) = ask(model => $model, reply => $word x 50, cut => 1);
    is(said($log), '50/100', 'half of it');
    ($log) = ask(model => $model, key => 'second', reply => $word x 50, cut => 1);
    is(said($log), '100/50', 'not so for another key');
    ($log) = ask(reply => $word x 50, cut => 1);
    is(said($log), '100/50', 'nor for another model');
    ($log) = ask(model => $model, uri => '/v1/messages', cut => 1, reply => anthropic(12));
    is(said($log), '77/50', 'but by another API, since a text is a text');
    ($log) = ask(model => $model, type => 'application/json', reply => '{"choices":[{"text":"' . 'x' x 40 . '"}]}');
    is(said($log), '50/20', 'and for a reply that is not streamed');
};

case 'never more than the request wanted at most' => sub {
    my %short = (body => chat_request_of(400, model => fresh_model(), stream => \1, max_tokens => 20));
    my ($log) = ask(%short, reply => $word x 500, cut => 1);
    is(said($log), '100/20', 'of a stream');
    ($log) = ask(%short, type => 'application/json', reply => '{"choices":[{"text":"' . 'x' x 4000 . '"}]}');
    is(said($log), '100/20', 'of a reply that is not streamed');
    my $zipped = { headers => [ 'Content-Encoding' => 'gzip' ], type => 'application/json' };
    ($log) = ask(%short, %$zipped, reply => 'x');
    is(said($log), '100/20', 'of a reply that cannot be read');
    my %many = (body => chat_request_of(400, model => fresh_model(), stream => \1, max_tokens => 20, n => 2, prompt => [ 'a', 'b', 'c' ]));
    ($log) = ask(%many, reply => $word x 500, cut => 1);
    is(said($log), '100/120', 'for each choice of each prompt');
};

case 'counts that no request can have used' => sub {
    for my $absurd (2**31, 2**33, '36893488147419103232', '1e300') {
        my $usage = '"usage":{"prompt_tokens":P,"completion_tokens":C}';
        my ($log) = ask(type => 'application/json', reply => '{"choices":[],' . $usage =~ s/P/7/r =~ s/C/$absurd/r . '}');
        is(said($log) . " $log->{usage_source}", '7/1048576 estimated', "completion $absurd");
        ($log) = ask(reply => $word . event('{"choices":[],' . $usage =~ s/P/$absurd/r =~ s/C/7/r . '}') . done());
        is(said($log) . " $log->{usage_source}", '2097152/7 estimated', "prompt $absurd");
    }
    $t->wait_error_log(qr/\[warn\].*the upstream told \d+ prompt and \d+ completion tokens, which the request cannot have used/);
};

case 'a prompt that is told larger than it was sent, once' => sub {
    my %o = (model => fresh_model(), reply => $word . final_usage(100_000, 20_000) . done());
    my ($log) = ask(%o);
    is(said($log) . " $log->{usage_source}", '100000/20000 upstream', 'is charged as told');
    ($log) = ask(%o, reply => $word x 20, cut => 1);
    is(said($log), '100/20', 'and teaches nothing');
};

# --- the parts of the counts

case 'cached, written to the cache, reasoning' => sub {
    my %before = (keys => $t->totals('first'), users => $t->totals('user-first', 'users'));
    my ($log) = ask(key => 'first', uri => '/v1/messages', reply => anthropic(3)
            . qq(event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":20,"output_tokens_details":{"thinking_tokens":8}}}\n\n));
    my @parts = qw(prompt_tokens cached_tokens cache_write_tokens completion_tokens reasoning_tokens);
    is(join('/', @$log{@parts}), '77/30/40/20/8', 'in the log');
    is($log->{usage_source}, 'upstream', 'source');
    $t->wait_idle;
    for my $kind (qw(keys users)) {
        my $after = $t->totals($kind eq 'keys' ? 'first' : 'user-first', $kind);
        is(join('/', map { $after->{$_} - $before{$kind}{$_} } @parts), '77/30/40/20/8', "in the totals of $kind");
    }
    ($log) = ask(type => 'application/json', uri => '/tokenize', reply => '{"tokens":[1]}');
    is(join('/', map { length $log->{$_} ? $log->{$_} : '-' } @parts), '-/-/-/-/-', 'not known where nothing was counted');
};

case 'tokens per second' => sub {
    # What is measured is a time, so one has to pass.
    my $began;
    my ($log) = ask(reply => sub {
        my ($u, $c) = @_;
        $u->head;
        $u->piece($word);
        $c->wait_body(length $word);
        $began = Time::HiRes::time();
        wait_until('time to pass', sub { Time::HiRes::time() > $began + 0.2 });
        $u->piece(final_usage(7, 100) . done());
        $u->finish;
    });
    my $seconds = Time::HiRes::time() - $began;
    like($log->{tokens_per_second}, qr/\A\d+\.\d\z/, 'has one decimal');
    cmp_ok($log->{tokens_per_second}, '<=', 100 / 0.15, 'not more than they took');
    cmp_ok($log->{tokens_per_second}, '>=', 100 / ($seconds + 0.1), 'nor less');
    for ([ 'JSON' => (type => 'application/json', reply => chat_reply(7, 10)) ], [ 'an estimate' => (reply => $word . done()) ],
        [ 'no content' => (reply => final_usage(7, 10) . done()) ]) {
        my ($name, %o) = @$_;
        ($log) = ask(%o);
        is($log->{tokens_per_second}, '', "not of $name");
    }
};

$t->finish;
