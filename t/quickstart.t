# Why: the first thing that anybody runs is conf-examples/quickstart.sh, often against the server that they have. It has to find the
# model, say plainly what is wrong if there is something, and leave alone what an earlier run has left on purpose.

use strict;
use warnings;

use Cwd qw(abs_path);

use LLM::Test;

my $module = abs_path($ENV{LLM_MODULE} // 'build/ngx_http_llm_module.so');
plan(skip_all => 'the script is for Debian')                          if system('command -v dpkg-query >/dev/null 2>&1');
plan(skip_all => 'the script starts the nginx of the distribution')   if $ENV{LLM_NGINX};
plan(skip_all => 'the script preloads no sanitizer')                  if $ENV{LLM_PRELOAD};
for my $package (qw(nginx curl)) {
    plan(skip_all => "the package $package is not installed") if `dpkg-query -W -f '\${Status}' $package 2>/dev/null` !~ /ok installed/;
}

my $events = join '\n\n', 'data: {"model":"m","choices":[{"index":0,"delta":{"content":"Hello there."}}]}',
    'data: {"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}', 'data: [DONE]', '';
my $chat = "location = /v1/chat/completions { default_type text/event-stream; return 200 '$events'; }";
my %lists = (
    # As llama-server has it, with arrays before "data".
    1 => q({"models":[{"name":"/m/q.gguf","model":"/m/q.gguf","tags":[""],"capabilities":["completion"],"parameters":""}],"object":"list",)
        . q("data":[{"id":"qwen3.gguf","object":"model","meta":{"n_vocab":1}}]}),
    # vLLM, with blanks, and an "id" within.
    2 => q({ "object" : "list", "data" : [ { "id" : "Qwen/Qwen3-8B", "permission" : [ { "id" : "modelperm-1" } ] }, { "id" : "other" } ] }),
    # Only in another form.
    3 => q({"models":[{"name":"tiny:1b","model":"tiny:1b"}]}),
    4 => q({"object":"list","data":[]}),
);
my $servers = join '', map { "server { listen 127.0.0.1:%%PORT_$_%%; location = /v1/models { return 200 '$lists{$_}'; } $chat }\n" } sort keys %lists;
my $t = LLM::Test->new(module => 0, conf => "%%HTTP_BEGIN%%\n$servers" . <<"EOF");
server {
    listen 127.0.0.1:%%PORT_5%%;
    if (\$http_authorization != "Bearer up-key_1") { return 401 '{"error":{"message":"Invalid API key of the upstream"}}'; }
    location = /v1/models { return 200 '$lists{2}'; }
    $chat
}
server {
    listen 127.0.0.1:%%PORT_6%%;
    location = /v1/models { return 200 '$lists{2}'; }
    location / { return 400 '{"error":{"message":"This model is no chat model"}}'; }
}
}
EOF
$t->start;
my $home = $t->dir . '/tries';
mkdir $home;

# Runs the script; (exit status, all that it said).
sub quickstart {
    my (@arguments) = @_;

    local $ENV{LLM_MODULE}         = $module;
    local $ENV{LLM_QUICKSTART_DIR} = "$home/kept";
    my $said = `sh conf-examples/quickstart.sh @arguments 2>&1`;
    return ($? >> 8, $said);
}

sub upstream { my ($n) = @_; return '--upstream http://127.0.0.1:' . $t->port($n) }

sub works {
    my ($name, $want, @arguments) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my ($code, $said) = quickstart(@arguments);
        is($code, 0, 'it ends well') or diag($said);
        like($said, qr/streamed from $want$/m, 'the model');
        like($said, qr/^Hello there\.$/m, 'the text');
        like($said, qr/5 prompt \+ 3 completion = 8 tokens/, 'the count');
        is_deeply([ glob "$home/kept-*" ], [], 'nothing is left');
    };
    return;
}

sub fails {
    my ($name, $want, @arguments) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my ($code, $said) = quickstart(@arguments);
        isnt($code, 0, 'it fails');
        like($said, $_, 'and says why') for @$want;
        is_deeply([ glob "$home/kept-*" ], [], 'nothing is left');
    };
    return;
}

works('llama.cpp\'s list of models', 'qwen3\.gguf', upstream(1));
works('vLLM\'s list',                'Qwen/Qwen3-8B', upstream(2));
works('a list of Ollama\'s kind',    'tiny:1b', upstream(3));
works('a model that is named',       'mine', upstream(4), '--model mine');
works('a URL that ends in /v1',      'Qwen/Qwen3-8B', upstream(2) . '/v1/');
works('an upstream with a key',      'Qwen/Qwen3-8B', upstream(5), '--upstream-key up-key_1');
fails('no model in the list', [ qr/"data":\[\]/, qr/names no model/ ], upstream(4));
fails('no key for an upstream that wants one', [ qr/Invalid API key of the upstream/, qr/--upstream-key/, qr/HTTP 401/ ], upstream(5));
fails('a wrong key', [ qr/Invalid API key of the upstream/, qr/another --upstream-key/, qr/HTTP 401/ ], upstream(5), '--upstream-key no');
fails('a refusal of the upstream', [ qr/This model is no chat model/, qr{POST /v1/chat/completions with HTTP 400} ], upstream(6));
fails('nobody there', [ qr/Nobody answers at http/, qr/HTTP 502/ ], upstream(7));
fails('a key with a quote', [ qr/--upstream-key: expected/ ], upstream(5), q(--upstream-key 'a"b'));
fails('a key for no upstream', [ qr/--upstream-key needs --upstream/ ], '--upstream-key a');

case 'one that is kept' => sub {
    my ($code, $said) = quickstart(upstream(2), '--keep');
    is($code, 0, 'it starts') or diag($said);
    my ($url, $key) = $said =~ /OPENAI_BASE_URL=(\S+)\s+OPENAI_API_KEY=(\S+)/;
    my $lives = sub { `curl -s -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer $key' $url/models` };
    is($lives->(), '200', 'it runs on');
    works('a later run', 'qwen3\.gguf', upstream(1));
    is($lives->(), '200', 'leaves it alone');
    fails('and so does one that is to be kept', [ qr{already: http://127\.0\.0\.1:\d+}, qr/--stop/ ], upstream(1), '--keep');
    is($lives->(), '200', 'it still runs');
    ($code, $said) = quickstart('--stop');
    like($said, qr/is stopped/, 'until it is stopped');
    is($lives->(), '000', 'then nobody listens');
    ok(!-e "$home/kept", 'and its files are gone');
};

$t->finish;
