# Why: one byte that is not of the format, or one series that comes twice, and a scrape brings nothing at all. The numbers are
# what somebody is woken by before a zone refuses requests: they must add up and go with what the zone does.

use strict;
use warnings;

use Encode qw(decode);

use LLM::Metrics;
use LLM::Streams;
use LLM::Test;

# What nginx takes for a name is more than a label may say as it is. As they are, and as the configuration spells them.
my $odd_zone  = qq(od"d \\ zo\nne \xc3\xa4);
my $odd_file  = qq(od"d\\\n\xe4\xff{a="b"} 1.json);
my $conf_zone = 'od\"d \\\\ zo\nne ' . "\xc3\xa4";
my $conf_file = 'od\"d\\\\\n' . "\xe4\xff" . '{a=\"b\"} 1.json';

sub keys_of { return key_file([ map { { name => "k$_", secret => "sk-$_" } } 1 .. $_[0] ]) }

my $conf = <<"EOF";
%%HTTP_BEGIN%%
    llm_usage_inject off;
    llm_zone llm:4m;
    llm_zone "$conf_zone:1m";
    llm_api_keys %%DIR%%/keys.json zone=llm;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /second { llm_api_keys %%DIR%%/second.json zone=llm; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /odd { llm_api_keys "%%DIR%%/$conf_file" "zone=$conf_zone"; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /json { llm_limit requests=100r/h quota=1000/d concurrency=7; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location = /status { llm_api_keys off; llm_status; }
        location = /metrics { llm_api_keys off; allow 127.0.0.1; deny all; llm_metrics; }
        location = /denied { llm_api_keys off; deny all; llm_metrics; }
        location = /guarded { llm_metrics; }
        location = /charset { llm_api_keys off; charset utf-8; llm_metrics; }
        location = /gzip { llm_api_keys off; gzip on; gzip_min_length 1; gzip_types text/plain; llm_metrics; }
    }
}
EOF

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => { 'keys.json' => keys_of(50), 'second.json' => keys_of(3), $odd_file => keys_of(7) },
    conf   => $conf,
);
my $up = $t->upstream(1);
$t->daemon(2);
$t->start;

my $type = 'text/plain; version=0.0.4; charset=utf-8';

sub raw_metrics { return $t->fetch(GET => '/metrics', @_) }

sub metrics { return parse_metrics(raw_metrics()->{body}) }

# The bytes of one part of the zone "llm", used and free.
sub part {
    my ($m, $part) = @_;

    my %by_state = map { $_->{labels}{state} => $_->{value} } series($m, 'llm_zone_bytes', zone => 'llm', part => $part);
    return @by_state{qw(used free)};
}

sub keys_by_file {
    my ($m, $zone) = @_;

    return { map { $_->{labels}{file} => $_->{value} } series($m, 'llm_keys', zone => $zone) };
}

case 'the format' => sub {
    my $r = raw_metrics();
    is($r->{status}, 200, 'status');
    is($r->{headers}{'content-type'}, $type, 'content type');
    is($r->{headers}{'content-length'}, length $r->{body}, 'length');
    my $m = parse_metrics($r->{body});
    my %type = (gauge => [qw(build_info key_file_loaded_timestamp_seconds key_file_ok keys limit_maximum limit_remaining requests_in_flight state_ok
            state_written_timestamp_seconds zone_bytes)],
        counter   => [qw(cost_total refusals_total requests_total tokens_total usage_source_total)],
        histogram => [ map { ("${_}_bucket", "${_}_count", "${_}_sum") }
                qw(gateway_seconds request_duration_seconds time_per_output_token_seconds time_to_first_token_seconds) ]);
    for my $type (sort keys %type) {
        is_deeply([ sort grep { $m->{$_}{type} eq $type } keys %$m ], [ map {"llm_$_"} @{ $type{$type} } ], "metrics that are a $type");
    }
    is_deeply($m->{llm_build_info}{samples}, [ { labels => { version => $t->status->{version} }, value => 1 } ], 'version');
    is_deeply([ map { join ',', sort keys %{ $_->{labels} } } series($m, 'llm_keys') ], [ ('file,zone') x 3 ], 'labels of keys');
    my @bytes = map { my $l = $_->{labels}; "$l->{part} $l->{state}" } series($m, 'llm_zone_bytes', zone => 'llm');
    is_deeply([ sort @bytes ], [ 'book used', 'callers used', 'clients free', 'clients used', 'counters free', 'counters used', 'fixed used', 'journal used', 'keys free', 'keys used',
        'learned used', 'models free', 'models used', 'owners free', 'owners used', 'requests free', 'requests used', 'reserved used',
        'series free', 'series used' ], 'parts of a zone');
};

case 'names that have to be escaped' => sub {
    my $m    = metrics();
    my $zone = decode('UTF-8', my $copy = $odd_zone);
    is(scalar(series($m, 'llm_zone_bytes', zone => $zone)), 20, 'a zone');
    # Bytes that are not UTF-8 stand there as text.
    my $file = qq($t->{dir}/od"d\\\n\\xe4\\xff{a="b"} 1.json);
    is_deeply(keys_by_file($m, $zone), { $file => 7 }, 'a file');
    like(raw_metrics()->{body}, qr/zone="od\\"d \\\\ zo\\nne \xc3\xa4"/, 'as they are written');
};

case 'all bytes' => sub {
    my $m = metrics();
    for my $zone (@{ $t->status->{zones} }) {
        my %of = (zone => $zone->{name});
        is(sum_of($m, 'llm_zone_bytes', %of), $zone->{size}, 'all parts together are the zone');
        is(sum_of($m, 'llm_zone_bytes', %of, state => 'free'), $zone->{bytes}{free}, 'as much is free as status says');
        is(sum_of($m, 'llm_zone_bytes', %of, state => 'used'), $zone->{bytes}{used}, 'and as much is used');
        is(sum_of($m, 'llm_zone_bytes', %of, part => 'requests'), 512 * $zone->{leases}{capacity}, 'requests');
    }
    is(scalar @{ $t->status->{zones} }, 2, 'of both zones');
};

case 'what runs' => sub {
    my $before = metrics();
    my $streams = LLM::Streams->open($t, $up, count => 3, key_of => sub { 'sk-' . ($_[0] + 1) });
    $streams->start_replies;
    my $during = metrics();
    my ($used, $free) = part($before, 'requests');
    is($used, 0, 'no request');
    is_deeply([ part($during, 'requests') ], [ 3 * 512, $free - 3 * 512 ], 'three of them');
    ($used, $free) = part($before, 'counters');
    is_deeply([ part($during, 'counters') ], [ $used + 3 * 320, $free - 3 * 320 ], 'and the counters of their keys');
    is(sum_of($during, 'llm_zone_bytes', zone => 'llm'), 4 << 20, 'all together are the zone');
    is($streams->finish(sub { 1 }), 0, 'they end');
    $t->wait_idle;
    my $after = metrics();
    is_deeply([ part($after, 'requests') ], [ part($before, 'requests') ], 'requests are over');
    is_deeply([ part($after, 'counters') ], [ part($during, 'counters') ], 'counters stay');
};

case 'keys and a reload' => sub {
    my $before = metrics();
    is_deeply(keys_by_file($before, 'llm'), { "$t->{dir}/keys.json" => 50, "$t->{dir}/second.json" => 3 }, 'keys by file');
    $t->write_file('keys.json', keys_of(200));
    is_deeply(keys_by_file(metrics(), 'llm'), keys_by_file($before, 'llm'), 'those in force, not those in the file');
    $t->reload;
    my $after = metrics();
    is_deeply(keys_by_file($after, 'llm'), { "$t->{dir}/keys.json" => 200, "$t->{dir}/second.json" => 3 }, 'more keys');
    my ($used, $free)             = part($before, 'keys');
    my ($used_after, $free_after) = part($after,  'keys');
    cmp_ok($used_after - $used, '>=', 150 * 96, 'take more bytes');
    is($used_after + $free_after, $used + $free, 'of the same');
    is_deeply([ part($after, 'reserved') ], [ $used + $free, undef ], 'as many are for the next keys');
    is_deeply([ part($after, 'fixed') ], [ part($before, 'fixed') ], 'the rest does not change');
    is(sum_of($after, 'llm_zone_bytes', zone => 'llm'), 4 << 20, 'all together are the zone');

    $t->write_conf($conf =~ s/location \/second .*//r);
    $t->reload;
    is_deeply(keys_by_file(metrics(), 'llm'), { "$t->{dir}/keys.json" => 200 }, 'a file that is used no more is not shown');
};

# As Prometheus asks.
my @open = (Accept => 'application/openmetrics-text; version=1.0.0,application/openmetrics-text; version=0.0.1;q=0.75,'
        . 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1');

case 'OpenMetrics' => sub {
    is($t->fetch(POST => '/json', key => 'sk-1', body => chat_request())->{status}, 200, 'a request');
    $t->wait_idle;
    my $r = raw_metrics(headers => \@open);
    is($r->{headers}{'content-type'}, 'application/openmetrics-text; version=1.0.0; charset=utf-8', 'its type');
    my $m    = parse_metrics($r->{body}, 'open');
    my $text = metrics();
    is(sum_of($m, 'llm_requests_total'), sum_of($text, 'llm_requests_total'), 'as many requests as in the text format');
    my ($mine) = series($m, 'llm_requests_total', zone => 'llm', key => 'k1', model => 'm', outcome => 'ok');
    cmp_ok($mine->{value}, '>=', 1, 'some of this key');
    my @created = series($m, 'llm_requests_created', key => 'k1', outcome => 'ok');
    cmp_ok(abs($created[0]{value} - time), '<', 600, 'which began a moment ago');
    like($r->{body}, qr/^# TYPE llm_requests counter\n(?!# UNIT)/m, 'a counter');
    like($r->{body}, qr/^# TYPE llm_request_duration_seconds histogram\n# UNIT llm_request_duration_seconds seconds\n/m, 'a histogram');
    like($r->{body}, qr/le="1\.0"/, 'bounds are floating-point numbers');
    like(raw_metrics()->{body}, qr/le="1"/, 'which the text format has as Go writes them');
    for ([ 'text/plain', 'text' ], [ '*/*', 'text' ], [ 'application/openmetrics-text', 'open' ], [ 'application/openmetrics-text;q=0.1,text/plain', 'text' ]) {
        my ($accept, $which) = @$_;
        my $type = raw_metrics(headers => [ Accept => $accept ])->{headers}{'content-type'};
        is($type =~ /openmetrics/ ? 'open' : 'text', $which, $accept);
    }
};

case 'what is left of limits' => sub {
    my %left = map { my $l = $_->{labels}; ("$l->{limit} $l->{period}" => $_->{value}) } series(metrics(), 'llm_limit_remaining', key => 'k1');
    my %most = map { my $l = $_->{labels}; ("$l->{limit} $l->{period}" => $_->{value}) } series(metrics(), 'llm_limit_maximum', key => 'k1');
    is_deeply(\%most, { 'requests 1h' => 100, 'quota 1d' => 1000, 'concurrency ' => 7 }, 'limits');
    is($left{'requests 1h'}, 99, 'one request is taken');
    cmp_ok($left{'quota 1d'}, '<', 1000, 'its tokens too');
    is($left{'concurrency '}, 7, 'none is in flight');
    is(scalar(series(metrics(), 'llm_limit_remaining', key => 'k40')), 0, 'a key that was never used has none');
};

case 'what promtool says' => sub {
    open my $tool, '|-', "promtool check metrics >$t->{dir}/promtool.out 2>&1" or die "promtool: $! (Debian's package prometheus)\n";
    print $tool raw_metrics()->{body};
    close $tool;
    is($? >> 8, 0, 'nothing') or diag(`cat $t->{dir}/promtool.out`);
};

case 'requests to it' => sub {
    my $r = $t->fetch(HEAD => '/metrics');
    is($r->{status}, 200, 'HEAD');
    is($r->{body}, '', 'has no body');
    is($r->{headers}{'content-type'}, $type, 'its content type');
    is($r->{headers}{'content-length'}, length raw_metrics()->{body}, 'its length');
    is($t->fetch($_ => '/metrics', body => '{}')->{status}, 405, $_) for qw(POST PUT DELETE);

    my $c = $t->client;
    for my $n (1, 2) {
        $c->request(GET => '/metrics', body => 'x' x 100_000);
        is($c->response->{status}, 200, "a body is thrown away: request $n of a connection");
    }
    $c->close;
};

case 'who may see it' => sub {
    is($t->fetch(GET => '/denied')->{status}, 403, 'deny');
    is($t->fetch(GET => '/guarded')->{status}, 401, 'under llm_api_keys it needs a key');
    my $r = $t->fetch(GET => '/guarded', key => 'sk-1');
    is($r->{status}, 200, 'and takes one');
    my ($used) = part(parse_metrics($r->{body}), 'requests');
    is($used, 512, 'it is a request like others then');
};

case 'other modules' => sub {
    my $r = $t->fetch(GET => '/charset');
    is($r->{headers}{'content-type'}, $type, 'a charset that is set does not come twice');
    $r = $t->fetch(GET => '/gzip', headers => [ 'Accept-Encoding' => 'gzip' ]);
    is($r->{headers}{'content-encoding'}, 'gzip', 'it can be compressed');
    is($r->{headers}{'content-type'}, $type, 'and has its type then');
};

case 'without a zone' => sub {
    my $other = LLM::Test->new(conf => <<'EOF');
%%HTTP_BEGIN%%
    server { listen 127.0.0.1:%%PORT_0%%; location / { llm_metrics; } }
}
EOF
    $other->start;
    my $m = parse_metrics($other->fetch(GET => '/')->{body});
    is(scalar @{ $m->{llm_build_info}{samples} }, 1, 'there is a version');
    is(scalar @{ $m->{$_}{samples} }, 0, "no $_") for qw(llm_zone_bytes llm_keys);
    $other->check_and_stop;
};

$t->finish;
