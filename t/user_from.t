# Why: a chat application has one key for all of its people. Without their names one of them uses up what is for all, and the log says
# "open-webui" for everything. The names come in a header that the application sets, so it may only count for keys that are trusted with it.

use strict;
use warnings;

use JSON::PP;

use LLM::Metrics;
use LLM::Test;

my @keys = (
    { name => 'webui', user => 'team', secret => 'sk-webui', user_from => 'X-OpenWebUI-User-Email' },
    { name => 'dify', secret => 'sk-dify', user_from => 'X-Dify-User' },
    { name => 'laptop', user => 'ann@example.com', secret => 'sk-ann' },
);
my $t = LLM::Test->gateway(
    keys   => \@keys,
    server => <<'EOF',
location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
location /one { llm_limit per=user concurrency=1; proxy_pass http://127.0.0.1:%%PORT_1%%; }
location /rate { llm_limit per=user requests=2r/h burst=1; client_body_buffer_size 1k; proxy_pass http://127.0.0.1:%%PORT_1%%; }
location /dropped { proxy_set_header X-OpenWebUI-User-Email ""; proxy_pass http://127.0.0.1:%%PORT_1%%; }
location = /metrics { llm_api_keys off; llm_metrics; }
location = /usage { llm_usage; }
location /jump { try_files /nothing /there?x; }
location /there { proxy_pass http://127.0.0.1:%%PORT_1%%; }
EOF
);
my $upstream = $t->daemon(1);
$t->start;

my $header = 'X-OpenWebUI-User-Email';

sub ask {
    my ($user, %o) = @_;

    my $key = $o{key} // 'sk-webui';
    my @headers = map { ($o{header} // $header, $_) } ref $user ? @$user : defined $user ? $user : ();
    my $before = $upstream->count;
    my $r = $t->fetch(POST => $o{uri} // '/v1/chat/completions', key => $key, headers => \@headers, body => $o{body} // chat_request(), reply => $o{reply});
    $r->{contacted} = $upstream->count - $before;
    return $r;
}

sub user_is {
    my ($name, $want, $user, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my $r = ask($user, %o);
        is($r->{status}, 200, 'status');
        is($t->log_line($r->{id})->{user}, $want, 'the user in the log');
        is($upstream->last_request->{headers}{ lc $header } // '', defined $user && !ref $user && !$o{header} && !$o{drops} ? $user : '', 'what the upstream gets of it');
    };
    return;
}

user_is('a user that the application names', 'ann@example.com', 'ann@example.com');
user_is('another one', 'ben@example.com', 'ben@example.com');
user_is('none: the key\'s own', 'team', undef);
user_is('an empty one: the key\'s own', 'team', '');
user_is('what follows the control characters', "a\xc2\xa0\xc3\x85", "a\xc2\xa0\xc3\x85");
user_is('80 bytes', 'x' x 80, 'x' x 80);
user_is('the header of another key', 'team', 'eve', header => 'X-Dify-User');
user_is('a key that may not say it', 'ann@example.com', 'boss@example.com', key => 'sk-ann');
user_is('a key without a user of its own', 'zoe', 'zoe', key => 'sk-dify', header => 'X-Dify-User');
user_is('which names nobody', '', undef, key => 'sk-dify');
user_is('a body that comes behind the header', 'ann@example.com', 'ann@example.com', body => chat_request(messages => [ { role => 'user', content => 'x' x 200_000 } ]));
user_is('by an internal redirect', 'ann@example.com', 'ann@example.com', uri => '/jump');
user_is('and not to the upstream, where that is so', 'ann@example.com', 'ann@example.com', uri => '/dropped', drops => 1);

for (
    [ 'twice',                 [ 'ann@example.com', 'ben@example.com' ], qr/stands more than once/ ],
    [ 'twice the same',        [ 'ann@example.com', 'ann@example.com' ], qr/stands more than once/ ],
    [ 'too long',              'x' x 81,                                 qr/more than 80 bytes/ ],
    [ 'a control character',   "ann\x01",                                qr/control characters/ ],
    [ 'one beyond ASCII',      "ann\xc2\x85",                            qr/control characters/ ],
    [ 'the last of these',     "\xc2\x9fann",                            qr/control characters/ ],
    [ 'no UTF-8',              "ann\xff",                                qr/no UTF-8/ ],
) {
    my ($name, $user, $why) = @$_;
    case "$name: refused" => sub {
        for my $body (chat_request(), chat_request(messages => [ { role => 'user', content => 'x' x 200_000 } ])) {
            my $r = ask($user, body => $body);
            is($r->{status}, 400, 'status');
            is($r->{contacted}, 0, 'the upstream is not contacted');
            like(JSON::PP->new->decode($r->{body})->{error}{message}, $why, 'why');
            my $log = $t->log_line($r->{id});
            is("$log->{refusal} $log->{key} $log->{user}", 'bad_request webui team', 'the log');
        }
        is(ask($user, key => 'sk-wrong')->{status}, 401, 'a wrong key is told first');
        is(ask($user, key => 'sk-ann')->{status}, 200, 'to others it is nothing');
    };
}

case 'a limit for each of them' => sub {
    my $c = $t->client;
    $c->request(POST => '/one', headers => [ $t->bearer('sk-webui'), $header, 'ann@example.com', 'X-Reply', json({ hold => 'ann' }) ], body => chat_request(), id => my $id = $t->new_id);
    wait_until('it to run', sub { my ($r) = @{ $t->zone->{running} // $t->zone->{leases} // [] }; $r && $r->{user} eq 'ann@example.com' });
    is(ask('ann@example.com', uri => '/one')->{status}, 429, 'one at a time');
    is(ask('ben@example.com', uri => '/one')->{status}, 200, 'others go on');
    is(ask(undef, uri => '/one')->{status}, 200, 'and whoever is not named');
    is(ask(undef, uri => '/one', key => 'sk-ann')->{status}, 429, 'she is the same by a key of her own');
    my $metrics = $t->fetch(GET => '/metrics')->{body};
    like($metrics, qr/llm_requests_in_flight\{[^}]*key="webui",user="ann\@example\.com"/, 'metrics know who it is');
    $upstream->go('ann');
    is($c->response->{status}, 200, 'it is served');
    $c->close;
    is(ask('ann@example.com', uri => '/one')->{status}, 200, 'then the next');
};

case 'a rate for each of them' => sub {
    my $large = chat_request(messages => [ { role => 'user', content => 'x' x 100_000 } ]);
    is(ask('kim', uri => '/rate', body => $_)->{status}, 200, 'two') for chat_request(), $large;
    my $r = ask('kim', uri => '/rate');
    is($r->{status}, 429, 'no third');
    like(JSON::PP->new->decode($r->{body})->{error}{message}, qr/this user/, 'whose limit it is');
    is($t->log_line($r->{id})->{user}, 'kim', 'the log of a refusal');
    is(ask('lee', uri => '/rate')->{status}, 200, 'another has their own');
};

case 'the book and what tells of it' => sub {
    my $all = parse_metrics($t->fetch(GET => '/metrics')->{body});
    my %requests;
    $requests{"$_->{labels}{key} $_->{labels}{user}"} += $_->{value} for series($all, 'llm_requests_total');
    is($requests{'webui lee'}, 1, 'requests of a user');
    is($requests{'webui kim'}, 3, 'with those refused');
    ok($requests{'webui team'} > 2, 'and of those that are not named');
    ok(exists $requests{'dify zoe'}, 'of another application');
    my ($ann) = grep { $_->{name} eq 'ann@example.com' } @{ $t->zone->{users} };
    ok($ann && $ann->{requests} > 5, 'the status knows users by both ways');
    is(scalar(grep { $_->{name} eq 'ann@example.com' } @{ $t->zone->{users} }), 1, 'as one');
};

case 'a change of the key file' => sub {
    $t->wait_keeper;
    $t->write_file('keys.json', key_file([ { %{ $keys[0] }, user_from => 'X-New' }, @keys[ 1, 2 ] ]));
    wait_until('the other header', sub { $t->log_line(ask('pat', header => 'X-New')->{id})->{user} eq 'pat' });
    user_is('the old one is nothing now', 'team', 'eve', drops => 0);
    $t->write_file('keys.json', key_file([ { map { $_ eq 'user_from' ? () : ($_ => $keys[0]{$_}) } keys %{ $keys[0] } }, @keys[ 1, 2 ] ]));
    wait_until('no header', sub { $t->log_line(ask('pat', header => 'X-New')->{id})->{user} eq 'team' });
    $t->reload;
    is($t->log_line(ask('pat', header => 'X-New')->{id})->{user}, 'team', 'after a reload');
};

# --- the key file

for my $wrong ('', 'X User', 'X_User', "X-\xc3\xa4", 'x' x 81, 7, JSON::PP::true, [ 'X-User' ]) {
    $t->write_file('wrong.json', key_file([ { name => 'a', secret => 's', user_from => $wrong } ]));
    my ($good, $said) = $t->check_conf("%%HTTP_BEGIN%%\nllm_zone llm:4m; llm_api_keys %%DIR%%/wrong.json;\n}\n");
    like($said, qr/wrong\.json:\d+:\d+: "user_from" of key "a": expected the name of a header/, 'user_from: ' . json($wrong));
}

for my $header (qw(Authorization authorization X-API-Key api-key x-goog-api-key Proxy-Authorization Cookie Connection KEEP-ALIVE Transfer-Encoding TE Trailer
    Upgrade Proxy-Connection Content-Length Content-Type content-encoding Content-Disposition Content-MD5 Host Via HTTP2-Settings Expect Sec-WebSocket-Protocol)) {
    $t->write_file('wrong.json', key_file([ { name => 'a', secret => 's', user_from => $header } ]));
    my ($good, $said) = $t->check_conf("%%HTTP_BEGIN%%\nllm_zone llm:4m; llm_api_keys %%DIR%%/wrong.json;\n}\n");
    like($said, qr/wrong\.json:\d+:\d+: "user_from" of key "a": "\Q$header\E" cannot name a user/, "user_from: $header");
}
for my $header (qw(X-Authorization-User Cookies X-Upgrade Sec-User X-Content-User Contents Host-User)) {
    $t->write_file('right.json', key_file([ { name => 'a', secret => 's', user_from => $header } ]));
    my ($good, $said) = $t->check_conf("%%HTTP_BEGIN%%\nllm_zone llm:4m; server { listen 127.0.0.1:%%PORT_0%%; llm_api_keys %%DIR%%/right.json; }\n}\n");
    ok($good, "user_from: $header is fine") or diag($said);
}

$t->finish;
