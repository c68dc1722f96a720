# Why: any client may name any model. So however many names one key sends, the book stays as small as it is, its sums stay right,
# and the others keep what is theirs: their answers, their series and their counts.
#
#   LLM_NAMES  how many names (default 100000)
#   LLM_SEED   chooses them

use strict;
use warnings;

use File::Basename qw(dirname);
use FindBin;
use JSON::PP;

use LLM::Metrics;
use LLM::Test;

my $names = $ENV{LLM_NAMES} || 100_000;
my $seed  = $ENV{LLM_SEED} // int rand 2**31;
note "LLM_SEED=$seed LLM_NAMES=$names";

my ($load) = grep { -x } ($ENV{LLM_MODULE} ? dirname($ENV{LLM_MODULE}) . '/t/soak/names_load' : ()), "$FindBin::Bin/../build/t/soak/names_load";
die "no names_load: build it (cmake -DLLM_DEV=ON)\n" if !$load;

my $t = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    files   => { 'keys.json' => key_file([ map { { name => $_, user => "user-$_", secret => "sk-$_" } } qw(many few late) ]) },
    conf    => <<'EOC');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    access_log off;
    error_log %%DIR%%/error.log warn;
    keepalive_requests 100000000;
    upstream model { server 127.0.0.1:%%PORT_1%%; keepalive 64; keepalive_requests 100000000; }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        location / { proxy_pass http://model; }
        location /late { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location = /metrics { llm_api_keys off; llm_metrics; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOC
$t->daemon(2);
$t->start;

sub metrics { return parse_metrics($t->fetch(GET => '/metrics')->{body}) }

# What the key has, by model: requests that ended well, tokens.
sub models_of {
    my ($m, $key) = @_;

    my %of = map { $_->{labels}{model} => [ $_->{value} ] } series($m, 'llm_requests_total', key => $key, outcome => 'ok');
    for my $type (qw(prompt completion)) {
        push @{ $of{ $_->{labels}{model} } }, $_->{value} for series($m, 'llm_tokens_total', key => $key, type => $type);
    }
    return \%of;
}

sub bytes_of {
    my ($m, $state) = @_;

    return { map { $_->{labels}{part} => $_->{value} } series($m, 'llm_zone_bytes', state => $state) };
}

my (@used, $seen);

case 'a new name with each request' => sub {
    open my $out, '-|', $load, $t->port(0), $t->port(1), $seed, $names or die "$load: $!\n";
    while (my $line = <$out>) {
        last if $line ne "tick\n";
        push @used, bytes_of(metrics(), 'used');
    }
    my $report = <$out>;
    close $out;
    die "the load failed\n" if !$report;
    $seen = JSON::PP->new->decode($report);
    note sprintf '%d requests with a name each in %.1f s, %d of another key meanwhile', $seen->{many}, $seen->{milliseconds} / 1000,
        $seen->{few};
    is($seen->{many}, $names, 'all are answered');
    is($seen->{other_statuses}, 0, 'with 200, and so is the other key');
    cmp_ok($seen->{few}, '>', 100, 'which goes on meanwhile');
};

case 'the book' => sub {
    $t->wait_idle;
    my $m = metrics();
    my $many = models_of($m, 'many');
    my @sums = (0, 0, 0);
    for my $of (values %$many) {
        $sums[$_] += $of->[$_] for 0 .. 2;
    }
    is("@sums", join(' ', $names, 3 * $names, 2 * $names), 'has all requests and tokens of the names');
    note scalar(keys %$many) . " series, $many->{other}[0] requests under `other`";
    my $used = bytes_of($m, 'used');
    my $all  = $used->{series} + bytes_of($m, 'free')->{series};
    cmp_ok(256 * keys %$many, '<=', $all / 16 + 256, 'in no more than a 16th of all series, and one for the others');
    cmp_ok($many->{other}[0], '>', $names * 0.9, 'most of them in that one');

    my $few  = models_of($m, 'few');
    my @left = grep { !/\Afew-[0-3]\z/ } keys %$few;
    is("@left", '', 'the other key has its own series, and no other');
    for my $n (0 .. 3) {
        my $requests = int(($seen->{few} + 3 - $n) / 4);
        is_deeply($few->{"few-$n"}, [ $requests, 3 * $requests, 2 * $requests ], "with all of few-$n");
    }
    my ($key) = grep { $_->{name} eq 'few' } @{ $t->zone->{keys} };
    is("$key->{requests} $key->{total_tokens}", $seen->{few} . ' ' . 5 * $seen->{few}, 'as status has it');
};

case 'the zone' => sub {
    my %flat = map { $_ => 1 } grep { $_ ne 'requests' } keys %{ $used[0] };
    for my $n (1 .. $#used) {
        delete @flat{ grep { $used[$n]{$_} != $used[0]{$_} } keys %flat };
    }
    is_deeply([ grep { !$flat{$_} && $_ ne 'requests' } sort keys %{ $used[0] } ], [], 'uses no more than after the first tenth');
    is(scalar @used, 10, 'looked at ten times');
};

case 'a key that comes late' => sub {
    is($t->fetch(POST => '/late', key => 'sk-late', body => chat_request(model => "late-$_"))->{status}, 200, 'is answered') for 1 .. 3;
    $t->wait_idle;
    my $late = models_of(metrics(), 'late');
    is_deeply($late, { map { ("late-$_" => [ 1, 7, 10 ]) } 1 .. 3 }, 'and has a series for each of its models');
};

$t->finish;
