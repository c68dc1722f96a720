# Why: clients choose names of models, and their addresses. Whatever one key sends, others must be let in, no limit may be got rid
# of by names, and limits must be as exact as ever for names that are new.

use strict;
use warnings;

use LLM::Crowd;
use LLM::Test;

#   LLM_NAMES  how many names one key sends (default 5000)
my $many = $ENV{LLM_NAMES} || 5000;

my @zones = qw(models addresses quota race unproved killed);
my @keys  = ('greedy', map { "k$_" } 0 .. 9);
my $zones = join "\n    ", map { "llm_zone $_:512k;" } @zones;
my $t = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    alerts  => [ qr/worker process \d+ exited on signal 9/ ],
    files   => { 'keys.json' => key_file([ map { { name => $_, secret => "sk-$_" } } @keys ]) },
    conf    => <<"EOF");
%%HTTP_BEGIN%%
    $zones
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    keepalive_requests 1000000;
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location /models {
            llm_api_keys %%DIR%%/keys.json zone=models;
            llm_limit per=model quota=100m/d;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location /addresses {
            llm_api_keys %%DIR%%/keys.json zone=addresses;
            llm_limit per=address quota=100m/d;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location /quota {
            llm_api_keys %%DIR%%/keys.json zone=quota;
            llm_limit per=model quota=170/d;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location /race {
            llm_api_keys %%DIR%%/keys.json zone=race;
            llm_limit per=model concurrency=10 quota=100m/d;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /race/flood {
            llm_api_keys %%DIR%%/keys.json zone=race;
            llm_limit per=model concurrency=10 quota=100m/d;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location /unproved {
            llm_api_keys %%DIR%%/keys.json zone=unproved;
            llm_limit per=model requests=1r/h burst=1;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location /killed {
            llm_api_keys %%DIR%%/keys.json zone=killed;
            llm_limit per=model quota=100m/d;
            llm_limit per=address quota=100m/d;
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location = /status { llm_status; }
    }
}
EOF
my $up = $t->upstream(1);
$t->daemon(2);
$t->start;

srand 4;

sub network { return sprintf '2001:db8:%x:%x::%x', rand 65536, rand 65536, 1 + rand 9 }

# Sends so many requests one after the other, the n-th with what `of` says. Returns how often each status came.
sub send_all {
    my ($count, $uri, $key, $of) = @_;

    my $client = $t->client;
    my %status;
    for my $n (0 .. $count - 1) {
        my %o = $of->($n);
        my @headers = ($t->bearer("sk-$key"), 'Content-Type' => 'application/json', 'X-Real-IP' => $o{address} // '10.1.0.1');
        push @headers, 'X-Reply' => json($o{reply}) if $o{reply};
        $client->request(POST => $uri, headers => \@headers, body => chat_request(model => $o{model} // 'm'));
        $status{ $client->response->{status} }++;
    }
    $client->close;
    return \%status;
}

sub random_name { return join '', map { chr 97 + int rand 26 } 1 .. 12 }

# Everybody but the greedy one names ten new ones.
sub others_are_let_in {
    my ($uri) = @_;

    my %sum;
    for my $key (grep { $_ ne 'greedy' } @keys) {
        my $status = send_all(10, $uri, $key, sub { (model => "$key $_[0]", address => network()) });
        $sum{$_} += $status->{$_} for keys %$status;
    }
    is_deeply(\%sum, { 200 => 100 }, 'other keys are let in, with names that are new');
    return;
}

sub names_of {
    my ($zone) = @_;

    return { map { $_->{name} => $_->{names} } @{ $zone->{keys} } };
}

sub lines_about {
    my ($zone) = @_;

    return scalar grep { /llm_zone "$zone": key "greedy" names more/ } split /\n/, $t->read_file('error.log');
}

case 'models that one key names' => sub {
    is_deeply(send_all($many, '/models', 'greedy', sub { (model => random_name()) }), { 200 => $many }, 'all are answered');
    my $zone = $t->zone('models');
    others_are_let_in('/models');
    my $most = $zone->{subjects}{max_names_per_key};
    cmp_ok($most, '<=', $zone->{subjects}{max_names} / 8, 'a share of the room');
    is_deeply(names_of($zone), { greedy => $most }, 'it has as many counters and no more');
    is($zone->{subjects}{names}, $most, 'and nobody has others');
    my $names = names_of($t->zone('models'));
    is($names->{"k$_"}, 10, "k$_ has a counter for each of its own") for 0 .. 9;
    is(lines_about('models'), 1, 'the log says it once');
};

case 'addresses that one key comes from' => sub {
    is_deeply(send_all($many, '/addresses', 'greedy', sub { (address => network()) }), { 200 => $many }, 'all are answered');
    my $zone = $t->zone('addresses');
    others_are_let_in('/addresses');
    is_deeply(names_of($zone), { greedy => $zone->{subjects}{max_names_per_key} }, 'it has as many counters and no more');
    is(lines_about('addresses'), 1, 'the log says it once');
};

case 'a quota is not got rid of by names' => sub {
    # Ten requests each, of 17 tokens.
    my $used = { 200 => 10, 429 => 30 };
    is_deeply(send_all(40, '/quota', 'greedy', sub { (model => 'mine') }), $used, 'its own model');
    my $n      = 1000;
    my $status = send_all($n, '/quota', 'greedy', sub { (model => random_name()) });
    my $most   = $t->zone('quota')->{subjects}{max_names_per_key};
    my $passed = $most - 1 + 10;
    is_deeply($status, { 200 => $passed, 429 => $n - $passed }, 'further ones have one quota together');
    is_deeply(send_all(20, '/quota', 'greedy', sub { (model => 'mine') }), { 429 => 20 }, 'its own model is as it was');
    others_are_let_in('/quota');
};

sub race {
    my ($key, $model) = @_;

    my $request = { uri => '/race', headers => [ $t->bearer("sk-$key") ], body => chat_request(model => $model) };
    return LLM::Crowd->open($t, $up, at_once => 1, count => 500, request => sub { $request });
}

case 'the first requests of a new model, all at once' => sub {
    my $first = race('greedy', 'new');
    is(scalar(my @all = $first->let_in), 10, 'as many as the limit says');
    my $flood = send_all(300, '/race/flood', 'greedy', sub { (model => random_name()) });
    is_deeply($flood, { 200 => 300 }, 'then it names more than it has counters of');
    my $second = race('greedy', 'newer');
    is(scalar(@all = $second->let_in), 10, 'as many of the next new model');
    is(scalar(@all = race('greedy', 'newest')->let_in), 0, 'none of one that shares with it');
    my $other = race('k1', 'of another key');
    is(scalar(@all = $other->let_in), 10, 'those of another key have a limit of their own');
    is($_->reply(7, 10), 0, 'all are answered') for $first, $second, $other;
    wait_until('the end of all', sub { $t->zone('race')->{leases}{running} == 0 });
    my $again = race('greedy', 'newest');
    is(scalar(@all = $again->let_in), 10, 'then as many again');
    is($again->reply(7, 10), 0, 'all are answered');
};

case 'names that no upstream knows' => sub {
    my $unknown = { status => 404, body => '{"error":{"message":"no such model"}}' };
    my $status  = send_all(500, '/unproved', 'greedy', sub { (model => random_name(), reply => $unknown) });
    is($status->{503}, undef, 'no 503');
    my $most = $t->zone('unproved')->{subjects}{max_names_per_key};
    is($status->{404}, $most + 2, 'its limit for further ones is that of one');
    others_are_let_in('/unproved');
};

# Sends random names from random networks until it is killed.
sub flood {
    my ($key) = @_;

    my $parent = $$;
    my $pid    = fork // die "fork: $!\n";
    if (!$pid) {
        close STDOUT;
        close STDERR;
        alarm 4 * time_limit();
        local $SIG{ALRM} = 'DEFAULT';
        srand $$;
        while (getppid == $parent) {
            eval { send_all(1000, '/killed', $key, sub { (model => random_name(), address => network()) }) };
        }
        POSIX::_exit(0);
    }
    return $pid;
}

sub served {
    my $zone = eval { $t->zone('killed') } or return 0;
    my $sum = 0;
    $sum += $_->{requests} for @{ $zone->{keys} };
    return $sum;
}

case 'workers that are killed in the middle of it' => sub {
    my @floods = map { flood($_) } 'greedy', 'k0', 'k1';
    my $lived  = eval {
        for my $round (1 .. 15) {
            my $workers = $t->wait_workers;
            my $before  = served();
            wait_until('requests to be served', sub { served() > $before + 50 });
            my $victim = $workers->[ $round % 2 ];
            kill KILL => $victim;
            wait_until('its end', sub { !-e "/proc/$victim" });
        }
        1;
    };
    fail($@) if !$lived;
    kill KILL => @floods;
    waitpid $_, 0 for @floods;
    $t->wait_workers;
    my $zone  = wait_until('all to have ended', sub { my $z = $t->zone('killed'); $z->{leases}{running} == 0 && $z });
    my $names = names_of($zone);
    my $most  = $zone->{subjects}{max_names_per_key};
    is($names->{$_}, $most, "$_ has as many counters as it may have") for 'greedy', 'k0', 'k1';
    is($zone->{subjects}{names}, 3 * $most, 'and there are no others');
    is($_->{in_flight}, 0, "$_->{name}: nothing in flight") for @{ $zone->{keys} };
    my $status = send_all(7, '/killed', 'k5', sub { (model => "new $_[0]", address => network()) });
    is_deeply($status, { 200 => 7 }, 'another key is let in');
    is(names_of($t->zone('killed'))->{k5}, 14, 'with counters of its own');
};

$t->finish;
