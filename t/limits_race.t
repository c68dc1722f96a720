# Why: a limit is a promise about what the model server gets. It must hold to the request when all come at once to several
# workers, nobody may pay for what was refused, and however requests end, what they held must be there again: no less, or the
# key is locked out for ever, and no more.

use strict;
use warnings;

use LLM::Crowd;
use LLM::Test;

#   LLM_CROWD  how many requests come at once (default 500)

# No limit here gets anything back by time while the test runs: a unit takes an hour.
my $crowd = $ENV{LLM_CROWD} || 500;
# Many, since each that is let in is one more chance to be let in twice.
my $n = 200;

# A request takes 100 tokens for its 400 bytes and 900 for its max_tokens, and uses 100 + 400 in the end. Limits have some
# slack of less than a request.
my ($takes, $uses) = (1000, 500);
my %limit = (
    requests    => 'requests=1r/h burst=' . ($n - 1),
    concurrency => "concurrency=$n",
    tokens      => 'tokens=1/h token_burst=' . ($n * $takes + 400),
    quota       => 'quota=' . ($n * $takes - 300) . '/total',
);
# How many fit when the first ones have ended. A quota lets in while there is anything left.
my %then = (
    requests    => 0,
    concurrency => $n,
    tokens      => int(($n * ($takes - $uses) + 400) / $takes),
    quota       => int(($n * ($takes - $uses) - 300) / $takes) + 1,
);

# The other limits, of another scope: room for all, but not for one request in flight more than those that are let in and the one
# that looks at what is left. Rate and quota of tokens are the same number, of which the lesser rest is told.
my ($room, $token_room) = (100_000, 1_000_000);
my $roomy = 'requests=1r/h burst=' . ($room - 1) . " tokens=1/h token_burst=$token_room quota=$token_room/total concurrency=" . ($n + 1);

# Who sends the n-th request, so that no more than the one scope is common to all.
my %sender = (
    key     => sub { { key => 'a1',                        model => 'm' . $_[0] % 3, address => '10.1.0.' . $_[0] % 5 } },
    user    => sub { { key => 'a' . (1 + $_[0] % 3),       model => 'm' . $_[0] % 4, address => '10.1.0.' . $_[0] % 5 } },
    model   => sub { { key => (qw(a1 a2 b1))[ $_[0] % 3 ], model => 'm',             address => '10.1.0.' . $_[0] % 5 } },
    address => sub { { key => (qw(a1 a2 b1))[ $_[0] % 3 ], model => 'm' . $_[0] % 4, address => '10.1.0.1' } },
    # The other limits are the user's here.
    zone    => sub { { key => 'a' . (1 + $_[0] % 3),       model => 'm' . $_[0] % 4, address => '10.1.0.' . $_[0] % 5 } },
);
my $same     = { key => 'a1', model => 'm',     address => '10.1.0.1' };
my $stranger = { key => 'c1', model => 'other', address => '10.2.0.1' };
my $prober   = { key => 'a1', model => 'probe', address => '10.3.0.1' };

my @kinds  = qw(requests concurrency tokens quota);
my @scopes = qw(key user model address zone);

my ($zones, $locations) = ('', '');
for my $kind (@kinds) {
    for my $scope (@scopes) {
        my $other = $scope eq 'zone' ? 'user' : 'zone';
        my $keys  = "llm_api_keys %%DIR%%/keys.json zone=${kind}_$scope;";
        $zones .= "llm_zone ${kind}_$scope:1m;\n";
        $locations .= <<"END";
location /race/$kind/$scope {
    $keys
    llm_limit per=$scope $limit{$kind};
    llm_limit per=$other $roomy;
    proxy_pass http://127.0.0.1:%%PORT_1%%;
}
location /probe/$kind/$scope {
    $keys
    llm_limit per=$other $roomy;
    proxy_pass http://127.0.0.1:%%PORT_2%%;
}
END
    }
}

my @keys = (
    (map { { name => "a$_", user => 'ann', secret => "sk-a$_" } } 1 .. 3),
    { name => 'b1', user => 'bob', secret => 'sk-b1' },
    { name => 'c1', user => 'cem', secret => 'sk-c1' },
);

my $t = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    files   => { 'keys.json' => key_file(\@keys) },
    conf    => <<"EOF");
