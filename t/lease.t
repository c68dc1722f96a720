# Why: a lease that is not given back blocks its key for ever, and one that is settled twice bills twice. However a request
# ends, and by whatever detours of nginx, it is taken once and settled once.

use strict;
use warnings;

use LLM::Metrics;
use LLM::Streams;
use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([ { name => 'alice', user => 'ann', secret => 'sk-alice' }, { name => 'other', secret => 'sk-other' } ]),
        'html/file.txt' => "a static file\n",
        'html/big.txt'  => 'b' x 64_000_000, # more than sockets take
        'html/page.html' => "before <!--#include virtual=\"/ssi-part\" --> after\n",
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_usage_inject off;
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    upstream dead_then_alive { server 127.0.0.1:%%PORT_9%%; server 127.0.0.1:%%PORT_1%% backup; }
    upstream two { server 127.0.0.1:%%PORT_1%% max_fails=0; server 127.0.0.1:%%PORT_2%% backup max_fails=0; }
    # Makes nginx run its cache helpers, which load the module too and serve nothing.
    proxy_cache_path %%DIR%%/temp/cache keys_zone=cache:1m;
    upstream kept { server 127.0.0.1:%%PORT_4%%; keepalive 8; }

    # nginx waits for clients that keep a connection which it has closed, but no lease is held meanwhile.
    lingering_timeout 600s;
    lingering_time 600s;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
        location /dead { proxy_pass http://127.0.0.1:%%PORT_9%%; }
        location /slow { proxy_read_timeout 1s; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /slow-buffered { proxy_buffering on; proxy_read_timeout 1s; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /buffered { proxy_buffering on; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /ignoring { proxy_ignore_client_abort on; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /kept { proxy_pass http://kept; }

        location /fallback-dead { error_page 502 504 = @second; proxy_pass http://127.0.0.1:%%PORT_9%%; }
        location /fallback-500 { proxy_intercept_errors on; error_page 500 = @second; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location @second { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /page-500 { proxy_intercept_errors on; error_page 500 /sorry; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /sorry { internal; return 503 "sorry\n"; }

        location /next-dead { proxy_pass http://dead_then_alive; }
        location /next-500 { proxy_next_upstream http_500 non_idempotent; proxy_pass http://two; }

        location /guarded { auth_request /guard; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /guard {
            internal;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:%%PORT_4%%;
        }
        location /mirrored { mirror /mirror; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /mirror { internal; proxy_pass http://127.0.0.1:%%PORT_4%%; }
        location /page.html { ssi on; }
        location /ssi-part { proxy_pass http://127.0.0.1:%%PORT_4%%; }
        location /appended { add_after_body /ssi-part; addition_types *; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /tailed { post_action /tail; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /tail { proxy_pass http://127.0.0.1:%%PORT_4%%; }
        location /accel { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /accelerated { internal; proxy_pass http://127.0.0.1:%%PORT_2%%; }

        location = /204 { return 204; }
        location /file.txt { }
        location /big.txt { }
        location /inner { try_files /nothing @second; }
    }
    server {
        listen 127.0.0.1:%%PORT_3%% http2;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOF
my $up     = $t->upstream(1);
my $second = $t->upstream(2);
my $daemon = $t->daemon(4);
$t->start;

my @key = $t->bearer('sk-alice');

# Starts a streaming request.
sub start {
    my ($uri) = @_;

    my $c = $t->client;
    $c->{id} = $t->new_id;
    $c->request(POST => $uri, headers => \@key, body => chat_request(stream => \1), id => $c->{id});
    return $c;
}

# The first half of a stream, up to continuous usage of 7/3, is with the client.
sub half_way {
    my ($c, $u) = @_;

    $u->head;
    my $text = chunk('a') . chunk('b', usage => usage(7, 3));
    $u->piece($text);
    is($c->wait_body(length $text), $text, 'the first half came');
    return;
}

sub finish_stream {
    my ($c, $u, $prompt, $completion) = @_;

    $u->head;
    $u->piece(plain_stream($prompt, $completion));
    $u->finish;
    my $r = $c->response;
    is($r->{status}, 200, 'status');
    is($r->{body}, plain_stream($prompt, $completion), 'the stream');
    return $r;
}

# One request (or `requests`), after which the key is charged exactly this, and nothing runs. The code returns the id of
# the request's log line.
sub ends {
    my ($name, $want, $code) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my $before = $t->totals('alice');
        my $user   = $t->totals('ann', 'users');
        my $id     = $code->();
        my $log    = $id ? $t->log_line($id) : undef;
        my $zone   = $t->wait_idle;
        my $after  = $t->totals('alice');
        my %more   = map { $_ => $after->{$_} - $before->{$_} } qw(requests prompt_tokens completion_tokens);
        my ($prompt, $completion) = split m{/}, $want->{tokens} // '0/0';
        if (($want->{usage_source} // '') eq 'estimated') {
            cmp_ok($prompt = $log->{prompt_tokens}, '>', 0, 'an estimate');
        }
        is_deeply(\%more, { requests => $want->{requests} // 1, prompt_tokens => $prompt, completion_tokens => $completion },
            'charged to the key, once');
        is($t->totals('ann', 'users')->{requests} - $user->{requests}, $more{requests}, 'and to the user');
        is_deeply($zone->{running}, [], 'nothing runs');
        for (qw(outcome status usage_source)) {
            next if !defined $want->{$_} || !$log;
            is($log->{$_}, $want->{$_}, $_);
        }
    };
    return;
}

ends 'done' => { tokens => '7/10', outcome => 'ok', status => 200, usage_source => 'upstream' }, sub {
    my $c = start('/');
    finish_stream($c, $up->take, 7, 10);
    $c->close;
    return $c->{id};
};

case 'while it runs' => sub {
    my $c = start('/');
    my $u = $up->take;
    my $zone = $t->zone;
    is($zone->{leases}{running}, 1, 'one lease');
    is($t->totals('alice')->{in_flight}, 1, 'in flight for the key');
    is($t->totals('ann', 'users')->{in_flight}, 1, 'and the user');
    half_way($c, $u);
    my ($running) = @{ $t->zone->{running} };
    is($running->{completion_tokens}, 3, 'its progress shows');
    $u->piece(done());
    $u->finish;
    $c->response;
    $c->close;
    $t->wait_idle;
};

ends 'the client goes before the upstream answers' => { outcome => 'client_abort', usage_source => 'estimated' }, sub {
    my $c = start('/');
    my $u = $up->take;
    $c->close;
    ok($u->wait_close, 'the upstream connection ends');
    return $c->{id};
};

ends 'the client goes after the reply\'s header' => { outcome => 'client_abort', usage_source => 'estimated' }, sub {
    my $c = start('/');
    my $u = $up->take;
    $u->head;
    is($c->wait_head, 200, 'the header came');
    $c->close;
    ok($u->wait_close, 'the upstream connection ends');
    return $c->{id};
};

for my $how (qw(close reset)) {
    for my $uri (qw(/ /buffered)) {
        my $want = { tokens => '7/3', outcome => 'client_abort', usage_source => 'partial' };
        ends "the client goes in the middle ($how), $uri" => $want, sub {
            my $c = start($uri);
            my $u = $up->take;
            if ($uri eq '/') {
                half_way($c, $u);
            } else {
                $u->head;
                $u->piece(chunk('b', usage => usage(7, 3)));
                wait_until('the usage to be seen', sub { ($t->zone->{running}[0]{completion_tokens} // 0) == 3 });
            }
            $c->$how;
            ok($u->wait_close, 'the upstream connection ends');
            return $c->{id};
        };
    }
}

# As client libraries do, which raise it.
ends 'the client goes when it sees an error in the stream' => { tokens => '7/3', outcome => 'upstream_error' }, sub {
    my $c = start('/');
    my $u = $up->take;
    half_way($c, $u);
    my $error = event('{"error":{"message":"x","type":"InternalServerError","code":500}}');
    $u->piece($error);
    $c->wait_body(length(chunk('a') . chunk('b', usage => usage(7, 3)) . $error));
    $c->close;
    ok($u->wait_close, 'the upstream connection ends');
    return $c->{id};
};

ends 'the client goes, its reply is read to the end all the same' => { tokens => '7/10' }, sub {
    my $c = start('/ignoring');
    my $u = $up->take;
    $c->close;
    $u->head;
    $u->piece(plain_stream(7, 10));
    $u->finish;
    return $c->{id};
};

ends 'the client does not read, then goes' => { tokens => '7/3', outcome => 'client_abort', usage_source => 'partial' }, sub {
    my $c = start('/');
    my $u = $up->take;
    half_way($c, $u);
    # As much as the sockets take; nobody reads it.
    $u->socket->blocking(0);
    my $stuffing = sprintf "%x\r\n%s\r\n", 65_536, ':' . 'x' x 65_534 . "\n";
    my $full = 0;
    until ($full >= 3) {
        my $n = syswrite $u->socket, $stuffing;
        if (defined $n) {
            $full = 0;
            $stuffing = substr($stuffing, $n) . substr $stuffing, 0, $n if $n < length $stuffing;
        } else {
            $full++;
            IO::Select->new($u->socket)->can_write(0.1);
        }
    }
    $c->reset;
    ok($u->wait_close, 'the upstream connection ends');
    return $c->{id};
};

ends 'the upstream is cut in the middle' => { tokens => '7/3', outcome => 'upstream_error', usage_source => 'partial' }, sub {
    my $c = start('/');
    my $u = $up->take;
    half_way($c, $u);
    $u->close;
    ok(!$c->response->{complete}, 'the client sees the cut');
    $c->close;
    return $c->{id};
};

ends 'the upstream is reset in the middle' => { tokens => '7/3', outcome => 'upstream_error', usage_source => 'partial' }, sub {
    my $c = start('/');
    my $u = $up->take;
    half_way($c, $u);
    $u->reset;
    ok(!$c->response->{complete}, 'the client sees the cut');
    $c->close;
    return $c->{id};
};

# nginx has ended its side of the connection, and the client keeps the other one open.
sub stays {
    my ($name, $want, $code) = @_;

    case "the client stays: $name" => sub {
        my $before = $t->totals('alice');
        my $c      = $t->client;
        $c->{id} = $t->new_id;
        my $send = sub {
            my ($uri) = @_;
            $c->request(POST => $uri, headers => [ @key, Connection => 'close' ], body => chat_request(stream => \1), id => $c->{id});
        };
        $code->($c, $send);
        $t->wait_idle;
        my $after = $t->totals('alice');
        is(join('/', map { $after->{$_} - $before->{$_} } qw(prompt_tokens completion_tokens)), $want->{tokens}, 'charged');
        is($after->{requests} - $before->{requests}, 1, 'once');
        $c->close;
        my $log = $t->log_line($c->{id});
        is($log->{$_}, $want->{$_}, $_) for grep { defined $want->{$_} } qw(outcome status usage_source);
        $t->wait_idle;
        is($t->totals('alice')->{requests}, $after->{requests}, 'and not again');
    };
    return;
}

for my $uri ('/', '/buffered') {
    stays "a whole stream, $uri" => { tokens => '7/10', outcome => 'ok', usage_source => 'upstream' }, sub {
        my ($c, $send) = @_;
        $send->($uri);
        finish_stream($c, $up->take, 7, 10);
    };

    stays "a cut stream, $uri" => { tokens => '7/3', outcome => 'upstream_error', usage_source => 'partial' }, sub {
        my ($c, $send) = @_;
        $send->($uri);
        my $u = $up->take;
        half_way($c, $u);
        $u->close;
        ok(!$c->response->{complete}, 'the client sees the cut');
    };

    my $slow = $uri eq '/' ? '/slow' : '/slow-buffered';
    stays "a stream that stalls, $slow" => { tokens => '7/3', outcome => 'upstream_error', usage_source => 'partial' }, sub {
        my ($c, $send) = @_;
        $send->($slow);
        half_way($c, $up->take);
        ok(!$c->response->{complete}, 'the client sees the cut');
    };
}

stays 'an error' => { tokens => '0/0', outcome => 'upstream_error', status => 502 }, sub {
    my ($c, $send) = @_;
    $send->('/dead');
    is($c->response->{status}, 502, 'status');
};

stays 'a reply without a body' => { tokens => '0/0', outcome => 'ok', status => 204 }, sub {
    my ($c, $send) = @_;
    $send->('/');
    my $u = $up->take;
    $u->write("HTTP/1.1 204 No Content\r\n\r\n");
    is($c->response->{status}, 204, 'status');
};

ends 'the upstream says nothing for too long' => { outcome => 'upstream_error', status => 504 }, sub {
    my $c = start('/slow');
    my $u = $up->take;
    is($c->response->{status}, 504, 'status');
    $c->close;
    return $c->{id};
};

ends 'the upstream stalls in the middle' => { tokens => '7/3', outcome => 'upstream_error', usage_source => 'partial' }, sub {
    my $c = start('/slow');
    my $u = $up->take;
    half_way($c, $u);
    ok(!$c->response->{complete}, 'the client sees the cut');
    $c->close;
    return $c->{id};
};

ends 'no upstream' => { outcome => 'upstream_error', status => 502 }, sub {
    my $r = $t->fetch(POST => '/dead', key => 'sk-alice', body => chat_request());
    is($r->{status}, 502, 'status');
    return $r->{id};
};

ends 'the upstream closes at once' => { outcome => 'upstream_error', status => 502 }, sub {
    my $c = start('/');
    $up->take->close;
    is($c->response->{status}, 502, 'status');
    $c->close;
    return $c->{id};
};


ends 'the upstream answers 500' => { outcome => 'upstream_error', status => 500 }, sub {
    my $c = start('/');
    my $u = $up->take;
    $u->reply('{"error":{"message":"x"},' . usage(7, 10) . '}', status => 500);
    is($c->response->{status}, 500, 'status');
    $c->close;
    return $c->{id};
};

ends 'no upstream, but a second in a named location' => { tokens => '5/6', outcome => 'ok', status => 200 }, sub {
    my $c = start('/fallback-dead');
    finish_stream($c, $second->take, 5, 6);
    $c->close;
    return $c->{id};
};

ends '500, but a second in a named location' => { tokens => '5/6', outcome => 'ok', status => 200, usage_source => 'upstream' }, sub {
    my $c = start('/fallback-500');
    $up->take->reply('{' . usage(70, 100) . '}', status => 500);
    finish_stream($c, $second->take, 5, 6);
    $c->close;
    return $c->{id};
};

ends '500, and the second is cut' => { tokens => '7/3', outcome => 'upstream_error', usage_source => 'partial' }, sub {
    my $c = start('/fallback-500');
    $up->take->reply('{' . usage(70, 100) . '}', status => 500);
    my $u = $second->take;
    half_way($c, $u);
    $u->close;
    $c->response;
    $c->close;
    return $c->{id};
};

ends '500, and an error page' => { outcome => 'upstream_error', usage_source => 'none' }, sub {
    my $c = start('/page-500');
    $up->take->reply('{' . usage(70, 100) . '}', status => 500);
    is($c->response->{body}, "sorry\n", 'the page');
    $c->close;
    return $c->{id};
};

ends 'the next upstream of a group, the first is down' => { tokens => '7/10', outcome => 'ok' }, sub {
    my $c = start('/next-dead');
    finish_stream($c, $up->take, 7, 10);
    $c->close;
    return $c->{id};
};

ends 'the next upstream of a group after a 500' => { tokens => '5/6', outcome => 'ok' }, sub {
    my $c = start('/next-500');
    $up->take->reply('{' . usage(70, 100) . '}', status => 500);
    finish_stream($c, $second->take, 5, 6);
    $c->close;
    return $c->{id};
};

ends 'auth_request' => { tokens => '7/10', outcome => 'ok' }, sub {
    my $c = start('/guarded');
    finish_stream($c, $up->take, 7, 10);
    $c->close;
    return $c->{id};
};

for my $uri (qw(/guarded /mirrored /)) {
    ends "a body that comes later, $uri" => { tokens => '7/10', outcome => 'ok' }, sub {
        my $seen = $daemon->count;
        my $body = chat_request(stream => \1);
        my $c    = $t->client;
        my $id   = $t->new_id;
        $c->request(POST => $uri, headers => [ @key, 'Content-Length' => length $body, Expect => '100-continue' ], id => $id);
        ok($c->wait_continue, 'it is asked for');
        $c->write(substr $body, 0, 10);
        $c->write(substr $body, 10);
        my $u = $up->take;
        is($u->{request}{body}, $body, 'and forwarded');
        finish_stream($c, $u, 7, 10);
        $c->close;
        wait_until('the other request', sub { $daemon->count == $seen + 1 }) if $uri ne '/';
        return $id;
    };
}

ends 'auth_request that says no' => { tokens => '0/0', status => 403 }, sub {
    my $c = $t->client;
    my $id = $t->new_id;
    $c->request(POST => '/guarded', headers => [ @key, 'X-Reply' => json({ status => 403 }) ], body => chat_request(), id => $id);
    is($c->response->{status}, 403, 'status');
    $c->close;
    ok(!$up->pending, 'the upstream is not contacted');
    return $id;
};

ends 'mirror' => { tokens => '7/10', outcome => 'ok' }, sub {
    my $seen = $daemon->count;
    my $c = start('/mirrored');
    finish_stream($c, $up->take, 7, 10);
    $c->close;
    wait_until('the mirrored request', sub { $daemon->count == $seen + 1 });
    is($daemon->last_request->{body}, chat_request(stream => \1), 'with the body');
    return $c->{id};
};

ends 'SSI includes a reply with usage' => { tokens => '0/0', outcome => 'ok' }, sub {
    my $r = $t->fetch(GET => '/page.html', key => 'sk-alice', reply => { body => '{' . usage(70, 100) . '}' });
    is($r->{status}, 200, 'status');
    like($r->{body}, qr/before \{"usage".*\} after/, 'the page');
    return $r->{id};
};

ends 'post_action follows' => { tokens => '7/10', outcome => 'ok' }, sub {
    my $seen = $daemon->count;
    my $c = start('/tailed');
    finish_stream($c, $up->take, 7, 10);
    wait_until('the request behind it', sub { $daemon->count == $seen + 1 });
    $c->close;
    return $c->{id};
};

ends 'a subrequest\'s reply is appended' => { tokens => '7/10', outcome => 'ok' }, sub {
    my $c = $t->client;
    my $id = $t->new_id;
    $c->request(POST => '/appended', headers => [ @key, 'X-Reply' => json({ body => '{' . usage(70, 100) . '}' }) ],
        body => chat_request(), id => $id);
    $up->take->reply(chat_reply(7, 10));
    like($c->response->{body}, qr/"usage".*"usage"/s, 'both');
    $c->close;
    return $id;
};

ends 'X-Accel-Redirect to another upstream' => { tokens => '5/6', outcome => 'ok', usage_source => 'upstream' }, sub {
    my $c = start('/accel');
    $up->take->reply('', headers => [ 'X-Accel-Redirect' => '/accelerated' ]);
    finish_stream($c, $second->take, 5, 6);
    $c->close;
    return $c->{id};
};

ends 'X-Accel-Redirect to a file' => { outcome => 'ok', usage_source => 'none' }, sub {
    my $c = start('/accel');
    $up->take->reply('', headers => [ 'X-Accel-Redirect' => '/file.txt' ]);
    is($c->response->{body}, "a static file\n", 'the file');
    $c->close;
    return $c->{id};
};

ends 'try_files to a named location' => { tokens => '5/6', outcome => 'ok' }, sub {
    my $c = start('/inner');
    finish_stream($c, $second->take, 5, 6);
    $c->close;
    return $c->{id};
};

ends 'a static file' => { outcome => 'ok', usage_source => 'none', status => 200 }, sub {
    my $r = $t->fetch(GET => '/file.txt', key => 'sk-alice');
    is($r->{body}, "a static file\n", 'the file');
    return $r->{id};
};

ends 'a static file, HEAD' => { outcome => 'ok' }, sub {
    return $t->fetch(HEAD => '/file.txt', key => 'sk-alice')->{id};
};

ends 'a static file that is not there' => { status => 404 }, sub {
    return $t->fetch(GET => '/file.txt/nothing', key => 'sk-alice')->{id};
};

ends 'a client that goes when it has the last word of a stream' => { tokens => '7/10', outcome => 'ok', usage_source => 'upstream' }, sub {
    my $c = start('/');
    my $u = $up->take;
    $u->head;
    $u->piece(plain_stream(7, 10));
    $c->wait_body(length plain_stream(7, 10));
    $c->close;
    $u->wait_close;
    return $c->{id};
};

ends 'a client that goes while a file is sent' => { outcome => 'client_abort' }, sub {
    my $c = $t->client;
    my $id = $t->new_id;
    setsockopt $c->socket, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096;
    $c->request(GET => '/big.txt', headers => \@key, id => $id);
    $c->wait_body(1000);
    $c->reset;
    return $id;
};

ends 'return 204, which is answered before any key is looked at' => { requests => 0 }, sub {
    my $r = $t->fetch(GET => '/204', key => 'sk-alice');
    is($r->{status}, 204, 'status');
    return $r->{id};
};

ends 'refused requests' => { requests => 0 }, sub {
    is($t->fetch(POST => '/', body => chat_request())->{status}, 401, 'no key');
    is($t->fetch(POST => '/', key => 'sk-alice', body => 'x')->{status}, 400, 'a bad body');
    my $c = $t->client;
    $c->request(POST => '/', headers => [ @key, 'Content-Length' => 100 ], body => '{');
    $c->close;
    return;
};

ends 'several requests on one connection, kept to the upstream too' => { requests => 20, tokens => '140/200' }, sub {
    my $c = $t->client;
    for (1 .. 10) {
        $c->request(POST => '/kept', headers => \@key, body => chat_request());
        is($c->response->{status}, 200, 'JSON');
        $c->request(POST => '/kept', headers => \@key, body => chat_request(stream => \1));
        is($c->response->{body}, plain_stream(7, 10), 'a stream');
    }
    $c->close;
    return;
};

ends 'requests that are sent ahead' => { requests => 10, tokens => '70/100' }, sub {
    my $c = $t->client;
    $c->write($c->format_request(POST => '/kept', headers => \@key, body => chat_request()) x 10);
    $c->expect_response('POST') for 1 .. 10;
    is($c->response->{status}, 200, "request $_") for 1 .. 10;
    $c->close;
    return;
};

ends 'requests that are sent ahead, and the client goes' => { requests => 1, tokens => '7/3' }, sub {
    my $c = $t->client;
    $c->write($c->format_request(POST => '/', headers => \@key, body => chat_request(stream => \1)) x 3);
    $c->expect_response('POST') for 1 .. 3;
    my $u = $up->take;
    half_way($c, $u);
    # Bytes that wait unread hide a FIN from nginx; a RST it sees.
    $c->reset;
    ok($u->wait_close, 'the upstream connection ends');
    return;
};

# --- HTTP/2

sub start_h2 {
    my ($h) = @_;

    my $id = $t->new_id;
    return ($h->request(POST => '/', headers => \@key, body => chat_request(stream => \1), id => $id), $id);
}

ends 'HTTP/2: done' => { tokens => '7/10', outcome => 'ok' }, sub {
    my $h = $t->client_h2(3);
    my ($s, $id) = start_h2($h);
    my $u = $up->take;
    $u->head;
    $u->piece(plain_stream(7, 10));
    $u->finish;
    is($h->response($s)->{body}, plain_stream(7, 10), 'the stream');
    $h->close;
    return $id;
};

for my $how ('cancelled before the reply', 'cancelled in the middle', 'connection closed', 'connection reset') {
    my $tokens = $how =~ /before/ ? '0/0' : '7/3';
    ends "HTTP/2: $how" => { tokens => $tokens, outcome => 'client_abort', usage_source => $how =~ /before/ ? 'estimated' : 'partial' }, sub {
        my $h = $t->client_h2(3);
        my ($s, $id) = start_h2($h);
        my $u = $up->take;
        if ($how !~ /before/) {
            my $text = chunk('b', usage => usage(7, 3));
            $u->head;
            $u->piece($text);
            is($h->wait_body($s, length $text), $text, 'the first half came');
        }
        $how =~ /cancelled/ ? $h->cancel($s) : $how =~ /closed/ ? $h->close : $h->reset;
        ok($u->wait_close, 'the upstream connection ends');
        $h->close;
        return $id;
    };
}

ends 'HTTP/2: the upstream is cut' => { tokens => '7/3', outcome => 'upstream_error', usage_source => 'partial' }, sub {
    my $h = $t->client_h2(3);
    my ($s, $id) = start_h2($h);
    my $u = $up->take;
    my $text = chunk('b', usage => usage(7, 3));
    $u->head;
    $u->piece($text);
    is($h->wait_body($s, length $text), $text, 'the first half came');
    $u->close;
    ok(!$h->response($s)->{complete}, 'the client sees the cut');
    $h->close;
    return $id;
};

ends 'HTTP/2: many streams, some cancelled' => { requests => 20, tokens => '140/130' }, sub {
    my $h = $t->client_h2(3);
    my @all = map { [ start_h2($h) ] } 1 .. 20;
    my @ups = map { $up->take } 1 .. 20;
    my $text = chunk('b', usage => usage(7, 3));
    for my $u (@ups) {
        $u->head;
        $u->piece($text);
    }
    $h->wait_body($_->[0], length $text) for @all;
    $h->cancel($_->[0]) for @all[ 0 .. 9 ];
    $h->sync;
    my @left = grep { IO::Select->new($_->socket)->can_read(0) ? 0 : 1 } @ups;
    is(scalar @left, 10, 'half of them go on');
    for my $u (@left) {
        $u->piece(final_usage(7, 10) . done());
        $u->finish;
    }
    ok($h->response($_->[0])->{complete}, 'one that was not cancelled') for @all[ 10 .. 19 ];
    $h->close;
    return;
};

case 'no room for another lease' => sub {
    my $small = LLM::Test->new(
        status => [ 0, '/status' ],
        files  => { 'keys.json' => key_file([ { name => 'alice', secret => 'sk-alice' } ]) },
        conf   => <<'EOF');
%%HTTP_BEGIN%%
    llm_usage_inject off;
    llm_zone llm:512k;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_status; }
        location = /metrics { llm_metrics; }
    }
}
EOF
    my $free_for_requests = sub {
        my $m = parse_metrics($small->fetch(GET => '/metrics')->{body});
        return sum_of($m, 'llm_zone_bytes', part => 'requests', state => 'free');
    };
    my $up = $small->upstream(1);
    $small->start;
    my $capacity = $small->zone->{leases}{capacity};
    my $streams = LLM::Streams->open($small, $up, count => $capacity, key_of => sub { 'sk-alice' });
    for my $n (1 .. 3) {
        my $r = $small->fetch(POST => '/', key => 'sk-alice', body => chat_request());
        is($r->{status}, 503, 'one too many is refused');
        is($r->{headers}{'retry-after'} // $r->{headers}{'x-should-retry'}, undef, 'for as long as the client thinks fit');
        like($r->{body}, qr/"type":\s*"server_error"/, 'as an error of the server');
        is($small->log_line($r->{id})->{refusal}, 'zone_full', 'why');
        ok(!$up->pending, 'the upstream is not contacted');
    }
    is($small->zone->{leases}{running}, $capacity, 'all are taken');
    cmp_ok($free_for_requests->(), '<', 512, 'the metrics show it');
    is($small->totals('alice')->{in_flight}, $capacity, 'and no more are counted');
    $streams->start_replies;
    is($streams->finish(sub { 1 }), 0, 'those that run come whole');
    $small->wait_idle;
    is($free_for_requests->(), 512 * $capacity, 'and leave the room that there was');
    my $again = LLM::Streams->open($small, $up, count => $capacity, key_of => sub { 'sk-alice' });
    $again->start_replies;
    is($again->finish(sub { 1 }), 0, 'then there is room for as many');
    $small->wait_idle;
    is($small->totals('alice')->{requests}, 2 * $capacity, 'what was refused is not counted');
    $small->check_and_stop;
};

$t->finish;
