# Why: a query may be good PromQL and ask for what no gateway tells. So the files of conf-examples/monitoring are used here as an
# operator uses them: a real Prometheus scrapes a gateway that works, with the configuration and the rules that are there, and every
# query of the dashboard and of the rules has to bring data, and alerts have to fire.

use strict;
use warnings;

use Cwd qw(abs_path);
use Encode qw(decode);
use FindBin;
use JSON::PP;

use LLM::Prometheus;
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

    $text =~ s{/var/lib/nginx/llm/}{$t->{dir}/state/}g;
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
    $text =~ s/include llm_proxy\.conf/include $root\/conf-examples\/llm_proxy.conf/g;
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

# --- Prometheus

sub metrics { return $t->fetch(GET => '/metrics', port => 1, @_) }

case 'metrics as promtool reads them' => sub {
    my $r = metrics();
    is($r->{status}, 200, 'status');
    open my $promtool, '|-', "promtool check metrics > $t->{dir}/promtool.log 2>&1" or die "promtool: $!\n";
    print $promtool $r->{body};
    ok(close $promtool, 'clean');
    is($t->read_file('promtool.log'), '', 'nothing to say');
};

# The rules and the configuration as they are, but that everything comes sooner. Nobody listens on the port of a second gateway.
mkdir "$t->{dir}/rules";
for my $path (glob "$examples/rules/*.yml") {
    my ($name) = $path =~ m{([^/]+)\z};
    $t->write_file("rules/$name", text_of($path) =~ s/^( +for:) .*/$1 1s/gmr);
}
my $config = text_of("$examples/prometheus.yml");
$config =~ s/(_interval:) 15s/$1 1s/g;
$config =~ s/"gateway:9145"/$t->expand('"127.0.0.1:%%PORT_1%%", "127.0.0.1:%%PORT_4%%"')/e;
my $prometheus = LLM::Prometheus->start(dir => $t->{dir}, port => $t->port(3), config => $t->write_file('prometheus.yml', $config));

# Loads the gateway until what the code says is so.
sub load_until {
    my ($what, $code) = @_;

    return wait_until($what, sub { load(); $code->() });
}

# Requests that run all the time.
my @running = map { $t->client } 1 .. 2;
$_->request(
    POST    => '/v1/chat/completions',
    headers => [ $t->bearer('sk-secret-web'), 'X-Reply' => json({ hold => 'end', %{ reply() } }) ],
    body    => chat_request(model => 'm'),
) for @running;

case 'Prometheus takes what it is told' => sub {
    my $good = load_until('a scrape', sub {
        my ($target) = grep { $_->{labels}{instance} eq '127.0.0.1:' . $t->port(1) } @{ $prometheus->api('targets')->{activeTargets} };
        $target && $target->{health} ne 'unknown' && $target;
    });
    is($good->{health},    'up', 'the gateway is up');
    is($good->{lastError}, '',   'and what it says can be read');
    # OpenMetrics alone tells units, and has counters' names without _total.
    my $known = wait_until('metadata', sub { my $m = $prometheus->api('metadata'); %$m && $m });
    is($known->{llm_time_to_first_token_seconds}[0]{unit}, 'seconds', 'it asks for OpenMetrics: there is a unit');
    is($known->{llm_requests}[0]{type},                    'counter', 'and a counter');
};

# --- every query

my $dashboard = JSON::PP->new->utf8->decode(text_of("$examples/grafana/dashboards/nginx-llm.json"));
my @shown     = grep { $_->{type} ne 'row' } @{ $dashboard->{panels} };
my %all       = map { $_ => '.*' } qw(zone key model);

# As Grafana fills it in.
sub filled {
    my ($expression, %chosen) = @_;

    $expression =~ s/\$__(?:rate_interval|range)/30s/g;
    $expression =~ s/\$(zone|key|model)\b/$chosen{$1}/g;
    return $expression;
}

# Which of these queries bring no data, by their names.
sub empty_ones {
    my (%queries) = @_;

    return grep { !@{ $prometheus->query($queries{$_}) } } sort keys %queries;
}

sub all_bring_data {
    my (%queries) = @_;

    my @empty;
    eval { load_until('data', sub { @empty = empty_ones(%queries); !@empty }) };
    is_deeply(\@empty, [], scalar(keys %queries) . ' queries bring data') or diag($@);
    return;
}

