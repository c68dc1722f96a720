# Why: clients leave streams all the time, and what the model had made by then has cost something. The upstream's last word never
# comes then, so this is where a gateway charges nothing, or too much.

use strict;
use warnings;

use LLM::Test;

my %keys = map { $_ => "sk-$_" } qw(exact estimated other drains);

my $t = LLM::Test->gateway(
    keys   => [ map { { name => $_, secret => $keys{$_} } } sort keys %keys ],
    server => <<'EOF');
    listen 127.0.0.1:%%PORT_2%% http2;
    location /continuous/ { llm_usage_inject continuous; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
    location /final/      { llm_usage_inject final;      proxy_pass http://127.0.0.1:%%PORT_1%%/; }
    location /off/        { llm_usage_inject off;        proxy_pass http://127.0.0.1:%%PORT_1%%/; }
    location /drains/ {
        llm_usage_inject off;
        proxy_ignore_client_abort on;
        proxy_pass http://127.0.0.1:%%PORT_1%%/;
    }
    location /drains-injected/ {
        llm_usage_inject continuous;
        proxy_ignore_client_abort on;
        proxy_pass http://127.0.0.1:%%PORT_1%%/;
    }
    location /drains-buffered/ {
        llm_usage_inject off;
        proxy_ignore_client_abort on;
        proxy_buffering on;
        proxy_pass http://127.0.0.1:%%PORT_1%%/;
    }
    location /drains-zipped/ {
        llm_usage_inject off;
        proxy_ignore_client_abort on;
        gzip on;
        gzip_types text/event-stream;
        proxy_pass http://127.0.0.1:%%PORT_1%%/;
    }
EOF
my $up = $t->upstream(1);
$t->start;

# --- a stream as vLLM sends it

# A generator of its own: the same streams in each run.
my $seed = 1;
sub below { my ($n) = @_; $seed = ($seed * 1103515245 + 12345) % 2**31; return int($seed / 65536) % $n }

sub text_of_token { return join '', ' ', map { chr(97 + below(26)) } 1 .. below(8) }

# Most events have one token, some several, as with speculative decoding.
sub tokens_of_events {
    my ($n) = @_;

    return map { below(7) ? 1 : 2 + below(4) } 1 .. $n;
}

my $prompt = 23;

sub vllm_chunk {
    my ($delta, $usage) = @_;

    my $head = '{"id":"chatcmpl-5f0c4ad9e1d24a5c8a5e5b6b1c7d9e02","object":"chat.completion.chunk","created":1763694000,'
        . '"model":"m"';
    return event("$head,\"choices\":[{\"index\":0,\"delta\":$delta,\"logprobs\":null,\"finish_reason\":null}]"
            . (defined $usage ? ",$usage}" : '}'));
}

# Returns events as { sent, shown (what of it the client is to get), tokens (so far) }. With usage on each, or on none.
sub vllm_events {
    my ($continuous, @tokens) = @_;

    my $so_far = 0;
    my @events;
    my $add = sub {
        my ($delta) = @_;
        my $usage = $continuous ? usage($prompt, $so_far) : undef;
        push @events, { sent => vllm_chunk($delta, $usage), shown => vllm_chunk($delta), tokens => $so_far };
    };
    $add->('{"role":"assistant","content":""}');
    for my $n (@tokens) {
        $so_far += $n;
        $add->('{"content":"' . join('', map { text_of_token() } 1 .. $n) . '"}');
    }
    return @events;
}

# Sends a request and the events up to the one of this index. Returns client, upstream, the log's id, and whether the client has
# got them as it should.
sub run_to {
    my ($uri, $key, $events, $last, %o) = @_;

    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(
        POST => $uri,
        headers => [ $t->bearer($keys{$key}), 'Content-Type' => 'application/json' ],
        body    => $o{request} // chat_request(stream => \1),
        id      => $id,
    );
    my $u = $up->take;
    $u->head(type => $o{type});
    my $shown = '';
    for my $part ([ @$events[ 0 .. $last - 1 ] ], [ $events->[$last] ]) {
        next if !@$part;
        $u->piece(join '', map { $_->{sent} } @$part);
        $shown .= join '', map { $_->{shown} } @$part;
        last if $c->wait_body(length $shown) ne $shown;
    }
    return ($c, $u, $id, $c->wait_body(length $shown) eq $shown);
}

sub charged { my ($key) = @_; $t->wait_idle; return @{ $t->totals($key) }{qw(requests prompt_tokens completion_tokens)} }

case 'at each event of a stream that counts as it goes, exactly' => sub {
    my @events = vllm_events(1, tokens_of_events(200));
    my ($wrong, $sum, $unlike, $unasked) = (0, 0, 0, 0);
    for my $i (1 .. 200) {
        my ($c, $u, $id, $same) = run_to('/continuous/v1/chat/completions', 'exact', \@events, $i);
        $unasked++ if $u->request->{body} !~ /"continuous_usage_stats":\s*true/;
        $unlike++  if !$same;
        $c->close;
        $u->wait_close;
        my $log  = $t->log_line($id);
        my $got  = join '/', @$log{qw(prompt_tokens completion_tokens usage_source outcome)};
        my $want = "$prompt/$events[$i]{tokens}/partial/client_abort";
        $wrong++ if $got ne $want;
        diag("after event $i: $got, not $want") if $got ne $want && $wrong < 4;
        $sum += $events[$i]{tokens};
    }
    is($unasked, 0, 'the upstream was asked for it each time');
    is($unlike, 0, 'clients got what they asked for, without usage');
    is($wrong, 0, 'charged what had been generated');
    is_deeply([ charged('exact') ], [ 200, 200 * $prompt, $sum ], 'and so in the totals');
};

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ] }

case 'at each event of a stream that counts at its end, nearly' => sub {
    my $taught = 0;
    for (1 .. 12) {
        my @events = vllm_events(0, tokens_of_events(100 + below(300)));
        $taught += $events[-1]{tokens};
        my $text = join '', map { $_->{sent} } @events;
        my $id   = $t->new_id;
        my $c    = $t->client;
        $c->request(POST => '/final/v1/chat/completions', headers => [ $t->bearer($keys{estimated}) ], body => chat_request(stream => \1),
            id => $id);
        my $u = $up->take;
        $u->head;
        $u->piece($text . vllm_chunk('{}') . final_usage($prompt, $events[-1]{tokens}) . done());
        $u->finish;
        $c->response;
        $c->close;
        is($t->log_line($id)->{usage_source}, 'upstream', 'a stream to learn from');
    }
    my @events = vllm_events(0, tokens_of_events(200));
    my (@errors, $sum, %sources, %prompts);
    for my $i (1 .. 200) {
        my ($c, $u, $id) = run_to('/final/v1/chat/completions', 'estimated', \@events, $i);
        $c->close;
        $u->wait_close;
        my $log = $t->log_line($id);
        $sources{"$log->{usage_source} $log->{outcome}"}++;
        $prompts{ $log->{prompt_tokens} }++;
        push @errors, abs($log->{completion_tokens} - $events[$i]{tokens}) / $events[$i]{tokens};
        $sum += $log->{completion_tokens};
    }
    is_deeply(\%sources, { 'estimated client_abort' => 200 }, 'all are estimates');
    cmp_ok(median(@errors), '<=', 0.1, 'by the median error');
    note(sprintf 'median %.3f, largest %.3f', median(@errors), (sort { $b <=> $a } @errors)[0]);
    is_deeply(\%prompts, { $prompt => 200 }, 'the prompt is estimated from requests like it');
    is_deeply([ charged('estimated') ], [ 212, 212 * $prompt, $taught + $sum ], 'charged as logged');
};

# --- the other APIs

sub plain { return map { { sent => $_, shown => $_ } } @_ }

sub named { my ($name, $data) = @_; return "event: $name\ndata: $data\n\n" }

# Each: the uri, the events before the text, one with text, and those after it. A whole stream has 40 of those, and 80 tokens.
my %apis = (
    anthropic => {
        uri   => '/v1/messages',
        begin => [
            named(message_start => '{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],'
                    . '"usage":{"input_tokens":25,"cache_creation_input_tokens":100,"cache_read_input_tokens":50,"output_tokens":2}}}'),
            named(content_block_start => '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'),
            named(ping => '{"type":"ping"}'),
        ],
        middle => named(
            content_block_delta => '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"some words"}}'),
        end => [
            named(content_block_stop => '{"type":"content_block_stop","index":0}'),
            named(message_delta => '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":80}}'),
            named(message_stop  => '{"type":"message_stop"}'),
        ],
        cached => '50/100',
    },
    ollama => {
        uri    => '/api/chat',
        type   => 'application/x-ndjson',
        begin  => [],
        middle => '{"model":"m","created_at":"2026-01-01T00:00:00.1234567Z","message":{"role":"assistant","content":" words"},'
            . qq("done":false}\n),
        end => [ '{"model":"m","created_at":"2026-01-01T00:00:09Z","message":{"role":"assistant","content":""},"done":true,'
                . qq("done_reason":"stop","total_duration":9,"prompt_eval_count":175,"eval_count":80}\n) ],
        cached => '0/0',
    },
    responses => {
        uri   => '/v1/responses',
        begin => [ named('response.created' => '{"type":"response.created","sequence_number":0,'
                    . '"response":{"id":"r","status":"in_progress","usage":null}}') ],
        middle => named('response.output_text.delta' => '{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,'
                . '"content_index":0,"delta":" words","sequence_number":4}'),
        end => [ named('response.completed' => '{"type":"response.completed","sequence_number":9,"response":{"id":"r","status":'
                    . '"completed","usage":{"input_tokens":175,"input_tokens_details":{"cached_tokens":50},"output_tokens":80,'
                    . '"total_tokens":255}}}') ],
        cached => '0/0',
    },
);

