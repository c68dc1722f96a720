# Why: forty ways in which model servers and clients surprise who counts tokens between them. Each has to come out right as it is,
# with one byte per read, with an HTTP/2 client, and with usage injected where the API has that.

use strict;
use warnings;

use Encode ();

use LLM::Test;
use LLM::Ways;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([
            { name => 'alice', secret => 'sk-alice' },
            { name => 'picky', secret => 'sk-picky', models => ['good'] },
        ]),
    },
    conf => join "\n",
    '%%HTTP_BEGIN%%', 'llm_zone llm:4m; keepalive_requests 100000;', ways_conf(), '}');
my $up = $t->upstream(1);
$t->start;
my $ways = LLM::Ways->new($t, $up, key => 'sk-alice');

my @ways = (
    [ 'as it is' => {} ],
    [ 'one byte per read' => { bytes => 1 } ],
    [ 'HTTP/2' => { h2 => 1 } ],
    [ 'injected' => { inject => 'final' } ],
    [ 'injected, one byte per read' => { inject => 'final', bytes => 1 } ],
    [ 'injected, HTTP/2' => { inject => 'final', h2 => 1 } ],
    [ 'injected continuously' => { inject => 'continuous' } ],
);

# What is expected: tokens => "prompt/completion", or estimated => true; classes => what else is charged; outcome (ok).
sub try_reply {
    my ($name, %o) = @_;

    for (@ways) {
        my ($way, $how) = @$_;
        my $takes = ($o{uri} // '/v1/chat/completions') =~ m{/completions\z} && ($o{request} // '"stream":true') =~ /"stream":true/;
        next if $how->{inject} && !$takes;
        case "$name, $way" => sub { check_reply($how, %o) };
    }
    return;
}

sub check_reply {
    my ($how, %o) = @_;

    my $before = $t->totals('alice');
    my ($r, $log, $request) = $ways->exchange(%o, %$how);
    is(!!$r->{complete}, !$o{cut}, 'the end') if !$how->{h2} || !$o{cut};
    if ($how->{inject}) {
        like($request->{body}, qr/"include_usage":true/, 'usage was asked for');
        is_deeply(without_injected($r->{body}, keeps => 1), without_injected($o{text}), 'nothing of it is left, and all else is')
            if !$o{cut};
        unlike($r->{body}, qr/^data:.*"usage":\{"prompt_tokens":\d+,"completion_tokens":\d+,"total_tokens":\d+\}\}$/m, 'no last chunk');
    } else {
        ok($r->{body} eq $o{text}, 'the bytes are the same') or diag(substr $r->{body}, 0, 1000);
    }

    is($log->{outcome}, $o{outcome} // 'ok', 'outcome');
    is($log->{stream}, $o{type} && $o{type} =~ /json\z/ && $o{type} !~ /nd/ ? 0 : 1, 'a stream or not');
    if ($o{estimated}) {
        is($log->{usage_source}, 'estimated', 'estimated');
        cmp_ok($log->{prompt_tokens}, '>', 0, 'the prompt is not free');
        is($log->{completion_tokens}, $o{completion}, 'completion') if defined $o{completion};
    } else {
        is("$log->{prompt_tokens}/$log->{completion_tokens}", $o{tokens}, 'tokens');
        is($log->{usage_source}, $o{source} // 'upstream', 'source');
    }
    $t->wait_idle;
    my $after = $t->totals('alice');
    my %more  = map { $_ => $after->{"${_}_tokens"} - $before->{"${_}_tokens"} } qw(prompt completion cached reasoning);
    is("$more{prompt}/$more{completion}", "$log->{prompt_tokens}/$log->{completion_tokens}", 'what is charged is what is logged');
    my $classes = $o{classes} // {};
    is_deeply({ map { $_ => $more{$_} } keys %$classes }, $classes, 'classes');
    return;
}

# --- streams of chat and completions

my $plain   = final_usage(7, 10) . done();
my $content = chunk('hi');
my $zero    = event('{"choices":[{"index":0,"text":"a","finish_reason":null}],' . usage(0, 0) . '}');
my $prompts = '{"model":"m","prompt":["a","b"],"stream":true}';
my $texts   = '/v1/completions';

try_reply('1 plain final',     tokens => '7/10', text => $plain);
try_reply('2 no space',        tokens => '7/10', text => $plain =~ s/data: /data:/gr);
try_reply('3 CRLF',            tokens => '7/10', text => $plain =~ s/\n/\r\n/gr);
try_reply('4 lone CR',         tokens => '7/10', text => $plain =~ s/\n/\r/gr);
try_reply('5 any read',        tokens => '7/10', text => $content . $plain);
try_reply('6 trailing space',  tokens => '7/10', text => qq(data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]} \n\n) . $plain);
try_reply('7 heartbeat storm', tokens => '7/10', text => final_usage(7, 10) . (":\n\n: ping\n\n" x 100) . $content . done());
try_reply('8 decoy in text',   tokens => '7/10', text => chunk('\"usage\":{\"prompt_tokens\":999,\"completion_tokens\":999}') . $plain);
try_reply('9 data: inside text', tokens => '7/10', text => chunk('data: {\"usage\":1}\n\ndata: [DONE]') . $content . $plain);
try_reply('10 null usage',     tokens => '7/10', text => chunk('a', usage => '"usage":null') x 5 . $plain);
try_reply('11 zero usage, then real', tokens => '7/5', text => $zero x 5 . final_usage(7, 5) . done(), uri => $texts);
try_reply('12 zero usage, then cut', estimated => 1, outcome => 'upstream_error', text => $zero x 5, cut => 1, uri => $texts);
try_reply('13 continuous', tokens => '7/10', text => join('', map { chunk('a', usage => usage(7, $_)) } 0 .. 10) . $plain);
try_reply('14 continuous, two choices, cut',
    tokens => '7/9', source => 'partial', outcome => 'upstream_error', cut => 1,
    text => chunk('a', usage => usage(7, 3)) . chunk('b', index => 1, usage => usage(7, 5)) . chunk('c', usage => usage(7, 4)));
