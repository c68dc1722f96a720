# Why: the disk is the one thing of the gateway that can be full, gone or wrong while it works. No request may suffer from that, the log must
# say it once and not each second, and when it is mended what was counted meanwhile must be on it. At a start it is the other way round: nginx
# must not begin with quotas that are forgiven.

use strict;
use warnings;

use LLM::Test;

my $conf = <<'EOF';
%%HTTP_BEGIN%%
    llm_zone llm:4m state=%%DIR%%/state/state.db;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
        location = /metrics { llm_api_keys off; llm_metrics; }
    }
}
EOF
my $file_of_keys = key_file([ { name => 'alice', secret => 'sk-alice' } ]);

sub gateway {
    my ($text) = @_;

    my $t = LLM::Test->new(status => [ 0, '/status' ], files => { 'keys.json' => $file_of_keys }, conf => $text // $conf);
    $t->daemon(1);
    return $t;
}

sub db { return $_[0]->dir . '/state/state.db' }

sub spend {
    my ($t, $how_many) = @_;

    for (1 .. $how_many) {
        my $r = $t->fetch(POST => '/', key => 'sk-alice', body => chat_request(), reply => { body => chat_reply(3, 4) });
        is($r->{status}, 200, 'a request goes on') if ($r->{status} // 0) != 200;
        $t->{spent}++;
    }
    return;
}

sub ask {
    my ($t, $sql) = @_;

    return `sqlite3 -readonly -cmd '.timeout 5000' '@{[ db($t) ]}' "$sql" 2>&1` =~ s/\n\z//r;
}

sub wait_ledger {
    my ($t, $name) = @_;

    my $there = eval { wait_until('the ledger', sub { ask($t, 'SELECT sum(completion) FROM usage') eq 4 * $t->{spent} }) };
    return is(ask($t, 'SELECT sum(completion) FROM usage'), 4 * $t->{spent}, $name // 'all is on the disk');
}

# How often the log has said since then that the state is not written, and what it said first.
sub complaints {
    my ($t, $since) = @_;

    my @lines = grep {/its state is not written/} split /\n/, substr $t->read_file('error.log'), $since;
    return (scalar @lines, $lines[0] // '');
}

# `break` it under load, look, `mend` it, and look again.
sub fault {
    my ($t, $break, $pattern, $mend) = @_;

    spend($t, 3);
    wait_ledger($t, 'before');
    my $since = -s $t->dir . '/error.log';
    my $begun = time;
    $break->();
    spend($t, 3);
    my $line = $t->wait_error_log(qr/its state is not written.*$pattern/, $since);
    ok($line, 'the log says it');
    # Many turns more: each would say it again.
    my $keeper = $t->wait_keeper;
    my $before = turns($keeper);
    spend($t, 20);
    wait_until('some turns', sub { turns($keeper) >= $before + 5 });
    my $metric = sub { ($t->fetch(GET => '/metrics')->{body} =~ /^llm_state_ok\{zone="llm"\} (\d)$/m)[0] };
    is($metric->(), 0, 'the metric says it');
    my $written = sub { ($t->fetch(GET => '/metrics')->{body} =~ /^llm_state_written_timestamp_seconds\{zone="llm"\} ([\d.]+)$/m)[0] };
    my $since_when = $written->();
    ok($since_when > $begun - 2 && $since_when <= time, 'and since when');
    ok($t->zone->{state}{error}, 'and the status');
    is((complaints($t, $since))[0], 1, 'once') or diag($t->read_file('error.log'));
    $mend->();
    $t->wait_error_log(qr/its state is written again/, $since);
    is($metric->(), 1, 'the metric too');
    cmp_ok($written->(), '>=', $since_when, 'and when it was written');
    spend($t, 3);
    return wait_ledger($t, 'when it is mended');
}

# How often a process has gone to sleep.
sub turns {
    my ($pid) = @_;

    open my $status, '<', "/proc/$pid/status" or return 0;
    local $/;
    return <$status> =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : 0;
}

sub with_disk {
    my ($t, $code) = @_;

    my $dir = $t->dir . '/state';
    mkdir $dir;
    if (system("mount -t tmpfs -o size=2m,mode=777 tmpfs '$dir' 2>/dev/null") != 0) {
        plan(skip_all => 'no file system can be mounted here');
        return;
    }
    my $lived = eval { $code->($dir); 1 };
    my $why = $@;
    $t->check_and_stop;
    system("umount '$dir'");
    die $why if !$lived;
    return;
}

case 'a disk that is full' => sub {
    my $t = gateway();
    with_disk($t, sub {
        my ($dir) = @_;
        $t->start;
        fault($t, sub { system("dd if=/dev/zero of='$dir/full' bs=4k 2>/dev/null") }, qr/full/, sub { unlink "$dir/full" });
    });
};

# What is open for writing is in the way: between two keepers nothing is.
sub make_read_only {
    my ($t, $dir) = @_;

    push @{ $t->{alerts} }, qr/cache manager process \d+ exited on signal 9/;
    kill STOP => $t->master;
    kill KILL => $t->wait_keeper;
    wait_until('a disk without writers', sub { system("mount -o remount,ro '$dir' 2>/dev/null") == 0 });
    kill CONT => $t->master;
    return;
}

case 'a disk that is read-only' => sub {
    my $t = gateway();
    with_disk($t, sub {
        my ($dir) = @_;
        $t->start;
        fault($t, sub {
            make_read_only($t, $dir);
        }, qr/read-?only|may not be written/i, sub { system("mount -o remount,rw '$dir'") });
    });
};

# It has its own reasons, and nothing is forgiven: the zone goes on.
case 'a reload while the disk is read-only' => sub {
    my $t = gateway();
    with_disk($t, sub {
        my ($dir) = @_;
        $t->start;
        fault($t, sub {
            make_read_only($t, $dir);
            my $since = -s $t->dir . '/error.log';
            $t->reload;
            like($t->wait_error_log(qr/state=.*tried again until it is written/, $since), qr/\[warn\]/, 'the reload says so');
        }, qr/read-?only|may not be written/i, sub { system("mount -o remount,rw '$dir'") });
        $t->reload;
        wait_ledger($t, 'after another reload');
        # At a start it is another matter.
        $t->stop;
        system("mount -o remount,ro '$dir'");
        push @{ $t->{alerts} }, qr/\[emerg\].*state=.*[Rr]ead-only/;
        my ($fine, $out) = $t->check_conf;
        ok(!$fine, 'nginx -t fails');
        like($out, qr/\[emerg\].*state=.*[Rr]ead-only/, 'and says why');
        system("mount -o remount,rw '$dir'");
    });
};

case 'a damaged file' => sub {
    my $t = gateway()->start;
    spend($t, 3);
    wait_ledger($t);
    my $since = -s $t->dir . '/error.log';
    open my $file, '+<', db($t) or die "$!\n";
    my $size = -s db($t);
    syswrite $file, 'garbage ' x ($size / 8);
    close $file;
    # What is in the keeper's own memory is good: it is found when the file is read.
    spend($t, 3);
    $t->reload;
    $t->wait_error_log(qr/is damaged.*it was set aside as/, $since);
    $t->wait_error_log(qr/its state is written again/, $since);
    wait_ledger($t, 'a new file has all of it');
    is(scalar(my @aside = glob db($t) . '.damaged-*Z'), 1, 'the old one is there');
    $t->stop;
    $t->start;
    is($t->totals('alice')->{completion_tokens}, 4 * $t->{spent}, 'nothing is forgiven');
    $t->check_and_stop;
};

my %other = (
    'a directory'     => sub { mkdir $_[0] },
    'a FIFO'          => sub { POSIX::mkfifo($_[0], 0666) },
    'a symbolic link' => sub { symlink '/etc/passwd', $_[0] },
    'a file of root' => sub { open my $f, '>', $_[0]; chmod 0644, $_[0] },
);
for my $what (sort keys %other) {
    case "$what in its place" => sub {
        my $t = gateway()->start;
        my $aside = db($t) . '.aside';
        fault($t, sub {
            # In one step, or a new one is made meanwhile.
            kill STOP => my $keeper = $t->wait_keeper;
            rename db($t), $aside or die "rename: $!\n";
            unlink db($t) . $_ for qw(-wal -shm);
            $other{$what}->(db($t));
            kill CONT => $keeper;
        }, qr/is a directory|is no plain file|is a symbolic link|belongs to/, sub {
            -d db($t) && !-l db($t) ? rmdir db($t) : unlink db($t);
        }) if $what ne 'a file of root' || $> == 0;
        $t->check_and_stop;
    };
}

case 'who owns the directory' => sub {
    my $t = gateway();
    mkdir $t->dir . '/state', 0755;
    my ($fine, $out) = $t->check_conf;
    ok(!$fine, 'nginx -t fails where workers may not write') or diag($out);
    like($out, qr{llm_zone "llm": state=\S*/state\.db: cannot be made in \S*/state/: Permission denied}, 'and says why');
    chmod 0777, $t->dir . '/state';
    ($fine, $out) = $t->check_conf;
    ok($fine, 'now it will do') or diag($out);
    ok(!-e db($t), 'it has made nothing');
    push @{ $t->{alerts} }, qr/\[emerg\].*cannot be made in/;
    $t->start;
    $t->check_and_stop;
} if $> == 0;

case 'a start that would forgive' => sub {
    my $t = gateway()->start;
    spend($t, 2);
    $t->stop;
    my %wrong = (
        'a newer format'     => [ "PRAGMA user_version = 99", "PRAGMA user_version = 2",          qr/newer|later|version/ ],
        'of another program' => [ 'PRAGMA application_id = 7', 'PRAGMA application_id = 1819045235', qr/another program|not ours|no database of/ ],
    );
    for my $what (sort keys %wrong) {
        my ($break, $mend, $pattern) = @{ $wrong{$what} };
        system('sqlite3', db($t), $break);
        my $before = `sha256sum < '@{[ db($t) ]}'`;
        my ($fine, $out) = $t->check_conf;
        ok(!$fine, "$what: nginx -t fails");
        like($out, $pattern, 'and says why');
        ok(!eval { $t->start; 1 }, 'nginx does not start');
        is(`sha256sum < '@{[ db($t) ]}'`, $before, 'the file is as it was');
        system('sqlite3', db($t), $mend);
    }
    push @{ $t->{alerts} }, qr/\[emerg\].*state=/;
    $t->start;
    is($t->totals('alice')->{completion_tokens}, 8, 'then all is there');
    $t->check_and_stop;
};

case 'two nginx with one file' => sub {
    my $t = gateway()->start;
    spend($t, 2);
    wait_ledger($t);
    is_deeply([ ($t->check_conf)[0] ], [1], 'nginx -t of the one that runs is no other nginx');
    my $path = db($t);
    my $second = gateway($conf =~ s{%%DIR%%/state/state\.db}{$path}r);
    my ($fine, $out) = $second->check_conf;
    my $master = $t->master;
    ok(!$fine, 'nginx -t of the second fails');
    like($out, qr/is in use by another nginx, whose master has pid $master/, 'and says by whom');
    ok(!eval { $second->start; 1 }, 'it does not start');
    push @{ $second->{alerts} }, qr/is in use by another nginx/;
    spend($t, 2);
    wait_ledger($t, 'the first goes on');
    $t->stop;
    $second->start;
    is($second->totals('alice')->{completion_tokens}, 16, 'when the first is gone the second goes on with it');
    $second->check_and_stop;
    $t->check_and_stop;
};

case 'locked by another program' => sub {
    my $t = gateway()->start;
    spend($t, 2);
    wait_ledger($t);
    my $pid = open my $shell, '|-', 'sqlite3', db($t);
    $shell->autoflush(1);
    print $shell "BEGIN IMMEDIATE;\n.shell touch @{[ $t->dir ]}/locked\n";
    wait_until('the lock', sub { -e $t->dir . '/locked' });
    spend($t, 20);
    print $shell "COMMIT;\n.quit\n";
    close $shell;
    wait_ledger($t, 'when it is free again');
    $t->check_and_stop;
};

LLM::Test->finish;
