# Why: one worker carries thousands of streams. What it holds of a request or a reply may not grow with them, however large one
# event is, how many events come in one read or how long a stream lasts.

use strict;
use warnings;

use LLM::Test;

use constant MB => 1 << 20;

my $growth_allowed = MB;

my $t = LLM::Test->gateway(
    keys   => [ { name => 'alice', secret => 'sk-alice' } ],
    server => <<'EOF');
    client_max_body_size 0;
    location /off/ { llm_usage_inject off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    location /final/ { llm_usage_inject final; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    location /continuous/ { llm_usage_inject continuous; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    location /steps/ { llm_usage_inject continuous; proxy_pass http://127.0.0.1:%%PORT_2%%; }
EOF

# --- what the upstream says, in pieces

my $block = 'x' x 65_536;

# `size` bytes of text between two others.
sub long_event {
    my ($emit, $size, $front, $back, $filling) = @_;

    $emit->($front);
    $emit->($filling // $block) for 1 .. $size / length($filling // $block);
    $emit->($back);
    return;
}

# What the request asks for: 0 nothing, 1 a last chunk with usage, 2 usage in each chunk as well.
sub usual_chunk {
    my ($i, $asked) = @_;

    return chunk("word $i", $asked == 2 ? (usage => usage(7, $i)) : ());
}

my %reply = (
    'huge-content' => sub {
        my ($emit, $asked) = @_;
        $emit->(usual_chunk(1, $asked));
        long_event($emit, 64 * MB, 'data: {"choices":[{"index":0,"delta":{"content":"',
            '"}}]' . ($asked == 2 ? ',' . usage(7, 2) : '') . "}\n\n");
    },
    'huge-tail' => sub {
        my ($emit, $asked) = @_;
        long_event($emit, 64 * MB, 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]' . ($asked == 2 ? ',' . usage(7, 2) : '')
                . ',"prompt_token_ids":[1', "]}\n\n", ',123' x 16_384);
    },
    'many-events' => sub {
        my ($emit, $asked) = @_;
        $emit->(usual_chunk($_, $asked)) for 1 .. 100_000;
    },
    'lines' => sub {
        my ($emit) = @_;
        $emit->(qq({"model":"m","response":"x","done":false}\n)) for 1 .. 100;
        long_event($emit, 64 * MB, '{"model":"m","response":"","done":true,"context":[1', qq(],"prompt_eval_count":7,"eval_count":10}\n),
            ',123' x 16_384);
    },
    'short' => sub {
        my ($emit, $asked) = @_;
        $emit->(usual_chunk($_, $asked)) for 1 .. 3;
    },
);

sub say_reply {
    my ($name, $asked, $emit) = @_;

    $reply{$name}->($emit, $asked);
    if ($name ne 'lines') {
        $emit->(final_usage(7, 10)) if $asked;
        $emit->(done());
    }
    return;
}

# --- both ends of nginx, of which neither stores what passes

sub serve {
    my ($listener) = @_;

    while (my $u = $listener->accept) {
        $u->read_more('a request') until $u->{in} =~ /\r\n\r\n/ || $u->eof;
        $u->{in} =~ s{\A\S+ /\w+/([^/]+)/.*?\r\n\r\n}{}s or next;
        my $name = $1;
        my ($length) = $& =~ /^content-length: (\d+)/mi;
        my ($tail, $got) = ('', 0);
        while (1) {
            $got += length $u->{in};
            $tail = substr $tail . $u->{in}, -300;
            $u->{in} = '';
            last if $got >= $length || !$u->read_more('a body');
        }
        my $asked = $tail =~ /"continuous_usage_stats":true/ ? 2 : $tail =~ /"include_usage":true/ ? 1 : 0;
        $u->head(type => $name eq 'lines' ? 'application/x-ndjson' : 'text/event-stream', headers => [ 'X-Body' => $got ]);
        my $out  = '';
        my $emit = sub {
            $out .= sprintf("%x\r\n%s\r\n", length $_[0], $_[0]);
            if (length $out > 262_144) {
                $u->write($out);
                $out = '';
            }
        };
        say_reply($name, $asked, $emit);
        $u->write("${out}0\r\n\r\n");
        $u->close;
    }
    return;
}

sub private_kb {
    my ($pid) = @_;

    open my $maps, '<', "/proc/$pid/smaps_rollup" or die "smaps_rollup: $!\n";
    my ($kb) = map { /^Anonymous:\s+(\d+) kB/ ? $1 : () } <$maps>;
    return $kb;
}

# One exchange, from head to the end of the reply. The body is `size` bytes and sent in blocks.
# Returns (the reply's head, bytes of its body, the end of it, the worker's largest private memory in KB).
sub exchange {
    my ($pid, $uri, $size) = @_;

    my ($front, $back) = ('{"model":"m","messages":[{"role":"user","content":"', '"}],"stream":true}');
    my $filling = int($size / length $block);
    my $length  = length($front) + $filling * length($block) + length $back;
    my $c       = LLM::Peer->connect_to($t->port(0), 'client');
    my $id      = $t->new_id;
    my $most    = 0;
    my $look    = sub { my $kb = private_kb($pid); $most = $kb if $kb > $most };
    # A reply in this version ends with the connection.
    $c->write("POST $uri HTTP/1.0\r\nHost: x\r\nX-Test: $id\r\nAuthorization: Bearer sk-alice\r\n"
            . "Content-Length: $length\r\n\r\n$front");
    for my $i (1 .. $filling) {
        $c->write($block);
        $look->() if $i % 160 == 0;
    }
    $c->write($back);
    my ($head, $got, $tail, $seen) = ('', 0, '', 0);
    while (!$c->eof) {
        $c->read_more('a reply');
        if ($head eq '') {
            $c->{in} =~ s/\A(.*?\r\n)\r\n//s or next;
            $head = $1;
        }
        $got += length $c->{in};
        $tail = substr $tail . $c->{in}, -100;
        $c->{in} = '';
        if ($got - $seen > 4 * MB) {
            $seen = $got;
            $look->();
        }
    }
    $look->();
    $c->close;
    my $log = $t->log_line($id);
    return { head => $head, got => $got, tail => $tail, most => $most, sent => $length,
        tokens => $log->{usage_source} eq 'upstream' ? "$log->{prompt_tokens}/$log->{completion_tokens}" : $log->{usage_source}, outcome => $log->{outcome} };
}

my $listener = LLM::Upstream->new($t->port(1));
my $server   = fork // die "fork: $!\n";
if (!$server) {
    alarm 0;
    eval { serve($listener); 1 } or print {*STDERR} "upstream: $@";
    POSIX::_exit(0);
}
$listener->close;
my $in_steps = $t->upstream(2);
$t->start;
my $worker = $t->worker_pids->{active}[0];

# Sanitizers keep what is freed and shadow what is used.
my $says_something = !$ENV{LLM_PRELOAD};

sub try_exchange {
    my ($name, $inject, $what, $tokens, $size) = @_;

    case "$name, llm_usage_inject $inject" => sub {
        my $uri = "/$inject/$what/v1/chat/completions";
        exchange($worker, "/$inject/$_/v1/chat/completions", 0) for ('short') x 3;
        my $before = private_kb($worker);
        my $r      = exchange($worker, $uri, $size // 0);
        my $expected = 0;
        say_reply($what, 0, sub { $expected += length $_[0] });
        is($r->{got}, $expected, 'bytes that come through');
        like($r->{tail}, $what eq 'lines' ? qr/"eval_count":10\}\n\z/ : qr/data: \[DONE\]\n\n\z/, 'to the end');
        is($r->{tokens}, $tokens, 'tokens');
        is($r->{outcome}, 'ok', 'outcome');
        my ($reached) = $r->{head} =~ /^X-Body: (\d+)/mi;
        cmp_ok($reached, '>=', $r->{sent}, 'the body reached the upstream') if $size;
        note "private memory: $before KB, at most $r->{most} KB while it passed";
        cmp_ok(1024 * ($r->{most} - $before), '<', $growth_allowed, 'memory stays flat') if $says_something;
    };
    return;
}

# The first one: what later ones leave free would hide what it takes.
case 'a long stream, one event per read, usage is taken out of each' => sub {
    my $c = $t->client;
    $c->request(POST => '/steps/v1/chat/completions', headers => [ $t->bearer('sk-alice') ], body => chat_request(stream => \1));
    my $u = $in_steps->take;
    $u->head;
    my ($length, $early) = (0);
    for my $i (1 .. 5_000) {
        $u->piece(usual_chunk($i, 2));
        $length += length usual_chunk($i, 0);
        length $c->wait_body($length) == $length or last;
        $early = private_kb($worker) if $i == 500;
    }
    is(length $c->pump->{body}, $length, 'all have come');
    my $grown = private_kb($worker) - $early;
    note "grown by $grown KB from the 500th event on";
    cmp_ok($grown, '<=', 16, 'no memory per event') if $says_something;
    $u->piece(final_usage(7, 5_000) . done());
    $u->finish;
    $c->response;
    $c->close;
};

for ([ off => 'estimated' ], [ final => '7/10' ], [ continuous => '7/10' ]) {
    my ($inject, $tokens) = @$_;
    try_exchange('an event of 64 MB, its content',       $inject, 'huge-content', $tokens);
    try_exchange('an event of 64 MB, behind the choices', $inject, 'huge-tail',    $tokens);
    try_exchange('100,000 events',                       $inject, 'many-events',  $tokens);
}
try_exchange('a line of 64 MB', 'off', 'lines', '7/10');
try_exchange('a request of 200 MB', $_->[0], 'short', $_->[1], 200 * MB) for [ off => 'estimated' ], [ final => '7/10' ];

kill TERM => $server;
waitpid $server, 0;
$t->finish;
