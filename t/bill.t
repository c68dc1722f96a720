# Why: a bill is asked for in four places: by SQL, by llmctl, by Prometheus and in the status. They are one book and must say one thing. And none
# of what is written on the way may hold a key.

use strict;
use warnings;

use File::Find qw(find);
use FindBin;
use POSIX qw(strftime);

use LLM::Metrics;
use LLM::Test;

my $root   = "$FindBin::Bin/..";
my $llmctl = $ENV{LLM_MODULE} ? $ENV{LLM_MODULE} =~ s{[^/]*\z}{llmctl}r : "$root/build/llmctl";
$llmctl = "$root/build/llmctl" if !-x $llmctl;
plan(skip_all => 'llmctl is not built') if !-x $llmctl;

my @names   = qw(alice bob carol);
my %secrets = map { $_ => "sk-secret-of-$_-0123456789abcdef" } @names;
my $t       = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    files   => {
        'keys.json' => key_file([
            { name => 'alice', user => 'staff', secret => $secrets{alice} },
            { name => 'bob', user => 'staff', key => $secrets{bob} },
            { name => 'carol', secret => $secrets{carol}, limits => { quota => '100k/mo' } },
            { name => 'locked', secret => 'sk-secret-of-locked-0123456789', enabled => JSON::PP::false },
            { name => 'root', secret => 'sk-secret-of-root-0123456789ab', admin => JSON::PP::true },
        ]),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m state=%%DIR%%/state/state.db;
    llm_api_keys %%DIR%%/keys.json;
    llm_usage_weights prompt=1 cached=0 completion=3;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /usage { llm_usage; }
        location /admin/ { llm_admin; }
        location = /status { llm_api_keys off; llm_status; }
        location = /metrics { llm_api_keys off; llm_metrics; }
    }
}
EOF
my $db = $t->dir . '/state/state.db';
$t->daemon(1);
$t->start;

my @models = qw(small large);
my %truth;    # "key user model" => [requests, prompt, cached, completion, cost]

srand($ENV{LLM_SEED} // 11);
case 'requests' => sub {
    for (1 .. 60) {
        my $name  = $names[ rand @names ];
        my $model = $models[ rand @models ];
        my ($prompt, $completion) = (1 + int rand 500, 1 + int rand 500);
        my $stream = rand() < 0.5;
        my $body   = $stream ? plain_stream($prompt, $completion) : chat_reply($prompt, $completion);
        my $r      = $t->fetch(
            POST => '/v1/chat/completions', key => $secrets{$name},
            body => chat_request(model => $model, $stream ? (stream => \1) : ()),
            reply => { body => $body, $stream ? (type => 'text/event-stream') : () });
        is($r->{status}, 200, 'let in') if $r->{status} != 200;
        my $sum = $truth{ join ' ', $name, $name eq 'carol' ? '' : 'staff', $model } //= [ (0) x 5 ];
        $sum->[0]++;
        $sum->[1] += $prompt;
        $sum->[3] += $completion;
        $sum->[4] += $prompt + 3 * $completion;
    }
    for my $key ('sk-secret-of-locked-0123456789', 'sk-secret-of-nobody-0123456789') {
        is($t->fetch(POST => '/', key => $key, body => chat_request())->{status}, 401, 'refused');
        is($t->fetch(GET => '/', headers => [ 'x-api-key' => $key ])->{status}, 401, 'in another header too');
    }
    cmp_ok(scalar keys %truth, '>', 4, 'of several keys and models');
};

# The text of the page is the one that is run.
sub query_of_the_docs {
    open my $file, '<', "$root/docs/state.md" or die "docs/state.md: $!\n";
    my $text = do { local $/; <$file> };
    my ($sql) = $text =~ /sqlite3 -readonly -header -column \S+ "\s*\n(.*?)"/s or die "no query in docs/state.md\n";
    my $this = strftime('%Y-%m-01', gmtime);
    my @now  = gmtime;
    my $next = strftime('%Y-%m-01', 0, 0, 0, 1, $now[4] + 1, $now[5]);
    $sql =~ s/'\d{4}-\d\d-01'\) AND/'$this') AND/;
    $sql =~ s/(hour < strftime\('%s', )'\d{4}-\d\d-01'/$1'$next'/;
    return $sql;
}

