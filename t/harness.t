# Why: the other tests are worth no more than the harness. Here it runs without the module, so that a failure elsewhere is
# the module's and not the harness's: byte by byte delivery, reload, and leftovers that it has to notice.

use strict;
use warnings;

use LLM::Test;

my $conf = <<'EOF';
%%HTTP_BEGIN%%
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /daemon { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /version { return 200 "one"; }
    }
    server {
        listen 127.0.0.1:%%PORT_3%% http2;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOF
my $t      = LLM::Test->new(module => 0, conf => $conf);
my $up     = $t->upstream(1);
my $daemon = $t->daemon(2);
$t->start;

case 'one byte per read' => sub {
    my $text = plain_stream(7, 10);
    my $c    = $t->client;
    $c->request(POST => '/v1/chat/completions', body => chat_request(stream => \1), id => 'bytes');
    my $u = $up->take;
    is($u->{request}{body}, chat_request(stream => \1), 'the body arrives');
    $u->head;
    my $out_of_step = 0;
    for my $n (1 .. length $text) {
        $u->piece(substr $text, $n - 1, 1);
        $out_of_step++ if length $c->wait_body($n) != $n;
    }
    $u->finish;
    my $r = $c->response;
    is($out_of_step, 0,     'the client is never ahead or behind');
    is($r->{body},   $text, 'same bytes');
    ok($r->{complete}, 'a proper end');
    is($t->log_line('bytes')->{status}, 200, 'the log line comes');
};

case 'a cut reply is not complete' => sub {
    my $c = $t->client;
    $c->request(GET => '/');
    my $u = $up->take;
    $u->head;
    $u->piece('abc');
    $c->wait_body(3);
    $u->close;
    my $r = $c->response;
    is($r->{body}, 'abc', 'what came before');
    ok(!$r->{complete}, 'no proper end');
};

case 'the forked upstream' => sub {
    my $r = $t->fetch(POST => '/daemon', body => '{}', reply => { status => 418, body => 'teapot', headers => [ 'X-A' => 'b' ] });
    is($r->{status}, 418, 'status');
    is($r->{body}, 'teapot', 'body');
    is($r->{headers}{'x-a'}, 'b', 'header');
    is($daemon->count, 1, 'one request was written down');
    is($daemon->last_request->{body}, '{}', 'with its body');

    my $c = $t->client;
    $c->request(GET => '/daemon', headers => [ 'X-Reply' => json({ hold => 'h', body => 'late' }) ]);
    wait_until('the held request', sub { $daemon->count == 2 });
    is($c->pump->{status}, undef, 'nothing yet');
    $daemon->go('h');
    is($c->response->{body}, 'late', 'answered when told');
};

# Each of them was made by a process that knew those before it.
case 'forked upstreams end in any order' => sub {
    my @daemons = ($daemon, $t->daemon(4), $t->daemon(5));
    my $ended = eval {
        local $SIG{ALRM} = sub { die "it did not end\n" };
        alarm time_limit();
        $_->stop for @daemons[1, 2];
        alarm 0;
        1;
    };
    alarm 0;
    ok($ended, 'the earlier one before the later one') or diag($@);
};

case 'HTTP/2' => sub {
    my $h = $t->client_h2(3);
    my $s = $h->request(POST => '/', body => 'x' x 100_000);
    my $u = $up->take;
    is(length $u->{request}{body}, 100_000, 'the body arrives');
    $u->head;
    is($h->wait_head($s), 200, 'status');
    for my $n (1 .. 50) {
        $u->piece('y');
        last if length $h->wait_body($s, $n) != $n;
    }
    $u->finish;
    my $r = $h->response($s);
    is($r->{body}, 'y' x 50, 'in step');
    ok($r->{complete}, 'a proper end');

    $s = $h->request(GET => '/gone');
    $u = $up->take;
    $u->head(status => 404, framing => 'length', length => 0);
    is($h->response($s)->{status}, 404, 'another status');

    $s = $h->request(GET => '/cancelled');
    $u = $up->take;
    $h->cancel($s);
    ok($u->wait_close, 'a cancelled stream ends at the upstream');
    $h->close;
};

case 'reload' => sub {
    my $before = $t->wait_workers->[0];
    $t->write_conf($conf =~ s/"one"/"two"/r);
    $t->reload;
    isnt($t->wait_workers->[0], $before, 'another worker');
    is($t->fetch(GET => '/version')->{body}, 'two', 'the new configuration is in force');

    $t->write_conf($conf =~ s/"one"/"three"; nonsense/r);
    like($t->reload_fails(qr/\[emerg\].*nonsense/), qr/\[emerg\]/, 'a broken one is reported');
    is($t->fetch(GET => '/version')->{body}, 'two', 'and not in force');
};

case 'alerts are noticed' => sub {
    is(scalar(my @before = grep { !/nonsense/ } $t->problems), 0, 'none so far');
    kill KILL => $t->wait_workers->[0];
    $t->wait_error_log(qr/exited on signal 9/);
    $t->wait_workers;
    is(scalar(grep { /exited on signal 9/ } $t->problems), 1, 'a killed worker is found');
    $t->{alerts} = [ qr/exited on signal 9/, qr/nonsense/ ];
    is(scalar(my @after = $t->problems), 0, 'unless it was expected');

    # As nginx writes it of a process that died with the lock in hand.
    my ($pid) = $t->read_file('error.log') =~ /process (\d+) exited on signal 9/;
    open my $log, '>>', $t->dir . '/error.log' or die $!;
    print {$log} qq{[alert] 1#1: shared memory zone "llm" was locked by $_\n} for $pid, $pid + 1;
    close $log;
    is_deeply([ map { /by (\d+)$/ } $t->problems ], [ $pid + 1 ], 'a lock of another process is found');
    push @{ $t->{alerts} }, qr/was locked by/;
};

$t->finish;
