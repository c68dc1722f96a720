# Why: logs, maps and headers are built on the variables. What is not known must not look like a value, what is asked too early must
# not stick, and what is logged must be what was charged.

use strict;
use warnings;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([
            { name => 'alice-laptop', user => 'alice', secret => 'sk-alice', plan => 'pro' },
            { name => 'lone', secret => 'sk-lone' },
            { name => 'own', secret => 'sk-own', plan => 'pro', limits => { burst => 7 } },
        ], plans => { pro => { burst => 9 } }),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    log_format plain '$http_x_test|$llm_key|$llm_user|$llm_model|$llm_stream|$llm_prompt_tokens|$llm_completion_tokens|$llm_total_tokens|'
        '$llm_usage_source|$llm_outcome|$llm_refusal|$llm_time_to_first_token|$request_time|$mapped|$early|$llm_plan';
    map $llm_key $mapped { default nobody; alice-laptop laptop; lone lonely; }
    map $llm_outcome $not_ok { default 1; ok 0; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        access_log %%DIR%%/plain.log plain;
        access_log %%DIR%%/access.log llm;
        access_log %%DIR%%/failures.log plain if=$not_ok;
        set $early "";
        location / {
            add_header X-Key "$llm_key" always;
            add_header X-User "$llm_user" always;
            add_header X-Model "$llm_model" always;
            add_header X-Mapped "$mapped" always;
            proxy_set_header X-For "$llm_key/$llm_user/$llm_model/$llm_stream/$mapped";
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /by-model/ { proxy_pass http://127.0.0.1:%%PORT_1%%/served/$llm_model?user=$llm_user; }
        location /early {
            set $early "<$llm_key$llm_model$llm_outcome$llm_total_tokens>";
            if ($mapped = laptop) { return 500; }
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /open { llm_api_keys off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /fallback { error_page 502 = @fallback; proxy_pass http://127.0.0.1:%%PORT_9%%; }
        location @fallback { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
        location = /204 { return 204; }
    }
}
EOF
my $up = $t->upstream(1);
$t->start;

my @names = qw(key user model stream prompt_tokens completion_tokens total_tokens usage_source outcome refusal
    time_to_first_token request_time mapped early plan);

sub plain_line {
    my ($id, $file) = @_;

    my $line = wait_until("the log line of $id", sub {
        $t->read_file($file // 'plain.log') =~ /^\Q$id\E\|(.*)$/m ? $1 : undef;
    });
    my %value;
    @value{@names} = split /\|/, $line, -1;
    return \%value;
}

# A request and its reply; returns (response, plain log line, upstream's request).
sub exchange {
    my (%o) = @_;

    my $id = $t->new_id;
    my $c  = $t->client;
    my @key = defined $o{key} ? $t->bearer($o{key}) : ();
    $c->request($o{method} // 'POST', $o{uri} // '/', headers => \@key, body => exists $o{body} ? $o{body} : chat_request(), id => $id);
    my $u = $up->take;
    $o{reply}->($u, $c);
    my $r = $c->response;
    $c->close;
    return ($r, plain_line($id), $u->{request}, $id);
}

sub json_reply { my ($u) = @_; $u->reply(chat_reply(7, 10)); return }
sub sse_reply  { my ($u) = @_; $u->head; $u->piece(plain_stream(7, 10)); $u->finish; return }

sub same {
    my ($got, $want, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is_deeply({ map { $_ => $got->{$_} } keys %$want }, $want, $name);
    return;
}

case 'a JSON reply' => sub {
    my ($r, $log) = exchange(key => 'sk-alice', reply => \&json_reply);
    same($log, { key => 'alice-laptop', user => 'alice', plan => 'pro', model => 'm', stream => 0, prompt_tokens => 7, completion_tokens => 10,
            total_tokens => 17, usage_source => 'upstream', outcome => 'ok', refusal => '-', mapped => 'laptop' }, 'the log');
};

case 'a stream' => sub {
    my ($r, $log) = exchange(key => 'sk-lone', body => chat_request(stream => \1, model => 'qwen3-8b'), reply => \&sse_reply);
    same($log, { key => 'lone', user => '-', plan => '-', model => 'qwen3-8b', stream => 1, prompt_tokens => 7, completion_tokens => 10,
            total_tokens => 17, usage_source => 'upstream', outcome => 'ok', refusal => '-', mapped => 'lonely' }, 'the log');
    like($log->{time_to_first_token}, qr/\A\d+\.\d{3}\z/, 'seconds with milliseconds');
    cmp_ok($log->{time_to_first_token}, '<=', $log->{request_time}, 'not later than the end');
};

case 'a key with a plan and limits of its own' => sub {
    my ($r, $log) = exchange(key => 'sk-own', reply => \&json_reply);
    same($log, { key => 'own', plan => 'pro' }, 'the log');
};

case 'the first content' => sub {
    my ($first, $seen);
    my $role = event('{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}');
    my ($r, $log) = exchange(key => 'sk-alice', body => chat_request(stream => \1), reply => sub {
        my ($u, $c) = @_;
        my $began = Time::HiRes::time();
        $u->head;
        $u->piece(":\n\n$role");
        $c->wait_body(length $role);
        # What is measured is a time, so one has to pass.
        wait_until('time to pass', sub { Time::HiRes::time() > $began + 0.3 });
        $u->piece(chunk('a'));
        $c->wait_body(length($role) + 10);
        $u->piece(final_usage(7, 10) . done());
        $u->finish;
    });
    cmp_ok($log->{time_to_first_token}, '>=', 0.2, 'is not the role, nor a comment');
    ($r, $log) = exchange(key => 'sk-alice', body => chat_request(stream => \1), reply => sub {
        my ($u) = @_;
        $u->head;
        $u->piece($role . final_usage(7, 10) . done());
        $u->finish;
    });
    is($log->{time_to_first_token}, '-', 'is unknown where there is none');
    my %content = (
        reasoning         => '{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}',
        'other reasoning' => '{"choices":[{"index":0,"delta":{"reasoning":"hm"}}]}',
        text              => '{"choices":[{"index":0,"text":"hm"}]}',
        tools             => '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}',
    );
    for (sort keys %content) {
        ($r, $log) = exchange(key => 'sk-alice', body => chat_request(stream => \1), reply => sub {
            my ($u) = @_;
            $u->head;
            $u->piece(event($content{$_}) . final_usage(7, 10) . done());
            $u->finish;
        });
        like($log->{time_to_first_token}, qr/\A\d/, "may be $_");
    }
};

case 'what is unknown' => sub {
    my ($r, $log) = exchange(key => 'sk-alice', body => '{}', reply => sub { $_[0]->reply('{}') });
    same($log, { model => '-', stream => 0, prompt_tokens => '-', completion_tokens => '-', total_tokens => '-', usage_source => 'none',
            outcome => 'ok' }, 'no usage');
    ($r, $log) = exchange(uri => '/open', reply => \&json_reply);
    same($log, { map({ $_ => '-' } @names[ 0 .. 10 ]), mapped => 'nobody' }, 'a location without keys');
    $r = $t->fetch(GET => '/204', key => 'sk-alice');
    same(plain_line($r->{id}), { map({ $_ => '-' } @names[ 0 .. 10 ]), mapped => 'nobody' }, 'answered before keys are looked at');
};

case 'refused' => sub {
    my $r = $t->fetch(POST => '/', body => chat_request());
    same(plain_line($r->{id}), { key => '-', user => '-', model => '-', total_tokens => '-', usage_source => '-', outcome => 'refused',
            refusal => 'no_key', mapped => 'nobody' }, 'no key');
    is($r->{headers}{'x-key'}, undef, 'no header from an unknown value');
    is($r->{headers}{'x-mapped'}, 'nobody', 'a map has its default');
    $r = $t->fetch(POST => '/', key => 'sk-alice', body => '{"model":"a","model":"b"}');
    same(plain_line($r->{id}), { key => 'alice-laptop', user => 'alice', outcome => 'refused', refusal => 'bad_request' }, 'a bad body');
};

case 'headers and upstream' => sub {
    my ($r, $log, $request) = exchange(key => 'sk-alice', reply => \&json_reply);
    is($request->{headers}{'x-for'}, 'alice-laptop/alice/m/0/laptop', 'proxy_set_header');
    is($r->{headers}{'x-key'}, 'alice-laptop', 'add_header: key');
    is($r->{headers}{'x-user'}, 'alice', 'add_header: user');
    is($r->{headers}{'x-model'}, 'm', 'add_header: model');
    is($r->{headers}{'x-mapped'}, 'laptop', 'add_header: map');
    ($r, $log, $request) = exchange(uri => '/by-model/x', key => 'sk-alice', body => '{"model":"llama-3"}', reply => \&json_reply);
    is($request->{uri}, '/served/llama-3?user=alice', 'proxy_pass');
};

case 'asked too early' => sub {
    my ($r, $log) = exchange(uri => '/early', key => 'sk-alice', reply => \&json_reply);
    is($r->{status}, 200, 'the key is not known in the rewrite phase');
    same($log, { early => '<>', key => 'alice-laptop', model => 'm', total_tokens => 17, outcome => 'ok' }, 'later it is');
};

case 'after an internal redirect' => sub {
    my ($r, $log) = exchange(uri => '/fallback', key => 'sk-alice', reply => \&sse_reply);
    same($log, { key => 'alice-laptop', user => 'alice', model => 'm', total_tokens => 17, outcome => 'ok',
            usage_source => 'upstream' }, 'the log');
};

case 'a condition of the log' => sub {
    my ($r, $log, $request, $good) = exchange(key => 'sk-alice', reply => \&json_reply);
    plain_line($t->fetch(POST => '/', body => '{}')->{id}, 'failures.log');
    unlike($t->read_file('failures.log'), qr/^\Q$good\E\|/m, 'a good request is not in it');
};

case 'a value with odd characters' => sub {
    my ($r, $log, $request, $id) = exchange(key => 'sk-alice', body => '{"model":"a\"b|\n\u0001\u00e4"}', reply => \&json_reply);
    is($t->log_line($id)->{model}, "a\"b|\n\x01\xc3\xa4", 'in a JSON log');
    unlike($t->read_file('plain.log'), qr/^[^r]/m, 'no line break in a plain log');
};

case 'log and charge agree' => sub {
    my $before = $t->totals('lone');
    my $sum = 0;
    for my $reply (\&json_reply, \&sse_reply, sub { $_[0]->head; $_[0]->piece(chunk('a', usage => usage(5, 2))); $_[0]->close }) {
        my ($r, $log) = exchange(key => 'sk-lone', body => chat_request(stream => \1), reply => $reply);
        $sum += $log->{total_tokens};
    }
    $t->wait_idle;
    is($t->totals('lone')->{total_tokens} - $before->{total_tokens}, $sum, 'tokens');
    is($sum, 17 + 17 + 7, 'as the replies said');
};

case 'what is asked too early is warned of, once' => sub {
    $t->fetch(GET => '/204', key => 'sk-alice');
    my $c = $t->client;
    $c->write("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    $c->expect_response('GET');
    is($c->response->{status}, 400, 'a request that gets no location');
    $c->close;
    exchange(uri => '/early', key => 'sk-alice', reply => \&json_reply);
    my @warned = $t->read_file('error.log') =~ /\[warn\].*"\$(llm_\w+)" was asked for before the key is checked/g;
    # /early asks for these, and by $mapped for the first.
    is(join(' ', sort @warned), 'llm_key llm_model llm_outcome llm_total_tokens', 'each variable once, and no other');
};

$t->finish;