for my $name (sort keys %apis) {
    my $api = $apis{$name};
    my $run = sub {
        my ($ends) = @_;
        my @events = plain(@{ $api->{begin} }, ($api->{middle}) x 20,
            $ends eq 'whole' ? (($api->{middle}) x 20, @{ $api->{end} }) : ());
        my ($c, $u, $id, $same) = run_to("/off$api->{uri}", 'other', \@events, $#events, type => $api->{type},
            request => chat_request_of(700, model => $name, stream => \1));
        ok($same, 'the client has it');
        if ($ends eq 'whole') {
            $u->finish;
            $c->response;
        } elsif ($ends eq 'client') {
            $c->close;
            ok($u->wait_close, 'the upstream connection ends');
        } else {
            $u->close;
            ok(!$c->response->{complete}, 'the cut is passed on');
        }
        $c->close;
        return $t->log_line($id);
    };
    case "$name, cut in the middle" => sub {
        my $log = $run->('whole');
        is("$log->{prompt_tokens}/$log->{completion_tokens} $log->{usage_source} $log->{outcome}", '175/80 upstream ok', 'whole');
        my %outcome = (client => 'client_abort', upstream => 'upstream_error');
        for my $who (sort keys %outcome) {
            $log = $run->($who);
            is("$log->{usage_source} $log->{outcome}", "estimated $outcome{$who}", "$who: source and outcome");
            is($log->{prompt_tokens}, 175, "$who: prompt");
            cmp_ok(abs($log->{completion_tokens} - 40), '<=', 4, "$who: half of the completion") or diag($log->{completion_tokens});
            is("$log->{cached_tokens}/$log->{cache_write_tokens}", $api->{cached}, "$who: read from the cache, and written to it");
        }
    };
}

