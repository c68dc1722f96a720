# Why: a key is made, changed and taken away every day. Each change of a key file has to be in force with every worker within a second,
# without a reload; and nothing that may happen to a file may take away the keys that are in force.

use strict;
use warnings;

use POSIX qw(mkfifo);
use Time::HiRes qw(time);

use LLM::Metrics;
use LLM::Test;

my %keys = map { $_ => { name => $_, user => "user-$_", secret => "sk-$_" } } qw(alice bob carol dave);
my $workers = 4;
my $t = LLM::Test->gateway(
    workers => $workers,
    alerts  => [ qr/cache manager process \d+ exited on signal 9/ ],
    keys    => [ @keys{qw(alice bob)} ],
    files   => { 'second.json' => key_file([ $keys{dave} ]) },
    server  => <<'EOF');
location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
location /second { llm_api_keys %%DIR%%/second.json; proxy_pass http://127.0.0.1:%%PORT_1%%; }
location = /metrics { llm_api_keys off; llm_metrics; }
EOF
$t->daemon(1);
$t->start;
$t->wait_keeper;

sub status_of {
    my ($key, $uri) = @_;

    return $t->fetch(POST => $uri // '/', key => $key, body => chat_request())->{status};
}

# What many new connections say of this key: each worker takes some of them.
sub everywhere {
    my ($key, $status, $name) = @_;

    my %seen;
    $seen{ status_of($key) }++ for 1 .. 10 * $workers;
    return is(join(' ', keys %seen), $status, $name);
}

sub wait_for {
    my ($key, $status, $name) = @_;

    my $begin = time;
    wait_until("$key: $status", sub { status_of($key) == $status });
    everywhere($key, $status, $name // "$key: $status with every worker");
    return time - $begin;
}

sub file_of { my ($name) = @_; my ($f) = grep { $_->{path} =~ /\Q$name\E\z/ } @{ $t->zone->{files} }; return $f }

sub error_of {
    my ($name) = @_;

    return wait_until("an error of $name", sub { file_of($name)->{error} });
}

sub mended {
    my ($name) = @_;

    return wait_until("$name to be good", sub { !file_of($name)->{error} });
}

sub metric {
    my ($name, $file) = @_;

    my $all = parse_metrics($t->fetch(GET => '/metrics')->{body});
    my ($value) = map { $_->{value} } grep { $_->{labels}{file} =~ /\Q$file\E\z/ } series($all, $name);
    return $value;
}

sub said {
    my ($pattern, $offset) = @_;

    my @lines = grep {/$pattern/} split /\n/, substr $t->read_file('error.log'), $offset;
    return scalar @lines;
}

sub log_size { return -s $t->dir . '/error.log' }

# In place, as editors and shells do, in two pieces.
sub edit {
    my ($name, $text) = @_;

    open my $file, '>:raw', $t->dir . "/$name" or die "$name: $!\n";
    $file->autoflush(1);
    print $file substr $text, 0, 10;
    print $file substr $text, 10;
    close $file;
    return;
}

sub put { my (@names) = @_; return $t->write_file('keys.json', key_file([ @keys{@names} ])) }

case 'a file is replaced' => sub {
    my $generation = $t->zone->{generation};
    my $offset     = log_size();
    put(qw(alice carol));
    wait_for('sk-carol', 200);
    everywhere('sk-bob', 401, 'the removed one');
    everywhere('sk-alice', 200, 'the one that stayed');
    is($t->zone->{generation}, $generation + 1, 'one publication');
    like($t->wait_error_log(qr/keys are in force/, $offset), qr/: 3 keys are in force: 1 added, 1 removed, 0 changed/, 'and the log says which');

    $offset = log_size();
    $t->write_file('keys.json', key_file([ $keys{alice}, { %{ $keys{carol} }, enabled => \0 } ]));
    wait_for('sk-carol', 401);
    like($t->wait_error_log(qr/keys are in force/, $offset), qr/0 added, 0 removed, 1 changed/, 'a change');
    is(status_of('sk-dave', '/second'), 200, 'the other file is as it was');
};

case 'a file is written in place' => sub {
    edit('keys.json', key_file([ @keys{qw(alice bob)} ]));
    wait_for('sk-bob', 200);
    edit('keys.json', key_file([ $keys{alice} ]));
    wait_for('sk-bob', 401);
    is(file_of('keys.json')->{error}, undef, 'no fault');
};

case 'a link is swapped, as by Kubernetes' => sub {
    my $dir = $t->dir;
    for my $n (1, 2) {
        mkdir "$dir/..v$n";
        chmod 0755, "$dir/..v$n";
        $t->write_file("..v$n/keys.json", key_file([ $n == 1 ? @keys{qw(alice bob)} : @keys{qw(alice carol)} ]));
    }
    symlink '..v1', "$dir/..data";
    symlink '..data/keys.json', "$dir/link";
    rename "$dir/link", "$dir/keys.json" or die $!;
    wait_for('sk-bob', 200);
    symlink '..v2', "$dir/..new";
    rename "$dir/..new", "$dir/..data" or die $!;
    wait_for('sk-carol', 200);
    everywhere('sk-bob', 401, 'the old version is gone');
    unlink "$dir/keys.json";
    put(qw(alice bob));
    wait_for('sk-bob', 200);
};

# What is put in the place of the key file, and what is said of it.
my %bad = (
    'garbage'      => [ sub { $t->write_file('keys.json', "\x00\xff no keys\n") },         qr/expected an object|not JSON/ ],
    'half a file'  => [ sub { $t->write_file('keys.json', substr put(qw(alice bob)) && key_file([ $keys{bob} ]), 0, -20) }, qr/end of file|not JSON|expected/ ],
    'a bad value'  => [ sub { $t->write_file('keys.json', qq({\n "keys": [ { "name": "x", "sha256": "short" } ] })) }, qr/expected 64 hex digits/, 2 ],
    'a secret in the wrong place' => [ sub { $t->write_file('keys.json', qq({ "keys": [ { "name": "x", "sha256": "sk-misplaced" } ] })) }, qr/expected 64 hex digits/, 1 ],
    'nothing'      => [ sub { unlink $t->dir . '/keys.json' },                              qr/cannot open: No such file/ ],
    'a directory'  => [ sub { unlink $t->dir . '/keys.json'; mkdir $t->dir . '/keys.json' }, qr/not a regular file/ ],
    'a FIFO'       => [ sub { unlink $t->dir . '/keys.json'; mkfifo($t->dir . '/keys.json', 0644) }, qr/not a regular file/ ],
    'an empty file' => [ sub { $t->write_file('keys.json', '') },                           qr/unexpected end of file/ ],
    ($> == 0 ? ('one that workers cannot read' => [ sub { chmod 0600, $t->dir . '/keys.json' }, qr/Permission denied: .*mode 640/ ]) : ()),
    'too many keys' => [ sub { $t->write_file('keys.json', key_file([ map { { name => "k$_", secret => "sk-k$_" } } 1 .. 20_000 ])) }, qr/too small for 2000[01] keys/ ],
);

for my $name (sort keys %bad) {
    case $name => sub {
        my ($break, $text, $line) = @{ $bad{$name} };
        put(qw(alice bob));
        mended('keys.json');
        wait_for('sk-bob', 200);
        my $loaded = file_of('keys.json')->{loaded_ms};
        my $offset = log_size();
        $break->();
        my $error = error_of('keys.json');
        like($error->{text}, $text, 'the status says what it is');
        is($error->{line}, $line, 'and where') if $line;
        is(metric('llm_key_file_ok', 'keys.json'), 0, 'the metric too');
        is(metric('llm_key_file_ok', 'second.json'), 1, 'not of the other file');
        everywhere('sk-alice', 200, 'the old keys are in force');
        is(file_of('keys.json')->{loaded_ms}, $loaded, 'since then');
        is(metric('llm_key_file_loaded_timestamp_seconds', 'keys.json'), int($loaded / 1000), 'as the metric says');
        like($t->wait_error_log(qr/\[error\].*keys\.json.*the keys in force stay/, $offset), $text, 'the log says it');

        # Another file may change meanwhile.
        $t->write_file('second.json', key_file([ @keys{qw(dave carol)} ]));
        wait_until('the other file', sub { status_of('sk-carol', '/second') == 200 });
        like((file_of('keys.json')->{error} // {})->{text} // '', $text, 'the fault stands');
        $t->write_file('second.json', key_file([ $keys{dave} ]));
        wait_until('the other file', sub { status_of('sk-carol', '/second') == 401 });
        is(said(qr/\[error\]/, $offset), 1, 'once') or diag(substr $t->read_file('error.log'), $offset);

        rmdir $t->dir . '/keys.json' or unlink $t->dir . '/keys.json';
        put(qw(alice carol));
        wait_for('sk-carol', 200, 'and it is mended');
        mended('keys.json');
        is(metric('llm_key_file_ok', 'keys.json'), 1, 'says the metric');
        like($t->wait_error_log(qr/is good again/, $offset), qr/\[notice\]/, 'and the log');
        unlike($t->read_file('error.log'), qr/sk-misplaced/, 'no secret is told');
    };
}

case 'the old text is back' => sub {
    my $dir = $t->dir;
    put(qw(alice bob));
    wait_for('sk-bob', 200);
    my $offset = log_size();
    rename "$dir/keys.json", "$dir/away" or die $!;
    like(error_of('keys.json')->{text}, qr/No such file/, 'it is gone');
    rename "$dir/away", "$dir/keys.json" or die $!;
    mended('keys.json');
    like($t->wait_error_log(qr/keys\.json.* is good again/, $offset), qr/notice/, 'and back');
    everywhere('sk-bob', 200, 'as before');
};

case 'a reload' => sub {
    put(qw(alice carol));
    wait_for('sk-carol', 200);
    my $old = $t->wait_keeper;
    my $generation = $t->zone->{generation};
    $t->reload;
    $t->wait_keeper({ $old => 1 });
    put(qw(alice bob));
    wait_for('sk-bob', 200, 'changes after a reload');
    is($t->zone->{generation}, $generation + 2, 'the reload, and the change: nothing was read twice');

    $t->write_file('keys.json', '{');
    error_of('keys.json');
    $t->reload_fails(qr/\[emerg\].*keys\.json/) if push @{ $t->{alerts} }, qr/\[emerg\].*keys\.json/;
    everywhere('sk-bob', 200, 'a reload with a broken file fails');
    put(qw(alice carol));
    wait_for('sk-carol', 200, 'and it is mended without one');
};

case 'another file by a reload' => sub {
    my $conf = $t->read_file('nginx.conf');
    $t->write_file('other.json', key_file([ $keys{carol} ]));
    $t->write_file('nginx.conf', $conf =~ s{/keys\.json}{/other.json}gr);
    $t->reload;
    wait_for('sk-carol', 200);
    everywhere('sk-alice', 401, 'the keys of the old file');
    put(qw(alice bob));
    $t->write_file('other.json', key_file([ @keys{qw(carol bob)} ]));
    wait_for('sk-bob', 200, 'the new file is watched');
    everywhere('sk-alice', 401, 'and the old one is not');
    $t->write_file('nginx.conf', $conf);
    $t->reload;
    wait_for('sk-alice', 200);
};

case 'kills of the keeper, and changes meanwhile' => sub {
    my %known;
    for my $n (1 .. 10) {
        my $pid = $t->wait_keeper(\%known);
        $known{$pid} = 1;
        put($n % 2 ? qw(alice carol) : qw(alice bob));
        select undef, undef, undef, rand 0.3;
        kill KILL => $pid;
    }
    put(qw(alice bob));
    wait_for('sk-bob', 200);
    everywhere('sk-carol', 401, 'the last one stands');
};

case 'many changes leave nothing in the keeper' => sub {
    my $pid = $t->wait_keeper;
    my $change = sub {
        my ($n) = @_;
        $t->write_file('keys.json', key_file([ $keys{alice}, { name => "n$n", secret => "sk-n$n" } ]));
        wait_until("change $n", sub { status_of("sk-n$n") == 200 });
    };
    my $rss = sub {
        open my $status, '<', "/proc/$pid/status" or return 0;
        local $/;
        return <$status> =~ /^VmRSS:\s+(\d+) kB$/m ? $1 : 0;
    };
    $change->($_) for 1 .. 10;
    my $before = $rss->();
    $change->($_) for 11 .. 100;
    cmp_ok($rss->() - $before, '<', 128, 'kilobytes');
    is($t->wait_keeper, $pid, 'the same keeper');
    is(said(qr/\bunknown process\b/, 0), 0, 'nginx sees no unknown child');
};

$t->finish;
