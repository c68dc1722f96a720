# Why: an operator reloads nginx under load. No stream may notice, but for those of keys that are gone; no count may be lost, and a
# revoked key must be out at once, with the workers that are still shutting down too.

use strict;
use warnings;

use IO::Socket::INET;

use LLM::Streams;
use LLM::Test;

my %keys = map { $_ => { name => $_, user => "user-$_", secret => "sk-$_" } } qw(alice bob carol eve);
my $conf = <<'EOF';
%%HTTP_BEGIN%%
    llm_usage_inject off;
    llm_zone llm:8m;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /json { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location = /status { llm_status; }
    }
    server {
        listen 127.0.0.1:%%PORT_3%% http2;
        location / { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /json { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_2%%; }
    }
}
EOF
my $t = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    files   => { 'keys.json' => key_file([ @keys{qw(alice bob eve)} ]) },
    conf    => $conf,
);
my $up = $t->upstream(1);
$t->daemon(2);
$t->start;

sub status_of {
    my ($key) = @_;

    return $t->fetch(POST => '/json', key => $key, body => chat_request())->{status};
}

sub totals_of { return map { my $k = $t->totals($_); [ @{$k}{qw(requests prompt_tokens completion_tokens)} ] } @_ }

# What became of a request on a connection that an old worker holds: a status, or that it was not taken.
sub ask_h2 {
    my ($h, $key) = @_;

    my $s = $h->request(POST => '/json', headers => [ $t->bearer($key), 'content-type' => 'application/json' ], body => chat_request());
    return $h->response($s)->{status} // 'closed';
}

sub ask_h1 {
    my ($c, $key) = @_;

    $c->request(POST => '/json', headers => [ $t->bearer($key) ], body => chat_request());
    return eval { $c->response->{status} } // 'closed';
}

case '200 streams over a reload' => sub {
    my $streams = LLM::Streams->open($t, $up, count => 200, key_of => sub { $_[0] % 2 ? 'sk-alice' : 'sk-bob' });
    $streams->start_replies;
    is($streams->progress(sub { 3 }), 0, 'all have begun');

    my $h  = $t->client_h2(3);
    my $s  = $h->request(POST => '/', headers => [ $t->bearer('sk-bob') ], body => chat_request(stream => \1));
    my $u  = $up->take;
    $u->head;
    is($h->wait_head($s), 200, 'an HTTP/2 stream has begun too');
    my $idle = $t->client;
    is(ask_h1($idle, 'sk-bob'), 200, 'a connection that is kept open');
    my $generation = $t->zone->{generation};

    $t->write_file('keys.json', key_file([ @keys{qw(alice bob carol)} ]));
    $t->reload;

    is($t->wait_running(201)->{leases}{running}, 201, 'the new workers see all of them');
    cmp_ok($t->zone->{generation}, '>', $generation, 'another generation');
    is($t->totals('alice')->{in_flight}, 100, 'in flight for one key');
    is($t->totals('bob')->{in_flight}, 101, 'and for the other');
    is(scalar @{ $t->worker_pids->{exiting} }, 2, 'the old workers are still there');
    for (1 .. 10) {
        is(status_of('sk-alice'), 200, 'a key that stayed');
        is(status_of('sk-eve'), 401, 'the revoked key');
        is(status_of('sk-carol'), 200, 'the new key');
    }
    like(ask_h2($h, 'sk-eve'), qr/\A(?:401|closed)\z/, 'an old worker does not take the revoked key either');
    like(ask_h1($idle, 'sk-eve'), qr/\A(?:401|closed)\z/, 'nor on a connection that was kept open');
    $idle->close;
    like(ask_h2($h, 'sk-carol'), qr/\A(?:200|closed)\z/, 'the new key with an old worker');
    isnt($h->eof, 1, 'the HTTP/2 connection is still there');

    is($streams->progress(sub { 5 }), 0, 'all go on');
    $u->piece(plain_stream(7, 10));
    $u->finish;
    is($h->response($s)->{body}, plain_stream(7, 10), 'the HTTP/2 stream came whole');
    $h->close;
    is($streams->finish(sub { 10 }), 0, 'all came whole');
    $t->wait_idle;
    my ($alice, $bob) = totals_of(qw(alice bob));
    is_deeply($bob, [ 102, 102 * 7, 102 * 10 ], 'one key is charged');
    is_deeply($alice, [ 110, 110 * 7, 110 * 10 ], 'and the other for all of its own');
    wait_until('the old workers to end', sub { !@{ $t->worker_pids->{exiting} } });
};

