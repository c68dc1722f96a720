# Why: a hard quota is what the operator pays at most. However the server writes, and whether it tells its counts while it runs or
# not, little passes beyond the quota; the client gets whole events and then one that its API has for errors; and a reply that has come to its own end
# is never followed by an error, for which SDKs would throw it away.

use strict;
use warnings;

use LLM::Exchanges;
use LLM::Test;

my ($quota, $prompt) = (1000, 7);
# What a stream takes at a time, and so may go beyond (docs/limits.md).
my $step = 64;

# --- what servers send: one event or two for each token, and the end

sub named { my ($type, $rest) = @_; return qq(event: $type\ndata: {"type":"$type",$rest}\n\n) }

sub response_of {
    my ($status, $n) = @_;

    my $total = $prompt + $n;
    return qq("response":{"id":"r","status":"$status","usage":{"input_tokens":$prompt,"output_tokens":$n,"total_tokens":$total}});
}

# A chunk of a choice with these members.
sub choice {
    my ($members, $finish, $usage) = @_;

    return event(qq({"id":"c","choices":[{"index":0,$members,"finish_reason":$finish}]) . ($usage ? ",$usage}" : '}'));
}

sub counts { my ($n) = @_; return usage($prompt, $n) }

my %openai = (
    finish => qr/\Q${\done()}\E\z/,
    error  => qr/data: \{"error":\{"message":"[^"]*quota[^"]*","type":"insufficient_quota","param":null,"code":"insufficient_quota"\}\}\n\n\z/,
);

my %api = (
    'chat' => {
        %openai,
        uri   => '/v1/chat/completions',
        token => sub { my ($word, $n, $tells) = @_; choice(qq("delta":{"content":"$word"}), 'null', $tells && counts($n)) },
        ends  => sub { my ($n) = @_; (choice('"delta":{}', '"stop"'), final_usage($prompt, $n), done()) },
    },
    # Its last chunk tells the counts, as that of llama-server.
    'completions' => {
        %openai,
        uri   => '/v1/completions',
        token => sub { my ($word, $n, $tells) = @_; choice(qq("text":"$word"), 'null', $tells && counts($n)) },
        ends  => sub { my ($n) = @_; (choice('"text":""', '"stop"', counts($n)), done()) },
    },
    'messages' => {
        uri   => '/v1/messages',
        begin => named(message_start => qq("message":{"type":"message","content":[],"usage":{"input_tokens":$prompt,"output_tokens":1}}))
            . named(content_block_start => '"index":0,"content_block":{"type":"text","text":""}'),
        token => sub {
            my ($word, $n, $tells) = @_;
            return named(content_block_delta => qq("index":0,"delta":{"type":"text_delta","text":"$word"}))
                . ($tells ? named(message_delta => qq("delta":{"stop_reason":null},"usage":{"output_tokens":$n})) : '');
        },
        ends => sub {
            my ($n) = @_;
            return (
                named(content_block_stop => '"index":0'),
                named(message_delta => qq("delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":$n})),
                qq(event: message_stop\ndata: {"type":"message_stop"}\n\n),
            );
        },
        finish => qr/data: \{"type":"message_stop"\}\n\n\z/,
        error  => qr/event: error\ndata: \{"type":"error","error":\{"type":"rate_limit_error","message":"[^"]*quota[^"]*"\}\}\n\n\z/,
    },
    'responses' => {
        uri   => '/v1/responses',
        begin => named('response.created', '"response":{"id":"r","status":"in_progress","usage":null}'),
        token => sub {
            my ($word, $n, $tells) = @_;
            return named('response.output_text.delta', qq("item_id":"i","output_index":0,"content_index":0,"delta":"$word"))
                . ($tells ? named('response.in_progress', response_of('in_progress', $n)) : '');
        },
        ends => sub {
            my ($n) = @_;
            return (
                named('response.output_text.done', '"item_id":"i","output_index":0,"content_index":0,"text":"x"'),
                named('response.completed', response_of('completed', $n)),
            );
        },
        finish => qr/event: response\.completed\ndata: [^\n]*\n\n\z/,
        error  => qr/event: error\ndata: \{"type":"error","code":"insufficient_quota","message":"[^"]*quota[^"]*",[^\n]*\}\n\n\z/,
    },
    'lines' => {
        uri   => '/api/chat',
        type  => 'application/x-ndjson',
        token => sub {
            my ($word, $n, $tells) = @_;
            my $counts = $tells ? qq(,"prompt_eval_count":$prompt,"eval_count":$n) : '';
            return qq({"model":"m","message":{"content":"$word"},"done":false$counts}\n);
        },
        ends => sub {
            my ($n) = @_;
            return qq({"model":"m","message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":$prompt,"eval_count":$n}\n);
        },
        finish => qr/"done":true[^\n]*\n\z/,
        error  => qr/(?<=\n)\{"error":"[^"]*quota[^"]*"\}\n\z/,
    },
);

# Four bytes and a bit each, as English has it.
my @words = ('the ', 'of ', 'model ', 'a', ' server ', 'to ', 'and ', 'in', 'side ', 'is ', 'token ', 'it ');
sub word_of { return $words[ $_[0] % @words ] }

