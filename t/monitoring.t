# Why: a rule that never fires, or a panel without a word of what it shows, is noticed on the day it was made for. So the files of
# conf-examples/monitoring are read here by Prometheus's own tools, each alert is made to fire and not to fire, and the dashboard is
# looked at for what an operator needs. t/monitoring_live.t runs all of it against a gateway.

use strict;
use warnings;

use FindBin;
use JSON::PP;
use Test::More;

my $root     = "$FindBin::Bin/..";
my $examples = "$root/conf-examples/monitoring";

sub text_of {
    my ($path) = @_;

    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

sub runs {
    my ($what, @command) = @_;

    my $said = `@command 2>&1`;
    ok($? == 0, $what) or diag($said);
    return $said;
}

subtest 'what promtool says' => sub {
    my $said = runs('the configuration', 'promtool check config', "$examples/prometheus.yml");
    my $files = () = glob "$examples/rules/*.yml";
    like($said, qr/SUCCESS: $files rule files found/, 'names all rules');
    runs('rules', 'promtool check rules', glob "$examples/rules/*.yml");
    runs('each alert fires when it should', 'promtool test rules', "$FindBin::Bin/monitoring/alerts.yml");

    # An alert without a test that it fires and one that it does not is not tested.
    my $tests = text_of("$FindBin::Bin/monitoring/alerts.yml");
    for my $alert (text_of("$examples/rules/alerts.yml") =~ /^ *- alert: (\w+)$/mg) {
        like($tests, qr/alertname: $alert\n +eval_time: \d+m\n +exp_alerts:/, "$alert: fires");
        like($tests, qr/\{ alertname: $alert, eval_time: \d+m \}/,            'and does not fire');
        like(text_of("$examples/README.md"), qr/`$alert`/,                    'and is explained');
    }
};

# --- the dashboard

my $dashboard = JSON::PP->new->utf8->decode(text_of("$examples/grafana/dashboards/nginx-llm.json"));
my @panels    = @{ $dashboard->{panels} };
my @rows      = grep { $_->{type} eq 'row' } @panels;
my @shown     = grep { $_->{type} ne 'row' } @panels;

subtest 'what the dashboard shows' => sub {
    is_deeply([ map { $_->{title} } @rows ], [ 'Now', 'Who uses it', 'Speed by model', 'Refusals', 'Gateway' ], 'rows');
    cmp_ok(scalar @shown, '>', 20, 'panels');
    my %unit = map { $_ => 1 } qw(reqps short s percentunit si:tok/s);
    for my $panel (@shown) {
        my $name = "\"$panel->{title}\"";
        like($panel->{description} // '', qr/\A.{40,}\.\z/s, "$name says what it shows");
        ok($unit{ $panel->{fieldConfig}{defaults}{unit} }, "$name: the unit");
        cmp_ok(scalar @{ $panel->{targets} }, '>', 0, "$name: queries");
        my %seen;
        for my $target (@{ $panel->{targets} }) {
            ok(!$seen{ $target->{refId} }++, "$name $target->{refId} comes once");
            # Of many lines, each has to say what it is of.
            my $is_table = ($target->{format} // '') eq 'table';
            ok($is_table || length $target->{legendFormat}, "$name $target->{refId}: has a legend");
            my ($by) = $target->{expr} =~ /\bby \(((?:(?!le\b)\w+(?:, )?)+)/ or next;
            next if $is_table;
            like($target->{legendFormat}, qr/\{\{$_\}\}/, "$name $target->{refId}: the legend has $_") for grep { $_ ne 'le' } split /, /, $by;
        }
        is($_->{datasource}{uid}, '${datasource}', "$name takes the source that is chosen") for $panel, @{ $panel->{targets} };
    }
};

subtest 'panels have their places' => sub {
    my (%ids, %taken);
    for my $panel (@panels) {
        ok(!$ids{ $panel->{id} }++, "id $panel->{id} comes once");
        my ($x, $y, $w, $h) = @{ $panel->{gridPos} }{qw(x y w h)};
        cmp_ok($x + $w, '<=', 24, 'on the page');
        my @overlaps = grep { $taken{$_}++ } map { my $row = $_; map { "$row,$_" } $x .. $x + $w - 1 } $y .. $y + $h - 1;
        is("@overlaps", '', "\"$panel->{title}\" lies on no other");
    }
};

subtest 'what can be chosen' => sub {
    my %variables = map { $_->{name} => $_ } @{ $dashboard->{templating}{list} };
    is_deeply([ sort keys %variables ], [qw(datasource key model zone)], 'variables');
    for my $variable (map { $variables{$_} } qw(zone key model)) {
        ok($variable->{includeAll} && $variable->{multi}, "$variable->{name}: all, or some");
        # Series without a key are "all" too.
        is($variable->{allValue}, '.*', "$variable->{name}: all are all");
    }
    # Each query that can be narrowed is: a panel that goes on showing all keys would mislead.
    my %has = (
        llm_requests_total => [qw(zone key model)], llm_tokens_total => [qw(zone key model)], llm_cost_total => [qw(zone key model)],
        llm_requests_in_flight => [qw(zone key model)], llm_refusals_total => [qw(zone key)], llm_limit_remaining => [qw(zone key)],
        llm_limit_maximum => [qw(zone key)], llm_zone_bytes => ['zone'], llm_keys => ['zone'], llm_usage_source_total => ['zone'],
        llm_gateway_seconds_bucket => ['zone'], map { ("llm_${_}_seconds_bucket" => [qw(zone model)]) }
            qw(request_duration time_to_first_token time_per_output_token),
    );
    my %used;
    for my $target (map { @{ $_->{targets} } } @shown) {
        while ($target->{expr} =~ /\b(llm_\w+)(?:\{([^}]*)\})?/g) {
            my ($metric, $labels) = ($1, $2 // '');
            next if $metric eq 'llm_build_info';
            $used{$metric}++;
            ok($has{$metric}, "$metric is known") or next;
            like($labels, qr/\b$_=~"\$$_"/, "$metric: by $_") for @{ $has{$metric} };
        }
    }
    is_deeply([ sort keys %used ], [ sort keys %has ], 'all metrics are on it');
};

# --- the other files

subtest 'the log has all that is known' => sub {
    my $log  = text_of("$examples/llm_log.conf");
    my @all  = text_of("$root/src/ngx/variables.cpp") =~ /ngx_string\("(llm_\w+)"\)/g;
    # A log that names it has every prompt hashed.
    my @none = grep { $_ ne 'llm_prompt_hash' && $log !~ /\$$_\b/ } @all;
    cmp_ok(scalar @all, '>', 15, 'variables were found');
    is("@none", '', 'all variables are in it');
    unlike($log, qr/\$(?:request_body|request_uri|request\b|args|query_string|http_|cookie_|sent_http_)/, 'nothing that may have a prompt or a key');

    # Debian's logrotate takes /var/log/nginx/*.log: another name grows until the disk is full.
    for my $file (map { "$root/$_" } qw(README.md docs/variables.md conf-examples/nginx.conf conf-examples/monitoring/llm_log.conf)) {
        my @paths = text_of($file) =~ /^\s*access_log (\/\S+)/mg;
        cmp_ok(scalar @paths, '>', 0, substr($file, 1 + length $root) . " has a log");
        is_deeply([ grep { !m{\A/var/log/nginx/[\w-]+\.log\z} } @paths ], [], 'which is rotated');
    }
};

# The folder of a compose.yml, how many files it mounts at least, the gateway's configuration and the ports that are open to others.
for (['monitoring', 8, 'gateway.conf', ''], ['container', 4, 'nginx.conf', '8080:8080']) {
my ($folder, $files, $conf, $for_all) = @$_;
subtest "what is mounted is there: $folder" => sub {
    my $examples = "$root/conf-examples/$folder";
    my $compose = text_of("$examples/compose.yml");
    my @mounted = $compose =~ m{^      - (\.\.?/[^:]+):}mg;
    cmp_ok(scalar @mounted, '>=', $files, 'files were found');
    # These two the operator makes.
    ok(-e "$examples/$_", $_) for grep { !m{/build/|keys\.json} } @mounted;
    like($compose, qr/image: \S+:v?\d+\.\d+\.\d+$/m, 'versions are pinned');
    unlike($compose, qr/:latest|image: [^:\s]+$/m, 'all of them');
    my @open = grep { !/^127\.0\.0\.1:/ } $compose =~ /^    ports:\n      - (.*)$/mg;
    is("@open", $for_all, 'ports are open to this machine only');
    my ($uid) = text_of("$root/conf-examples/monitoring/grafana/provisioning/datasources/prometheus.yml") =~ m{url: (http://prometheus:9090)$}m;
    ok($uid, 'Grafana finds Prometheus');
    my ($path) = text_of("$root/conf-examples/monitoring/grafana/provisioning/dashboards/nginx-llm.yml") =~ m{path: (\S+)};
    like($compose, qr{/grafana/dashboards:\Q$path\E:ro}, 'and the dashboard');
    my ($target) = text_of("$root/conf-examples/monitoring/prometheus.yml") =~ /targets: \["gateway:(\d+)"\]/;
    like(text_of("$examples/$conf"), qr/listen $target;/, 'Prometheus finds the gateway');
};
}

done_testing();