try_reply('15 vLLM\'s order', tokens => '7/10',
    text => event('{"choices":[],"usage":{"prompt_tokens":7,"total_tokens":17,"completion_tokens":10}}') . done());
try_reply('16 usage beside a choice', tokens => '7/10', uri => $texts,
    text => event('{"choices":[{"text":"","index":0,"finish_reason":"stop"}],"created":1,"usage":{"completion_tokens":10,'
            . '"prompt_tokens":7,"total_tokens":17},"id":"x"}') . done());
try_reply('17 two finals of two prompts', tokens => '8/10', uri => $texts, request => $prompts,
    text => final_usage(3, 4) . final_usage(5, 6) . done());
try_reply('18 two finals of two choices', tokens => '7/10', uri => $texts, request => '{"model":"m","prompt":"a","n":2,"stream":true}',
    text => final_usage(7, 4) . final_usage(7, 6) . done());
try_reply('19 two prompts without finals', tokens => '8/10', uri => $texts, request => $prompts,
    text => join('', map { event($_) } '{"choices":[{"index":0,"text":"a"}]}', '{"choices":[{"index":0,"text":""}],' . usage(3, 4) . '}',
        '{"choices":[{"index":1,"text":"a"}]}', '{"choices":[{"index":1,"text":""}],' . usage(5, 6) . '}') . done());
try_reply('20 timings alone', tokens => '7/10', classes => { cached => 4 },
    text => $content . event('{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"timings":{"cache_n":4,"prompt_n":3,'
            . '"predicted_n":10}}') . done());
