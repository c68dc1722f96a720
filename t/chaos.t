# Why: what t/soak.t shows of one zone and of nginx alone has to hold for weeks, on a machine where everything goes wrong now and then: the
# disk is full or gone, the keeper is killed, the clock is set, somebody changes the key file and makes a mistake. None of it may
# change what is counted, and nothing may grow.
#
# Rounds of the same load: in some of them all that happens at random, in others nothing, so that workers grow old. After each round all
# books are held against each other, by key and model: what clients and upstream saw, the access log, metrics, status, quotas, the
# ledger on the disk, and what llmctl says of it.
#
#   LLM_CHAOS    seconds that rounds are begun for (default 10; sh t/soak.sh for minutes and hours)
#   LLM_SEED     chooses what happens
#
# A disk can be full and read-only only as root, where file systems may be mounted. The clock is set if Debian's libfaketime is
# installed, and without sanitizers. What is left out is said.

use strict;
use warnings;

use File::Basename qw(dirname);
use FindBin;
use JSON::PP;
use List::Util qw(max min shuffle);
use Time::Piece ();

use LLM::Books;
use LLM::Metrics;
use LLM::Soak;
use LLM::Test;

my $seconds = $ENV{LLM_CHAOS} || 10;
my $seed    = $ENV{LLM_SEED} // int rand 2**31;
my $reached = $seconds < 60 ? 5000 : 10_000; # of each round
alarm 30 * time_limit() + 2 * $seconds;

my $build  = $ENV{LLM_MODULE} ? dirname($ENV{LLM_MODULE}) : "$FindBin::Bin/../build";
my ($llmctl)    = grep { -x } "$build/llmctl", "$FindBin::Bin/../build/llmctl";
my ($faketime)  = $ENV{LLM_PRELOAD} ? () : glob '/usr/lib/*/faketime/libfaketime.so.1';
my $memory_says = !$ENV{LLM_PRELOAD};

# Of so many tokens nobody is refused, and what is missing of them was charged, or is held.
my $quota = 4_000_000_000;
my %limit = %LLM::Soak::limit;
# The clock goes over the ends of windows, but for that of the keys, whose quotas are looked at.
my %window = (key => 'total', user => 'h', model => 'd', address => 'w', zone => 'mo');
my $limits = join "\n", map { "llm_limit per=$_ concurrency=$limit{$_} quota=$quota/$window{$_};" } @LLM::Soak::scopes;

my $t = LLM::Soak::gateway(
    killed => qr/(?:worker|cache manager)/,
    zone   => 'state=%%DIR%%/state/state.db',
    limits => $limits,
    files  => { clock => "+0\n" },
    top    => <<'EOF');
env FAKETIME_TIMESTAMP_FILE;
env FAKETIME_CACHE_DURATION;
env FAKETIME_DONT_FAKE_MONOTONIC;
env DONT_FAKE_MONOTONIC;
env NO_FAKE_STAT;
EOF
my $dir   = $t->dir;
my $state = "$dir/state";
mkdir $state;
my $main_process = $$;
my $has_disk = system("mount -t tmpfs -o size=12m,mode=777 tmpfs '$state' 2>/dev/null") == 0;
chmod 0777, $state;
END { system("umount -l '$state'") if $has_disk && $$ == $main_process }

note 'no file system can be mounted here: no disk is full, none is read-only' if !$has_disk;
note 'libfaketime is not installed, or there are sanitizers: the clock is not set' if !$faketime;
note "LLM_SEED=$seed LLM_CHAOS=$seconds";
srand $seed;

$t->daemon(3);
if ($faketime) {
    local @ENV{qw(LD_PRELOAD FAKETIME_TIMESTAMP_FILE FAKETIME_CACHE_DURATION FAKETIME_DONT_FAKE_MONOTONIC DONT_FAKE_MONOTONIC NO_FAKE_STAT)}
        = ($faketime, "$dir/clock", 1, 1, 1, 1);
    $t->start;
} else {
    $t->start;
}
my $soak = LLM::Soak->new(test => $t, limit => \%limit, seed => $seed);
$soak->spend(4);

# --- what goes wrong

my %happened;
my $kills = 0;
my %mend; # what is to be done before the books are looked at

sub kill_workers {
    my ($all) = @_;

    my %pids = %{ $t->worker_pids };
    my @pids = map { @$_ } @pids{qw(active exiting)} or return;
    $kills += kill KILL => $all ? @pids : $pids[ int rand @pids ];
    return;
}

sub kill_keepers { return kill KILL => @{ $t->worker_pids->{keeper} } }

