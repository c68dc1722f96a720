# Why: what the operator says of the fields of requests has to hold of what the upstream reads, wherever the body is and however it came,
# and nothing else of it may change. What cannot be judged is refused.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file(
            [
                { name => 'alice',  secret => 'sk-alice' },
                { name => 'short',  secret => 'sk-short', request => { cap => { max_tokens => 8 } } },
                { name => 'member', secret => 'sk-member', plan => 'strict' },
                { name => 'both',   secret => 'sk-both', plan => 'strict', request => { cap => { n => 1 }, drop => ['seed'] } },
                { name => 'listed', secret => 'sk-listed', models => ['good'] },
                { name => 'spent',  secret => 'sk-spent', quota => 1 },
            ],
            plans => { strict => { request => { allow => [ 'messages', 'max_tokens', 'n', 'seed', 'temperature' ], cap => { n => 4, max_tokens => 64 } } } },
        ),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    upstream two {
        server 127.0.0.1:%%PORT_3%% max_fails=0;
        server 127.0.0.1:%%PORT_4%% backup;
    }
    llm_quota_status 402;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_2%% http2;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /ruled/ {
            llm_request cap max_tokens 100;
            llm_request cap temperature 1;
            llm_request drop logit_bias a.b;
            llm_request default seed 7;
            llm_request set user gateway;
            llm_request set nested.on '{"x":[1]}';
            proxy_pass http://127.0.0.1:%%PORT_1%%;
            location /ruled/spilled/ { client_body_buffer_size 1k; proxy_pass http://127.0.0.1:%%PORT_1%%; }
            location /ruled/own/ { llm_request drop user; proxy_pass http://127.0.0.1:%%PORT_1%%; }
            location /ruled/streamed/ { proxy_request_buffering off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
            location /ruled/unread/held/ {
                llm_body off;
                proxy_request_buffering off;
                proxy_pass http://127.0.0.1:%%PORT_3%%;
            }
            location /ruled/unread/ { llm_body off; proxy_request_buffering off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
            location /ruled/retry/ { proxy_next_upstream error timeout non_idempotent; proxy_pass http://two; }
            location /ruled/retry/spilled/ {
                client_body_buffer_size 1k;
                proxy_next_upstream error timeout non_idempotent;
                proxy_pass http://two;
            }
        }
        location /capped/ { llm_request cap max_tokens 100; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /allowed/ { llm_request allow messages max_tokens; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /ws/ { llm_websocket on; llm_request drop x; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /then/ { llm_errors nginx; error_page 404 = @ruled; llm_body off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location @ruled { llm_request drop x; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /plain429/ { llm_quota_status 429; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /paged/ { llm_errors nginx; error_page 402 429 /error; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /error { internal; llm_error; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOF
my $up = $t->daemon(1);
my ($first, $second) = ($t->upstream(3), $t->upstream(4));
$t->start;

my @json = ('Content-Type' => 'application/json');

# Sends a body: at once, in chunks, over HTTP/2, or in pieces.
sub send_body {
    my ($uri, $body, %o) = @_;

    my $way     = $o{way} // 'at once';
    my @headers = ($t->bearer($o{key} // 'sk-alice'), $o{type} ? ('Content-Type' => $o{type}) : @json, @{ $o{headers} // [] });
    my $before  = $up->count;
    my $id      = $t->new_id;
    my $r;
    if ($way eq 'h2') {
        my $h2 = $t->client_h2(2);
        my $s  = $h2->request(POST => $uri, headers => \@headers, id => $id, open => 1);
        $h2->data($s, $body, last => 1);
        $r = $h2->response($s);
        $h2->close;
    } else {
        my $c = $t->client;
        if ($way eq 'at once') {
            $c->request(POST => $uri, headers => \@headers, body => $body, id => $id);
        } elsif ($way eq 'chunked') {
            $c->request(POST => $uri, headers => [ @headers, 'Transfer-Encoding' => 'chunked' ], id => $id);
            $c->write(sprintf "%x\r\n%s\r\n", length, $_) for $body =~ /(.{1,777})/gs;
            $c->write("0\r\n\r\n");
        } else {
            $c->request(POST => $uri, headers => [ @headers, 'Content-Length' => length $body ], id => $id);
            $c->write($_) for $body =~ /(.{1,3000})/gs;
        }
        $r = $c->response;
        $c->close;
    }
    my $log = $t->log_line($id);
    my @got = $up->requests;
    return { %$r, log => $log, asked => $up->count - $before, got => $got[-1] };
}

my @ways = ('at once', 'chunked', 'pieces', 'h2');

sub parsed { return JSON::PP->new->decode($_[0]) }

sub forwarded {
    my ($name, $uri, $body, $want, %o) = @_;

    my $r = send_body($uri, $body, %o);
    is($r->{status}, 200, "$name: status") or diag($r->{body});
    return if $r->{status} != 200;
    is($r->{asked}, 1, "$name: forwarded once");
    is($r->{got}{headers}{'content-length'}, $r->{got}{length}, "$name: length") if !$r->{got}{headers}{'transfer-encoding'};
    my $got = $r->{got}{body};
    ref $want ? is(json(parsed($got)), json($want), "$name: as JSON") : is($got, $want, "$name: body");
    return $r;
}

sub refused {
    my ($name, $uri, $body, $why, %o) = @_;

    my $r = send_body($uri, $body, %o);
    is($r->{status}, $o{status} // 400, "$name: status");
    is($r->{asked}, 0, "$name: not forwarded");
    like($r->{body}, $why, "$name: why");
    return $r;
}

my $chat = 'v1/chat/completions';

case 'each kind of rule, each way' => sub {
    my $body = qq({"model":"m", "max_tokens":5000,"logit_bias":{"1":2},"temperature" : 1.5,"a":{"b":1,"c":"\\u00e9"},"user":"me"}\n);
    my $want = {
        model => 'm', max_tokens => 100, temperature => 1, a => { c => "\x{e9}" }, user => 'gateway', seed => 7, nested => { on => { x => [1] } },
    };
    for my $way (@ways) {
        for my $prefix (qw(/ruled /ruled/spilled /ruled/streamed)) {
            forwarded("$prefix, $way", "$prefix/$chat", $body, $want, way => $way);
        }
    }
    my $own = parsed($body);
    delete $own->{user};
    forwarded('own rules replace what is inherited', "/ruled/own/$chat", $body, $own);
};

case 'bytes stay as they are' => sub {
    forwarded('nothing to do', "/capped/$chat", qq( {"max_tokens" : 100,\t"x":"\\/\\u00e9"}\r\n ), qq( {"max_tokens" : 100,\t"x":"\\/\\u00e9"}\r\n ));
    forwarded('a cap', "/capped/$chat", qq( {"max_tokens" : 1000,\t"x":"\\/"}), qq( {"max_tokens" : 100 ,\t"x":"\\/"}));
    forwarded('a default', "/capped/$chat", qq({"x":1}), qq({"x":1,"max_tokens":100}));
    forwarded('Ollama', '/capped/api/chat', qq({"options":{"num_predict":-1, "seed":1}}), { options => { num_predict => 100, seed => 1 } });
};

case 'a large body, the field at its end' => sub {
    my $pad = 'x' x 3_000_000;
    for my $way (@ways) {
        for my $prefix (qw(/ruled /ruled/spilled)) {
            my $r = send_body("$prefix/$chat", qq({"messages":"$pad","max_tokens":5000,"seed":1}), way => $way);
            is($r->{status}, 200, "$prefix, $way: status");
            my $tail = qq(,"max_tokens":100 ,"seed":1,"user":"gateway","nested":{"on":{"x":[1]}}});
            is($r->{got}{length}, length(qq({"messages":"$pad")) + length $tail, "$prefix, $way: length");
            is($r->{got}{sha256}, sha256_hex(qq({"messages":"$pad"$tail)), "$prefix, $way: bytes");
        }
    }
};

case 'to the next upstream' => sub {
    for my $prefix (qw(/ruled/retry /ruled/retry/spilled)) {
        my $body = qq({"messages":") . 'y' x 5000 . qq(","max_tokens":5000,"logit_bias":1,"seed":123});
        my $c    = $t->client;
        $c->request(POST => "$prefix/$chat", headers => [ $t->bearer('sk-alice'), @json ], body => $body);
        my $one  = $first->accept;
        my $sent = $one->read_request->{body};
        $one->close;
        my $two = $second->take;
        is(sha256_hex($two->request->{body}), sha256_hex($sent), "$prefix: the same to both");
        is(json(parsed($sent)), json({ messages => 'y' x 5000, max_tokens => 100, seed => 123, user => 'gateway', nested => { on => { x => [1] } } }),
            "$prefix: as the rules say");
        $two->reply(chat_reply(7, 10));
        is($c->response->{status}, 200, "$prefix: status");
        $c->close;
    }
};

case 'what cannot be judged is refused' => sub {
    for my $way (@ways) {
        for (
            [ 'a string',          '{"max_tokens":"50"}',                  qr/the field \\"max_tokens\\" is not a number/ ],
            [ 'a string, nested',  '{"options":{"num_predict":"50"}}',     qr/the field \\"options\.num_predict\\" is not a number/ ],
            [ 'an array',          '{"temperature":[1]}',                  qr/the field \\"temperature\\" is not a number/ ],
            [ 'another case',      '{"Max_Tokens":50}',                    qr/the field \\"max_tokens\\" is spelled in another way/ ],
            [ 'a NUL',             '{"user\u0000":1}',                     qr/the field \\"user\\" is spelled/ ],
            [ 'twice',             '{"temperature":0,"temperature":1}',    qr/the field \\"temperature\\" stands twice/ ],
            [ 'twice, escaped',    '{"temperature":0,"temper\u0061ture":1}', qr/the field \\"temperature\\" stands twice/ ],
            [ 'no object',         '{"nested":1}',                         qr/the field \\"nested\\" is not an object/ ],
            [ 'too many',          '{' . join(',', map { qq("f$_":1) } 1 .. 65) . '}', qr/it has more than 64 fields/ ],
            [ 'too many within',   '{"a":{' . join(',', map { qq("f$_":1) } 1 .. 129) . '}}', qr/the field \\"a\\" has more than 128 fields/ ],
            [ 'a long name',       '{"' . 'f' x 1025 . '":1}',             qr/a field's name has more than 1024 bytes/ ],
            [ 'a long name within', '{"a":{"' . 'f' x 1025 . '":1}}',      qr/the field \\"a\\" has a field whose name has more than 1024 bytes/ ],
        ) {
            my ($name, $body, $why) = @$_;
            refused("$name, $way", "/ruled/$chat", $body, $why, way => $way);
        }
    }
    refused('who has no key is told that only', "/ruled/$chat", '{"max_tokens":"50"}', qr/invalid_api_key/, key => 'sk-none', status => 401);
    my $form = qq(--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n);
    refused('a form', '/ruled/v1/audio/transcriptions', $form, qr/need a JSON object/, type => 'multipart/form-data; boundary=x');
    is(send_body('/capped/v1/audio/transcriptions', $form, type => 'multipart/form-data; boundary=x')->{status}, 200, 'a form where only tokens are capped');
    # Some servers read forms there.
    refused('a form that asks for text', "/capped/$_", $form, qr/need a JSON object/, type => 'multipart/form-data; boundary=x') for $chat, 'v1/completions';
    is($t->fetch(GET => '/ruled/v1/models', key => 'sk-alice')->{status}, 200, 'a request without a body');
    my @ws = (Upgrade => 'websocket', Connection => 'Upgrade', 'Sec-WebSocket-Version' => 13, 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==');
    is($t->fetch(GET => '/ws/', key => 'sk-alice', headers => \@ws)->{status}, 426, 'a WebSocket');
};

case 'what stands where no rule looks' => sub {
    my $within = qr/there are rules for what may be asked here, which cannot be applied to what is within it/;
    my @all    = ('v1/batches', 'v1/messages/batches', 'v1beta/models/g:batchGenerateContent', 'v1/batch/jobs', 'v1/evals');
    for my $path (@all, 'v2/models/m/infer', 'v1/models/m:predict') {
        for my $under (qw(ruled capped allowed)) {
            refused("$path, $under", "/$under/$path", '{"model":"m","requests":[{"params":{"max_tokens":5000}}]}', $within);
        }
        refused("$path, by the key", "/$path", '{"model":"m"}', $within, key => 'sk-short');
        refused("$path, a wrong key", "/$path", '{"model":"m"}', qr/Incorrect API key/, key => 'sk-none', status => 401);
        forwarded("$path without rules", "/$path", '{"model":"m"}', '{"model":"m"}');
    }
    is($t->fetch(GET => "/ruled/$_", key => 'sk-short')->{status}, 200, "$_ is read") for @all[ 0, 1 ];
    is(send_body("/ruled/$_", '{}', key => 'sk-short')->{status}, 200, "$_: an end") for 'v1/batches/b1/cancel', 'v1/messages/batches/b1/cancel';
    my $embed = 'v1beta/models/g:batchEmbedContents';
    refused('vectors, of whose requests rules are', "/ruled/$embed", '{"requests":[{"model":"models/g"}]}', $within);
    forwarded('vectors, where only tokens are capped', "/capped/$embed", '{"requests":[{"model":"models/g"}]}', '{"requests":[{"model":"models/g"}]}');
};

case 'bounds that have other names' => sub {
    for my $way (@ways) {
        forwarded('vLLM', '/capped/inference/v1/generate', '{"sampling_params":{"max_tokens":500}}', '{"sampling_params":{"max_tokens":100}}', way => $way);
        forwarded('SGLang', '/capped/vertex_generate', '{"instances":[]}', '{"instances":[],"parameters":{"sampling_params":{"max_new_tokens":100}}}', way => $way);
        forwarded('Triton', '/capped/v2/models/m/generate_stream', '{"parameters":{"max_tokens":500}}', '{"parameters":{"max_tokens":100},"max_tokens":100}', way => $way);
        forwarded('Bedrock', '/capped/model/m/converse', '{"inferenceConfig":{"maxTokens":500}}', '{"inferenceConfig":{"maxTokens":100}}', way => $way);
        refused('what could hide one', '/capped/v2/models/m/generate', '{"sampling_parameters":"{}"}', qr/\\"sampling_parameters\\" could hide a bound of tokens/, way => $way);
        refused('none that is known', '/capped/model/m/invoke', '{"max_gen_len":500}', qr/has no bound of tokens that is known/, way => $way);
    }
    for (
        [ 'v1/messages',         'fallbacks', '[{"model":"m","max_tokens":9000}]' ],
        [ 'v1/messages',         'tools',     '[{"type":"advisor_1","name":"advisor","model":"m","max_tokens":9000}]' ],
        [ 'v1/chat/completions', 'tools',     '[{"type":"a:b","parameters":{"model":"m","max_completion_tokens":9000}}]' ],
        [ 'v1/chat/completions', 'plugins',   '[{"id":"fusion","max_tokens":9000}]' ],
    ) {
        my ($path, $field, $value) = @$_;
        my $body = qq({"max_tokens":50,"$field":$value});
        refused("one within $field", "/capped/$path", $body, qr/the field \\"$field\\" has a bound of tokens within it/, way => $_) for @ways;
        forwarded("one within $field without a cap", "/$path", $body, $body);
        refused("one within $field, by the key", "/$path", $body, qr/the field \\"$field\\" has a bound/, key => 'sk-short');
    }
    my $schema = '{"max_tokens":50,"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{"max_tokens":{"type":"integer"}}}}]}';
    forwarded('an argument of such a name', '/capped/v1/chat/completions', $schema, $schema, way => $_) for @ways;
    forwarded('one that is known', '/capped/model/m/invoke', '{"max_tokens":500}', '{"max_tokens":100}');
    forwarded('and without a cap', '/model/m/invoke', '{"max_gen_len":500}', '{"max_gen_len":500}');
};

case 'rules of keys and plans' => sub {
    forwarded('of a key', "/$chat", '{"max_tokens":50}', '{"max_tokens":8 }', key => 'sk-short');
    forwarded('the lower of two caps', "/capped/$chat", '{"max_tokens":50}', '{"max_tokens":8 }', key => 'sk-short', way => $_) for @ways;
    forwarded('of another key', "/$chat", '{"max_tokens":50}', '{"max_tokens":50}');
    forwarded('of a plan', "/$chat", '{"tools":[],"model":"m","n":9,"seed":3,"stream":false}', { model => 'm', n => 4, seed => 3, stream => JSON::PP::false, max_tokens => 64 },
        key => 'sk-member', way => $_) for @ways;
    forwarded('of a key and its plan', "/$chat", '{"tools":[],"n":3,"seed":3}', { n => 1, max_tokens => 64 }, key => 'sk-both');
    forwarded('and of a location', "/allowed/$chat", '{"messages":[],"n":3,"max_tokens":9}', { messages => [], max_tokens => 9 }, key => 'sk-both');
    refused('told to its key', "/$chat", '{"n":"1"}', qr/the field \\"n\\" is not a number/, key => 'sk-both', way => $_) for @ways;
    $t->write_file('keys.json', key_file([ { name => 'alice', secret => 'sk-alice', request => { set => { seed => 1 } } }, { name => 'spent', secret => 'sk-spent', quota => 1 } ]));
    $t->reload;
    forwarded('after a reload', "/$chat", '{"seed":50}', '{"seed":1 }');
    $t->write_file('keys.json', key_file([ { name => 'alice', secret => 'sk-alice' }, { name => 'listed', secret => 'sk-listed', models => ['good'] },
        { name => 'capped', secret => 'sk-capped', request => { cap => { n => 1 } } }, { name => 'spent', secret => 'sk-spent', quota => 1 } ]));
    $t->reload;
    forwarded('and when they are gone', "/$chat", '{"seed":50}', '{"seed":50}');
};

case 'with usage that is asked for' => sub {
    forwarded('what is not allowed was not asked', "/allowed/$chat", '{"x":1,"stream_options":{"include_usage":true},"stream":true}',
        { stream => JSON::PP::true, stream_options => { include_usage => JSON::PP::true } });
    forwarded('beside other edits', "/ruled/$chat", '{"logit_bias":1,"stream_options":{"x":1},"stream":true,"user":1,"nested":null,"seed":2,"max_tokens":1}', {
        stream => JSON::PP::true, stream_options => { x => 1, include_usage => JSON::PP::true }, user => 'gateway', seed => 2,
        nested => { on => { x => [1] } }, max_tokens => 1,
    });
};

case 'a body that is not read' => sub {
    for my $body ("\0\1\2no JSON", '{"max_tokens":"50"}', '{"logit_bias":1,') {
        forwarded('as it is', '/ruled/unread/x', $body, $body, way => $_) for @ways;
    }
    refused('for a key with models', '/ruled/unread/x', 'abc', qr/certain models only/, key => 'sk-listed', status => 404);
    refused('for a key with rules', '/ruled/unread/x', 'abc', qr/need a JSON object/, key => 'sk-capped');
    refused('a wrong key', '/ruled/unread/x', 'abc', qr/invalid_api_key/, key => 'sk-none', status => 401);
    refused('and read where it is led to', '/then/x', 'abc', qr/400 Bad Request/, key => 'sk-listed');

    # The upstream has the first bytes while the client still sends.
    my $c = $t->client;
    $c->request(POST => '/ruled/unread/held/x', headers => [ $t->bearer('sk-alice'), 'Content-Length' => 10 ]);
    $c->write('12345');
    my $u = $first->accept;
    $u->read_more('the head of the request') until $u->{in} =~ /\r\n\r\n12345\z/;
    pass('the upstream was called before the body was whole');
    $c->write('67890');
    $u->read_more('the rest') until $u->{in} =~ /1234567890\z/;
    $u->write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK");
    is($c->response->{status}, 200, 'sent on in pieces');
    $c->close;
    $u->close;
};

case 'the status of a spent quota' => sub {
    my $spend = send_body("/$chat", '{"max_tokens":5}', key => 'sk-spent');
    $t->wait_idle;
    for (map { [ $_, $_ =~ /429/ ? 429 : 402 ] } "/$chat", "/plain429/$chat", "/paged/$chat", '/v1/messages') {
        my ($uri, $status) = @$_;
        my $r = send_body($uri, '{"max_tokens":5}', key => 'sk-spent');
        is($r->{status}, $status, "$uri: status");
        like($r->{body}, $uri =~ /messages/ ? qr/billing_error/ : qr/insufficient_quota/, "$uri: body");
        is($r->{log}{refusal}, 'quota', "$uri: log");
        is($r->{headers}{'x-should-retry'}, 'false', "$uri: not again");
    }
};

case 'mistakes' => sub {
    my $check = <<'EOF';
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        RULE
    }
}
EOF
    for (
        [ 'llm_request keep x;',                 qr/expected allow, drop, cap, default or set/ ],
        [ 'llm_request cap x;',                  qr/needs the name of a field and a value/ ],
        [ 'llm_request cap x y;',                qr/"y" in "llm_request": expected a number/ ],
        [ 'llm_request cap max_tokens 0;',       qr/a whole number of tokens/ ],
        [ 'llm_request set x True;',             qr/expected JSON, such as/ ],
        [ 'llm_request set x [1;',               qr/expected JSON, such as/ ],
        [ 'llm_request set model y;',            qr/the gateway itself goes by this field/ ],
        [ 'llm_request drop stream;',            qr/the gateway itself goes by this field/ ],
        [ 'llm_request drop Stream.x;',          qr/the gateway itself goes by this field/ ],
        [ 'llm_request set stream_options.x 1;', qr/llm_usage_inject/ ],
        [ 'llm_request set options \'{}\';',     qr/name the fields within it/ ],
        [ 'llm_request default parameters null;', qr/name the fields within it/ ],
        [ 'llm_request set max_completion_tokens -1;', qr/a whole number of tokens/ ],
        [ 'llm_request default max_tokens null;', qr/a whole number of tokens/ ],
        [ 'llm_request set options.num_predict many;', qr/a whole number of tokens/ ],
        [ 'llm_request cap options.num_predict -1;', qr/a whole number of tokens/ ],
        [ 'llm_request cap max_tokens 100; llm_request default max_completion_tokens 101;', qr/above "cap max_tokens", which is about this field too/ ],
        [ 'llm_request set n_predict 101; llm_request cap max_tokens 100;', qr/above "cap max_tokens", which is about this field too/ ],
        [ 'llm_body off; llm_request drop x;',   qr/"llm_request" cannot hold where "llm_body off" is in force.*check\.conf:\d+/ ],
        [ 'llm_request drop x; llm_body off; location /x { proxy_pass http://127.0.0.1:1; }', qr/"llm_request" cannot hold/ ],
        [ 'llm_request drop a..b;',              qr/expected the name of a field/ ],
        [ 'llm_request drop "a b";',             qr/expected the name of a field/ ],
        [ 'llm_request allow a.b;',              qr/not of what is in them/ ],
        [ 'llm_request drop a; llm_request set a.b 1;', qr/cannot both have rules/ ],
        [ 'llm_request cap a 1; llm_request default a 2;', qr/not a number up to the cap/ ],
        [ 'llm_request drop a; llm_request drop a;', qr/has such a rule already/ ],
        [ 'llm_request drop ' . join(' ', map { "f$_" } 1 .. 33) . ';', qr/too many rules/ ],
        [ 'llm_body maybe;',                     qr/llm_body/ ],
        [ 'llm_quota_status 403;',               qr/invalid value "403"/ ],
    ) {
        my ($rule, $why) = @$_;
        my ($ok, $said) = $t->check_conf($check =~ s/RULE/location \/ { $rule }/r);
        ok(!$ok, "$rule: refused");
        like($said, $why, "$rule: why");
    }
    for my $rule ('cap a 1; llm_request default a 0.5', 'set a low', q(set a '"x"'), 'allow model stream stream_options', 'drop stream_options') {
        my ($ok, $said) = $t->check_conf($check =~ s/RULE/location \/ { llm_request $rule; }/r);
        ok($ok, "$rule: fine") or diag($said);
    }
    my ($read, $told) = $t->check_conf($check =~ s/RULE/llm_request drop x; location \/ { llm_body off; } location \/y { proxy_pass http:\/\/127.0.0.1:1; }/r);
    ok($read, 'rules that hold elsewhere') or diag($told);
    my ($nested, $why) = $t->check_conf($check =~ s/RULE/location \/ { llm_body off; llm_request drop x; location \/x { llm_body on; } }/r);
    ok($nested, 'or within') or diag($why);
    for (
        [ { set => { max_tokens => undef } },                              qr/wrong\.json:\d+:\d+: "request\.set\.max_tokens" of key "a": expected a whole number of tokens/ ],
        [ { default => { 'options.num_predict' => -1 } },                  qr/expected a whole number of tokens/ ],
        [ { default => { max_output_tokens => '50' } },                    qr/expected a whole number of tokens/ ],
        [ { set => { parameters => [] } },                                 qr/name the fields within it/ ],
        [ { cap => { max_tokens => 10 }, set => { n_predict => 11 } },     qr/above "cap max_tokens"/ ],
    ) {
        my ($request, $says) = @$_;
        $t->write_file('wrong.json', key_file([ { name => 'a', secret => 'sk-a', request => $request } ]));
        my ($good, $text) = $t->check_conf($check =~ s/keys\.json/wrong.json/r =~ s/RULE//r);
        ok(!$good, 'a key with ' . json($request));
        like($text, $says, 'why');
    }
    my ($ok, $said) = $t->check_conf($check =~ s/RULE/location \/ { llm_api_keys off; llm_request drop x; }/r);
    like($said, qr/\[warn\].*"llm_request" limits nothing/, 'without keys');
};

$t->finish;
