# Why: client libraries raise the right error only if it has the shape of the API that they called: the gateway's own refusals, and
# nginx's errors through error_page. What the upstream says is its own and passes unchanged.

use strict;
use warnings;

use LLM::Test;

my @keys = (
    { name => 'good',    secret => 'sk-good' },
    { name => 'locked',  secret => 'sk-locked', enabled => JSON::PP::false },
    { name => 'old',     secret => 'sk-old',    expires => '2020-01-01T00:00:00Z' },
    { name => 'far',     secret => 'sk-far',    networks => ['192.0.2.0/24'] },
    { name => 'models',  secret => 'sk-models', models => ['m1'] },
    { name => 'once',    secret => 'sk-once',   limits => { requests => '2r/m', burst => 0 } },
    { name => 'rarely',  secret => 'sk-rarely', limits => { requests => '1r/d' } },
    { name => 'single',  secret => 'sk-single', limits => { concurrency => 1 } },
    { name => 'tokens',  secret => 'sk-tokens', limits => { tokens => '1000/m' } },
    { name => 'slowly',  secret => 'sk-slowly', limits => { tokens => '1000/d' } },
    { name => 'spent',   secret => 'sk-spent',  limits => { quota => '10/total' } },
    { name => 'held',    secret => 'sk-held',   limits => { quota => '1000/total' } },
);

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json'  => key_file(\@keys),
        'other.json' => key_file([ { name => 'other', secret => 'sk-other' } ]),
        'html/file'  => 'x',
        'html/plain.txt' => "the operator's own page\n",
        'passwords'  => '',
    },
    conf => <<'EOC');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_zone other:1m;
    llm_api_keys %%DIR%%/keys.json zone=llm;
    add_header X-Id $request_id always;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        client_max_body_size 1000;
        error_page 401 403 404 405 413 494 500 502 503 504 @llm_error;
        location @llm_error { llm_error; }
        # nginx cannot go to a named location without a path, and answers 500.
        error_page 400 414 /llm_error;
        location = /llm_error { internal; llm_error; }

        location = /status { llm_api_keys off; llm_status; }
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /down/ { proxy_pass http://127.0.0.1:%%PORT_3%%/; }
        location /late/ { proxy_pass http://127.0.0.1:%%PORT_1%%/; proxy_read_timeout 100ms; }
        location /fails/ { llm_limit per=address failures=2r/m; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /fails-long/ {
            llm_api_keys %%DIR%%/other.json zone=other;
            llm_limit per=address failures=1r/d;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /moved/ { rewrite ^ /v1/chat/completions last; }
        location /by-name/ { llm_errors anthropic; proxy_pass http://127.0.0.1:%%PORT_3%%; }
        location /ollama/ { llm_errors ollama; proxy_pass http://127.0.0.1:%%PORT_3%%; }
        location /openai/ { llm_errors openai; proxy_pass http://127.0.0.1:%%PORT_3%%; }

        location /nginx/ {
            llm_api_keys off;
            location /nginx/401/ { auth_basic x; auth_basic_user_file %%DIR%%/passwords; }
            location /nginx/403/ { deny all; }
            location /nginx/404/ { return 404; }
            location /nginx/500/ { return 500; }
            location /nginx/502/ { return 502; }
            location /nginx/503/ { return 503; }
            location /nginx/504/ { return 504; }
            location /nginx/418/ { error_page 418 @llm_error; return 418; }
            location /nginx/507/ { error_page 507 @llm_error; return 507; }
            location /nginx/200/ { error_page 404 =200 @llm_error; return 404; }
            location /nginx/none/ { error_page 404 = @llm_error; return 404; }
            location /nginx/other/ { error_page 404 =503 @llm_error; return 404; }
        }
        location = /file { llm_api_keys off; }
        location /direct { llm_error; }
        location /uri/ { error_page 413 404 /direct; client_max_body_size 10; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /any/ { satisfy any; deny all; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /any-basic/ { satisfy any; auth_basic y; auth_basic_user_file %%DIR%%/passwords; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        llm_errors nginx;
        error_page 400 401 404 415 429 @llm_error;
        location @llm_error { llm_error; }
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /plain/ {
            error_page 401 429 /plain.txt;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location = /plain.txt { llm_api_keys off; internal; }
        location /closed/ {
            error_page 401 413 /file;
            client_max_body_size 1000;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location = /file { }
        location /bare/ { error_page 418 /none; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /any/ { satisfy any; deny all; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /any-basic/ { satisfy any; auth_basic y; auth_basic_user_file %%DIR%%/passwords; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
    server {
        listen 127.0.0.1:%%PORT_4%% http2;
        client_max_body_size 1000;
        error_page 404 413 502 @llm_error;
        location @llm_error { llm_error; }
        location / { proxy_pass http://127.0.0.1:%%PORT_3%%; }
    }
}
EOC

my $up = $t->upstream(1);
$t->start;

# Paths of each API.
my %path_of = (openai => '/v1/chat/completions', responses => '/v1/responses', anthropic => '/v1/messages', ollama => '/api/chat');
my @apis    = qw(openai responses anthropic ollama);

# The error of a response, after its shape was looked at: { type, code, message }.
sub error_of {
    my ($r, $api, $status) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($r->{status}, $status, "$api: status");
    is($r->{headers}{'content-type'}, 'application/json', "$api: type") if $r->{headers};
    like($r->{body}, qr/\A\{.*\}\n\z/, "$api: one line");
    my $json = eval { JSON::PP->new->decode($r->{body}) } // {};
    if ($api eq 'anthropic') {
        is(join(' ', sort keys %$json), 'error request_id type', 'anthropic: members');
        is($json->{type}, 'error', 'anthropic: an error');
        is(join(' ', sort keys %{ $json->{error} }), 'message type', 'anthropic: members of the error');
        like($json->{request_id}, qr/\A[0-9a-f]{32}\z/, 'anthropic: request_id');
        return $json->{error} if !$r->{headers};
        is($r->{headers}{'request-id'}, $json->{request_id}, 'anthropic: the same in a header');
        is($r->{headers}{'x-id'}, $json->{request_id}, 'anthropic: and in $request_id');
        return $json->{error};
    }
    ok(!exists $r->{headers}{'request-id'}, "$api: no request-id") if $r->{headers};
    is(join(' ', keys %$json), 'error', "$api: members");
    if ($api eq 'ollama') {
        ok(!ref $json->{error} && length $json->{error}, 'ollama: a text');
        return { message => $json->{error} };
    }
    is(join(' ', sort keys %{ $json->{error} }), 'code message param type', "$api: members of the error");
    return $json->{error};
}

# One error in each shape. `get` is called with each path; what it gives must have this status, OpenAI's type and code, and
# Anthropic's type. Returns the responses by API.
sub in_each_shape {
    my ($name, $status, $type, $code, $anthropic, $get, $message) = @_;

    my %r;
    case $name => sub {
        for my $api (@apis) {
            my $r = $r{$api} = $get->($path_of{$api});
            my $e = error_of($r, $api, $status);
            like($e->{message}, $message // qr/\w/, "$api: message");
            is($e->{type}, $anthropic, 'anthropic: type of the error') if $api eq 'anthropic';
            next if $api eq 'anthropic' || $api eq 'ollama';
            is($e->{type}, $type, "$api: type of the error");
            is($e->{code}, $code, "$api: code");
        }
    };
    return \%r;
}

sub asking {
    my ($key, %o) = @_;

    my $body = delete $o{body} // chat_request(%{ delete $o{ask} // {} });
    return sub { $t->fetch(POST => ($o{prefix} // '') . $_[0], key => $key, body => $body, headers => $o{headers}, port => $o{port}) };
}

# --- the gateway's own refusals

my %said;
$said{no_key} = in_each_shape('no key', 401, 'invalid_request_error', undef, 'authentication_error', sub { $t->fetch(GET => $_[0]) });
$said{invalid_key} = in_each_shape('a wrong key', 401, 'invalid_request_error', 'invalid_api_key', 'authentication_error',
    asking('sk-nobody'));
$said{$_} = in_each_shape("the key $_", 401, 'invalid_request_error', 'invalid_api_key', 'authentication_error', asking("sk-$_"))
    for qw(locked old far);
in_each_shape('another model', 404, 'invalid_request_error', 'model_not_found', 'not_found_error',
    asking('sk-models', ask => { model => 'a"b' }), qr/`a"b`/);
in_each_shape('no model', 404, 'invalid_request_error', 'model_not_found', 'not_found_error', asking('sk-models', body => '{}'));
in_each_shape('a doubtful body', 400, 'invalid_request_error', undef, 'invalid_request_error', asking('sk-good', body => '[]'));
in_each_shape('a compressed body', 415, 'invalid_request_error', undef, 'invalid_request_error',
    asking('sk-good', headers => [ 'Content-Encoding' => 'gzip' ]));

# Uses up what the key has, by a request that ends or one that stays.
sub in_flight {
    my ($key, %ask) = @_;

    my $c = $t->client;
    $c->request(POST => '/v1/chat/completions', headers => [ $t->bearer($key) ], body => chat_request(stream => \1, %ask));
    return [ $c, $up->take ];
}

sub finish {
    my ($c, $u) = @{ $_[0] };

    $u->reply('{}');
    $c->response;
    return;
}

for (['sk-once', 'tokens by then', 1], ['sk-rarely', '', 0]) {
    my ($key, undef, $short) = @$_;
    finish(in_flight($key));
    $said{$key} = in_each_shape("requests of $key", 429, $short ? ('requests', 'rate_limit_exceeded') : ('insufficient_quota') x 2,
        'rate_limit_error', asking($key));
}
my @held = map { in_flight("sk-$_", max_tokens => 5000) } qw(single tokens slowly held);
in_each_shape('requests in flight', 429, 'requests', 'rate_limit_exceeded', 'rate_limit_error', asking('sk-single'));
in_each_shape('tokens', 429, 'tokens', 'rate_limit_exceeded', 'rate_limit_error', asking('sk-tokens'));
in_each_shape('tokens for long', 429, 'insufficient_quota', 'insufficient_quota', 'rate_limit_error', asking('sk-slowly'));
in_each_shape('a quota that is reserved', 429, 'tokens', 'rate_limit_exceeded', 'rate_limit_error', asking('sk-held'));
finish($_) for @held;
{
    my $spent = in_flight('sk-spent');
    $spent->[1]->reply(chat_reply(7, 100));
    $spent->[0]->response;
}
in_each_shape('a spent quota', 429, 'insufficient_quota', 'insufficient_quota', 'rate_limit_error', asking('sk-spent'));
$t->fetch(GET => '/fails/x', key => 'sk-wrong') for 1, 2;
in_each_shape('wrong keys', 429, 'requests', 'rate_limit_exceeded', 'rate_limit_error', asking('sk-wrong', prefix => '/fails'));
$t->fetch(GET => '/fails-long/x', key => 'sk-wrong');
in_each_shape('wrong keys for long', 429, 'insufficient_quota', 'insufficient_quota', 'rate_limit_error',
    asking('sk-wrong', prefix => '/fails-long'));

case 'headers of refusals are the same in all shapes' => sub {
    for my $api (@apis) {
        is($said{no_key}{$api}{headers}{'www-authenticate'}, 'Bearer', "$api: WWW-Authenticate");
        is($said{$_}{$api}{headers}{'x-should-retry'}, 'false', "$api: $_: no client tries it again") for qw(no_key invalid_key locked old far);
        my ($once, $rarely) = map { $said{"sk-$_"}{$api}{headers} } qw(once rarely);
        like($once->{'retry-after'}, qr/\A(?:[1-9]|[1-5]\d|60)\z/, "$api: Retry-After is from 1 to 60");
        ok(!exists $once->{'x-should-retry'}, "$api: a short wait");
        # Anthropic's client would sleep for as long as it says.
        ok(!exists $rarely->{'retry-after'}, "$api: none for a long one");
        is($rarely->{'x-should-retry'}, 'false', "$api: but x-should-retry");
        my $limits = $api eq 'anthropic' ? 'anthropic-ratelimit-requests-limit' : 'x-ratelimit-limit-requests';
        ok(exists $once->{$limits}, "$api: $limits");
    }
};

case 'HEAD' => sub {
    for my $api (@apis) {
        my $get  = $t->fetch(GET  => $path_of{$api});
        my $head = $t->fetch(HEAD => $path_of{$api});
        is($head->{status}, 401, "$api: status");
        is($head->{body}, '', "$api: no body");
        is($head->{headers}{$_}, $get->{headers}{$_}, "$api: $_") for qw(content-type content-length);
    }
};

case 'the path that was asked for decides, not where it leads' => sub {
    error_of($t->fetch(GET => '/moved/v1/messages'), 'anthropic', 401);
    error_of($t->fetch(GET => '/moved/x'), 'openai', 401);
    error_of($t->fetch(GET => '/v1/messages/count_tokens?beta=true'), 'anthropic', 401);
};

case 'llm_errors goes over the path, also in the error page' => sub {
    for (['/by-name/x', 'anthropic'], ['/by-name/api/chat', 'anthropic'], ['/ollama/v1/messages', 'ollama'], ['/openai/v1/messages', 'openai']) {
        my ($uri, $api) = @$_;
        error_of($t->fetch(GET => $uri), $api, 401);
        error_of($t->fetch(GET => $uri, key => 'sk-good'), $api, 502);
    }
    # What decides about the body decides about the limits' headers.
    my $r = $t->fetch(GET => '/by-name/x', key => 'sk-once');
    ok(exists $r->{headers}{'anthropic-ratelimit-requests-limit'}, 'headers of limits too');
};

# --- nginx's errors

my $large = chat_request_of(2000);
$said{413} = in_each_shape('a body that is too large', 413, 'invalid_request_error', 'request_too_large', 'request_too_large',
    asking('sk-good', body => $large));
in_each_shape('413 needs no key', 413, 'invalid_request_error', 'request_too_large', 'request_too_large',
    asking('sk-nobody', body => $large));
in_each_shape('413 by way of a URI', 413, 'invalid_request_error', 'request_too_large', 'request_too_large',
    asking('sk-good', prefix => '/uri'));
$said{502} = in_each_shape('502: a closed port', 502, 'server_error', undef, 'api_error', asking('sk-good', prefix => '/down'));
$said{504} = in_each_shape('504: no answer in time', 504, 'server_error', undef, 'timeout_error', sub {
    my $c = $t->client;
    $c->request(POST => "/late$_[0]", headers => [ $t->bearer('sk-good') ], body => chat_request());
    my $u = $up->take;
    return $c->response;
});
for (
    [ 401, 'invalid_request_error', undef, 'authentication_error' ],
    [ 403, 'invalid_request_error', undef, 'permission_error' ],
    [ 404, 'invalid_request_error', undef, 'not_found_error' ],
    [ 418, 'invalid_request_error', undef, 'invalid_request_error' ],
    [ 500, 'server_error', undef, 'api_error' ],
    [ 503, 'server_error', undef, 'overloaded_error' ],
    [ 507, 'server_error', undef, 'api_error' ],
) {
    my ($status, @types) = @$_;
    $said{$status} = in_each_shape("nginx's $status", $status, @types, sub { $t->fetch(GET => "/nginx/$status$_[0]") });
}

case 'headers of errors' => sub {
    for my $api (@apis) {
        my %h = map { $_ => $said{$_}{$api}{headers} } qw(401 404 413 502 503 504);
        is($h{413}{'x-should-retry'}, 'false', "$api: 413 is not to be repeated");
        ok(!exists $h{413}{'retry-after'}, "$api: nor later");
        for (502, 503, 504) {
            ok(!exists $h{$_}{'retry-after'} && !exists $h{$_}{'retry-after-ms'}, "$api: $_ leaves it to the client when to try again");
            ok(!exists $h{$_}{'x-should-retry'}, "$api: and may be repeated");
        }
        ok(!exists $h{404}{'retry-after'}, "$api: 404 does not");
        is($h{401}{'x-should-retry'}, 'false', "$api: 401 is not to be repeated");
        is($h{401}{'www-authenticate'}, 'Basic realm="x"', "$api: another module's challenge stays as it is");
    }
};

case 'the method is not allowed' => sub {
    error_of($t->fetch(POST => '/file', body => '{}'), 'openai', 405);
};

case 'what nginx cannot read' => sub {
    error_of($t->fetch(GET => '/v1/messages', headers => [ 'X-Large' => 'x' x 40_000 ]), 'anthropic', 400);
    error_of($t->fetch(GET => '/v1/messages?' . 'x' x 40_000), 'openai', 414);
    for ("nonsense\r\n\r\n", "GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET /v1/models HTTP/1.1\r\n\r\n") {
        my $c = $t->client;
        $c->write($_);
        $c->expect_response('GET');
        error_of($c->response, 'openai', 400);
    }
};

case 'HEAD of errors' => sub {
    my $r = $t->fetch(HEAD => '/down/v1/messages', key => 'sk-good');
    is($r->{status}, 502, 'status');
    is($r->{body}, '', 'no body');
    ok($r->{headers}{'content-length'} > 20, 'but its length');
};

case 'the connection is good for another request' => sub {
    my $c = $t->client;
    for my $uri ('/nginx/404/x', '/down/x', '/v1/messages', '/direct') {
        $c->request(POST => $uri, headers => [ $t->bearer($uri eq '/v1/messages' ? 'sk-nobody' : 'sk-good') ], body => chat_request());
        like($c->response->{body}, qr/"error"/, $uri);
    }
    ok(!$c->{eof}, 'it is open');
};

case 'a direct request' => sub {
    for (['/direct', 'openai'], ['/llm_error', 'openai'], ['/direct/v1/messages', 'anthropic'], ['/direct/api/tags', 'ollama']) {
        my ($uri, $api) = @$_;
        error_of($t->fetch(GET => $uri), $api, 404);
        error_of($t->fetch(POST => $uri, body => chat_request(), key => 'sk-good'), $api, 404);
    }
};

case 'a status that is no error is a 404' => sub {
    error_of($t->fetch(GET => '/nginx/200/x'), 'openai', 404);
    error_of($t->fetch(GET => '/nginx/none/x'), 'openai', 404);
    error_of($t->fetch(GET => '/nginx/other/x'), 'openai', 503);
};

case "the upstream's errors pass unchanged" => sub {
    for (400, 401, 404, 413, 429, 500, 502, 503) {
        my $c = $t->client;
        $c->request(GET => '/v1/messages', headers => [ $t->bearer('sk-good') ]);
        my $u = $up->take;
        $u->reply("of the upstream", status => $_, type => 'text/plain', headers => [ 'Retry-After' => 17 ]);
        my $r = $c->response;
        is("$r->{status} $r->{body} $r->{headers}{'content-type'} $r->{headers}{'retry-after'}", "$_ of the upstream text/plain 17", "status $_");
    }
};

case 'a lease is settled and logged as ever' => sub {
    my $r = $t->fetch(POST => '/down/v1/messages', key => 'sk-good', body => chat_request());
    is($t->log_line($r->{id})->{outcome}, 'upstream_error', 'no upstream');
    $r = $t->fetch(POST => '/v1/messages', key => 'sk-good', body => $large);
    my $line = $t->log_line($r->{id});
    is("$line->{outcome} $line->{refusal}", 'refused bad_request', 'a body that is too large');
    $r = $t->fetch(GET => '/v1/messages');
    is($t->log_line($r->{id})->{refusal}, 'no_key', 'a refusal');
};

case 'a chunked body that gets too large' => sub {
    my $c = $t->client;
    $c->request(POST => '/v1/messages', headers => [ $t->bearer('sk-good'), 'Transfer-Encoding' => 'chunked' ]);
    $c->write(sprintf "%x\r\n%s\r\n0\r\n\r\n", length $large, $large);
    error_of($c->response, 'anthropic', 413);
};

case 'the same with an error page that needs a key' => sub {
    my $c = $t->client(2);
    $c->request(POST => '/closed/x', headers => [ $t->bearer('sk-good'), 'Transfer-Encoding' => 'chunked', Expect => '100-continue' ]);
    # The body is being read by then.
    $c->wait_continue;
    $c->write(sprintf "%x\r\n%s\r\n0\r\n\r\n", length $large, $large);
    is($c->response->{status}, 413, 'is answered');
};

case 'HTTP/2' => sub {
    my $c = $t->client_h2(4);
    for (['/v1/messages', 'anthropic'], ['/v1/models', 'openai'], ['/api/tags', 'ollama']) {
        my ($uri, $api) = @$_;
        error_of($c->response($c->request(GET => $uri)), $api, 401);
        error_of($c->response($c->request(GET => $uri, headers => [ $t->bearer('sk-good') ])), $api, 502);
        error_of($c->response($c->request(POST => $uri, headers => [ $t->bearer('sk-good') ], body => $large)), $api, 413);
    }
};

# --- llm_errors nginx

$said{through} = in_each_shape('llm_errors nginx, with llm_error: a wrong key', 401, 'invalid_request_error', 'invalid_api_key',
    'authentication_error', asking('sk-nobody', port => 2));
in_each_shape('llm_errors nginx, with llm_error: a model', 404, 'invalid_request_error', 'model_not_found', 'not_found_error',
    asking('sk-models', port => 2, ask => { model => 'x"y' }), qr/`x"y`/);
$said{429} = in_each_shape('llm_errors nginx, with llm_error: a limit', 429, 'insufficient_quota', 'insufficient_quota', 'rate_limit_error',
    asking('sk-spent', port => 2));
in_each_shape('llm_errors nginx, with llm_error: a body', 400, 'invalid_request_error', undef, 'invalid_request_error',
    asking('sk-good', port => 2, body => '{"model":1}'), qr/"model"/);

case 'llm_errors nginx: headers' => sub {
    for my $api (@apis) {
        is($said{through}{$api}{headers}{'www-authenticate'}, 'Bearer', "$api: WWW-Authenticate, once");
        is($said{through}{$api}{headers}{'x-should-retry'}, 'false', "$api: x-should-retry, once");
        is($said{429}{$api}{headers}{'x-should-retry'}, 'false', "$api: x-should-retry, once");
    }
    my $r = $t->fetch(GET => '/plain/x', port => 2);
    is("$r->{status} $r->{body}", "401 the operator's own page\n", "the operator's own page");
    is($r->{headers}{'content-type'}, 'text/plain', 'with its type');
    is($r->{headers}{'www-authenticate'}, 'Bearer', 'has WWW-Authenticate');
    is($t->log_line($r->{id})->{refusal}, 'no_key', 'log');

    $r = $t->fetch(GET => '/plain/x', port => 2, key => 'sk-once');
    is($r->{status}, 429, 'a limit');
    like($r->{headers}{'retry-after'}, qr/\A\d+\z/, 'has Retry-After');
    is($r->{headers}{'x-ratelimit-limit-requests'}, 1, 'and its headers');

    $r = $t->fetch(GET => '/bare/x', port => 2);
    is($r->{status}, 401, "without an error page it is nginx's");
    like($r->{body}, qr/<html>.*401/s, 'body');
    is($r->{headers}{'www-authenticate'}, 'Bearer', 'with WWW-Authenticate');
};

case 'llm_errors nginx: an error page that needs a key' => sub {
    my $r = $t->fetch(GET => '/closed/x', port => 2);
    is($r->{status}, 401, 'is refused too');
    is($r->{headers}{'www-authenticate'}, 'Bearer', 'each header once');
    is($r->{headers}{'x-should-retry'}, 'false', 'x-should-retry too');
};

for my $port (0, 2) {
    case "satisfy any, server $port" => sub {
        error_of($t->fetch(GET => '/any/x', port => $port), 'openai', 401);
        my $r = $t->fetch(GET => '/any/v1/messages', port => $port);
        error_of($r, 'anthropic', 401);
        is($r->{headers}{'www-authenticate'}, 'Bearer', 'with WWW-Authenticate');
        is($r->{headers}{'x-should-retry'}, 'false', 'and x-should-retry, once');
        $r = $t->fetch(GET => '/any-basic/x', port => $port);
        error_of($r, 'openai', 401);
        is($r->{headers}{'www-authenticate'}, 'Basic realm="y"', "with the other module's challenge");
        is($r->{headers}{'x-should-retry'}, 'false', 'and x-should-retry, once');
    };
}

$t->finish;
