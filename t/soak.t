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
#
# t/chaos.t goes on from here: for as long as one wants, and with faults that come from elsewhere.

use strict;
use warnings;

use LLM::Books;
use LLM::Crowd;
use LLM::Metrics;
use LLM::Soak;
use LLM::Test;

my $requests = $ENV{LLM_SOAK} || 40_000;
my $seed     = $ENV{LLM_SEED} // int rand 2**31;
die "LLM_SOAK: at most 150000\n" if $requests > 150_000;

my @scopes = @LLM::Soak::scopes;
my %limit  = %LLM::Soak::limit;

# Rates and quotas that nobody reaches, and that give nothing back by time while the test runs: what is missing of them in the
# end was charged, or is held.
my ($tokens, $count) = (5_000_000, 1_000_000);
my $rate     = "tokens=1/h token_burst=$tokens requests=1r/h burst=" . ($count - 1);
my $limits   = join "\n", map { "llm_limit per=$_ concurrency=$limit{$_} $rate quota=$tokens/total;" } @scopes;
my $probes   = join "\n", map { <<"END" } @scopes;
location /rate/$_  { llm_limit per=$_ $rate; llm_usage_weights prompt=0 cached=0; proxy_pass http://127.0.0.1:%%PORT_3%%; }
location /quota/$_ { llm_limit per=$_ quota=$tokens/total; llm_usage_weights prompt=0 cached=0; proxy_pass http://127.0.0.1:%%PORT_3%%; }
END
my $t = LLM::Soak::gateway(
    killed    => qr/worker/,
    zone      => '',
    limits    => $limits,
    locations => "location /crowd { proxy_pass http://127.0.0.1:%%PORT_2%%; }\n$probes",
);
my $up = $t->upstream(2);
$t->daemon(3);
$t->start;
srand $seed;
note "LLM_SEED=$seed LLM_SOAK=$requests";

my $soak = LLM::Soak->new(test => $t, limit => \%limit, seed => $seed);
$soak->spend(4);

sub never_more_than_the_limit {
    my ($seen) = @_;

    is($seen->{exceeded}, 0, 'the upstream never holds more than a limit says');
    is($seen->{$_}{peak}, $limit{$_}, "and as many as the limit per $_ says") for @scopes;
    is($seen->{held}, 0, 'in the end it holds none');
    cmp_ok($seen->{refused}, '>', 0, 'others are refused');
    cmp_ok($seen->{$_}, '>', 0, "some: $_") for qw(clients_left upstream_cut whole);
    return;
}

case 'clients and upstreams that vanish, redirects, reloads' => sub {
    $t->wait_idle;
    my $before  = book_of_metrics($soak->metrics);
    my $reloads = 0;
    my ($seen, $ledger) = $soak->run('a', int($requests / 2), sub {
        my ($n) = @_;
        return if $n % 2;
        $t->reload;
        $reloads++;
    });
    $soak->say_what_happened($seen, ", $reloads reloads");
    never_more_than_the_limit($seen);
    is($seen->{altered}, 0, 'clients get what the upstream sent, byte for byte, less what they did not ask for');

    $t->wait_idle;
    my $book;
    # The last lines are written a moment after the last lease has ended.
    eval {
        wait_until('the log', sub {
            $soak->read_log;
            my $sum = 0;
            $book = book_less(book_of_metrics($soak->metrics), $before);
            $sum += $_ for values %{ $book->{requests} };
            $sum == keys %{ $soak->logged };
        });
    };
    my $of_log = book_of_log(values %{ $soak->logged });
    is_deeply($book->{$_}, $of_log->{$_}, "the book has the $_ of the log, by key and model") for sort keys %$book;
    $soak->status_agrees($t->wait_idle, book_of_metrics($soak->metrics));
    my $unlogged = $soak->log_agrees($ledger);
    is(scalar(grep { $_->{status} || $_->{reached} } values %$unlogged), 0, 'every request that was answered, or reached the upstream, is in them');
};

case 'and killed workers' => sub {
    $t->wait_idle;
    my $before = book_of_metrics($soak->metrics);
    my ($kills, $reloads) = (0, 0);
    $soak->forget_log;
    my ($seen, $ledger) = $soak->run('b', $requests - int($requests / 2), sub {
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
    $soak->say_what_happened($seen, ", $reloads reloads, $kills workers killed");
    never_more_than_the_limit($seen);
    is($seen->{altered}, 0, 'clients get what the upstream sent');

    my $zone    = $t->wait_idle;
    my $metrics = $soak->metrics;
    is(scalar(series($metrics, 'llm_requests_in_flight')), 0, 'nothing is in flight');
    my $all = book_of_metrics($metrics);
    $soak->status_agrees($zone, $all);
    my $book = book_less($all, $before);
    eval { wait_until('the log', sub { $soak->read_log; 1 }) };
    my $unlogged = $soak->log_agrees($ledger);
    $soak->killed_agree($book, $unlogged, $kills);
};

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
