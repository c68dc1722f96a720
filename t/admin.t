# Why: what an operator says of a key holds at once, whatever its file says, and nobody else can say it. A call that hits another key
# than the one that is named, or that a stranger's web page can make, would be worse than none.

use strict;
use warnings;
use utf8;

use FindBin;
use JSON::PP;

use LLM::Streams;
use LLM::Test;

my $json = JSON::PP->new->utf8;
my $odd  = "a/b ä%2F\"<\\";
my $deep = "x//../y/block";

sub keys_json {
    return $json->encode({
        plans => { pro => { quota => '100/total', requests => '3r/h', burst => 2 } },
        keys  => [
            { name => 'alice', user => 'ann', key => 'sk-alice', plan => 'pro', expires => '2031-02-03T04:05:06Z' },
            { name => 'bob', key => 'sk-bob' },
            { name => 'off', key => 'sk-off', enabled => JSON::PP::false },
            { name => 'ops', key => 'sk-ops', admin => JSON::PP::true },
            { name => $odd, key => 'sk-odd' },
            { name => $deep, key => 'sk-deep' },
            { name => 'block', key => 'sk-block' },
            @_,
        ] });
}

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    alerts => [ qr/exited on signal 9/ ],
    files  => {
        'keys.json'  => keys_json({ name => 'gone', key => 'sk-gone' }),
        'other.json' => $json->encode({ keys => [ { name => 'alice', key => 'sk-other' } ] }),
        htpasswd     => "joe:{PLAIN}secret\n",
    },
    conf => <<'CONF');