%%HTTP_BEGIN%%
    $zones
    llm_zone all:1m;
    llm_zone failures:1m;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    server {
        # A queue for each worker, so that both have work.
        listen 127.0.0.1:%%PORT_0%% reuseport;
        add_header X-Worker \$pid always;
        $locations
        location /all {
            llm_api_keys %%DIR%%/keys.json zone=all;
            llm_limit per=key requests=1r/h burst=49;
            llm_limit per=user concurrency=45;
            llm_limit per=model tokens=1/h token_burst=41400;
            llm_limit per=address quota=38700/total;
            llm_limit per=zone concurrency=37;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /failures {
            llm_api_keys %%DIR%%/keys.json zone=failures;
            llm_limit per=address failures=10r/h;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location = /status { llm_status; }
    }
}
EOF
my $up = $t->upstream(1);
$t->daemon(2);
$t->start;

sub request {
    my ($uri, $who, %fields) = @_;

    return {
        uri     => $uri,
        headers => [ $t->bearer("sk-$who->{key}"), 'X-Real-IP' => $who->{address} ],
        body    => chat_request_of(400, model => $who->{model}, max_tokens => 900, %fields),
    };
}

# So many requests at once, those of one sender or of the n-th.
sub race {
    my ($count, $uri, $sender) = @_;

    my $who = ref $sender eq 'CODE' ? $sender : sub { $sender };
    return LLM::Crowd->open($t, $up, at_once => 1, count => $count, request => sub { request($uri, $who->($_[0])) });
}

sub idle {
    my ($name) = @_;

    return wait_until("zone $name to be idle", sub {
        my $zone = $t->zone($name);
        $zone->{leases}{running} == 0 && $zone;
    });
}

sub sum {
    my ($zone, $what, $field) = @_;

    my $sum = 0;
    $sum += $_->{$field} for @{ $zone->{$what} };
    return $sum;
}

# What the other limits have left when this request is let in: [requests, tokens].
sub left_of_the_other {
    my ($uri) = @_;

    my $r = $t->fetch(POST => $uri, %{ request($uri, $prober) }, reply => { body => chat_reply(100, 10) });
    return [ map { $r->{headers}{"x-ratelimit-remaining-$_"} } qw(requests tokens) ];
}

sub all_refused_by {
    my ($kind, @refused) = @_;

    is(scalar(grep { ($_->{response}{status} // 0) == 429 } @refused), scalar @refused, 'the others get 429');
    my %why;
    $why{ $t->log_line($_->{id})->{refusal} }++ for @refused;
    is_deeply(\%why, { $kind => scalar @refused }, 'for this limit');
    return;
}

sub exact {
    my ($kind, $scope) = @_;

    my $zone_name = "${kind}_$scope";
    my ($uri, $probe) = map { "/$_/$kind/$scope" } qw(race probe);

    my $first = race($crowd, $uri, $sender{$scope});
    is(scalar(my @all = $first->let_in), $n, 'as many as the limit says are let in');
    all_refused_by($kind, $first->refused);
    my $zone = $t->zone($zone_name);
    is($zone->{leases}{running}, $n, 'so many run');
    is(sum($zone, $_, 'in_flight'), $n, "so many are counted for $_") for qw(keys users);
    my %workers = map { $_->{pid} => 1 } @{ $zone->{running} };
    $workers{ $_->{response}{headers}{'x-worker'} } = 1 for $first->refused;
    is(scalar keys %workers, 2, 'both workers had a part in it');

    is_deeply(left_of_the_other($probe), [ $room - $n - 1, $token_room - ($n + 1) * $takes ],
        'the other limits have paid for those that were let in, and for nobody else');

    my $stranger_too = race(1, $uri, $stranger);
    my $more = $stranger_too->let_in;
    is($more, $scope eq 'zone' ? 0 : 1, 'one that has nothing in common but the zone');

    is($first->reply(100, 400) + $stranger_too->reply(100, 400), 0, 'all are answered');
    $zone = idle($zone_name);
    is(sum($zone, $_, 'requests'), $n + $more + 1, "charged to $_: those that were let in") for qw(keys users);
    my $used = ($n + $more) * $uses + 110;
    is(sum($zone, $_, 'total_tokens'), $used, "and their tokens to $_") for qw(keys users);
    is_deeply(left_of_the_other($probe), [ $room - $n - $more - 2, $token_room - $used - $takes ],
        'the other limits have paid for what they used');
    idle($zone_name);

    my $second = race($n + 50, $uri, $sender{$scope});
    is(scalar(@all = $second->let_in), $then{$kind}, 'then so many fit again');
    all_refused_by($kind, $second->refused);
    is($second->reply(100, 400), 0, 'all are answered');
    is(sum(idle($zone_name), 'keys', 'requests'), $n + $more + 2 + $then{$kind}, 'and charged');
    return;
}

for my $scope (@scopes) {
    for my $kind (@kinds) {
        case "$kind per $scope" => sub { exact($kind, $scope) };
    }
}

case 'all at once' => sub {
    my $first = race($crowd, '/all', $same);
    is(scalar(my @all = $first->let_in), 37, 'the tightest decides');
    all_refused_by(concurrency => $first->refused);
    is($first->reply(100, 400), 0, 'all are answered');
    idle('all');
    my $second = race($crowd, '/all', $same);
    is(scalar(@all = $second->let_in), 13, 'those that it refused had taken nothing of the others');
    all_refused_by(requests => $second->refused);
    $second->reply(100, 400);
    is(idle('all')->{keys}[0]{requests}, 50, 'charged');
};

case 'failures' => sub {
    my $guess = sub {
        my ($address) = @_;
        return race($crowd, '/failures', sub { { key => "guess-$_[0]", model => 'm', address => $address } });
    };
    my $known = race(1, '/failures', { key => 'b1', model => 'm', address => '10.1.0.1' });
    is(scalar(my @first = $known->let_in), 1, 'a good key');
    $known->reply(100, 400);
    for my $address (qw(10.1.0.1 10.1.0.2)) {
        my %status;
        $status{ $_->{response}{status} }++ for $guess->($address)->refused;
        is_deeply(\%status, { 401 => 10, 429 => $crowd - 10 }, "so many guesses of $address are looked at");
    }
    my $good = race(20, '/failures', { key => 'b1', model => 'm', address => '10.1.0.1' });
    is(scalar(my @all = $good->let_in), 20, 'it works where it is known');
    $good->reply(100, 400);
    is(scalar(@all = race(20, '/failures', { key => 'b1', model => 'm', address => '10.1.0.2' })->let_in), 0, 'but not where it is new');
    is(sum(idle('failures'), 'keys', 'requests'), 21, 'only the good key is counted');
};

case 'all zones are idle' => sub {
    is($_->{leases}{running}, 0, $_->{name}) for @{ $t->status->{zones} };
    $t->check_and_stop;
};

# --- however requests end

# Prompts cost nothing here: that of a request whose client does not wait is charged, and these tests are about what is given back.
# So a request takes 900, and uses 400 of them.
my $fit = 30;
($takes, $uses) = (900, 400);
my ($burst, $quota) = ($fit * $takes + 400, $fit * $takes - 300);

$t = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    alerts  => [ qr/worker process \d+ exited on signal 9/ ],
    files   => { 'keys.json' => key_file(\@keys) },
    conf    => <<"EOF");
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    llm_usage_weights prompt=0;
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / {
            llm_limit concurrency=$fit;
            llm_limit per=user tokens=1/h token_burst=$burst;
            llm_limit per=zone quota=$quota/total;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /probe {
            llm_limit per=user tokens=1/h token_burst=$burst;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOF
$up = $t->upstream(1);
$t->daemon(2);
$t->start;

my $event = chunk('some text', usage => usage(100, 50));

# Comes with more than fit, at once. Returns those that are let in, which must be so many.
sub fill {
    my ($expected, $name) = @_;

    my $all = LLM::Crowd->open($t, $up, at_once => 1, count => 45, request => sub { request('/', $same, stream => \1) });
    my @streams = $all->let_in;
    is(scalar @streams, $expected, $name // 'all that fit');
    return @streams;
}

sub settled {
    my ($running, $name) = @_;

    my $zone = $t->wait_running($running);
    is($zone->{leases}{running}, $running, "$name: leases");
    is(sum($zone, $_, 'in_flight'), $running, "$name: in flight of $_") for qw(keys users);
    return;
}

sub close_all {
    for (@_) {
        $_->{upstream}->close;
        $_->{client}->close;
    }
    return;
}

# Those whose connections nginx has closed, and the others.
sub dead_and_alive {
    my (@dead, @alive);
    for (@_) {
        $_->{client}->pump;
        push @{ $_->{client}->eof ? \@dead : \@alive }, $_;
    }
    close_all(@dead);
    return (\@dead, \@alive);
}

sub kill_hard {
    my (@pids) = @_;

    kill KILL => @pids;
    # Not before the master has seen its end are all its connections sure to be closed: a dying process loses its memory, and so
    # its command line, first.
    wait_until("the end of @pids", sub { !grep { -e "/proc/$_" } @pids });
    return;
}

srand 11;

# A piece of the first event, never the whole.
sub send_piece {
    my ($s) = @_;

    my $piece = substr $event, 0, 1 + int rand length($event) - 3;
    $s->{upstream}->head;
    $s->{upstream}->piece($piece);
    $s->{client}->wait_body(length $piece);
    return;
}

# How the n-th ends. None of them has shown any content by then, so all that was reserved comes back.
my %vanish = (
    'the client goes before the reply' => sub {
        my ($s) = @_;
        $s->{n} % 2 ? $s->{client}->close : $s->{client}->reset;
    },
    'the client goes within the first event' => sub {
        my ($s) = @_;
        send_piece($s);
        $s->{n} % 2 ? $s->{client}->close : $s->{client}->reset;
    },
    'the upstream is cut before the reply' => sub {
        my ($s) = @_;
        $s->{n} % 2 ? $s->{upstream}->close : $s->{upstream}->reset;
    },
    'the upstream is cut within the first event' => sub {
        my ($s) = @_;
        send_piece($s);
        $s->{n} % 2 ? $s->{upstream}->close : $s->{upstream}->reset;
    },
    'the upstream answers with an error' => sub {
        my ($s) = @_;
        $s->{upstream}->reply('{"error":{"message":"no"}}', status => (400, 500, 429, 503)[ $s->{n} % 4 ]);
    },
);

for my $how (sort keys %vanish) {
    case $how => sub {
        my @streams = fill($fit);
        my @gone    = splice @streams, 0, 20;
        $vanish{$how}->($_) for @gone;
        settled($fit - 20, 'those that are left');
        my @again = fill(20, 'as many fit again');
        $vanish{$how}->($_) for @again, @streams;
        settled(0, 'at the end');
        close_all(@gone, @again, @streams);
    };
}

for my $round (1 .. 4) {
    case "a worker is killed, round $round" => sub {
        my $workers = $t->wait_workers;
        my @streams = fill($fit);
        kill_hard($round == 4 ? @$workers : $workers->[ $round % 2 ]);
        my ($dead, $alive) = dead_and_alive(@streams);
        is(scalar @$dead, $fit, 'all are cut') if $round == 4;
        settled(scalar @$alive, 'after the kill');
        my @again = fill(scalar @$dead, 'as many fit again');
        close_all(@$alive, @again);
        settled(0, 'at the end');
    };
}

case 'old workers hold what new ones want, and are killed' => sub {
    my @streams = fill($fit);
    $t->reload;
    my $old = $t->worker_pids->{exiting};
    fill(0, 'nothing is left for the new ones');
    close_all(splice @streams, 0, 10);
    settled($fit - 10, 'some have ended');
    my @new = fill(10, 'as many fit again');
    kill_hard(@$old);
    my ($dead) = dead_and_alive(@streams);
    is(scalar @$dead, 20, 'the old workers\' are cut');
    settled(10, 'after the kill');
    push @new, fill(20, 'as many fit again');
    close_all(@new);
    settled(0, 'at the end');
};

case 'what killed streams had used is charged, and no more' => sub {
    my $before  = $t->totals('a1')->{completion_tokens};
    my @streams = fill($fit);
    my $used    = 0;
    for my $s (@streams) {
        my $tokens = int rand 400;
        my $text   = chunk('x', usage => usage(100, $tokens));
        $s->{upstream}->head;
        $s->{upstream}->piece($text);
        $s->{client}->wait_body(length $text);
        $used += $tokens;
    }
    kill_hard(@{ $t->wait_workers });
    my ($dead) = dead_and_alive(@streams);
    is(scalar @$dead, $fit, 'all are cut');
    settled(0, 'after the kill');
    is($t->totals('a1')->{completion_tokens} - $before, $used, 'the key is charged');
    my $r = $t->fetch(POST => '/probe', %{ request('/probe', $same) }, reply => { body => chat_reply(100, 400) });
    is($r->{headers}{'x-ratelimit-remaining-tokens'}, $burst - $used - $takes, 'the rate has lost as much');
    $t->wait_idle;
    my ($rate) = sort { $a <=> $b } int(($burst - $used - $uses) / $takes), int(($quota - $used - 1) / $takes) + 1;
    close_all(fill($rate, 'and so many fit'));
    settled(0, 'at the end');
};

$t->finish;
