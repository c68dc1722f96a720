# Why: a key that may use certain models only is as good as what is looked at. Models stand in paths, queries, lists, forms and
# WebSockets too, and a server that reads another one than the gateway serves what was not allowed.

use strict;
use warnings;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([
            { name => 'alice', secret => 'sk-alice' },
            { name => 'cheap', secret => 'sk-cheap', models => ['cheap*'] },
            { name => 'single', secret => 'sk-single', limits => { concurrency => 1 } },
            { name => 'wild', secret => 'sk-wild', models => ['*'] },
            { name => 'long', secret => 'sk-long', models => [ 'models/good', 'models/g-*', 'tunedModels/mine' ] },
            { name => 'letter', secret => 'sk-letter', models => ['m*'] },
            { name => 'hourly', secret => 'sk-hourly', limits => { requests => '10r/h', burst => 0 } },
            { name => 'formed', secret => 'sk-formed', models => ['cheap*'], limits => { tokens => '100k/d', token_burst => 100_000 } },
            { name => 'counted', secret => 'sk-counted', limits => { tokens => '1000/h', token_burst => 20 } },
        ]),
    },
    conf => <<'EOC');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    llm_usage_inject off;
    proxy_set_header Upgrade $http_upgrade;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /spilled/ { client_body_buffer_size 1k; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
        location /ws/ { llm_websocket on; proxy_set_header Connection upgrade; proxy_pass http://127.0.0.1:%%PORT_2%%/; }
        location /page/ { llm_errors nginx; error_page 426 = @landing; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location @landing { llm_websocket on; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /per-model/ { llm_limit per=model requests=2r/h burst=1; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
        location = /failures { llm_limit per=address failures=10r/h; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
        location /open/ { llm_api_keys off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOC
my $up = $t->daemon(1);
my $tunnel = $t->upstream(2);
$t->start;

my @websocket = (Upgrade => 'websocket', Connection => 'Upgrade', 'Sec-WebSocket-Version' => 13,
    'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==');

# One request. Options: key, body, type, headers.
sub ask {
    my ($method, $uri, %o) = @_;

    my @headers = @{ $o{headers} // [] };
    push @headers, 'Content-Type' => $o{type} // 'application/json' if defined $o{body};
    my $before = $up->count;
    my $id     = $t->new_id;
    my $c      = $t->client;
    $c->request($method => $uri, headers => [ $t->bearer($o{key} // 'sk-cheap'), @headers ], body => $o{body}, id => $id);
    my $r = $c->response;
    $c->close;
    return { %$r, log => $t->log_line($id), asked => $up->count - $before };
}

sub passes {
    my ($name, $model, @request) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = ask(@request);
    is("$r->{status} $r->{asked} $r->{log}{model}", "200 1 $model", $name) or diag($r->{body});
    return $r;
}

sub refused {
    my ($name, @request) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = ask(@request);
    is("$r->{status} $r->{asked} $r->{log}{refusal}", '404 0 model', $name) or diag($r->{body});
    like($r->{body}, qr/"code":"model_not_found"|"error":"|NOT_FOUND|not_found_error/, 'in the API\'s shape');
    return $r;
}

sub chat { return chat_request(@_) }

sub without_model { return '{"messages":[]}' }

# --- in the path

case 'the path names it' => sub {
    for my $path ('/openai/deployments/%s/chat/completions?api-version=1', '/model/%s/invoke', '/model/%s/converse-stream',
        '/v1/engines/%s/completions', '/v2/models/%s/infer', '/openai/deployments/%s/embeddings/', '/v1beta/models/%s:generateContent',
        '/v1/projects/p/locations/l/endpoints/%s:generateContent', '/v1/endpoints/%s:predict', '/v1beta/dynamic/%s:streamGenerateContent',
        '/serving-endpoints/%s/invocations', '/endpoints/%s/invocations-response-stream', '/models/%s', '/upstream/%s/v1/chat/completions',
        '/MODEL/%s/Invoke', '/v1/inference/%s') {
        my ($good, $bad) = map { sprintf $path, $_ } 'cheap-1', 'expensive';
        passes("$good",                   'cheap-1', POST => $good, body => without_model());
        passes("$good, in the body too",  'cheap-1', POST => $good, body => chat(model => 'cheap-1'));
        passes("$good, in a longer form", 'cheap-1', POST => $good, body => chat(model => 'models/cheap-1'));
        passes("$good, in the query too", 'cheap-1', POST => $good . ($good =~ /\?/ ? '&' : '?') . 'model=cheap-1', body => without_model());
        refused("$bad",                   POST => $bad,  body => without_model());
        refused("$bad, another in the body", POST => $bad,  body => chat(model => 'cheap-1'));
        refused("$good, another in the body", POST => $good, body => chat(model => 'expensive'));
        # Which one the server takes is not known, also where both may be used.
        refused("$good, two that may be used", POST => $good, body => chat(model => 'cheap-2'));
        refused("$good, another in the query", POST => $good . ($good =~ /\?/ ? '&' : '?') . 'model=expensive', body => without_model());
        # For others the path's is logged and counted.
        passes("$bad, any key", 'expensive', POST => $bad, body => chat(model => 'gpt-4'), key => 'sk-alice');
    }
    passes('a name with a slash', 'cheap/a', POST => '/hf/models/cheap/a', body => without_model());
    passes("OpenAI's API at Vertex", 'cheap-1', POST => '/v1beta1/projects/p/locations/l/endpoints/openapi/chat/completions', body => chat(model => 'cheap-1'));
    passes("OpenAI's API at Databricks", 'cheap-1', POST => '/serving-endpoints/chat/completions', body => chat(model => 'cheap-1'));
    passes('a model is read', '', GET => '/models/org/expensive');
    refused('a collection in another case', POST => '/v1beta/Models/expensive:generateContent', body => chat(model => 'cheap-1'));
    # Servers cut paths at other places than nginx: what another one would be asked for there is not known.
    for my $path ('/v1beta/models/expensive:generateContent/', '/v1beta/models/expensive:generateContent/;x', '/v1beta/models/expensive:generateContent/%3F',
        '/model/expensive/invoke;x', '/model/expensive/invoke%3Fx', '/model/expensive/converse%20', '/v2/models/expensive/versions/1/generate;x',
        '/v1/batches%3F', '/v1/batches%23x', '/v1/batches;/cancel', '/v1beta/models/cheap-1:batchGenerateContent/') {
        my $r = ask(POST => $path, body => chat(model => 'cheap-1'));
        ok($r->{asked} == 0 && $r->{status} =~ /^40[04]\z/, "$path: does not get through") or diag("$r->{status} $r->{body}");
    }
    for my $path ('/v1/chat/completions/', '/v1/chat/completions;x', '/v1/embeddings%3F') {
        passes("$path: says no less", 'cheap-1', POST => $path, body => chat(model => 'cheap-1'));
    }
    passes('escaped', 'cheap 1', POST => '/model/cheap%201/invoke', body => without_model());
    refused('two names', POST => '/model/cheap/model/expensive/invoke', body => without_model());
    passes('two names, any key', 'cheap/model/expensive', POST => '/model/cheap/model/expensive/invoke', body => without_model(), key => 'sk-alice');
    for my $path ('/model/cheap%2f..%2fexpensive/invoke', '/v1/files/..%2fchat/completions', '/v1/models/x#/../chat/completions',
        '/model/x/../expensive/invoke', '/v1beta/models/expensive%2f:generateContent') {
        my $r = ask(POST => $path, body => chat(model => 'cheap-1'), key => 'sk-wild');
        is("$r->{status} $r->{asked}", '400 0', "$path: can be read in more than one way");
    }
};

# --- how the body is to be read

case 'a body goes on as what it was read as' => sub {
    my %becomes = (
        'application/json'                              => 'application/json',
        'Application/JSON;charset=UTF-8'                => 'Application/JSON;charset=UTF-8',
        'application/json; charset="utf-8"'             => 'application/json; charset="utf-8"',
        'application/json; charset=utf-7'               => 'application/json',
        'application/json; charset=utf-8; charset=utf-7' => 'application/json',
        'application/x-www-form-urlencoded'             => 'application/json',
        'text/plain'                                    => 'application/json',
        'application/jsonx'                             => 'application/json',
    );
    for my $type (sort keys %becomes) {
        passes($type, 'cheap-1', POST => '/v1/completions', type => $type, body => '{"model":"cheap-1","x":"&model=expensive&y="}');
        is($up->last_request->{headers}{'content-type'}, $becomes{$type}, 'the type that the server gets');
    }
    passes('twice', 'cheap-1', POST => '/v1/completions', headers => [ 'Content-Type' => 'application/x-www-form-urlencoded' ], body => chat(model => 'cheap-1'));
    unlike($up->last_request->{raw} // $up->last_request->{head} // '', qr/urlencoded/, 'no other type is left');
};

# --- in the query

case 'the query names it' => sub {
    passes('the model', 'cheap-1', GET => '/v1/realtime?model=cheap-1');
    passes('decoded', 'cheap/1 x', GET => '/v1/realtime?x=y&mo%64el=cheap%2F1+x');
    passes("Azure's name", 'cheap-1', GET => '/openai/realtime?api-version=1&deployment=cheap-1');
    passes('and there is no body', 'cheap-1', POST => '/v1/audio?model=cheap-1');
    # Hardly a server reads the query beside a body: its own choice of a model would hold.
    refused('and the body none', POST => "$_?model=cheap-1", body => without_model()) for qw(/v1/audio /v1/chat/completions);
    refused('nor null', POST => '/v1/chat/completions?deployment=cheap-1', body => '{"model":null,"messages":[]}');
    refused('nor a form', POST => '/v1/audio/transcriptions?model=cheap-1', body => "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b--\r\n",
        type => 'multipart/form-data; boundary=b');
    passes('and the body the same', 'cheap-1', POST => '/v1/chat/completions?model=cheap-1', body => chat(model => 'cheap-1'));
    passes('the body goes before it', 'cheap-1', POST => '/v1/chat/completions?model=expensive', body => chat(model => 'cheap-1'), key => 'sk-alice');
    passes('any key', 'expensive', GET => '/v1/realtime?model=expensive&model=x', key => 'sk-alice');
    refused('another', GET => '/v1/realtime?model=expensive');
    for my $query ('model=cheap&model=expensive', 'model=expensive&model=cheap', 'model=cheap&Model=expensive', 'x=1;model=expensive&model=cheap',
        'model=cheap;model=expensive', 'model=', 'model=cheap%zz', 'model=cheap' . 'x' x 300, 'model=cheap&deployment=expensive') {
        refused("not clear: $query", GET => "/v1/realtime?$query", key => 'sk-wild');
    }
    refused('and the body another', POST => '/v1/chat/completions?model=expensive', body => chat(model => 'cheap-1'));
    refused('and the body another that may be used', POST => '/v1/chat/completions?model=cheap-2', body => chat(model => 'cheap-1'));
};

# --- none

case 'requests without a model' => sub {
    for my $path (qw(/v1/models /v1/models/org/m /v1/models/qwen3:8b /v1/usage /v1/files /v1/files/f1/content /v1/responses/r1 /v1/batches/b1 /api/tags /api/version
        /api/ps /v1beta/models /health /v1/unknown /v1/embeddings /v1beta/cachedContents /v1beta/tunedModels/t /model_info /get_model_info /v1/audio/voices
        /api/v1/credits /api/v1/key /api/v1/generation?id=x)) {
        passes("GET $path", '', GET => $path);
    }
    passes("DELETE $_", '', DELETE => $_) for qw(/v1/models/m /v1/models/qwen3:8b);
    passes('cancelled', '', POST => '/v1/responses/r1/cancel');
    for my $path (qw(/v1/conversations /v1/conversations/c1/items /v1/vector_stores /v1/vector_stores/v1/search /v1/containers /v1/skills /v1/threads
        /v1/threads/t1/messages /v1/chat/completions/chatcmpl-1)) {
        passes("POST $path", '', POST => $path, body => '{"metadata":{}}');
    }
    passes("DELETE $_", '', DELETE => $_) for qw(/v1/conversations/c1 /v1/threads/t1 /v1/chat/completions/chatcmpl-1);
    refused("DELETE $_", DELETE => $_) for qw(/v1/unknown /adapters/a);
    # Mistral's: it goes on with the model of its beginning.
    refused("POST $_", POST => $_, body => '{"inputs":"x"}') for qw(/v1/conversations/c1 /v1/conversations/c1/restart);
    for my $path (qw(/v1/realtime /health_generate /unload)) {
        my $r = refused("GET $path", GET => $path);
        like($r->{body}, qr/must name a model/, 'says what to do');
        passes("GET $path, any key", '', GET => $path, key => 'sk-alice');
    }
    for my $path (qw(/v1/chat/completions /v1/responses /v1/batches /v1/models /models/org/m /api/show /tokenize /v1/unknown /api/chat /v1/embeddings
        /v1/audio/speech /v1/threads/runs /v1/threads/t1/runs /v1/threads/t1/runs/r1/submit_tool_outputs /v1/chat/completions/batch)) {
        refused("POST $path", POST => $path, body => without_model());
        refused("POST $path without a body", POST => $path);
    }
};

# --- in lists

case 'lists of models' => sub {
    for my $list (qw(models fallbacks context_window_fallbacks content_policy_fallbacks)) {
        passes("$list that may be used", 'cheap-1', POST => '/v1/chat/completions', body => chat(model => 'cheap-1', $list => [ 'cheap-2', 'cheap-3' ]));
        passes("$list of eight", 'cheap-1', POST => '/v1/chat/completions', body => chat(model => 'cheap-1', $list => [ map { "cheap/model-$_" } 1 .. 8 ]));
        passes("no $list", 'cheap-1', POST => '/v1/chat/completions', body => chat(model => 'cheap-1', $list => []));
        passes("$list, any key", 'm', POST => '/v1/chat/completions', body => chat($list => [ 'a', { model => 'b' }, 1 ]), key => 'sk-alice');
        refused("$list with another", POST => '/v1/chat/completions', body => chat(model => 'cheap-1', $list => [ 'cheap-2', 'expensive' ]));
        for my $value ('cheap-2', { model => 'cheap-2' }, [ { model => 'cheap-2' } ], [ 1 ], [ ['cheap-2'] ], [ map { "cheap-$_" . 'x' x 40 } 1 .. 9 ]) {
            refused("$list that are not clear", POST => '/v1/chat/completions', body => chat(model => 'cheap-1', $list => $value), key => 'sk-wild');
        }
        refused("$list alone", POST => '/v1/chat/completions', body => json({ $list => ['cheap-1'], messages => [] }));
    }
};

case 'other members that name models' => sub {
    for my $name (qw(draft_model adapter_id adapters)) {
        passes("$name that may be used", 'cheap-1', POST => '/v1/chat/completions', body => chat(model => 'cheap-1', $name => 'cheap-2'));
        refused("another $name", POST => '/v1/chat/completions', body => chat(model => 'cheap-1', $name => 'expensive'));
    }
    refused('adapters with another', POST => '/v1/chat/completions', body => chat(model => 'cheap-1', adapters => [ 'cheap-2', { name => 'expensive' } ]));
    refused('an adapter without a name', POST => '/v1/chat/completions', body => chat(model => 'cheap-1', adapters => [ { path => 'x' } ]), key => 'sk-wild');
    refused('adapters by number', POST => '/completion', body => chat(model => 'cheap-1', lora => [{ id => 0, scale => 1 }]), key => 'sk-wild');
    refused('adapters by number and path', POST => '/v1/completions', body => chat(model => 'cheap-1', lora_request => { lora_name => 'cheap-2', lora_int_id => 0, lora_path => 'x' }),
        key => 'sk-wild');
    refused('an agent', POST => '/v1/agents/completions', body => chat(model => 'cheap-1', agent_id => 'x'), key => 'sk-wild');
    passes('merged ones', 'cheap-1', POST => '/generate', body => json({ model => 'cheap-1', parameters => { merged_adapters => { ids => ['cheap-2'] } } }));
    refused('another merged', POST => '/generate', body => json({ model => 'cheap-1', parameters => { merged_adapters => { ids => [ 'cheap-2', 'expensive' ] } } }));
};

# --- the long form of a name

case 'models/NAME is NAME' => sub {
    my $chat = '/v1/chat/completions';
    passes('in the request', 'models/cheap-1', POST => $chat, body => chat(model => 'models/cheap-1'));
    passes('and beside it', 'cheap-1', POST => $chat, body => chat(model => 'cheap-1', models => ['models/cheap-2']));
    refused('another', POST => $chat, body => chat(model => 'models/expensive'));
    refused('a list that begins as the long form does', POST => $chat, body => chat(model => 'models/cheap-1'), key => 'sk-letter');
    passes('what that is for', 'mixtral', POST => $chat, body => chat(model => 'models/mixtral') =~ s{models/}{}r, key => 'sk-letter');
    passes('in the list', $_, POST => $chat, body => chat(model => $_), key => 'sk-long') for qw(good models/good g-1 models/g-1 tunedModels/mine);
    refused("not in the list: $_", POST => $chat, body => chat(model => $_), key => 'sk-long') for qw(other models/other tunedModels/good tunedModels/g-1 mine);
    passes('in a path', 'g-1', POST => '/v1beta/models/g-1:generateContent', body => '{"contents":[]}', key => 'sk-long');
    refused('a tuned one of that name', POST => '/v1beta/tunedModels/g-1:generateContent', body => '{"contents":[]}', key => 'sk-long');
    passes('with a slash', 'cheap/a', POST => '/v1beta/models/cheap%2fa:generateContent', body => '{"contents":[]}');
    refused('another with a slash', POST => '/v1beta/models/big/cheap-1:generateContent', body => '{"contents":[]}');
    my @limited = map { ask(POST => "/per-model$chat", body => chat(model => $_), key => 'sk-alice')->{status} } 'twice', 'models/twice', 'models/twice', 'twice';
    is("@limited", '200 200 429 429', 'and both have one limit');
};

# --- requests within requests

case 'requests within requests' => sub {
    my $params = { model => 'cheap-1', max_tokens => 5, messages => [] };
    my %bodies = (
        '/v1/batches'                                     => { input_file_id => 'f1', endpoint => '/v1/chat/completions' },
        '/v1/batches/'                                    => { input_file_id => 'f1' },
        '/V1/Batches'                                     => { input_file_id => 'f1' },
        '/v1/batches;x'                                   => { input_file_id => 'f1' },
        '/openai/batches?api-version=1'                   => { input_file_id => 'f1' },
        '/v1/batches/b1/requests'                         => { batch_requests => [] },
        '/v1/messages/batches'                            => { requests => [ { custom_id => 'a', params => $params } ] },
        '/v1/messages/batches/?x'                         => { requests => [ { custom_id => 'a', params => $params } ] },
        '/v1beta/models/cheap-1:batchGenerateContent'     => { batch => {} },
        '/v1beta/models/cheap-1:asyncBatchEmbedContent'   => { batch => {} },
        '/v1/batch/jobs'                                  => { requests => [ { body => $params } ] },
        '/v1/evals/e1/runs'                               => { data_source => { model => 'expensive' } },
        '/v1/fine_tuning/alpha/graders/run'               => { grader => { model => 'expensive' } },
        '/v1/realtime/client_secrets'                     => { session => { model => 'expensive' } },
    );
    for my $path (sort keys %bodies) {
        for my $named ({}, { model => 'cheap-1' }) {
            my $body = json({ %{ $bodies{$path} }, %$named });
            my $r = refused("$path $body", POST => $path, body => $body);
            like($r->{body}, qr/the requests within this one cannot be checked/, "$path: why");
            refused("$path, also where all may be used", POST => $path, body => $body, key => 'sk-wild');
        }
        is(ask(POST => $path, body => json($bodies{$path}), key => 'sk-alice')->{status}, 200, "$path: any key");
    }
    is(ask(POST => '/v1/batches', body => '{}', key => 'sk-none')->{status}, 401, 'a wrong key is told first');
    passes("reading $_", '', GET => $_) for qw(/v1/batches /v1/batches/b1 /v1/messages/batches/b1/results);
    passes("cancelling $_", '', POST => $_) for qw(/v1/batches/b1/cancel /v1/messages/batches/b1/cancel /v1beta/batches/b1:cancel);
    passes('a file alone runs nothing', '', POST => '/v1/files', body => '{}');
    my $r = ask(POST => '/v1/files/..%2fbatches', body => '{}', key => 'sk-alice');
    is("$r->{status} $r->{asked}", '400 0', 'a path that can be read as one of them');

    my $embed = '/v1beta/models/cheap-1:batchEmbedContents';
    my $many  = sub { return json({ requests => [ map { { model => $_, content => { parts => [] } } } @_ ] }) };
    passes('whose models are read', 'cheap-1', POST => $embed, body => $many->(('models/cheap-1') x 300, 'cheap-2'));
    refused('another within', POST => $embed, body => $many->('models/cheap-1', 'models/expensive'));
    my $count = '/v1beta/models/cheap-1:countTokens';
    for my $name (qw(generateContentRequest generate_content_request)) {
        passes("$name", 'cheap-1', POST => $count, body => json({ $name => { model => 'models/cheap-1' } }));
        refused("$name of another", POST => $count, body => json({ $name => { model => 'models/expensive' } }));
    }
    passes('a tool', 'cheap-1', POST => '/v1/responses', body => chat(model => 'cheap-1', tools => [ { type => 'x' }, { type => 'y', model => 'cheap-2' } ]));
    refused('a tool of another model', POST => '/v1/responses', body => chat(model => 'cheap-1', tools => [ { type => 'x' }, { type => 'y', model => 'expensive' } ]));
    my @within = (
        [ 'a plugin',                sub { (plugins => [ { id => 'web' }, { id => 'fusion', model => $_[0] } ]) } ],
        [ 'models of a plugin',      sub { (plugins => [ { id => 'fusion', analysis_models => [ 'cheap-3', $_[0] ] } ]) } ],
        [ 'parameters of a tool',    sub { (tools => [ { type => 'a:b', parameters => { model => $_[0] } } ]) } ],
        [ 'models of a tool',        sub { (tools => [ { type => 'a:b', parameters => { analysis_models => [ $_[0] ] } } ]) } ],
        [ 'a tool of a tool',        sub { (tools => [ { type => 'a:b', parameters => { tools => [ { type => 'c:d', parameters => { model => $_[0] } } ] } } ]) } ],
        [ 'fallbacks by model',      sub { (context_window_fallback_dict => { 'cheap-1' => $_[0] }) } ],
        [ 'models of another model', sub { (compound_custom => { models => { answering_model => 'cheap-3', reasoning_model => $_[0] } }) } ],
    );
    for (@within) {
        my ($name, $with) = @$_;
        my $chat = '/v1/chat/completions';
        passes($name, 'cheap-1', POST => $chat, body => chat(model => 'cheap-1', $with->('cheap-2')));
        refused("$name, another", POST => $chat, body => chat(model => 'cheap-1', $with->('expensive')));
        refused("$name, not clear", POST => $chat, body => chat(model => 'cheap-1', $with->(5)), key => 'sk-wild');
        passes("$name, any key", 'm', POST => $chat, body => chat($with->('expensive')), key => 'sk-alice');
    }
    my %schema = (type => 'object', properties => { model => { type => 'string' } }, required => ['model']);
    passes('a schema names none', 'cheap-1', POST => '/v1/responses',
        body => chat(model => 'cheap-1', tools => [ { type => 'function', name => 'f', parameters => \%schema }, { type => 'function', name => 'g', parameters => { model => { type => 'string' } } } ]));
};

# --- members that name models on some paths

case 'models that are made of others' => sub {
    for (
        # path, body that passes for the key with cheap*, what the log calls it, bodies that do not pass
        [ '/api/create', { model => 'cheap-x', from => 'cheap-1' }, 'cheap-x',
            { model => 'cheap-x', from => 'expensive' }, { model => 'x', from => 'cheap-1' }, { model => 'cheap-x', name => 'x' },
            { model => 'cheap-x', files => { 'a.gguf' => 'sha256:1' } }, { model => 'cheap-x', adapters => {} },
            { model => 'cheap-x', modelfile => 'FROM expensive' }, { model => 'cheap-x', From => 'cheap-1' }, { model => 'cheap-x', from => ['cheap-1'] } ],
        # The first that is named is the one that is logged.
        [ '/api/copy', { source => 'cheap-1', destination => 'cheap-2' }, 'cheap-2',
            { model => 'cheap-1', source => 'expensive', destination => 'cheap-2' }, { source => 'cheap-1', destination => 'x' }, { model => 'cheap-1', SOURCE => 'x' } ],
        [ '/api/push', { name => 'cheap-1' }, 'cheap-1', { model => 'cheap-1', name => 'expensive' }, { name => 'expensive' }, {} ],
        [ '/api/pull', { model => 'cheap-1', name => '' }, 'cheap-1', { model => 'cheap-1', name => 'expensive' } ],
        [ '/api/show', { model => 'cheap-1', name => 'cheap-1' }, 'cheap-1', { model => 'cheap-1', name => 'expensive' } ],
        [ '/v1/load_lora_adapter', { lora_name => 'cheap-a', lora_path => 'cheap/path' }, 'cheap-a',
            { model => 'cheap-1', lora_name => 'expensive', lora_path => 'cheap/path' }, { model => 'cheap-1', lora_name => 'cheap-a', lora_path => '/models/expensive' } ],
        [ '/v1/unload_lora_adapter', { lora_name => 'cheap-a' }, 'cheap-a', { lora_name => 'expensive' }, { lora_name => 'cheap-a', lora_int_id => 1 } ],
        [ '/generate', { model => 'cheap-1', lora_path => 'cheap-a' }, 'cheap-1', { model => 'cheap-1', lora_path => 'expensive' } ],
        [ '/update_weights_from_disk', { model => 'cheap-1' }, 'cheap-1', { model => 'cheap-1', model_path => '/expensive' } ],
        [ '/vertex_generate', { model => 'cheap-1', parameters => { lora_path => 'cheap-a' } }, 'cheap-1', { model => 'cheap-1', parameters => { lora_path => 'expensive' } } ],
    ) {
        my ($path, $good, $model, @bad) = @$_;
        my $name = $path . ' ' . json($good);
        passes($name, $model, POST => $path, body => json($good));
        refused($path . ' ' . json($_), POST => $path, body => json($_)) for @bad;
        passes("$path, any key", $_->{model} // $model, POST => $path, body => json($_), key => 'sk-alice') for grep { $_->{model} } @bad;
    }
    for my $path (qw(/adapters /lora-adapters /v1/lora/load /v1/model/load /update_weights_from_tensor /collective_rpc)) {
        my $r = refused("$path changes what is loaded", POST => $path, body => '{"model":"cheap-1"}', key => 'sk-wild');
        unlike($r->{body}, qr/requests within/, 'why');
        passes("$path, any key", 'cheap-1', POST => $path, body => '{"model":"cheap-1"}', key => 'sk-alice');
    }
    passes('loaded', 'cheap-1', POST => '/v2/repository/models/cheap-1/load', body => '{}');
    refused('another is not loaded', POST => '/v2/repository/models/expensive/load', body => '{"model":"cheap-1"}');
    passes('deleted', 'cheap-1', DELETE => '/api/delete', body => '{"name":"cheap-1"}');
    refused('another is not', DELETE => '/api/delete', body => '{"model":"cheap-1","name":"expensive"}');
    passes('elsewhere these are other things', 'cheap-1', POST => '/v1/vector_stores', body => '{"model":"cheap-1","name":"x","source":"y","from":"z","files":{}}');
};

# --- in forms

sub part {
    my ($headers, $value, $boundary) = @_;

    return "--" . ($boundary // 'b') . "\r\n$headers\r\n\r\n$value\r\n";
}

sub field { my ($name, $value) = @_; return part(qq(Content-Disposition: form-data; name="$name"), $value) }
sub file  { return part(qq(Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav), $_[0]) }

sub form {
    my ($body, %o) = @_;

    my $uri = delete $o{uri} // '/v1/audio/transcriptions';
    return (POST => $uri, body => $body, type => 'multipart/form-data; boundary=b', %o);
}

case 'forms' => sub {
    my $cheap = field(model => 'cheap-1');
    my $sound = "RIFF\0\r\n--\r\n{\"model\":\"expensive\"}\n" x 5000;
    for my $uri ('/v1/audio/transcriptions', '/spilled/v1/images/edits') {
        passes('the model first', 'cheap-1', form($cheap . file($sound) . "--b--\r\n", uri => $uri));
        passes('the model last',  'cheap-1', form(file($sound) . $cheap . "--b--\r\n", uri => $uri));
    }
    passes('a quoted boundary', 'cheap-1',
        form(part('Content-Disposition: form-data; name=model', 'cheap-1', 'a b') . "--a b--\r\n", type => 'multipart/form-data; boundary="a b"'));
    for my $name ('a\\"b', 'C:\\\\a', 'a%22b', '\\"') {
        passes("a file that is called $name", 'cheap-1', form($cheap . part(qq(Content-Disposition: form-data; name="file"; filename="$name"), 'x') . "--b--\r\n"));
    }
    for my $name ('a\\"; name=model; x=\\"', 'a\\"; name=\"model', '\\') {
        refused("a file that could be a model to some: $name", form($cheap . part(qq(Content-Disposition: form-data; name="file"; filename="$name"), 'x') . "--b--\r\n", key => 'sk-wild'));
    }
    passes('any key', 'expensive', form(field(model => 'expensive') . field(model => 'x') . '--b', key => 'sk-alice'));
    passes('a file without a model', '', form(file('x') . "--b--\r\n", uri => '/v1/files'));
    refused('another', form(field(model => 'expensive') . "--b--\r\n"));
    refused('none', form(file('x') . "--b--\r\n"));
    refused('another in the path', form("$cheap--b--\r\n", uri => '/openai/deployments/expensive/audio/transcriptions'));
    for my $body ($cheap . field(model => 'expensive') . "--b--\r\n", $cheap, $cheap . part('Content-Disposition: form-data; name*=utf-8\'\'model', 'x') . "--b--\r\n",
        $cheap . part('Content-Disposition', 'x') . "--b--\r\n") {
        refused('not clear', form($body, key => 'sk-wild'));
    }
    refused('two types', form($cheap . "--b--\r\n", headers => [ 'Content-Type' => 'multipart/form-data; boundary=b' ], key => 'sk-wild'));
    passes('JSON in spite of its type', 'cheap-1', form("\r\n" . chat(model => 'cheap-1'), uri => '/v1/chat/completions'));
    refused('JSON in spite of its type, another', form(' ' . chat(model => 'expensive'), uri => '/v1/chat/completions'));
    for my $key ('sk-alice', 'sk-cheap') {
        for my $body ("x\r\n$cheap--b--\r\n", '--c' . $cheap, 'model=cheap-1', '[]', '-', "  $cheap--b--") {
            my $r = ask(form($body, key => $key));
            is("$r->{status} $r->{asked} $r->{log}{refusal}", '400 0 bad_request', 'no form');
        }
        my $r = ask(form("$cheap--b--\r\n", key => $key, type => 'multipart/form-data'));
        is("$r->{status} $r->{asked} $r->{log}{refusal}", '400 0 bad_request', 'no boundary');
    }
    my $r = ask(form(field(model => 'expensive') . "--b--\r\n", key => 'sk-none'));
    is("$r->{status} $r->{log}{model}", '401 ', 'a wrong key is told nothing');
    passes('an empty coding is none', 'cheap-1', POST => '/v1/chat/completions', body => chat(model => 'cheap-1'), headers => [ 'Content-Encoding' => '' ]);
};

case "a form's prompt and files are reckoned with" => sub {
    # What is left while the request runs tells what was reserved for it; the completion is the same for all.
    my $left = sub {
        my $r = ask(form(join('', @_) . field(model => "cheap-new") . "--b--\r\n", uri => "/v1/images/edits", key => "sk-formed",
            headers => [ 'X-Reply' => '{"body":"{\\"data\\":[]}"}' ]));
        is($r->{status}, 200, 'let in');
        return $r->{headers}{'x-ratelimit-remaining-tokens'};
    };
    my $plain = $left->(field(size => '1024x1024'));
    is($plain - $left->(field(prompt => 'x' x 4000)), 1000, 'a token for each four bytes of the prompt');
    is($plain - $left->(file('x' x 4000), field(prompt => 'x' x 40)), 1010, 'a file for what an image in JSON is taken for, whatever its bytes');
};

case 'forms that come in pieces' => sub {
    my $body = file("x\r\n--\r\n") . field(model => 'cheap-1') . "--b--\r\n";
    for my $model ('cheap-1', 'dear-11') {
        my $sent = $body =~ s/cheap-1/$model/r;
        for my $way ('length', 'chunked') {
            my $c = $t->client;
            my $id = $t->new_id;
            $c->request(POST => '/v1/audio/transcriptions', id => $id, headers => [ $t->bearer('sk-cheap'),
                'Content-Type' => 'multipart/form-data; boundary=b',
                $way eq 'chunked' ? ('Transfer-Encoding' => 'chunked') : ('Content-Length' => length $sent) ]);
            $c->write($way eq 'chunked' ? "1\r\n$_\r\n" : $_) for split //, $sent;
            $c->write("0\r\n\r\n") if $way eq 'chunked';
            is($c->response->{status}, $model eq 'cheap-1' ? 200 : 404, "$model, $way");
            is($t->log_line($id)->{model}, $model, 'is the model');
            $c->close;
        }
    }
};

# --- WebSocket

case 'a WebSocket is refused' => sub {
    for my $headers (\@websocket, [ Upgrade => 'h2c, WebSocket' ], [ Upgrade => 'foo', Upgrade => 'websocket/13' ]) {
        my $r = ask(GET => '/v1/realtime?model=m', key => 'sk-alice', headers => $headers);
        is("$r->{status} $r->{asked} $r->{log}{refusal} $r->{log}{outcome}", '426 0 websocket refused', "@$headers[0 .. 1]");
        is($r->{headers}{upgrade}, 'HTTP/1.1', 'says what to speak');
        is($r->{headers}{connection}, 'close', 'and ends');
        is($r->{headers}{'x-should-retry'}, 'false', 'for good');
        like($r->{body}, qr/"error":\{"message":"WebSocket/, "in the API's shape");
    }
    my $r = ask(GET => '/v1/realtime?model=m', key => 'sk-none', headers => \@websocket);
    is($r->{status}, 401, 'a wrong key is told that first');
    $r = ask(POST => '/v1/responses', key => 'sk-alice', headers => \@websocket, body => chat());
    is("$r->{status} $r->{asked}", '426 0', 'with a body');
    passes('another protocol is none', 'm', POST => '/v1/chat/completions', key => 'sk-alice', body => chat(), headers => [ Upgrade => 'h2c' ]);
    $r = ask(GET => '/page/x', key => 'sk-alice', headers => \@websocket);
    is($r->{status}, 200, 'error_page may lead it on');
    is(ask(GET => '/open/x', headers => \@websocket)->{status}, 200, 'without keys it is not looked at');
};

case 'a WebSocket that is let through' => sub {
    my $c  = $t->client;
    my $id = $t->new_id;
    $c->request(GET => '/ws/v1/realtime?model=m', headers => [ $t->bearer('sk-single'), @websocket ], id => $id);
    my $u = $tunnel->take;
    $u->write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    is($c->wait_head, 101, 'switched');
    $c->write('from client');
    $u->read_more while $u->{in} !~ /from client/;
    $u->write('from server');
    $c->read_more while $c->{in} !~ /from server/;
    pass('bytes pass both ways');
    is($t->zone->{leases}{running}, 1, 'it holds a lease');

    my $second = $t->client;
    $second->request(GET => '/ws/v1/realtime?model=m', headers => [ $t->bearer('sk-single'), @websocket ]);
    is($second->response->{status}, 429, 'a second one is over the concurrency');
    $second->close;

    $c->close;
    $u->wait_close;
    $u->close;
    my $log = $t->log_line($id);
    is("$log->{status} $log->{outcome} $log->{model} $log->{usage_source}", '101 ok m none', 'its line in the log');
    $t->wait_idle;
    is($t->totals('single')->{requests}, 1, 'it is counted');

    for my $uri ('/ws/v1/realtime?model=expensive', '/ws/v1/realtime', '/ws/v1/responses', '/ws/v1/models') {
        refused("$uri: not this model", GET => $uri, headers => \@websocket);
    }
};

# --- words of long rates

case 'a rate is told as the rule says it' => sub {
    ask(GET => '/v1/models', key => 'sk-hourly');
    my $r = ask(GET => '/v1/models', key => 'sk-hourly');
    is($r->{status}, 429, 'refused');
    like($r->{body}, qr/"Rate limit reached for requests: limit 10 per hour for this key\. Please try again in 3(?:60|5\d)s\."/, 'words, number and time');
    like($r->{body}, qr/"code":"insufficient_quota"/, 'clients give up');
    is($r->{headers}{'x-should-retry'}, 'false', 'and are told to');

    ask(POST => '/v1/chat/completions', key => 'sk-counted', body => chat()) for 1 .. 3;
    $r = ask(POST => '/v1/chat/completions', key => 'sk-counted', body => chat(max_tokens => 1000));
    like($r->{body}, qr/"Rate limit reached for tokens: limit 1000 per hour for this key\. Please try again in \d+s\."/, 'tokens');

    ask(GET => '/failures', key => "sk-wrong") for 1 .. 10;
    $r = ask(GET => '/failures', key => "sk-wrong");
    like($r->{body}, qr/limit 10 per hour for this address\. Please try again in 3(?:60|5\d)s\./, 'wrong keys');
};

LLM::Test::finish();