try_reply('21 empty choices without usage', tokens => '7/10', text => event('{"choices":[],"model":"m","sglext":{}}') . $plain);
try_reply('22 nested details', tokens => '7/10', classes => { cached => 4, reasoning => 6 },
    text => event('{"choices":[],"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":4,"multimodal_tokens":{"image":2}},'
            . '"completion_tokens":10,"completion_tokens_details":{"reasoning_tokens":6,"completion_tokens":99}}}') . done());
try_reply('23 an error, then DONE', estimated => 1, outcome => 'upstream_error',
    text => $content . event('{"error": {"message": "x", "type": "BadRequestError", "param": null, "code": 400}}') . done());
try_reply('24 an error line', estimated => 1, outcome => 'upstream_error', text => $content x 2 . qq(error: {"code":500}\n\n));
try_reply('25 cut within a number', estimated => 1, outcome => 'upstream_error', cut => 1,
    text => substr $plain, 0, index($plain, '"completion_tokens":1') + length '"completion_tokens":1');
try_reply('26 no blank line at the end', tokens => '7/10', text => $content . final_usage(7, 10) =~ s/\n+\z//r);

# --- JSON

my %json  = (type => 'application/json', framing => 'length', request => chat_request());
my $floats = join ',', map { sprintf '%.7f', $_ / 1_000_003 } 1 .. 800_000;

try_reply('27 spaced pretty JSON', %json, tokens => '7/10',
    text => qq({\n  "id" : "c",\n  "usage" : {\n    "prompt_tokens" : 7,\n    "completion_tokens" : 10\n  },\n)
        . qq(  "choices" : [ { "index" : 0, "message" : { "content" : "hi" } } ]\n}\n));
try_reply('28 usage after 8 MB', %json, tokens => '7/0', uri => '/v1/embeddings',
    text => qq({"object":"list","data":[{"embedding":[$floats]}],"usage":{"prompt_tokens":7,"total_tokens":7}}));
try_reply('29 usage before the data', %json, tokens => '7/0', uri => '/v1/rerank',
    text => '{"model":"m","usage":{"prompt_tokens":7,"total_tokens":7},'
        . '"results":[{"document":{"text":"\"usage\":{\"prompt_tokens\":1}"}}]}');

# --- other APIs

sub typed { my ($type, $members) = @_; return qq(event: $type\ndata: {"type":"$type"$members}\n\n) }

sub messages {
    my ($start, $delta) = @_;

    return typed('message_start', qq(,"message":{"id":"m","content":[],"usage":$start}))
        . typed('ping', '')
        . typed('content_block_delta', ',"index":0,"delta":{"type":"text_delta","text":"hi"}')
        . typed('message_delta', qq(,"delta":{"stop_reason":"end_turn"},"usage":$delta))
        . typed('message_stop', '');
}

my %anthropic = (uri => '/v1/messages');
try_reply('30 Anthropic, split', %anthropic, tokens => '157/10', classes => { cached => 50 },
    text => messages('{"input_tokens":7,"cache_creation_input_tokens":100,"cache_read_input_tokens":50,"cache_creation":'
            . '{"ephemeral_5m_input_tokens":100},"output_tokens":3}', '{"output_tokens":10}'));
try_reply('31 Anthropic, iterations', %anthropic, tokens => '7/10',
    text => messages('{"input_tokens":7,"output_tokens":1}', '{"input_tokens":7,"output_tokens":10,"iterations":[{"input_tokens":7,'
            . '"output_tokens":10},{"input_tokens":1,"output_tokens":99}]}               '));
try_reply("32 Anthropic, input $_ first", %anthropic, tokens => '7/10',
    text => messages(qq({"input_tokens":$_,"output_tokens":0}), '{"input_tokens":7,"output_tokens":10}'))
    for 0, 9;

my %responses = (uri => '/v1/responses');
my $created   = typed('response.created', ',"response":{"id":"r","usage":null}') . typed('response.output_text.delta', ',"delta":"hi"');
try_reply('33 Responses, type last', %responses, tokens => '7/10',
    text => $created . qq(event: response.completed\ndata: {"response":{"id":"r","usage":{"input_tokens":7,"output_tokens":10,)
        . qq("total_tokens":17}},"sequence_number":5,"type":"response.completed"}\n\n));
try_reply('34 Responses, incomplete', %responses, estimated => 1, outcome => 'incomplete',
    text => $created . typed('response.incomplete', ',"response":{"id":"r","usage":null}'));

my %ollama  = (uri => '/api/generate', type => 'application/x-ndjson', request => '{"model":"m","prompt":"hi"}');
my $context = join ',', 100_001 .. 250_000;
try_reply('35 Ollama, context', %ollama, tokens => '7/10',
    text => qq({"model":"m","response":"hi","done":false}\n{"model":"m","response":"","done":true,"context":[$context],)
        . qq("total_duration":9,"prompt_eval_count":7,"eval_count":10}));
try_reply('36 Ollama, cached prompt', %ollama, estimated => 1, completion => 10,
    text => qq({"response":"hi","done":false}\n{"response":"","done":true,"eval_count":10}\n));

# --- characters, few chunks

try_reply('37 UTF-8 and escapes', tokens => '7/10', text => chunk("\xe4\xbd\xa0\xf0\x9f\x98\x80") . chunk('\u4f60\ud83d\ude00') . $plain);
try_reply('40 few chunks, many tokens', tokens => '12/100', classes => { reasoning => 100 },
    text => chunk('a') . chunk('') x 2 . event('{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":100,"total_tokens":112,'
            . '"completion_tokens_details":{"reasoning_tokens":100}}}') . done());

# --- requests

my $decoys = '{"messages":[%s{"role":"user","content":"{\"model\":\"evil\",\"stream\":true}"}],"tools":[{"function":{"parameters":'
    . '{"properties":{"model":{},"stream":{}}}}}],"metadata":{"model":"evil2"},"\u006dodel":"good","stream":"true"}';

for (@ways) {
    my ($way, $how) = @$_;
    case "38 request decoys, $way" => sub {
        my $image = $how->{bytes} ? '' : '{"type":"image_url","image_url":{"url":"data:image/png;base64,' . 'QUJD' x 5_000_000 . '"}},';
        my $sent  = sprintf $decoys, $image;
        my ($r, $log, $request) = $ways->exchange(
            %$how,
            key     => 'sk-picky',
            request => $sent,
            text    => $plain,
            slowly  => $how->{bytes},
        );
        is($log->{model},  'good', 'the model');
        is($log->{stream}, 1,      'it may stream');
        is("$log->{prompt_tokens}/$log->{completion_tokens}", '7/10', 'tokens');
        if ($how->{inject}) {
            like(substr($request->{body}, -200), qr/"stream_options":\{"include_usage":true/, 'usage was asked for');
        } else {
            ok($request->{body} eq $sent, 'the body is the same');
        }
    };
}

my $utf16 = Encode::encode('UTF-16LE', '{"model":"a","model":"b"}');
my @tricks = (
    [ '39a two models',       '{"model":"good","model":"evil"}',                     [],                             400 ],
    [ '39b UTF-16',           $utf16,                                                [],                             400 ],
    [ '39c byte order mark',  qq(\xef\xbb\xbf{"model":"good"}),                      [],                             400 ],
    [ '39d another case',     '{"Model":"evil","model":"good"}',                     [],                             400 ],
    [ '39e compressed',       "\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00",                [ 'Content-Encoding' => 'zstd' ], 415 ],
);
for my $trick (@tricks) {
    my ($name, $body, $headers, $status) = @$trick;
    for (@ways) {
        my ($way, $how) = @$_;
        case "$name, $way" => sub {
            my ($r, $log) = $ways->refused(%$how, key => 'sk-picky', request => $body, send => $headers, slowly => $how->{bytes});
            is($r->{status}, $status, 'refused');
            is($log->{outcome}, 'refused', 'and logged so');
            ok(!$up->pending, 'the upstream has not seen it');
        };
    }
}

$t->finish;
