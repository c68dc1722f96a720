# Why: replies that are no streams carry their usage anywhere in bodies of any size. It must be found without keeping
# the body, and decoys must not be taken for it.

use strict;
use warnings;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => { 'keys.json' => key_file([ { name => 'alice', secret => 'sk-alice' } ]) },
    conf   => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /buffered { llm_api_keys %%DIR%%/keys.json; proxy_buffering on; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /gzipped {
            llm_api_keys %%DIR%%/keys.json;
            gzip on;
            gzip_types *;
            gzip_min_length 1;
            gzip_proxied any;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /gunzipped { llm_api_keys %%DIR%%/keys.json; gunzip on; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_status; }
    }
    server {
        # So little that replies pile up in nginx and not in the socket.
        listen 127.0.0.1:%%PORT_2%% sndbuf=16k;
        location /buffered { llm_api_keys %%DIR%%/keys.json; proxy_buffering on; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOF
my $up = $t->upstream(1);
$t->start;

# A reply in these pieces, in step with the client.
sub exchange {
    my ($pieces, %o) = @_;

    my $id = $t->new_id;
    my $c  = $t->client;
    my $method = $o{method} // 'POST';
    $c->request(
        $method => $o{uri} // '/v1/chat/completions',
        headers => [ $t->bearer('sk-alice') ],
        body    => $method eq 'POST' ? chat_request() : undef,
        id      => $id,
    );
    my $u     = $up->take;
    my $whole = $o{declared} // length join '', @$pieces;
    $u->head(status => $o{status}, framing => $o{framing} // 'length', length => $whole, type => $o{type} // 'application/json',
        headers => $o{headers});
    if (($o{uri} // '') eq '/buffered') {
        $u->piece($_) for @$pieces;
    } elsif ($method ne 'HEAD') {
        $u->pieces_in_step($c, @$pieces);
    }
    $o{cut} ? $u->close : $u->finish;
    my $r = $c->response;
    $c->close;
    return ($r, $t->log_line($id));
}

sub try_json {
    my ($name, $tokens, $pieces, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my ($r, $log) = exchange($pieces, %o);
        is($r->{status}, $o{status} // 200, 'status');
        ok($r->{body} eq join('', @$pieces), 'the bytes are the same');
        my $said = join '/', map { length $log->{$_} ? $log->{$_} : '-' } qw(prompt_tokens completion_tokens);
        # An estimate of the prompt depends on what came before.
        is($o{source} ? $said =~ s{\A\d+/}{?/}r : $said, $tokens, 'tokens');
        is($log->{usage_source}, $o{source} // ($tokens eq '-/-' ? 'none' : 'upstream'), 'source');
        is($log->{outcome}, $o{outcome} // 'ok', 'outcome') if ($o{outcome} // '') ne 'any';
        is($log->{stream}, 0, 'not a stream');
    };
    return;
}

sub try_all_ways {
    my ($name, $tokens, $text, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $framing (qw(length chunked close)) {
        try_json("$name, $framing", $tokens, [$text], framing => $framing, %o);
        try_json("$name, $framing, one byte per read", $tokens, [ split //, $text ], framing => $framing, %o);
    }
    try_json("$name, buffered", $tokens, [$text], uri => '/buffered', %o);
    return;
}

my $pretty = <<'EOF';
{
  "id" : "c",
  "usage" : {
    "prompt_tokens" : 7,
    "completion_tokens" : 10,
    "total_tokens" : 17,
    "prompt_tokens_details" : null
  },
  "choices" : [
    { "index" : 0, "message" : { "role" : "assistant", "content" : "hi" } }
  ]
}
EOF

try_all_ways('a chat reply', '7/10', chat_reply(7, 10));
try_all_ways('27 pretty JSON, usage first', '7/10', $pretty);
try_all_ways('29 usage before the data, a decoy after it', '7/0',
    '{"model":"m","object":"list","usage":{"prompt_tokens":7,"total_tokens":7},'
        . '"results":[{"document":{"text":"\"usage\":{\"prompt_tokens\":1}"}},{"usage":{"prompt_tokens":2}}]}');
try_all_ways('a decoy before it', '7/10',
    '{"choices":[{"message":{"content":"\"usage\":{"},"usage_x":{"prompt_tokens":3}}],"x":{"usage":{"prompt_tokens":4}},'
        . usage(7, 10) . '}');
try_all_ways('no usage', '?/8', '{"id":"c","choices":[{"x":1}]}', source => 'estimated');
try_all_ways('nothing generated', '-/-', '{"id":"c","choices":[]}');
try_all_ways('still to be generated', '0/0',
    '{"id":"r","object":"response","status":"queued","background":true,"output":[],"usage":null,"instructions":"' . 'a b ' x 1000 . '"}');
try_all_ways('null usage', '-/-', '{"id":"c","usage":null}');
try_all_ways('not JSON',  '-/-', 'Internal nonsense ' . usage(7, 10));
try_all_ways('an array',  '7/10', '[{' . usage(7, 10) . '}]');
try_all_ways('a byte order mark', '7/10', "\xef\xbb\xbf\n" . chat_reply(7, 10));
try_all_ways("said to be $_", '7/10', chat_reply(7, 10), type => $_) for 'text/plain', 'text/event-stream', 'application/vnd.api+json';
try_all_ways('of more than one line', '7/10',
    qq({"message":{"content":"a"},"done":false}\n{"message":{"content":""},"done":true,"prompt_eval_count":7,"eval_count":10}\n));
try_json('a content type with a parameter', '7/10', [ chat_reply(7, 10) ], type => 'Application/JSON; charset=utf-8');
try_json('sound', '-/-', [ chat_reply(7, 10) ], type => 'audio/mpeg');
try_json('an empty body', '-/-', [''], framing => 'length');

case 'a reply that is cut' => sub {
    my $text = '{' . usage(7, 10) . ',"choices":[' . ' ' x 100;
    for my $n (length $text, 20) {
        my ($r, $log) = exchange([ substr $text, 0, $n ], declared => 1000, cut => 1);
        ok(!$r->{complete}, 'the cut is passed on');
        is($log->{outcome}, 'upstream_error', 'outcome');
    }
};

case '28 usage after 8 MB' => sub {
    my $floats = '[' . join(',', map { sprintf '%.6f', $_ / 1000 } 1 .. 1000) . ']';
    my $count  = int(8_000_000 / length $floats) + 1;
    my $text   = '{"object":"list","data":[' . join(',', ($floats) x $count)
        . '],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}';
    my ($worker) = @{ $t->wait_workers };
    my $peak = sub {
        open my $status, '<', "/proc/$worker/status" or die "no worker\n";
        return (map { /^VmHWM:\s+(\d+)/ ? $1 : () } <$status>)[0];
    };
    my $before = $peak->();
    for my $framing (qw(length chunked)) {
        my ($r, $log) = exchange([ $text =~ /(.{1,16384})/gs ], framing => $framing);
        ok($r->{body} eq $text, "$framing: the bytes are the same");
        is("$log->{prompt_tokens}/$log->{completion_tokens}", '7/0', "$framing: tokens");
    }
    # A sanitizer keeps freed memory for a while, so it says nothing there.
    cmp_ok($peak->() - $before, '<', 4000, 'the worker did not keep it (kB)') if !$ENV{LLM_PRELOAD};
};

case 'a compressed reply' => sub {
    my $plain = chat_reply(7, 10);
    my $path  = $t->write_file('plain', $plain);
    my $gzip  = `gzip -nc $path`;
    for my $framing (qw(length chunked)) {
        my ($r, $log) = exchange([$gzip], headers => [ 'Content-Encoding' => 'gzip' ], framing => $framing);
        ok($r->{body} eq $gzip, "$framing: the bytes are the same");
        is($r->{headers}{'content-encoding'}, 'gzip', "$framing: so is the header");
        is($log->{usage_source}, 'estimated', "$framing: nothing is known");
        cmp_ok($log->{prompt_tokens}, '>', 0, "$framing: an estimate");
        is($log->{outcome}, 'ok', "$framing: outcome");
    }
    my ($r, $log) = exchange([$plain], headers => [ 'Content-Encoding' => 'identity' ]);
    is($log->{prompt_tokens}, 7, 'identity is no compression');
};

case 'a reply that nginx compresses' => sub {
    my $text = chat_reply(7, 10) . ' ' x 2000;
    my $id   = $t->new_id;
    my $c    = $t->client;
    $c->request(POST => '/gzipped', headers => [ $t->bearer('sk-alice'), 'Accept-Encoding' => 'gzip' ], body => chat_request(), id => $id);
    my $u = $up->take;
    $u->reply($text);
    my $r = $c->response;
    $c->close;
    is($r->{headers}{'content-encoding'}, 'gzip', 'it does');
    my $path = $t->write_file('reply.gz', $r->{body});
    ok(`gzip -dc $path` eq $text, 'the same text');
    is($t->log_line($id)->{total_tokens}, 17, 'its usage is read before');
};

case 'a reply that nginx decompresses' => sub {
    my $path = $t->write_file('plain', chat_reply(7, 10));
    my $gzip = `gzip -nc $path`;
    my $id   = $t->new_id;
    my $c    = $t->client;
    $c->request(POST => '/gunzipped', headers => [ $t->bearer('sk-alice') ], body => chat_request(), id => $id);
    $up->take->reply($gzip, headers => [ 'Content-Encoding' => 'gzip' ]);
    my $r = $c->response;
    $c->close;
    is($r->{body}, chat_reply(7, 10), 'the text');
    like($t->log_line($id)->{usage_source}, qr/\A(?:estimated|upstream)\z/, 'its usage may be unknown');
};

case 'a buffered reply that goes through a file' => sub {
    my $text = '{"data":"' . 'x' x 6_000_000 . '",' . usage(7, 10) . '}';
    for my $type (qw(json sse)) {
        my $bytes = $type eq 'json' ? $text : chunk('x' x 6_000_000) . final_usage(7, 10) . done();
        my $id = $t->new_id;
        my $c  = $t->client(2);
        $c->request(POST => '/buffered', headers => [ $t->bearer('sk-alice') ], body => chat_request(), id => $id);
        my $u = $up->take;
        # The client does not read yet, so that nginx has to put it somewhere.
        $u->reply($bytes, $type eq 'sse' ? (type => 'text/event-stream') : ());
        ok($c->response->{body} eq $bytes, "$type: the bytes are the same");
        $c->close;
        is($t->log_line($id)->{total_tokens}, 17, "$type: tokens");
    }
    like($t->read_file('error.log'), qr/buffered to a temporary file/, 'it did');
};

case 'other statuses' => sub {
    my $error = '{"error":{"message":"x","type":"y","param":null,"code":null}}';
    for (400, 404, 422, 429, 500, 503, 529) {
        my ($r, $log) = exchange([$error], status => $_);
        is($r->{status}, $_, "$_ is passed on");
        ok($r->{body} eq $error, "$_: the bytes are the same");
        is($log->{usage_source}, 'none', "$_: no usage");
        is($log->{outcome}, 'upstream_error', "$_: outcome") if $_ >= 500;
    }
    my ($r, $log) = exchange([ chat_reply(7, 10) ], status => 201);
    is($r->{body}, chat_reply(7, 10), '201: the bytes are the same');
};

case 'HEAD' => sub {
    my ($r, $log) = exchange([ chat_reply(7, 10) ], method => 'HEAD');
    is($r->{status}, 200, 'status');
    is($r->{body}, '', 'no body');
    is($r->{headers}{'content-length'}, length chat_reply(7, 10), 'the length is passed on');
    is($log->{outcome}, 'ok', 'outcome');
    is($log->{usage_source}, 'none', 'no usage');
};

case 'No Content' => sub {
    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(POST => '/', headers => [ $t->bearer('sk-alice') ], body => chat_request(), id => $id);
    my $u = $up->take;
    $u->write("HTTP/1.1 204 No Content\r\n\r\n");
    $u->close;
    is($c->response->{status}, 204, 'status');
    $c->close;
    is($t->log_line($id)->{outcome}, 'ok', 'outcome');
};

case 'numbers' => sub {
    my ($r, $log) = exchange([ '{' . usage(4_000_000_000, 4_000_000_000) . '}' ]);
    is($log->{total_tokens}, 2**21 + 2**20, 'no more than a request can have used');
    for my $odd ('-5', '7.5', '1e400', '99999999999999999999999999', '18446744073709551615', '"x"', 'true', '[7]', '{"a":7}', 'NaN') {
        my $before = $t->zone->{keys}[0]{total_tokens};
        ($r, $log) = exchange([ qq({"usage":{"prompt_tokens":$odd,"completion_tokens":3}}) ]);
        is($r->{status}, 200, "$odd: passed on");
        my $charged = $t->wait_idle->{keys}[0]{total_tokens} - $before;
        cmp_ok($charged, '>=', 0, "$odd: nothing is given back");
        cmp_ok($charged, '<=', 2**53, "$odd: no absurd charge");
    }
};

case 'the key is charged for all of it' => sub {
    my $before = $t->totals('alice');
    exchange([ '{"usage":{"prompt_tokens":7,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":4},'
            . '"completion_tokens_details":{"reasoning_tokens":6}}}' ]);
    exchange(['{}']);
    $t->wait_idle;
    my $after = $t->totals('alice');
    my %more = map { $_ => $after->{$_} - $before->{$_} } grep { $_ ne 'name' && $_ ne 'in_flight' } keys %$after;
    is_deeply(\%more, { requests => 2, prompt_tokens => 7, cached_tokens => 4, cache_write_tokens => 0, completion_tokens => 10, reasoning_tokens => 6,
            total_tokens => 17 }, 'once');
};

$t->finish;