# Keys come and go, and change their places. Those of the load stay as they are.
sub write_keys {
    my (@more) = @_;

    $t->write_file('keys.json', key_file([ shuffle(LLM::Soak::keys_of_load(), @more) ]));
    return;
}

sub mend {
    for my $what (sort keys %mend) {
        (delete $mend{$what})->();
    }
    return;
}

my %faults = (
    'a reload'                       => sub { $t->reload },
    'a killed worker'                => sub { kill_workers() },
    'all workers killed'             => sub { kill_workers(1) },
    'a killed worker in a reload'    => sub { kill HUP => $t->master; kill_workers() },
    'a killed keeper'                => sub { kill_keepers() },
    'a keeper killed twice'          => sub { kill_keepers(); $t->wait_keeper; kill_keepers() },
    'keys that come and go'          => sub { write_keys(map { { name => "more$_", secret => "sk-more-$_-0123456789" } } 1 .. rand 300) },
    'a key file with a mistake'      => sub {
        $t->write_file('keys.json', substr(key_file([ LLM::Soak::keys_of_load() ]), 0, -2 - rand 50));
        wait_until('it to be seen', sub { file_is(0) });
        write_keys();
        wait_until('the good one', sub { file_is(1) });
    },
    $has_disk ? (
        'a disk that is full' => sub {
            return 'not now' if %mend;
            system("dd if=/dev/zero of='$state/full' bs=4k 2>/dev/null");
            $mend{disk} = sub { unlink "$state/full" or die "$state/full: $!\n" };
        },
        'a disk that is read-only' => sub {
            return 'not now' if %mend;
            # What is open for writing is in the way: between two keepers nothing is.
            kill STOP => $t->master;
            kill_keepers();
            my $is = eval { wait_until('a disk without writers', sub { system("mount -o remount,ro '$state' 2>/dev/null") == 0 }) };
            kill CONT => $t->master;
            $mend{disk} = sub { system("mount -o remount,rw '$state'") == 0 or die "remount failed\n" } if $is;
        },
        'the disk mended' => sub { return 'not now' if !%mend; mend() },
    ) : (),
    # Forward and back, by up to two days.
    $faketime ? (map { ("the clock set ($_)" => sub { set_clock(int(rand 2 * 172_800) - 172_800) }) } 1 .. 2) : (),
);

# Returns when nginx has seen it: its cached time is at most a second old.
sub set_clock {
    my ($by) = @_;

    $t->write_file('clock', sprintf "%+d\n", $by);
    wait_until('the clock', sub {
        my $date = $t->fetch(GET => '/metrics')->{headers}{date};
        abs(Time::Piece->strptime($date, '%a, %d %b %Y %H:%M:%S GMT')->epoch - time - $by) < 30;
    });
    return;
}

sub file_is {
    my ($good) = @_;

    return scalar grep { $_->{value} == $good } series($soak->metrics, 'llm_key_file_ok');
}

# --- what there is at the end of a round

sub ask {
    my ($sql) = @_;

    open my $out, '-|', 'sqlite3', '-readonly', '-cmd', '.timeout 5000', "$state/state.db", $sql or die "sqlite3: $!\n";
    my @rows = map { chomp; [ split /\|/, $_, -1 ] } <$out>;
    close $out or die "sqlite3 failed: $sql\n";
    return @rows;
}

my @outcomes = qw(ok incomplete refused client_abort upstream_error cut lost);
my @types    = qw(prompt cached completion reasoning cache_write);

# The ledger, in the form of the other books.
sub book_of_ledger {
    my $columns = join ', ', map {"sum($_)"} (map {"requests_$_"} @outcomes), @types, 'cost';
    my %book = map { $_ => {} } qw(requests tokens cost);
    for my $row (ask("SELECT key, model, $columns FROM usage GROUP BY key, model")) {
        my ($key, $model, @sums) = @$row;
        for my $outcome (@outcomes) {
            my $n  = shift @sums;
            my $of = $outcome eq 'refused' ? "$key *" : "$key $model";
            $book{requests}{"$of $outcome"} += $n if $n;
        }
        for my $type (@types) {
            my $n = shift @sums;
            $book{tokens}{"$key $model $type"} = $n + 0 if $n;
        }
        $book{cost}{"$key $model"} = $sums[0] + 0 if $sums[0];
    }
    return \%book;
}

# A book as one text.
sub text_of {
    my ($book) = @_;

    return join "\n", map { my $part = $_; map {"$part $_ $book->{$part}{$_}"} sort keys %{ $book->{$part} } } qw(requests tokens cost);
}

