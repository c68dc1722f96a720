# Why: what a stream cost is read from its bytes as they pass, in whatever pieces they come. A wrong count bills somebody;
# a changed byte breaks a client. The forty cases of t/wire.t are not repeated here.

use strict;
use warnings;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => { 'keys.json' => key_file([ { name => 'alice', secret => 'sk-alice' } ]) },
    conf   => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_usage_inject off;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_status; }
    }
}
EOF
my $up = $t->upstream(1);
$t->start;

# Sends the pieces in step: the next is written when the client has the one before.
sub stream {
    my ($pieces, %o) = @_;

    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(
        POST => '/v1/chat/completions',
        headers => [ $t->bearer('sk-alice') ],
        body    => $o{request} // chat_request(stream => \1),
        id      => $id,
    );
    my $u = $up->take;
    $u->head(framing => $o{framing}, type => $o{type} // 'text/event-stream; charset=utf-8');
    $u->pieces_in_step($c, @$pieces);
    $o{cut} ? $u->close : $u->finish;
    my $r = $c->response;
    $c->close;
    return ($r, $t->log_line($id));
}

sub as_said { my ($got) = @_; return join '/', map { length $_ ? $_ : '-' } @$got{qw(prompt_tokens completion_tokens)} }

# tokens => "prompt/completion" ("-/-" if nothing is known, "?" for an estimate that is not 0); more of what is expected in %o.
sub try_stream {
    my ($name, $tokens, $pieces, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my ($r, $log) = stream($pieces, %o);
        ok($r->{body} eq join('', @$pieces), 'the bytes are the same') or diag(substr $r->{body}, 0, 2000);
        is(!!$r->{complete}, !$o{cut}, $o{cut} ? 'the cut is passed on' : 'the end is passed on');
        my ($prompt, $completion) = map { $tokens =~ m{\A\?} && $log->{$_} ? $log->{$_} : undef } qw(prompt_tokens completion_tokens);
        $tokens =~ s{\A\?}{$prompt // '?'}e;
        $tokens =~ s{\?\z}{$completion // '?'}e;
        is(as_said($log), $tokens, 'tokens');
        is($log->{usage_source}, $o{source} // ($tokens eq '-/-' ? 'none' : defined $prompt ? 'estimated' : 'upstream'), 'source');
        is($log->{outcome}, $o{outcome} // ($o{cut} ? 'upstream_error' : 'ok'), 'outcome') if ($o{outcome} // '') ne 'any';
        ($prompt, $completion) = split m{/}, $tokens;
        is($log->{total_tokens}, $tokens eq '-/-' ? '' : $prompt + $completion, 'total');
        is($log->{stream}, 1, 'a stream');
    };
    return;
}

# In three ways: at once, one byte per read, and in pieces of many sizes.
sub try_all_ways {
    my ($name, $tokens, $text, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    try_stream("$name, at once", $tokens, [$text], %o);
    try_stream("$name, one byte per read", $tokens, [ split //, $text ], %o);
    my @pieces;
    for (my ($rest, $n) = ($text, 1); $rest ne ''; $n = $n * 7 % 61 + 1) {
        push @pieces, substr $rest, 0, $n, '';
    }
    try_stream("$name, in pieces", $tokens, \@pieces, %o);
    return;
}

my $plain = final_usage(7, 10) . done();

try_all_ways('1 with text',   '7/10', plain_stream(7, 10));
try_stream('3 CRLF, a read between CR and LF', '7/10', [ split /(?<=\r)(?=\n)/, $plain =~ s/\n/\r\n/gr ]);
try_all_ways('4 all kinds of line ends', '7/10',
    "data: {\"choices\":[]}\r\rdata: {\"choices\":[]}\r\n\ndata: {\"choices\":[]," . usage(7, 10) . "}\n\r\ndata: [DONE]\r\n\r\n");
try_all_ways('5 until the connection closes', '7/10', $plain, framing => 'close');
{
    my ($half, $rest) = (substr($plain, 0, index($plain, "\n\n") + 2), done());
    try_all_ways('7 heartbeat storm', '7/10', (":\n\n: ping\n\n" x 500) . $half . (":\n\n" x 500) . $rest);
}
{
    my $cut = substr $plain, 0, index($plain, '"completion_tokens":1') + length '"completion_tokens":1';
    try_all_ways('25 cut within a number', '?/0', $cut, cut => 1);
    try_all_ways('25 ended within a number', '?/0', $cut, framing => 'close', outcome => 'any');
}
{
    my ($tail) = $plain =~ /\A(.*?)\n\n/s;
    try_all_ways('26 no blank line at the end', '7/10', $tail);
    try_all_ways('26 the same until the connection closes', '7/10', $tail, framing => 'close');
    try_all_ways('26 one line feed at the end', '7/10', "$tail\n");
}
{
    my @raw = split /(?=[\x80-\xbf])/, chunk("\xe4\xbd\xa0\xf0\x9f\x98\x80");
    my @escaped = split /(?<=\\ud83d)/, chunk('\u4f60\ud83d\ude00');
    try_stream('37 reads within code points', '7/10', [ @raw, $plain ]);
    try_stream('37 a read between two escapes', '7/10', [ @escaped, $plain ]);
    try_all_ways('37 code points and escapes', '7/10', join '', @raw, @escaped, $plain);
}

try_all_ways('a byte order mark at the start', '7/10', "\xef\xbb\xbf$plain");
try_all_ways('several data lines of one event', '7/10',
    qq(data: {"choices":[],\ndata: "usage":{"prompt_tokens":7,\ndata: "completion_tokens":10,"total_tokens":17}}\n\n) . done());
try_all_ways('event, id and retry fields', '7/10', "retry: 10\nid: 1\nevent: message\n" . final_usage(7, 10) . "id: 2\n" . done());
try_all_ways('spaced JSON', '7/10', event('{ "choices" : [ ] , "usage" : { "prompt_tokens" : 7 , "completion_tokens" : 10 } }') . done());
try_all_ways('an escaped member name', '7/10', event('{"choices":[],"\u0075sage":{"prompt_tokens":7,"completion_tokens":10}}') . done());
try_all_ways('usage-like objects at other places', '7/10',
    event('{"choices":[{"index":0,"delta":{"content":"a","usage":{"prompt_tokens":99,"completion_tokens":99}}}],'
            . '"x":{"usage":{"prompt_tokens":98,"completion_tokens":98}}}') . $plain);
try_all_ways('an event that is not JSON', '7/10', event('not json') . event('{"a":') . $plain);
try_all_ways('no DONE', '7/10', final_usage(7, 10));
try_all_ways('a stream without usage', '?/?', chunk('a') x 3 . done());
try_all_ways('an empty stream', '?/0', done());
for my $type ('text/plain', 'application/json', 'application/octet-stream', 'x/y') {
    try_all_ways("said to be $type", '7/10', $plain, type => $type);
}
try_all_ways('sound is not read', '-/-', $plain, type => 'audio/mpeg');
try_stream('a content type in capitals', '7/10', [$plain], type => 'Text/Event-Stream;Charset=UTF-8');

case '22 nested details' => sub {
    my $before = $t->totals('alice');
    my $text = event('{"choices":[],"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":4,"multimodal_tokens":'
            . '{"image":2}},"completion_tokens":10,"completion_tokens_details":{"reasoning_tokens":6,"completion_tokens":99}}}') . done();
    my @ways = ([$text], [ split //, $text ]);
    for (@ways) {
        my ($r, $log) = stream($_);
        ok($r->{body} eq $text, 'the bytes are the same');
        is(as_said($log), '7/10', 'tokens');
    }
    $t->wait_idle;
    my $after = $t->totals('alice');
    my %more = map { $_ => $after->{$_} - $before->{$_} } grep { /_tokens/ } keys %$after;
    is_deeply(\%more, { prompt_tokens => 14, cached_tokens => 8, completion_tokens => 20, reasoning_tokens => 12, cache_write_tokens => 0,
            total_tokens => 34 },
        'what the key is charged');
};

case 'an event of 4 MB' => sub {
    my $text = chunk('x' x 4_000_000) . final_usage(7, 10) . done();
    my ($r, $log) = stream([ $text =~ /(.{1,16384})/gs ]);
    ok($r->{body} eq $text, 'the bytes are the same');
    is(as_said($log), '7/10', 'tokens');
};

case 'the charge follows the log' => sub {
    my $before = $t->totals('alice');
    stream([ plain_stream(7, 10) ]);
    stream([ chunk('a', usage => usage(5, 2)) ], cut => 1);
    my ($r, $log) = stream([ chunk('a') ], cut => 1);
    is($log->{usage_source}, 'estimated', 'one is an estimate');
    $t->wait_idle;
    my $after = $t->totals('alice');
    is($after->{requests} - $before->{requests}, 3, 'requests');
    is($after->{prompt_tokens} - $before->{prompt_tokens}, 12 + $log->{prompt_tokens}, 'prompt');
    is($after->{completion_tokens} - $before->{completion_tokens}, 12 + $log->{completion_tokens}, 'completion');
    is($after->{total_tokens} - $before->{total_tokens}, 24 + $log->{total_tokens}, 'total');
};

$t->finish;