# --- proxy_ignore_client_abort

# Sends on after the client has left, until nginx has seen that it has.
sub outlive {
    my ($u, $text, $offset) = @_;

    wait_until('nginx to see that the client has left', sub {
        $u->piece($text);
        substr($t->read_file('error.log'), $offset) =~ /the client has left, the upstream is read to its end/;
    });
    return;
}

sub errors_so_far { return -s $t->dir . '/error.log' }

for my $uri (qw(/drains /drains-buffered /drains-injected /drains-zipped)) {
    for my $how (qw(close reset)) {
        case "the upstream is read to its end, $uri, $how" => sub {
            my $offset = errors_so_far();
            my $id     = $t->new_id;
            my $c      = $t->client;
            $c->request(
                POST => "$uri/v1/chat/completions",
                headers => [ $t->bearer($keys{drains}), $uri =~ /zipped/ ? ('Accept-Encoding' => 'gzip') : () ],
                body    => chat_request(stream => \1),
                id      => $id,
            );
            my $u = $up->take;
            $u->head;
            my $big = chunk('x' x 10_000, $uri =~ /injected/ ? (usage => usage($prompt, 5)) : ());
            $u->piece($big x 3);
            is($c->wait_head, 200, 'the header came') if $uri !~ /buffered|zipped/;
            $c->$how;
            outlive($u, $big, $offset);
            # More than any buffer holds.
            $u->piece($big) for 1 .. 100;
            is($t->zone->{leases}{running}, 1, 'it runs');
            $u->piece(final_usage($prompt, 1234) . done());
            $u->finish;
            my $log = $t->log_line($id);
            is("$log->{prompt_tokens}/$log->{completion_tokens}", "$prompt/1234", 'charged in full');
            is($log->{usage_source}, 'upstream', 'by the upstream\'s last word');
            is($log->{outcome}, 'client_abort', 'the client is said to have left');
        };
    }
}

