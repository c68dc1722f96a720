# Why: with many keys and models, metrics and status are long. Whoever reads them must not make others wait, nor fill the memory, and
# must get all of it, whatever lies in between. A client that reads slowly, leaves or never reads must leave nothing behind.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Uncompress::Gunzip qw(gunzip);
use JSON::PP;
use Socket qw(SOL_SOCKET SO_RCVBUF inet_aton pack_sockaddr_in);

use LLM::Metrics;
use LLM::Test;

my $sanitized = $ENV{LLM_PRELOAD} ? 1 : 0;
my $keys      = $sanitized        ? 1_500 : 10_000;
my $models    = 5;
my $reply     = '{"usage":{"prompt_tokens":7,"completion_tokens":10,"total_tokens":17}}';

my $t = LLM::Test->new(
    status => [ 0, '/status?view=live' ],
    files  => {
        'keys.json' => key_file([ map { { name => "k$_", user => "u$_", secret => "sk-$_" } } 1 .. $keys ]),
        'html/page.html'  => "begin <!--#include virtual=\"/metrics\" --> end\n",
        'html/pages.html' => join('', map {"$_ <!--#include virtual=\"/metrics?$_\" --> "} 1 .. 3) . "end\n",
    },
    conf => <<"EOF");
%%HTTP_BEGIN%%
    llm_usage_inject off;
    llm_zone llm:64m;
    llm_limit requests=1000000r/s;
    llm_api_keys %%DIR%%/keys.json;
    keepalive_requests 1000000;
    upstream model { server 127.0.0.1:%%PORT_1%%; keepalive 8; keepalive_requests 1000000; }
    access_log off;
    server {
        listen 127.0.0.1:%%PORT_0%% sndbuf=64k;
        location / { proxy_pass http://model; }
        location = /status { llm_api_keys off; llm_status; }
        location = /metrics { llm_api_keys off; llm_metrics; }
        location = /guarded { llm_metrics; }
        location = /slow { llm_api_keys off; limit_rate 4m; llm_metrics; }
        location = /short { llm_api_keys off; send_timeout 100ms; llm_metrics; }
        location = /gzip { llm_api_keys off; gzip on; gzip_types text/plain; llm_metrics; }
        location /pages/ { llm_api_keys off; ssi on; alias %%DIR%%/html/; }
        location = /added { llm_api_keys off; default_type text/html; add_before_body /metrics; add_after_body /metrics; alias %%DIR%%/html/page.html; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        llm_api_keys off;
        location / { default_type application/json; return 200 '$reply'; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%% http2;
        llm_api_keys off;
        location = /metrics { llm_metrics; }
        location = /status { llm_status; }
    }
}
EOF
$t->start;

# A request of each key for each model, some hundred at a time on one connection. Returns how many were answered.
sub load {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port(0)) or die "connect: $@\n";
    my ($answered, $asked, $batch) = (0, 0, '');
    my $take = sub {
        syswrite $socket, $batch;
        my $in = '';
        my $ended;
        do {
            IO::Select->new($socket)->can_read(time_limit()) or die "timed out loading\n";
            sysread $socket, $in, 1 << 20, length $in or die "the connection has ended\n";
            $ended = () = $in =~ /\Q$reply\E/g;
        } while $ended < $asked;
        $answered += () = $in =~ m{HTTP/1\.1 200 OK\r\n}g;
        ($asked, $batch) = (0, '');
    };
    for my $model (1 .. $models) {
        my $body = "{\"model\":\"m$model\"}";
        for my $key (1 .. $keys) {
            $batch .= "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk-$key\r\nContent-Type: application/json\r\n"
                . "Content-Length: @{[ length $body ]}\r\n\r\n$body";
            $take->() if ++$asked == 100;
        }
    }
    $take->() if $asked;
    close $socket;
    return $answered;
}

my $all = $keys * $models;

# What is missing in a reply of llm_metrics, or nothing. Quicker than parse_metrics(), which looks at one of them.
sub fault {
    my ($body) = @_;

    my ($series, $tokens) = (0, 0);
    $series++ while $body =~ /^llm_requests_total\{.*model="m\d",outcome="ok"\} \d+$/mg;
    $tokens += $1 while $body =~ /^llm_tokens_total\{.*type="completion"\} (\d+)$/mg;
    my $families = () = $body =~ /^# TYPE /mg;
    return "$series series" if $series != $all;
    return "$tokens tokens" if $tokens < 10 * $all || $tokens > 10 * $all + 1000;
    return "$families metrics" if $families != 19;
    return 'the end' if $body !~ /^llm_zone_bytes\{.*\} \d+\n\z/m;
    return '';
}

sub status_of { return JSON::PP->new->utf8->decode($_[0])->{zones}[0] }

sub open_descriptors {
    my ($worker) = @{ $t->wait_workers };

    opendir my $dir, "/proc/$worker/fd" or die "fd: $!\n";
    return scalar grep {/\d/} readdir $dir;
}

# The worker's memory that is its own, in kB.
sub own_memory {
    my ($worker) = @{ $t->wait_workers };

    open my $in, '<', "/proc/$worker/status" or die "status: $!\n";
    my ($kb) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$in>;
    return $kb;
}

# A connection whose client takes in only a little before it reads.
sub narrow {
    my $socket = IO::Socket::INET->new(Proto => 'tcp') or die "socket: $!\n";
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, pack 'i', 8192;
    $socket->connect(pack_sockaddr_in($t->port(0), inet_aton('127.0.0.1'))) or die "connect: $!\n";
    return $socket;
}

# All that comes until the end of the connection.
sub read_all {
    my ($socket) = @_;

    my $in = '';
    do {
        IO::Select->new($socket)->can_read(time_limit()) or die "nothing comes\n";
    } while sysread $socket, $in, 65_536, length $in;
    return $in;
}

case 'what is short has a length' => sub {
    for my $uri (qw(/metrics /status)) {
        my $r = $t->fetch(GET => $uri);
        is($r->{headers}{'content-length'}, length $r->{body}, $uri);
    }
};

case 'many keys and models' => sub {
    is(load(), $all, 'a request of each key for each model');
    $t->wait_idle;
    my $r = $t->fetch(GET => '/metrics');
    is($r->{headers}{'transfer-encoding'}, 'chunked', 'what is long has no length');
    ok($r->{complete}, 'and is whole');
    my $m = parse_metrics($r->{body});
    is(sum_of($m, 'llm_requests_total', outcome => 'ok'), $all, 'all requests');
    is(scalar(series($m, 'llm_requests_total', model => 'm3', outcome => 'ok')), $keys, 'a series for each key');
    is(sum_of($m, 'llm_requests_total', model => 'other', outcome => 'ok'), 0, 'none is among others');
    is(sum_of($m, 'llm_tokens_total', type => 'prompt'), 7 * $all, 'prompt tokens');
    is(sum_of($m, 'llm_tokens_total', type => 'completion'), 10 * $all, 'completion tokens');
    is(sum_of($m, 'llm_cost_total'), 17 * $all, 'cost');
    is(sum_of($m, 'llm_request_duration_seconds_count'), $all, 'durations');
    is(scalar(series($m, 'llm_limit_remaining', limit => 'requests')), $keys, 'a limit for each key');
    is(fault($r->{body}), '', 'the quick look finds nothing');

    my $open = $t->fetch(GET => '/metrics', headers => [ Accept => 'application/openmetrics-text' ]);
    like($open->{body}, qr/\n# EOF\n\z/, 'OpenMetrics ends');
    my $began = () = $open->{body} =~ /^llm_requests_created/mg;
    my $total = () = $open->{body} =~ /^llm_requests_total/mg;
    is($began, $total, 'each counter says when it began');

    my $s = status_of($t->fetch(GET => '/status')->{body});
    is($s->{totals}{requests}{ok}, $all, 'status: all requests');
    is($s->{totals}{completion_tokens}, 10 * $all, 'tokens');
    is(scalar @{ $s->{keys} }, $keys, 'keys');
    is(scalar(grep { $_->{requests} == $models && $_->{total_tokens} == 17 * $models } @{ $s->{keys} }), $keys, 'with their numbers');
    is(scalar @{ $s->{users} }, $keys, 'users');
    is(scalar(grep { $_->{name} =~ /\Am\d\z/ && $_->{requests}{ok} == $keys } @{ $s->{models} }), $models, 'models');
};

case 'keys in order' => sub {
    my @names = sort map {"k$_"} 1 .. $keys;
    for my $offset (0, 1, $keys / 2, $keys - 3, $keys) {
        my $s = status_of($t->fetch(GET => "/status?view=keys&sort=name&limit=1000&offset=$offset")->{body});
        my $last = $offset + 999 < $#names ? $offset + 999 : $#names;
        is_deeply([ map { $_->{name} } @{ $s->{keys} } ], [ @names[ $offset .. $last ] ], "from $offset on");
        is($s->{matched}, $keys, 'of all');
    }
};

case 'who reads slowly' => sub {
    my $before  = own_memory();
    my @sockets = map { narrow() } 1 .. 20;
    syswrite $_, "GET /metrics HTTP/1.0\r\n\r\n" for @sockets;
    for (@sockets) {
        IO::Select->new($_)->can_read(time_limit()) or die "nothing comes\n";
    }
    # They have had all that they get, and do not read on.
    for my $n (1 .. 50) {
        my $r = $t->fetch(POST => '/', key => 'sk-1', body => '{"model":"m1"}');
        is($r->{status}, 200, 'others go on') if $n == 50;
    }
    my $grown = own_memory() - $before;
    cmp_ok($grown / @sockets, '<', $sanitized ? 2_000 : 400, 'each takes little memory') or diag("$grown kB");
    my $last = pop @sockets;
    close $_ for @sockets;
    my ($head, $body) = split /\r\n\r\n/, read_all($last), 2;
    is(fault($body), '', 'who reads on gets all of it');
};

case 'who never reads' => sub {
    my $socket = narrow();
    syswrite $socket, "GET /short HTTP/1.0\r\n\r\n";
    $t->wait_error_log('client timed out');
    pass('is left after send_timeout');
    unlike(read_all($socket), qr/^llm_zone_bytes/m, 'and gets no more than there was');
};

case 'who leaves' => sub {
    my $before = open_descriptors();
    for my $uri (qw(/metrics /status /guarded /gzip /slow /pages/page.html)) {
        for my $ends (qw(close reset)) {
            my $c = $t->client;
            $c->request(GET => $uri, headers => [ 'Accept-Encoding' => 'gzip', $t->bearer('sk-1') ]);
            $c->wait_head;
            $c->$ends;
        }
    }
    my $c = $t->client_h2(2);
    my $n = $c->request(GET => '/metrics');
    $c->wait_body($n, 100_000);
    $c->cancel($n);
    $c->sync;
    $c->close;
    wait_until('connections to be closed', sub { open_descriptors() <= $before });
    is($t->wait_idle->{leases}{running}, 0, 'no lease is left');
};

case 'HTTP/1.0' => sub {
    my $c = $t->client;
    $c->write("GET /metrics HTTP/1.0\r\n\r\n");
    my $r = $c->wait_close;
    is($r->{headers}{'transfer-encoding'}, undef, 'is not chunked');
    is(fault($r->{body}), '', 'all of it');
};

case 'one after the other' => sub {
    my $c = $t->client;
    for my $n (1, 2) {
        $c->request(GET => '/metrics', body => 'x' x 100_000);
        is(fault($c->response->{body}), '', "request $n of a connection, with a body");
    }
    $c->request(HEAD => '/metrics');
    my $r = $c->response;
    is($r->{status}, 200, 'HEAD');
    is($r->{headers}{'content-length'}, undef, 'has no length of what is long');
    $c->request(GET => '/status?view=live');
    is(status_of($c->response->{body})->{totals}{requests}{refused}, 0, 'and no body');
    $c->close;
};

case 'HTTP/2' => sub {
    my $c = $t->client_h2(2);
    my @replies = map { $c->response($_) } map { $c->request(GET => $_) } qw(/metrics /status /metrics);
    is_deeply([ map { $_->{status} } @replies ], [ 200, 200, 200 ], 'three at once');
    is(fault($replies[$_]{body}), '', 'all of it') for 0, 2;
    is(scalar @{ status_of($replies[1]{body})->{keys} }, $keys, 'status too');
    $c->close;
};

case 'other modules' => sub {
    my $r = $t->fetch(GET => '/gzip', headers => [ 'Accept-Encoding' => 'gzip' ]);
    is($r->{headers}{'content-encoding'}, 'gzip', 'compressed');
    gunzip(\$r->{body}, \my $text) or die "gunzip\n";
    is(fault($text), '', 'all of it');
    is(fault($t->fetch(GET => '/slow')->{body}), '', 'with limit_rate');
    is(fault($t->fetch(GET => '/guarded', key => 'sk-1')->{body}), '', 'with a key');
};

case 'subrequests' => sub {
    my $r = $t->fetch(GET => '/pages/page.html');
    ok($r->{complete}, 'a page ends');
    my ($part) = $r->{body} =~ /\Abegin (.*) end\n\z/s;
    is(fault($part // ''), '', 'what it includes is whole');
    $r = $t->fetch(GET => '/pages/pages.html');
    my @parts = $r->{body} =~ /\A1 (.*) 2 (# HELP.*) 3 (# HELP.*) end\n\z/s;
    is(scalar @parts, 3, 'three of them at once');
    is(fault($_), '', 'each is whole') for @parts;
    $r = $t->fetch(GET => '/added');
    @parts = $r->{body} =~ /\A(.*)begin <!--.*--> end\n(.*)\z/s;
    is(scalar @parts, 2, 'before and after a reply');
    is(fault($_), '', 'each is whole') for @parts;
};

case 'a reload on the way' => sub {
    my $c = $t->client;
    $c->request(GET => '/metrics');
    $c->wait_head;
    $t->reload;
    is(fault($c->response->{body}), '', 'it goes on to its end');
    $c->close;
    is(fault($t->fetch(GET => '/metrics')->{body}), '', 'the new worker has all of it');
};

$t->finish;
