# Why: llm_status is what operators and every other test look at. It must be valid JSON whatever names and models say, and
# its numbers must be those of the requests.

use strict;
use warnings;
use utf8;

use JSON::PP;

use LLM::Streams;
use LLM::Test;

my $odd_name = "ann's \"key\" \\ \x{e4}\x{4f60}<>";

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => JSON::PP->new->utf8->encode({ keys => [
            { name => 'alice', user => 'ann', key => 'sk-alice' },
            { name => 'alice-2', user => 'ann', key => 'sk-alice-2' },
            { name => 'nobody', key => 'sk-nobody' },
            { name => $odd_name, user => $odd_name, key => 'sk-odd' },
            { name => 'spent', user => 'zoe', key => 'sk-spent', limits => { requests => '1r/h', burst => 0 } },
            { name => 'off', user => 'zoe', key => 'sk-off', enabled => JSON::PP::false, expires => '2031-02-03T04:05:06Z' },
            (map { { name => "k$_", user => "u$_", key => "sk-k$_" } } 1 .. 300),
        ] }),
        'second.json' => key_file([ { name => 'second', secret => 'sk-second' } ]),
        'other.json'  => key_file([ { name => 'other', secret => 'sk-other' } ]),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_usage_inject off;
    llm_zone llm:8m;
    llm_limit concurrency=400 tokens=100k/m quota=1m/d;
    llm_zone other:1m;
    llm_api_keys %%DIR%%/keys.json zone=llm;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /second { llm_api_keys %%DIR%%/second.json zone=llm; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /other { llm_api_keys %%DIR%%/other.json zone=other; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /json { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location = /status { llm_api_keys off; llm_status; }
        location = /guarded { llm_status; }
    }
}
EOF
my $up = $t->upstream(1);
$t->daemon(2);
$t->start;

sub ask {
    my ($key, $uri) = @_;

    return $t->fetch(POST => $uri // '/json', key => $key, body => chat_request())->{status};
}

sub raw_status { return $t->fetch(GET => '/status', @_) }

case 'before any request' => sub {
    my $r = raw_status();
    is($r->{status}, 200, 'status');
    is($r->{headers}{'content-type'}, 'application/json', 'content type');
    is($r->{headers}{'content-length'}, length $r->{body}, 'length');
    my $s = $t->status;
    is_deeply([ sort keys %$s ], [qw(now_ms version zones)], 'members');
    like($s->{version}, qr/\A\d+\.\d+\.\d+\z/, 'version');
    is_deeply([ map { $_->{name} } @{ $s->{zones} } ], [qw(llm other)], 'zones in the order of the configuration');
    my $zone = $s->{zones}[0];
    is_deeply([ sort keys %$zone ], [qw(bytes files generation keys leases models name parts rates refusals running size subjects
            totals usage_sources users)], 'members of a zone');
    is($zone->{size}, 8 * 1024 * 1024, 'size');
    is($zone->{bytes}{used} + $zone->{bytes}{free}, $zone->{size}, 'bytes in use and free are all');
    cmp_ok($zone->{bytes}{used}, '>', 306 * 64, 'keys are among those in use');
    is($zone->{generation}, 1, 'generation');
    is_deeply({ map { $_->{path} => $_->{keys} } @{ $zone->{files} } }, { "$t->{dir}/keys.json" => 306, "$t->{dir}/second.json" => 1 },
        'files and their keys');
    is($zone->{leases}{running}, 0, 'no leases');
    cmp_ok($zone->{leases}{capacity}, '>=', 1000, 'room for many');
    is_deeply($zone->{$_}, [], "no $_") for qw(keys users running);
    my ($other) = @{ $s->{zones}[1]{files} };
    cmp_ok(abs($s->{now_ms} - delete $other->{loaded_ms}), '<', 3_600_000, 'loaded not long ago');
    is_deeply($other, { path => "$t->{dir}/other.json", keys => 1 }, 'the other zone\'s file');
};

case 'numbers' => sub {
    is(ask($_), 200, "a request of $_") for qw(sk-alice sk-alice sk-alice-2 sk-nobody);
    is(ask('sk-second', '/second'), 200, 'of the second file');
    is(ask('sk-other', '/other'), 200, 'of the other zone');
    $t->wait_idle;
    my ($zone, $other) = @{ $t->status->{zones} };
    my $record = sub {
        my ($name, $n) = @_;
        return { name => $name, in_flight => 0, requests => $n, prompt_tokens => 7 * $n, cached_tokens => 0, cache_write_tokens => 0,
            completion_tokens => 10 * $n, reasoning_tokens => 0, total_tokens => 17 * $n };
    };
    my %by_name = map { $_->{name} => $_ } @{ $zone->{keys} };
    is_deeply(\%by_name, { map { $_->[0] => $record->(@$_) } [ 'alice', 2 ], [ 'alice-2', 1 ], [ 'nobody', 1 ], [ 'second', 1 ] }, 'keys');
    is_deeply($zone->{users}, [ $record->('ann', 3) ], 'users');
    is($zone->{subjects}{used}, 5, 'records in use');
    is_deeply($other->{keys}, [ $record->('other', 1) ], 'the other zone counts for itself');
    like(raw_status()->{body}, qr/"requests":\s*2\b/, 'numbers are numbers');
};

case 'what runs' => sub {
    my $before = $t->zone;
    my $streams = LLM::Streams->open($t, $up, count => 3, key_of => sub { (qw(sk-alice sk-nobody sk-odd))[ $_[0] ] });
    $streams->start_replies;
    $streams->progress(sub { 3 + $_[0]{n} });
    my $c = $t->client;
    $c->request(POST => '/', headers => [ $t->bearer('sk-alice') ], body => chat_request());
    my $u = $up->take;

    my $zone = $t->zone;
    is($zone->{leases}{running}, 4, 'leases');
    my $counters = $zone->{subjects}{used} - $before->{subjects}{used};
    is($before->{bytes}{free} - $zone->{bytes}{free}, 4 * 512 + $counters * 320, 'bytes that they and their counters take');
    my @running = sort { $a->{completion_tokens} <=> $b->{completion_tokens} } @{ $zone->{running} };
    is_deeply([ sort keys %{ $running[0] } ], [qw(age_ms cached_tokens completion_tokens key model peer pid place
            prompt_tokens reasoning_tokens serial stream time_to_first_token_ms user)], 'members');
    my ($worker) = @{ $t->wait_workers };
    is($_->{pid}, $worker, 'the worker') for @running;
    cmp_ok($_->{age_ms}, '>=', 0, 'age') for @running;
    cmp_ok($_->{age_ms}, '<', 600_000, 'a sane age') for @running;
    is($_->{model}, 'm', 'model') for @running;
    is_deeply([ map { $_->{completion_tokens} } @running ], [ 0, 3, 4, 5 ], 'progress');
    is_deeply([ map { $_->{prompt_tokens} } @running ], [ 0, 7, 7, 7 ], 'prompt');
    is_deeply([ map { $_->{stream} ? 1 : 0 } @running ], [ 0, 1, 1, 1 ], 'stream or not');
    is(ref $running[0]{stream}, 'JSON::PP::Boolean', 'as a boolean');
    is_deeply([ map { $_->{key} } @running ], [ qw(alice alice nobody), $odd_name ], 'keys');
    is($running[1]{user}, 'ann', 'user');
    is($t->totals('alice')->{in_flight}, 2, 'in flight');
    is($t->totals('alice')->{requests}, 2, 'is charged at the end only');

    my $age = $running[0]{age_ms};
    wait_until('the age to grow', sub { (sort { $b <=> $a } map { $_->{age_ms} } @{ $t->zone->{running} })[0] > $age });
    $streams->finish(sub { 10 });
    $u->reply(chat_reply(7, 10));
    $c->response;
    $c->close;
    is_deeply($t->wait_idle->{running}, [], 'then nothing runs');
};

case 'odd models' => sub {
    my @models = (
        "quote\" backslash\\ tab\t newline\n null-ish \x{1} del\x{7f}",
        "\x{4f60}" x 80,
        'a' . "\x{1f600}" x 60,
        'ab' . "\x{e4}" x 100,
        'm' x 250,
    );
    my @running;
    for my $model (@models) {
        my $c = $t->client;
        my $body = JSON::PP->new->utf8->encode({ model => $model });
        $c->request(POST => '/', headers => [ $t->bearer('sk-alice') ], body => $body);
        push @running, [ $c, $up->take ];
    }
    my $r = raw_status();
    my $s = eval { JSON::PP->new->utf8->decode($r->{body}) };
    ok($s, 'valid JSON in valid UTF-8') or diag($@);
    my @shown = map { $_->{model} } @{ $s->{zones}[0]{running} };
    for my $model (@models) {
        ok(scalar(grep { length $_ && index($model, $_) == 0 } @shown), 'the model or its beginning') or diag(explain(\@shown));
    }
    for (@running) {
        $_->[1]->reply(chat_reply(1, 1));
        $_->[0]->response;
        $_->[0]->close;
    }
    $t->wait_idle;
};

case 'many records' => sub {
    is(scalar(grep { ask("sk-k$_") != 200 } 1 .. 300), 0, 'a request for each of 300 keys');
    $t->wait_idle;
    my $zone = $t->zone;
    is(scalar(grep { $_->{name} =~ /\Ak\d+\z/ && $_->{requests} == 1 } @{ $zone->{keys} }), 300, 'all keys are listed');
    is(scalar(grep { $_->{name} =~ /\Au\d+\z/ && $_->{requests} == 1 } @{ $zone->{users} }), 300, 'all users are listed');
    my $streams = LLM::Streams->open($t, $up, count => 150, key_of => sub { "sk-k" . ($_[0] + 1) });
    $streams->start_replies;
    $zone = $t->zone;
    is(scalar @{ $zone->{running} }, 150, 'all streams are listed');
    is(scalar(grep { $_->{in_flight} == 1 } @{ $zone->{users} }), 150, 'their users too');
    is($streams->finish(sub { 1 }), 0, 'they end');
};

sub view {
    my ($query) = @_;
    return JSON::PP->new->utf8->decode($t->fetch(GET => "/status?$query")->{body})->{zones}[0];
}

case 'the book' => sub {
    is(ask('sk-spent'), 200, 'one an hour');
    is(ask('sk-spent'), 429, 'and no more');
    is(ask('sk-off'), 401, 'a disabled key');
    is(ask('sk-wrong'), 401, 'a wrong one');
    is(ask('sk-wrong'), 401, 'again');
    $t->wait_idle;
    my $zone = view('view=live');
    my $all = $t->zone;
    is_deeply([ grep { exists $zone->{$_} } qw(keys users) ], [], 'live: without keys and users');
    is_deeply($zone->{$_}, $all->{$_}, "live: $_ as in all of it") for qw(totals models refusals usage_sources parts);

    my %sum;
    for my $key (@{ $all->{keys} }) {
        $sum{$_} += $key->{$_} for qw(requests prompt_tokens completion_tokens total_tokens);
    }
    my %requests = %{ $zone->{totals}{requests} };
    is(delete $requests{refused}, 4, 'refused');
    my $n = 0;
    $n += $_ for values %requests;
    is($n, $sum{requests}, 'requests: as many as those of the keys');
    is($zone->{totals}{$_}, $sum{$_}, "$_: likewise") for qw(prompt_tokens completion_tokens total_tokens);
    is($zone->{totals}{cost}, $sum{total_tokens}, 'each token costs one');
    is_deeply($zone->{refusals}, { requests => 1, disabled => 1, invalid_key => 2 }, 'refusals');

    my ($m) = grep { $_->{name} eq 'm' } @{ $zone->{models} };
    my $ended = $m->{requests};
    is($ended->{ok} + $ended->{incomplete}, $m->{duration_ms}{count}, 'a model: the times of its requests');
    for my $times (@$m{qw(duration_ms time_to_first_token_ms time_per_output_token_us)}) {
        is_deeply([ sort keys %$times ], [qw(count p50 p95 p99 sum)], 'members');
        cmp_ok($times->{p50}, '<=', $times->{p99}, 'p50 and p99') if $times->{count};
    }
    is($m->{time_to_first_token_ms}{count}, 3, 'streams that had content');
    is_deeply([ grep { $_->{in_flight} } @{ $zone->{models} } ], [], 'none in flight');
    my %of_models;
    for my $model (@{ $zone->{models} }) {
        $of_models{$_} += $model->{requests}{$_} for keys %{ $model->{requests} };
    }
    is_deeply(\%of_models, $zone->{totals}{requests}, 'models add up to the totals');

    my %rate;
    for my $second (@{ $zone->{rates} }) {
        $rate{$_} += $second->{$_} for qw(requests refused prompt_tokens completion_tokens);
    }
    is_deeply(\%rate, { requests => $sum{requests} + 4, refused => 4, map { $_ => $sum{$_} } qw(prompt_tokens completion_tokens) },
        'all of it happened in the last minutes');
};

case 'a server and the first token of what runs' => sub {
    my $streams = LLM::Streams->open($t, $up, count => 1, key_of => sub { 'sk-alice' });
    my ($run) = @{ view('view=live')->{running} };
    is($run->{peer}, undef, 'no server has answered');
    is($run->{time_to_first_token_ms}, undef, 'no content');
    $streams->start_replies;
    $streams->progress(sub { 3 });
    ($run) = @{ view('view=live')->{running} };
    is($run->{peer}, '127.0.0.1:' . $t->port(1), 'the server');
    like($run->{time_to_first_token_ms}, qr/\A\d+\z/, 'the time to the first token');
    cmp_ok($run->{time_to_first_token_ms}, '<=', $run->{age_ms}, 'is no longer than its age');
    my $live = view('view=live');
    is_deeply([ map { $_->{name} } grep { $_->{in_flight} == 1 } @{ $live->{models} } ], ['m'], 'its model has one in flight');
    my $serial = $run->{serial};
    $streams->finish(sub { 5 });
    $streams = LLM::Streams->open($t, $up, count => 1, key_of => sub { 'sk-alice' });
    cmp_ok(view('view=live')->{running}[0]{serial}, '>', $serial, 'the next one has another serial');
    $streams->start_replies;
    $streams->finish(sub { 5 });
    $t->wait_idle;
};

case 'keys that are asked for' => sub {
    my $zone = view('view=keys');
    is_deeply([ sort keys %$zone ], [qw(keys matched name)], 'members');
    is($zone->{matched}, 307, 'all keys of all files, used or not');
    is(scalar @{ $zone->{keys} }, 100, 'a hundred are shown');
    my @tokens = map { $_->{total_tokens} } @{ $zone->{keys} };
    is_deeply(\@tokens, [ sort { $b <=> $a } @tokens ], 'those with the most tokens first');
    is($zone->{keys}[0]{name}, 'alice', 'who has the most');

    my @names = map { $_->{name} } @{ view('view=keys&sort=name&limit=1000')->{keys} };
    is_deeply(\@names, [ sort @names ], 'by name');
    is(scalar @names, 307, 'all of them');
    my @page = map { $_->{name} } @{ view('view=keys&sort=name&limit=5&offset=7')->{keys} };
    is_deeply(\@page, [ @names[ 7 .. 11 ] ], 'a page of them');
    is_deeply(view('view=keys&offset=400')->{keys}, [], 'beyond the end');
    my @requests = map { $_->{requests} } @{ view('view=keys&sort=requests')->{keys} };
    is_deeply(\@requests, [ sort { $b <=> $a } @requests ], 'by requests');

    my ($found) = map { $_->{keys}[0] } view('view=keys&filter=SPENT');
    is($found->{name}, 'spent', 'a filter, in any case');
    is_deeply([ @$found{qw(user plan requests refused in_flight)} ], [ 'zoe', '', 1, 1, 0 ], 'what it has used');
    is_deeply($found->{refusals}, { requests => 1 }, 'and why it was refused');
    my %limit = map { $_->{limit} => $_ } @{ $found->{limits} };
    is_deeply([ @{ $limit{requests} }{qw(period maximum remaining)} ], [ '1h', 1, 0 ], 'its own limit');
    cmp_ok($limit{requests}{reset_ms}, '>', 3_000_000, 'is there again in an hour');
    is_deeply([ @{ $limit{concurrency} }{qw(period maximum remaining reset_ms)} ], [ undef, 400, 400, undef ], 'that of the location');
    is_deeply([ @{ $limit{quota} }{qw(period maximum remaining)} ], [ '1d', 1_000_000, 1_000_000 - 17 ], 'a quota');
    is($limit{tokens}{maximum}, 100_000, 'a rate of tokens');

    my $by_user = view('view=keys&filter=zoe&sort=name');
    is_deeply([ map { $_->{name} } @{ $by_user->{keys} } ], [qw(off spent)], 'by user');
    my $off = $by_user->{keys}[0];
    ok(!$off->{enabled}, 'disabled');
    is($off->{expires}, '2031-02-03T04:05:06Z', 'when it expires');
    is_deeply($off->{refusals}, { disabled => 1 }, 'its refusals');
    is($found->{expires}, undef, 'or never does');
    is(view('view=keys&filter=ann%27s+%22key%22')->{keys}[0]{name}, $odd_name, 'escaped as in a form');
    is(view('view=keys&filter=nothing-like-it')->{matched}, 0, 'a filter that fits none');
    is(scalar @{ view('view=keys&limit=-1&offset=x')->{keys} }, 100, 'numbers that are none');
};

case 'requests to it' => sub {
    my $r = $t->fetch(HEAD => '/status');
    is($r->{status}, 200, 'HEAD');
    is($r->{body}, '', 'has no body');
    is($t->fetch(POST => '/status', body => '{}')->{status}, 405, 'POST');
    is($t->fetch(GET => '/guarded')->{status}, 401, 'under llm_api_keys it needs a key');
    is($t->fetch(GET => '/guarded', key => 'sk-alice')->{status}, 200, 'and takes one');
};

$t->finish;