%%HTTP_BEGIN%%
    llm_zone llm:2m;
    llm_zone other:1m;
    llm_usage_inject off;
    llm_api_keys %%DIR%%/keys.json zone=llm;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /v1/ { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /slow/ { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /other/ { llm_api_keys %%DIR%%/other.json zone=other; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
        location /admin/ { llm_api_keys off; llm_admin zone=llm; }
        location /admin2 { llm_api_keys off; llm_admin zone=other; }
        location /keyed/ { llm_admin zone=llm; }
        location /basic/ { llm_api_keys off; auth_basic here; auth_basic_user_file %%DIR%%/htpasswd; llm_admin zone=llm; }
        location /denied/ { llm_api_keys off; deny all; llm_admin zone=llm; }
        location /either/ { satisfy any; allow 127.0.0.2; deny all; llm_admin zone=llm; }
        location /here/ { satisfy any; allow 127.0.0.1; deny all; llm_admin zone=llm; }
        location /reads/ { llm_api_keys off; llm_admin zone=llm; limit_except GET { deny all; } }
        location /acts/ { llm_api_keys off; llm_admin zone=llm; limit_except GET { allow 127.0.0.1; deny all; } }
        location /moved/ { rewrite ^/moved/(.*)$ /admin/$1 last; }
        location /led { error_page 418 = /keyed/keys; return 418; }
        location /accel { proxy_pass http://127.0.0.1:%%PORT_1%%; error_page 404 = /admin/requests; }
        location /ask { llm_api_keys off; auth_request /admin/keys; root %%DIR%%; }
    }
    server {
        listen 127.0.0.1:%%PORT_3%% http2;
        location /admin/ { llm_api_keys off; llm_admin zone=llm; }
    }
}
CONF
$t->daemon(1);
my $up = $t->upstream(2);
$t->start;

sub call {
    my ($method, $uri, %o) = @_;

    my $r = $t->fetch($method, $uri =~ m{\A/} ? $uri : "/admin/$uri", %o);
    $r->{json} = eval { $json->decode($r->{body}) };
    return $r;
}

sub ask { my ($key, $uri) = @_; return $t->fetch(POST => $uri // '/v1/chat/completions', key => $key, body => chat_request()) }

sub escaped { my ($name) = @_; utf8::encode($name); return $name =~ s/([^A-Za-z0-9])/sprintf '%%%02x', ord $1/ger }

sub fails {
    my ($name, $status, $code, $method, $uri, %o) = @_;

    my $r = call($method, $uri, %o);
    is($r->{status}, $status, "$name: status");
    is($r->{json}{error}{code}, $code, "$name: code");
    like($r->{json}{error}{message} // '', qr/\S/, "$name: says why");
    return $r;
}

case 'keys' => sub {
    is(ask('sk-alice')->{status}, 200, 'a request');
    $t->wait_idle;
    my $r = call(GET => 'keys');
    is($r->{status}, 200, 'status');
    is($r->{headers}{'content-type'}, 'application/json', 'content type');
    is($r->{headers}{'cache-control'}, 'no-store', 'of the moment');
    is($r->{json}{matched}, 8, 'all of the zone');
    is($r->{json}{keys}[0]{name}, 'alice', 'those with most tokens first');
    is_deeply([ map { $_->{name} } @{ call(GET => 'keys?sort=name&limit=2&offset=1')->{json}{keys} } ], [ 'alice', 'block' ], 'sorted and cut');
    is_deeply([ map { $_->{name} } @{ call(GET => 'keys?filter=ANN')->{json}{keys} } ], ['alice'], 'filtered');

    my $alice = call(GET => 'keys/alice')->{json};
    is_deeply([ @$alice{qw(name user plan expires requests total_tokens in_flight refused)} ],
        [ 'alice', 'ann', 'pro', '2031-02-03T04:05:06Z', 1, 17, 0, 0 ], 'one key');
    is_deeply([ map { $_ ? 1 : 0 } @$alice{qw(enabled admin blocked)} ], [ 1, 0, 0 ], 'its flags');
    is($alice->{blocked_since}, undef, 'not blocked');
    is_deeply({ map { $_->{limit} => $_->{remaining} } @{ $alice->{limits} } }, { quota => 83, requests => 2 }, 'what is left');
    ok(call(GET => 'keys/ops')->{json}{admin}, 'a key of an operator');
    is(call(HEAD => 'keys/alice')->{body}, '', 'HEAD');
    is(call(GET => '/admin2/keys/alice')->{json}{requests}, 0, 'the other zone has one of its own');
};

case 'names' => sub {
    for my $name ($odd, $deep, 'block') {
        my $path = 'keys/' . escaped($name);
        is(call(GET => $path)->{json}{name}, $name, "found: $name");
        my $r = call(POST => "$path/block");
        is($r->{json}{name}, $name, 'is the one that is blocked');
        is_deeply([ map { $_->{name} } grep { $_->{blocked} } @{ call(GET => 'keys')->{json}{keys} } ], [$name], 'and no other');
        ok(!call(POST => "$path/unblock")->{json}{blocked}, 'unblocked');
    }
    is(call(POST => '/moved/keys/bob/block')->{json}{name}, 'bob', 'behind a rewrite');
    is(call(POST => '//admin/./keys/bob/unblock')->{json}{name}, 'bob', 'by an odd path');
};

case 'blocks' => sub {
    is(ask('sk-bob')->{status}, 200, 'is let in');
    my $r = call(POST => 'keys/bob/block');
    is($r->{status}, 200, 'status');
    ok($r->{json}{blocked}, 'blocked');
    like($r->{json}{blocked_since}, qr/\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\z/, 'since');
    $r = ask('sk-bob');
    is($r->{status}, 401, 'refused');
    is($json->decode($r->{body})->{error}{code}, 'invalid_api_key', 'as a key that is no good');
    is($r->{headers}{'x-should-retry'}, 'false', 'once and for all');
    is($t->log_line($r->{id})->{refusal}, 'blocked', 'the log says why');
    my $c = $t->client;
    $c->request(POST => '/v1/chat/completions', headers => [ $t->bearer('sk-bob'), 'Content-Length' => 1000, Expect => '100-continue' ]);
    is($c->response->{status}, 401, 'before its body is read');
    $c->close;

    is(call(POST => 'keys/bob/block')->{status}, 200, 'blocked again');
    $t->reload;
    is(ask('sk-bob')->{status}, 401, 'a reload changes nothing');
    my ($in_status) = grep { $_->{name} eq 'bob' } @{ $t->zone('llm')->{keys} };
    ok($in_status->{blocked}, 'llm_status shows it');
    ok(call(GET => '/status?view=keys&filter=bob')->{json}{zones}[0]{keys}[0]{blocked}, 'and its list of keys');
    is(call(GET => 'keys/bob')->{json}{refusals}{blocked}, 3, 'refusals are counted');
    is(ask('sk-alice')->{status}, 200, 'nobody else is');

    ok(!call(POST => 'keys/bob/unblock')->{json}{blocked}, 'unblocked');
    is(ask('sk-bob')->{status}, 200, 'is let in again');
};

case 'a key that was never used, and one that is gone' => sub {
    ok(call(POST => 'keys/gone/block')->{json}{blocked}, 'blocked');
    is(ask('sk-gone')->{status}, 401, 'refused');
    $t->write_file('keys.json', keys_json());
    $t->reload;
    my $gone = call(GET => 'keys/gone')->{json};
    ok($gone->{blocked} && defined $gone->{in_file} && !$gone->{in_file}, 'still blocked, in no file');
    $t->write_file('keys.json', keys_json({ name => 'gone', key => 'sk-gone-2' }));
    $t->reload;
    is(ask('sk-gone-2')->{status}, 401, 'also when it comes back with another secret');
    call(POST => 'keys/gone/unblock');
    is(ask('sk-gone-2')->{status}, 200, 'until it is unblocked');
};

case 'a killed worker takes no block along' => sub {
    call(POST => 'keys/bob/block');
    kill KILL => $t->wait_workers->[0];
    $t->wait_workers;
    is(ask('sk-bob')->{status}, 401, 'still blocked');
    call(POST => 'keys/bob/unblock');
};

case 'reset' => sub {
    ask('sk-alice') for 1 .. 5;
    $t->wait_idle;
    is(ask('sk-alice')->{status}, 429, 'its rate is used up');
    my $left = sub { return { map { $_->{limit} => $_->{remaining} } @{ $_[0]{limits} } } };
    my $before = call(GET => 'keys/alice')->{json};
    my $r = call(POST => 'keys/alice/reset?what=rates')->{json};
    is_deeply($left->($r), { requests => 3, quota => $left->($before)->{quota} }, 'the rates');
    is($left->(call(POST => 'keys/alice/reset?what=quota')->{json})->{quota}, 100, 'the quota');
    is(ask('sk-alice')->{status}, 200, 'is let in');
    $t->wait_idle;
    is_deeply($left->(call(POST => 'keys/alice/reset')->{json}), { requests => 3, quota => 100 }, 'both');
    is(call(GET => 'keys/alice')->{json}{requests}, $before->{requests} + 1, 'totals stay');
    fails('what there is not', 400, 'bad_argument', POST => 'keys/alice/reset?what=all');
};

case 'requests' => sub {
    my $streams = LLM::Streams->open($t, $up, count => 2, uri => '/slow/', key_of => sub { 'sk-odd' });
    $streams->start_replies;
    my $list = call(GET => 'requests')->{json}{requests};
    is(scalar @$list, 2, 'those in flight');
    is($list->[0]{key}, $odd, 'whose');
    my $r = call(DELETE => "requests/$list->[0]{serial}");
    is($r->{status}, 202, 'one is asked to end');
    is($r->{json}{serial}, $list->[0]{serial}, 'that one');
    fails('no number', 400, 'bad_serial', DELETE => 'requests/abc');
    fails('nobody', 404, 'no_such_request', DELETE => 'requests/18446744073709551615');
    $streams->finish(sub { 10 });
    $t->wait_idle;
    fails('one that has ended', 404, 'no_such_request', DELETE => "requests/$list->[0]{serial}");
};

case 'the key files' => sub {
    is(fails('GET', 405, 'method_not_allowed', GET => 'reload-keys')->{headers}{allow}, 'POST', 'what is');
    my $c = $t->client;
    $c->request(POST => '/admin/reload-keys');
    if (!-e "$FindBin::Bin/../src/ngx/keeper/key_watch.cpp") {
        # Nobody reads them yet: a client that leaves is forgotten.
        $t->wait_error_log(qr/llm_admin: asked to read the key files by nobody known/);
        $c->close;
        return;
    }
    is($c->response->{status}, 200, 'read');
    $t->write_file('keys.json', keys_json({ name => 'late', key => 'sk-late' }));
    my $r = call(POST => 'reload-keys');
    is($r->{json}{keys}, 8, 'how many there are');
    is(ask('sk-late')->{status}, 200, 'in force with the answer');
    $t->write_file('keys.json', "{\n  \"keys\": [ nonsense");
    $r = fails('a fault', 409, 'key_file_fault', POST => 'reload-keys');
    like($r->{json}{error}{message}, qr{/keys\.json:2:\d+: }, 'with its place');
    is(ask('sk-late')->{status}, 200, 'the old keys stay');
    $t->write_file('keys.json', keys_json());
    is(call(POST => 'reload-keys')->{status}, 200, 'mended');
    is(ask('sk-late')->{status}, 401, 'one that is gone');
};

case 'what is wrong' => sub {
    fails('no such key',  404, 'no_such_key',  GET => 'keys/nobody');
    fails('to block it',  404, 'no_such_key',  POST => 'keys/nobody/block');
    fails('a long name',  404, 'no_such_key',  POST => 'keys/' . ('x' x 3000) . '/block');
    fails('no name',      404, 'no_such_key',  POST => 'keys//block');
    fails('no such path', 404, 'no_such_path', GET => $_) for '', 'key', 'keys/bob/kill', 'keys/bob/block/x', 'requests/1/2';
    fails('no such path', 404, 'no_such_path', GET => '/admin2x/keys');
    is(fails('GET',    405, 'method_not_allowed', GET => 'keys/bob/block')->{headers}{allow}, 'POST', 'what is');
    is(fails('DELETE', 405, 'method_not_allowed', DELETE => 'keys')->{headers}{allow}, 'GET, HEAD', 'what is');
    is(fails('POST',   405, 'method_not_allowed', POST => 'requests/1')->{headers}{allow}, 'DELETE', 'what is');
    ok(!call(GET => 'keys/bob')->{json}{blocked}, 'nothing was done');
    is(call(POST => 'keys/bob/unblock', body => 'x' x 100_000)->{status}, 200, 'a body is thrown away');
};

case 'who may' => sub {
    my $admin = sub { call($_[0], "/keyed/$_[1]", key => $_[2])->{status} };
    is($admin->(GET => 'keys', 'sk-ops'), 200, 'a key of an operator');
    is($admin->(GET => 'keys', 'sk-bob'), 403, 'not another');
    is($admin->(POST => 'keys/bob/block', 'sk-bob'), 403, 'nor to act');
    is($admin->(GET => 'keys', 'sk-wrong'), 401, 'nor a wrong one');
    is(call(GET => '/keyed/keys')->{status}, 401, 'nor none');
    my $r = call(GET => '/keyed/keys', key => 'sk-bob');
    is($r->{json}{error}{type}, 'invalid_request_error', 'told in the shape of the API');
    is($t->log_line($r->{id})->{refusal}, 'not_admin', 'and in the log');
    is(call(GET => '/keyed/keys/ops', key => 'sk-ops')->{json}{requests}, 0, 'asking costs nothing');
    is(call(POST => 'keys/ops/block')->{status}, 200, 'a blocked key of an operator');
    is($admin->(POST => 'keys/ops/unblock', 'sk-ops'), 401, 'does not unblock itself');
    call(POST => 'keys/ops/unblock');

    is(call(GET => '/denied/keys')->{status}, 403, 'by address');
    is(call(GET => '/basic/keys')->{status}, 401, 'by password: none');
    is(call(GET => '/basic/keys', headers => [ Authorization => 'Basic am9lOnNlY3JldA==' ])->{status}, 200, 'by password');
    is(call(GET => '/either/keys', key => 'sk-ops')->{status}, 200, 'satisfy any: by the key');
    is(call(GET => '/either/keys', key => 'sk-bob')->{status}, 403, 'by neither');
    is(call(GET => '/here/keys', key => 'sk-bob')->{status}, 200, 'by the address, whatever the key');
    is(call(GET => '/here/keys')->{status}, 200, 'and without one');
    is(call(GET => '/reads/keys')->{status}, 200, 'limit_except: reading');
    is(call(POST => '/reads/keys/bob/block')->{status}, 403, 'no acts');
    is(call(POST => '/acts/keys/bob/unblock')->{status}, 200, 'acts for whom that lets in');

    is(call(GET => '/led', key => 'sk-bob')->{status}, 403, 'an error page leads nobody in');
    is(call(GET => '/led', key => 'sk-ops')->{status}, 200, 'but whose key is good');
    is(call(GET => '/ask')->{status}, 403, 'no subrequest');
    ok(!call(GET => 'keys/bob')->{json}{blocked}, 'nothing was done');
};

case 'pages of other sites' => sub {
    my $sent = sub { my ($method, $uri, @headers) = @_; return call($method, $uri, headers => \@headers)->{status} };
    my $path = 'keys/bob/unblock';
    is($sent->(POST => $path), 200, 'a program sends no Origin');
    is($sent->(POST => $path, Origin => 'http://localhost'), 200, 'our own page');
    is($sent->(POST => $path, Origin => 'https://LOCALHOST', 'Sec-Fetch-Site' => 'same-origin'), 200, 'behind TLS of another');
    fails('another site', 403, 'cross_site', POST => $path, headers => [ Origin => 'http://evil.example' ]);
    for ([ Origin => 'null' ], [ Origin => 'http://localhost.evil.example' ], [ Origin => 'http://localhost:81' ], [ Origin => 'localhost' ],
        [ 'Sec-Fetch-Site' => 'cross-site' ], [ 'Sec-Fetch-Site' => 'same-site' ],
        [ Origin => 'http://localhost', Origin => 'http://evil.example' ]) {
        is($sent->(POST => $path, @$_), 403, "refused: @$_");
    }
    is($sent->(DELETE => 'requests/77', 'Sec-Fetch-Site' => 'cross-site'), 403, 'DELETE');
    is($sent->(GET => 'keys', 'Sec-Fetch-Site' => 'cross-site'), 200, 'what is read stays with the browser');
};

case 'HTTP/2' => sub {
    my $c = $t->client_h2(3);
    my $n = $c->request(POST => '/admin/keys/' . escaped($odd) . '/block');
    my $r = $c->response($n);
    is($r->{status}, 200, 'status');
    is($json->decode($r->{body})->{name}, $odd, 'the key');
    $r = $c->response($c->request(POST => '/admin/keys/' . escaped($odd) . '/unblock', body => 'x'));
    ok(!$json->decode($r->{body})->{blocked}, 'with a body');
    is($c->response($c->request(POST => '/admin/keys/bob/block', headers => [ origin => 'http://evil.example' ]))->{status}, 403, 'another site');
    $c->close;
};

case 'the log' => sub {
    call(POST => '/keyed/keys/bob/block', key => 'sk-ops');
    call(POST => '/basic/keys/bob/unblock', headers => [ Authorization => 'Basic am9lOnNlY3JldA==' ]);
    call(POST => 'keys/bob/unblock', headers => [ Authorization => 'Basic YQoiG2I6cGFzc3dvcmQ=' ]);
    call(POST => '/here/keys/bob/reset?what=quota', key => 'sk-bob');
    my $log = $t->read_file('error.log');
    like($log, qr/\[notice\] .*llm_admin: blocked key "bob" by key "ops"; 0 in flight, client: 127\.0\.0\.1,/, 'by key');
    like($log, qr/\[notice\] .*llm_admin: unblocked key "bob" by user "joe", client: 127\.0\.0\.1,/, 'by user');
    like($log, qr/llm_admin: unblocked key "bob" by user "a\\u000a\\"\\u001bb",/, 'a name that is none is made harmless');
    like($log, qr/llm_admin: reset the quotas of key "bob" by nobody known, client/, 'a key that is no operator\'s has not done it');
    like($log, qr/llm_admin: blocked key "a\/b \xc3\xa4%2F\\"<\\\\" by nobody known/, 'odd names');
    unlike($log, qr/sk-ops|sk-bob|secret/, 'no secrets');
};

case 'configuration' => sub {
    my $with = sub { return $t->check_conf("%%HTTP_BEGIN%%\n$_[0]\n}\n") };
    my $bad = sub {
        my ($pattern, $conf) = @_;
        my ($good, $said) = $with->($conf);
        ok(!$good, "refused: $pattern");
        like($said, $pattern, 'and why');
    };
    my $in = sub { "server { listen 127.0.0.1:%%PORT_0%%; $_[0] }" };
    my ($good, $said) = $with->('llm_zone a:1m; ' . $in->('location /x { llm_admin; }'));
    ok($good, 'the only zone') or diag($said);
    $bad->(qr/"llm_admin" needs an "llm_zone" in .*check\.conf:\d+/, $in->('location /x { llm_admin; }'));
    $bad->(qr/"llm_admin" needs "zone="/, 'llm_zone a:1m; llm_zone b:1m; ' . $in->('location /x { llm_admin; }'));
    $bad->(qr/"llm_admin" names a zone "c"/, 'llm_zone a:1m; ' . $in->('location /x { llm_admin zone=c; }'));
    $bad->(qr/invalid parameter "z" in "llm_admin": expected zone=name/, 'llm_zone a:1m; ' . $in->('location /x { llm_admin z; }'));
    $bad->(qr/"llm_admin" directive needs a location of a prefix/, 'llm_zone a:1m; ' . $in->("location $_ { llm_admin; }")) for '= /x', '~ /x', '@x';
    $bad->(qr/"llm_admin" directive is duplicate/, 'llm_zone a:1m; ' . $in->('location /x { llm_admin; llm_admin; }'));
};

$t->finish;
