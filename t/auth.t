# Why: a request without a good key must never reach the model server, by no spelling of a credential and by no detour of
# nginx's phases, and what it gets instead must be an error that SDKs understand.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP;

use LLM::Test;

my $soon = time + 4;

sub utc {
    my @now = gmtime shift;
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02dZ', $now[5] + 1900, $now[4] + 1, @now[ 3, 2, 1, 0 ];
}

my $t = LLM::Test->new(
    keys_in_query => 1,
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([
            { name => 'alice-laptop', user => 'alice', secret => 'sk-alice' },
            { name => 'rotated', user => 'bob', secret => [ 'sk-old', 'sk-new' ] },
            { key  => 'sk-plain', user => 'carol', quota => 10000, enabled => JSON::PP::true },
            { name => 'off', secret => 'sk-off', enabled => JSON::PP::false },
            { name => 'past', secret => 'sk-past', expires => '2020-01-01T00:00:00Z' },
            { name => 'soon', secret => 'sk-soon', expires => utc($soon) },
            { name => 'future', secret => 'sk-future', expires => '2099-12-31T23:59:59Z' },
            { name => 'elsewhere', secret => 'sk-elsewhere', networks => [ '10.0.0.0/8', '2001:db8::/32' ] },
            { name => 'here', secret => 'sk-here', networks => [ '10.0.0.0/8', '127.0.0.0/8' ] },
            { name => 'picky', secret => 'sk-picky', models => [ 'qwen3-*', 'm' ] },
            { name => 'both', secret => 'sk-both' },
        ]),
        'other.json' => key_file([ { name => 'both-other', secret => 'sk-both' }, { name => 'dora', secret => 'sk-dora' } ]),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:8m;
    llm_api_keys %%DIR%%/keys.json;
    upstream model { server 127.0.0.1:%%PORT_1%%; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://model; }
        location = /status { llm_api_keys off; llm_status; }
        location /open { llm_api_keys off; proxy_pass http://model; }
        location /open/inner { proxy_pass http://model; }
        location /other { llm_api_keys %%DIR%%/other.json; proxy_pass http://model; }

        location /any-denied { satisfy any; deny all; proxy_pass http://model; }
        location /any-allowed { satisfy any; allow 127.0.0.1; deny all; proxy_pass http://model; }
        location /all-denied { deny all; proxy_pass http://model; }

        location /jump-other { try_files /nothing /other/landing; }
        location /jump-open { try_files /nothing /open/landing; }
        location /from-open { llm_api_keys off; try_files /nothing /other/landing; }

        location /if { if ($arg_up) { proxy_pass http://model; } proxy_pass http://model; }
        location /limited { limit_except GET { allow all; } proxy_pass http://model; }
        location /nested { location /nested/deep { proxy_pass http://model; } }
        location ~ ^/regex/(.*)$ { proxy_pass http://model/$1; }
        location /rewritten { rewrite ^ /if last; }

        location /shaped { llm_errors nginx; error_page 401 403 @shaped; proxy_pass http://model; }
        location /page-shaped { llm_errors nginx; error_page 401 403 /page; proxy_pass http://model; }
        location /small { client_max_body_size 10; error_page 413 @shaped; proxy_pass http://model; }
        location @shaped { llm_error; }
        location /paged { error_page 401 /page; proxy_pass http://model; }
        location = /page { internal; llm_api_keys off; return 200 "own page\n"; }
        location /named { error_page 401 = @named; proxy_pass http://model; }
        location @named { proxy_pass http://model; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        llm_api_keys %%DIR%%/other.json;
        location / { proxy_pass http://model; }
        location /keys { llm_api_keys %%DIR%%/keys.json; proxy_pass http://model; }
    }
    server {
        listen 127.0.0.1:%%PORT_4%%;
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Forwarded-For;
        location / { proxy_pass http://model; }
    }
    server {
        listen 127.0.0.1:%%PORT_3%%;
        llm_api_keys off;
        location / { proxy_pass http://model; }
    }
}
EOF
my $upstream = $t->daemon(1);
$t->start;

my $path = '/v1/chat/completions';

# Sends a chat request with these headers; says whether the upstream was contacted.
sub ask {
    my ($headers, %o) = @_;

    my $before = $upstream->count;
    my $body   = exists $o{body} ? $o{body} : chat_request();
    my $r = $t->fetch($o{method} // 'POST', $o{uri} // $path, headers => $headers, body => $body, port => $o{port});
    $r->{contacted} = $upstream->count - $before;
    return $r;
}

sub let_in {
    my ($name, $key, $headers, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my $r = ask($headers, %o);
        is($r->{status},    200, 'status');
        is($r->{contacted}, 1,   'forwarded once');
        my $log = $t->log_line($r->{id});
        is($log->{key}, $key, 'the key that was used');
        is($log->{refusal}, '', 'no refusal');
    };
    return;
}

sub error_of {
    my ($body) = @_;

    my $decoded = eval { JSON::PP->new->decode($body) };
    return ref $decoded eq 'HASH' && ref $decoded->{error} eq 'HASH' ? $decoded->{error} : undef;
}

sub refused {
    my ($name, $want, $headers, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $code, $reason) = @$want;
    case $name => sub {
        my $r = ask($headers, %o);
        is($r->{status},    $status, 'status');
        is($r->{contacted}, 0,       'the upstream is not contacted');
        is($r->{headers}{'content-type'}, 'application/json', 'content type');
        is($r->{headers}{'x-should-retry'}, $status == 401 ? 'false' : undef, 'nobody tries a wrong key again');
        is($r->{headers}{'content-length'}, length $r->{body}, 'length') if ($o{method} // '') ne 'HEAD';
        my $challenge = $r->{headers}{'www-authenticate'};
        is($challenge, $reason eq 'no_key' ? 'Bearer' : undef, 'challenge') if $status == 401 && $reason eq 'no_key';
        if (($o{method} // '') ne 'HEAD') {
            my $error = error_of($r->{body});
            ok($error, 'an error object') or diag($r->{body});
            is_deeply([ sort keys %$error ], [qw(code message param type)], 'its members');
            is($error->{type},  'invalid_request_error', 'type');
            is($error->{code},  $code,                   'code');
            is($error->{param}, undef,                   'param');
            ok(length $error->{message}, 'a message');
        }
        my $log = $t->log_line($r->{id});
        is($log->{refusal}, $reason,   'why');
        is($log->{outcome}, 'refused', 'outcome');
    };
    return;
}

my $no_key  = [ 401, undef,             'no_key' ];
my $invalid = [ 401, 'invalid_api_key', 'invalid_key' ];

is_deeply($t->zone->{keys}, [], 'no key was used yet');

let_in('Authorization: Bearer', 'alice-laptop', [ Authorization => 'Bearer sk-alice' ]);
let_in("scheme $_", 'alice-laptop', [ Authorization => "$_ sk-alice" ]) for qw(bearer BEARER bEaReR);
let_in('Authorization without a scheme', 'alice-laptop', [ Authorization => 'sk-alice' ]);
let_in('x-api-key', 'alice-laptop', [ 'x-api-key' => 'sk-alice' ]);
let_in('X-API-Key', 'alice-laptop', [ 'X-API-Key' => 'sk-alice' ]);
let_in('api-key', 'alice-laptop', [ 'api-key' => 'sk-alice' ]);
let_in('x-goog-api-key', 'alice-laptop', [ 'x-goog-api-key' => 'sk-alice' ]);
let_in('api-key before x-goog-api-key', 'alice-laptop', [ 'x-goog-api-key' => 'sk-nobody', 'api-key' => 'sk-alice' ]);
let_in('Authorization before x-api-key', 'alice-laptop', [ 'x-api-key' => 'sk-nobody', Authorization => 'Bearer sk-alice' ]);
let_in('x-api-key before api-key', 'alice-laptop', [ 'api-key' => 'sk-nobody', 'x-api-key' => 'sk-alice' ]);
let_in('Basic is not ours: x-api-key counts', 'alice-laptop', [ Authorization => 'Basic YTpi', 'x-api-key' => 'sk-alice' ]);
let_in("two digests of one name: $_", 'rotated', [ Authorization => "Bearer $_" ]) for qw(sk-old sk-new);
let_in('a plain key, named by its user', 'carol', [ Authorization => 'Bearer sk-plain' ]);
let_in('not expired yet', 'future', [ Authorization => 'Bearer sk-future' ]);
let_in('from an allowed network', 'here', [ Authorization => 'Bearer sk-here' ]);
let_in('an allowed model', 'picky', [ Authorization => 'Bearer sk-picky' ], body => chat_request(model => 'qwen3-8b'));
let_in('GET without a body', 'alice-laptop', [ Authorization => 'Bearer sk-alice' ],
    method => 'GET', uri => '/v1/models', body => undef);

refused('no credential',         $no_key, []);
refused('only Basic',            $no_key, [ Authorization => 'Basic YTpi' ]);
refused('empty Authorization',   $no_key, [ Authorization => '' ]);
refused('Bearer without a key',  $no_key, [ Authorization => 'Bearer' ]);
refused('Bearer and a space',    $no_key, [ Authorization => 'Bearer ' ]);
refused('more than one word',    $no_key, [ Authorization => 'Bearer sk-alice sk-alice' ]);
refused('empty x-api-key',       $no_key, [ 'x-api-key' => '' ]);
refused('nobody\'s key',         $invalid, [ Authorization => 'Bearer sk-nobody' ]);
refused('x-goog-api-key not in place of a wrong one', $invalid, [ 'x-goog-api-key' => 'sk-alice', 'api-key' => 'sk-nobody' ]);
refused('a key in the query is not taken', $no_key, [], uri => '/v1/models?key=sk-alice');
refused('nobody\'s x-api-key',   $invalid, [ 'x-api-key' => 'sk-nobody' ]);
refused('a prefix of a key',     $invalid, [ Authorization => 'Bearer sk-alic' ]);
refused('a key and more',        $invalid, [ Authorization => 'Bearer sk-alice2' ]);
refused('a key in another case', $invalid, [ Authorization => 'Bearer SK-ALICE' ]);
refused('the digest itself',     $invalid, [ Authorization => 'Bearer ' . sha256_hex('sk-alice') ]);
refused('a very long key',       $invalid, [ Authorization => 'Bearer ' . 'k' x 5000 ]);
refused('bad Authorization, good x-api-key', $invalid, [ Authorization => 'Bearer sk-nobody', 'x-api-key' => 'sk-alice' ]);
refused('bad x-api-key, good api-key', $invalid, [ 'x-api-key' => 'sk-nobody', 'api-key' => 'sk-alice' ]);
refused('disabled', [ 401, 'invalid_api_key', 'disabled' ], [ Authorization => 'Bearer sk-off' ]);
refused('expired',  [ 401, 'invalid_api_key', 'expired' ],  [ Authorization => 'Bearer sk-past' ]);
refused('from another network', [ 401, 'invalid_api_key', 'network' ], [ Authorization => 'Bearer sk-elsewhere' ]);
refused('another model', [ 404, 'model_not_found', 'model' ], [ Authorization => 'Bearer sk-picky' ],
    body => chat_request(model => 'gpt-x'));
refused('no model, though the key has a list', [ 404, 'model_not_found', 'model' ], [ Authorization => 'Bearer sk-picky' ],
    body => '{"messages":[]}');
refused('GET', $no_key, [], method => 'GET', uri => '/v1/models', body => undef);
refused('HEAD', $no_key, [], method => 'HEAD', uri => '/v1/models', body => undef);
refused('an empty path', $no_key, [], method => 'GET', uri => '/', body => undef);

case 'two Authorization headers' => sub {
    my $r = ask([ Authorization => 'Bearer sk-nobody', Authorization => 'Bearer sk-alice' ]);
    like($r->{status}, qr/\A40[01]\z/, 'refused');
    is($r->{contacted}, 0, 'the upstream is not contacted');
};

case 'a key that expires while nginx runs' => sub {
    wait_until('the expiry', sub { time > $soon });
    my $r = ask([ Authorization => 'Bearer sk-soon' ]);
    is($r->{status}, 401, 'refused');
    is($t->log_line($r->{id})->{refusal}, 'expired', 'why');
};

case 'the key comes from the file of the location' => sub {
    my %status = (
        '/other sk-dora'  => [ 0, 200 ],
        '/other sk-alice' => [ 0, 401 ],
        '/x sk-dora'      => [ 0, 401 ],
        '/x sk-both'      => [ 0, 200 ],
        '/other sk-both'  => [ 0, 200 ],
        '/z sk-dora'      => [ 2, 200 ],
        '/z sk-alice'     => [ 2, 401 ],
        '/keys sk-alice'  => [ 2, 200 ],
        '/keys sk-dora'   => [ 2, 401 ],
        '/z sk-nobody'    => [ 3, 200 ],
    );
    for (sort keys %status) {
        my ($uri, $key) = split / /;
        my ($port, $status) = @{ $status{$_} };
        my $r = ask([ Authorization => "Bearer $key" ], uri => $uri, port => $port);
        is($r->{status}, $status, "server $port: $_");
        is($r->{contacted}, $status == 200 ? 1 : 0, "server $port: $_: upstream");
    }
};

case 'the key is needed in every kind of location' => sub {
    for my $uri (qw(/if /if?up=1 /limited /nested/deep /regex/a /rewritten //x /x/../y /OPEN /open/../x)) {
        my $r = ask([], uri => $uri);
        is($r->{status}, 401, "$uri without a key");
        is($r->{contacted}, 0, "$uri: upstream");
        is(ask([ Authorization => 'Bearer sk-alice' ], uri => $uri)->{status}, 200, "$uri with a key");
    }
    is(ask([], uri => '/limited', method => 'GET', body => undef)->{status}, 401, 'GET in limit_except');
};

case 'networks, behind another proxy' => sub {
    my %status = (
        '10.1.2.3'    => 200, '11.1.2.3'    => 401, '127.0.0.1'       => 401,
        '2001:db8::7' => 200, '2001:db9::7' => 401, '::ffff:10.9.9.9' => 200,
    );
    for (sort keys %status) {
        my $r = ask([ Authorization => 'Bearer sk-elsewhere', 'X-Forwarded-For' => $_ ], port => 4);
        is($r->{status}, $status{$_}, $_);
        is($r->{contacted}, $status{$_} == 200 ? 1 : 0, "$_: upstream");
    }
    is(ask([ Authorization => 'Bearer sk-elsewhere', 'X-Forwarded-For' => '10.1.2.3' ])->{status}, 401, 'a header that is not trusted');
};

case 'HTTP/1.0' => sub {
    my $c = $t->client;
    $c->write("GET /v1/models HTTP/1.0\r\n\r\n");
    is($c->response->{status}, 401, 'without a key');
    $c->close;
    $c = $t->client;
    $c->write("GET /v1/models HTTP/1.0\r\nAuthorization: Bearer sk-alice\r\n\r\n");
    is($c->response->{status}, 200, 'with a key');
    $c->close;
};

case 'llm_api_keys off' => sub {
    for my $uri ('/open', '/open/x') {
        my $r = ask([], uri => $uri);
        is($r->{status}, 200, "$uri needs no key");
        is($t->log_line($r->{id})->{key}, '', 'and has none');
    }
    is(ask([], uri => '/open/inner')->{status}, 401, 'a location beside it is not opened by it');
};

case 'refused before the body is read' => sub {
    my $before = $upstream->count;
    my $c      = $t->client;
    $c->request(POST => $path, headers => [ Authorization => 'Bearer sk-nobody', 'Content-Length' => 1_000_000 ], body => '{"model":"');
    is($c->wait_head, 401, 'status');
    ok(error_of($c->response->{body}), 'an error object');
    $c->close;

    $c = $t->client;
    $c->request(POST => $path, headers => [ 'Transfer-Encoding' => 'chunked' ], body => "5\r\n{\"mod");
    is($c->wait_head, 401, 'chunked: status');
    $c->close;

    $c = $t->client;
    $c->request(POST => $path, headers => [ 'Content-Length' => 100, Expect => '100-continue' ]);
    is($c->wait_head, 401, 'with Expect: status');
    ok(!$c->{continued}, 'the body is not asked for');
    $c->close;
    is($upstream->count, $before, 'the upstream is not contacted');
};

case 'Expect: 100-continue' => sub {
    my @way = ('Content-Length' => 100, Expect => '100-continue');
    my @tries = (
        (map { [ $_, [], 401 ], [ $_, [ $t->bearer('sk-nobody') ], 401 ] } $path, '/shaped/x', '/page-shaped/x', '/named', '/any-denied'),
        [ $path, [ $t->bearer('sk-past') ], 401 ], [ $path, [ $t->bearer('sk-elsewhere') ], 401 ],
        [ '/small/x', [ $t->bearer('sk-alice') ], 413 ],
    );
    for (@tries) {
        my ($uri, $headers, $status) = @$_;
        for my $framing ([ 'Content-Length' => 100 ], [ 'Transfer-Encoding' => 'chunked' ]) {
            next if $status == 413 && $framing->[1] eq 'chunked';
            my $c = $t->client;
            $c->request(POST => $uri, headers => [ @$headers, @$framing, Expect => '100-continue' ]);
            my $r = $c->response;
            is($r->{status}, $status, "$uri @$headers @$framing");
            ok(!$c->{continued}, 'the body is not asked for');
            # It may come or not: what follows could be the body or the next request.
            is($r->{headers}{connection}, 'close', 'the connection ends') if $r->{body} =~ /"error"/;
            $c->close;
        }
    }
    my $c = $t->client;
    $c->request(POST => $path, headers => [ $t->bearer('sk-alice'), 'Content-Length' => length chat_request(), Expect => '100-continue' ]);
    ok($c->wait_continue, 'with a good key it is asked for');
    $c->write(chat_request());
    is($c->response->{status}, 200, 'and the request is let in');
    $c->close;
};

case 'satisfy any' => sub {
    is(ask([ Authorization => 'Bearer sk-alice' ], uri => '/any-denied')->{status}, 200, 'a key opens what the address does not');
    my $r = ask([], uri => '/any-denied');
    is($r->{status}, 401, 'neither key nor address');
    is($r->{contacted}, 0, 'the upstream is not contacted');
    $r = ask([ Authorization => 'Bearer sk-nobody' ], uri => '/any-denied');
    is($r->{status}, 401, 'a bad key, no address');
    is($r->{contacted}, 0, 'the upstream is not contacted');
    $r = ask([], uri => '/any-allowed');
    is($r->{status}, 200, 'the address is enough');
    is($t->log_line($r->{id})->{refusal}, '', 'and then nothing was refused');
    is(ask([ Authorization => 'Bearer sk-alice' ], uri => '/any-allowed')->{status}, 200, 'both');
};

case 'a key does not open what is denied' => sub {
    my $r = ask([ Authorization => 'Bearer sk-alice' ], uri => '/all-denied');
    is($r->{status}, 403, 'status');
    is($r->{contacted}, 0, 'the upstream is not contacted');
    is(ask([], uri => '/all-denied')->{contacted}, 0, 'nor without a key');
};

case 'an internal redirect into a location with another key file' => sub {
    my $r = ask([ Authorization => 'Bearer sk-alice' ], uri => '/jump-other');
    is($r->{status}, 401, 'good for the first only');
    is($r->{contacted}, 0, 'the upstream is not contacted');
    $r = ask([ Authorization => 'Bearer sk-dora' ], uri => '/jump-other');
    is($r->{status}, 401, 'good for the second only');
    is($r->{contacted}, 0, 'the upstream is not contacted');
    $r = ask([ Authorization => 'Bearer sk-both' ], uri => '/jump-other');
    is($r->{status}, 200, 'good for both');
    $r = ask([ Authorization => 'Bearer sk-alice' ], uri => '/jump-open');
    is($r->{status}, 200, 'into an open location');
    $r = ask([], uri => '/jump-open');
    is($r->{status}, 401, 'the first location is not skipped');
    $r = ask([], uri => '/from-open');
    is($r->{status}, 401, 'from an open location, without a key');
    is($r->{contacted}, 0, 'the upstream is not contacted');
    $r = ask([ Authorization => 'Bearer sk-dora' ], uri => '/from-open');
    is($r->{status}, 200, 'from an open location, with a key');
};

case 'error_page' => sub {
    my $r = ask([], uri => '/paged');
    is($r->{status}, 401, 'a page keeps the status');
    is($r->{contacted}, 0, 'the upstream is not contacted');
    ok(error_of($r->{body}) || $r->{body} eq "own page\n", 'one body, whole') or diag($r->{body});

    for my $key (undef, 'sk-nobody') {
        $r = ask([ $key ? (Authorization => "Bearer $key") : () ], uri => '/named');
        is($r->{status}, 401, 'a named location that would proxy: status');
        is($r->{contacted}, 0, 'and the upstream is not contacted');
    }
};

case 'a refused request leaves a usable connection' => sub {
    my $c = $t->client;
    $c->request(POST => $path, body => chat_request());
    is($c->response->{status}, 401, 'refused, its body thrown away');
    $c->request(POST => $path, headers => [ $t->bearer('sk-alice') ], body => chat_request());
    my $r = $c->response;
    is($r->{status}, 200, 'then let in on the same connection');
    is($r->{body}, chat_reply(7, 10), 'with its own reply');
    $c->request(HEAD => '/v1/models');
    is($c->response->{status}, 401, 'HEAD');
    $c->request(GET => '/v1/models', headers => [ $t->bearer('sk-alice') ]);
    is($c->response->{status}, 200, 'and after it');
    $c->close;
};

case 'refusals are not counted as requests' => sub {
    my $zone = $t->wait_idle;
    is_deeply([ grep { /\A(?:off|past)\z/ } map { $_->{name} } @{ $zone->{keys} } ], [],
        'a key that was always refused has no record');
    is($t->totals('alice', 'users')->{requests}, $t->totals('alice-laptop')->{requests}, 'user and key agree');
};

$t->finish;