sub by_sql {
    open my $out, '-|', 'sqlite3', '-readonly', '-cmd', '.timeout 5000', $db, query_of_the_docs() or die "sqlite3: $!\n";
    my %sum;
    while (<$out>) {
        chomp;
        my ($key, $user, $model, @n) = split /\|/, $_, -1;
        $sum{"$key $user $model"} = [ map { $_ + 0 } @n ] if $n[1];
    }
    return \%sum;
}

sub by_llmctl {
    my $text = `'$llmctl' usage --by key,user,model --json --state '$db'`;
    my $rows = JSON::PP::decode_json($text)->{rows};
    my %sum;
    for (@$rows) {
        my @n = map { $_ + 0 } @$_{qw(requests prompt cached completion cost)};
        $sum{ join ' ', map { $_ // '' } @$_{qw(key user model)} } = \@n if $n[1];
    }
    return \%sum;
}

sub by_metrics {
    my $families = parse_metrics($t->fetch(GET => '/metrics')->{body});
    my %sum;
    for my $s (series($families, 'llm_requests_total')) {
        my ($labels, $value) = @$s{qw(labels value)};
        $sum{"$labels->{key} $labels->{user} $labels->{model}"}[0] += $value;
    }
    my %column = (prompt => 1, cached => 2, completion => 3);
    for my $s (series($families, 'llm_tokens_total')) {
        my ($labels, $value) = @$s{qw(labels value)};
        my $at = $column{ $labels->{type} } // next;
        $sum{"$labels->{key} $labels->{user} $labels->{model}"}[$at] += $value;
    }
    for my $s (series($families, 'llm_cost_total')) {
        my ($labels, $value) = @$s{qw(labels value)};
        $sum{"$labels->{key} $labels->{user} $labels->{model}"}[4] += $value;
    }
    return { map { $_ => [ map { ($_ // 0) + 0 } @{ $sum{$_} }[ 0 .. 4 ] ] } grep { $sum{$_}[1] } keys %sum };
}

case 'one bill' => sub {
    $t->wait_idle;
    eval { wait_until('the ledger', sub { json(by_sql()) eq json(\%truth) }) };
    is_deeply(by_sql(), \%truth, 'by the SQL of the page');
    is_deeply(by_llmctl(), \%truth, 'by llmctl usage');
    is_deeply(by_metrics(), \%truth, 'by llm_metrics');
};

# Each answer that the gateway has, and each file that it writes.
case 'no key in anything' => sub {
    my $admin = 'sk-secret-of-root-0123456789ab';
    my @answers = map { $t->fetch(GET => $_, key => $admin)->{body} }
        qw(/status /status?view=live /status?view=keys /metrics /admin/keys /admin/keys/alice /admin/requests);
    push @answers, $t->fetch(GET => '/usage', key => $secrets{carol})->{body};
    push @answers, `'$llmctl' usage --by key --state '$db'`, `'$llmctl' key list --file '@{[ $t->dir ]}/keys.json'`,
        `'$llmctl' check '@{[ $t->dir ]}/keys.json'`;
    is(scalar(grep {/sk-secret/} @answers), 0, 'in no answer');
    is(scalar(grep { length $_ == 0 } @answers), 0, 'and each was one');
    $t->stop;
    my @with;
    find({ no_chdir => 1, wanted => sub {
        return if !-f || m{/keys\.json\z} || m{/daemon_\d+\.log\z};
        open my $file, '<', $_ or return;
        binmode $file;
        local $/;
        my $text = <$file>;
        push @with, $_ if $text =~ /sk-secret/;
    } }, $t->dir);
    is_deeply(\@with, [], 'in no file');
};

$t->finish;
