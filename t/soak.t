# Why: limits of requests in flight are what keeps a model server alive, and those that leak lock a key out for ever. So here is
# everything that can happen to requests, all at once and at random: clients that leave at any byte of their request or of
# the reply, upstreams that cut theirs at any byte, internal redirects, reloads, killed workers. At no moment may the upstream
# hold more requests of a key, user, model, address or of the zone than its limit; and in the end nothing may be held any more, and every
# token must be charged once.
#
#   LLM_SOAK       how many requests are to reach the upstream (default 100000, at most 200000). Those that limits refuse come on top
#   LLM_SEED       chooses what happens to each of them
#   LLM_SOAK_LOAD  the program that makes the load (default: t/soak/soak_load of the build that has the module)

use strict;
use warnings;

use File::Basename qw(dirname);
use FindBin;
use JSON::PP;

use LLM::Crowd;
use LLM::Metrics;
use LLM::Test;

my $requests = $ENV{LLM_SOAK} || 100_000;
my $seed     = $ENV{LLM_SEED} // int rand 2**31;
die "LLM_SOAK: at most 200000\n" if $requests > 200_000;

my ($load) = grep { -x } $ENV{LLM_SOAK_LOAD} // (), ($ENV{LLM_MODULE} ? dirname($ENV{LLM_MODULE}) . '/t/soak/soak_load' : ()),
    "$FindBin::Bin/../build/t/soak/soak_load";
die "no soak_load: build it (cmake -DLLM_DEV=ON), or set LLM_SOAK_LOAD\n" if !$load;

my @scopes = qw(key user model address zone);
my %limit  = (key => 6, user => 9, model => 8, address => 8, zone => 16);

