# Why: what a request asks for is read from its body while nginx receives it, in whatever pieces. The model that is checked must
# be the model that the upstream serves, and the body must arrive as it was sent.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([
            { name => 'alice', secret => 'sk-alice' },
            { name => 'late', secret => 'sk-late', expires => '2001-01-01T00:00:00Z' },
            { name => 'picky', secret => 'sk-picky', models => [ 'good', 'qwen3-*', '*-mini', 'a*b*c' ] },
        ]),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    llm_usage_inject off;
    keepalive_requests 10000;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /spilled { client_body_buffer_size 1k; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /in-file { client_body_in_file_only clean; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /single { client_body_in_single_buffer on; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /streamed { proxy_request_buffering off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /read-before {
            llm_api_keys off;
            client_body_buffer_size 1k;
            proxy_intercept_errors on;
            error_page 500 502 = /landing;
            proxy_pass http://127.0.0.1:%%PORT_1%%/first;
        }
        location /small { client_max_body_size 100; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /impatient { client_body_timeout 1s; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%% http2;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /spilled { client_body_buffer_size 1k; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /streamed { proxy_request_buffering off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOF
my $upstream = $t->daemon(1);
$t->start;

my @json = ('Content-Type' => 'application/json');

sub result {
    my ($response, $id, $before) = @_;

    my @requests = $upstream->requests;
    return {
        %$response,
        log       => $t->log_line($id),
        contacted => @requests - $before,
        forwarded => $requests[-1],
    };
}

# How often the worker has gone to sleep; undef while it does not.
my ($worker) = @{ $t->wait_workers };

sub naps {
    open my $file, '<', "/proc/$worker/status" or die "no worker\n";
    local $/;
    my $status = <$file>;
    return $status =~ /^State:\s+S.*^voluntary_ctxt_switches:\s+(\d+)/ms ? $1 : undef;
}

# Writes so that each piece is a read of its own: the next is sent when the worker woke up for the last and sleeps again.
sub write_in_steps {
    my ($client, @pieces) = @_;

    for my $piece (@pieces) {
        my $before = wait_until('the worker to have nothing to do', sub { naps() });
        $client->write($piece) or return;
        wait_until('nginx to read', sub { (naps() // 0) > $before });
    }
    return;
}

# Sends a body in one of several ways, with HTTP/1.1.
sub send_h1 {
    my ($body, %o) = @_;

    my $id      = $t->new_id;
    my $before  = $upstream->count;
    my $way     = $o{way} // 'at once';
    my @headers = ($t->bearer($o{key} // 'sk-alice'), @{ $o{headers} // \@json });
    my $c       = $t->client;
    my $uri     = $o{uri} // '/v1/chat/completions';
    if ($way eq 'at once') {
        $c->request(POST => $uri, headers => \@headers, body => $body, id => $id);
    } elsif ($way eq 'in steps') {
        $c->request(POST => $uri, headers => [ @headers, 'Content-Length' => length $body ], id => $id);
        write_in_steps($c, @{ $o{pieces} // [ split //, $body ] });
    } elsif ($way eq 'chunked') {
        $c->request(POST => $uri, headers => [ @headers, 'Transfer-Encoding' => 'chunked' ], id => $id);
        $c->write(join('', map { sprintf "%x\r\n%s\r\n", length, $_ } $body =~ /(.{1,4000})/gs) . "0\r\n\r\n");
    } elsif ($way eq 'chunked in steps') {
        $c->request(POST => $uri, headers => [ @headers, 'Transfer-Encoding' => 'chunked' ], id => $id);
        write_in_steps($c, map { sprintf "%x\r\n%s\r\n", length, $_ } split //, $body);
        $c->write("0\r\n\r\n");
    } elsif ($way eq 'expect') {
        $c->request(POST => $uri, headers => [ @headers, 'Content-Length' => length $body, Expect => '100-continue' ], id => $id);
        ok($c->wait_continue, 'the body is asked for');
        $c->write($body);
    }
    my $r = $c->response;
    $c->close;
    return result($r, $id, $before);
}

my $h2;

sub send_h2 {
    my ($body, %o) = @_;

    my $id      = $t->new_id;
    my $before  = $upstream->count;
    my $way     = $o{way} // 'at once';
    my @headers = ($t->bearer($o{key} // 'sk-alice'), @{ $o{headers} // \@json });
    push @headers, 'content-length' => length $body if $way !~ /without length/;
    $h2 = $t->client_h2(2) if !$h2 || $h2->eof || $h2->{goaway};
    my $s = $h2->request(POST => $o{uri} // '/v1/chat/completions', headers => \@headers, id => $id, open => 1);
    if ($way =~ /in steps/) {
        for (split //, $body) {
            $h2->data($s, $_);
            $h2->sync;
        }
        $h2->data($s, '', last => 1);
    } else {
        $h2->data($s, $body, last => 1);
    }
    return result($h2->response($s), $id, $before);
}

my @ways = (
    (map { [ "HTTP/1.1 $_", \&send_h1, way => $_ ] } 'at once', 'in steps', 'chunked', 'chunked in steps', 'expect'),
    (map { [ "HTTP/1.1, $_", \&send_h1, uri => $_ ] } qw(/spilled /in-file /single /streamed)),
    (map { [ "HTTP/1.1 chunked, $_", \&send_h1, uri => $_, way => 'chunked' ] } qw(/spilled /in-file /streamed)),
    (map { [ "HTTP/2 $_", \&send_h2, way => $_ ] } 'at once', 'in steps', 'without length', 'without length, in steps'),
    (map { [ "HTTP/2, $_", \&send_h2, uri => $_ ] } qw(/spilled /streamed)),
    [ 'HTTP/2 without length, /spilled', \&send_h2, uri => '/spilled', way => 'without length' ],
);

# A body that is let in: it is read right and forwarded as it is.
sub forwarded_ok {
    my ($r, $body, $model, $stream) = @_;

    is($r->{status}, 200, 'status');
    is($r->{contacted}, 1, 'forwarded once');
    is($r->{forwarded}{length}, length $body, 'length at the upstream');
    is($r->{forwarded}{sha256}, sha256_hex($body), 'the same body');
    is($r->{log}{model}, $model, 'model');
    is($r->{log}{stream}, $stream, 'stream');
    return;
}

sub refused_ok {
    my ($r, $status, $reason) = @_;

    is($r->{status}, $status, 'status');
    is($r->{contacted}, 0, 'the upstream is not contacted');
    is($r->{log}{refusal}, $reason, 'why');
    my $decoded = eval { JSON::PP->new->decode($r->{body}) };
    is($decoded->{error}{type}, 'invalid_request_error', 'an error that SDKs understand');
    return;
}

my $decoys = '{"messages":[{"role":"user","content":"{\"model\":\"evil\",\"stream\":false}"}],"tools":[{"function":{"parameters":'
    . '{"properties":{"model":{},"stream":{}}}}}],"metadata":{"model":"evil2"},"\u006dodel":"good","stream":"true"}';

for (@ways) {
    my ($name, $send, @options) = @$_;
    case "$name: body facts" => sub {
        for my $body ($decoys, qq( \r\n\t{"stream":false,"model":"qwen3-8b"}\n )) {
            my $r = $send->($body, @options, key => 'sk-picky');
            forwarded_ok($r, $body, $body =~ /qwen/ ? ('qwen3-8b', 0) : ('good', 1));
        }
    };
    case "$name: refused by its body" => sub {
        refused_ok($send->('{"model":"good","model":"evil"}', @options, key => 'sk-picky'), 400, 'bad_request');
        refused_ok($send->('{"a":[1,2],"model":"evil"}',      @options, key => 'sk-picky'), 404, 'model');
        refused_ok($send->('{"model":"good"} x',              @options, key => 'sk-picky'), 400, 'bad_request');
    };
}

# What is wrong with a key is said before what is wrong with a body, and of the body nothing is told, also where it came with the headers.
for (grep { $_->[0] !~ /steps|expect/ } @ways) {
    my ($name, $send, @options) = @$_;
    case "$name: refused by its key" => sub {
        for my $body ('{"model":"good"}', '{"model":"good","stream":true', '[]', '{"model":"evil"}') {
            my %reason = (nobody => 'invalid_key', late => 'expired');
            for my $key (sort keys %reason) {
                my $r = $send->($body, @options, key => "sk-$key");
                is($r->{status}, 401, "$key: $body");
                is($r->{log}{refusal}, $reason{$key}, 'why');
                is($r->{log}{key}, $key eq 'late' ? 'late' : '', 'whose key it is');
                is("$r->{log}{model}/$r->{log}{stream}", '/', 'nothing of the body');
                is($r->{contacted}, 0, 'the upstream is not contacted');
            }
        }
    };
}

for (grep { $_->[0] !~ /steps/ } @ways) {
    my ($name, $send, @options) = @$_;
    case "$name: bodies of many sizes" => sub {
        for my $size (100, 1023, 1024, 1025, 8192, 16_383, 16_384, 16_385, 65_537, 1_000_000) {
            my $head = '{"messages":[{"content":"';
            my $tail = '"}],"model":"good"}';
            my $body = $head . 'x' x ($size - length("$head$tail")) . $tail;
            my $r = $send->($body, @options, key => 'sk-picky');
            forwarded_ok($r, $body, 'good', 0);
        }
    };
}

case '38 decoys after 20 MB of an image' => sub {
    my $body = '{"image":{"url":"data:image/png;base64,' . 'iVBORw0K' x 2_621_440 . '"},' . substr $decoys, 1;
    forwarded_ok(send_h1($body, key => 'sk-picky'), $body, 'good', 1);
    forwarded_ok(send_h1($body, key => 'sk-picky', way => 'chunked'), $body, 'good', 1);
    forwarded_ok(send_h2($body, key => 'sk-picky', way => 'without length'), $body, 'good', 1);
};

sub utf16 { my ($text, $order) = @_; return join '', map { pack $order, ord } split //, $text }

my @ambiguous = (
    [ '39a two models',              '{"model":"good","a":1,"model":"evil"}' ],
    [ '39a the same model twice',    '{"model":"good","a":1,"model":"good"}' ],
    [ '39a an escaped second model', '{"model":"good","\u006d\u006fdel":"evil"}' ],
    [ 'stream twice',                '{"model":"good","stream":false,"stream":true}' ],
    [ '39b UTF-16LE',                utf16('{"model":"evil"}', 'v') ],
    [ '39b UTF-16BE',                utf16('{"model":"evil"}', 'n') ],
    [ '39b UTF-16 with a BOM',       "\xff\xfe" . utf16('{"model":"evil"}', 'v') ],
    [ '39b UTF-32LE',                utf16('{"model":"evil"}', 'V') ],
    [ '39c UTF-8 with a BOM',        "\xef\xbb\xbf" . '{"model":"evil"}' ],
    [ '39d another case',            '{"Model":"evil","model":"good"}' ],
    [ '39d only another case',       '{"MODEL":"evil"}' ],
    [ 'text after the object',       '{"model":"good"}{"model":"evil"}' ],
    [ 'text before it',              'x{"model":"good"}' ],
    [ 'a NUL',                       "{\"model\":\"good\"\0}" ],
    [ 'a NUL at the end',            "{\"model\":\"good\"}\0" ],
    [ 'an array',                    '[{"model":"good"}]' ],
    [ 'a string',                    '"good"' ],
    [ 'a number',                    '7' ],
    [ 'white space only',            "  \n" ],
    [ 'cut',                         '{"model":"good"' ],
    [ 'cut in a string',             '{"model":"good' ],
    [ 'a colon missing',             '{"model" "good"}' ],
    [ 'a comma too much',            '{"model":"good",}' ],
    [ 'single quotes',               "{'model':'good'}" ],
    [ 'a comment',                   '{"model":"good"/*"*/,"model2":1}' ],
    [ 'a bad escape',                '{"model":"go\od"}' ],
    [ 'comments that hide a second model', '{"model":"good","a":[1/*"*/],"model":"evil","b":[1/*"*/]}' ],
    [ 'the same in one list',        '{"a":[1/*"*/],"model":"good","b":[1/*"*/]}' ],
    [ 'a comma too much, far inside', '{"model":"good","a":[{"b":[1,]}]}' ],
    [ 'single quotes, far inside',   q({"model":"good","a":[{'b":"':1}]}) ],
    [ 'a zero in front, inside',     '{"model":"good","a":[01]}' ],
    [ 'no name, inside',             '{"model":"good","a":{b:1}}' ],
    [ 'no colon, inside',            '{"model":"good","a":{"b" 1}}' ],
    [ 'another word, inside',        '{"model":"good","a":[None]}' ],
    [ 'a name that ends at a NUL',   '{"model":"good","model\u0000":"evil"}' ],
    [ 'only that name',              '{"model\u0000x":"good"}' ],
    [ 'a name with half a pair',     '{"model":"good","model\ud800":"evil"}' ],
    [ 'a letter that Go folds',      qq({"model":"good","\xc5\xbftream":true}) ],
    [ 'Latin-1 in a text',           qq({"model":"good","messages":[{"content":"caf\xe9"}]}) ],
    [ 'Latin-1 in the model',        qq({"model":"caf\xe9"}) ],
    [ 'a long form of a quote',      qq({"model":"good","a":"\xc0\xa2,\xc0\xa2model\xc0\xa2:\xc0\xa2evil"}) ],
    [ 'a surrogate in UTF-8',        qq({"model":"good","a":"\xed\xa0\x80"}) ],
    [ 'a control character, inside', qq({"model":"good","a":["\x01"]}) ],
    [ 'a model that is a number',    '{"model":7}' ],
    [ 'a model that is an object',   '{"model":{"model":"good"}}' ],
    [ 'a model that is a list',      '{"model":["good"]}' ],
    [ 'a model that is too long',    '{"model":"' . 'm' x 300 . '"}' ],
    [ 'nested too deeply',           '{"model":"good","a":' . '[' x 100_000 . ']' x 100_000 . '}' ],
    [ 'a form with another boundary', "--a\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngood\r\n--b--\r\n",
        'Content-Type' => 'multipart/form-data; boundary=b' ],
    [ 'a form',                      'model=good', 'Content-Type' => 'application/x-www-form-urlencoded' ],
    [ 'JSON under another type, two models', '{"model":"good","model":"evil"}', 'Content-Type' => 'text/plain' ],
);
for (@ambiguous) {
    my ($name, $body, @headers) = @$_;
    case "never let in as one thing and forwarded as another: $name" => sub {
        my @options = (key => 'sk-picky', @headers ? (headers => \@headers) : ());
        refused_ok(send_h1($body, @options), 400, 'bad_request');
        refused_ok(send_h1($body, @options, way => 'in steps'), 400, 'bad_request') if length $body < 100;
        refused_ok(send_h2($body, @options), 400, 'bad_request');
    };
}

case 'what is odd, but is one thing to all that take it, goes on' => sub {
    for my $odd ('[NaN,-Infinity]', '"\ud800"', '[1e400,-0]', '{"model":"x","model":"y"}', '"\u0000"', qq("\xf0\x9f\x98\x80"), "[\r\n\t]") {
        my $body = qq({"model":"good","a":$odd});
        forwarded_ok(send_h1($body, key => 'sk-picky'), $body, 'good', 0);
        forwarded_ok(send_h1($body, key => 'sk-picky', way => 'in steps'), $body, 'good', 0);
    }
};

case '39e compressed requests' => sub {
    my $body = '{"model":"good"}';
    for my $coding (qw(zstd gzip deflate br ZSTD x-gzip), 'identity, gzip', 'nonsense') {
        my $r = send_h1($body, key => 'sk-alice', headers => [ @json, 'Content-Encoding' => $coding ]);
        refused_ok($r, 415, 'bad_request');
    }
    my $r = send_h1($body, headers => [ @json, 'Content-Encoding' => 'identity' ]);
    forwarded_ok($r, $body, 'good', 0);
    $r = send_h1($body, headers => [ @json, 'Content-Encoding' => 'identity', 'Content-Encoding' => 'zstd' ]);
    refused_ok($r, 415, 'bad_request');
    refused_ok(send_h2($body, headers => [ @json, 'content-encoding' => 'zstd' ]), 415, 'bad_request');
};

case 'what a stream is' => sub {
    my %values = (
        'true' => 1, '"true"' => 1, '"True"' => 1, '1' => 1, '1.0' => 1, '"yes"' => 1, '"on"' => 1, '"t"' => 1, '"1"' => 1,
        'false' => 0, 'null' => 0, '0' => 0, '"false"' => 0, '"off"' => 0,
    );
    for (sort keys %values) {
        my $r = send_h1(qq({"model":"m","stream":$_}));
        is($r->{status}, 200, "$_: status");
        is($r->{log}{stream}, $values{$_}, "$_: may stream or not");
    }
    is(send_h1('{"model":"m"}')->{log}{stream}, 0, 'absent');
};

case 'models' => sub {
    my %status = (
        '"good"' => 200, '"Good"' => 404, '"good "' => 404, '"goo"' => 404, '"goodx"' => 404, '""' => 404, 'null' => 404,
        '"qwen3-8b"' => 200, '"qwen3-"' => 200, '"qwen3"' => 404, '"xqwen3-8b"' => 404, '"\u0071wen3-8b"' => 200,
        '"gpt-mini"' => 200, '"-mini"' => 200, '"gpt-mini-x"' => 404,
        '"abc"' => 200, '"axxbyyc"' => 200, '"abcbc"' => 200, '"ab"' => 404, '"acb"' => 404, '"*"' => 404,
        '"good\u0000evil"' => 404, '"qwen3-\u00e4\ud83d\ude00"' => 200,
    );
    for (sort keys %status) {
        my $r = send_h1(qq({"model":$_}), key => 'sk-picky');
        is($r->{status}, $status{$_}, "model $_") or diag($r->{body});
        is($r->{contacted}, $status{$_} == 200 ? 1 : 0, "model $_: upstream");
    }
    my $r = send_h1('{"model":"a\"b\\\\c\u0001\n<>"}', key => 'sk-picky');
    is($r->{status}, 404, 'a model with odd characters');
    like(eval { JSON::PP->new->utf8->decode($r->{body})->{error}{message} } // $r->{body}, qr/a"b\\c/, 'is named in valid JSON');
    $r = send_h1("{\"model\":\"\xff\xfe\"}", key => 'sk-picky');
    like($r->{status}, qr/\A40[04]\z/, 'a model that is not UTF-8');
    ok(eval { JSON::PP->new->utf8->decode($r->{body}) }, 'the answer is valid JSON') or diag($r->{body});
};

case 'a key without a list' => sub {
    my $form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--\r\n";
    my $r = send_h1($form, headers => [ 'Content-Type' => 'multipart/form-data; boundary=b' ]);
    forwarded_ok($r, $form, 'whisper', 0);
    $r = send_h1($form, headers => [ 'Content-Type' => 'Multipart/Form-Data;boundary=b' ], uri => '/spilled', way => 'chunked');
    forwarded_ok($r, $form, 'whisper', 0);
    forwarded_ok(send_h1('{}'), '{}', '', 0);
    forwarded_ok(send_h1('{"model":null}'), '{"model":null}', '', 0);
};

case 'a body that was read before a key was asked for' => sub {
    # The first upstream of an open location fails, and nginx goes on where a key is needed. The daemon answers both alike, so
    # that what counts is whether there was a second request.
    my @failing = (@json, 'X-Reply' => '{"status":500}');
    for my $pad (0, 10_000) {
        my $tail = ',"pad":"' . 'x' x $pad . '"}';
        my %want = (good => [ 500, 2, '' ], evil => [ 404, 1, 'model' ], 'good","model":"evil' => [ 400, 1, 'bad_request' ]);
        for my $model (sort keys %want) {
            my $body = qq({"model":"$model") . $tail;
            for my $way ('at once', 'chunked') {
                my $r = send_h1($body, uri => '/read-before', key => 'sk-picky', headers => \@failing, way => $way);
                is_deeply([ @$r{qw(status contacted)}, $r->{log}{refusal} ], $want{$model}, "$model, $way, " . length $body);
            }
        }
    }
};

case 'requests without a body' => sub {
    for my $method (qw(GET HEAD DELETE POST)) {
        my $before = $upstream->count;
        my $r = $t->fetch($method => '/v1/models', key => 'sk-alice');
        is($r->{status}, 200, "$method");
        is($upstream->count - $before, 1, "$method: forwarded once");
        is($t->log_line($r->{id})->{model}, '', "$method: no model");
    }
    my $r = send_h1('');
    is($r->{status}, 200, 'a POST with an empty body');
    is($r->{forwarded}{length}, 0, 'is forwarded as such');
    is(send_h1('', way => 'chunked')->{status}, 200, 'an empty chunked body');
    is(send_h2('', way => 'without length')->{status}, 200, 'an empty body in HTTP/2');
    my $h = $t->client_h2(2);
    my $s = $h->request(GET => '/v1/models', headers => [ $t->bearer('sk-alice') ]);
    is($h->response($s)->{status}, 200, 'GET in HTTP/2');
    $h->close;
};

case 'nginx\'s own limit' => sub {
    my $r = send_h1('{"a":"' . 'x' x 200 . '"}', uri => '/small');
    is($r->{status}, 413, 'a length that is too large');
    is($r->{contacted}, 0, 'the upstream is not contacted');
    $r = send_h1('{"a":"' . 'x' x 200 . '"}', uri => '/small', way => 'chunked');
    is($r->{status}, 413, 'a chunked body that grows too large');
    is($r->{contacted}, 0, 'the upstream is not contacted');
};

case 'a client that stops in the middle of its body' => sub {
    my $before = $upstream->count;
    my @ways = ([ 'Content-Length', 100, '{"model":"m"' ], [ 'Transfer-Encoding', 'chunked', "c\r\n{\"model\":\"m\"\r\n" ]);
    for (@ways) {
        my ($header, $value, $part) = @$_;
        my $id = $t->new_id;
        my $c  = $t->client;
        $c->request(POST => '/', headers => [ $t->bearer('sk-alice'), @json, $header => $value ], id => $id);
        write_in_steps($c, $part);
        $c->close;
        isnt($t->log_line($id)->{status}, 200, "$header: the request ends");
    }
    is($upstream->count, $before, 'and does not reach the upstream');
};

case 'a client that is too slow with its body' => sub {
    my $before = $upstream->count;
    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(POST => '/impatient', headers => [ $t->bearer('sk-alice'), 'Content-Length' => 100 ], body => '{"model":"m"', id => $id);
    is($t->log_line($id)->{status}, 408, 'nginx gives it up');
    $c->wait_close;
    is($upstream->count, $before, 'it does not reach the upstream');
};

case 'many requests on one connection' => sub {
    my $c = $t->client;
    my @want;
    for my $n (1 .. 30) {
        my $body = qq({"model":"m$n"}) . ' ' x ($n * 300);
        my ($key, $status) = $n % 5 == 0 ? ('sk-picky', 404) : $n % 7 == 0 ? ('sk-nobody', 401) : ('sk-alice', 200);
        my $id = $t->new_id;
        $c->request(POST => '/', headers => [ $t->bearer($key), @json ], body => $body, id => $id);
        my $r = $c->response;
        is($r->{status}, $status, "request $n");
        is($t->log_line($id)->{model}, $status == 401 ? '' : "m$n", "request $n: its own model");
        is($upstream->last_request->{sha256}, sha256_hex($body), "request $n: its own body") if $status == 200;
    }
    $c->close;
};

case 'requests that are sent ahead' => sub {
    my $c = $t->client;
    my $bytes = '';
    my @ids = map { $t->new_id } 1 .. 20;
    my $before = $upstream->count;
    for my $n (0 .. 19) {
        my $key = $n % 3 == 1 ? 'sk-nobody' : 'sk-alice';
        $bytes .= $c->format_request(POST => '/', headers => [ $t->bearer($key), @json ], body => qq({"model":"m$n"}), id => $ids[$n]);
        $c->expect_response('POST');
    }
    $c->write($bytes);
    for my $n (0 .. 19) {
        is($c->response->{status}, $n % 3 == 1 ? 401 : 200, "request $n");
        is($t->log_line($ids[$n])->{model}, $n % 3 == 1 ? '' : "m$n", "request $n: its own model");
    }
    is($upstream->count - $before, 13, 'forwarded');
    $c->close;
};

case 'HTTP/2: refused before the body is read' => sub {
    my $before = $upstream->count;
    my $h = $t->client_h2(2);
    for my $length ([ 'content-length' => 1_000_000 ], []) {
        my $s = $h->request(POST => '/', headers => [ $t->bearer('sk-nobody'), @$length ], open => 1);
        $h->data($s, '{"model":"');
        is($h->wait_head($s), 401, 'status');
        like($h->response($s)->{body}, qr/invalid_api_key/, 'the error');
    }
    my $s = $h->request(POST => '/', headers => [ $t->bearer('sk-alice'), @json ], body => '{"model":"m"}');
    is($h->response($s)->{status}, 200, 'the connection goes on');
    $h->close;
    is($upstream->count - $before, 1, 'the upstream saw the last one only');
};

case 'curl' => sub {
    my $curl = `curl --version 2>/dev/null` // '';
    plan(skip_all => 'no curl with HTTP/2') if $curl !~ /\bHTTP2\b/;
    my $body = '{"model":"good","pad":"' . 'x' x 300_000 . '"}';
    my $path = $t->write_file('curl.json', $body);
    for my $how ('--http2-prior-knowledge', '--http1.1') {
        my $port = $t->port($how =~ /http2/ ? 2 : 0);
        my $key = "-H 'Authorization: Bearer sk-picky'";
        my $out = `curl -s $how -m 60 -w '%{http_code} %{http_version}' $key --json \@$path http://127.0.0.1:$port/`;
        my $version = $how =~ /http2/ ? '2' : '1.1';
        is($out, chat_reply(7, 10) . "200 $version", "$how: let in");
        is($upstream->last_request->{sha256}, sha256_hex($body), "$how: the same body");
        $out = `curl -s $how -m 60 -w ' %{http_code}' -H 'x-api-key: sk-nobody' http://127.0.0.1:$port/v1/models`;
        like($out, qr/"invalid_api_key".* 401\z/s, "$how: refused");
    }
};

case 'many streams on one HTTP/2 connection' => sub {
    my $h = $t->client_h2(2);
    my @open = map {
        my $id = $t->new_id;
        [ $id, $h->request(POST => '/', headers => [ $t->bearer('sk-alice'), @json ], id => $id, open => 1), $_ ];
    } 1 .. 50;
    for my $piece (0 .. 5) {
        for (@open) {
            my ($id, $s, $n) = @$_;
            my @pieces = ('{', '"mo', 'del"', ":\"m$n", '"', '}');
            $h->data($s, $pieces[$piece], last => $piece == 5);
        }
    }
    for (@open) {
        my ($id, $s, $n) = @$_;
        is($h->response($s)->{status}, 200, "stream $n");
        is($t->log_line($id)->{model}, "m$n", "stream $n: its own model");
    }
    $h->close;
};

$h2->close if $h2;
$t->finish;
