# Why: the table of models says where a model goes, by which name, and what it costs. A request that the gateway takes for one model
# must reach the upstream as that one, by whatever way its body came and wherever nginx keeps it; one that fits no row reaches none.

use strict;
use warnings;

use IPC::Open2 qw(open2);
use Digest::SHA;
use Encode ();
use JSON::PP;

use LLM::Test;

my $long = 'the-name-of-a-model-that-is-longer-than-what-clients-call-it-1234567890';

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([
            { name => 'alice', secret => 'sk-alice' },
            { name => 'picky', secret => 'sk-picky', models => [ 'gpt-4o*', 'good' ] },
            { name => 'blue',  secret => 'sk-blue' },
            { name => 'limited', secret => 'sk-limited', limits => { tokens => '100k/h', token_burst => 1500 } },
        ]),
    },
    conf => <<"EOC");
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    keepalive_requests 10000;
    proxy_set_header X-Length \$content_length;
    upstream first { server 127.0.0.1:%%PORT_1%%; }
    upstream second { server 127.0.0.1:%%PORT_3%%; }
    upstream dead { server 127.0.0.1:%%PORT_4%% max_fails=0; server 127.0.0.1:%%PORT_1%% backup; }
    map \$llm_key \$by_key { default first; blue second; }
    llm_model good        to=first    prompt=2 cached=0 completion=3;
    llm_model gpt-4o*     to=first    as=qwen3;
    llm_model short       to=second   as=$long;
    llm_model quoted      to=first    'as=a"b\\\\c';
    llm_model by-key      to=\$by_key as=x;
    llm_model fails       to=dead     as=$long;
    llm_model fails-short to=dead     as=q;
    llm_model direct      to=127.0.0.1:%%PORT_3%%;
    llm_model bounded     to=first    max_tokens=100;
    llm_model pattern-*   to=second;
    llm_model slashed     to=first    as=org/name:x;
    llm_model tuned       to=first    as=tunedModels/t-1;
    llm_model longer      to=first    as=models/y;
    llm_model a/b         to=first    as=z;
    llm_model kept/name   to=second;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_2%% http2;
        proxy_next_upstream error timeout non_idempotent http_503;
        location / { proxy_pass http://\$llm_upstream; }
        location /spilled/ { client_body_buffer_size 1k; proxy_pass http://\$llm_upstream; }
        location /single/ { client_body_in_single_buffer on; proxy_pass http://\$llm_upstream; }
        location /in-file/ { client_body_in_file_only clean; proxy_pass http://\$llm_upstream; }
        location /prefix/deployments/short { proxy_pass http://127.0.0.1:%%PORT_1%%/fixed; }
        location /own/ {
            llm_model mine to=first;
            llm_model *    to=second as=default;
            proxy_pass http://\$llm_upstream;
        }
        location /ruled/ {
            client_body_buffer_size 1k;
            llm_model gpt-4o* to=first as=qwen3;
            llm_model short   to=second as=$long;
            llm_model fails   to=dead as=$long;
            llm_model *       to=first as=default;
            llm_request drop a b;
            llm_request cap max_tokens 50;
            llm_request set x 1;
            proxy_pass http://\$llm_upstream;
        }
        location /unread/ { llm_body off; proxy_pass http://\$llm_upstream; }
        location /unread/all/ { llm_body off; llm_model * to=second; proxy_pass http://\$llm_upstream; }
        location /emptied/ { llm_model * to=first as=default; llm_request drop a; proxy_pass http://\$llm_upstream; }
        location /limited/ { llm_limit per=model requests=2r/h burst=1; proxy_pass http://\$llm_upstream; }
        location /all/ { llm_model * to=first; proxy_pass http://\$llm_upstream; }
        location /weights/ { llm_usage_weights prompt=5 completion=7; llm_model good prompt=2; llm_model bge completion=0; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /then/ {
            client_body_buffer_size 1k;
            proxy_intercept_errors on;
            error_page 503 = \@hosted;
            proxy_pass http://\$llm_upstream;
        }
        location \@hosted { llm_model slashed to=second as=other/name; llm_model kept/name to=second; llm_model tuned to=second; llm_model short as=hosted-name to=second; llm_model good to=second; llm_model gpt-4o* to=second; llm_model quoted as=$long to=second; proxy_pass http://\$llm_upstream; }
        location /open/ { llm_api_keys off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOC
my %up = (first => $t->daemon(1), second => $t->daemon(3));
$t->start;

my $json = JSON::PP->new->canonical;
my $chat = '/v1/chat/completions';

# One request by HTTP/1.1: { status, body, log, at (the upstream's name), got (the request as it came there) }. Options: key, chunked, headers, reply.
sub ask {
    my ($method, $uri, $body, %o) = @_;

    my %before = map { $_ => $up{$_}->count } keys %up;
    my $id     = $t->new_id;
    my @headers = ($t->bearer($o{key} // 'sk-alice'), @{ $o{headers} // [] });
    push @headers, 'X-Reply' => json($o{reply}) if $o{reply};
    push @headers, 'Content-Type' => $o{type} // 'application/json' if defined $body;
    my $r;
    if ($o{h2}) {
        my $h2 = $t->client_h2(2);
        my $s  = $h2->request($method => $uri, headers => \@headers, id => $id, open => 1);
        $h2->data($s, $_) for $body =~ /(.{1,3000})/gs;
        $h2->data($s, '', last => 1);
        $r = $h2->response($s);
        $h2->close;
    } elsif ($o{chunked}) {
        my $c = $t->client;
        $c->request($method => $uri, headers => [ @headers, 'Transfer-Encoding' => 'chunked' ], id => $id);
        $c->write(sprintf "%x\r\n%s\r\n", length, $_) for $body =~ /(.{1,$o{chunked}})/gs;
        $c->write("0\r\n\r\n");
        $r = $c->response;
        $c->close;
    } else {
        my $c = $t->client;
        $c->request($method => $uri, headers => \@headers, body => $body, id => $id);
        $r = $c->response;
        $c->close;
    }
    my @at  = grep { $up{$_}->count > $before{$_} } sort keys %up;
    my $got = @at ? $up{ $at[-1] }->last_request : undef;
    return { %$r, log => $t->log_line($id), at => join('+', @at), got => $got };
}

sub body { my ($model, %o) = @_; return $json->encode({ model => $model, messages => [], %o }) }

sub error_of { my ($r) = @_; return (eval { $json->decode($r->{body}) } // {})->{error} // {} }

# --- where a model goes, and by which name

case 'rows' => sub {
    for (
        # model, upstream, name there, name that it is counted by
        [ 'good',              'first',  'good' ],
        [ 'gpt-4o',            'first',  'qwen3' ],
        [ 'gpt-4o-mini-2024',  'first',  'qwen3' ],
        [ 'short',             'second', $long ],
        [ 'quoted',            'first',  'a"b\\c' ],
        [ 'direct',            'second', 'direct' ],
        [ 'pattern-1',         'second', 'pattern-1' ],
        [ 'by-key',            'first',  'x' ],
    ) {
        my ($model, $at, $name) = @$_;
        my $r = ask(POST => $chat, body($model));
        is("$r->{status} $r->{at}", "200 $at", "$model: where it goes");
        is($r->{got}{body}, $r->{got}{body} =~ s/\s+,/,/r =~ s/.*//sr . $r->{got}{body}, "$model: a body came");
        is($json->decode($r->{got}{body})->{model}, $name, "$model: its name there");
        is($r->{got}{headers}{'content-length'}, length $r->{got}{body}, "$model: the length");
        is($r->{got}{headers}{'x-length'}, length $r->{got}{body}, "$model: \$content_length");
        is($r->{log}{model}, $model, "$model: \$llm_model");
        is($r->{log}{upstream_model}, $name, "$model: \$llm_upstream_model");
        is($r->{log}{upstream}, $at eq 'second' && $model eq 'direct' ? '127.0.0.1:' . $t->port(3) : $at, "$model: \$llm_upstream");
    }
    is(ask(POST => $chat, body('by-key'), key => 'sk-blue')->{at}, 'second', 'by a variable that is known once the key is');
};

case 'bytes' => sub {
    my %given = (
        '{"model":"gpt-4o","messages":[]}'                   => '{"model":"qwen3" ,"messages":[]}',
        "\r\n{ \"a\":1, \"mod\\u0065l\" : \"gpt\\u002d4o-mini\" }\n"  => "\r\n{ \"a\":1, \"mod\\u0065l\" : \"qwen3\"            }\n",
        '{"model":"short"}'                                  => qq({"model":"$long"}),
        qq({"messages":[{"model":"short"}],"model":"short","x":"\xc3\xa4"} ) => qq({"messages":[{"model":"short"}],"model":"$long","x":"\xc3\xa4"} ),
        '{"model":"short","stream":true,"stream_options":null}' => qq({"model":"$long","stream":true                      ,"stream_options":{"include_usage":true}}),
        '{"model":"good" }'                                  => '{"model":"good" }',
        '{"model":"models/gpt-4o"}'                          => '{"model":"models/qwen3" }',
    );
    for my $body (sort keys %given) {
        for my $way ([], [ chunked => 5 ], [ h2 => 1 ]) {
            my $r = ask(POST => $chat, $body, @$way);
            is($r->{got}{body}, $given{$body}, "$body @$way");
        }
    }
};

# --- what fits no row

case 'unknown' => sub {
    for my $model ('gpt-4', 'GPT-4o', 'goo', 'good ', '', 'pattern', 'qwen3') {
        my $r = ask(POST => $chat, body($model));
        my $e = error_of($r);
        is("$r->{status} $e->{code} $e->{type} [$r->{at}]", '404 model_not_found invalid_request_error []', "\"$model\"");
        is("$r->{log}{outcome} $r->{log}{refusal}", 'refused model', "\"$model\": the log");
    }
    like(ask(POST => $chat, body('gpt-4'))->{body}, qr/The model `gpt-4` does not exist/, 'says which');
    is(ask(POST => $chat, body('gpt-4'), key => 'sk-wrong')->{status}, 401, 'a wrong key comes first');
    my $r = ask(POST => '/v1/messages', body('gpt-4'));
    is("$r->{status} " . $json->decode($r->{body})->{error}{type}, '404 not_found_error', "in Anthropic's shape");
    is(ask(POST => '/api/chat', body('gpt-4'))->{status}, 404, "in Ollama's");
};

case 'no model is named' => sub {
    for my $body ('{"messages":[]}', '{"model":null}', '{}') {
        my $r = ask(POST => $chat, $body);
        is("$r->{status} $r->{at}", '400 ', $body);
        is(error_of($r)->{message}, 'You must provide a model parameter.', "$body: says so");
    }
    my $r = ask(GET => '/v1/models', undef);
    is("$r->{status} $r->{at}", '200 first', 'nor is one needed: the first row');
    is(ask(GET => '/own/v1/models', undef)->{at}, 'second', 'or the one that all fit');
    my %given = (
        '{"messages":[]}'       => '{"messages":[],"model":"default"}',
        '{ } '                  => '{ "model":"default"} ',
        '{"model":null,"a":1}'  => '{"model":"default","a":1}',
        '{"stream":true}'       => '{"stream":true,"model":"default","stream_options":{"include_usage":true}}',
        '{"model":"mine"}'      => '{"model":"mine"}',
        '{"model":"x"}'         => '{"model":"default"}',
    );
    for my $body (sort keys %given) {
        my $got = ask(POST => '/own/chat/completions', $body);
        is($got->{got}{body}, $given{$body}, "$body where a row fits all");
    }
    $r = ask(POST => '/own/v1/audio/transcriptions', qq(--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n--b--\r\n), type => 'multipart/form-data; boundary=b');
    is("$r->{status} $r->{at}", '400 ', 'a form gets none');
    $r = ask(GET => '/own/v1/realtime', undef);
    is("$r->{status} $r->{at} $r->{log}{upstream_model}", '200 second ', 'nor does a request without a body: the upstream chooses');
};

case 'keys with models go by the client\'s name' => sub {
    is(ask(POST => $chat, body('gpt-4o'), key => 'sk-picky')->{got}{body}, '{"messages":[],"model":"qwen3" }', 'allowed');
    for my $model (qw(qwen3 short pattern-1)) {
        is(ask(POST => $chat, body($model), key => 'sk-picky')->{status}, 404, "$model: not allowed");
    }
    is(ask(POST => '/all/chat/completions', body('qwen3'), key => 'sk-picky')->{status}, 404, 'nor where all models pass');
};

# --- wherever the body is

my $padding = join '', map { "$_ " } 1 .. 8000;
for my $where ('', '/spilled', '/single', '/in-file') {
    for my $model (qw(short gpt-4o fails fails-short)) {
        for my $way ([], [ chunked => 4000 ], [ h2 => 1 ]) {
            my $name = { short => $long, 'gpt-4o' => 'qwen3', fails => $long, 'fails-short' => 'q' }->{$model};
            for my $body (
                qq({"model":"$model","x":"$padding"}),
                qq({"x":"$padding","model":"$model"}),
                qq({"x":"$padding","model" : "$model" , "stream":true,"y":"$padding"}\n),
            ) {
                my $r = ask(POST => "$where$chat", $body, @$way);
                my $value = qq("$name");
                $value .= ' ' x (length($model) + 2 - length $value) if length $value < length($model) + 2;
                my $want = $body =~ s/"model"( ?: ?)"\Q$model\E"/"model"$1$value/r;
                $want = $want =~ s/\}\n\z/,"stream_options":{"include_usage":true}}/r if $body =~ /"stream"/;
                my $what = length($want) . " bytes, $model, \"$where\" @$way";
                is("$r->{status} $r->{got}{length}", '200 ' . length $want, "$what: length");
                is($r->{got}{sha256}, Digest::SHA::sha256_hex($want), "$what: bytes");
            }
        }
    }
}

# --- in other places than the body

case 'in the path and the query' => sub {
    my $none = '{"contents":[]}';
    # Beside a body the query alone would not do: see below.
    my $body_of = sub { return $_[0] =~ m{\A/v1/x} ? '' : $none };
    for (
        [ '/v1beta/models/gpt-4o:generateContent',             '/v1beta/models/qwen3:generateContent' ],
        [ '/v1beta/models/gpt-4o:generateContent?a=b%20c',     '/v1beta/models/qwen3:generateContent?a=b%20c' ],
        [ '/v1beta/models/good:generateContent?a=%2f',         '/v1beta/models/good:generateContent?a=%2f' ],
        [ '/openai/deployments/short/chat/completions?api-version=1', "/openai/deployments/$long/chat/completions?api-version=1" ],
        [ '/openai/deployments/gpt-4o%20x/chat/completions',   '/openai/deployments/qwen3/chat/completions' ],
        [ '/openai/deployments/quoted/chat/completions',       '/openai/deployments/a%22b%5Cc/chat/completions', 1 ],
        [ '/model/short/invoke',                               "/model/$long/invoke" ],
        [ '/v2/models/gpt-4o/infer',                           '/v2/models/qwen3/infer' ],
        [ '/v1/x?model=gpt-4o&b=1',                            '/v1/x?model=qwen3&b=1' ],
        [ '/v1/x?b=1&model=gpt%2d4o',                          '/v1/x?b=1&model=qwen3' ],
        [ '/v1/x?model=quoted',                                '/v1/x?model=a%22b%5Cc' ],
        [ '/a%20b/deployments/short/embeddings',               "/a%20b/deployments/$long/embeddings" ],
        [ '/prefix/deployments/short/embeddings',              undef ],
    ) {
        my ($uri, $want, $loose) = @$_;
        my $r = ask(POST => $uri, $body_of->($uri));
        is($r->{status}, 200, "$uri: status") or next;
        my $got = $r->{got}{uri};
        # nginx does not escape all that may be: the server reads the same.
        ($got, $want) = map { s/%([0-9A-Fa-f]{2})/chr hex $1/ger } $got, $want if $loose;
        is($got, $want, $uri) if defined $want;
        is($r->{got}{body}, $body_of->($uri), "$uri: no model is put into the body");
    }
    # A name is one segment, and keeps its collection.
    for (
        [ '/v1beta/models/slashed:generateContent?x=a%2fb', '/v1beta/models/org%2Fname%3Ax:generateContent?x=a%2fb' ],
        [ '/v1beta/models/tuned:generateContent',      '/v1beta/tunedModels/t-1:generateContent' ],
        [ '/v1beta/models/longer:generateContent',     '/v1beta/models/y:generateContent' ],
        [ '/v1beta/models/a%2fb:generateContent',      '/v1beta/models/z:generateContent' ],
        [ '/v1beta/models/a/b:generateContent',        '/v1beta/models/z:generateContent' ],
        [ '/v1beta/models/kept%2fname:generateContent', '/v1beta/models/kept%2fname:generateContent' ],
        [ '/a%20b/deployments/slashed/embeddings',     '/a%20b/deployments/org%2Fname%3Ax/embeddings' ],
        [ '/v2/models/slashed/generate',               '/v2/models/org%2Fname%3Ax/generate' ],
        [ '/model/slashed/converse',                   '/model/org%2Fname%3Ax/converse' ],
        [ '/v1/x?model=slashed',                       '/v1/x?model=org%2Fname%3Ax' ],
        [ '/model/a%2fb/converse?model=a%2Fb',         '/model/z/converse?model=z' ],
    ) {
        my ($uri, $want) = @$_;
        my $r = ask(POST => $uri, $body_of->($uri));
        is("$r->{status} " . ($r->{got}{uri} // ''), "200 $want", $uri);
    }
    is(ask(POST => $chat, '{"model":"models/tuned"}')->{got}{body}, '{"model":"tunedModels/t-1"}', 'a collection in a body');
    is(ask(POST => $chat, '{"model":"models/longer"}')->{got}{body}, '{"model":"models/y"     }', 'the same one');
    is(ask(POST => $chat, '{"model":"models/slashed"}')->{got}{body}, '{"model":"models/org/name:x"}', 'and a name with a slash');
    my $r = ask(POST => '/v1beta/models/gpt-4o:countTokens', '{"model":"models/gpt-4o"}');
    is("$r->{got}{uri} $r->{got}{body}", '/v1beta/models/qwen3:countTokens {"model":"models/qwen3" }', 'in both');
    $r = ask(POST => '/openai/deployments/short/embeddings', '{"model":"short","a":1}');
    is("$r->{got}{uri} $r->{got}{body}", "/openai/deployments/$long/embeddings {\"model\":\"$long\",\"a\":1}", 'in both, longer');
    is(ask(POST => '/v1beta/models/other:generateContent', $none)->{status}, 404, 'unknown in the path');
    is(ask(POST => '/v1/x?model=other', '')->{status}, 404, 'unknown in the query');
    is(ask(POST => '/v1/x?model=gpt-4o', $none)->{status}, 400, 'in the query alone, beside a body');
};

case 'where bodies are not read' => sub {
    for my $uri ('/unread/x', '/unread/openai/deployments/good/chat/completions', '/unread/x?model=good') {
        my $r = ask(POST => $uri, body('good'));
        is("$r->{status} $r->{at}", '400 ', "$uri: it is not known which model it is for");
    }
    is(ask(POST => '/unread/v1/files', 'xyz')->{at}, 'first', 'for none');
    my $r = ask(POST => '/unread/all/api/blobs/x', 'xyz', chunked => 2);
    is("$r->{status} $r->{at}", '200 second', 'where all pass as they are');
};

case 'in a form' => sub {
    my $type = 'multipart/form-data; boundary=b';
    my $form = sub {
        my ($model, $value, $spaces) = @_;
        return "--b\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nde\r\n"
            . "--b\r\nContent-Disposition:" . (' ' x ($spaces // 0)) . " form-data; name=\"model\"\r\nX: y\r\n\r\n$model\r\n"
            . "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n$value\r\n--b--\r\n";
    };
    for my $where ('', '/spilled', '/in-file') {
        for my $value ('RIFF', $padding) {
            for my $way ([], [ chunked => 4000 ], [ h2 => 1 ]) {
                for ([ 'gpt-4o', 'qwen3', 1 ], [ 'gpt-4o-transcribe', 'qwen3', 12 ], [ 'short', $long, 0 ], [ 'fails', $long, 0 ],
                    [ 'fails-short', 'q', 10 ], [ 'good', 'good', 0 ]) {
                    my ($model, $name, $spaces) = @$_;
                    my $r    = ask(POST => "$where/v1/audio/transcriptions", $form->($model, $value), type => $type, @$way);
                    my $want = $form->($name, $value, $spaces);
                    is("$r->{status} $r->{got}{length}", '200 ' . length $want, "$model, \"$where\" @$way, " . length $value);
                    is($r->{got}{sha256}, Digest::SHA::sha256_hex($want), 'its bytes');
                }
            }
        }
    }
    is(ask(POST => '/v1/audio/transcriptions', $form->('other', 'x'), type => $type)->{status}, 404, 'unknown');
    is(ask(POST => '/v1/audio/transcriptions', $form->("a\nb", 'x'), type => $type)->{status}, 400, 'not clear');
    my $far = $form->('gpt-4o-transcribe', 'x') =~ s/X: y/'X: ' . 'y' x 5000/er;
    is(ask(POST => '/v1/audio/transcriptions', $far, type => $type)->{status}, 400, 'too far from its header');
};

case 'beside rules for other fields' => sub {
    my %given = (
        '/ruled/x {"model":"gpt-4o","max_tokens":1000}'             => '{"model":"qwen3" ,"max_tokens":50  ,"x":1}',
        '/ruled/x {"max_tokens":7,"model":"short","a":[1]}'         => qq({"max_tokens":7,"model":"$long"        ,"x":1}),
        '/ruled/x {"a":{"model":"evil"},"model":"short"}'           => qq({                     "model":"$long","x":1}),
        '/ruled/x {"model":"short","b":1,"stream":true}'            => qq({"model":"$long"      ,"stream":true,"x":1}),
        '/ruled/chat/completions {"model":"short","max_tokens":70,"stream":true}' =>
            qq({"model":"$long","max_tokens":50,"stream":true,"x":1,"stream_options":{"include_usage":true}}),
        '/ruled/x {}'                                               => '{"model":"default","x":1}',
        '/ruled/x {"a":1}'                                          => '{     "model":"default","x":1}',
        '/ruled/x {"a":1,"c":2}'                                    => '{      "c":2,"model":"default","x":1}',
        '/ruled/x {"x":2}'                                          => '{"x":1,"model":"default"}',
        '/ruled/x {"model":null,"a":1}'                             => '{"model":"default"      ,"x":1}',
        '/emptied/x {"a":1, "a":2}'                                 => '{            "model":"default"}',
        '/emptied/x {"a":1 } '                                      => '{      "model":"default"} ',
        '/emptied/x {"c":1}'                                        => '{"c":1,"model":"default"}',
    );
    for my $request (sort keys %given) {
        my ($uri, $body) = split / /, $request, 2;
        for my $way ([], [ chunked => 5 ], [ h2 => 1 ]) {
            my $r = ask(POST => $uri, $body, @$way);
            is($r->{got}{body}, $given{$request}, "$request @$way");
        }
    }
    # Spilled to a file, and sent again to a second upstream.
    for my $model (qw(short fails)) {
        for my $way ([], [ chunked => 4000 ], [ h2 => 1 ]) {
            my $r = ask(POST => '/ruled/v1/completions', qq({"y":"$padding","model":"$model","max_tokens":100,"z":"$padding"}), @$way);
            my $want = qq({"y":"$padding","model":"$long","max_tokens":50 ,"z":"$padding","x":1});
            is("$r->{status} $r->{got}{length}", '200 ' . length $want, "$model @$way: length");
            is($r->{got}{sha256}, Digest::SHA::sha256_hex($want), "$model @$way: bytes");
        }
    }
};

# --- never one model to the gateway and another to the upstream

# What a server of each kind reads in a body: Python's json, which takes the last of two; one that takes the first; one without case (Go's).
my $reader = <<'EOP';
import json, sys
first = lambda pairs: dict(reversed(pairs))
def folded(pairs):
    out = {}
    for k, v in pairs:
        out['model' if isinstance(k, str) and k.casefold() == 'model' else k] = v
    return out
for line in sys.stdin:
    try:
        raw = bytes.fromhex(line.strip())
        print(json.dumps([json.loads(raw, object_pairs_hook=h).get('model') for h in (dict, first, folded)]))
    except Exception as e:
        print(json.dumps(['?', '?', '?']))
    sys.stdout.flush()
EOP

case 'what servers read is what was let in' => sub {
    my $pid = open2(my $out, my $in, 'python3', '-c', $reader);
    my @parts = ('"model":"gpt-4o"', '"model":"evil"', '"Model":"evil"', '"mod\u0065l":"short"', '"\u006dodel":"gpt-4o"', '"MODEL":"good"',
        '"model":null', '"model":["evil"]', '"model":{"model":"gpt-4o"}', '"model":"g\u0070t-4o"', '"model":"evil\u0000"', '"x":"{\"model\":\"evil\"}"',
        '"metadata":{"model":"evil"}', '"messages":[{"model":"evil","content":"\"model\":\"evil\""}]', '"models":["evil"]', '"models":["good"]',
        '"fallbacks":["short"]', '"stream":true', '"tools":[{"function":{"parameters":{"properties":{"model":{}}}}}]', '"model":"short"', '"model\u0000":"evil"');
    my @bodies = map { my $n = $_; map { my $m = $_; join ',', $parts[$n], $parts[$m] } 0 .. $#parts } 0 .. $#parts;
    # Some of three, whatever they are.
    my $seed = 1;
    my $next = sub { $seed = ($seed * 1103515245 + 12345) % 2**31; return ($seed >> 8) % $_[0] };
    push @bodies, map { join ',', map { $parts[ $next->(scalar @parts) ] } 1 .. 3 } 1 .. 150;
    my %sent = ('gpt-4o' => 'qwen3', short => $long, good => 'good');
    my ($passed, $refused) = (0, 0);
    for my $body ((map {"{$_}"} @bodies), "\xef\xbb\xbf{\"model\":\"good\"}", Encode::encode('UTF-16LE', '{"model":"good"}')) {
        my $r = ask(POST => $chat, $body, $next->(4) ? () : (chunked => 7));
        if ($r->{at} eq '') {
            $refused++;
            ok($r->{status} == 400 || $r->{status} == 404, "$body: refused") or diag($r->{status});
            next;
        }
        $passed++;
        print $in unpack('H*', $r->{got}{body}), "\n";
        my $read = $json->decode(scalar <$out>);
        my $want = $sent{ $r->{log}{model} } // $r->{log}{model};
        ok(!(grep { !defined || ref || $_ ne $want } @$read), "$body: read as $want by all") or diag("got $r->{got}{body}");
        is($r->{at}, $r->{log}{model} eq 'short' ? 'second' : 'first', "$body: at the upstream of that model");
    }
    close $in;
    waitpid $pid, 0;
    cmp_ok($passed,  '>', 50, 'some pass');
    cmp_ok($refused, '>', 50, 'others do not');
};

case 'decoys before it, and twenty megabytes' => sub {
    my $before = '{"messages":[{"role":"user","content":"{\"model\":\"evil\",\"stream\":true}"},{"role":"user","content":[{"type":"image_url","image_url":'
        . '{"url":"data:image/png;base64,' . 'QUJD' x 5_000_000 . '"}}]}],"tools":[{"function":{"parameters":{"properties":{"model":{},"stream":{}}}}}],'
        . '"metadata":{"model":"evil2"},';
    for my $way ([], [ chunked => 30000 ], [ h2 => 1 ]) {
        my $r = ask(POST => $chat, $before . '"\u006dodel":"gpt-4o","stream":"true"}', @$way);
        is("$r->{status} $r->{log}{model} $r->{log}{stream} $r->{log}{upstream_model}", '200 gpt-4o 1 qwen3', "what it asks, @$way");
        my $want = $before . '"\u006dodel":"qwen3" ,"stream":"true","stream_options":{"include_usage":true}}';
        is($r->{got}{length}, length $want, 'how much of it came there');
        is($r->{got}{sha256}, Digest::SHA::sha256_hex($want), 'its bytes');
        $r = ask(POST => $chat, $before . '"\u006dodel":"evil","stream":"true"}', @$way);
        is("$r->{status} $r->{at}", '404 ', 'one that is not in the table');
    }
    my $r = ask(POST => $chat, body('gpt-4o'), headers => [ 'Content-Encoding' => 'zstd' ]);
    is("$r->{status} $r->{at}", '415 ', 'compressed');
};

# What servers may read of a request in its path and its query: names in the manner of each API, wherever they are, in any case, of two
# that stand there both.
my $target_reader = <<'EOP';
import json, re, sys
from urllib.parse import unquote, unquote_plus
for line in sys.stdin:
    target = bytes.fromhex(line.strip()).decode('latin-1').split('#')[0]
    path, _, query = target.partition('?')
    names = set()
    for p in (path, unquote(path), re.sub('/+', '/', unquote(path))):
        for pattern in (r"(?i)/(?:deployments|engines)/((?:models/)?[^/]+)", r"/models/([^/:]+):", r"/model/((?:models/)?[^/]+)/", r"/v2/models/((?:models/)?[^/]+)/"):
            names |= {unquote(n) for n in re.findall(pattern, p)}
    for separators in ('&', '[&;]'):
        for pair in re.split(separators, query):
            k, _, v = pair.partition('=')
            if unquote_plus(k).casefold() in ('model', 'deployment'):
                names.add(unquote_plus(v))
    print(json.dumps(sorted(names)))
    sys.stdout.flush()
EOP

case 'path, query and body at once' => sub {
    my $target = open2(my $target_out, my $target_in, 'python3', '-c', $target_reader);
    my $in_body = open2(my $body_out, my $body_in, 'python3', '-c', $reader);
    my @names = ('gpt-4o', 'good', 'short', 'evil', 'gpt%2d4o', 'g%6fod', 'models/good', 'good%2f', 'good%00', 'GOOD', 'good%20', 'good/../short');
    my @paths = ('/v1/chat/completions', '/openai/deployments/%s/chat/completions', '/openai/Deployments/%s/embeddings', '/v1/engines/%s/completions',
        '/v1beta/models/%s:generateContent', '/v1beta/tunedModels/%s:generateContent', '/model/%s/invoke', '/v2/models/%s/infer',
        '/openai//deployments/%s/embeddings', '/openai/deployments/%s/deployments/%s/embeddings', '/openai/deployments/x/../%s/embeddings',
        '/openai/%%64eployments/%s/chat/completions', '/v1/x%%2fdeployments/%s/embeddings', '/v1/realtime', '/model/%s/model/%s/converse');
    my @queries = ('', '', '?model=%s', '?api-version=1&model=%s', '?model=%s&model=%s', '?Model=%s', '?mod%%65l=%s', '?model=%s;model=%s', '?deployment=%s', '?a=model%%3D%s',
        '?model', '?model=', '?model+=%s', '?m%%6fdel=%s&model=%s', '?model[]=%s', '?x=%%26model=%s');
    my @bodies = ('{}', '{"messages":[]}', '{"model":"%s"}', '{"model":"%s"}', '{"model":null}', '{"a":1,"mod\u0065l":"%s"}', '{"model":"%s","models":["%s"]}', '{"Model":"%s"}', '');
    my $seed = 7;
    my $pick = sub { $seed = ($seed * 1103515245 + 12345) % 2**31; return $_[ ($seed >> 8) % @_ ] };
    my %sent = (short => $long, good => 'good');
    my ($passed, $refused) = (0, 0);
    for my $round (1 .. 1200) {
        # Often the same name everywhere, so that something passes.
        my $same = $pick->(@names);
        my @any = map { $pick->(0, 0, 1) ? $pick->(@names) : $same } 1 .. 6;
        my ($path, $query, $text) = ($pick->(@paths), $pick->(@queries), $pick->(@bodies));
        my $uri  = sprintf($path, map {s/%00/%01/r} @any[ 0 .. (() = $path =~ /%s/g) - 1 ]) # nginx itself takes no NUL there
             . sprintf($query, @any[ 2 .. 1 + (() = $query =~ /%s/g) ]);
        my $body = sprintf $text, map {s/%(..)/chr hex $1/ger =~ s/\0/\\u0000/r} @any[ 4 .. 3 + (() = $text =~ /%s/g) ];
        my $r = ask(POST => $uri, $body);
        if ($r->{at} eq '') {
            $refused++;
            ok($r->{status} =~ /\A40[04]\z/, "$uri $body: refused") or diag($r->{status});
            next;
        }
        $passed++;
        my $model = $r->{log}{model} =~ s{\Amodels/}{}r;
        my $want  = $model =~ /\Agpt-4o/ ? 'qwen3' : $sent{$model};
        print $target_in unpack('H*', $r->{got}{uri}), "\n";
        my @read = @{ $json->decode(scalar <$target_out>) };
        if (length $r->{got}{body}) {
            print $body_in unpack('H*', $r->{got}{body}), "\n";
            push @read, grep {defined} @{ $json->decode(scalar <$body_out>) };
        }
        my @other = grep { s{\Amodels/}{}r ne ($want // '') } @read;
        ok(!@other, "$uri $body: nothing but " . ($want // 'nothing') . ' is read')
            or diag("read @other in $r->{got}{uri} $r->{got}{body}; model $r->{log}{model}");
        is($r->{at}, $model eq 'short' ? 'second' : 'first', "$uri $body: at the upstream of that model");
    }
    close $_ for $target_in, $body_in;
    waitpid $_, 0 for $target, $in_body;
    diag("passed $passed, refused $refused") if $ENV{LLM_KEEP};
    cmp_ok($passed,  '>', 100, 'some pass');
    cmp_ok($refused, '>', 100, 'others do not');
};

case 'what is not clear, and lists' => sub {
    for (
        [ 400, '/openai/deployments/good/chat/completions', body('short') ],
        [ 400, '/v1/x?model=good&model=short',             '{}' ],
        [ 400, '/v1/x?model=good',                         body('short') ],
        [ 400, $chat, body('good', models => ['short']) ],
        [ 400, $chat, body('good', models => ['unknown']) ],
        [ 400, $chat, body('gpt-4o', models => ['gpt-4o']) ],
        [ 400, $chat, body('good', models => 7) ],
        [ 200, $chat, body('good', models => ['good']) ],
        [ 200, $chat, body('pattern-1', models => [ 'pattern-2', 'direct' ]), 'not the same upstream by its name', 400 ],
        [ 200, $chat, body('pattern-1', models => ['pattern-2']) ],
        [ 200, '/all/chat/completions', body('a', models => ['b']) ],
        [ 200, '/all/v1/x?model=a&model=b', '{}' ],
    ) {
        my ($status, $uri, $body, $why, $other) = @$_;
        is(ask(POST => $uri, $body)->{status}, $other // $status, "$uri $body");
    }
};

case 'requests within requests, and models that are made of others' => sub {
    for my $uri ('/v1/batches', '/v1/messages/batches', '/v1beta/models/good:batchGenerateContent', '/v1/evals') {
        for my $body ('{"input_file_id":"f"}', body('good')) {
            my $r = ask(POST => $uri, $body);
            is("$r->{status} $r->{at}", '400 ', "$uri $body");
            like($r->{body}, qr/those of the requests within this one cannot be looked up/, "$uri: why");
        }
        is(ask(POST => "/all$uri", body('good'))->{at}, 'first', "$uri where all models pass");
        is(ask(GET => $uri, undef)->{status}, 200, "$uri is read") if $uri !~ /good/;
    }
    for (
        [ 200, '/v1beta/models/good:batchEmbedContents', { requests => [ { model => 'models/good' }, { model => 'models/good' } ] } ],
        [ 400, '/v1beta/models/good:batchEmbedContents', { requests => [ { model => 'models/good' }, { model => 'models/short' } ] } ],
        # The upstream would be told another name there.
        [ 400, '/v1beta/models/gpt-4o:batchEmbedContents', { requests => [ { model => 'models/gpt-4o' } ] } ],
        [ 400, '/v1beta/models/gpt-4o:countTokens', { generateContentRequest => { model => 'models/gpt-4o' } } ],
        [ 200, '/v1/responses', { model => 'good', tools => [ { type => 'x' } ] } ],
        [ 400, '/v1/responses', { model => 'good', tools => [ { model => 'unknown' } ] } ],
        [ 200, '/api/copy', { source => 'good', destination => 'good' } ],
        [ 400, '/api/copy', { source => 'good', destination => 'short' } ],
        [ 400, '/api/copy', { source => 'unknown', destination => 'good' } ],
        [ 404, '/api/copy', { source => 'unknown', destination => 'unknown' } ],
        [ 400, '/api/create', { model => 'good', from => 'unknown' } ],
        [ 400, '/api/create', { model => 'good', files => { a => 'sha256:1' } } ],
        [ 200, '/api/pull', { model => 'good', name => '' } ],
        [ 200, '/v1/load_lora_adapter', { lora_name => 'pattern-a', lora_path => 'pattern-b' } ],
        [ 400, '/v1/load_lora_adapter', { lora_name => 'pattern-a', lora_path => '/x' } ],
        [ 404, '/v1/unload_lora_adapter', { lora_name => 'x' } ],
    ) {
        my ($status, $uri, $body) = @$_;
        is(ask(POST => $uri, $json->encode($body))->{status}, $status, "$uri " . $json->encode($body));
    }
};

# --- another location

case 'a fallback to another table' => sub {
    my %reply = (reply => { status => 503, body => '{"error":{}}', type => 'application/json', framing => 'length' });
    for my $x ('', $padding) {
        for (
            [ 'gpt-4o', '"qwen3" ', '"gpt-4o"' ],
            [ 'quoted', '"a\\"b\\\\c"', qq("$long") ],
            [ 'good', '"good"', '"good"' ],
        ) {
            my ($model, $first, $second) = @$_;
            my $r = ask(POST => "/then$chat", qq({"model":"$model","x":"$x"}), headers => [ 'X-Reply' => json({ %{ $reply{reply} } }) ]);
            is($r->{at}, 'first+second', "$model: both are asked");
            is($up{first}->last_request->{sha256}, Digest::SHA::sha256_hex(qq({"model":$first,"x":"$x"})), "$model: the first");
            # What was longer meanwhile is filled up with white space.
            $second .= ' ' x (length($first) - length $second) if length $second < length $first;
            is($r->{got}{sha256}, Digest::SHA::sha256_hex(qq({"model":$second,"x":"$x"})), "$model: the second") or diag(substr $r->{got}{body} // '', 0, 200);
        }
    }
    for (
        [ slashed => '/then/v1beta/models/org%2Fname%3Ax:generateContent', '/then/v1beta/models/other%2Fname:generateContent' ],
        [ tuned => '/then/v1beta/tunedModels/t-1:generateContent', '/then/v1beta/models/tuned:generateContent' ],
        [ 'kept%2fname' => '/then/v1beta/models/kept%2fname:generateContent', undef ],
    ) {
        my ($model, $first, $second) = @$_;
        my $r = ask(POST => "/then/v1beta/models/$model:generateContent", '{"contents":[]}', headers => [ 'X-Reply' => json({ %{ $reply{reply} } }) ]);
        is($r->{at}, $second ? 'first+second' : 'second', "$model in the path: both are asked");
        is($up{first}->last_request->{uri}, $first, "$model in the path: the first") if $second;
        is($up{second}->last_request->{uri}, $second // $first, "$model in the path: the second");
    }
    my $r = ask(POST => "/then$chat", body('pattern-1'), headers => [ 'X-Reply' => json({ %{ $reply{reply} } }) ]);
    is($r->{status}, 404, 'not in the table there');
};

# --- prices, limits, and what is counted

case 'prices' => sub {
    my %reply = (reply => { type => 'application/json', framing => 'length', body => '{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":10,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":4}}}' });
    is(ask(POST => $chat, body('good'), %reply)->{log}{cost}, 6 * 2 + 4 * 0 + 20 * 3, 'of the row');
    is(ask(POST => $chat, body('gpt-4o'), %reply)->{log}{cost}, 30, 'none');
    is(ask(POST => '/weights/chat/completions', body('good'), %reply)->{log}{cost}, 6 * 2 + 4 * 1 + 20 * 7, 'what the row does not say');
    is(ask(POST => '/weights/chat/completions', body('bge'), %reply)->{log}{cost}, 6 * 5 + 4 * 1, 'nothing');
};

case 'names in the book' => sub {
    my %models = map { $_->{name} => 1 } @{ $t->zone->{models} // [] };
    my $c = $t->client;
    for my $name (qw(good short by-key)) { ok($models{$name}, "$name has counts") }
    ok($models{qwen3}, 'a pattern with another name is counted under that');
    ok(!(grep {/^gpt-4o/} keys %models), 'and not under what clients call it') or diag(join ' ', sort keys %models);
    ok($models{'pattern-1'}, 'without one under the name that an upstream has answered for');
};

case 'limits of a model are not to be had again under another name' => sub {
    my @got = map { ask(POST => '/limited/chat/completions', body($_))->{status} } qw(gpt-4o gpt-4o-mini gpt-4o-2024 pattern-1 pattern-2 pattern-3 good good good);
    is("@got", '200 200 429 200 200 200 200 200 429', 'a pattern with another name has one limit, one without has as many as there are names');
};

case 'max_tokens bounds what is reserved' => sub {
    # Two requests reserve 100 tokens and their prompt each, and not the 1000 that they ask for.
    my @held = map {
        my $c = $t->client;
        $c->request(POST => $chat, headers => [ $t->bearer('sk-limited'), 'X-Reply' => json({ hold => 'bounded' }) ], body => body('bounded', max_tokens => 1000));
        $c;
    } 1 .. 3;
    $t->wait_running(3);
    is(scalar(grep { $_->pump->{status} } @held), 0, 'three fit');
    my $r = ask(POST => $chat, body('good', max_tokens => 1000), key => 'sk-limited');
    is($r->{status}, 429, 'one of another model does not');
    $up{first}->go('bounded');
    is($_->response->{status}, 200, 'let in') for @held;
};

# --- the configuration

case 'nginx -t' => sub {
    my $conf = sub { return "%%HTTP_BEGIN%%\nllm_zone llm:4m;\nllm_api_keys %%DIR%%/keys.json;\nupstream up { server 127.0.0.1:1; }\n$_[0]\nserver { listen 127.0.0.1:%%PORT_0%%; }\n}\n" };
    for (
        [ 'llm_model;',                              qr/invalid number of arguments in "llm_model" directive/ ],
        [ 'llm_model "";',                           qr/the name "" in "llm_model" is empty/ ],
        [ 'llm_model a*b;',                          qr/the name "a\*b" in "llm_model" has a "\*" elsewhere than at its end/ ],
        [ 'llm_model $host;',                        qr/the name "\$host" in "llm_model" has a "\$": only "to=" takes variables/ ],
        [ 'llm_model "a$";',                         qr/the name "a\$" in "llm_model" has a "\$"/ ],
        [ 'llm_model a as=$host;',                   qr/invalid parameter "as=\$host" in "llm_model": its value has a "\$": only "to=" takes variables/ ],
        [ 'llm_model a prompt=$x;',                  qr/invalid parameter "prompt=\$x" in "llm_model": its value has a "\$"/ ],
        [ 'llm_model a as=;',                        qr/invalid parameter "as=" in "llm_model": its value is empty/ ],
        [ "llm_model a\xc2\x85;",                    qr/has control characters/ ],
        [ 'llm_model models/a;',                     qr/begins with "models\/"/ ],
        (map { [ "llm_model $_;", qr/the name "\Q@{[ (split)[0] ]}\E" in "llm_model" is a parameter: expected the name of a model before it/ ] }
            'to=up', 'to=up as=b', 'as=b', 'prompt=1', 'max_tokens=5'),
        (map { [ "llm_model $_ to=up;", qr/the name "\Q$_\E" in "llm_model" has a ",": expected one name, and an "llm_model" for each/ ] } 'a,b', 'a*,b*', 'a,'),
        (map { [ "llm_model $_ to=up;", qr/the name "\Q$_\E" in "llm_model" begins with "~": there are no patterns/ ] } '~^gpt', '~*gpt', '~gpt'),
        (map { [ "llm_model a to=$_;", qr/invalid parameter "to=\Q$_\E" in "llm_model": its value is none: expected the name of an "upstream" block/ ] }
            qw(http://up https://127.0.0.1:80 http://$host up/ up/v1 up?a=b up:x up:99999 a@up :80)),
        (map { my ($parameter) = /(\S+)\z/; [ "llm_model a $_;", qr/invalid parameter "\Q$parameter\E" in "llm_model": nginx would keep the quotes behind "="/ ] }
            'to=up as="big"', q(as='big'), 'to="up"', 'to="$host"', 'prompt="1"', 'as=""'),
        [ 'llm_model ' . 'x' x 129 . ';',            qr/is too long: expected at most 128 bytes/ ],
        [ 'llm_model a to;',                         qr/invalid parameter "to" in "llm_model": expected to=, as=/ ],
        [ 'llm_model a to=;',                        qr/invalid parameter "to=" in "llm_model"/ ],
        [ 'llm_model a as=x*;',                      qr/invalid parameter "as=x\*"/ ],
        [ 'llm_model a prompt=x;',                   qr/invalid parameter "prompt=x"/ ],
        [ 'llm_model a prompt=1001;',                qr/numbers from 0 to 1000 such as 0.25/ ],
        [ 'llm_model a max_tokens=0;',               qr/invalid parameter "max_tokens=0"/ ],
        [ 'llm_model a color=red;',                  qr/invalid parameter "color=red"/ ],
        [ 'llm_model a as=b as=c;',                  qr/invalid parameter "as=c" in "llm_model": expected .*each once/ ],
        [ 'llm_model a to=$nothing;',                qr/unknown "nothing" variable/ ],
        [ 'llm_model a; llm_model a to=up;',         qr/duplicate "llm_model a"/ ],
        [ 'llm_model a*; llm_model a*;',             qr/duplicate "llm_model a\*"/ ],
        [ 'llm_model a*; llm_model ab;',             qr/"llm_model ab" would never hold: "llm_model a\*" stands before it/ ],
        [ 'llm_model *; llm_model b*;',              qr/"llm_model b\*" would never hold: "llm_model \*" stands before it/ ],
    ) {
        my ($rows, $why) = @$_;
        my ($good, $said) = $t->check_conf($conf->($rows));
        ok(!$good, "$rows: refused");
        like($said, $why, "$rows: says why");
        like($said, qr/check\.conf:\d+/, "$rows: says where") if $rows !~ /nothing/; # nginx itself says so later
    }
    for (
        [ 'llm_model a to=up; llm_model b to=127.0.0.1:80; llm_model c to=$host; llm_model d* to=UP;', undef ],
        [ 'llm_model a; llm_model *;', undef ],
        [ 'llm_model a to=[::1]:80; llm_model b to=127.0.0.1; llm_model c "to=up"; llm_model d to=up "as=b c"; llm_model e "to=$host:80" as=~b,c;', undef ],
        [ 'llm_model a to=up; llm_model b;', qr/\[warn\].*"llm_model b" has no "to"/ ],
        [ 'llm_model a to=upp;', qr/\[warn\].*"to=upp" of "llm_model a" is neither an "upstream" block nor an address/ ],
        [ 'resolver 127.0.0.1; llm_model a to=host:80;', undef ],
        [ 'llm_api_keys off; llm_model a;', qr/"llm_api_keys" directive is duplicate|is duplicate/, 1 ],
        [ join(' ', map {"llm_model m$_ to=up;"} 1 .. 1000), undef ],
    ) {
        my ($rows, $warns, $bad) = @$_;
        my ($good, $said) = $t->check_conf($conf->($rows));
        my $what = substr $rows, 0, 100;
        is(!!$good, !$bad, "$what: accepted") or diag($said);
        $warns ? like($said, $warns, "$what: warns") : unlike($said, qr/\[warn\]/, "$what: does not warn");
    }
    my $server = sub { return "%%HTTP_BEGIN%%\nllm_zone llm:4m;\nllm_api_keys %%DIR%%/keys.json;\nserver { listen 127.0.0.1:%%PORT_0%%; $_[0] }\n}\n" };
    for (
        [ 'location / { llm_model a; llm_body off; }',                       qr/\[warn\].*"llm_model" stands where "llm_body off" is in force: each request for a model is refused.*check\.conf:/ ],
        [ 'location / { llm_body off; llm_model * as=a; }',                  qr/\[warn\].*"llm_model" stands where "llm_body off"/ ],
        [ 'location / { llm_body off; llm_model *; }',                       undef ],
        [ 'llm_model a; location / { llm_body off; }',                       undef ],
        [ 'location / { llm_body off; llm_model a; location /x { llm_body on; } }', undef ],
    ) {
        my ($text, $warns) = @$_;
        my ($good, $said) = $t->check_conf($server->($text));
        ok($good, "$text: accepted") or diag($said);
        $warns ? like($said, $warns, "$text: warns") : unlike($said, qr/\[warn\]/, "$text: does not warn");
    }
    my ($good, $said) = $t->check_conf("%%HTTP_BEGIN%%\nllm_zone llm:4m;\nllm_model a;\nserver { listen 127.0.0.1:%%PORT_0%%; }\n}\n");
    ok($good && $said =~ /\[warn\].*"llm_model" does nothing, since no "llm_api_keys" is in force/, 'without keys');
};

$t->finish;
