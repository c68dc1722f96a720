# Why: limits of requests in flight are what keeps a model server alive, and those that leak lock a key out forever. And what was
# used is what people are billed by. So here is everything that can happen to requests of all APIs, all at once and at random:
# usage that is told in all ways or not at all, refusals, clients that leave at any byte of their request or of the reply, upstreams that
# cut theirs at any byte, internal redirects, reloads, killed workers.
#
# At no moment may the upstream hold more requests of a key, user, model, address or of the zone than its limit. In the end nothing
# may be held any more, and all books have to agree, by key and model. They are the access log, metrics, status, and what the clients
# and the upstream have seen:
#
# - A request that came whole is charged to the token what the upstream told, and by an estimate within docs/accounting.md what it
#   did not tell. What the client got of any reply is what the upstream sent, less what only the gateway had asked for.
# - One that did not is charged between what its client had got and what the upstream had begun to send, as it was told or by an
#   estimate; and nothing only if neither a count nor text had come.
# - Each request that was answered, or reached the upstream, is in the log once and in the book once. The others may be as well, but for
#   those that nginx never read.
# - Requests whose worker was killed are not in the log. The book has each of them that had reached the upstream, with no more tokens
#   than the upstream had begun to send, and no fewer than its client had got of a stream.
#
#   LLM_SOAK       how many requests are to reach the upstream (default 40000, at most 150000). Those that limits refuse come on top
#   LLM_SEED       chooses what happens to each of them
#   LLM_SOAK_LOAD  the program that makes the load (default: t/soak/soak_load of the build that has the module)

use strict;
use warnings;

use File::Basename qw(dirname);
use FindBin;
use JSON::PP;

use LLM::Books;
use LLM::Crowd;
use LLM::Metrics;
use LLM::Test;