# Rates and quotas that nobody reaches, and that give nothing back by time while the test runs: what is missing of them in the
# end was charged, or is held.
my ($tokens, $count) = (5_000_000, 1_000_000);
my $rate     = "tokens=1/h token_burst=$tokens requests=1r/h burst=" . ($count - 1);
my $limits   = join "\n", map { "llm_limit per=$_ concurrency=$limit{$_} $rate quota=$tokens/total;" } @scopes;
my $probes   = join "\n", map { <<"END" } @scopes;
location /rate/$_  { llm_limit per=$_ $rate; llm_usage_weights prompt=0 cached=0; proxy_pass http://127.0.0.1:%%PORT_3%%; }
location /quota/$_ { llm_limit per=$_ quota=$tokens/total; llm_usage_weights prompt=0 cached=0; proxy_pass http://127.0.0.1:%%PORT_3%%; }
END
my @keys = map { { name => "k$_", user => 'u' . int($_ / 2), secret => "sk-k$_" } } 0 .. 5;

my $t = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    # Workers are killed at any instruction, with the zone's lock in hand too.
    alerts => [ qr/worker process \d+ exited on signal 9/, qr/shared memory zone "llm" was locked by/ ],
    files  => { 'keys.json' => key_file(\@keys) },
    conf   => <<"EOF");
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    upstream model { server 127.0.0.1:%%PORT_1%%; keepalive 8; }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        $limits

        location /direct { proxy_pass http://model; }
        location /rewritten { rewrite ^ /direct last; }

        # These come to another location with their lease.
        location /accel { proxy_pass http://model; }
        location /inner { internal; proxy_set_header X-Second 1; proxy_set_header Connection ""; proxy_pass http://model; }
        location /instead { proxy_intercept_errors on; error_page 502 503 = /inner; proxy_pass http://model; }
        location /named { proxy_intercept_errors on; error_page 502 503 = \@named; proxy_pass http://model; }
        location \@named {
            llm_api_keys %%DIR%%/keys.json;
            proxy_set_header X-Second 1;
            proxy_set_header Connection "";
            proxy_pass http://model;
        }

        location /crowd { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        $probes
        location = /status { llm_api_keys off; llm_status; }
        location = /metrics { llm_api_keys off; llm_metrics; }
    }
}
EOF
my $up = $t->upstream(2);
$t->daemon(3);
$t->start;
srand $seed;
note "LLM_SEED=$seed LLM_SOAK=$requests";

# --- a run

# Starts the load; calls disturb(n) after each thousand requests. Returns (what the load saw, { id => [key, tokens of the upstream's
# last reply, whether it was reached, whether the client has the reply whole] } of all requests that may have been let in).
sub run {
    my ($name, $share, $disturb) = @_;

    my @arguments = ($t->port(0), $t->port(1), $seed + ord $name, $name, $share, map { $limit{$_} } @scopes);
    open my $out, '-|', $load, @arguments or die "$load: $!\n";
    my $n = 0;
    while (my $line = <$out>) {
        last if $line ne "tick\n";
        $disturb->(++$n);
    }
    my $seen = <$out>;
    my %ledger;
    while (<$out>) {
        my ($id, @what) = split;
        $ledger{$id} = \@what;
    }
    close $out;
    die "the load failed\n" if !$seen;
    return (JSON::PP->new->decode($seen), \%ledger);
}

sub say_what_happened {
    my ($seen, $more) = @_;

    note sprintf '%d requests reached the upstream in %.1f s (%d of its replies: %d cut, %d given up by nginx); %d clients left, '
        . '%d were cut, %d replies came whole; %d more requests were refused%s', $seen->{reached}, $seen->{milliseconds} / 1000,
        @$seen{qw(replies upstream_cut upstream_given_up clients_left broken whole refused)}, $more;
    note 'most at once: ' . join ', ', map { "$_ $seen->{$_}{peak} of $limit{$_} ($seen->{$_}{times} times)" } @scopes;
    note "the upstream looked twice $seen->{second_looks} times, for at most $seen->{longest_look_ms} ms";
    return;
}

sub never_more_than_the_limit {
    my ($seen) = @_;

    is($seen->{exceeded}, 0, 'the upstream never holds more than a limit says');
    is($seen->{$_}{peak}, $limit{$_}, "and as many as the limit per $_ says") for @scopes;
    is($seen->{held}, 0, 'in the end it holds none');
    cmp_ok($seen->{refused}, '>', 0, 'others are refused');
    cmp_ok($seen->{$_}, '>', 0, "some: $_") for qw(clients_left upstream_cut whole);
    return;
}

# What the access log says of requests of this run that were let in, as it grows: id => { key, outcome, source, prompt,
# completion }. And of all: how many by key and outcome, and by reason.
my ($log_offset, %in_log, %logged, %ended, %refusals) = (0);

sub read_log {
    open my $log, '<:raw', "$t->{dir}/access.log" or die "access.log: $!\n";
    seek $log, $log_offset, 0;
    while (my $line = <$log>) {
        last if $line !~ /\n\z/;
        $log_offset += length $line;
        my %field = $line =~ /"(\w+)":"([^"]*)"/g;
        $in_log{ $field{id} } = 1;
        next if $field{outcome} eq '';
        $ended{"$field{key} $field{outcome}"}++;
        $refusals{ $field{refusal} }++ if $field{outcome} eq 'refused';
        # Neither refused nor gone before the decision.
        next if $field{outcome} eq 'refused' || $field{usage_source} eq '';
        $logged{ $field{id} } = {
            key        => $field{key},
            outcome    => $field{outcome},
            source     => $field{usage_source},
            prompt     => $field{prompt_tokens} || 0,
            completion => $field{completion_tokens} || 0,
        };
    }
    return;
}

# Sums by key, and by user: name => [requests, prompt, completion].
sub sums {
    my (@requests) = @_;

    my %sum = map { ("k$_" => [ 0, 0, 0 ], 'u' . int($_ / 2) => [ 0, 0, 0 ]) } 0 .. 5;
    for my $r (@requests) {
        my ($number) = $r->{key} =~ /k(\d)/;
        for my $sum ($sum{"k$number"}, $sum{ 'u' . int($number / 2) }) {
            $sum->[0]++;
            $sum->[1] += $r->{prompt};
            $sum->[2] += $r->{completion};
        }
    }
    return \%sum;
}

sub charged {
    my ($zone) = @_;

    my $sum = sums();
    $sum->{ $_->{name} } = [ @$_{qw(requests prompt_tokens completion_tokens)} ] for @{ $zone->{keys} }, @{ $zone->{users} };
    return $sum;
}

# What the book has: requests by key and outcome, and refusals by reason.
sub in_book {
    my ($metrics) = @_;

    my (%requests, %reasons);
    $requests{"$_->{labels}{key} $_->{labels}{outcome}"} += $_->{value} for grep { $_->{value} } series($metrics, 'llm_requests_total');
    $reasons{ $_->{labels}{reason} }                     += $_->{value} for series($metrics, 'llm_refusals_total');
    return (\%requests, \%reasons);
}

# Its tokens are those of status, whoever was killed.
sub book_is_charged {
    my ($charged) = @_;

    my $metrics = parse_metrics($t->fetch(GET => '/metrics')->{body});
    for my $key (map {"k$_"} 0 .. 5) {
        my @tokens = map { sum_of($metrics, 'llm_tokens_total', key => $key, type => $_) } qw(prompt completion);
        is_deeply(\@tokens, [ @{ $charged->{$key} }[ 1, 2 ] ], "the book has the tokens of $key");
    }
    is(scalar(series($metrics, 'llm_requests_in_flight')), 0, 'and nothing in flight');
    return $metrics;
}

sub requests_of { my ($sums) = @_; my $n = 0; $n += $sums->{"k$_"}[0] for 0 .. 5; return $n }

# Requests that ended as they should are in the log with what the upstream told. Returns how many are not in the log though the
# client has the whole reply.
sub logged_as_told {
    my ($ledger) = @_;

    my ($wrong, $good) = (0, 0);
    for my $id (keys %$ledger) {
        my ($key, $tokens) = @{ $ledger->{$id} };
        my $line = $logged{$id} // next;
        my $sum   = $line->{prompt} + $line->{completion};
        my $right = $line->{outcome} eq 'ok' ? $sum == $tokens : $sum <= $tokens || $line->{source} eq 'estimated';
        $good++ if $right && $line->{outcome} eq 'ok';
        next if $right && $line->{key} eq "k$key";
        diag("$id of k$key: the upstream told $tokens, logged: @$line{qw(key outcome prompt completion)}") if $wrong++ < 5;
    }
    is($wrong, 0, 'what is logged is what the upstream told: all of it of those that ended well, no more of others but in estimates');
    cmp_ok($good, '>', 0, "some ended well: $good");
    return scalar grep { $ledger->{$_}[3] && !$logged{$_} } keys %$ledger;
}

case 'clients and upstreams that vanish, redirects, reloads' => sub {
    my $reloads = 0;
    my ($seen, $ledger) = run('a', int($requests / 2), sub {
        my ($n) = @_;
        return if $n % 2;
        $t->reload;
        $reloads++;
    });
    say_what_happened($seen, ", $reloads reloads");
    never_more_than_the_limit($seen);

    # The last lines are written a moment after the last lease has ended.
    my $charged = charged($t->wait_idle);
    wait_until('the log', sub { read_log(); keys %logged >= requests_of($charged) });
    is_deeply($charged, sums(values %logged), 'keys and users are charged what the log says');
    my ($requests, $reasons) = in_book(book_is_charged($charged));
    is_deeply($requests, \%ended,    'the book has as many requests as the log, by key and outcome');
    is_deeply($reasons,  \%refusals, 'and as many refusals, by reason');
    is(logged_as_told($ledger), 0, 'every reply that a client has whole is in the log');
    is(scalar(grep { $ledger->{$_}[2] && !$logged{$_} } keys %$ledger), 0, 'and so is all that reached the upstream');
};

case 'and killed workers' => sub {
    my $before = charged($t->wait_idle);
    my ($kills, $reloads) = (0, 0);
    %logged = ();
    my ($seen, $ledger) = run('b', $requests - int($requests / 2), sub {
        my ($n) = @_;
        if ($n % 8 == 5) {
            $t->reload;
            $reloads++;
            return;
        }
        my %pids = %{ $t->worker_pids };
        my @all  = map { @$_ } @pids{qw(active exiting)} or return;
        if ($n % 8 == 1) { # in the middle of a reload
            kill HUP => $t->master;
            $reloads++;
        }
        $kills += kill KILL => $n % 10 ? $all[ int rand @all ] : @all;
    });
    say_what_happened($seen, ", $reloads reloads, $kills workers killed");
    never_more_than_the_limit($seen);

    my $charged = charged($t->wait_idle);
    book_is_charged($charged);
    for my $name (keys %$charged) {
        $charged->{$name}[$_] -= $before->{$name}[$_] for 0 .. 2;
    }
    read_log();
    my $lost = logged_as_told($ledger);
    # A worker that is killed takes with it the lines of its requests. They are charged up to all of what the upstream told.
    my @unlogged = map { { key => "k$ledger->{$_}[0]", prompt => $ledger->{$_}[1], completion => $ledger->{$_}[1] } }
        grep { !$in_log{$_} } keys %$ledger;
    my $cut = grep { $ledger->{$_}[2] && !$in_log{$_} } keys %$ledger;
    note "$cut requests that reached the upstream are not in the log, of $lost of which the client has the whole reply";
    cmp_ok($cut, '<=', $limit{zone} * $kills, 'no more are missing in the log than can have been with killed workers');
    cmp_ok($lost, '<=', $kills, 'of those that came whole at most the one that a worker was killed over');
    my ($least, $most) = (sums(values %logged), sums(values %logged, @unlogged));
    my @wrong;
    for my $name (sort keys %$charged) {
        for my $n (0 .. 2) {
            my ($got, $low, $high) = map { $_->{$name}[$n] } $charged, $least, $most;
            push @wrong, "$name: " . (qw(requests prompt completion))[$n] . " $got, not $low to $high" if $got < $low || $got > $high;
        }
    }
    is(join("\n", @wrong), '', 'keys and users are charged what the log says, and besides no more than the killed ones had');
};

# --- what is left over: nothing

my $total = charged($t->wait_idle);

# What of its limits the n-th of a scope has left, seen by a request that reserves one token and is charged none.
sub left_of {
    my ($kind, $scope, $n) = @_;

    my $key = $scope eq 'user' ? 2 * $n : $scope eq 'key' ? $n : 0;
    my $r = $t->fetch(
        POST    => "/$kind/$scope",
        key     => "sk-k$key",
        headers => [ 'X-Real-IP' => '10.1.0.' . ($scope eq 'address' ? $n : 0) ],
        body    => chat_request(model => 'm' . ($scope eq 'model' ? $n : 0), max_tokens => 1),
        reply   => { body => chat_reply(0, 0) },
    );
    $t->wait_idle;
    return { map { $_ => $r->{headers}{"x-ratelimit-remaining-$_"} // -1 } qw(requests tokens) };
}

case 'no reservation is left' => sub {
    my %subjects = (key => 6, user => 3, model => 4, address => 4, zone => 1);
    my ($all_requests, $all_tokens) = (0, 0);
    for (map { $total->{"k$_"} } 0 .. 5) {
        $all_requests += $_->[0];
        $all_tokens   += $_->[1] + $_->[2];
    }
    for my $scope (@scopes) {
        my ($requests_paid, @rates, @quotas) = (0);
        for my $n (0 .. $subjects{$scope} - 1) {
            my $left = left_of(rate => $scope, $n);
            $requests_paid += $count - $left->{requests} - 1;
            push @rates,  $tokens - $left->{tokens} - 1;
            push @quotas, $tokens - left_of(quota => $scope, $n)->{tokens} - 1;
        }
        is($requests_paid, $all_requests, "rates of requests per $scope");
        if ($scope eq 'key' || $scope eq 'user') {
            my @sums = map { $_->[1] + $_->[2] } map { $total->{ substr($scope, 0, 1) . $_ } } 0 .. $subjects{$scope} - 1;
            is("@rates",  "@sums", "rates of tokens per $scope");
            is("@quotas", "@sums", "quotas per $scope");
        } else {
            # Nobody tells what each of them was charged, but all of them together have used what all keys have.
            is(eval join('+', @rates),  $all_tokens, "rates of tokens per $scope");
            is(eval join('+', @quotas), $all_tokens, "quotas per $scope");
        }
    }
};

for my $scope (@scopes) {
    case "as many fit per $scope as ever" => sub {
        my %sender = (
            key     => sub { (0,         $_[0] % 4, $_[0] % 4) },
            user    => sub { ($_[0] % 2, $_[0] % 4, $_[0] % 4) },
            model   => sub { ($_[0] % 6, 0,         $_[0] % 4) },
            address => sub { ($_[0] % 6, $_[0] % 4, 0) },
            zone    => sub { ($_[0] % 6, $_[0] % 4, $_[0] % 4) },
        );
        my $crowd = LLM::Crowd->open($t, $up, at_once => 1, count => 120, request => sub {
            my ($key, $model, $address) = $sender{$scope}->($_[0]);
            return {
                uri     => '/crowd',
                headers => [ $t->bearer("sk-k$key"), 'X-Real-IP' => "10.1.0.$address" ],
                body    => chat_request(model => "m$model"),
            };
        });
        is(scalar(my @all = $crowd->let_in), $limit{$scope}, 'let in');
        is($crowd->reply(1, 1), 0, 'all are answered');
        $t->wait_idle;
    };
}

$t->finish;
