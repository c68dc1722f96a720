# Why: Gemini's own API has nothing at the places where the others have it: the model and whether it streams stand in the path, a
# stream may be one JSON array, and the counts of its parts lie beside each other. A wrong reading bills somebody, or lets somebody
# in to a model that the key may not use.

use strict;
use warnings;

use LLM::Test;

my @reserved = map { "reserved_$_" } 1 .. 12;
my @keys     = (
    { name => 'alice',  secret => 'sk-alice' },
    { name => 'picky',  secret => 'sk-picky', models => [ 'gemini-pro', 'text-*', 'tunedModels/mine' ] },
    { name => 'locked', secret => 'sk-locked', enabled => JSON::PP::false },
    { name => 'once',   secret => 'sk-once',   limits => { requests => '2r/m', burst => 0 } },
    { name => 'rarely', secret => 'sk-rarely', limits => { requests => '1r/d', burst => 0 } },
    { name => 'single', secret => 'sk-single', limits => { concurrency => 1 } },
    { name => 'spent',  secret => 'sk-spent',  limits => { quota => '10/total' } },
    { name => 'charged', secret => 'sk-charged' },
    (map { { name => $_, secret => "sk-$_", limits => { quota => '1000/total' } } } qw(cut_events cut_array cut_comma cut_late)),
    (map { { name => $_, secret => "sk-$_", limits => { tokens => '10000/d' } } } @reserved),
);