my $requests = $ENV{LLM_SOAK} || 40_000;
my $seed     = $ENV{LLM_SEED} // int rand 2**31;
die "LLM_SOAK: at most 150000\n" if $requests > 150_000;

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
my @keys = (
    (map { { name => "k$_", user => 'u' . int($_ / 2), secret => "sk-k$_" } } 0 .. 5),
    # Those that are always refused, each for another reason.
    { name => 'off',   secret => 'sk-off',   enabled => JSON::PP::false },
    { name => 'old',   secret => 'sk-old',   expires => '2020-01-01T00:00:00Z' },
    { name => 'some',  secret => 'sk-some',  models  => ['another'] },
    { name => 'few',   secret => 'sk-few',   limits  => { requests => '1r/h', burst => 0 } },
    { name => 'spent', secret => 'sk-spent', limits  => { quota  => '1/total' } },
    # Nobody uses it: the models have their series from the beginning.
    { name => 'names', secret => 'sk-names', models => [ map {"m$_"} 0 .. 3 ] },
);

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
        location /off { llm_usage_inject off; proxy_pass http://model; }
        location /continuous { llm_usage_inject continuous; proxy_pass http://model; }
        location /small { client_max_body_size 10; proxy_pass http://model; }
        location /rewritten { rewrite ^/rewritten(.*)\$ /direct\$1 last; }

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
    server { # without these limits
        listen 127.0.0.1:%%PORT_4%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_3%%; }
    }
}
EOF
my $up = $t->upstream(2);
$t->daemon(3);
$t->start;
srand $seed;
note "LLM_SEED=$seed LLM_SOAK=$requests";

# The one request of these keys that is let in.
$t->fetch(POST => '/', port => 4, key => "sk-$_", body => chat_request(model => 'once'), reply => { body => chat_reply(7, 5) })
    for qw(few spent);

# --- a run

# Starts the load; calls disturb(n) after each thousand requests. Returns (what the load saw, { id => what became of the request }
# for all of which so much was sent that they may count).
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
    my %ledger = map { ledger_line($_) } <$out>;
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

# The access log as it grows: the fields of all lines of this run's requests, by their ids, and those that came twice.
my ($log_offset, %logged, @twice) = (0);

sub read_log {
    open my $log, '<:raw', "$t->{dir}/access.log" or die "access.log: $!\n";
    seek $log, $log_offset, 0;
    while (my $line = <$log>) {
        last if $line !~ /\n\z/;
        $log_offset += length $line;
        my $fields = log_fields($line);
        # Without an outcome: one whose header did not come whole, and what the test itself asks.
        next if $fields->{outcome} eq '' || $fields->{id} !~ /\A[ab]\d/;
        push @twice, $fields->{id} if $logged{ $fields->{id} };
        $logged{ $fields->{id} } = $fields;
    }
    return;
}

sub metrics { return parse_metrics($t->fetch(GET => '/metrics')->{body}) }

# Status tells the same as metrics, of each key, of each model and of all.
sub status_agrees {
    my ($zone, $book) = @_;

    my (%of_keys, %of_models, %in_book);
    for my $key (@{ $zone->{keys} }) {
        $of_keys{"$key->{name} $_"} = $key->{"${_}_tokens"} for qw(prompt completion cached cache_write reasoning);
    }
    for my $model (@{ $zone->{models} }) {
        $of_models{"$model->{name} $_"} = $model->{requests}{$_}    for keys %{ $model->{requests} };
        $of_models{"$model->{name} $_"} = $model->{"${_}_tokens"} for qw(prompt completion cached cache_write reasoning);
    }
    for my $part (qw(requests tokens)) {
        for my $of (keys %{ $book->{$part} }) {
            my ($key, $model, $what) = split / /, $of;
            $in_book{key}{"$key $what"}     += $book->{$part}{$of} if $part eq 'tokens';
            $in_book{model}{"$model $what"} += $book->{$part}{$of};
        }
    }
    # Those that were refused may be under `other`, see LLM::Books.
    for my $of (\%of_keys, \%of_models, $in_book{model}) {
        delete @$of{ grep { !$of->{$_} || / refused\z/ } keys %$of };
    }
    is_deeply(\%of_keys,   $in_book{key},   'status and metrics have the same tokens of each key');
    is_deeply(\%of_models, $in_book{model}, 'and the same requests and tokens of each model');
    my %totals = %{ $zone->{totals}{requests} };
    delete @totals{ grep { !$totals{$_} } keys %totals };
    my %outcomes;
    $outcomes{ (split / /)[2] } += $book->{requests}{$_} for keys %{ $book->{requests} };
    is_deeply(\%totals, \%outcomes, 'and as many by outcome in all');
    return;
}

# Every request that is in the log is in it once, as its client and the upstream saw it. Returns those of the ledger that are not
# in it.
sub log_agrees {
    my ($ledger) = @_;

    my (%seen, %unlogged, %dialects);
    my ($wrong, $told, $charged) = (0, 0, 0);
    for my $id (keys %$ledger) {
        my $e    = $ledger->{$id};
        my $line = $logged{$id};
        if (!$line) {
            $unlogged{$id} = $e;
            next;
        }
        my $why = wrong_in($e, $line);
        if ($why ne '' && $wrong++ < 5) {
            diag("$id (dialect $e->{dialect}, status $e->{status}): $why; logged: " . join ' ', map {"$_=$line->{$_}"}
                    grep { $line->{$_} ne '' } qw(uri status upstreams key model outcome refusal usage_source prompt_tokens completion_tokens));
        }
        my $how = $line->{outcome} . ($line->{usage_source} eq '' ? '' : " ($line->{usage_source})");
        $seen{$how}[0]++;
        next if $line->{usage_source} eq '';
        $dialects{ $e->{dialect} }++ if $line->{outcome} eq 'ok';
        $seen{$how}[1] += ($line->{prompt_tokens} || 0) + ($line->{completion_tokens} || 0);
        $seen{$how}[2] += $e->{tells} ? $e->{prompt} + $e->{completion} : 0;
    }
    note sprintf '%-28s %6d requests, %8s tokens charged, %8s generated', $_, @{ $seen{$_} }[0], map { $_ // '-' } @{ $seen{$_} }[ 1, 2 ]
        for sort keys %seen;
    is($wrong, 0, 'what is logged is what clients and upstream saw: whole replies to the token, others within the estimate');
    is("@twice", '', 'nothing is logged twice');
    my @unknown = grep { !$ledger->{$_} } keys %logged;
    is("@unknown[0 .. ($#unknown < 5 ? $#unknown : 5)]", '', 'and nothing that was not sent');
    is(scalar keys %dialects, 13, 'requests of all APIs ended well');
    return \%unlogged;
}

case 'clients and upstreams that vanish, redirects, reloads' => sub {
    $t->wait_idle;
    my $before  = book_of_metrics(metrics());
    my $reloads = 0;
    my ($seen, $ledger) = run('a', int($requests / 2), sub {
        my ($n) = @_;
        return if $n % 2;
        $t->reload;
        $reloads++;
    });
    say_what_happened($seen, ", $reloads reloads");
    never_more_than_the_limit($seen);
    is($seen->{altered}, 0, 'clients get what the upstream sent, byte for byte, less what they did not ask for');

    $t->wait_idle;
    my $book;
    # The last lines are written a moment after the last lease has ended.
    eval {
        wait_until('the log', sub {
            read_log();
            my $sum = 0;
            $book = book_less(book_of_metrics(metrics()), $before);
            $sum += $_ for values %{ $book->{requests} };
            $sum == keys %logged;
        });
    };
    my $of_log = book_of_log(values %logged);
    is_deeply($book->{$_}, $of_log->{$_}, "the book has the $_ of the log, by key and model") for sort keys %$book;
    status_agrees($t->wait_idle, book_of_metrics(metrics()));
    my $unlogged = log_agrees($ledger);
    is(scalar(grep { $_->{status} || $_->{reached} } values %$unlogged), 0, 'every request that was answered, or reached the upstream, is in them');
};

case 'and killed workers' => sub {
    $t->wait_idle;
    my $before = book_of_metrics(metrics());
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
    is($seen->{altered}, 0, 'clients get what the upstream sent');

    my $zone    = $t->wait_idle;
    my $metrics = metrics();
    is(scalar(series($metrics, 'llm_requests_in_flight')), 0, 'nothing is in flight');
    my $all = book_of_metrics($metrics);
    status_agrees($zone, $all);
    my $book = book_less($all, $before);
    eval { wait_until('the log', sub { read_log(); 1 }) };
    my $unlogged = log_agrees($ledger);
    # A worker that is killed takes with it the lines of its requests.
    my @killed = grep { $_->{reached} } values %$unlogged;
    my @lost   = grep { $_->{received} } values %$unlogged;
    note scalar(@killed) . ' requests that reached the upstream are not in the log, of ' . @lost . ' of which the client has the whole reply';
    cmp_ok(scalar @killed, '<=', $limit{zone} * $kills, 'no more are missing in the log than can have been with killed workers');
    cmp_ok(scalar @lost,   '<=', $kills, 'of those that came whole at most the one that a worker was killed over');
    is(join("\n", killed_are_counted($book, book_of_log(values %logged), values %$unlogged)), '',
        'the book has what the log has, and besides those whose worker was killed, within what they had');
};

# What of the book is neither in the log nor can be of requests that are not in it.
sub killed_are_counted {
    my ($book, $of_log, @unlogged) = @_;

    my (%least, %most, @wrong);
    for my $e (@unlogged) {
        # Its key and model are known of what reached the upstream; what did not may not have been read at all.
        for ('requests', map {"tokens $_"} qw(prompt completion)) {
            $most{"$e->{key} $_"} += /prompt/ ? $e->{part_p_high} : /completion/ ? $e->{part_c_high} : 1;
            next if !$e->{reached};
            my $low = /prompt/ ? $e->{part_p_low} : /completion/ ? $e->{part_c_low} : 1;
            $least{"$e->{key} $_"} += /tokens/ && $e->{may_be_lost} ? 0 : $low;
        }
    }
    my $more = book_less($book, $of_log);
    my %more;
    for my $of (keys %{ $more->{requests} }) {
        my ($key) = split / /, $of;
        $more{"$key requests"} += $more->{requests}{$of};
        push @wrong, "$of: $more->{requests}{$of}" if $more->{requests}{$of} < 0;
    }
    for my $of (keys %{ $more->{tokens} }) {
        my ($key, $model, $type) = split / /, $of;
        $more{"$key tokens $type"} += $more->{tokens}{$of} if $type eq 'prompt' || $type eq 'completion';
        push @wrong, "$of: $more->{tokens}{$of}" if $more->{tokens}{$of} < 0;
    }
    my %names = (%more, %least);
    for my $name (sort keys %names) {
        my ($got, $low, $high) = map { $_->{$name} // 0 } \%more, \%least, \%most;
        push @wrong, "$name: $got more, not $low to $high" if $got < $low || $got > $high;
    }
    return @wrong;
}

# Sums by key, and by user: name => [requests, prompt, completion].
sub charged {
    my ($zone) = @_;

    my $sum = {};
    $sum->{ $_->{name} } = [ @$_{qw(requests prompt_tokens completion_tokens)} ] for @{ $zone->{keys} }, @{ $zone->{users} };
    $sum->{$_} //= [ 0, 0, 0 ] for map { ("k$_", 'u' . int($_ / 2)) } 0 .. 5;
    return $sum;
}

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