case 'several reloads while streams run' => sub {
    my @before = totals_of('alice');
    my @generations;
    for my $n (1 .. 4) {
        my $streams = LLM::Streams->open($t, $up, count => 20, key_of => sub { 'sk-alice' });
        $streams->start_replies;
        is($streams->progress(sub { $n }), 0, "generation $n has begun");
        push @generations, $streams;
        $t->write_file('keys.json', key_file([ $keys{alice}, { name => "n$n", secret => "sk-n$n" } ]));
        $t->reload;
        is(status_of("sk-n$n"), 200, 'the new key');
        is(status_of('sk-n' . ($n - 1)), 401, 'the one before is gone') if $n > 1;
        is($t->wait_running(20 * $n)->{leases}{running}, 20 * $n, 'all streams are there');
    }
    is($_->finish(sub { 10 }), 0, 'all came whole') for @generations;
    $t->wait_idle;
    my ($after) = totals_of('alice');
    is_deeply([ map { $after->[$_] - $before[0][$_] } 0 .. 2 ], [ 80, 80 * 7, 80 * 10 ], 'charged once each');
    wait_until('the old workers to end', sub { !@{ $t->worker_pids->{exiting} } });
};

case 'a key that is revoked while a body comes in' => sub {
    $t->write_file('keys.json', key_file([ @keys{qw(alice bob)} ]));
    $t->reload;
    my $body = chat_request();
    my %open;
    for my $key (qw(alice bob)) {
        my $c = $open{$key} = $t->client;
        $c->request(POST => '/json', headers => [ $t->bearer("sk-$key"), 'Content-Length' => length $body, Expect => '100-continue' ]);
        ok($c->wait_continue, "$key: the body is asked for");
        $c->write(substr $body, 0, 10);
    }
    $t->write_file('keys.json', key_file([ $keys{alice} ]));
    $t->reload;
    $_->write(substr $body, 10) for values %open;
    is($open{alice}->response->{status}, 200, 'a key that stayed');
    is($open{bob}->response->{status}, 401, 'the revoked key');
    $_->close for values %open;
    wait_until('the old workers to end', sub { !@{ $t->worker_pids->{exiting} } });
};

case 'the location changes its key file' => sub {
    my $streams = LLM::Streams->open($t, $up, count => 10, key_of => sub { 'sk-alice' });
    $streams->start_replies;
    is($streams->progress(sub { 1 }), 0, 'begun');
    my $h = $t->client_h2(3);
    my $s = $h->request(POST => '/', headers => [ $t->bearer('sk-alice') ], body => chat_request(stream => \1));
    my $u = $up->take;

    $t->write_file('other.json', key_file([ $keys{carol} ]));
    $t->write_conf($conf =~ s/keys\.json/other.json/gr);
    $t->reload;
    is(status_of('sk-carol'), 200, 'the key of the new file');
    is(status_of('sk-alice'), 401, 'the key of the old file');
    like(ask_h2($h, 'sk-alice'), qr/\A(?:401|503|closed)\z/, 'an old worker does not take it either: its file is not in force');
    is($streams->finish(sub { 10 }), 0, 'what had begun comes whole');
    $u->head;
    $u->piece(plain_stream(7, 10));
    $u->finish;
    is($h->response($s)->{body}, plain_stream(7, 10), 'in HTTP/2 too');
    $h->close;

    $t->write_file('keys.json', key_file([ $keys{alice} ]));
    $t->write_conf($conf);
    $t->reload;
    is(status_of('sk-alice'), 200, 'and back');
};

case 'a reload that fails to bind changes no keys' => sub {
    my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $t->port(7), Listen => 1) or die "listen: $!\n";
    push @{ $t->{alerts} }, qr/\[emerg\].*bind\(\)/;
    my $generation = $t->zone->{generation};
    # Not a file that is watched.
    $t->write_file('third.json', key_file([ $keys{bob} ]));
    my $third = $conf =~ s/keys\.json/third.json/gr;
    $t->write_conf($third =~ s/listen 127\.0\.0\.1:%%PORT_0%%;/listen 127.0.0.1:%%PORT_0%%; listen 127.0.0.1:%%PORT_7%%;/r);
    $t->reload_fails(qr/still could not bind\(\)/);
    is(status_of('sk-alice'), 200, 'the old key');
    is(status_of('sk-bob'), 401, 'the new key is not in force');
    is($t->zone->{generation}, $generation, 'the same generation');

    $t->write_conf($third);
    $t->reload;
    is(status_of('sk-bob'), 200, 'then it is');
    is(status_of('sk-alice'), 401, 'and the old one is not');
};

case 'a worker that ends gracefully leaves nothing' => sub {
    my $streams = LLM::Streams->open($t, $up, count => 30, key_of => sub { 'sk-bob' });
    $streams->start_replies;
    $t->reload;
    is($streams->finish(sub { 10 }), 0, 'all came whole');
    wait_until('the old workers to end', sub { !@{ $t->worker_pids->{exiting} } });
    is($t->wait_idle->{leases}{running}, 0, 'no lease');
};

$t->finish;