# The events of a stream: what a token takes is one of them.
sub stream_of {
    my ($api, $tokens, $tells) = @_;

    return ($api->{begin} // (), map { $api->{token}->(word_of($_), $_, $tells) } 1 .. $tokens);
}

# --- how servers write: the bytes at which writes end

sub borders {
    my ($events) = @_;

    my $at = 0;
    return map { $at += length } @$events;
}

sub across {
    my ($events) = @_;

    my @ends = borders($events);
    return map { $ends[$_] - int(length($events->[$_]) / 2) } 0 .. $#ends;
}

sub size_of { my ($events) = @_; my $size = 0; $size += length for @$events; return $size }
sub bytes   { my ($events) = @_; return 1 .. size_of($events) }

# As much as nginx reads at once.
my $block = 16_384;
sub blocks { my ($events) = @_; return map { $_ * $block } 1 .. size_of($events) / $block }

my %writes = ('at borders' => \&borders, 'across borders' => \&across, 'byte by byte' => \&bytes, '16 KB at a time' => \&blocks);

# --- the game

my @games;

sub game {
    my ($name, $how, $tells, $events, %more) = @_;

    # What comes long before the quota comes in greater writes, since each takes its time.
    my $early = size_of([ @$events[ 0 .. $more{from} - 1 ] ]);
    my @ends  = $writes{$how}->($events);
    @ends = ((grep { $_ < $early } blocks($events)), grep { $_ >= $early } @ends);
    push @games, {
        name   => "$name, $how, counts " . ($tells ? 'told' : 'not told') . (defined $more{own_end} ? ", an end of its own at $more{own_end}" : ''),
        key    => 'k' . @games,
        api    => $api{$name},
        tells  => $tells,
        events => $events,
        ends   => \@ends,
        # What may pass once the quota is seen to be used up: nginx passes on what it has read.
        late => $step + ($how eq '16 KB at a time' ? int($block / length $events->[-1]) + 1 : 0),
        %more,
    };
    return;
}

for my $name (sort keys %api) {
    for my $how (sort keys %writes) {
        for my $tells (0, 1) {
            # Long enough for estimates to go wrong.
            game($name, $how, $tells, [ stream_of($api{$name}, 1500, $tells) ], from => $how eq 'byte by byte' ? $quota : 900);

            # Just before the quota, at it, and beyond it by what is told in the end only.
            for my $tokens (900, $quota - $prompt, $quota - $prompt + 1, $quota + 40, 1200) {
                my @shown = stream_of($api{$name}, $tokens > $quota ? 900 : $tokens, $tells);
                game($name, $how, $tells, [ @shown, $api{$name}{ends}->($tokens) ], from => @shown - 5, own_end => $tokens);
            }
        }
    }
}

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => { 'keys.json' => key_file([ map { { name => $_->{key}, secret => "sk-$_->{key}", quota => $quota } } @games ]) },
    conf   => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:8m;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location = /status { llm_api_keys off; llm_status; }
        location / { llm_usage_inject off; llm_limit quota=1000/total hard; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOF

my $upstream = $t->upstream(1);
$t->start;
my $body      = chat_request(stream => \1);
my $exchanges = LLM::Exchanges->new(upstream => $upstream, worker => $t->wait_workers->[0]);
for my $game (@games) {
    my $type = $game->{api}{type} // 'text/event-stream';
    my $head = "HTTP/1.1 200 OK\r\nContent-Type: $type\r\nConnection: close\r\n\r\n";
    my @headers = ($t->bearer("sk-$game->{key}"), 'Content-Type' => 'application/json', Connection => 'close');
    $game->{stream} = join '', @{ $game->{events} };
    $game->{job} = $exchanges->add($t->port(0), {
        id        => $game->{key},
        method    => 'POST',
        bytes     => LLM::Client->format_request(POST => $game->{api}{uri}, id => $game->{key}, headers => \@headers, body => $body),
        reply     => $head . $game->{stream},
        chunks    => [ map { length($head) + $_ } 0, @{ $game->{ends} } ],
        responses => 1,
    });
}
$exchanges->play;
$t->wait_idle;

# How many whole events of the stream are in a body, or -1 if it is no such beginning.
sub whole_events {
    my ($game, $body) = @_;

    return -1 if substr($game->{stream}, 0, length $body) ne $body;
    my $count = 0;
    for my $end (borders($game->{events})) {
        return $count if $end > length $body;
        $count++;
        return $count if $end == length $body;
    }
    return -1;
}

# Whether a stream with an end of its own has used up the quota only by what its end told, or not at all. Else it may be ended before.
sub comes_to_its_end {
    my ($game) = @_;

    my $tokens = $game->{own_end};
    return $tokens == $quota - $prompt ? $game->{tells} : $tokens != $quota - $prompt + 1;
}

for my $game (@games) {
    case $game->{name} => sub {
        my ($response, $log) = ($game->{job}{response} // {}, $t->log_line($game->{key}));
        my $body = $response->{body} // '';
        ok($response->{complete}, 'the client sees an end');
        my $error = $body =~ /($game->{api}{error})/ ? $1 : '';
        my $passed = whole_events($game, substr $body, 0, length($body) - length $error);
        if ($game->{own_end} && (comes_to_its_end($game) || $log->{outcome} eq 'ok')) {
            is("$log->{outcome} $error", 'ok ', 'no error follows its own end');
            is($passed, scalar @{ $game->{events} }, 'it comes whole');
            return;
        }
        is("$log->{outcome} $log->{refusal}", 'cut quota', 'it is cut');
        ok($error, 'the last event is an error of its API') or diag(substr $body, -300);
        unlike(substr($body, 0, length($body) - length $error), $game->{api}{finish}, 'no end of its own before it');
        my $tokens = $passed - ($game->{api}{begin} ? 1 : 0) + $prompt;
        note("$tokens tokens have passed");
        return if $game->{own_end};
        cmp_ok($tokens, '>=', $game->{tells} ? $quota : 0.75 * $quota, 'not long before the quota');
        cmp_ok($tokens, '<=', $game->{tells} ? $quota + $game->{late} : 1.25 * $quota, 'nor long after it');
    };
}

LLM::Test->finish;