sub queries_of_panels {
    my (%chosen) = @_;

    return map { my $p = $_; map { ("$p->{title} $_->{refId}" => filled($_->{expr}, %chosen)) } @{ $p->{targets} } } @shown;
}

case 'rules' => sub {
    my @rules = map { @{ $_->{rules} } } @{ $prometheus->api('rules')->{groups} };
    cmp_ok(scalar @rules, '>', 12, 'there are some');
    # What is recorded, and what the alerts look at.
    my %queries = map { $_->{type} eq 'recording' ? ($_->{name} => $_->{name}) : () } @rules;
    for my $rule (grep { $_->{type} eq 'alerting' } @rules) {
        $queries{"$rule->{name}: $_"} = $_ for $rule->{query} =~ /\b((?:\w+:)?llm_\w+(?::\w+)?(?:\{[^}]*\})?)/g;
    }
    all_bring_data(%queries);
    my @ill = map { "$_->{name}: $_->{lastError}" } grep { $_->{health} eq 'err' } map { @{ $_->{rules} } } @{ $prometheus->api('rules')->{groups} };
    is_deeply(\@ill, [], 'no rule fails');
};

case 'the dashboard shows everything' => sub { all_bring_data(queries_of_panels(%all)) };

case 'and one key and model' => sub { all_bring_data(queries_of_panels(%all, key => 'web', model => 'm')) };

# What is missing in the lists of what can be chosen at the top of the dashboard.
sub cannot_be_chosen {
    my (%values) = @_;

    my @missing;
    for my $variable (grep { $values{ $_->{name} } } @{ $dashboard->{templating}{list} }) {
        my ($metric, $label) = $variable->{definition} =~ /\Alabel_values\((.*), (\w+)\)\z/ or die "not label_values: $variable->{name}\n";
        my %found = map { ($_->{$label} // '') => 1 } @{ $prometheus->api('series', 'match[]' => filled($metric, %all)) };
        push @missing, grep { !$found{$_} } @{ $values{ $variable->{name} } };
    }
    return @missing;
}

case 'what can be chosen' => sub {
    is(join(', ', cannot_be_chosen(key => [ 'batch', 'web' ], model => [ 'm', 'other-model' ])), '', 'keys and models');
};

case 'alerts fire' => sub {
    my @expected = qw(LlmGatewayDown LlmQuotaNearlySpent LlmRefusalsRising LlmUpstreamErrors);
    my $fired = load_until('alerts', sub {
        my %now = map { $_->{alertname} => $_ } @{ $prometheus->firing };
        !(grep { !$now{$_} } @expected) && \%now;
    });
    is($fired->{LlmGatewayDown}{instance}, '127.0.0.1:' . $t->port(4), 'of the gateway that is not there');
    is($fired->{LlmQuotaNearlySpent}{key}, 'batch',                    'of the key that has spent its quota');
    is($fired->{LlmUpstreamErrors}{model}, 'm',                        'of the model that fails');
    my ($annotation) = map { $_->{expr} } @{ $dashboard->{annotations}{list} };
    cmp_ok(scalar @{ $prometheus->query($annotation) }, '>=', 4, 'the dashboard marks them');
};

# A gateway with one zone does not say which it is.
case 'one zone of two' => sub {
    my $two = gateway_conf();
    $two =~ s/^( *llm_zone llm:.*)$/$1 llm_zone second:1m;/m;
    $two =~ s/(llm_api_keys \S+keys\.json);/$1 zone=llm;/;
    $t->write_conf($two);
    $t->reload;
    load_until('zones to choose from', sub { !cannot_be_chosen(zone => [ 'llm', 'second' ]) });
    all_bring_data(queries_of_panels(zone => 'llm', key => 'web', model => 'm'));
};

$t->{daemons}[2]->go('end');
is($_->response->{status}, 200, 'what ran all the time has ended') for @running;
$_->close for @running;
is(join("\n", grep { /component="(?:rule|scrape) manager"/ } split /\n/, $prometheus->log), '', 'Prometheus has nothing to complain about');
$prometheus->stop;
$t->finish;
