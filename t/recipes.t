# Why: people copy the files of conf-examples as they are. Each of them has to start on a Debian that has nothing but its own nginx.conf, and
# to do what it is there for. (Those that need TLS, and what client libraries see: t/clients/recipes.test.mjs.)

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use FindBin;
use IO::Select;

use LLM::Test;

my $examples = abs_path("$FindBin::Bin/../conf-examples");

# Debian's nginx.conf, with other paths.
my $debian = <<'EOF';
%%USER%%
worker_processes 1;
daemon off;
pid %%DIR%%/nginx.pid;
error_log %%DIR%%/error.log notice;
include %%DIR%%/modules-enabled/*.conf;
events {
    worker_connections 768;
}
http {
    client_body_temp_path %%DIR%%/temp/body;
    proxy_temp_path %%DIR%%/temp/proxy;
    fastcgi_temp_path %%DIR%%/temp/fastcgi;
    uwsgi_temp_path %%DIR%%/temp/uwsgi;
    scgi_temp_path %%DIR%%/temp/scgi;
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    default_type application/octet-stream;
    ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers on;
    access_log %%DIR%%/access.log;
    gzip on;
    include %%DIR%%/conf.d/*.conf;
    include %%DIR%%/sites-enabled/*;
}
EOF

# What the tests look at to see that nothing is left in flight.
my $watch = 'server { listen 127.0.0.1:%%PORT_9%%; location = /status { llm_api_keys off; llm_status; } }';

sub text_of {
    my ($path) = @_;

    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

# A text with others in place of some of it, all of which have to be there.
sub changed {
    my ($text, @changes) = @_;

    while (my ($from, $to) = splice @changes, 0, 2) {
        $text =~ s/\Q$from\E/$to/g or die "nothing is called $from\n";
    }
    return $text;
}

# Paths of the system as those of the test.
sub moved {
    my ($text) = @_;

    $text =~ s{/(?:etc|var/log)/nginx/}{%%DIR%%/}g;
    $text =~ s{/var/lib/nginx/llm/}{%%DIR%%/state/}g;
    return $text;
}

my $module = $ENV{LLM_MODULE} ? abs_path($ENV{LLM_MODULE}) : abs_path("$FindBin::Bin/..") . '/build/ngx_http_llm_module.so';

my $llmctl = -x dirname($module) . '/llmctl' ? dirname($module) . '/llmctl' : abs_path("$FindBin::Bin/..") . '/build/llmctl';

# Makes one more key as people do, by llmctl with the nginx that will run. Returns the key, and the line to try it that llmctl prints.
sub first_key {
    my ($t) = @_;

    my $dir = $t->dir;
    local $ENV{LLM_NGINX} = $t->write_file('nginx.sh', "#!/bin/sh\n"
            . ($ENV{LLM_PRELOAD} ? "export LD_PRELOAD='$ENV{LLM_PRELOAD}' ASAN_OPTIONS=detect_leaks=0\n" : '')
            . 'exec ' . ($ENV{LLM_NGINX} || '/usr/sbin/nginx')
            . " -p $dir/ -c $dir/nginx.conf -e $dir/check.log \"\$@\"\n");
    chmod 0755, $ENV{LLM_NGINX} or die;
    chomp(my $key = `$llmctl key add visitor --file $dir/llm/keys.json 2>$dir/llmctl.err`);
    my ($line) = $t->read_file('llmctl.err') =~ /^(curl .*)$/m;
    return ($key, $line);
}

my %first_key;

# Types the line that llmctl printed, and sees that it gets an answer. `answer` is run meanwhile.
sub try_key {
    my ($t, $name, $answer) = @_;

    my ($key, $line) = @{ $first_key{ $t->dir } };
    local $ENV{KEY} = $key;
    open my $curl, '-|', "$line -s -o /dev/null -w '%{http_code}'" or die "curl: $!\n";
    $answer->() if $answer;
    is(scalar(<$curl>), 200, $name // 'the line to try the first key') or diag($line);
    close $curl;
}

# The recipe in a Debian. Options: keys; changes => [from => to, ...] beyond the first port; files => { name => text }.
sub recipe {
    my ($name, %o) = @_;

    my $t = LLM::Test->new(status => [ 9, '/status' ], alerts => [ qr/setrlimit\(RLIMIT_NOFILE/ ]);    # where this is not root
    mkdir $t->dir . "/$_" for qw(conf.d modules-enabled sites-enabled llm state);
    chmod 0777, $t->dir . '/state';
    my %files = (
        'llm/keys.json'     => key_file($o{keys} // [ { name => 'alice', user => 'alice', secret => 'sk-alice' } ]),
        'llm_proxy.conf'    => text_of("$examples/llm_proxy.conf"),
        'modules-enabled/50-mod-http-llm.conf' => changed(text_of("$examples/debian/50-mod-http-llm.conf"),
            'modules/ngx_http_llm_module.so' => $module),
        'conf.d/llm.conf'   => changed(moved(text_of("$examples/recipes/$name.conf")), 'listen 8080;' => 'listen 127.0.0.1:%%PORT_0%%;',
            $o{changes} ? @{ $o{changes} } : ('server 127.0.0.1:8000;' => 'server 127.0.0.1:%%PORT_1%%;')),
        'conf.d/watch.conf' => $watch,
        %{ $o{files} // {} },
    );
    $t->write_file($_, $t->expand($files{$_})) for keys %files;
    $t->write_conf(changed($debian, '%%USER%%' => $> == 0 ? 'user nobody nogroup;' : ''));
    $first_key{ $t->dir } = [ first_key($t) ];
    return $t;
}

my $json = JSON::PP->new->utf8;

# The lines of the gateway's log, once there are so many.
sub lines_of {
    my ($t, $count, $log) = @_;

    return @{ wait_until("$count lines in the log", sub {
        my @lines = split /^/, $t->read_file($log // 'llm.log');
        @lines >= $count && $lines[-1] =~ /\n\z/ ? [ map { $json->decode($_) } @lines ] : undef;
    }) };
}

# The request of this client, at whichever server it came to. Where the gateway has answered instead, there is nothing to wait for.
sub asked {
    my ($client, @servers) = @_;

    my $server = wait_until('a request', sub {
        my $answered = IO::Select->new($client->socket)->can_read(0);
        my ($pending) = grep { $_->pending } @servers;
        die 'the gateway has answered: ', $client->response->{status}, "\n" if $answered && !$pending;
        return $pending;
    });
    return $server->take;
}

sub hosts_of { return grep { /\AHost:/i } split /\n/, $_[0]{head} }

my $chat = '/v1/chat/completions';

case 'retry' => sub {
    my $t = recipe('retry', changes => [
        'server 127.0.0.1:8000 max_fails=3' => 'server 127.0.0.1:%%PORT_1%% max_fails=0',
        'server 127.0.0.1:8001 max_fails=3' => 'server 127.0.0.1:%%PORT_2%% max_fails=0',
    ]);
    my @servers = ($t->upstream(1), $t->upstream(2));
    $t->start;

    my $ask = sub {
        my $client = $t->client;
        $client->request(POST => $chat, headers => [ $t->bearer('sk-alice'), 'Content-Type' => 'application/json' ],
            body => chat_request(stream => JSON::PP::true));
        return $client;
    };
    my %fails = (
        'breaks off'   => sub { $_[0]->close },
        '502'          => sub { $_[0]->reply('bad', status => 502) },
        'is loading'   => sub { $_[0]->reply('{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', status => 503) },
        'has no room'  => sub { $_[0]->reply('{"error":"Model is overloaded","error_type":"overloaded"}', status => 429) },
    );
    my $n = 0;
    for my $how (sort keys %fails) {
        my $client = $ask->();
        my $first  = asked($client, @servers);
        $fails{$how}->($first);
        my $second = asked($client, @servers);
        is($second->request->{body}, $first->request->{body}, "$how: the other server gets the same");
        $second->head(type => 'text/event-stream');
        $second->piece(plain_stream(7, 10));
        $second->finish;
        my $r = $client->response;
        is($r->{status}, 200, "$how: the client notices nothing");
        like($r->{body}, qr/\[DONE\]/, 'the whole stream');
        $client->close;
        my $line = (lines_of($t, ++$n))[-1];
        is("$line->{outcome} $line->{prompt_tokens} $line->{completion_tokens}", 'ok 7 10', 'counted once');
    }

    my $client = $ask->();
    my $first  = asked($client, @servers);
    $first->head(type => 'text/event-stream');
    $first->piece(chunk('hi'));
    $client->wait_body(1);
    $first->close;
    my $r = $client->response;
    unlike($r->{body}, qr/DONE/, 'an answer that has begun is not begun anew');
    $client->close;
    isnt((lines_of($t, ++$n))[-1]{outcome}, 'ok', 'and its end is not taken for a good one');
    ok(!(grep { $_->pending } @servers), 'nobody else was asked');
    is($t->totals('alice')->{requests}, $n, 'each request is one');
    try_key($t, 'the line to try the first key', sub {
        wait_until('a request', sub { (grep { $_->pending } @servers)[0] })->take->reply(chat_reply(7, 10));
    });
    $t->check_and_stop;
};

case 'upstream-key' => sub {
    my $t = recipe('upstream-key', files => { 'llm/upstream_key.conf' => qq(proxy_set_header Authorization "Bearer upstream-secret";\n) });
    my $model = $t->daemon(1);
    $t->start;
    is($t->fetch(POST => $chat, key => 'sk-alice', body => chat_request())->{status}, 200, 'a key of the gateway');
    my $seen = $model->last_request;
    is($seen->{headers}{authorization}, 'Bearer upstream-secret', 'the upstream gets its own');
    unlike($seen->{head}, qr/sk-alice/, 'and no other');
    is(scalar(my @all = $seen->{head} =~ /^authorization:/gmi), 1, 'once');
    is_deeply([ hosts_of($seen) ], ['Host: model_servers'], 'and one Host');
    is($t->fetch(POST => $chat, key => 'upstream-secret', body => chat_request())->{status}, 401, 'which is none of the gateway');
    is($model->count, 1, 'and does not get there');
    try_key($t);
    $t->check_and_stop;
};

case 'browser' => sub {
    my $t = recipe('browser');
    my $model = $t->daemon(1);
    $t->start;
    my $origin = 'https://chat.example.com';
    my @preflight = ('Access-Control-Request-Method' => 'POST', 'Access-Control-Request-Headers' => 'authorization,content-type,x-stainless-os');

    my $r = $t->fetch(OPTIONS => $chat, headers => [ Origin => $origin, @preflight ]);
    is($r->{status}, 204, 'a preflight needs no key');
    is($r->{headers}{'access-control-allow-origin'}, $origin, 'its page may ask');
    is($r->{headers}{'access-control-allow-headers'}, 'authorization,content-type,x-stainless-os', 'with its headers');
    like($r->{headers}{'access-control-allow-methods'}, qr/POST/, 'by POST');
    is($t->fetch(OPTIONS => '/v1/models', headers => [ Origin => $origin, @preflight ])->{status}, 204, 'for the list of models too');
    is($t->fetch(GET => '/preflight', key => 'sk-alice')->{status}, 404, 'nobody asks for where it is answered');
    is($model->count, 0, 'the model server is not asked');

    $r = $t->fetch(OPTIONS => $chat, headers => [ Origin => 'https://evil.example.net', @preflight ]);
    is($r->{headers}{'access-control-allow-origin'}, undef, 'another page may not');

    $r = $t->fetch(POST => $chat, key => 'sk-alice', headers => [ Origin => $origin ], body => chat_request(),
        reply => { body => chat_reply(7, 10), headers => [ 'Access-Control-Allow-Origin' => '*' ] });
    is($r->{status}, 200, 'a request with a key');
    is($r->{headers}{'access-control-allow-origin'}, $origin, 'the page may read it, and is told so once');
    like($r->{headers}{'access-control-expose-headers'}, qr/x-ratelimit-remaining-requests/, 'with the limits');

    $r = $t->fetch(POST => $chat, key => 'sk-wrong', headers => [ Origin => $origin ], body => chat_request());
    is($r->{status}, 401, 'a wrong key');
    is($r->{headers}{'access-control-allow-origin'}, $origin, 'the page may read the refusal');

    $r = $t->fetch(POST => $chat, key => 'sk-alice', headers => [ Origin => 'https://evil.example.net' ], body => chat_request());
    is($r->{headers}{'access-control-allow-origin'}, undef, 'no other page reads anything');
    is($r->{headers}{'access-control-expose-headers'}, undef, 'nor its header');
    try_key($t);
    $t->check_and_stop;
};

case 'ollama' => sub {
    my $t = recipe('ollama', changes => [ 'server 127.0.0.1:11434;' => 'server 127.0.0.1:%%PORT_1%%;' ]);
    my $model = $t->daemon(1);
    $t->start;
    my $line = '{"model":"m","message":{"role":"assistant","content":"hi"},"done":true,"prompt_eval_count":7,"eval_count":10}' . "\n";
    my $r = $t->fetch(POST => '/api/chat', key => 'sk-alice', body => chat_request(),
        reply => { type => 'application/x-ndjson', body => $line, framing => 'chunked' });
    is($r->{status}, 200, '/api/chat');
    is_deeply([ hosts_of($model->last_request) ], ['Host: localhost'], 'one Host, which Ollama takes');
    is((lines_of($t, 1))[0]{completion_tokens}, 10, 'is counted');
    for my $closed (qw(pull push create copy delete blobs/sha256:0)) {
        for my $method ('POST', 'DELETE') {
            my $n = $model->count;
            my $r = $t->fetch($method => "/api/$closed", key => 'sk-alice', body => '{"name":"m"}');
            is($r->{status}, 404, "$method /api/$closed is closed");
            is(ref \$json->decode($r->{body})->{error}, 'SCALAR', 'as Ollama says it');
            is($model->count, $n, 'and does not get there');
        }
    }
    is($t->fetch(POST => '/api/chat/../pull', key => 'sk-alice', body => '{}')->{status}, 404, 'however it is spelled');
    is($t->fetch(GET => '/api/tags')->{status}, 401, 'nothing without a key');
    try_key($t);
    $t->check_and_stop;
};

case 'anthropic' => sub {
    my $t = recipe('anthropic');
    my $model = $t->daemon(1);
    $t->start;
    my $r = $t->fetch(POST => '/v1/messages/count_tokens', headers => [ 'x-api-key' => 'sk-alice', 'Content-Type' => 'application/json' ],
        body => chat_request(), reply => { body => '{"input_tokens":7}' });
    is($r->{body}, '{"input_tokens":7}', 'tokens are counted by the server');
    ok(!(lines_of($t, 1))[0]{completion_tokens}, 'which is no completion');
    $r = $t->fetch(GET => '/v1/messages', key => 'sk-wrong');
    is($json->decode($r->{body})->{error}{type}, 'authentication_error', 'refusals are Anthropic\'s');
    is($json->decode($t->fetch(GET => '/v1/models', key => 'sk-wrong')->{body})->{type}, 'error', 'of the list of models too');
    try_key($t);
    is($model->last_request->{uri}, '/v1/messages', 'which asks in its API');
    $t->check_and_stop;
};

case 'websocket' => sub {
    my $t = recipe('websocket', keys => [ { name => 'alice', secret => 'sk-alice' } ]);
    my $model = $t->upstream(1);
    $t->start;
    my @upgrade = (Upgrade => 'websocket', Connection => 'Upgrade', 'Sec-WebSocket-Version' => 13, 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==');
    my $open = sub {
        my $client = $t->client;
        $client->write($client->format_request(GET => '/v1/realtime?model=m', headers => [ @upgrade, $t->bearer('sk-alice') ]));
        return $client;
    };
    is($t->fetch(GET => '/v1/realtime?model=m', headers => \@upgrade)->{status}, 401, 'nothing without a key');
    is($t->fetch(GET => '/v1/chat/completions', key => 'sk-alice', headers => \@upgrade)->{status}, 426, 'nor on another path');

    my @open = map {
        my $client = $open->();
        my $server = asked($client, $model);
        is($server->request->{headers}{upgrade}, 'websocket', 'the model server is asked');
        is($server->request->{headers}{connection}, 'upgrade', 'in its words');
        $server->write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfrom the server");
        wait_until('the switch', sub { $client->read_some; $client->{in} =~ /^HTTP\/1.1 101 .*\r\n\r\nfrom the server/s });
        $client->write('from the client');
        wait_until('what the client says', sub { $server->read_some; $server->{in} eq 'from the client' });
        [ $client, $server ];
    } 1, 2;
    my $r = $t->fetch(GET => '/v1/realtime?model=m', key => 'sk-alice', headers => \@upgrade);
    is($r->{status}, 429, 'each holds its place');
    for (@open) {
        my ($client, $server) = @$_;
        $client->close;
        $server->wait_close;
    }
    $t->wait_idle;
    try_key($t, 'the line to try the first key', sub { $model->take->reply(chat_reply(7, 10)) });
    $t->check_and_stop;
};

case 'beside-other-sites' => sub {
    my $t = recipe('beside-other-sites',
        changes => [ 'server 127.0.0.1:8000;' => 'server 127.0.0.1:%%PORT_1%%;', '/var/www/html' => '%%DIR%%/html' ],
        files   => {
            'html/index.html'     => "the site\n",
            'html/about.html'     => "about\n",
            'sites-enabled/other' => 'server { listen 127.0.0.1:%%PORT_2%%; root %%DIR%%/html; }',
        });
    my $model = $t->daemon(1);
    $t->start;
    is($t->fetch(GET => '/')->{body}, "the site\n", 'the site needs no key');
    is($t->fetch(GET => '/about.html')->{body}, "about\n", 'nor does a page of it');
    is($t->fetch(GET => '/nothing')->{status}, 404, 'its errors are its own');
    is($t->fetch(GET => '/index.html', port => 2)->{body}, "the site\n", 'nor does another site');
    for my $uri ('/ai/v1/chat/completions', '/ai/v1/usage') {
        my $r = $t->fetch(GET => $uri);
        is($r->{status}, 401, "$uri needs one");
    }
    my $r = $t->fetch(POST => '/ai/v1/chat/completions', key => 'sk-alice', body => chat_request());
    is($r->{status}, 200, 'and is let in with one');
    is($model->last_request->{uri}, '/v1/chat/completions', 'under the name that the server knows');
    is($json->decode($t->fetch(GET => '/ai/nothing', key => 'sk-alice')->{body})->{error}{type}, 'invalid_request_error', 'its errors too');
    my ($line) = grep { $_->{status} == 200 } lines_of($t, 3);
    is("$line->{uri} $line->{key}", '/ai/v1/chat/completions alice', 'its log is its own');
    try_key($t);
    is($model->last_request->{uri}, $chat, 'which knows the path, and not the site');
    $t->check_and_stop;
};

case 'from-limit-req' => sub {
    my @keys = qw(sk-alice-0123456789abcdef sk-bob-0123456789abcdef);
    my $t = recipe('from-limit-req', keys => [ map { { name => substr($_, 3, 3), secret => $_ } } @keys ], changes => [
        'server 127.0.0.1:8000;' => 'server 127.0.0.1:%%PORT_1%%;', 'listen 8081;' => 'listen 127.0.0.1:%%PORT_2%%;', 'rate=60r/m' => 'rate=1r/m',
        'requests=60r/m burst=20' => 'requests=1r/m burst=0',
    ]);
    my $model = $t->daemon(1);
    $t->start;
    for my $key (@keys) {
        is($t->fetch(POST => $chat, key => $key, body => chat_request(), port => $_)->{status}, 200, "$key on port $_") for 0, 2;
    }
    is($t->fetch(POST => $chat, key => 'sk-wrong', body => chat_request(), port => $_)->{status}, 401, "a wrong key on port $_") for 0, 2;
    is($t->fetch(POST => $chat, key => $keys[0], body => chat_request(), port => 2)->{status}, 200, 'the new limits refuse nothing');
    $t->wait_error_log('request would be refused, dry run: requests');
    try_key($t, 'the line to try the first key asks the new server');
    my @old = map { $t->fetch(POST => $chat, key => $keys[0], body => chat_request())->{status} } 1 .. 25;
    ok((grep { $_ == 503 } @old), 'the old ones do as ever');
    $t->check_and_stop;
};

case 'coding-agents' => sub {
    my $t = recipe('coding-agents', keys => [ { name => 'alice', secret => 'sk-alice' }, { name => 'spent', secret => 'sk-spent', quota => 1 } ]);
    my $model = $t->daemon(1);
    $t->start;
    for my $path ($chat, '/v1/responses', '/v1/messages', '/v1/messages/count_tokens') {
        is($t->fetch(POST => $path, key => 'sk-alice', body => chat_request(max_tokens => 32_000))->{status}, 200, $path);
        is($model->last_request->{uri}, $path, 'goes on');
    }
    is($t->fetch(POST => '/v1/files', key => 'sk-alice', body => '{}')->{status}, 404, 'other paths do not');
    is($t->fetch(POST => $chat, key => 'sk-spent', body => chat_request())->{status}, 200, 'a quota');
    for ([ $chat, 402 ], [ '/v1/responses', 429 ], [ '/v1/messages', 429 ]) {
        my ($path, $status) = @$_;
        my $r = $t->fetch(POST => $path, key => 'sk-spent', body => chat_request());
        is("$r->{status} $r->{headers}{'x-should-retry'}", "$status false", "once it is spent: $path");
    }
    # As many at once as an agent and what it starts, each with the room for an answer that it asks for.
    my @at_once = map { my $c = $t->client; $c->request(POST => $chat, headers => [ $t->bearer('sk-alice'), 'Content-Type' => 'application/json',
        'X-Reply' => json({ body => chat_reply(7, 10), hold => 'agents' }) ], body => chat_request(max_tokens => 32_000)); $c } 1 .. 8;
    wait_until('eight in flight', sub { $t->zone->{leases}{running} == 8 });
    is($t->fetch(POST => $chat, key => 'sk-alice', body => chat_request())->{status}, 429, 'a ninth is not');
    $model->go('agents');
    is($_->response->{status}, 200, 'let in') for @at_once;
    $_->close for @at_once;
    try_key($t);
    $t->check_and_stop;
};

case 'coding-agents, with shorter answers' => sub {
    my $t = recipe('coding-agents', changes => [ 'server 127.0.0.1:8000;' => 'server 127.0.0.1:%%PORT_1%%;', '# llm_request' => 'llm_request' ]);
    my $model = $t->daemon(1);
    $t->start;
    my $thinks = { type => 'enabled', budget_tokens => 31_999 };
    is($t->fetch(POST => '/v1/messages', key => 'sk-alice', body => chat_request(max_tokens => 32_000, thinking => $thinks))->{status}, 200, 'an agent that thinks');
    my $sent = $json->decode($model->last_request->{body});
    is("$sent->{max_tokens} $sent->{thinking}{type}", '16384 enabled', 'asks for less');
    cmp_ok($sent->{thinking}{budget_tokens}, '<', $sent->{max_tokens}, 'and leaves room for the answer');
    is($t->fetch(POST => '/v1/messages', key => 'sk-alice', body => chat_request(max_tokens => 9000))->{status}, 200, 'one that does not');
    ok(!exists $json->decode($model->last_request->{body})->{thinking}, 'is not made to');
    $t->check_and_stop;
};

# What a server has been asked for.
sub models_of { return join ' ', map { $json->decode($_->{body})->{model} } $_[0]->requests }

my @two_servers = map { ("127.0.0.1:800$_" => "127.0.0.1:%%PORT_@{[ $_ + 1 ]}%%") } 0, 1;

case 'several-models' => sub {
    my $t = recipe('several-models', changes => \@two_servers, keys => [
        { name => 'alice', secret => 'sk-alice' }, { name => 'search', secret => 'sk-search', models => ['bge-m3'] } ]);
    my ($chats, $embeddings) = map { $t->daemon($_) } 1, 2;
    $t->start;
    for ([ $chat, 'qwen3-32b' ], [ '/v1//responses', 'gpt-4o-mini' ], [ '/v1/embeddings', 'bge-m3' ]) {
        my ($uri, $model) = @$_;
        is($t->fetch(POST => $uri, key => 'sk-alice', body => chat_request(model => $model))->{status}, 200, $model);
    }
    is(models_of($chats), 'qwen3-32b qwen3-32b', 'one server has these, under its own name');
    is($chats->last_request->{uri}, '/v1/responses', 'the path is the one that was matched');
    is(models_of($embeddings), 'bge-m3', 'the other this');
    my ($line) = grep { $_->{model} eq 'gpt-4o-mini' } lines_of($t, 3);
    is($line->{upstream_model}, 'qwen3-32b', 'the log has both names');

    my $r = $t->fetch(POST => $chat, key => 'sk-alice', body => chat_request(model => 'gpt-5'));
    is("$r->{status} " . $json->decode($r->{body})->{error}{code}, '404 model_not_found', 'a model that nobody has');
    is($chats->count + $embeddings->count, 3, 'is asked of nobody');
    for ([ 'sk-alice', 'bge-m3 qwen3-32b' ], [ 'sk-search', 'bge-m3' ]) {
        my ($key, $models) = @$_;
        my $list = $json->decode($t->fetch(GET => '/v1/models', key => $key)->{body});
        is(join(' ', sort map { $_->{id} } @{ $list->{data} }), $models, "the list for $key");
    }
    is($t->fetch(POST => $chat, key => 'sk-search', body => chat_request(model => 'qwen3-32b'))->{status}, 404, 'and no more than that');
    try_key($t);
    is(models_of($chats) =~ s/.* //r, 'qwen3-32b', 'with a model that makes text');
    $t->check_and_stop;
};

case 'ab-by-key' => sub {
    my @names = ('alice', 'batch', map { "k$_" } 1 .. 20);
    my $t = recipe('ab-by-key', changes => \@two_servers, keys => [ map { { name => $_, secret => "sk-$_" } } @names ]);
    my %server = (old => $t->daemon(1), new => $t->daemon(2));
    $t->start;
    my %seen;
    for my $name (map { ($_, $_, $_) } @names) {
        is($t->fetch(POST => $chat, key => "sk-$name", body => chat_request(model => 'assistant', user => $name))->{status}, 200, $name);
    }
    for my $which (sort keys %server) {
        $seen{ $json->decode($_->{body})->{user} }{$which}++ for $server{$which}->requests;
    }
    is_deeply($seen{alice}, { new => 3 }, 'one by hand');
    is_deeply($seen{batch}, { old => 3 }, 'the other by hand');
    my @halves = map { join ' ', keys %{ $seen{$_} } } grep { /^k/ } @names;
    ok(!(grep { / / } @halves), 'a key always gets the same');
    is(join(' ', sort keys %{ { map { $_ => 1 } @halves } }), 'new old', 'and both halves have some');
    is($t->fetch(POST => $chat, key => 'sk-alice', body => chat_request(model => 'new'))->{status}, 404, 'nobody can choose');
    try_key($t);
    $t->check_and_stop;
};

case 'canary' => sub {
    # The lot decides by chance, so the test asks until both have been asked.
    my $t = recipe('canary', changes => [ @two_servers, '5% canary_server' => '50% canary_server' ]);
    my ($stable, $canary) = map { $t->daemon($_) } 1, 2;
    $t->start;
    is($t->fetch(POST => $chat, key => 'sk-alice', body => chat_request(model => 'canary'))->{status}, 200, 'who asks for it');
    is($canary->count, 1, 'gets it');
    is(models_of($canary), 'qwen3-32b', 'by the name that it knows');
    ok(wait_until('both of them', sub {
        $t->fetch(POST => $chat, key => 'sk-alice', body => chat_request(model => 'qwen3-32b'));
        $stable->count && $canary->count > 1;
    }), 'the others get a part of it');
    try_key($t);
    $t->check_and_stop;

    $t = recipe('canary', changes => \@two_servers);
    $stable = $t->daemon(1);
    $t->start;
    my $r = $t->fetch(POST => $chat, key => 'sk-alice', body => chat_request(model => 'canary'));
    is("$r->{status} " . $stable->count, '200 1', 'a canary that is down is not noticed');
    $t->check_and_stop;
};

case 'open-webui' => sub {
    my $t = recipe('open-webui', keys => [
        { name => 'open-webui', secret => 'sk-webui', user_from => 'X-OpenWebUI-User-Email', networks => ['127.0.0.1'] },
        { name => 'carol', user => 'carol', secret => 'sk-carol' },
    ]);
    my $model = $t->daemon(1);
    $t->start;
    my $as = sub { return ('X-OpenWebUI-User-Email' => "$_[0]\@example.com") };
    my @held = map {
        my $c = $t->client;
        $c->request(POST => $chat, headers => [ $t->bearer('sk-webui'), $as->('alice'), 'Content-Type' => 'application/json',
            'X-Reply' => json({ body => chat_reply(7, 10), hold => 'people' }) ], body => chat_request());
        $c;
    } 1 .. 3;
    wait_until('three in flight', sub { $t->zone->{leases}{running} == 3 });
    is($t->fetch(POST => $chat, key => 'sk-webui', headers => [ $as->('alice') ], body => chat_request())->{status}, 429, 'one person has enough');
    is($t->fetch(POST => $chat, key => 'sk-webui', headers => [ $as->('bob') ], body => chat_request())->{status}, 200, 'another does not notice');
    is($t->fetch(POST => $chat, key => 'sk-carol', headers => [ $as->('alice') ], body => chat_request())->{status}, 200, 'who has a key of their own');
    $model->go('people');
    $_->response, $_->close for @held;
    my %users;
    $users{ $_->{user} }++ for lines_of($t, 6);
    is_deeply(\%users, { 'alice@example.com' => 4, 'bob@example.com' => 1, carol => 1 }, 'is nobody else');
    try_key($t);
    $t->check_and_stop;
};

# The package's site, where Debian's nginx looks for those that are enabled.
case 'debian/llm' => sub {
    my $t = recipe('upstream-key', changes => ['server 127.0.0.1:8000;' => 'server 127.0.0.1:%%PORT_1%%;'], files => {
        'conf.d/llm.conf'   => '',
        'sites-enabled/llm' => changed(moved(text_of("$examples/debian/llm")), 'listen 8080;' => 'listen 127.0.0.1:%%PORT_0%%;',
            'server 127.0.0.1:8000;' => 'server 127.0.0.1:%%PORT_1%%;'),
        'sites-enabled/other' => 'server { listen 127.0.0.1:%%PORT_3%%; location / { return 200 "another site"; } }',
    });
    my $model = $t->daemon(1);
    $t->start;
    is($t->fetch(GET => '/health')->{status}, 200, 'it is healthy');
    is($t->fetch(POST => $chat, key => 'sk-alice', body => chat_request())->{status}, 200, 'a good key');
    is($t->fetch(POST => $chat, key => 'sk-wrong', body => chat_request())->{status}, 401, 'a wrong one');
    is($t->fetch(GET => '/v1/none', key => 'sk-alice')->{status}, 404, 'no path but those that are named');
    is($t->fetch(GET => $_)->{status}, 200, $_) for qw(/llm/status /metrics /llm/admin/keys);
    like($t->fetch(GET => '/', port => 3)->{body}, qr/another site/, 'other sites need no key');
    is((lines_of($t, 3))[0]{key}, 'alice', 'the log');
    wait_until('the state', sub { -s $t->dir . '/state/state.db' });
    $t->check_and_stop;
};

# As a user who is nobody, in a folder where nothing but what the container has may be written.
case 'container' => sub {
    my $t = LLM::Test->new(status => [ 9, '/status' ], $> == 0 ? (uid => 65_534) : ());
    mkdir $t->dir . "/$_" for qw(llm state tmp);
    chmod 0777, $t->dir, map { $t->dir . "/$_" } qw(state tmp);
    for (qw(error.log stderr.log)) {
        $t->write_file($_, '');
        chmod 0666, $t->dir . "/$_";
    }
    $t->write_file('llm/keys.json', key_file([ { name => 'alice', secret => 'sk-alice' } ]));
    $t->write_file('llm_proxy.conf', text_of("$examples/llm_proxy.conf"));
    $t->write_conf(changed(moved(text_of("$examples/container/nginx.conf")),
        'pid /tmp/nginx.pid;' => 'pid %%DIR%%/nginx.pid; daemon off;', 'worker_processes auto;' => 'worker_processes 1;',
        ' /tmp/' => ' %%DIR%%/tmp/', '/dev/stderr' => '%%DIR%%/error.log', '/dev/stdout' => '%%DIR%%/tmp/llm.log', 'http {' => "http { $watch",
        'listen 8080;' => 'listen 127.0.0.1:%%PORT_0%%;', 'listen 9145;' => 'listen 127.0.0.1:%%PORT_2%%;', 'server vllm:8000;' => 'server 127.0.0.1:%%PORT_1%%;',
        'modules/ngx_http_llm_module.so' => $module));
    my $model = $t->daemon(1);
    $t->start;
    my ($worker) = @{ $t->worker_pids->{active} };
    is((stat "/proc/$worker")[4], $> == 0 ? 65_534 : $>, 'nobody is root');
    is($t->fetch(GET => '/health')->{status}, 200, 'it is healthy');
    # Larger than what is held in memory, so that it goes through a file.
    is($t->fetch(POST => $chat, key => 'sk-alice', body => chat_request_of(200_000))->{status}, 200, 'a large request');
    is((lines_of($t, 1, 'tmp/llm.log'))[0]{key}, 'alice', 'is in the log');
    wait_until('the state', sub { -s $t->dir . '/state/state.db' });
    $t->check_and_stop;
};

case 'each recipe' => sub {
    my $page  = text_of("$examples/../docs/recipes.md");
    my $tests = join "\n", map { text_of("$FindBin::Bin/$_") } qw(recipes.t clients/recipes.test.mjs clients/recipes_own.test.mjs page/recipe.test.mjs);
    for my $name (map { m{([^/]+)\.conf\z} } glob "$examples/recipes/*.conf") {
        like($page, qr{\(\.\./conf-examples/recipes/\Q$name\E\.conf\)}, "$name is explained");
        like($tests, qr/recipe\('\Q$name\E'|name: '\Q$name\E'/, 'and tested');
    }
};

# Clients ask for the list of models, and for one of them by its name, which may have slashes (openai.models.retrieve). By other methods
# than GET, hosted accounts and some servers delete or load a model there. Each example is run here with one model server and without TLS.
my ($in_readme) = text_of("$examples/../README.md") =~ /^```nginx\n(load_module.*?)^```$/ms;
for my $file ('README.md', 'nginx.conf', 'debian/llm', 'container/nginx.conf', 'monitoring/gateway.conf', map { s{\Q$examples\E/}{}r } glob "$examples/recipes/*.conf") {
    my $text = $file eq 'README.md' ? $in_readme : text_of("$examples/$file");
    $text =~ s/^\s*#.*\n//gm;
    next if $text !~ /location [^{]*models/;
    case "one model by its name: $file" => sub {
        # Each `listen` has a port of its own; the one of the models' server is the first.
        my $port = 5;
        $text = join '', map {
            my $first = /location [^{]*models/;
            s/\blisten (?:\[::\]:)?\d+[^;]*;/'listen 127.0.0.1:%%PORT_' . ($first ? 0 : $port++) . '%%;'/ger
        } split /^(?=\s*server \{)/m, moved($text);
        $text =~ s/\bserver (?:[\w.]+:\d+|unix:[^ ;]+)([ ;])/server 127.0.0.1:%%PORT_1%%$1/g;
        $text =~ s{https://}{http://}g;
        $text =~ s/^\s*(?:ssl_\w+|load_module|user|pid|error_log|worker_\w+|include llm\/demo|\w+_temp_path)[ \/][^;]*;[^\n]*\n//gm;
        $text =~ s{ /dev/stdout}{ %%DIR%%/llm.log};
        $text =~ s{ requests=[^ ;]+( burst=\d+)?}{ requests=1000r/s burst=1000}g;    # it asks often
        my ($http) = $text =~ /^http \{\n(.*)^\}/ms;

        my $t = recipe('upstream-key', changes => [ 'server 127.0.0.1:8000;' => 'server 127.0.0.1:%%PORT_1%%;' ], files => {
            'conf.d/llm.conf' => $http // $text,
            'llm_log.conf'    => text_of("$examples/monitoring/llm_log.conf") =~ s{/var/log/nginx|/dev/stdout}{%%DIR%%}gr,
            map { ("llm/${_}_key.conf" => '') } qw(upstream openai hosted azure mistral),
        });
        my $model = $t->daemon(1);
        $t->start;
        my ($begin) = $text =~ m{location (?:~ \^|= )?(/[\w/]*v1/)[^ ]*models};
        my ($its_list) = $text =~ /\bllm_models;/;
        my @names = $its_list ? $text =~ /^\s*llm_model ([\w.-]+) /gm : qw(m org/name qwen3:8b ft:gpt-4o-mini:us:x:1 a-b_c.d@1);
        my $ask = sub { my ($method, $path) = @_; return $t->fetch($method => "$begin$path", key => 'sk-alice', reply => { body => '{"id":"it"}' }) };
        is($ask->(GET => 'models')->{status}, 200, 'the list');
        cmp_ok(scalar @names, '>', 0, 'names');
        for my $name (@names) {
            for my $path ("models/$name", 'models/' . $name =~ s{/}{%2F}gr) {
                my $r = $ask->(GET => $path);
                is($r->{status}, 200, "GET $path");
                is($its_list ? $json->decode($r->{body})->{id} : $model->last_request->{uri} =~ s{\A.*?/(?=models/)}{}r,
                    $its_list ? $name : "models/$name", 'is that one');
            }
        }
        my $count = $model->count;
        for my $path (qw(models/ models/a%20b models/a%3Fb models/a%0Ab models/a%25b)) {
            next if $its_list && $path eq 'models/';    # its own list
            cmp_ok($ask->(GET => $path)->{status}, '>=', 400, "not GET $path");
        }
        # Xinference launches a model by POST of the list, and cancels what runs by POST below a model's name.
        for my $path ('models', map { ("models/$names[0]", "models/$names[0]$_") } '/requests/r1/abort', ':load') {
            for my $method (qw(POST PUT PATCH DELETE)) {
                my $r = $ask->($method => $path);
                like($r->{status}, $its_list ? qr/\A40[45]\z/ : qr/\A403\z/, "not $method $path");
                ok(ref $json->decode($r->{body})->{error}, 'as the API says it');
            }
        }
        is($model->count, $count, 'and the model server is not asked');

        # What names another model than the body does, or who pays, does not get there.
        my @names_one = map { ($_ => 'big') } qw(x-ms-model-mesh-model-name azureml-model-deployment x-ms-oai-image-generation-deployment Seldon-Model),
            (map { "X-Amzn-SageMaker-$_" } qw(Adapter-Identifier Inference-Component Target-Variant Target-Model Target-Container-Hostname)),
            qw(OpenAI-Organization OpenAI-Project);
        my ($row) = $text =~ /^\s*llm_model ([\w.-]+) /m;
        my ($call) = $begin =~ m{\A(.*)v1/};
        is($t->fetch(POST => "${call}v1/" . ($text =~ m{chat/completions} ? 'chat/completions' : 'messages'), key => 'sk-alice', headers => \@names_one,
            body => chat_request($row ? (model => $row) : ()))->{status}, 200, 'a request that names models in its header');
        cmp_ok($model->count, '>', $count, 'gets there');
        unlike($model->last_request->{head}, qr/: big\r?$/m, 'without these');
        unlike($t->read_file('error.log'), qr/headers_hash/, 'and nginx has room for their names');
        $t->check_and_stop;
    };
}

# A file that logrotate moves, and nginx that opens a new one.
case 'logs' => sub {
    for my $file (glob("$examples/*.conf"), "$examples/debian/llm", glob "$examples/recipes/*.conf") {
        for (text_of($file) =~ /^[^#\n]*(?:access|error)_log +([^ ;]+)/gm) {
            like($_, qr{\A(?:off|/var/log/nginx/[^/]+\.log)\z}, "Debian's logrotate takes care of $_");
        }
    }
    my $t = recipe('anthropic');
    $t->daemon(1);
    $t->start;
    my $ask = sub { $t->fetch(POST => '/v1/messages', key => 'sk-alice', body => chat_request()) };
    $ask->();
    lines_of($t, 1);
    rename $t->dir . '/llm.log', $t->dir . '/llm.log.1' or die;
    kill USR1 => $t->master;
    wait_until('a new file', sub { -e $t->dir . '/llm.log' });
    $ask->();
    is(scalar(my @new = lines_of($t, 1)), 1, 'the next request is in the new file');
    $t->check_and_stop;
};

# A whole nginx.conf, by its text. `http` is what the test needs in it beside.
sub whole {
    my ($text, @changes) = @_;

    my $t = LLM::Test->new(status => [ 9, '/status' ], alerts => [ qr/setrlimit\(RLIMIT_NOFILE/ ]);
    mkdir $t->dir . "/$_" for qw(llm state);
    chmod 0777, $t->dir . '/state';
    $t->write_file('llm/keys.json', key_file([ map { { name => "k$_", secret => "sk-$_" } } 0 .. 40 ]));
    $t->write_file('llm_proxy.conf', text_of("$examples/llm_proxy.conf"));
    my $paths = join ' ', map { "${_}_temp_path %%DIR%%/temp/$_;" } qw(client_body proxy fastcgi uwsgi scgi);
    $t->write_conf(changed(moved($text), 'modules/ngx_http_llm_module.so' => $module, 'user www-data;' => $> == 0 ? 'user nobody nogroup;' : '',
        'pid /run/nginx.pid;' => 'pid %%DIR%%/nginx.pid; daemon off;', 'worker_processes auto;' => 'worker_processes 1;',
        'http {' => "http { $paths $watch", 'listen 8080;' => 'listen 127.0.0.1:%%PORT_0%%;',
        'server 127.0.0.1:8000;' => 'server 127.0.0.1:%%PORT_1%%;', @changes));
    return $t;
}

for (['README.md', $in_readme], ['nginx.conf', text_of("$examples/nginx.conf")]) {
    my ($name, $text) = @$_;
    case "$name as /etc/nginx/nginx.conf" => sub {
        my $t = whole($text);
        my $model = $t->daemon(1);
        $t->start;
        is($t->fetch(POST => $chat, body => chat_request())->{status}, 401, 'nothing without a key');
        my $r = $t->fetch(POST => $chat, key => 'sk-0', body => chat_request(stream => JSON::PP::true));
        like($r->{body}, qr/\[DONE\]/, 'a stream with one');
        is($t->fetch(POST => '/v1//chat/./completions?x=1', key => 'sk-0', body => chat_request())->{status}, 200, 'another spelling');
        is($model->last_request->{uri}, "$chat?x=1", 'is the path that was matched');
        like($t->fetch(GET => '/v1/nothing', key => 'sk-0')->{body}, qr/invalid_request_error/, 'other paths are closed');

        # As many as it says it takes.
        my ($all) = $text =~ /per=zone concurrency=(\d+)/;
        my $each = 8;
        my @clients = map { my $n = $_; map {
            my $c = $t->client;
            $c->request(POST => $chat, headers => [ $t->bearer("sk-$n"), 'Content-Type' => 'application/json',
                'X-Reply' => json({ body => chat_reply(7, 10), hold => 'all' }) ], body => chat_request());
            $c } 1 .. $each } 1 .. $all / $each;
        wait_until('all of them in flight', sub { $t->zone->{leases}{running} == $all });
        is($t->fetch(POST => $chat, key => 'sk-0', body => chat_request())->{status}, 429, 'one more');
        wait_until('all of them at the model server', sub { $model->count == $all + 2 });
        $model->go('all');
        is(scalar(grep { $_->response->{status} == 200 } @clients), $all, 'it holds what it lets in');
        $_->close for @clients;
        $t->check_and_stop;
    };
}

LLM::Test->finish;
