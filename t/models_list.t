# Why: clients choose from the list of models. It has to say what this key may use, under the names that clients are to use, in the
# shape of the API that they speak; and nothing of what others may use.

use strict;
use warnings;

use JSON::PP;

use LLM::Test;

my $t = LLM::Test->gateway(
    keys => [
        { name => 'alice', secret => 'sk-alice', limits => { requests => '1r/d', burst => 0 } },
        { name => 'picky', secret => 'sk-picky', models => [ 'gpt-*', 'nothing' ] },
        { name => 'none',  secret => 'sk-none',  models => ['nothing'] },
        { name => 'old',   secret => 'sk-old',   enabled => JSON::PP::false },
    ],
    server => <<'EOC',
llm_model qwen3   to=127.0.0.1:%%PORT_1%%;
llm_model gpt-4o  as=qwen3 to=127.0.0.1:%%PORT_1%%;
llm_model gpt-5-* as=qwen3 to=127.0.0.1:%%PORT_1%%;
llm_model org/a"b to=127.0.0.1:%%PORT_1%%;
llm_model *       to=127.0.0.1:%%PORT_1%%;
location /v1/models { llm_models; }
location = /api/tags { llm_models; }
location /other/models { llm_model only; llm_models; }
location /many/models { include %%DIR%%/many.conf; llm_models; }
location / { proxy_pass http://$llm_upstream; }
EOC
    files => { 'many.conf' => join '', map {"llm_model m$_;\n"} 1 .. 1000 },
);
my $up = $t->daemon(1);
$t->start;

my $json = JSON::PP->new->canonical;

sub get {
    my ($uri, %o) = @_;

    my $r = $t->fetch($o{method} // 'GET', $uri, key => $o{key} // 'sk-alice', headers => $o{headers});
    return { %$r, json => scalar eval { $json->decode($r->{body}) } };
}

sub ids { return join ' ', map { $_->{id} // $_->{name} } @{ $_[0]{json}{data} // $_[0]{json}{models} // [] } }

my @anthropic = (headers => [ 'anthropic-version' => '2023-06-01' ]);

case 'lists' => sub {
    my $r = get('/v1/models');
    is($r->{status}, 200, 'status');
    is($r->{headers}{'content-type'}, 'application/json', 'type');
    is(ids($r), 'qwen3 gpt-4o org/a"b', 'names and aliases, in the order of the table, no patterns');
    is($r->{json}{object}, 'list', "OpenAI's list");
    my $model = $r->{json}{data}[1];
    is(join(' ', map {"$_=$model->{$_}"} sort keys %$model), 'created=1735689600 id=gpt-4o object=model owned_by=nginx-llm', 'a model');
    is(ids(get('/v1/models/')), 'qwen3 gpt-4o org/a"b', 'with a slash');
    is(ids(get('/v1/models', key => 'sk-picky')), 'gpt-4o', 'of a key that may use certain models');
    is(ids(get('/v1/models', key => 'sk-none')), '', 'of one that may use none of them');
    is(ids(get('/other/models')), 'only', 'of another table');
    is(ids(get('/many/models')), join(' ', map {"m$_"} 1 .. 1000), 'of a long table');
    $r = get('/v1/models', @anthropic);
    is(ids($r), 'qwen3 gpt-4o org/a"b', "Anthropic's");
    is($json->encode($r->{json}{data}[0]), '{"created_at":"2025-01-01T00:00:00Z","display_name":"qwen3","id":"qwen3","type":"model"}', "Anthropic's model");
    is("$r->{json}{first_id} $r->{json}{last_id}", 'qwen3 org/a"b', 'first and last');
    ok(exists $r->{json}{has_more} && !$r->{json}{has_more}, 'no more pages');
    $r = get('/v1/models', @anthropic, key => 'sk-none');
    ok(exists $r->{json}{first_id} && !defined $r->{json}{first_id}, 'of none');
    $r = get('/api/tags');
    is(ids($r), 'qwen3 gpt-4o org/a"b', "Ollama's");
    is("$r->{json}{models}[0]{model} $r->{json}{models}[0]{modified_at}", 'qwen3 2025-01-01T00:00:00Z', "Ollama's model");
    is(ids(get('/api/tags', key => 'sk-picky')), 'gpt-4o', "Ollama's, of a key that may use certain models");
};

case 'one model' => sub {
    is(get('/v1/models/gpt-4o')->{json}{id}, 'gpt-4o', 'an alias');
    is(get('/v1/models/org/a%22b')->{json}{id}, 'org/a"b', 'with a slash and an escape');
    is(get('/v1/models/qwen3', @anthropic)->{json}{display_name}, 'qwen3', "in Anthropic's shape");
    is(get('/v1/models/gpt-4o', key => 'sk-picky')->{status}, 200, 'of a key that may use it');
    for ([ 'qwen3', 'sk-picky' ], [ 'gpt-5-mini', 'sk-alice' ], [ 'unknown', 'sk-alice' ], [ 'GPT-4o', 'sk-alice' ], [ 'qwen3/', 'sk-alice' ]) {
        my ($model, $key) = @$_;
        my $r = get("/v1/models/$model", key => $key);
        is("$r->{status} $r->{json}{error}{code}", '404 model_not_found', "$model for $key");
        like($r->{json}{error}{message}, qr/`\Q$model\E` does not exist/, "$model: says which");
    }
};

case 'who may ask' => sub {
    is(get('/v1/models', key => 'sk-wrong')->{status}, 401, 'a wrong key');
    is(get('/v1/models', key => 'sk-old')->{status}, 401, 'one that is disabled');
    my $none = $t->fetch(GET => '/v1/models');
    is($none->{status}, 401, 'none');
    is($t->fetch(GET => '/v1/models', headers => [ Accept => 'text/html' ])->{status}, 401, 'a browser');
    is(get('/v1/models', method => 'POST')->{status}, 405, 'POST');
    my $head = get('/v1/models', method => 'HEAD');
    is("$head->{status} $head->{body}", '200 ', 'HEAD');
    is($up->count, 0, 'the upstream was not asked');
    is($t->totals('alice')->{requests}, 0, 'nothing was counted, and the limit of one request a day was not touched');
    is(get('/v1/other')->{status}, 200, 'while others are');
    is(get('/v1/other')->{status}, 429, 'limited');
};

case 'nginx -t' => sub {
    my $conf = sub { return "%%HTTP_BEGIN%%\nllm_zone llm:4m;\n$_[0]\nserver { listen 127.0.0.1:%%PORT_0%%; location / { $_[1] } }\n}\n" };
    my $keys = 'llm_api_keys %%DIR%%/keys.json;';
    for (
        [ $keys, 'llm_models;', qr/"llm_models" needs "llm_model" here or in a level above/ ],
        [ '', 'llm_model a; llm_models;', qr/"llm_models" needs "llm_api_keys"/ ],
        [ $keys, 'llm_model a; llm_models; llm_usage;', qr/cannot stand beside "llm_models"/ ],
        [ $keys, 'llm_model a; llm_models; llm_models;', qr/"llm_models" directive is duplicate/ ],
        [ $keys, 'llm_model a; llm_models x;', qr/invalid number of arguments/ ],
        [ $keys, 'llm_model a; llm_models; proxy_pass http://127.0.0.1;', qr/cannot stand beside another directive that answers/ ],
    ) {
        my ($http, $location, $why) = @$_;
        my ($good, $said) = $t->check_conf($conf->($http, $location));
        ok(!$good, "$location: refused");
        like($said, $why, "$location: says why");
    }
};

$t->finish;
