# Why: what a key may use is said in three places, and a client that is refused must be able to tell from the reply what to do:
# wait a moment, or give up. A limit that is not the one that was written, or a refusal that an SDK retries for ever, is worse
# than none.

use strict;
use warnings;

use JSON::PP;

use LLM::Crowd;
use LLM::Test;

# Where nothing else is said, a request has 400 bytes, which are taken for 100 tokens, and asks for 900. No limit gets
# anything back by time while the test runs (a unit takes an hour), except where a short wait is asked about.

# Limits that so many requests at once fit in, as a directive and in a key file, for each field.
my %directive = (
    requests    => sub { 'requests=1r/h burst=' . ($_[0] - 1) },
    concurrency => sub { "concurrency=$_[0]" },
    tokens      => sub { 'tokens=1/h token_burst=' . ($_[0] * 1000 + 400) },
    quota       => sub { 'quota=' . ($_[0] * 1000 - 300) . '/total' },
);
my %field = (
    requests    => sub { (requests => '1r/h', burst => $_[0] - 1) },
    concurrency => sub { (concurrency => $_[0]) },
    tokens      => sub { (tokens => '1/h', token_burst => $_[0] * 1000 + 400) },
    quota       => sub { (quota => $_[0] * 1000 - 300 . '/total') },
);
my @kinds = qw(requests concurrency tokens quota);

my (@keys, %plans, %made);

# The secret of a key of this name, which is made where it is first asked for.
sub key {
    my ($name, %more) = @_;

    push @keys, { name => $name, secret => "sk-$name", %more } if !$made{$name}++;
    return "sk-$name";
}

for my $kind (@kinds) {
    $plans{"five-$kind"} = { $field{$kind}->(5) };
    key("plain-$kind");
    key("plan-$kind",  plan => "five-$kind");
    key("both-$kind",  plan => "five-$kind", limits => { $field{$kind}->(3) });
    key("own-$kind",   limits => { $field{$kind}->(3) });
    key("more-$kind",  limits => { $field{$kind}->(9) });
    key("alone-$kind", plan => "five-$kind");
}
$plans{mixed} = { requests => '1r/h', burst => 4 };
key('mixed', plan => 'mixed', limits => { concurrency => 3 });
key('no-burst', limits => { requests => '3r/h' });
key('no-burst-either', limits => { requests => '3r/h' });
key('one-at-once', limits => { requests => '3r/h', burst => 0 });
key('only-burst', limits => { burst => 2 });
key('only-token-burst', limits => { token_burst => 2400 });
key('old-form', quota => 1500);
key($_) for map { "k$_" } 1 .. 60;
key("ann-$_", user => 'ann') for 1 .. 3;
key('one-model', models => ['model of one-model']);
key('disabled', enabled => JSON::PP::false);

my $by_kind = '';
# Ten requests of each of these, which are far apart; the last one is whole again in no time.
my @periods = qw(100/d 200/d 300/d 400/d 1000/s);
for (@periods) {
    my ($amount, $period) = split m{/};
    $by_kind .= "location /rate/$amount { llm_limit requests=${amount}r/$period burst=9; proxy_pass http://127.0.0.1:%%PORT_2%%; }\n";
    $by_kind .= "location /token-rate/$amount { llm_limit tokens=$amount/$period token_burst=10000; proxy_pass http://127.0.0.1:%%PORT_2%%; }\n";
}
for my $kind (@kinds) {
    $by_kind .= "location /by/$kind { llm_limit @{[ $directive{$kind}->(7) ]}; proxy_pass http://127.0.0.1:%%PORT_1%%; }\n";
}

my $t = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    files   => { 'keys.json' => key_file(\@keys, plans => \%plans) },
    conf    => <<"EOF");
