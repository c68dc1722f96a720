# Why: the numbers that operators are billed and woken by are read from one book. So whatever becomes of requests, each is in it
# once, and its tokens are those of the access log and of the upstream. t/soak.t shows the same of many requests at once, and
# t/many_models.t that no client can make it forget or fill it up.

use strict;
use warnings;

use JSON::PP;

use LLM::Metrics;
use LLM::Streams;
use LLM::Test;

my $t = LLM::Test->new(
    workers => 2,
    status  => [ 0, '/status' ],
    alerts  => [ qr/worker process \d+ exited on signal 9/ ],
    files   => { 'keys.json' => JSON::PP->new->encode({ keys => [
            (map { { name => "k$_", user => 'u' . int($_ / 2), key => "sk-$_" } } 0 .. 5),
            { name => 'off', key => 'sk-off', enabled => JSON::PP::false },
            { name => 'some', key => 'sk-some', models => ['named'] },
            { name => 'few', key => 'sk-few', limits => { requests => '1r/h', burst => 0 } },
    ] }) },
    conf => <<'EOC');
%%HTTP_BEGIN%%
    llm_usage_inject off;
    llm_usage_weights prompt=1 cached=0.5 completion=3;
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /v1/chat/completions { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /small { client_max_body_size 10; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /to { llm_errors nginx; error_page 429 = /second; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /instead { llm_errors nginx; error_page 401 =200 /free; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /free { llm_api_keys off; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /paged { client_max_body_size 10; error_page 413 /large; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location = /large { llm_error; }
        location /any { satisfy any; allow 127.0.0.1; deny all; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /second { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /twice { rewrite ^ /again last; }
        location /again { proxy_intercept_errors on; error_page 500 = /inner; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /inner { internal; proxy_pass http://127.0.0.1:%%PORT_3%%; }
        location = /metrics { llm_api_keys off; llm_metrics; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOC
my $up = $t->upstream(1);
$t->daemon(2);
$t->daemon(3);
$t->start;

my (%sent, %refused);
# `undecided`: gone before it was decided whether they are let in.
my ($sent, $undecided) = (0, 0);

sub metrics { return parse_metrics($t->fetch(GET => '/metrics')->{body}) }

sub requests { my (%of) = @_; return sum_of(metrics(), 'llm_requests_total', %of) }

# One request, which counts with this outcome.
sub ask {
    my ($outcome, $uri, %o) = @_;

    $sent++;
    $sent{$outcome}++;
    $refused{ $o{reason} }++ if $o{reason};
    return $t->fetch(POST => $uri, %o);
}

# All that was sent is in the book, by how it ended and why it was refused.
sub all_are_counted {
    my ($what) = @_;

    my $m = eval {
        wait_until('all requests to be counted', sub { my $m = metrics(); sum_of($m, 'llm_requests_total') == $sent && $m });
    } // metrics();
    is(sum_of($m, 'llm_requests_total'), $sent, "$what: as many requests as were sent");
    my (%by_outcome, %by_reason);
    $by_outcome{ $_->{labels}{outcome} } += $_->{value} for series($m, 'llm_requests_total');
    $by_reason{ $_->{labels}{reason} }   += $_->{value} for series($m, 'llm_refusals_total');
    delete @by_outcome{ grep { !$by_outcome{$_} } keys %by_outcome };
    my $let_in = $sent - ($sent{refused} // 0) - $undecided;
    is(sum_of($m, 'llm_usage_source_total'), $let_in, "$what: sources of as many as were let in");
    is_deeply(\%by_outcome, \%sent,    "$what: by outcome");
    is_deeply(\%by_reason,  \%refused, "$what: by reason");
    return $m;
}

case 'requests of all kinds' => sub {
    my @uris = qw(/v1/completions /v1/responses /v1/messages /v1/embeddings /api/chat /generate);
    for my $uri (@uris) {
        my $r = ask(ok => $uri, key => 'sk-1', body => chat_request(), reply => { body => chat_reply(7, 5) });
        is($r->{status}, 200, $uri);
    }
    is(ask(ok => '/twice', key => 'sk-1', body => chat_request())->{status}, 200, 'redirected');
    is(ask(ok => '/again', key => 'sk-1', body => chat_request(), reply => { status => 500 })->{status}, 500, 'twice, and both fail');
    $sent{ok}--;
    $sent{upstream_error}++;
    is(ask(upstream_error => '/x', key => 'sk-2', body => chat_request(), reply => { status => 503 })->{status}, 503, 'an error');
    my $m = all_are_counted('all kinds');
    my ($key) = grep { $_->{name} eq 'k1' } @{ $t->zone->{keys} };
    for my $type (qw(prompt completion)) {
        is(sum_of($m, 'llm_tokens_total', key => 'k1', type => $type), $key->{"${type}_tokens"}, "$type tokens of status");
    }
};

case 'refusals' => sub {
    my %o = (body => chat_request());
    ask(refused => '/x', %o, reason => 'no_key');
    ask(refused => '/x', %o, reason => 'invalid_key', key => 'sk-nobody');
    ask(refused => '/x', %o, reason => 'disabled', key => 'sk-off');
    ask(refused => '/x', %o, reason => 'bad_request', key => 'sk-1', body => '{"model":1}');
    # nginx answers these before any key is looked at.
    is(ask(refused => '/small', %o, key => 'sk-1', reason => 'bad_request')->{status}, 413, 'too large for nginx');
    is(ask(refused => '/paged', %o, key => 'sk-1', reason => 'bad_request')->{status}, 413, 'with a page of its own');
    # And this one after it.
    my $c = $t->client;
    $c->request(POST => '/small', headers => [ $t->bearer('sk-1'), 'Transfer-Encoding' => 'chunked' ]);
    $c->write("20\r\n" . 'x' x 32 . "\r\n0\r\n\r\n");
    is($c->response->{status}, 413, 'too large, as it turns out');
    $sent++;
    $sent{refused}++;
    $refused{bad_request}++;
    is(ask(refused => '/instead', %o, reason => 'no_key')->{status}, 200, 'error_page leads elsewhere');
    # Another module has let it in: the gateway has not.
    is($t->fetch(POST => '/any', %o)->{status}, 200, 'satisfy any');
    ask(ok      => '/x', %o, key => 'sk-few');
    ask(refused => '/x', %o, key => 'sk-few', reason => 'requests');
    # What a refusal is, the request that error_page lets in afterwards is not.
    my $m = all_are_counted('refusals');
    is(sum_of($m, 'llm_requests_total', key => '', outcome => 'refused'), 5, 'those without a key that is known');
    is(sum_of($m, 'llm_refusals_total', key => 'few', reason => 'requests'), 1, 'the reason is that of the key');
    is(sum_of($m, 'llm_requests_total', key => 'some', model => 'named'), 0, 'a model of the configuration has no requests yet');
};

case 'clients that leave' => sub {
    # Before the body is here.
    my $c = $t->client;
    $c->request(POST => '/x', headers => [ $t->bearer('sk-3'), 'Content-Length' => 100 ], body => undef, id => $t->new_id);
    $sent++;
    $sent{client_abort}++;
    $undecided++;
    $c->close;
    # In the middle of the reply.
    my $streams = LLM::Streams->open($t, $up, count => 3, key_of => sub { 'sk-3' });
    $streams->start_replies;
    $streams->progress(sub { 5 });
    is(sum_of(metrics(), 'llm_requests_in_flight', key => 'k3', user => 'u1'), 3, 'in flight');
    $_->{client}->close for $streams->all;
    $sent                += 3;
    $sent{client_abort}  += 3;
    eval { wait_until('their end', sub { !$t->zone->{leases}{running} }) };
    $_->{upstream}->close for $streams->all;
    my $m = all_are_counted('clients that leave');
    is(scalar(series($m, 'llm_requests_in_flight')), 0, 'none is in flight');
};

case 'reloads and killed workers' => sub {
    my $streams = LLM::Streams->open($t, $up, count => 10, key_of => sub { 'sk-4' });
    $streams->start_replies;
    $streams->progress(sub { 6 });
    $t->reload;
    is($streams->finish(sub { 9 }), 0, 'streams go on over a reload');
    $sent     += 10;
    $sent{ok} += 10;
    $t->wait_workers;
    all_are_counted('a reload');

    my $lost = LLM::Streams->open($t, $up, count => 20, key_of => sub { 'sk-5' });
    $lost->start_replies;
    $lost->progress(sub { 4 });
    my $workers = $t->wait_workers;
    kill KILL => @$workers;
    $lost->take_dead;
    $sent       += 20;
    $sent{lost} += 20;
    $t->wait_workers;
    $t->wait_idle;
    my $m = all_are_counted('killed workers');
    my ($key) = grep { $_->{name} eq 'k5' } @{ $t->zone->{keys} };
    is(sum_of($m, 'llm_tokens_total', key => 'k5', type => 'completion'), $key->{completion_tokens}, 'their tokens are those of status');
    cmp_ok($key->{completion_tokens}, '>', 0, 'which are some');
};

case 'times' => sub {
    my $m = metrics();
    my ($all) = series($m, 'llm_request_duration_seconds_count', model => 'm');
    cmp_ok($all->{value}, '>', 10, 'durations by model');
    cmp_ok((series($m, 'llm_time_to_first_token_seconds_count', model => 'm'))[0]{value}, '>=', 10, 'times to first token of streams');
    cmp_ok((series($m, 'llm_time_per_output_token_seconds_count', model => 'm'))[0]{value}, '>=', 1, 'times per token');
    cmp_ok((series($m, 'llm_gateway_seconds_count'))[0]{value}, '>=', 1, 'time of the gateway');
    cmp_ok((series($m, 'llm_gateway_seconds_sum'))[0]{value},   '<',  1, 'which is not that of others');
};

# The log has no line of requests whose worker was killed.
case 'the access log' => sub {
    my %logged;
    open my $log, '<', "$t->{dir}/access.log" or die "access.log: $!\n";
    while (my $line = <$log>) {
        my $l = JSON::PP->new->decode($line);
        next if ($l->{outcome} // '') eq '';
        $logged{outcome}{ $l->{outcome} }++;
        $logged{refusal}{ $l->{refusal} }++ if $l->{refusal};
        $logged{prompt}     += $l->{prompt_tokens}     || 0;
        $logged{completion} += $l->{completion_tokens} || 0;
        $logged{cost}       += $l->{cost}              || 0;
    }
    my $m    = metrics();
    my %want = %sent;
    delete $want{lost};
    is_deeply($logged{outcome}, \%want,    'the same outcomes');
    is_deeply($logged{refusal}, \%refused, 'the same reasons');
    for my $type (qw(prompt completion)) {
        is(sum_of($m, 'llm_tokens_total', type => $type) - sum_of($m, 'llm_tokens_total', type => $type, key => 'k5'), $logged{$type},
            "the same $type tokens");
    }
    is(sum_of($m, 'llm_cost_total') - sum_of($m, 'llm_cost_total', key => 'k5'), $logged{cost}, 'the same cost');
    is($logged{cost}, $logged{prompt} + 3 * $logged{completion}, 'which is weighted');
};

$t->finish;