case 'the upstream is read to its end, HTTP/2' => sub {
    for my $how (qw(cancel close)) {
        my $offset = errors_so_far();
        my $h      = $t->client_h2(2);
        my $id     = $t->new_id;
        my $s      = $h->request(POST => '/drains/v1/chat/completions', headers => [ $t->bearer($keys{drains}) ],
            body => chat_request(stream => \1), id => $id);
        my $u = $up->take;
        $u->head;
        my $big = chunk('x' x 10_000);
        $u->piece($big);
        ok($h->wait_body($s, 100), 'the beginning came');
        $how eq 'cancel' ? $h->cancel($s) : $h->close;
        outlive($u, $big, $offset);
        $u->piece($big) for 1 .. 100;
        $u->piece(final_usage($prompt, 1234) . done());
        $u->finish;
        my $log = $t->log_line($id);
        is("$log->{prompt_tokens}/$log->{completion_tokens}", "$prompt/1234", "$how: charged in full");
        is($log->{outcome}, 'client_abort', "$how: outcome");
        $h->close;
    }
};

case 'a client that leaves when it could take no more, HTTP/2' => sub {
    my $offset = errors_so_far();
    my $h      = $t->client_h2(2);
    my $id     = $t->new_id;
    my $s      = $h->request(POST => '/drains/v1/chat/completions', headers => [ $t->bearer($keys{drains}) ],
        body => chat_request(stream => \1), id => $id);
    my $u = $up->take;
    $u->head;
    # More than the window of a stream.
    my $big = chunk('x' x 10_000);
    $u->piece($big x 10);
    ok($h->wait_body($s, 100), 'the beginning came');
    $h->cancel($s);
    outlive($u, $big, $offset);
    $u->piece($big) for 1 .. 100;
    $u->piece(final_usage($prompt, 1234) . done());
    $u->finish;
    my $log = $t->log_line($id);
    is("$log->{prompt_tokens}/$log->{completion_tokens}", "$prompt/1234", 'is charged in full');
    $h->close;
};

case 'the upstream breaks off, too' => sub {
    my $offset = errors_so_far();
    my @events = plain(chunk('a', usage => usage($prompt, 3)));
    my ($c, $u, $id) = run_to('/drains/v1/chat/completions', 'drains', \@events, 0);
    $c->close;
    outlive($u, chunk('b', usage => usage($prompt, 4)), $offset);
    $u->piece(chunk('c', usage => usage($prompt, 99)));
    $u->close;
    my $log = $t->log_line($id);
    is("$log->{prompt_tokens}/$log->{completion_tokens} $log->{usage_source} $log->{outcome}", "$prompt/99 partial client_abort",
        'charged what it had told');
};

case 'a client that leaves before a reply that is not streamed' => sub {
    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(POST => '/drains/v1/chat/completions', headers => [ $t->bearer($keys{drains}) ], body => chat_request(), id => $id);
    my $u = $up->take;
    $c->close;
    $u->reply(chat_reply($prompt, 55));
    my $log = $t->log_line($id);
    is("$log->{prompt_tokens}/$log->{completion_tokens} $log->{usage_source}", "$prompt/55 upstream", 'is charged in full');
};

$t->finish;