%%HTTP_BEGIN%%
    llm_zone llm:8m;
    llm_api_keys %%DIR%%/keys.json;
    llm_limit concurrency=11;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
        $by_kind
        location /none { llm_limit per=zone concurrency=1000; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /mixed { llm_limit requests=1r/h burst=6 concurrency=7 tokens=1/h token_burst=7400; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /rate { llm_limit requests=1r/h burst=6; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /no-burst { llm_limit requests=6r/h; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /one-at-once { llm_limit requests=6r/h burst=0; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /token-rate { llm_limit tokens=1/h token_burst=7400; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /three-rates {
            llm_limit tokens=3/h token_burst=100000;
            llm_limit tokens=2/h token_burst=50000;
            llm_limit tokens=1/h token_burst=10000;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location /period { llm_limit tokens=2400/d; proxy_pass http://127.0.0.1:%%PORT_1%%; }

        location /dry {
            llm_limit requests=1r/h concurrency=1 tokens=1/h token_burst=100 quota=1/total dry_run;
            llm_limit per=user concurrency=1 dry_run;
            llm_limit per=address failures=1r/h dry_run;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /half-dry {
            llm_limit concurrency=1 dry_run;
            llm_limit concurrency=3;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }

        location /estimate { llm_limit tokens=1/h token_burst=10000; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /weights {
            llm_limit tokens=1/h token_burst=10000;
            llm_usage_weights prompt=1 cached=0.5 completion=3;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location /ten { llm_limit tokens=1/h token_burst=10400; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /thousand { llm_limit tokens=1/h token_burst=1000; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /total { llm_limit quota=900/total; proxy_pass http://127.0.0.1:%%PORT_1%%; }

        location /requests-short { llm_limit requests=2r/m burst=0; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /requests-long { llm_limit requests=1r/h; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /tokens-short { llm_limit tokens=60/m token_burst=1000; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /one { llm_limit concurrency=1; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /quota-day { llm_limit quota=900/d; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /one-and-total { llm_limit concurrency=1 quota=900/total; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /failures-free { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /failures-dry { llm_limit per=address failures=3r/h dry_run; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /failures-short { llm_limit per=address failures=2r/m; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /failures-long { llm_limit per=address failures=3r/h; proxy_pass http://127.0.0.1:%%PORT_2%%; }

        location /headers { llm_limit requests=1r/h burst=4 tokens=1/h token_burst=10000; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /v1/messages { llm_limit requests=1r/h burst=4 tokens=1/h token_burst=10000; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /two-rates {
            llm_limit requests=1r/h burst=9;
            llm_limit requests=1r/d burst=5;
            llm_limit per=zone requests=2r/h burst=99;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location /down { llm_limit requests=1r/h burst=4; proxy_pass http://127.0.0.1:%%PORT_9%%; }
    }
    server {
        listen 127.0.0.1:%%PORT_3%%;
        llm_limit concurrency=4;
        llm_limit per=user concurrency=4;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /own {
            llm_limit concurrency=2;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
            location /own/inner {
                proxy_pass http://127.0.0.1:%%PORT_1%%;
                location /own/inner/zone { llm_limit per=zone concurrency=1000; proxy_pass http://127.0.0.1:%%PORT_1%%; }
            }
        }
        location /several {
            llm_limit concurrency=5;
            llm_limit per=user concurrency=3;
            llm_limit per=address concurrency=6;
            llm_limit per=zone concurrency=1000;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
    }
}
EOF

# --- the configuration

sub conf_with {
    my ($http, $server, $location) = map { $_ // '' } @_[ 0 .. 2 ];

    return <<"EOF";
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/check.json;
    $http
    server {
        listen 127.0.0.1:%%PORT_0%%;
        $server
        location / { $location }
    }
}
EOF
}

$t->write_file('check.json', key_file([ { name => 'a', secret => 'sk-a' } ]));

my @good = (
    'requests=10r/s', 'requests=10r/s burst=20', 'requests=10r/m burst=0', 'requests=1r/d', 'concurrency=5', 'tokens=100k/m',
    'tokens=1m/h token_burst=5k', 'quota=10m/d', 'quota=1/total', 'quota=5k/w hard', 'quota=7/mo', 'quota=7/h',
    'per=address failures=20r/m', 'per=address failures=20r/m requests=5r/s', 'per=zone concurrency=256',
    (map { "per=$_ requests=1r/s burst=3 concurrency=5 tokens=1k/s token_burst=2k quota=1m/d dry_run" } qw(key user model address zone)),
);
for my $text (@good) {
    my ($ok, $said) = $t->check_conf(conf_with("llm_limit $text;"));
    ok($ok, "accepted: $text") or diag($said);
    unlike($said, qr/\[(?:warn|emerg)\]/, "nothing to say: $text");
}

case 'accepted at every level, several times' => sub {
    my $several = 'llm_limit requests=10r/s burst=20; llm_limit requests=5000r/d burst=4999; llm_limit per=zone concurrency=9;';
    my ($ok, $said) = $t->check_conf(conf_with($several, $several, "$several llm_usage_weights prompt=1 cached=0.1 completion=4;"));
    ok($ok, 'accepted') or diag($said);
    ($ok, $said) = $t->check_conf(conf_with('llm_usage_weights completion=2;', 'llm_usage_weights prompt=0;', 'llm_usage_weights cached=0;'));
    ok($ok, 'as are weights') or diag($said);
};

# The directive and what the message must name.
my @bad = (
    [ 'llm_limit',                                qr/invalid number of arguments/ ],
    [ 'llm_limit ""',                             qr/""|empty|parameter/ ],
    [ 'llm_limit requests=10',                    qr/requests=10|"10"/ ],
    [ 'llm_limit requests=10r',                   qr/10r/ ],
    [ 'llm_limit requests=10/s',                  qr{10/s} ],
    [ 'llm_limit requests=0r/s',                  qr{0r/s} ],
    [ 'llm_limit requests=-1r/s',                 qr{-1r/s} ],
    [ 'llm_limit requests=10r/w',                 qr{10r/w} ],
    [ 'llm_limit requests=r/s',                   qr{r/s} ],
    [ 'llm_limit requests=99999999999999999999r/s', qr{9999r/s} ],
    [ 'llm_limit requests=',                      qr/requests/ ],
    [ 'llm_limit requests=10r/s burst=x',         qr/burst/ ],
    [ 'llm_limit requests=10r/s burst=-1',        qr/burst/ ],
    [ 'llm_limit requests=10r/s burst=',          qr/burst/ ],
    [ 'llm_limit burst=5',                        qr/burst.*requests|requests.*burst/ ],
    [ 'llm_limit concurrency=5 burst=5',          qr/burst.*requests|requests.*burst/ ],
    [ 'llm_limit concurrency=x',                  qr/concurrency/ ],
    [ 'llm_limit concurrency=-1',                 qr/concurrency/ ],
    [ 'llm_limit concurrency=',                   qr/concurrency/ ],
    [ 'llm_limit tokens=100k',                    qr/100k/ ],
    [ 'llm_limit tokens=100kr/m',                 qr{100kr/m} ],
    [ 'llm_limit tokens=100x/m',                  qr{100x/m} ],
    [ 'llm_limit tokens=0/m',                     qr{0/m} ],
    [ 'llm_limit token_burst=5',                  qr/token_burst.*tokens|tokens.*token_burst/ ],
    [ 'llm_limit tokens=1k/m token_burst=x',      qr/token_burst/ ],
    [ 'llm_limit tokens=1k/m token_burst=0',      qr/token_burst=0.*expected a number of tokens from 1 up/ ],
    [ 'llm_limit quota=10m',                      qr/10m/ ],
    [ 'llm_limit quota=10m/y',                    qr{10m/y} ],
    [ 'llm_limit quota=10m/m',                    qr{10m/m} ],
    [ 'llm_limit quota=0/d',                      qr{0/d} ],
    [ 'llm_limit failures=20r/m',                 qr/failures.*per=address|per=address.*failures/ ],
    [ 'llm_limit per=key failures=20r/m',         qr/failures.*per=address|per=address.*failures/ ],
    [ 'llm_limit per=zone failures=20r/m',        qr/failures.*per=address|per=address.*failures/ ],
    [ 'llm_limit per=address failures=20/m',      qr{20/m} ],
    [ 'llm_limit per=nobody concurrency=5',       qr/nobody/ ],
    [ 'llm_limit per= concurrency=5',             qr/per/ ],
    [ 'llm_limit per=key',                        qr/llm_limit|limit|nothing/ ],
    [ 'llm_limit dry_run',                        qr/llm_limit|limit|nothing/ ],
    [ 'llm_limit per=key per=user concurrency=5', qr/per/ ],
    [ 'llm_limit concurrency=5 concurrency=6',    qr/concurrency/ ],
    [ 'llm_limit requests=1r/s requests=2r/s',    qr/requests/ ],
    [ 'llm_limit concurency=5',                   qr/concurency/ ],
    [ 'llm_limit concurrency=5 dryrun',           qr/dryrun/ ],
    [ 'llm_limit 10r/s',                          qr{10r/s} ],
    [ 'llm_usage_weights',                        qr/invalid number of arguments/ ],
    [ 'llm_usage_weights prompt',                 qr/prompt/ ],
    [ 'llm_usage_weights prompt=x',               qr/prompt/ ],
    [ 'llm_usage_weights prompt=-1',              qr/prompt/ ],
    [ 'llm_usage_weights reasoning=1',            qr/reasoning/ ],
);
for (@bad) {
    my ($text, $pattern) = @$_;
    my ($ok, $said) = $t->check_conf(conf_with('', '', "$text;"));
    ok(!$ok, "refused: $text");
    my ($line) = $said =~ /^(.*\[emerg\].*)$/m;
    like($line // '', $pattern, "says what: $text");
    like($line // '', qr/ in \S+check\.conf:\d+/, "says where: $text");
}

case 'limits of the key file are in force, and nothing is said' => sub {
    my %limits = (requests => '10r/s', burst => 20, concurrency => 5, tokens => '100k/m', token_burst => 7, quota => '10m/mo');
    $t->write_file('check.json', key_file(
        [
            { name => 'a', secret => 'sk-1', limits => \%limits },
            { name => 'b', secret => 'sk-2', quota => 10_000 },
            { name => 'c', secret => 'sk-3', plan => 'pro' },
        ],
        plans => { pro => \%limits },
    ));
    my ($ok, $said) = $t->check_conf(conf_with());
    ok($ok, 'accepted') or diag($said);
    unlike($said, qr/\[(?:warn|emerg)\]/, 'without a warning');
    my %policy = (request => { cap => { max_tokens => 5 } });
    $t->write_file('check.json', key_file([ { name => 'a', secret => 'sk-1', plan => 'p' } ], plans => { p => { %limits, %policy } }));
    ($ok, $said) = $t->check_conf(conf_with());
    ok($ok, 'accepted') or diag($said);
    unlike($said, qr/\[(?:warn|emerg)\]/, 'rules for requests are in force too');
};

# --- a running nginx

my $up     = $t->upstream(1);
my $daemon = $t->daemon(2);
$t->start;

# A request that is taken for 1000 tokens. The model is the key's own, so that what others teach the module changes nothing.
sub request_of {
    my ($key, %fields) = @_;

    return chat_request_of(400, model => "model of $key", max_tokens => 900, %fields);
}

# So many requests at once; those that are let in are held.
sub crowd {
    my ($count, $key, $uri, %o) = @_;

    my @names = ref $key ? @$key : $key;
    my $body  = $o{body} // request_of($names[0]);
    return LLM::Crowd->open($t, $up, count => $count, port => $o{port}, request => sub {
        return { uri => $uri, headers => [ $t->bearer('sk-' . $names[ $_[0] % @names ]) ], body => $body };
    });
}

# How many of 14 requests at once fit.
sub fits {
    my ($key, $uri, %o) = @_;

    my $crowd = crowd(14, $key, $uri, %o);
    my @in    = $crowd->let_in;
    my %why   = map { $t->log_line($_->{id})->{refusal} => 1 } $crowd->refused;
    is(join(' ', keys %why), $o{why}, "$key at $uri: refused by $o{why}") if $o{why};
    is($crowd->reply(100, 400), 0, "$key at $uri: answered");
    $t->wait_idle;
    return scalar @in;
}

# One request, answered by the daemon with this usage.
sub ask {
    my ($key, $uri, %o) = @_;

    my $reply = chat_reply(@{ $o{usage} // [ 100, 400 ] });
    my $r = $t->fetch(POST => $uri, key => "sk-$key", body => $o{body} // request_of($key, %{ $o{fields} // {} }),
        headers => $o{headers}, reply => { body => $reply, %{ $o{reply} // {} } });
    $t->wait_idle;
    return $r;
}

my $next_key = 1;
sub fresh_key { return 'k' . $next_key++ }

sub left_of { my ($r, $what) = @_; return $r->{headers}{"x-ratelimit-remaining-$what"} }

for my $kind (@kinds) {
    case "precedence: $kind" => sub {
        is(fits("plain-$kind", "/by/$kind", why => $kind), 7, 'the location');
        is(fits("plan-$kind",  "/by/$kind", why => $kind), 5, 'a plan before the location');
        is(fits("both-$kind",  "/by/$kind", why => $kind), 3, 'the key before its plan');
        is(fits("own-$kind",   "/by/$kind", why => $kind), 3, 'the key before the location');
        is(fits("more-$kind",  "/by/$kind", why => $kind), 9, 'also if it has more');
        is(fits("alone-$kind", '/none',     why => $kind), 5, 'a plan where the location says nothing');
    };
}

case 'precedence: field by field' => sub {
    my $first = crowd(12, 'mixed', '/mixed');
    is(scalar(my @in = $first->let_in), 3, 'the key\'s concurrency');
    my ($one) = $first->refused;
    is($t->log_line($one->{id})->{refusal}, 'concurrency', 'refuses');
    is($one->{response}{headers}{'x-ratelimit-limit-requests'}, 5, 'the plan\'s rate');
    is($one->{response}{headers}{'x-ratelimit-limit-tokens'}, 7400, 'the location\'s tokens');
    $first->reply(100, 400);
    $t->wait_idle;
    is(fits('mixed', '/mixed', why => 'requests'), 2, 'what the plan\'s rate has left');
};

case 'precedence: bursts' => sub {
    is(fits(fresh_key(), '/rate', why => 'requests'), 7, 'a burst');
    is(fits(fresh_key(), '/no-burst', why => 'requests'), 6, 'one period\'s requests');
    is(fits(fresh_key(), '/one-at-once', why => 'requests'), 1, 'none');
    is(fits('no-burst', '/rate', why => 'requests'), 7, 'a key\'s rate with the location\'s burst');
    is(fits('no-burst-either', '/none', why => 'requests'), 3, 'a key\'s rate with one period\'s');
    is(fits('one-at-once', '/rate', why => 'requests'), 1, 'a key\'s rate without a burst');
    is(fits('only-burst', '/rate', why => 'requests'), 3, 'a key\'s burst with the location\'s rate');
    is(fits(fresh_key(), '/token-rate', why => 'tokens'), 7, 'a burst of tokens');
    is(fits('only-token-burst', '/token-rate', why => 'tokens'), 2, 'a key\'s with the location\'s rate');
    is(fits(fresh_key(), '/period', why => 'tokens'), 2, 'one period\'s tokens');
};

for my $what (qw(requests tokens)) {
    case "one key, $what at many rates: each is for itself" => sub {
        my $key = fresh_key();
        my ($dir, $limit, $takes, $uses) = $what eq 'requests' ? ('rate', 10, 1, 1) : ('token-rate', 10_000, 1000, 500);
        for my $round (0 .. 2) {
            for my $rate (@periods) {
                my ($amount) = split m{/}, $rate;
                my $r    = ask($key, "/$dir/$amount");
                # Time may have gone by.
                my $left = $limit - $round * $uses - $takes;
                my $most = $rate =~ /s/ ? $limit : $what eq 'tokens' ? $left + 1 : $left;
                my $said = left_of($r, $what);
                ok($said >= $left && $said <= $most, "$rate, request $round: $left left") or diag("$r->{status}, $said left");
            }
        }
    };
}

case 'three rates of tokens in one place: the truth counts for each' => sub {
    my $key = fresh_key();
    for my $n (1 .. 12) {
        is(ask($key, '/three-rates', usage => [ 10, 10 ])->{status}, 200, "request $n") or last;
    }
    $key = fresh_key();
    ask($key, '/three-rates', usage => [ 100, 99_900 ]);
    my $r = ask($key, '/three-rates');
    is($r->{status}, 429, 'overspend too');
};

case 'the old form of a quota' => sub {
    is(fits('old-form', '/none', why => 'quota'), 2, 'what begins below it');
    is(fits('old-form', '/none', why => 'quota'), 1, 'what is left');
    is(fits('old-form', '/none', why => 'quota'), 0, 'then it is used up');
};

case 'inheritance' => sub {
    my @anns = qw(ann-1 ann-2 ann-3);
    is(fits(fresh_key(), '/'), 11, 'http');
    is(fits(fresh_key(), '/', port => 3), 4, 'server instead of http');
    is(fits(\@anns, '/', port => 3), 4, 'all of the server\'s');
    is(fits(fresh_key(), '/own', port => 3), 2, 'location instead of server');
    is(fits(\@anns, '/own', port => 3), 6, 'the server\'s others are not in force');
    is(fits(fresh_key(), '/own/inner', port => 3), 2, 'an inner location has the outer one\'s');
    is(fits(fresh_key(), '/own/inner/zone', port => 3), 14, 'or its own');
    is(fits('ann-1', '/several', port => 3), 3, 'several: the tightest');
    is(fits(\@anns, '/several', port => 3), 3, 'several, of one user');
    is(fits([ fresh_key(), fresh_key(), fresh_key() ], '/several', port => 3), 6, 'several, of many users');
};

case 'dry runs' => sub {
    my $offset = -s "$t->{dir}/error.log";
    my $first = crowd(14, [qw(ann-1 ann-2)], '/dry');
    is(scalar(my @in = $first->let_in), 14, 'all are let in');
    like($t->wait_error_log(qr/dry.?run/i, $offset), qr/llm/, 'and the log says it');
    $first->reply(100, 400);
    $t->wait_idle;
    my $again = crowd(3, 'ann-1', '/dry');
    is(scalar(@in = $again->let_in), 3, 'later too');
    is($again->reply(100, 400), 0, 'and answered');
    for my $one ($again->let_in) {
        is(scalar(grep { /^x-ratelimit/ } keys %{ $one->{response}{headers} }), 0, 'no headers');
        is($t->log_line($one->{id})->{outcome}, 'ok', 'the outcome');
    }
    is($t->fetch(POST => '/dry', key => 'sk-wrong', body => chat_request())->{status}, 401, 'wrong keys are looked at') for 1 .. 4;
    is(fits(fresh_key(), '/half-dry'), 3, 'the other is in force');
};

# --- tokens

# Fields of the request, and what is taken for the completion.
my @estimates = (
    [ 'max_tokens',              { max_tokens => 900 },                              900 ],
    [ 'max_completion_tokens',   { max_completion_tokens => 800 },                   800 ],
    [ 'for each choice',         { max_tokens => 300, n => 3 },                      900 ],
    [ 'for each prompt',         { max_tokens => 100, prompt => [ ('a') x 20 ] },    2000 ],
    [ 'for each choice of each', { max_tokens => 100, prompt => [ 'a', 'b' ], n => 3 }, 600 ],
    [ 'nothing said',            {},                                                 256 ],
    [ 'nothing said, 3 choices', { n => 3 },                                         768 ],
    [ 'null',                    { max_tokens => undef },                            256 ],
    [ 'more than the limit',     { max_tokens => 1_000_000_000 },                    9900 ],
    [ 'as much as the limit',    { max_tokens => 9900 },                             9900 ],
);
for (@estimates) {
    my ($name, $fields, $completion) = @$_;
    case "estimate: $name" => sub {
        my $key  = fresh_key();
        my $body = chat_request_of(400, model => $name, %$fields);
        my $r = ask($key, '/estimate', body => $body, usage => [ 100, 40 ]);
        is($r->{status}, 200, 'let in');
        is(left_of($r, 'tokens'), 10_000 - 100 - $completion, 'is reserved');
        $r = ask($key, '/estimate', body => chat_request_of(400, model => $name, max_tokens => 1), usage => [ 100, 40 ]);
        is(left_of($r, 'tokens'), 10_000 - 140 - 101, 'and then replaced by the truth');
    };
}

case 'estimate: learned' => sub {
    my $key  = fresh_key();
    my $body = chat_request_of(400, model => 'a fresh model');
    is(left_of(ask($key, '/estimate', body => $body, usage => [ 50, 40 ]), 'tokens'), 10_000 - 356, 'at first');
    is(left_of(ask($key, '/estimate', body => $body, usage => [ 50, 40 ]), 'tokens'), 10_000 - 90 - 90, 'what the first one has used');
    $key = fresh_key();
    is(left_of(ask($key, '/estimate', body => $body, usage => [ 50, 40 ]), 'tokens'), 10_000 - 50 - 128,
        'for another key too, but not less than half of the default');
};

case 'weights' => sub {
    my $key   = fresh_key();
    my $usage = '{"usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110,"prompt_tokens_details":{"cached_tokens":40}}}';
    is(left_of(ask($key, '/weights', reply => { body => $usage }), 'tokens'), 10_000 - 100 - 3 * 900, 'of the estimate');
    is(left_of(ask($key, '/weights'), 'tokens'), 10_000 - (60 + 20 + 30) - 100 - 3 * 900, 'of the truth');
    is($t->totals($key)->{prompt_tokens}, 200, 'the totals have none');
};

# Answers all that were let in with a stream of this usage.
sub stream_all {
    my ($crowd, @usage) = @_;

    for my $one ($crowd->let_in) {
        $one->{upstream}->head;
        $one->{upstream}->piece(plain_stream(@usage));
        $one->{upstream}->finish;
    }
    my $broken = grep { !$_->{client}->response->{complete} } $crowd->let_in;
    $_->{client}->close for $crowd->let_in;
    $t->wait_idle;
    return $broken;
}

# Answers all that were let in with an error, which costs nothing.
sub refuse_all {
    my ($crowd) = @_;

    $_->{upstream}->reply('{"error":{"message":"overloaded"}}', status => 503) for $crowd->let_in;
    my $broken = grep { $_->{client}->response->{status} != 503 } $crowd->let_in;
    $_->{client}->close for $crowd->let_in;
    $t->wait_idle;
    return $broken;
}

sub streams {
    my ($count, $key, $uri, $max_tokens) = @_;

    my $crowd = crowd($count, $key, $uri, body => request_of($key, stream => \1, max_tokens => $max_tokens));
    return ($crowd, scalar(my @in = $crowd->let_in));
}

for ([ 900, 5, 'of the same size' ], [ 400, 10, 'of half the size' ]) {
    my ($max_tokens, $then, $name) = @$_;
    case "100 parallel streams, then those $name" => sub {
        my $key = fresh_key();
        my ($crowd, $in) = streams(100, $key, '/ten', 900);
        is($in, 10, 'let in by their max_tokens');
        is(stream_all($crowd, 100, 400), 0, 'they use half of it');
        ($crowd, $in) = streams(20, $key, '/ten', $max_tokens);
        is($in, $then, 'the others have the other half at once');
        is(refuse_all($crowd), 0, 'the upstream refuses them, so they use nothing');
        ($crowd, $in) = streams(20, $key, '/ten', 900);
        is($in, 5, 'which is as if they had not been there');
        is(stream_all($crowd, 100, 900), 0, 'these use all');
        is($t->totals($key)->{total_tokens}, 10_000, 'charged');
    };
}

case 'overspend is debt' => sub {
    my $key = fresh_key();
    my ($crowd, $in) = streams(3, $key, '/thousand', 400);
    is($in, 2, 'two fit');
    is(stream_all($crowd, 100, 2900), 0, 'each uses six times as much');
    my $body = chat_request_of(100, max_tokens => 1);
    my $r = $t->fetch(POST => '/thousand', key => "sk-$key", body => $body);
    is($r->{status}, 429, 'not even the smallest is let in');
    is(left_of($r, 'tokens'), 0, 'nothing is left');
    like($r->{headers}{'x-ratelimit-reset-tokens'}, qr/\A(?:6000h0m0s|5999h59m)/, 'all of the debt is to be waited for');
    ok(!$up->pending, 'the upstream is not contacted');
};

case 'an idle key can always send one request' => sub {
    my $key = fresh_key();
    for my $uri (qw(/thousand /total)) {
        my ($crowd, $in) = streams(5, $key, $uri, 50_000);
        is($in, 1, "$uri: one, though it asks for more than the limit");
        is(stream_all($crowd, 10, 10), 0, 'it uses little');
        ($crowd, $in) = streams(5, $key, $uri, 800);
        is($in, 1, "$uri: what is left is there at once") if $uri eq '/thousand';
        is($in, 2, "$uri: what is left is there at once") if $uri eq '/total';
        stream_all($crowd, 10, 10);
    }
};

# --- refusals as an SDK sees them

# A refusal of this kind: either one that says how long to wait, at most so many seconds, or a long one.
sub is_refusal {
    my ($r, %want) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($r->{status}, 429, 'status');
    is($r->{headers}{'content-type'}, 'application/json', 'content type');
    my $error = eval { JSON::PP->new->utf8->decode($r->{body})->{error} } // {};
    is_deeply([ sort keys %$error ], [qw(code message param type)], 'members of the error');
    is($error->{param}, undef, 'param');
    my $log = $t->log_line($r->{id});
    is("$log->{outcome} $log->{refusal}", "refused $want{kind}", 'the log');
    my ($after, $after_ms, $retry) = @{ $r->{headers} }{qw(retry-after retry-after-ms x-should-retry)};
    if ($want{long}) {
        is("$error->{type} $error->{code}", 'insufficient_quota insufficient_quota', 'type and code');
        is($retry, 'false', 'x-should-retry');
        is($after // $after_ms, undef, 'no Retry-After');
        if ($want{kind} eq 'quota') {
            unlike($error->{message}, qr/try again in/i, 'the message promises nothing soon');
        } else {
            like($error->{message}, qr/: limit \d+ per (?:second|minute|hour|day) for this \w+\. Please try again in \d{2,}s\.\z/,
                'the message says what the rule says');
            unlike($error->{message}, qr/quota/i, 'a rate is no quota');
        }
    } else {
        is("$error->{type} $error->{code}", "$want{type} rate_limit_exceeded", 'type and code');
        isnt($retry // '', 'false', 'x-should-retry');
        like($after // '', qr/\A[1-9]\d*\z/, 'Retry-After in whole seconds');
        like($after_ms // '', qr/\A[1-9]\d*\z/, 'and in milliseconds');
        cmp_ok($after // 0, '<=', $want{wait}, 'not longer than it takes');
        is(int((($after_ms // 0) + 999) / 1000), $after, 'both say the same');
        like($error->{message}, qr/Please try again in (?:\d+(?:\.\d+)?)s\./, 'the message says it in one unit');
        unlike($error->{message}, qr/quota|billing|credit balance|out of credits|will reset at/i, 'and nothing that sounds final');
    }
    ok(!$up->pending, 'the upstream is not contacted');
    return;
}

# Fills the limit by one request that is held while the second asks; the first is then answered.
sub second_while_first_is_held {
    my ($uri, %o) = @_;

    my $key   = $o{key} // fresh_key();
    my $first = crowd(1, $key, $uri);
    is(scalar(my @in = $first->let_in), 1, 'the first is let in');
    my $body = $o{body} // request_of($key, stream => \1);
    my $r = $t->fetch(POST => $uri, key => "sk-$key", body => $body);
    $first->reply(@{ $o{usage} // [ 100, 400 ] });
    $t->wait_idle;
    return $r;
}

my @refusals = (
    [ 'requests, soon'    => '/requests-short', { kind => 'requests', type => 'requests', wait => 30 } ],
    [ 'requests, later'   => '/requests-long',  { kind => 'requests', long => 1 } ],
    # 20 tokens for the body and 10 for the completion, one a second.
    [ 'tokens, soon'      => '/tokens-short',   { kind => 'tokens', type => 'tokens', wait => 30 }, body => chat_request_of(80, max_tokens => 10) ],
    [ 'tokens, later'     => '/thousand',       { kind => 'tokens', long => 1 } ],
    [ 'concurrency'       => '/one',            { kind => 'concurrency', type => 'requests', wait => 60 } ],
    # It may come back when the first one ends.
    [ 'quota, all of it reserved' => '/total',  { kind => 'quota', type => 'tokens', wait => 60 } ],
);
for (@refusals) {
    my ($name, $uri, $want, %o) = @$_;
    case "refused: $name" => sub { is_refusal(second_while_first_is_held($uri, %o), %$want) };
}

for my $uri (qw(/total /quota-day)) {
    case "refused: quota, used up, $uri" => sub {
        my $key = fresh_key();
        second_while_first_is_held($uri, key => $key, usage => [ 100, 900 ]);
        my $r = $t->fetch(POST => $uri, key => "sk-$key", body => chat_request(stream => \1));
        is_refusal($r, kind => 'quota', long => 1);
        is(left_of($r, 'tokens'), 0, 'nothing is left');
    };
}

case 'refused: by two limits, for as long as the longer one says' => sub {
    my $key = fresh_key();
    second_while_first_is_held('/total', key => $key, usage => [ 100, 900 ]);
    my $held = crowd(1, $key, '/one');
    my $r = $t->fetch(POST => '/one-and-total', key => "sk-$key", body => chat_request());
    is_refusal($r, kind => 'quota', long => 1);
    $held->reply(1, 1);
    $t->wait_idle;
};

case 'what is refused for another reason costs nothing' => sub {
    my $key = fresh_key();
    my @key = (key => "sk-$key");
    is($t->fetch(POST => '/headers', @key, body => 'x')->{status}, 400, 'a bad body');
    is($t->fetch(POST => '/headers', @key, body => '{"model":"a","model":"b"}')->{status}, 400, 'two models');
    is($t->fetch(POST => '/headers', @key, body => chat_request(), headers => [ 'Content-Encoding' => 'gzip' ])->{status}, 415, 'a coding');
    is($t->fetch(POST => '/headers', key => 'sk-one-model', body => chat_request(model => 'other'))->{status}, 404, 'a model');
    is($t->fetch(POST => '/headers', key => 'sk-disabled', body => chat_request())->{status}, 401, 'a disabled key');
    my $c = $t->client;
    $c->request(POST => '/headers', headers => [ $t->bearer("sk-$key"), 'Content-Length' => 100 ], body => '{');
    $c->close;
    tells(ask($key, '/headers'), requests => 5, 4, 'then');
    tells(ask('one-model', '/headers'), requests => 5, 4, 'then, the other key');
};

# --- guesses

sub guess {
    my ($uri, $address, $key) = @_;

    my @headers = ('X-Real-IP' => $address);
    return $t->fetch(POST => $uri, key => $key // 'sk-wrong', headers => \@headers, body => chat_request(model => 'probe'));
}

case 'failures, soon' => sub {
    is(guess('/failures-short', '10.0.0.1')->{status}, 401, 'a guess') for 1 .. 2;
    is_refusal(guess('/failures-short', '10.0.0.1'), kind => 'failures', type => 'requests', wait => 30);
};

case 'failures, later' => sub {
    my @address = ('10.0.0.2', '2001:db8:1:2::1', '2001:db8:1:2:ffff::2');
    my ($known, $stranger) = (fresh_key(), fresh_key());
    is(guess('/failures-long', $_, "sk-$known")->{status}, 200, "a good key of $_") for @address[ 0, 1 ];
    my $seen = $daemon->count;
    is(guess('/failures-long', $address[0])->{status}, 401, 'a guess') for 1 .. 3;
    is(guess('/failures-long', $address[1])->{status}, 401, 'a guess, IPv6') for 1 .. 2;
    is(guess('/failures-long', $address[2])->{status}, 401, 'of the same /64');
    for my $address (@address) {
        for (1 .. 3) {
            my $r = guess('/failures-long', $address);
            is_refusal($r, kind => 'failures', long => 1);
            unlike($r->{head}, qr/x-ratelimit/i, 'no limits are told to a stranger');
        }
        is($t->fetch(POST => '/failures-long', headers => [ 'X-Real-IP' => $address ], body => chat_request())->{status}, 401,
            'without a key nothing is guessed');
    }
    is(guess('/failures-long', '10.0.0.3')->{status}, 401, 'another address');
    is(guess('/failures-long', '2001:db8:1:3::1')->{status}, 401, 'another /64');
    is($daemon->count, $seen, 'the upstream was not contacted');
    is(guess('/failures-long', $_, "sk-$known")->{status}, 200, "a key that is known to come from $_") for @address, @address;
    is($daemon->count, $seen += 6, 'reaches the upstream');
    for my $address (@address) {
        my ($right, $wrong) = map { guess('/failures-long', $address, $_) } "sk-$stranger", 'sk-wrong';
        is_refusal($right, kind => 'failures', long => 1);
        is_deeply([ map { s/[0-9]+//gr } $right->{body} ], [ map { s/[0-9]+//gr } $wrong->{body} ], 'a guess that is right looks like a wrong one');
    }
    is($t->log_line(guess('/failures-long', $address[0], "sk-$stranger")->{id})->{key}, '', 'and has no name');
    is($daemon->count, $seen, 'the upstream was not contacted');
    is(guess('/failures-long', '10.0.0.3', "sk-$stranger")->{status}, 200, 'from elsewhere it is let in');
    is(guess('/failures-long', $address[0], "sk-$stranger")->{status}, 429, 'which helps it there only');
    my $c = $t->client;
    $c->request(POST => '/failures-long', headers => [ $t->bearer("sk-$stranger"), 'X-Real-IP' => $address[0], 'Content-Length' => 1000 ]);
    is($c->wait_head, 429, 'before its body is read');
    $c->close;
    is($t->fetch(POST => '/failures-free', key => "sk-$stranger", headers => [ 'X-Real-IP' => $address[0] ], body => chat_request())->{status}, 200,
        'a location without such a limit');
};

case 'failures, dry run' => sub {
    guess('/failures-dry', '10.0.0.9') for 1 .. 4;
    my $key = fresh_key();
    is(guess('/failures-dry', '10.0.0.9', "sk-$key")->{status}, 200, 'a stranger is let in');
    $t->wait_error_log(qr/would be refused, dry run: failures per address/);
};

case 'failures: the body of a guess is not read' => sub {
    guess('/failures-long', '10.0.0.4') for 1 .. 3;
    my $c = $t->client;
    my $id = $t->new_id;
    $c->request(POST => '/failures-long', id => $id,
        headers => [ $t->bearer('sk-wrong'), 'X-Real-IP' => '10.0.0.4', 'Content-Length' => 1000, Expect => '100-continue' ]);
    is($c->wait_head, 429, 'refused without it');
    $c->close;
};

# --- headers

# Seconds of a Go duration.
sub seconds {
    my ($text) = @_;

    return $1 / 1000 if $text =~ /\A(\d+)ms\z/;
    my ($h, $m, $s) = $text =~ /\A(?:(\d+)h)?(?:(\d+)m)?([\d.]+)s\z/;
    return 3600 * ($h // 0) + 60 * ($m // 0) + ($s // 0);
}

# The limit, what is left of it, and that it is whole again when as many hours as are missing have passed.
sub tells {
    my ($r, $what, $limit, $left, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($l, $n, $reset) = map { $r->{headers}{"x-ratelimit-$_-$what"} // 'none' } qw(limit remaining reset);
    is("$n of $l", "$left of $limit", "$name: $what");
    like($reset, qr/\A(?:\d+ms|(?:(?:\d+h)?\d{1,2}m)?\d{1,2}(?:\.\d{1,3})?s)\z/, "$name: a duration");
    my $full = 3600 * ($limit - $left);
    my $said = seconds($reset);
    ok($said <= $full && $said > $full - 600, "$name: until it is whole again") or diag("$reset, of $full s");
    return;
}

case 'headers of what is let in, and of what is not' => sub {
    my $key = fresh_key();
    for my $n (1 .. 5) {
        my $r = ask($key, '/headers');
        is($r->{status}, 200, "request $n");
        tells($r, 'requests', 5, 5 - $n, "request $n");
        tells($r, 'tokens', 10_000, 10_000 - 500 * ($n - 1) - 1000, "request $n");
    }
    for (1 .. 2) {
        my $r = $t->fetch(POST => '/headers', key => "sk-$key", body => chat_request());
        is($r->{status}, 429, 'refused');
        tells($r, 'requests', 5, 0, 'refused');
        tells($r, 'tokens', 10_000, 7500, 'refused');
    }
};

case 'headers of a stream' => sub {
    my $r = ask(fresh_key(), '/headers', fields => { stream => \1 },
        reply => { type => 'text/event-stream', framing => 'chunked', body => plain_stream(100, 400) });
    is($r->{body}, plain_stream(100, 400), 'the stream');
    tells($r, 'requests', 5, 4, 'a stream');
    tells($r, 'tokens', 10_000, 9000, 'a stream');
};

case 'headers: the tightest of several' => sub {
    my $key = fresh_key();
    for my $n (1 .. 6) {
        my $r = ask($key, '/two-rates');
        is(left_of($r, 'requests'), 6 - $n, 'left');
        is($r->{headers}{'x-ratelimit-limit-requests'}, 6, 'of the tightest');
        ok(!defined $r->{headers}{'x-ratelimit-limit-tokens'}, 'nothing of tokens, which have no limit');
    }
    my $r = ask($key, '/two-rates');
    is("$r->{status} " . left_of($r, 'requests'), '429 0', 'refused');
};

case 'headers whatever the upstream says' => sub {
    my $key = fresh_key();
    my $r = ask($key, '/headers', reply => { status => 500, body => '{"error":"x"}' });
    is($r->{status}, 500, 'an error');
    tells($r, 'requests', 5, 4, 'an error');
    $r = $t->fetch(POST => '/down', key => "sk-$key", body => chat_request());
    is($r->{status}, 502, 'no upstream');
    tells($r, 'requests', 5, 3, 'no upstream');
    $t->wait_idle;
    tells(ask($key, '/headers', usage => [ 0, 0 ]), 'tokens', 10_000, 9000, 'and no tokens were used');
    $r = ask($key, '/headers', reply => { headers => [ 'X-RateLimit-Remaining-Requests' => 99, 'x-ratelimit-limit-requests' => 100 ] });
    tells($r, 'requests', 5, 1, 'limits of the upstream, which are not the client\'s');
};

case 'headers of Anthropic\'s API' => sub {
    my $key = fresh_key();
    for my $n (1 .. 2) {
        my $r = ask($key, '/v1/messages');
        unlike($r->{head}, qr/x-ratelimit/i, 'not OpenAI\'s');
        my %said = map { /\Aanthropic-ratelimit-(.*)/ ? ($1 => $r->{headers}{$_}) : () } keys %{ $r->{headers} };
        my @resets = map { delete $said{"$_-reset"} } qw(requests tokens);
        is_deeply(\%said, {
            'requests-limit' => 5, 'requests-remaining' => 5 - $n,
            'tokens-limit' => 10_000, 'tokens-remaining' => 10_000 - 500 * ($n - 1) - 1000,
        }, 'limits and what is left');
        like($_, qr/\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z\z/, 'a time') for @resets;
        cmp_ok($resets[0], 'lt', $resets[1], 'the tokens are there later');
    }
};

case 'no headers' => sub {
    my $key = fresh_key();
    my $crowd = crowd(1, $key, '/one');
    $crowd->reply(1, 1);
    my ($one) = $crowd->let_in;
    unlike($one->{response}{head}, qr/x-ratelimit/i, 'where there is no rate');
    unlike($t->fetch(POST => '/headers', key => 'sk-wrong', body => chat_request())->{head}, qr/x-ratelimit/i, 'for a wrong key');
    unlike($t->fetch(POST => '/headers', body => chat_request())->{head}, qr/x-ratelimit/i, 'for no key');
    $t->wait_idle;
};

case 'nothing is left over' => sub { $t->check_and_stop };

# --- reloads

my @few = (
    (map { { name => "k$_", secret => "sk-k$_" } } 1 .. 9),
    { name => 'limited', secret => 'sk-limited', limits => { quota => '900/total' } },
);
my $conf = <<'EOF';
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { llm_limit LIMIT; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /plain { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /rates { llm_limit requests=1r/h burst=9 tokens=1/h token_burst=10000; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /guesses { llm_limit per=address failures=3r/h; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOF
sub conf_of { my ($limit) = @_; return $conf =~ s/LIMIT/$limit/r }

$t = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    files   => { 'keys.json' => key_file(\@few) },
    conf    => conf_of('concurrency=5'),
);
$up = $t->upstream(1);
$t->daemon(2);
$t->start;
$next_key = 1;

sub change {
    my ($limit) = @_;

    $t->write_conf(conf_of($limit));
    $t->reload;
    return;
}

# So many requests at once: how many are let in, and the crowd.
sub come {
    my ($count, $key, %o) = @_;

    my $crowd = crowd($count, $key, $o{uri} // '/', %o);
    return (scalar(my @in = $crowd->let_in), $crowd);
}

case 'leases are kept, and a changed limit holds' => sub {
    my $key = fresh_key();
    my ($in, $first) = come(3, $key);
    is($in, 3, 'three');
    $t->reload;
    is($t->totals($key)->{in_flight}, 3, 'the new workers see them');
    ($in, my $second) = come(6, $key);
    is($in, 2, 'as many as are left');
    change('concurrency=8');
    ($in, my $third) = come(6, $key);
    is($in, 3, 'more when there may be more');
    change('concurrency=4');
    is((come(6, $key))[0], 0, 'none when there are too many');
    is($first->reply(1, 1) + $second->reply(1, 1), 0, 'the first ones end');
    wait_until('three in flight', sub { $t->totals($key)->{in_flight} == 3 });
    ($in, my $fourth) = come(6, $key);
    is($in, 1, 'then there is room again');
    is($third->reply(1, 1) + $fourth->reply(1, 1), 0, 'the others end');
    $t->wait_idle;
};

case 'what was taken from rates is kept' => sub {
    my $key = fresh_key();
    for my $n (1 .. 4) {
        my $r = ask($key, '/rates');
        tells($r, 'requests', 10, 10 - $n, "request $n");
        tells($r, 'tokens', 10_000, 10_000 - 500 * ($n - 1) - 1000, "request $n");
        $t->reload;
    }
};

case 'a changed burst' => sub {
    my $key = fresh_key();
    for ([ 2, 3 ], [ 4, 2 ], [ 1, 0 ], [ 4, 0 ], [ 5, 1 ]) {
        my ($burst, $more) = @$_;
        change("requests=1r/h burst=$burst");
        my ($in, $crowd) = come(8, $key);
        is($in, $more, "with burst=$burst: $more more");
        $crowd->reply(1, 1);
        $t->wait_idle;
    }
};

case 'a changed rate' => sub {
    my $key = fresh_key();
    for my $rate (qw(100r/d 200r/d 300r/d 400r/d 1000r/s)) {
        change("requests=$rate burst=9");
        my ($in, $crowd) = come(3, $key);
        is($in, 3, "to $rate: it does not suffer from the others");
        $crowd->reply(100, 400);
        $t->wait_idle;
    }
};

case 'debts are kept, and reservations' => sub {
    my $key = fresh_key();
    change('tokens=1/h token_burst=1000');
    my ($in, $crowd) = come(3, $key);
    is($in, 1, 'one fits');
    $t->reload;
    is((come(3, $key))[0], 0, 'its reservation is kept');
    is($crowd->reply(100, 4900), 0, 'it uses five times as much, with an old worker');
    $t->wait_idle;
    $t->reload;
    is((come(3, $key))[0], 0, 'its debt is kept');
    change('tokens=1/h token_burst=7000');
    ($in, $crowd) = come(3, $key);
    is($in, 2, 'a larger limit has room beyond the debt');
    $crowd->reply(1, 1);
    $t->wait_idle;
};

case 'a quota of the key file' => sub {
    my ($in, $crowd) = come(3, 'limited', uri => '/plain');
    is($in, 1, 'one fits');
    $crowd->reply(100, 1400);
    $t->wait_idle;
    is((come(3, 'limited', uri => '/plain'))[0], 0, 'then it is used up');
    $t->reload;
    is((come(3, 'limited', uri => '/plain'))[0], 0, 'and stays so');
    $few[-1]{limits}{quota} = '2900/total';
    $t->write_file('keys.json', key_file(\@few));
    $t->reload;
    ($in, $crowd) = come(4, 'limited', uri => '/plain');
    is($in, 2, 'more of it');
    $crowd->reply(1, 1);
    $t->wait_idle;
    delete $few[-1]{limits};
    $t->write_file('keys.json', key_file(\@few));
    $t->reload;
    ($in, $crowd) = come(4, 'limited', uri => '/plain');
    is($in, 4, 'no quota any more');
    $crowd->reply(1, 1);
    $t->wait_idle;
};

case 'failures are kept' => sub {
    is(guess('/guesses', '127.0.0.1')->{status}, 401, 'a guess') for 1 .. 3;
    $t->reload;
    is(guess('/guesses', '127.0.0.1')->{status}, 429, 'one too many') for 1 .. 2;
};

$t->finish;
