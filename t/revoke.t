# Why: a key that is taken away at nine must not still be streaming at ten. Whatever runs under it ends, be the stream busy or idle, with
# the error event of its API where there is room for one, in every worker; and nobody else's request ends with it.

use strict;
use warnings;

use IO::Select;
use POSIX qw(strftime);

use LLM::Test;

my %keys = map { $_ => { name => $_, user => "user-$_", secret => "sk-$_" } } qw(alice bob carol);
my $location = <<'EOF';
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /nginx { llm_errors nginx; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /buffered/ { proxy_buffering on; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
        location /plain/ { llm_usage_inject off; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
EOF
my $t = LLM::Test->gateway(
    workers => 4,
    keys    => [ @keys{qw(alice bob)} ],
    server  => $location,
    more    => "server { listen 127.0.0.1:%%PORT_2%% http2;\n$location }",
);
my $up = $t->upstream(1);
$t->start;
$t->wait_keeper;

sub put { my (@keys) = @_; return $t->write_file('keys.json', key_file([ map { ref ? $_ : $keys{$_} } @keys ])) }

sub in_force {
    my ($key, $good) = @_;

    return wait_until("$key to be " . ($good ? 'good' : 'gone'), sub {
        my $c = $t->client;
        $c->request(POST => '/v1/chat/completions', headers => [ $t->bearer("sk-$key") ], body => '[');
        my $status = $c->response->{status};
        $c->close;
        $status == ($good ? 400 : 401);
    });
}

# Both keys are good, whatever they were before. The marker shows that it is this file that is in force.
my $begun = 0;

sub begin {
    my $marker = 'marker' . ++$begun;
    put(qw(alice bob), { name => $marker, secret => "sk-$marker" });
    return in_force($marker, 1);
}

my $openai = qr/data: \{"error":\{"message":"[^"]*no longer valid[^"]*","type":"invalid_request_error","param":null,"code":"invalid_api_key"\}\}\n\n\z/;
my %apis = (
    'chat'     => [ '/v1/chat/completions', 'text/event-stream',    sub { chunk('word') }, $openai ],
    'messages' => [ '/v1/messages',         'text/event-stream',    sub { qq(event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}\n\n) },
        qr/\nevent: error\ndata: \{"type":"error","error":\{"type":"authentication_error","message":"[^"]*no longer valid[^"]*"[^\n]*\}\n\n\z/ ],
    'lines'    => [ '/api/chat',            'application/x-ndjson', sub { qq({"model":"m","message":{"content":"x"},"done":false}\n) }, qr/\n\{"error":"[^"]*no longer valid[^"]*"\}\n\z/ ],
);

# A stream of this key, with some events in the client's hands; { client, read => code that gives the end, upstream, id, text }.
sub open_stream {
    my ($key, $uri, $type, $event, $way) = @_;

    my $id = $t->new_id;
    my @headers = ($t->bearer("sk-$key"), 'content-type' => 'application/json');
    my %s = (id => $id, text => $event->() x 3);
    my $wait;
    if ($way eq 'h2') {
        my $h = $s{client} = $t->client_h2(2);
        my $n = $h->request(POST => $uri, headers => \@headers, body => chat_request(stream => \1), id => $id);
        $s{read} = sub { $h->response($n) };
        $s{head} = sub { $h->wait_head($n) };
        $wait    = sub { $h->wait_body($n, $_[0]) };
    } else {
        my $c = $s{client} = $t->client;
        my $text = $c->format_request(POST => $uri, headers => \@headers, body => chat_request(stream => \1), id => $id);
        $text =~ s{HTTP/1\.1}{HTTP/1.0} if $way eq '1.0';
        $c->write($text);
        $c->expect_response('POST');
        $s{read} = sub { $c->response };
        $s{head} = sub { $c->wait_head };
        $wait    = sub { $c->wait_body($_[0]) };
    }
    $s{upstream} = $up->take;
    return \%s if !$type;
    $s{upstream}->head(type => $type);
    $s{upstream}->piece($s{text});
    $wait->(length $s{text});
    return \%s;
}

sub log_says {
    my ($s, $outcome, $refusal) = @_;

    my $line = $t->log_line($s->{id});
    is($line->{outcome}, $outcome, "outcome $outcome");
    is($line->{refusal} // '', $refusal, "refusal \"$refusal\"");
    return;
}

sub upstream_is_left { my ($s) = @_; return ok($s->{upstream}->wait_close, 'the upstream is left') }

for my $way (qw(1.1 1.0 h2)) {
    for my $api (sort keys %apis) {
        for my $place ('', '/buffered', '/plain') {
            case "$api over $way$place" => sub {
                begin();
                my ($uri, $type, $event, $error) = @{ $apis{$api} };
                my $bob   = open_stream('bob',   "$place$uri", $type, $event, $way);
                my $alice = open_stream('alice', "$place$uri", $type, $event, $way);
                put('alice');
                my $r = $bob->{read}->();
                $bob->{client}->close; # or nginx waits for that where the reply ends with the connection
                ok($r->{complete}, 'the stream ends in good order');
                is(substr($r->{body}, 0, length $bob->{text}), $bob->{text}, 'what came before is there');
                like($r->{body}, $error, 'its last word is the error');
                upstream_is_left($bob);
                log_says($bob, 'cut', 'revoked');

                my $rest = $event->();
                $alice->{upstream}->piece($rest);
                $alice->{upstream}->finish;
                $r = $alice->{read}->();
                is($r->{body}, $alice->{text} . $rest, 'the other one comes whole');
                $alice->{client}->close;
                $_->{upstream}->close for $alice, $bob;
            };
        }
    }
}

my @chat = @{ $apis{chat} }[ 0 .. 2 ];

for my $way (qw(1.1 h2)) {
    case "no reply yet, over $way" => sub {
        begin();
        my $s = open_stream('bob', '/v1/chat/completions', undef, sub { '' }, $way);
        put('alice');
        my $r = $s->{read}->();
        is($r->{status}, 401, 'refused');
        like($r->{body}, qr/"code":\s*"invalid_api_key"/, 'in the shape of the API');
        upstream_is_left($s);
        log_says($s, 'cut', 'revoked');
        $s->{client}->close;
    };

    case "a reply that is no stream, over $way" => sub {
        begin();
        my $s = open_stream('bob', '/v1/chat/completions', undef, sub { '' }, $way);
        $s->{upstream}->head(type => 'application/json', framing => 'length', length => 1000);
        $s->{upstream}->piece('{"id":');
        is($s->{head}->(), 200, 'it has begun');
        put('alice');
        my $r = $s->{read}->();
        ok(!$r->{complete}, 'is cut off');
        upstream_is_left($s);
        log_says($s, 'cut', 'revoked');
        $s->{client}->close;
    };

    case "in the midst of an event, over $way" => sub {
        begin();
        my $s = open_stream('bob', @chat, $way);
        $s->{upstream}->piece(substr chunk('half'), 0, 20);
        put('alice');
        $s->{read}->();
        upstream_is_left($s);
        log_says($s, 'cut', 'revoked');
        $s->{client}->close;
    };
}

case 'left to error_page' => sub {
    begin();
    my $s = open_stream('bob', '/nginx', undef, sub { '' }, '1.1');
    put('alice');
    my $r = $s->{read}->();
    is($r->{status}, 401, 'refused');
    like($r->{body}, qr/<html>/, 'by nginx');
    $s->{client}->close;
};

case 'a busy stream' => sub {
    begin();
    my $s = open_stream('bob', @chat, '1.1');
    put('alice');
    # An upstream that never stops between two events.
    my $half = chunk('and so on');
    my $writes = 0;
    while (!IO::Select->new($s->{client}{socket})->can_read(0.005) || !$s->{client}->pump->{complete}) {
        last if !$s->{upstream}->piece(substr($half, $writes % 2 ? 30 : 0, $writes % 2 ? length($half) : 30)) || ++$writes > 2000;
    }
    my $r = $s->{read}->();
    ok($r->{complete}, 'ends');
    like($r->{body}, $openai, 'behind a whole event');
    log_says($s, 'cut', 'revoked');
    $s->{client}->close;
};

my %changes = (
    'is disabled'      => [ 1, sub { ('alice', { %{ $keys{bob} }, enabled => \0 }) } ],
    'has another secret' => [ 1, sub { ('alice', { %{ $keys{bob} }, secret => 'sk-new' }) } ],
    'gets a second secret' => [ 0, sub { ('alice', { %{ $keys{bob} }, secret => [qw(sk-bob sk-new)] }) } ],
    'is renamed'       => [ 0, sub { ('alice', { %{ $keys{bob} }, name => 'robert' }) } ],
    'gets limits'      => [ 0, sub { ('alice', { %{ $keys{bob} }, limits => { concurrency => 1 } }) } ],
    'gets another user' => [ 0, sub { ('alice', { %{ $keys{bob} }, user => 'user-x' }) } ],
);
for my $name (sort keys %changes) {
    my ($ends, $keys) = @{ $changes{$name} };
    case "a key that $name" => sub {
        begin();
        my $s = open_stream('bob', @chat, '1.1');
        my $other = open_stream('alice', @chat, '1.1');
        my $generation = $t->zone->{generation};
        put($keys->());
        wait_until('new keys', sub { $t->zone->{generation} > $generation });
        if ($ends) {
            like($s->{read}->()->{body}, $openai, 'ends its stream');
        } else {
            # By then every worker has looked.
            put(grep {ref} $keys->());
            $other->{read}->();
            $s->{upstream}->piece(done());
            $s->{upstream}->finish;
            is($s->{read}->()->{body}, $s->{text} . done(), 'ends none');
        }
        $_->{client}->close for $s, $other;
        $_->{upstream}->close for $s, $other;
    };
}

case 'a key that expires' => sub {
    my $at = time + 3;
    put('alice', { %{ $keys{bob} }, expires => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $at) });
    in_force('bob', 1);
    my $s = open_stream('bob', @chat, '1.1');
    like($s->{read}->()->{body}, $openai, 'ends its stream');
    cmp_ok(time, '>=', $at, 'then, and not before');
    log_says($s, 'cut', 'revoked');
    $s->{client}->close;
};

case 'many streams in all workers' => sub {
    begin();
    my @bobs   = map { open_stream('bob', @chat, $_ % 2 ? '1.1' : 'h2') } 1 .. 60;
    my @alices = map { open_stream('alice', @chat, $_ % 2 ? '1.1' : 'h2') } 1 .. 60;
    put('alice');
    is(scalar(grep { $_->{read}->()->{body} =~ $openai } @bobs), 60, 'all of one key end');
    is($t->wait_running(60)->{leases}{running}, 60, 'and the others stay');
    for my $s (@alices) {
        $s->{upstream}->piece(done());
        $s->{upstream}->finish;
    }
    is(scalar(grep { $_->{read}->()->{body} eq $_->{text} . done() } @alices), 60, 'and come whole');
    $_->{client}->close for @bobs, @alices;
};

case 'a reload' => sub {
    begin();
    my $s = open_stream('bob', @chat, '1.1');
    my $old = $t->wait_keeper;
    kill STOP => $old;    # nobody watches
    put('alice');
    $t->reload;
    like($s->{read}->()->{body}, $openai, 'an old worker ends the stream too');
    kill CONT => $old;
    log_says($s, 'cut', 'revoked');
    $s->{client}->close;
};

case 'the book' => sub {
    my $zone = $t->wait_idle;
    my ($bob) = grep { $_->{name} eq 'bob' } @{ $zone->{keys} };
    cmp_ok($bob->{requests}, '>', 100, 'all are charged to their key');
    is($bob->{in_flight}, 0, 'none is left');
};

$t->finish;
