# Why: keys change while the gateway is at work. Whoever has another key must not see it: no request fails or is ended, and none waits
# while a large file is read. LLM_KEYS is the number of keys of the large file (default 100000), LLM_CHANGES that of changes.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use POSIX qw(_exit);
use Time::HiRes qw(sleep time);

use LLM::Streams;
use LLM::Test;

my $many    = $ENV{LLM_KEYS}    // 100_000;
my $changes = $ENV{LLM_CHANGES} // 100;
my $zone_mb = 16 + int $many / 800;

my @keep = map { { name => "keep$_", user => 'keep', secret => "sk-keep$_" } } 1 .. 10;
my $t = LLM::Test->gateway(
    workers => 2,
    zone    => "llm:${zone_mb}m",
    keys    => \@keep,
    http    => 'keepalive_requests 1000000;',
    server  => 'location / { proxy_pass http://127.0.0.1:%%PORT_1%%; } location /stream { proxy_pass http://127.0.0.1:%%PORT_2%%; }',
);
$t->daemon(1);
my $up = $t->upstream(2);
$t->start;
$t->wait_keeper;

# Sends requests, one after the other, on a few connections, until it is told to stop; then { failed, ms => [sorted] }.
sub load {
    pipe my $from, my $to or die $!;
    my $pid = fork // die $!;
    if (!$pid) {
        local $SIG{TERM} = sub { die "stop\n" };
        my (@ms, %failed);
        eval {
            my @clients = map { $t->client } 1 .. 4;
            for (my $n = 0;; $n++) {
                my $client = $clients[ $n % @clients ];
                my $begin  = time;
                $client->request(POST => '/', headers => [ $t->bearer('sk-keep' . (1 + $n % 10)) ], body => chat_request());
                my $status = $client->response->{status} // 0;
                push @ms, 1000 * (time - $begin);
                $failed{$status}++ if $status != 200;
                sleep 0.001;
            }
        };
        my $why = $@ eq "stop\n" ? '' : $@;
        print $to json({ failed => \%failed, why => $why, ms => [ sort { $a <=> $b } @ms ] });
        close $to;
        _exit(0);
    }
    close $to;
    return sub {
        kill TERM => $pid;
        local $/;
        my $result = JSON::PP->new->decode(scalar <$from>);
        waitpid $pid, 0;
        return $result;
    };
}

sub show {
    my ($name, $r) = @_;

    is(join(' ', map {"$_: $r->{failed}{$_}"} sort keys %{ $r->{failed} }), '', "$name: no request fails");
    is($r->{why}, '', "$name: no connection breaks");
    my $ms = $r->{ms};
    note sprintf '%s: %d requests, p50 %.2f ms, p99 %.2f ms, most %.2f ms', $name, scalar @$ms, map { $ms->[ $_ * $#$ms ] } 0.5, 0.99, 1;
    return;
}

sub status_of { my ($key) = @_; return $t->fetch(POST => '/', key => $key, body => chat_request())->{status} }

case 'many changes under load' => sub {
    my $streams = LLM::Streams->open($t, $up, count => 20, uri => '/stream', key_of => sub { 'sk-keep' . (1 + $_[0] % 10) });
    $streams->start_replies;
    $streams->progress(sub { 1 });
    my $stop = load();
    wait_until('requests', sub { $t->totals('keep1')->{requests} > 20 });
    sleep 1;
    show('nothing changes', $stop->());

    $stop = load();
    my @seconds;
    for my $n (1 .. $changes) {
        my $begin = time;
        $t->write_file('keys.json', key_file([ @keep, { name => "n$n", secret => "sk-n$n" } ]));
        wait_until("change $n", sub { status_of("sk-n$n") == 200 });
        push @seconds, time - $begin;
        is(status_of('sk-n' . ($n - 1)), 401, "the key of change $n is gone") if $n % 10 == 0;
    }
    show("$changes changes", $stop->());
    @seconds = sort { $a <=> $b } @seconds;
    note sprintf 'until a change is in force: %.2f s in the median, %.2f s at most', $seconds[ $#seconds / 2 ], $seconds[-1];
    is($streams->finish(sub { 2 }), 0, 'all streams of other keys come whole');
};

# Written by hand: encoding a million of them takes long.
sub large_file {
    my ($generation) = @_;

    my $text = '{"keys":[' . join(",\n", map { sprintf '{"name":"%s","sha256":"%s"}', $_->{name}, sha256_hex($_->{secret}) } @keep);
    for my $n (1 .. $many) {
        $text .= sprintf qq(,\n{"name":"k%d","sha256":"%s"}), $n, sha256_hex("sk-$generation-$n");
    }
    return "$text]}";
}

case "$many keys" => sub {
    my @texts = map { large_file($_) } 1, 2;
    for my $generation (1, 2) {
        my $stop  = load();
        my $begin = time;
        $t->write_file('keys.json', $texts[ $generation - 1 ]);
        wait_until('all keys', sub { status_of("sk-$generation-$many") == 200 });
        note sprintf 'in force after %.2f s', time - $begin;
        is(status_of("sk-$generation-1"), 200, 'the first');
        is(status_of('sk-' . ($generation - 1) . '-1'), 401, 'those before are gone');
        show("$many keys", $stop->());
    }
    my $pid = $t->wait_keeper;
    open my $status, '<', "/proc/$pid/status" or die $!;
    local $/;
    my ($rss) = <$status> =~ /^RssAnon:\s+(\d+) kB$/m;
    cmp_ok($rss, '<', 32 << 10, 'kilobytes that the keeper keeps');
};

case 'back to few' => sub {
    $t->write_file('keys.json', key_file(\@keep));
    wait_until('few keys', sub { status_of("sk-2-$many") == 401 });
    is(status_of('sk-keep1'), 200, 'the others are there');
};

$t->finish;
