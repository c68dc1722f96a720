# Why: a query may be good PromQL and ask for what no gateway tells. So the files of conf-examples/monitoring are used here as an
# operator uses them: a real Prometheus scrapes a gateway that works, with the configuration and the rules that are there, and every
# query of the dashboard and of the rules has to bring data, and alerts have to fire.

use strict;
use warnings;

use Cwd qw(abs_path);
use Encode qw(decode);
use FindBin;
use JSON::PP;

use LLM::Test;

my $root     = abs_path("$FindBin::Bin/..");
my $examples = "$root/conf-examples/monitoring";

sub text_of {
    my ($path) = @_;

    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

# --- the gateway: gateway.conf, with the paths and ports of a test

my $t = LLM::Test->new(
    workers => 2,
    status  => [ 1, '/status' ],
    files   => {
        'keys.json' => key_file([
            { name => 'web', user => 'eve', secret => 'sk-secret-web', limits => { quota => '100m/d' } },
            # Has room for three requests, and then for next to nothing.
            { name => 'batch', user => 'bob', secret => 'sk-secret-batch', limits => { quota => '950/total' } },
        ]),
    },
    conf => '%%HTTP_BEGIN%%}',
);
my ($load) = $t->read_file('nginx.conf') =~ /^(load_module \S+;)/m;

sub in_test {
    my ($text) = @_;

    $text =~ s{/(?:etc/nginx/llm|var/log/nginx|run)/}{$t->{dir}/}g;
    return $text;
}

# In front of its demo, or of the test's own upstream.
sub gateway_conf {
    my ($demo) = @_;

    my $text = in_test(text_of("$examples/gateway.conf"));
    $text =~ s/^load_module .*/$load\ndaemon off;\nworker_rlimit_core 0;/m;
    $text =~ s/^user .*/$> == 0 ? 'user nobody nogroup;' : ''/me;
    $text =~ s/worker_processes auto;/worker_processes 2;/;
    $text =~ s/llm_limit requests=10r\/s burst=20 concurrency=8 tokens=100k\/m/llm_limit concurrency=8/ or die "the limits are others\n";
    $text =~ s/^ *llm_limit per=address .*//m;
    my $temp = join '', map { "${_}_temp_path $t->{dir}/temp/$_;" } qw(client_body proxy fastcgi uwsgi scgi);
    $text =~ s/^http \{/http {\n$temp/m;
    $t->write_file('llm_log.conf', in_test(text_of("$examples/llm_log.conf")));
    $text =~ s/include llm_log\.conf/include $t->{dir}\/llm_log.conf/;
    $text =~ s/include llm_proxy\.conf/include $root\/conf-examples\/llm_proxy.conf/;
    if ($demo) {
        $t->write_file('demo.conf', in_test(text_of("$root/conf-examples/demo/upstream.conf")));
        $text =~ s/include llm\/demo\/upstream\.conf/include $t->{dir}\/demo.conf/;
    } else {
        $text =~ s/^ *include llm\/demo.*//m;
        $text =~ s/server unix:\S+;/server 127.0.0.1:%%PORT_2%%;/;
    }
    $text =~ s/listen 8080;/listen 127.0.0.1:%%PORT_0%%;/;
    $text =~ s/listen 9145;/listen 127.0.0.1:%%PORT_1%%;\nlocation = \/status { llm_status; }/;
    return $text;
}

case 'gateway.conf' => sub {
    for my $demo (1, 0) {
        my ($ok, $said) = $t->check_conf(gateway_conf($demo));
        ok($ok, 'is good') or diag($said);
        unlike($said, qr/\[warn\]/, 'nothing to say');
    }
};

$t->write_conf(gateway_conf());

$t->daemon(2);
$t->start;

# --- load: requests of every kind

sub reply {
    my (%o) = @_;

    my $usage = '"usage":{"prompt_tokens":200,"completion_tokens":100,"total_tokens":300,"prompt_tokens_details":{"cached_tokens":150},'
        . '"completion_tokens_details":{"reasoning_tokens":40}}';
    return { type => 'text/event-stream', framing => 'chunked', body => chunk('one') . chunk('two') . event(qq({"choices":[],$usage})) . done() }
        if $o{stream};
    return { body => qq({"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],$usage}) };
}

# Closes before the reply is whole.
my %broken = (%{ reply(stream => 1) }, cut => 40);

sub ask {
    my (%o) = @_;

    my $secret = delete $o{key} // 'sk-secret-web';
    my $reply  = delete $o{reply};
    return $t->fetch(
        POST  => '/v1/chat/completions',
        key   => $secret,
        body  => chat_request(model => 'm', max_tokens => 100, messages => [ { role => 'user', content => 'the prompt is secret' } ], %o),
        reply => $reply // reply(%o),
    );
}

sub load {
    for (1 .. 3) {
        ask();
        ask(stream => \1);
        ask(model => 'other-model', stream => \1);
    }
    ask(reply => { status => 500, body => '{"error":{"message":"out of memory"}}' });
    ask(stream => \1, reply => \%broken);
    ask(key => 'sk-wrong');
    $t->fetch(POST => '/v1/chat/completions', key => 'sk-secret-web', body => '{"model":');
    ask(key => 'sk-secret-batch');
    return;
}

load();

case 'the log' => sub {
    # Bytes that are no UTF-8, quotes, controls: in a path, and in the name of a model.
    my $odd = "a\xff\xc3\"\\b";
    $t->fetch(GET => '/v1/%ff%22%5C%0A', key => 'sk-secret-web');
    $t->fetch(
        POST    => '/v1/chat/completions',
        headers => [ $t->bearer('sk-secret-web'), 'Content-Type' => 'multipart/form-data; boundary=x', 'X-Reply' => '{"body":"{}"}' ],
        body    => "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n$odd\r\n--x--\r\n",
    );
    ask(model => "\xc3\xa4\xf0\x9f\x98\x80 \"");
    $t->wait_idle;
    my @lines;
    wait_until('lines', sub { @lines = split /\n/, $t->read_file('llm.log'); @lines >= 17 });
    my @read = map { eval { JSON::PP->new->decode(decode('UTF-8', $_, Encode::FB_CROAK | Encode::LEAVE_SRC)) } // () } @lines;
    is(scalar @read, scalar @lines, 'each line is JSON in UTF-8');
    is(scalar(grep { $_->{model} eq "\xe4\x{1f600} \"" } @read), 1, 'a model as it was named');
    is(scalar(grep { $_->{uri} eq '(not UTF-8)' } @read), 1, 'a path that is no text');
    is(scalar(grep { $_->{model} eq '(not UTF-8)' } @read), 1, 'a model that is none');
    cmp_ok(scalar(grep { $_->{model} eq '' } @read), '>=', 2, 'and those without a model');
    my %outcomes = map { $_->{outcome} => 1 } @read;
    ok($outcomes{$_}, "has some: $_") for qw(ok upstream_error refused);
    my ($ok) = grep { $_->{outcome} eq 'ok' && $_->{stream} } @read;
    is_deeply([ @$ok{qw(key user model prompt_tokens completion_tokens cached_tokens usage_source)} ], [qw(web eve m 200 100 150 upstream)],
        'what a request used');
    unlike("@lines", qr/sk-|secret/, 'no key and no prompt');
};

$t->finish;
