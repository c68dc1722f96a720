# Why: a quota that a restart forgives is no quota, and a bill that a crash shortens is a wrong bill. However nginx ends and begins again,
# what each key has used must be there: to the token where it ends in good order, and less at most what happened in the last second where
# all of it is killed; never more than the truth.
#
#   LLM_ROUNDS  how often each way of ending is tried (default 3)

use strict;
use warnings;

use List::Util qw(sum0);

use LLM::Streams;
use LLM::Test;

my $rounds = $ENV{LLM_ROUNDS} || 3;
my @names  = map { "k$_" } 0 .. 4;

my $t = LLM::Test->new(
    workers => 2,
    adopted => 1,
    status  => [ 0, '/status' ],
    files   => { 'keys.json' => key_file([ map { { name => $_, user => "user-$_", secret => "sk-$_" } } @names ]) },
    conf    => <<'EOF');
env LD_PRELOAD;
env ASAN_OPTIONS;
env UBSAN_OPTIONS;
%%HTTP_BEGIN%%
    llm_usage_inject off;
    llm_zone llm:%%SIZE%% state=%%DIR%%/state/state.db keep=400d;
    llm_limit quota=100m/mo;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /json { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location = /status { llm_status; }
        location = /usage { llm_api_keys %%DIR%%/keys.json; llm_usage; }
    }
}
EOF
sub configure { my ($size) = @_; $t->write_conf($t->{conf} =~ s/%%SIZE%%/$size/r); return }

my $db = $t->dir . '/state/state.db';

sub ask {
    my ($sql) = @_;

    open my $out, '-|', 'sqlite3', '-readonly', '-cmd', '.timeout 5000', $db, $sql or die "sqlite3: $!\n";
    my @rows = map { chomp; [ split /\|/, $_, -1 ] } <$out>;
    close $out or die "sqlite3 failed: $sql\n";
    return @rows;
}

# What each key has used: [requests, prompt, completion], by three books.
sub by_status {
    my $zone = $t->zone;
    my %used = map { $_ => [ 0, 0, 0 ] } @names;
    $used{ $_->{name} } = [ @$_{qw(requests prompt_tokens completion_tokens)} ] for @{ $zone->{keys} };
    return \%used;
}

sub by_ledger {
    my %used = map { $_ => [ 0, 0, 0 ] } @names;
    $used{ $_->[0] } = [ map { $_ + 0 } @$_[ 1 .. 3 ] ] for ask("SELECT key, sum(requests), sum(prompt), sum(completion) FROM usage WHERE key LIKE 'k_' GROUP BY key");
    return \%used;
}

# What is left of its quota says the same.
sub by_quota {
    my %used;
    for my $name (@names) {
        my $r = $t->fetch(GET => '/usage', key => "sk-$name");
        my ($quota) = grep { $_->{limit} eq 'quota' } @{ JSON::PP::decode_json($r->{body})->{limits} };
        $used{$name} = $quota->{maximum} - $quota->{remaining};
    }
    return \%used;
}

my %truth = map { $_ => [ 0, 0, 0 ] } @names;

sub spent {
    my ($name, $prompt, $completion) = @_;

    $truth{$name}[0]++;
    $truth{$name}[1] += $prompt;
    $truth{$name}[2] += $completion;
    return;
}