my $t = LLM::Test->gateway(
    keys_in_query => 1,
    keys   => \@keys,
    server => <<'EOC');
    client_max_body_size 100k;
    error_page 403 404 413 500 502 503 504 @llm_error;
    location @llm_error { llm_error; }
    location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
    location /hard/ { llm_limit quota=1000/total hard; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
    location /down/ { proxy_pass http://127.0.0.1:%%PORT_3%%/; }
    location /late/ { proxy_pass http://127.0.0.1:%%PORT_1%%/; proxy_read_timeout 100ms; }
    location /by-name/ { llm_errors gemini; proxy_pass http://127.0.0.1:%%PORT_3%%; }
    location /nginx/ {
        llm_api_keys off;
        location /nginx/403/ { deny all; }
        location /nginx/404/ { return 404; }
        location /nginx/500/ { return 500; }
        location /nginx/503/ { return 503; }
    }
EOC
my $up = $t->upstream(1);
$t->start;

# --- what the two sides say

my $model = 'gemini-pro';

# The three ways to ask for an answer.
my %target_of = (
    whole  => "/v1beta/models/$model:generateContent",
    events => "/v1beta/models/$model:streamGenerateContent?alt=sse",
    array  => "/v1beta/models/$model:streamGenerateContent",
);
my $json_type = 'application/json; charset=UTF-8';
my %type_of = (whole => $json_type, events => 'text/event-stream', array => $json_type);
my @streams = qw(events array);

sub request { return json({ contents => [ { role => 'user', parts => [ { text => 'hi' } ] } ], @_ }) }

# One of exactly so many bytes.
sub request_of {
    my ($bytes, %more) = @_;

    my $padding = $bytes - length request(%more);
    die "a request of $bytes bytes has no room for this\n" if $padding < 0;
    return request(%more, contents => [ { role => 'user', parts => [ { text => 'hi' . 'x' x $padding } ] } ]);
}

sub goog { my ($key) = @_; return ('x-goog-api-key' => $key) }

my %count_names = (
    prompt => 'promptTokenCount', candidates => 'candidatesTokenCount', thoughts => 'thoughtsTokenCount',
    cached => 'cachedContentTokenCount', tools => 'toolUsePromptTokenCount',
);

sub usage_metadata {
    my (%counts) = @_;

    my $total = 0;
    $total += $_ for @counts{ grep { $_ ne 'cached' } keys %counts };
    return '"usageMetadata":{'
        . join(',', (map { "\"$count_names{$_}\":$counts{$_}" } sort keys %counts), "\"totalTokenCount\":$total") . '}';
}

# A response with this text and these more members.
sub response {
    my ($text, @more) = @_;

    return '{' . join(',', qq("candidates":[{"content":{"parts":[{"text":"$text"}],"role":"model"},"index":0}]), @more) . '}';
}

# As Google frames them.
sub in_form {
    my ($form, @responses) = @_;

    return join '', map { "data: $_\r\n\r\n" } @responses if $form eq 'events';
    return '[' . join("\n,\r\n", @responses) . "\n]" if $form eq 'array';
    return "$responses[-1]\n";
}

# The upstream's side of the request with this X-Test. Others may wait there, if they were let in against what is expected.
sub take {
    my ($id) = @_;

    while (1) {
        my $u = $up->take;
        return $u if $u->request->{headers}{'x-test'} eq $id;
        $u->close;
    }
}

# An exchange in step: the next piece is written when the client has the one before. Returns the client's response, the line of the
# log and the request as the upstream got it.
sub exchange {
    my ($target, $pieces, %o) = @_;

    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(POST => $target, headers => [ goog('sk-' . ($o{key} // 'alice')) ], body => $o{request} // request(), id => $id);
    my $u  = take($id);
    $u->head(framing => $o{framing}, status => $o{status}, type => $o{type} // $json_type,
        length => $o{length} // length join '', @$pieces);
    $u->pieces_in_step($c, @$pieces);
    $o{cut} ? $u->close : $u->finish;
    my $r = $c->response;
    $c->close;
    return ($r, $t->log_line($id), $u->request);
}

# "prompt/cached/completion/reasoning"; nothing is "-" where no count is known.
sub as_logged {
    my ($log) = @_;

    return '-' if $log->{prompt_tokens} eq '';
    return join '/', map { $log->{"${_}_tokens"} || 0 } qw(prompt cached completion reasoning);
}

# One reply in one form, in one way to cut it into reads. Estimates in `tokens` are "?".
sub try_pieces {
    my ($name, $form, $tokens, $pieces, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my ($r, $log) = exchange($target_of{$form}, $pieces, type => $type_of{$form}, %o);
        ok($r->{body} eq join('', @$pieces), 'the bytes are the same') or diag(substr $r->{body}, 0, 2000);
        is(!!$r->{complete}, !$o{cut}, $o{cut} ? 'the cut is passed on' : 'the end is passed on');
        my @logged   = split m{/}, as_logged($log);
        my @expected = split m{/}, $tokens;
        $expected[$_] eq '?' and $logged[$_] > 0 and $expected[$_] = $logged[$_] for 0 .. $#expected;
        is("@logged", "@expected", 'tokens');
        is($log->{usage_source}, $o{source} // ($tokens eq '-' ? 'none' : 'upstream'), 'source');
        is($log->{outcome}, $o{outcome} // ($o{cut} ? 'upstream_error' : 'ok'), 'outcome') if ($o{outcome} // '') ne 'any';
        is("$log->{model} $log->{stream}", $model . ' ' . ($form eq 'whole' ? 0 : 1), 'model, and whether it streams');
    };
    return;
}

# At once, one byte per read, and in pieces of many sizes.
sub try_form {
    my ($name, $form, $tokens, $text, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    try_pieces("$name, $form, at once", $form, $tokens, [$text], %o);
    try_pieces("$name, $form, one byte per read", $form, $tokens, [ split //, $text ], %o);
    my @pieces;
    for (my ($rest, $n) = ($text, 1); $rest ne ''; $n = $n * 7 % 61 + 1) {
        push @pieces, substr $rest, 0, $n, '';
    }
    try_pieces("$name, $form, in pieces", $form, $tokens, \@pieces, %o);
    return;
}

sub try_all_forms {
    my ($name, $tokens, $responses, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    try_form($name, $_, $tokens, in_form($_, @$responses), %o) for 'whole', @streams;
    return;
}

# --- counts

try_all_forms('counts that grow', '7/0/10/0', [
    response('a', usage_metadata(prompt => 7)),
    response('b', usage_metadata(prompt => 7, candidates => 4)),
    response('',  usage_metadata(prompt => 7, candidates => 10)),
]);
try_all_forms('thoughts are beside the candidates', '7/0/16/6', [
    response('a', usage_metadata(prompt => 7, thoughts => 6)),
    response('b', usage_metadata(prompt => 7, thoughts => 6, candidates => 10)),
]);
try_all_forms('what was cached is part of the prompt', '100/60/10/0',
    [ response('a', usage_metadata(prompt => 100, cached => 60, candidates => 10)) ]);
try_all_forms('results of tools are beside the prompt', '37/0/10/0',
    [ response('a', usage_metadata(prompt => 7, tools => 30, candidates => 10)) ]);
try_all_forms('all of them', '130/60/16/6',
    [ response('a', usage_metadata(prompt => 100, tools => 30, cached => 60, candidates => 10, thoughts => 6)) ]);
try_all_forms('nothing but thoughts', '7/0/50/50', [
    '{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS","index":0}],'
        . usage_metadata(prompt => 7, thoughts => 50) . '}' ]);
try_all_forms('a prompt that is blocked', '7/0/0/0',
    [ '{"promptFeedback":{"blockReason":"SAFETY"},' . usage_metadata(prompt => 7) . '}' ]);
try_all_forms('counts at the end only', '7/0/10/0', [
    response('a', '"usageMetadata":{"trafficType":"ON_DEMAND"}'),
    response('b', '"usageMetadata":null'),
    response('c'),
    response('d', '"usageMetadata":{"trafficType":"ON_DEMAND","promptTokenCount":7,"candidatesTokenCount":10,"totalTokenCount":17}'),
]);
try_all_forms('counts first, in another order', '37/5/16/6', [
    '{"usageMetadata":{"totalTokenCount":53,"thoughtsTokenCount":6,"toolUsePromptTokenCount":30,"cachedContentTokenCount":5,'
        . '"candidatesTokenCount":10,"promptTokenCount":7},"candidates":[{"content":{"parts":[{"text":"a"}]}}]}' ]);
try_all_forms('by modality too', '7/3/10/0', [
    response('a', '"usageMetadata":{"promptTokensDetails":[{"modality":"TEXT","tokenCount":4,"promptTokenCount":99},'
        . '{"modality":"IMAGE","tokenCount":3}],"promptTokenCount":7,"cachedContentTokenCount":3,'
        . '"cacheTokensDetails":[{"modality":"TEXT","tokenCount":3}],"candidatesTokenCount":10,'
        . '"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":10}],"totalTokenCount":17}') ]);
try_all_forms('what looks like counts', '7/0/10/0', [
    '{"candidates":[{"content":{"parts":[{"text":"\"usageMetadata\":{\"promptTokenCount\":99}]}\r\n\r\ndata: [DONE]"},'
        . '{"functionCall":{"name":"f","args":{"usageMetadata":{"promptTokenCount":98,"candidatesTokenCount":97}}}}],'
        . '"usageMetadata":{"promptTokenCount":96}},"tokenCount":95}],' . usage_metadata(prompt => 7, candidates => 10)
        . ',"x":{"usageMetadata":{"promptTokenCount":91}}}' ]);
try_all_forms('escaped and spaced', '7/0/10/0', [
    '{ "candidates" : [ ] , "\u0075sageMetadata" : { "prompt\u0054okenCount" : 7 , "candidatesTokenCount" : 10 } }' ]);
try_all_forms('raw and escaped characters', '7/0/10/0', [
    response("\xe4\xbd\xa0\xf0\x9f\x98\x80", usage_metadata(prompt => 7)),
    response('\u4f60\ud83d\ude00', usage_metadata(prompt => 7, candidates => 10)),
]);
try_all_forms('no counts', '?/0/?/0', [ response('a') ], source => 'estimated');

my @plain = map { response($_->[0], usage_metadata(prompt => 7, candidates => $_->[1])) } [ a => 4 ], [ b => 10 ];

try_form('LF only', 'events', '7/0/10/0', in_form(events => @plain) =~ s/\r//gr);
try_form('heartbeats', 'events', '7/0/10/0', join ": ping\n\n", '', map { in_form(events => $_) } @plain);
try_form('no line end at the end', 'events', '7/0/10/0', in_form(events => @plain) =~ s/\s+\z//r);
try_form('nothing between the elements', 'array', '7/0/10/0', '[' . join(',', @plain) . ']');
try_form('white space everywhere', 'array', '7/0/10/0', " \r\n[\r\n" . join("\r\n,\r\n", @plain) . "\r\n]\r\n");
try_form('an array of one', 'array', '7/0/10/0', "[$plain[1]]");
{
    my @indented = map { JSON::PP->new->pretty->encode(JSON::PP->new->decode($_)) =~ s/\s+\z//r } @plain;
    try_form('indented', $_, '7/0/10/0', in_form($_, @indented)) for 'whole', 'array';
}
try_pieces("until the connection closes, $_", $_, '7/0/10/0', [ in_form($_, @plain) ], framing => 'close') for 'whole', @streams;
try_pieces("with a length, $_",               $_, '7/0/10/0', [ in_form($_, @plain) ], framing => 'length') for 'whole', @streams;

case 'an element of 4 MB' => sub {
    for my $form (@streams) {
        my $text = in_form($form, response('x' x 4_000_000, usage_metadata(prompt => 7)), $plain[1]);
        my ($r, $log) = exchange($target_of{$form}, [ $text =~ /(.{1,16384})/gs ], type => $type_of{$form});
        ok($r->{body} eq $text, "$form: the bytes are the same");
        is(as_logged($log), '7/0/10/0', "$form: tokens");
    }
};

case 'the charge follows the log' => sub {
    my %counts = (prompt => 100, tools => 30, cached => 60, candidates => 10, thoughts => 6);
    my $text   = in_form(array => response('a', usage_metadata(%counts)));
    exchange($target_of{array}, [$text], key => 'charged') for 1, 2;
    $t->wait_idle;
    my $totals = $t->totals('charged');
    is_deeply(
        { map { $_ => $totals->{$_} } grep { /_tokens|requests/ } keys %$totals },
        {
            requests => 2, prompt_tokens => 260, cached_tokens => 120, cache_write_tokens => 0, completion_tokens => 32,
            reasoning_tokens => 12, total_tokens => 292,
        },
        'twice'
    );
};

# --- streams that break off

for my $form (@streams) {
    my $text  = in_form($form, @plain);
    my $first = $form eq 'events' ? in_form($form, $plain[0]) : "[$plain[0]";
    my $within = substr $text, 0, rindex($text, '"candidatesTokenCount":1') + length '"candidatesTokenCount":1';

    try_form('cut after the first', $form, '7/0/4/0', $first, cut => 1, source => 'partial');
    try_form('cut between two', $form, '7/0/4/0', "$first\n,\r\n", cut => 1, source => 'partial') if $form eq 'array';
    # Of what stands in part of a response nothing is taken.
    try_form('cut within a number', $form, '7/0/4/0', $within, cut => 1, source => 'partial');
    my $silent = $form eq 'events' ? in_form($form, response('a')) : '[' . response('a');
    try_form('cut before any counts', $form, '?/0/?/0', $silent, cut => 1, source => 'estimated');
    try_form('ended within a response', $form, '7/0/4/0', $within, framing => 'close', outcome => 'any');
}
try_form('an array that is not closed', 'array', '7/0/10/0', in_form(array => @plain) =~ s/\]\z//r, cut => 1, source => 'partial');

case 'the client leaves' => sub {
    for my $form (@streams) {
        my $id = $t->new_id;
        my $c  = $t->client;
        $c->request(POST => $target_of{$form}, headers => [ goog('sk-alice') ], body => request(), id => $id);
        my $u = take($id);
        $u->head(type => $type_of{$form});
        my $text = $form eq 'events' ? in_form($form, $plain[0]) : "[$plain[0]\n";
        $u->piece($text);
        $c->wait_body(length $text);
        $c->close;
        $u->wait_close;
        my $log = $t->log_line($id);
        is(as_logged($log), '7/0/4/0', "$form: tokens");
        is($log->{usage_source}, 'partial', "$form: source");
    }
};

# --- errors of the upstream

my $failure = '{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}';

for my $form (@streams) {
    my $text = in_form($form, $plain[0], $failure);
    try_form('an error at the end', $form, '7/0/4/0', $text, outcome => 'upstream_error');
}
# Google ends a stream of events so, in lines of their own.
try_form('an error that is no event', 'events', '7/0/4/0',
    in_form(events => $plain[0]) . qq({\r\n  "error": {\r\n    "code": 503,\r\n    "status": "UNAVAILABLE"\r\n  }\r\n}\r\n), outcome => 'any');

case 'other statuses pass unchanged' => sub {
    for my $status (400, 403, 404, 429, 500, 503) {
        for my $text ($failure, "[$failure\n]\n") {
            my ($r, $log) = exchange($target_of{array}, [$text], status => $status);
            is($r->{status}, $status, "$status is passed on");
            ok($r->{body} eq $text, "$status: the bytes are the same");
            is(as_logged($log) . " $log->{usage_source}", '- none', "$status: no usage");
            is($log->{outcome}, 'upstream_error', "$status: outcome") if $status >= 500;
        }
    }
};

# --- the other methods

case 'counting tokens is free' => sub {
    my $before = $t->totals('alice')->{total_tokens};
    my $text   = '{"totalTokens":31,"cachedContentTokenCount":5,"promptTokensDetails":[{"modality":"TEXT","tokenCount":31}]}';
    for my $pieces ([$text], [ split //, $text ]) {
        my ($r, $log) = exchange("/v1beta/models/$model:countTokens", $pieces);
        is($r->{body}, $text, 'the bytes are the same');
        is(as_logged($log) . " $log->{usage_source} $log->{outcome} $log->{model}", "- none ok $model", 'nothing is counted');
    }
    $t->wait_idle;
    is($t->totals('alice')->{total_tokens}, $before, 'nor charged');
};

case 'embeddings' => sub {
    my $counts = '"usageMetadata":{"promptTokenCount":5,"promptTokenDetails":[{"modality":"TEXT","tokenCount":5}]}';
    for (
        [ embedContent => '{"embedding":{"values":[0.25,-0.5,1]},' . $counts . '}' ],
        [ batchEmbedContents => '{"embeddings":[{"values":[0.25]},{"values":[1]}],' . $counts . '}' ],
    ) {
        my ($method, $text) = @$_;
        for my $pieces ([$text], [ split //, $text ]) {
            my (undef, $log) = exchange("/v1beta/models/$model:$method", $pieces);
            is(as_logged($log) . " $log->{usage_source}", '5/0/0/0 upstream', "$method: told");
        }
        my ($r, $log) = exchange("/v1beta/models/$model:$method", [ $text =~ s/,"usageMetadata.*\}\z/}/sr ]);
        is("$log->{completion_tokens} $log->{usage_source}", '0 estimated', "$method: not told");
        cmp_ok($log->{prompt_tokens}, '>', 0, "$method: an estimate");
    }
};

# --- the model of the path

case 'models that a key may use' => sub {
    for (
        # What is asked for, and what the log calls it; undef for what is not let in.
        [ "/v1beta/models/gemini-pro:generateContent", 'gemini-pro' ],
        [ "/v1beta/models/gemini-pro:streamGenerateContent?alt=sse", 'gemini-pro' ],
        [ "/v1/models/gemini-pro:streamGenerateContent", 'gemini-pro' ],
        [ "/v1alpha/models/gemini-pro:generateContent", 'gemini-pro' ],
        [ "/v1beta/models/gemini%2Dpro:generateContent", 'gemini-pro' ],
        [ "/v1beta/models/%67emini-pr%6F:countTokens", 'gemini-pro' ],
        [ "/v1beta/models/text-embedding-004:embedContent", 'text-embedding-004' ],
        [ "/v1beta/tunedModels/mine:generateContent", 'tunedModels/mine' ],
        [ "/hard/v1beta/models/gemini-pro:generateContent", 'gemini-pro' ],
        [ "/v1beta/models/mine:generateContent" ],
        [ "/v1beta/tunedModels/gemini-pro:generateContent" ],
        [ "/v1beta/tunedModels/other:generateContent" ],
        [ "/v1beta/models/gemini-ultra:generateContent" ],
        [ "/v1beta/models/gemini-ultra:streamGenerateContent?alt=sse" ],
        [ "/v1beta/models/gemini-ultra:countTokens" ],
        [ "/v1beta/models/gemini-ultra:batchEmbedContents" ],
        [ "/v1beta/models/gemini-ultra:predict" ],
        [ "/v1beta/models/gemini-ultra:generateContent?m=/v1beta/models/gemini-pro:generateContent" ],
        [ "/v1beta/models/gemini-pro/../gemini-ultra:generateContent" ],
        [ "/v1beta/models/gemini-pro:generateContent/../gemini-ultra:generateContent" ],
        [ "/v1beta/models/gemini-ultra%3AgenerateContent" ],
        [ "/v1beta/models/gemini-ultra%2F..%2Fgemini-pro:generateContent" ],
        [ "/v1beta/models/gemini%252Dpro:generateContent" ],
        [ "/v1beta/models/GEMINI-PRO:generateContent" ],
        [ "/v1beta/models/gemini-pro/gemini-ultra:generateContent" ],
        [ "/v1beta/models/:generateContent" ],
        [ "/v1beta/models/gemini-ultra:generateContent/" ],
        [ "/v1beta/models/" . 'x' x 300 . ':generateContent' ],
    ) {
        my ($target, $logged) = @$_;
        if (defined $logged) {
            my ($r, $log, $seen) = exchange($target, [ in_form(whole => @plain) ], key => 'picky');
            is("$r->{status} $log->{model}", "200 $logged", "$target is let in");
            is($seen->{uri}, $target =~ s{\A/hard}{}r, 'and goes on as it came');
        } else {
            my $r = $t->fetch(POST => $target, headers => [ goog('sk-picky') ], body => request());
            like($r->{status}, qr/\A40[04]\z/, "$target is not");
            is($t->log_line($r->{id})->{upstreams}, '', 'nobody was asked');
        }
    }
};

case 'a model in the body decides nothing' => sub {
    my (undef, $log) = exchange("/v1beta/models/text-embedding-004:embedContent", ['{"embedding":{"values":[1]}}'], key => 'picky',
        request => '{"model":"models/text-embedding-004","content":{"parts":[{"text":"hi"}]}}');
    is($log->{model}, 'text-embedding-004', 'where both say the same');
    my $r = $t->fetch(
        POST => '/v1beta/models/gemini-ultra:generateContent',
        headers => [ goog('sk-picky') ],
        body    => request(model => 'gemini-pro'),
    );
    is($r->{status}, 404, 'one that the key may use does not help');
};

# --- keys

case 'where the key stands' => sub {
    for (
        [ 'x-goog-api-key', 'alice', [ goog('sk-alice') ] ],
        [ 'in capitals', 'alice', [ 'X-Goog-Api-Key' => 'sk-alice' ] ],
        [ 'as other APIs have it', 'alice', [ Authorization => 'Bearer sk-alice' ] ],
        [ 'another before it', 'picky', [ goog('sk-alice'), Authorization => 'Bearer sk-picky' ] ],
    ) {
        my ($name, $key, $headers) = @$_;
        my $id = $t->new_id;
        my $c  = $t->client;
        $c->request(POST => $target_of{whole}, headers => $headers, body => request(), id => $id);
        my $u = take($id);
        $u->reply($plain[1]);
        is($c->response->{status}, 200, "$name: is let in");
        is($t->log_line($id)->{key}, $key, "$name: as this key");
        unlike($u->request->{head}, qr/sk-|^(?:authorization|x-goog-api-key):/mi, "$name: it goes no further");
    }
    for my $target ("$target_of{whole}?key=sk-alice", "$target_of{events}&key=sk-alice", "$target_of{array}?\$key=sk-alice") {
        my $r = $t->fetch(POST => $target, body => request());
        error_of($r, 401, 'UNAUTHENTICATED');
        my $log = $t->log_line($r->{id});
        is("$log->{refusal} $log->{key}", 'no_key ', 'a key in the query is not looked at');
    }
};

# --- the gateway's refusals

# The error of a response, after its shape was looked at.
sub error_of {
    my ($r, $status, $name, $message) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($r->{status}, $status, "$name: status");
    is($r->{headers}{'content-type'}, 'application/json', "$name: type");
    like($r->{body}, qr/\A\{.*\}\n\z/, "$name: one line");
    my $json = eval { JSON::PP->new->decode($r->{body}) } // {};
    is(join(' ', keys %$json), 'error', "$name: members");
    my $error = $json->{error} // {};
    is(join(' ', sort keys %$error), 'code message status', "$name: members of the error");
    is(($error->{code} // '') . ' ' . ($error->{status} // ''), "$status $name", "$name: code and status");
    like($r->{body}, qr/"code":$status,/, "$name: the code is a number");
    like($error->{message}, $message // qr/\w/, "$name: message");
    return $error;
}

my @targets = ((@target_of{qw(whole events array)}), map { "/v1beta/models/$model:$_" } qw(countTokens embedContent batchEmbedContents));

sub refused {
    my ($name, $status, $said, $get, $message) = @_;

    my $r;
    case $name => sub {
        for my $target (@targets) {
            $r = $get->($target);
            error_of($r, $status, $said, $message);
        }
    };
    return $r;
}

sub asking {
    my ($key, %o) = @_;

    return sub {
        my @headers = (goog($key), @{ $o{headers} // [] });
        return $t->fetch(POST => ($o{prefix} // '') . $_[0], headers => \@headers, body => $o{body} // request());
    };
}

refused('no key', 401, 'UNAUTHENTICATED', sub { $t->fetch(POST => $_[0], body => request()) });
my $wrong = refused('a wrong key', 401, 'UNAUTHENTICATED', asking('sk-nobody'));
refused('a key that is disabled', 401, 'UNAUTHENTICATED', asking('sk-locked'));
refused('another model', 404, 'NOT_FOUND', sub { asking('sk-picky')->($_[0] =~ s/gemini-pro/gem%22ini/r) }, qr/gem"ini/);
refused('a doubtful body', 400, 'INVALID_ARGUMENT', asking('sk-alice', body => '[]'));
refused('a compressed body', 415, 'INVALID_ARGUMENT', asking('sk-alice', headers => [ 'Content-Encoding' => 'gzip' ]));
case 'one request of each' => sub {
    is((exchange($target_of{whole}, [ $plain[1] ], key => $_))[0]{status}, 200, $_) for qw(once rarely spent);
};
my $once   = refused('requests',          429, 'RESOURCE_EXHAUSTED', asking('sk-once'),   qr/Please try again in \d+s/);
my $rarely = refused('requests, for long', 429, 'RESOURCE_EXHAUSTED', asking('sk-rarely'));
my $spent  = refused('a spent quota',     429, 'RESOURCE_EXHAUSTED', asking('sk-spent'),  qr/quota/);
case 'requests in flight' => sub {
    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(POST => $target_of{events}, headers => [ goog('sk-single') ], body => request(), id => $id);
    my $u = take($id);
    error_of(asking('sk-single')->($_), 429, 'RESOURCE_EXHAUSTED') for @targets;
    $u->reply($plain[1]);
    $c->response;
};

case 'headers of refusals' => sub {
    is($wrong->{headers}{'x-should-retry'}, 'false', 'a wrong key is not to be tried again');
    like($once->{headers}{'retry-after'}, qr/\A(?:[1-9]|[1-5]\d|60)\z/, 'a short wait');
    ok(!exists $once->{headers}{'x-should-retry'}, 'may be repeated');
    is($once->{headers}{'x-ratelimit-limit-requests'}, 1, 'with the limit');
    for ($rarely, $spent) {
        ok(!exists $_->{headers}{'retry-after'}, 'a long wait');
        is($_->{headers}{'x-should-retry'}, 'false', 'is not to be waited for');
    }
};

refused('a body that is too large', 413, 'INVALID_ARGUMENT',  asking('sk-alice', body => request_of(200_000)));
refused('a closed port',            502, 'UNAVAILABLE',       asking('sk-alice', prefix => '/down'));
refused('no answer in time',        504, 'DEADLINE_EXCEEDED', sub {
    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(POST => "/late$_[0]", headers => [ goog('sk-alice') ], body => request(), id => $id);
    my $u = take($id);
    return $c->response;
});
for ([ 403, 'PERMISSION_DENIED' ], [ 404, 'NOT_FOUND' ], [ 500, 'INTERNAL' ], [ 503, 'UNAVAILABLE' ]) {
    my ($status, $said) = @$_;
    refused("nginx's $status", $status, $said, sub { $t->fetch(GET => "/nginx/$status$_[0]") });
}

case 'llm_errors gemini' => sub {
    error_of($t->fetch(GET => '/by-name/x'), 401, 'UNAUTHENTICATED');
    error_of($t->fetch(GET => '/by-name/v1/messages', key => 'sk-alice'), 502, 'UNAVAILABLE');
};

case 'HEAD' => sub {
    my $get  = $t->fetch(GET  => $target_of{whole});
    my $head = $t->fetch(HEAD => $target_of{whole});
    is("$head->{status} $head->{body}", '401 ', 'no body');
    is($head->{headers}{'content-length'}, $get->{headers}{'content-length'}, 'but its length');
};

case 'paths that are not its own' => sub {
    for my $target ('/v1/models', '/v1/chat/completions', '/v1/models/gemini-pro', '/v1/files:upload') {
        like($t->fetch(GET => $target)->{body}, qr/"type":"invalid_request_error"/, "$target: an error in OpenAI's shape");
    }
};

# --- what is reserved

case 'what is reserved' => sub {
    my @cases = (
        [ 'maxOutputTokens',       { generationConfig => { maxOutputTokens => 900 } }, 900 ],
        [ 'for each candidate',    { generationConfig => { maxOutputTokens => 300, candidateCount => 3 } }, 900 ],
        [ 'candidates only',       { generationConfig => { candidateCount => 2 } }, 512 ],
        [ 'in snake case',         { generation_config => { max_output_tokens => 800, candidate_count => 2 } }, 1600 ],
        [ 'in both',               { generationConfig => { max_output_tokens => 700 } }, 700 ],
        [ 'none',                  { generationConfig => { temperature => 0 } }, 256 ],
        [ 'no configuration',      {}, 256 ],
        [ 'null',                  { generationConfig => { maxOutputTokens => undef } }, 256 ],
        [ 'no configuration but null', { generationConfig => undef }, 256 ],
        [ 'more than the limit',   { generationConfig => { maxOutputTokens => 1_000_000_000 } }, 9900 ],
        [ 'what looks like it',    { tools => [ { generationConfig => { maxOutputTokens => 7 } } ] }, 256 ],
        [ 'with thinking',         { generationConfig => { maxOutputTokens => 900, thinkingConfig => { thinkingBudget => 500 } } }, 900 ],
    );
    for my $i (0 .. $#cases) {
        my ($name, $fields, $completion) = @{ $cases[$i] };
        my $target = $target_of{ (qw(whole events array))[ $i % 3 ] } =~ s/gemini-pro/fresh-$i/r;
        my ($r) = exchange($target, [ '{}' ], key => $reserved[$i], request => request_of(400, %$fields));
        is($r->{headers}{'x-ratelimit-limit-tokens'}, 10_000, "$name: the limit");
        is($r->{headers}{'x-ratelimit-remaining-tokens'}, 10_000 - 100 - $completion, "$name: what is left");
    }
};

# --- streams that a hard limit ends

sub step { my ($candidates) = @_; return response("t$candidates ", usage_metadata(prompt => 7, candidates => $candidates)) }

# Sends the pieces; returns what came after them, and the log's line.
sub cut_after {
    my ($form, $key, @pieces) = @_;

    my $id = $t->new_id;
    my $c  = $t->client;
    $c->request(POST => "/hard$target_of{$form}", headers => [ goog("sk-$key") ], body => request(), id => $id);
    my $u = take($id);
    $u->head(type => $type_of{$form});
    my $sent = '';
    for my $piece (@pieces) {
        $u->piece($piece);
        $sent .= $piece;
        $c->wait_body(length $sent);
    }
    $u->wait_close;
    my $r = $c->response;
    ok($r->{complete}, 'the client sees an end');
    # A comma after the last element need not be there.
    $sent =~ s/[\s,]+\z// if $form eq 'array';
    is(substr($r->{body}, 0, length $sent), $sent, 'what came is passed on');
    my $log = $t->log_line($id);
    is("$log->{outcome} $log->{refusal} " . as_logged($log), 'cut quota 7/0/1200/0', 'the log');
    return ($r->{body}, substr $r->{body}, length $sent);
}

sub is_quota_error {
    my ($json) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(($json->{error}{code} // '') . ' ' . ($json->{error}{status} // ''), '429 RESOURCE_EXHAUSTED', 'an error');
    like($json->{error}{message}, qr/exceeded your current quota/, 'that says why');
    return;
}

case 'a hard limit ends events' => sub {
    my (undef, $rest) = cut_after(events => 'cut_events', map { in_form(events => step($_)) } 100, 900, 1200);
    # Without a name of the event: Google's client overlooks such.
    my ($event) = $rest =~ /\Adata: (\{.*\})\r?\n\r?\n\z/;
    is_quota_error(eval { JSON::PP->new->decode($event // '') } // {});
};

# An array ends with its bracket only, which the client waits for: it is not cut.
case 'a hard limit does not end an array, but what follows it' => sub {
    my $text = in_form(array => step(100), step(1200), step(1300));
    my ($r) = exchange('/hard' . $target_of{array}, [$text], type => $type_of{array}, key => 'cut_array');
    ok($r->{body} eq $text, 'it goes on to its end');
    $t->wait_idle;
    is($t->fetch(POST => '/hard' . $target_of{array}, headers => [ goog('sk-cut_array') ], body => request())->{status}, 429,
        'the next request is refused');
};

$t->finish;