sub ledger_agrees {
    my ($book) = @_;

    my $wanted = { map { $_ => $book->{$_} } qw(requests tokens cost) };
    my $same = eval { wait_until('the ledger', sub { text_of(book_of_ledger()) eq text_of($wanted) }) };
    is_deeply(book_of_ledger(), $wanted, 'the ledger has what metrics have') if !$same;
    ok($same, 'the ledger has what metrics have, by key and model');

    my %of_keys;
    for (keys %{ $book->{tokens} }) {
        my ($key, $model, $type) = split / /;
        $of_keys{$key}{$type} += $book->{tokens}{$_};
    }
    my $said = `'$llmctl' usage --state '$state/state.db' --by key --json`;
    my %told = map {
        my $row = $_;
        $row->{key} => { map { $_ => $row->{$_} } grep { $row->{$_} } @types }
    } @{ JSON::PP->new->decode($said || '{}')->{rows} // [] };
    delete @told{ grep { !%{ $told{$_} } } keys %told };
    is_deeply(\%told, \%of_keys, 'and llmctl usage says so');
    return;
}

# What is missing of each key's quotas is what it was charged.
sub quotas_agree {
    my ($metrics, $book) = @_;

    my (%cost, %missing);
    $cost{ (split / /)[0] } += $book->{cost}{$_} for keys %{ $book->{cost} };
    my %of = map { $_ => { map { join(' ', @{ $_->{labels} }{qw(key limit period)}) => $_->{value} } series($metrics, "llm_limit_$_") } }
        qw(maximum remaining);
    for my $name (map {"k$_"} 0 .. 5) {
        $missing{$name} = $of{maximum}{"$name quota total"} - $of{remaining}{"$name quota total"};
    }
    is_deeply(\%missing, { map { $_ => $cost{$_} // 0 } keys %missing }, 'what is missing of quotas was charged: nothing is held');
    my @held = grep { $_->{labels}{limit} eq 'concurrency' } series($metrics, 'llm_limit_remaining');
    is(scalar(grep { $_->{value} != $of{maximum}{ join ' ', @{ $_->{labels} }{qw(key limit period)} } } @held), 0, 'no place is taken');
    return;
}

# KiB that belong to a process alone.
sub memory_of {
    my ($pid) = @_;

    open my $status, '<', "/proc/$pid/status" or return 0;
    local $/;
    return <$status> =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
}

sub files_of { my ($pid) = @_; return scalar(() = glob "/proc/$pid/fd/*") }

# What grows if something is forgotten: { name => number }.
sub sizes {
    my ($metrics) = @_;

    my %of = (master => [ $t->master ], worker => $t->worker_pids->{active}, keeper => $t->worker_pids->{keeper});
    my %size;
    for my $who (keys %of) {
        $size{"$who memory"} = max map { memory_of($_) } @{ $of{$who} };
        $size{"$who files"}  = max map { files_of($_) } @{ $of{$who} };
    }
    $size{"zone $_->{labels}{part}"} = $_->{value}
        for grep { $_->{labels}{state} eq 'used' && $_->{labels}{part} ne 'owners' } series($metrics, 'llm_zone_bytes');
    return \%size;
}

my (@sizes, @grown);

sub round {
    my ($n, $is_calm) = @_;

    # No two rounds have the same ids; those that begin with r are the test's own.
    my $name   = chr(ord('a') + $n % 17);
    $t->wait_idle;
    my $before = book_of_metrics($soak->metrics);
    my $middle = {};
    my %now;
    $soak->{seed} = $seed + 1000 * $n;
    $soak->forget_log;
    $kills = 0;
    my ($seen, $ledger) = $soak->run($name, $reached, sub {
        my ($tick) = @_;
        if ($is_calm) {
            $middle = { map { $_ => memory_of($_) } @{ $t->worker_pids->{active} } } if $tick == int($reached / 2000);
            return;
        }
        my @names = sort keys %faults;
        my $what  = $names[ rand @names ];
        $now{ $what =~ s/ \(\d\)//r }++ if ($faults{$what}->() // '') ne 'not now';
    });
    $happened{$_} += $now{$_} for keys %now;
    push @grown, map { memory_of($_) - $middle->{$_} } grep { memory_of($_) } keys %$middle;
    mend();
    write_keys();
    my $n_keys = () = LLM::Soak::keys_of_load();
    wait_until('the keys', sub { file_is(1) && grep { $_->{value} == $n_keys } series($soak->metrics, 'llm_keys') });
    $t->wait_workers;
    $t->wait_keeper;

    $soak->say_what_happened($seen, join '', map {", $_: $now{$_}"} sort keys %now);
    is($seen->{exceeded}, 0, 'the upstream never holds more than a limit says');
    is($seen->{held}, 0, 'in the end it holds none');
    is($seen->{altered}, 0, 'clients get what the upstream sent, byte for byte, less what they did not ask for');

    my $zone = $t->wait_idle;
    my $metrics = $soak->metrics;
    # The last lines are written a moment after the last lease has ended. With killed workers nobody knows how many there are to be.
    $soak->read_log;
    eval {
        wait_until('the log', sub {
            my $sum = 0;
            $sum += $_ for values %{ book_less(book_of_metrics($soak->metrics), $before)->{requests} };
            $soak->read_log;
            $sum == keys %{ $soak->logged };
        });
    } if !$kills;
    is(scalar(series($metrics, 'llm_requests_in_flight')), 0, 'nothing is in flight');
    is($zone->{leases}{running}, 0, 'no lease is left');
    my $all = book_of_metrics($metrics);
    $soak->status_agrees($zone, $all);
    my $unlogged = $soak->log_agrees($ledger);
    my $book     = book_less($all, $before);
    if ($kills) {
        $soak->killed_agree($book, $unlogged, $kills);
    } else {
        my $of_log = book_of_log(values %{ $soak->logged });
        is_deeply($book->{$_}, $of_log->{$_}, "the book has the $_ of the log, by key and model") for sort keys %$book;
        is(scalar(grep { $_->{status} || $_->{reached} } values %$unlogged), 0, 'every request that was answered, or reached the upstream, is in them');
    }
    quotas_agree($metrics, $all);
    ledger_agrees($all);
    is(join("\n", $t->problems), '', 'no alerts and no sanitizer reports');
    push @sizes, sizes($metrics);
    # Else hours of it fill the disk. nginx appends, so they begin anew.
    for my $log (qw(access.log error.log)) {
        truncate "$dir/$log", 0 or die "$log: $!\n";
    }
    $soak->{log_offset} = 0;
    return;
}

my $end = time + $seconds;
my ($n, $asked) = (0, 0);
while ($n < 2 || time < $end) {
    my $is_calm = $n % 4 == 1;
    my $good = case 'round ' . ($n + 1) . ($is_calm ? ', calm' : '') => sub { round($n, $is_calm) };
    $n++;
    # The books of later rounds build on those of earlier ones.
    last if !$good;
}

case 'nothing grows' => sub {
    plan skip_all => 'sanitizers have memory of their own' if !$memory_says;
    note 'what happened: ' . join ', ', map {"$happened{$_} x $_"} sort keys %happened;
    for my $what (sort keys %{ $sizes[0] }) {
        my @of = map { $_->{$what} // 0 } @sizes;
        note sprintf '%-22s %s', $what, join ' ', @of > 12 ? (@of[ 0 .. 4 ], '...', @of[ -5 .. -1 ]) : @of;
        # In the beginning things find their size. Of the later rounds halves are compared, by the one in their middle: no single one decides.
        next if @of < 6;
        my @later = @of[ 2 .. $#of ];
        my $half  = int(@later / 2);
        my ($first, $last) = map { (sort { $a <=> $b } @$_)[ int(@$_ / 2) ] } [ @later[ 0 .. $half - 1 ] ], [ @later[ $half .. $#later ] ];
        # A table of keys depends on their order by some bytes; and a key may be the first to use a model at any time.
        my $slack = $what =~ /^zone (?:keys|series)/ ? 1024 : $what =~ /^zone/ ? 0 : $what =~ /files/ ? 4 : 1024;
        cmp_ok($last, '<=', $first + $slack, "$what: the later half has no more than the earlier one");
    }
    note 'workers grew in the second half of calm rounds by KiB: ' . join ' ', @grown;
    cmp_ok(min(@grown), '<', 512, 'a worker that grows old does not grow') if @grown;
};

case 'a restart' => sub {
    mend();
    my $zone = $t->wait_idle;
    my $book = book_of_metrics($soak->metrics);
    my $of   = sub { my ($zone) = @_; return { map { $_->{name} => [ @$_{qw(requests prompt_tokens completion_tokens)} ] } grep { $_->{name} =~ /^k\d/ } @{ $zone->{keys} } } };
    # In the time that it really is.
    set_clock(0) if $faketime;
    $t->stop;
    $t->start;
    is_deeply($of->($t->zone), $of->($zone), 'all totals are there');
    my $wanted = { map { $_ => $book->{$_} } qw(requests tokens cost) };
    is_deeply(book_of_ledger(), $wanted, 'and the ledger');
};

$t->finish;