sub spend {
    my ($how_many) = @_;

    for (1 .. $how_many) {
        my ($name, $prompt, $completion) = ($names[ rand @names ], 1 + int rand 100, 1 + int rand 1000);
        my $r = $t->fetch(POST => '/json', key => "sk-$name", body => chat_request(), reply => { body => chat_reply($prompt, $completion) });
        is($r->{status}, 200, 'let in') if ($r->{status} // 0) != 200;
        spent($name, $prompt, $completion);
    }
    return;
}

sub open_streams {
    my ($n) = @_;

    my $streams = LLM::Streams->open($t, $t->upstream(1), count => $n, key_of => sub { 'sk-' . $names[ $_[0] % @names ] });
    $streams->start_replies;
    $streams->progress(sub { 1 + int rand 50 });
    return $streams;
}

# They are charged with what they have shown.
sub charge {
    my ($streams) = @_;

    spent($_->{key} =~ s/^sk-//r, @{ $_->{usage} }) for $streams->all;
    return;
}

sub hang_up {
    my ($streams) = @_;

    for ($streams->all) {
        $_->{client}->close;
        $_->{upstream}->close;
    }
    return;
}

sub all_is_there {
    my ($name) = @_;

    $t->wait_idle;
    is_deeply(by_status(), \%truth, "$name: totals");
    is_deeply(by_quota(), { map { $_ => $truth{$_}[1] + $truth{$_}[2] } @names }, "$name: quotas");
    ledger_is_there($name);
    return;
}

sub ledger_is_there {
    my ($name) = @_;

    my $there = eval { wait_until('the ledger', sub { json(by_ledger()) eq json(\%truth) }) };
    is_deeply(by_ledger(), \%truth, "$name: ledger") if !$there;
    ok($there, "$name: ledger");
    return;
}

sub kill_everything {
    push @{ $t->{alerts} }, qr/exited on signal 9/;
    $t->_kill;
    return;
}

# The new binary's master has the place of the old one.
sub upgrade {
    my $old = $t->master;
    kill USR2 => $old;
    my $new = wait_until('the new master', sub {
        open my $file, '<', $t->dir . '/nginx.pid' or return 0;
        my $pid = <$file> // return 0;
        chomp $pid;
        $pid != $old && $pid;
    });
    return $new;
}

sub step_over {
    my ($new) = @_;

    my $old = $t->master;
    kill QUIT => $old;
    wait_until('the end of the old master', sub { waitpid($old, POSIX::WNOHANG()) == $old });
    $t->{pid} = $new;
    return;
}

srand($ENV{LLM_SEED} // 7);
configure('8m');
$t->daemon(2);
$t->start;

case 'who may read what' => sub {
    wait_until('the database', sub { -e $db });
    my @s = stat $db;
    is(sprintf('%o', $s[2] & 07777), '640', 'mode of the file');
    is(getpwuid $s[4], 'nobody', 'its owner') if $> == 0;
    is(sprintf('%o', (stat $t->dir . '/state')[2] & 07777), '700', 'mode of the directory');
};

ROUND: for my $round (1 .. $rounds) {
    my @steps = ('a stop in good order' => sub {
        spend(20);
        $t->stop;
        ledger_is_there('at the end');
        is((ask('SELECT count(*) FROM zones WHERE closed IS NULL'))[0][0], 0, 'closed');
        $t->start;
        all_is_there('after a restart');
    }, 'a stop while streams run' => sub {
        spend(5);
        my $streams = open_streams(10);
        $t->stop('TERM');
        charge($streams);
        hang_up($streams);
        $t->start;
        all_is_there('after a restart');
    }, 'a reload while streams run' => sub {
        my $streams = open_streams(10);
        $t->reload;
        spend(10);
        is($streams->finish(sub { 300 + $_[0]{n} }), 0, 'they come whole');
        charge($streams);
        all_is_there('after the reload');
    }, 'a reload to another size' => sub {
        my $streams = open_streams(10);
        configure($round % 2 ? '9m' : '8m');
        $t->reload;
        spend(10);
        is($streams->finish(sub { 300 + $_[0]{n} }), 0, 'they come whole');
        charge($streams);
        wait_until('the end of the old workers', sub { !@{ $t->worker_pids->{exiting} } });
        wait_until('all to be carried over', sub { json(by_status()) eq json(\%truth) });
        all_is_there('in the new zone');
    }, 'another binary' => sub {
        my $since = -s $t->dir . '/error.log';
        my $streams = open_streams(10);
        my $new = upgrade();
        kill WINCH => $t->master;
        spend(10);
        is($streams->progress(sub { 100 + $_[0]{n} }), 0, 'streams of the old one go on');
        spend(10);
        is($streams->finish(sub { 300 + $_[0]{n} }), 0, 'and come whole');
        charge($streams);
        step_over($new);
        $t->wait_workers;
        wait_until('all to be carried over', sub { json(by_status()) eq json(\%truth) });
        all_is_there('in the new zone');
        unlike(substr($t->read_file('error.log'), $since), qr/is not written/, 'nobody says that the state is not written');
    }, 'everything is killed' => sub {
        my $streams = open_streams(10);
        spend(5);
        my $sum = sub { return sum0(map { $_->[1] + $_->[2] } values %{ $_[0] }) };
        my $running = sum0(map { $_->{usage}[0] + $_->{usage}[1] } $streams->all);
        my $written = $sum->(\%truth) + $running;
        wait_until('what was used to be written', sub {
            (ask('SELECT (SELECT coalesce(sum(prompt + completion), 0) FROM usage) + (SELECT coalesce(sum(prompt + completion), 0) FROM running)'))[0][0] == $written;
        });
        # What comes now may be lost.
        $streams->progress(sub { $_[0]{usage}[1] + 1 + int rand 50 });
        my %before = map { $_ => [ @{ $truth{$_} } ] } @names;
        spend(int rand 5);
        select undef, undef, undef, rand 0.5;
        kill_everything();
        charge($streams);
        hang_up($streams);
        $t->start;
        my $used = by_status();
        cmp_ok($sum->($used), '>=', $written, 'what was written is there');
        for my $name (@names) {
            for (0 .. 2) {
                cmp_ok($used->{$name}[$_], '<=', $truth{$name}[$_], "$name: never more than the truth");
                cmp_ok($used->{$name}[$_], '>=', $before{$name}[$_], "$name: nothing that was written is lost");
            }
        }
        $truth{$_} = $used->{$_} for @names;
        all_is_there('after the kill');
    }, 'the keeper is killed' => sub {
        push @{ $t->{alerts} }, qr/cache manager process \d+ exited on signal 9/;
        for (1 .. 5) {
            my $keeper = $t->wait_keeper;
            spend(4);
            select undef, undef, undef, rand 0.3;
            kill KILL => $keeper;
            $t->wait_keeper({ $keeper => 1 });
        }
        all_is_there('after kills');
    });
    # The sums build on each other.
    while (my ($name, $code) = splice @steps, 0, 2) {
        case "round $round: $name" => $code or last ROUND;
    }
}

$t->finish;
