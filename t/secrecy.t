# Why: an API key is a password. It must not reach the model server, nor any log, however the configuration looks at
# headers before the module takes the key out of them.

use strict;
use warnings;
no warnings 'portable'; # addresses have 64 bits

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([ { name => 'alice', secret => 'sk-secret-alice' }, { name => 'bob', secret => 'sk-secret-bob' },
                { name => 'late', secret => 'sk-secret-late', expires => '2020-01-01T00:00:00Z' } ]),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    log_format headers '$http_x_test|$remote_user|$http_authorization|$http_x_api_key|$http_api_key$http_x_goog_api_key|$request';
    log_format mapped '$http_x_test|$seen_by_map|$http_authorization|$http_x_api_key|$http_api_key$http_x_goog_api_key|$remote_user';
    map $http_authorization$http_x_api_key$http_api_key$http_x_goog_api_key $seen_by_map { default yes; "" no; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        access_log %%DIR%%/headers.log headers;
        access_log %%DIR%%/access.log llm;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
        location /open { llm_api_keys off; proxy_pass http://127.0.0.1:%%PORT_1%%; }

        location /if {
            set $a 0;
            if ($http_authorization) { set $a 1; }
            if ($http_x_api_key) { set $a 2; }
            if ($http_api_key) { set $a 3; }
            if ($http_x_goog_api_key) { set $a 5; }
            if ($remote_user) { set $a 4; }
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /map {
            set $m $seen_by_map;
            access_log %%DIR%%/headers.log mapped;
            access_log %%DIR%%/access.log llm;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /header {
            proxy_set_header X-Copy "$http_authorization$http_x_api_key$http_api_key$http_x_goog_api_key";
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /any { satisfy any; allow all; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /down { proxy_pass http://127.0.0.1:%%PORT_4%%; }
        location /mirrored { mirror /mirror; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /mirror { internal; proxy_pass http://127.0.0.1:%%PORT_1%%/mirror; }
        location /jump { try_files /nothing /landing; }
        location /fallback { error_page 502 = @other; proxy_pass http://127.0.0.1:%%PORT_4%%; }
        location @other { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /request-log {
            # nginx itself refuses this one, before the key is looked at.
            client_max_body_size 10;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
    }
    # Keys are in force in one of its locations only.
    server {
        listen 127.0.0.1:%%PORT_5%%;
        llm_api_keys off;
        access_log %%DIR%%/headers.log headers;
        access_log %%DIR%%/server.log headers;
        set $copy "$http_authorization$http_x_api_key";
        location /keyed { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /free { access_log %%DIR%%/free.log headers; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%% http2;
        access_log %%DIR%%/headers.log headers;
        access_log %%DIR%%/access.log llm;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOF
my $upstream = $t->daemon(1);
$t->start;

my @forms = (
    [ 'Authorization: Bearer' => [ Authorization => 'Bearer sk-secret-alice' ] ],
    [ 'authorization: bearer' => [ authorization => 'bearer sk-secret-alice' ] ],
    [ 'Authorization'         => [ Authorization => 'sk-secret-alice' ] ],
    [ 'x-api-key'             => [ 'x-api-key' => 'sk-secret-alice' ] ],
    [ 'X-API-KEY'             => [ 'X-API-KEY' => 'sk-secret-alice' ] ],
    [ 'api-key'               => [ 'api-key' => 'sk-secret-alice' ] ],
    [ 'the same key twice'    => [ Authorization => 'Bearer sk-secret-alice', 'x-api-key' => 'sk-secret-alice' ] ],
    [ 'three times'           => [ map { $_ => 'sk-secret-alice' } qw(api-key x-api-key Authorization) ] ],
    [ 'behind many headers'   => [ (map { ("X-H$_" => $_) } 1 .. 70), Authorization => 'Bearer sk-secret-alice' ] ],
    [ 'one for Google beside it' => [ 'api-key' => 'sk-secret-alice', 'X-Goog-Api-Key' => 'sk-secret-alice', 'x-goog-api-key' => 'sk-secret-google' ] ],
    [ 'two x-api-key headers' => [ 'x-api-key' => 'sk-secret-alice', 'x-api-key' => 'sk-secret-alice' ] ],
);

sub seen_upstream {
    my ($before) = @_;

    my @requests = $upstream->requests;
    return map { $_->{head} } @requests[ $before .. $#requests ];
}

for my $uri (qw(/ /if /map /header /jump /fallback /mirrored)) {
    for (@forms) {
        my ($form, $headers) = @$_;
        case "$uri, $form" => sub {
            my $before = $upstream->count;
            my $r = $t->fetch(POST => "$uri", headers => [ @$headers, 'X-Kept' => 'kept' ], body => chat_request());
            is($r->{status}, 200, 'let in');
            wait_until('the mirrored request', sub { $upstream->count == $before + 2 }) if $uri eq '/mirrored';
            my @heads = seen_upstream($before);
            is(scalar @heads, $uri eq '/mirrored' ? 2 : 1, 'requests at the upstream');
            unlike("@heads", qr/sk-secret/, 'without the key');
            unlike("@heads", qr/^(?:authorization|x-api-key|api-key|x-goog-api-key):/mi, 'and without its header');
            like($_, qr/^X-Kept: kept$/m, 'other headers are there') for @heads;
            is($t->log_line($r->{id})->{key}, 'alice', 'it was this key');
        };
    }
}

case 'HTTP/2' => sub {
    my $h = $t->client_h2(2);
    for (grep { $_->[0] !~ /-KEY|Google/ } @forms) {
        my ($form, $headers) = @$_;
        my $before = $upstream->count;
        my $s = $h->request(POST => '/h2', headers => $headers, body => chat_request(), id => $t->new_id);
        is($h->response($s)->{status}, 200, "$form: let in");
        unlike(join(' ', seen_upstream($before)), qr/sk-secret|^(?:authorization|x-api-key|api-key|x-goog-api-key):/mi, "$form: without the key");
    }
    $h->close;
};

my @wrong = (
    'Bearer Bearer sk-secret-alice', 'Token sk-secret-alice', 'Bearer: sk-secret-alice', 'Bearer sk-secret-alice x', 'Bearer x sk-secret-alice',
    "Bearer\tBearer sk-secret-alice", '"Bearer sk-secret-alice"', 'Bearer "sk-secret-alice"', 'Bearer=sk-secret-alice', 'ApiKey sk-secret-alice',
    'key = sk-secret-alice', 'Basically sk-secret-alice', 'Basic: sk-secret-alice', 'Authorization: Bearer sk-secret-alice', 'Bearer sk-secret-alice,',
    'Bearer sk-secret-alice, Bearer sk-secret-bob',
);
for my $value (@wrong) {
    case "Authorization: $value" => sub {
        for (qw(/ /if /map /header /fallback)) {
            my $r = $t->fetch(POST => $_, headers => [ Authorization => $value ], body => chat_request());
            is($r->{status}, 401, "$_: refused");
            unlike($r->{head} . $r->{body}, qr/sk-secret/, 'the answer does not repeat it');
            $t->log_line($r->{id});
        }
        for ([ '/any', [] ], [ '/', [ 'x-api-key' => 'sk-secret-alice' ] ], [ '/header', [ 'api-key' => 'sk-secret-alice', 'x-api-key' => 'Bearer sk-secret-alice' ] ]) {
            my ($uri, $more) = @$_;
            # A word that is taken for a key is refused before the next header is looked at.
            next if @$more && $value !~ /[ \t]/;
            my $before = $upstream->count;
            my $r = $t->fetch(POST => $uri, headers => [ Authorization => $value, @$more ], body => chat_request());
            is($r->{status}, $value =~ /\ABearer\s+\S+\z/ && $uri ne '/any' ? 401 : 200, "$uri: let in for another reason");
            unlike(join(' ', seen_upstream($before)), qr/sk-secret|^authorization:/mi, 'the upstream does not see it');
            $t->log_line($r->{id});
        }
    };
}

case 'two Authorization headers' => sub {
    my @two = map { (Authorization => $_) } 'Bearer sk-secret-alice', 'Bearer sk-secret-bob';
    for ([ @two ], [ @two[ 0, 1 ], Authorization => 'Basic dTpw' ], [ Authorization => 'Basic dTpw', @two ], [ Authorization => 'Token sk-secret-x', @two ]) {
        my $before = $upstream->count;
        my $r = $t->fetch(POST => '/', headers => $_, body => chat_request());
        # Newer versions of nginx refuse the second one.
        like($r->{status}, qr/\A(?:200|400)\z/, 'status');
        unlike(join(' ', seen_upstream($before)), qr/sk-secret/, 'the upstream sees neither');
        $t->log_line($r->{id}) if $r->{status} == 200;
    }
};

case 'Basic, Digest and Negotiate stay' => sub {
    for ('Basic dTpw', 'basic dTpw', 'Digest username="u", realm="r"', 'Negotiate YII=', 'Basic') {
        my $before = $upstream->count;
        my $r = $t->fetch(POST => '/', headers => [ Authorization => $_, 'x-api-key' => 'sk-secret-alice' ], body => chat_request());
        is($r->{status}, 200, $_);
        my ($head) = seen_upstream($before);
        like($head, qr/^Authorization: \Q$_\E$/m, 'stays');
    }
};

case 'keys in one location of a server' => sub {
    my @auth = ("Authorization: Bearer sk-secret-alice", "x-api-key: sk-secret-alice", "X-Test: broken");
    for ("GET /keyed HTTP/1.1\r\nHost: a b", "GET /keyed HTTP/1.1\r\nHost: x\r\nContent-Length: y", "POST /keyed HTTP/1.1\r\nHost: x\r\nHost: y",
        "GET /keyed HTTP/1.1", "GET /keyed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: z", "GET /keyed HTTP/1.1\r\nHost: x\r\nX-Long: " . 'x' x 40_000) {
        for my $lines ([ (split /\r\n/)[0], @auth, (split /\r\n/)[ 1 .. (() = /\r\n/g) ] ], [ (split /\r\n/), @auth ]) {
            my $c = $t->client(5);
            $c->write(join("\r\n", @$lines) . "\r\n\r\n");
            $c->expect_response('GET');
            like($c->response->{status} // 0, qr/\A(?:400|494|501)\z/, substr $lines->[-1], 0, 40);
            $c->close;
        }
    }
    for my $uri ('/keyed', '/none') {
        my $r = $t->fetch(GET => $uri, headers => [ Authorization => 'Bearer sk-secret-alice' ], port => 5);
        is($r->{status}, $uri eq '/keyed' ? 200 : 404, $uri);
    }
    my $r = $t->fetch(GET => '/free', headers => [ Authorization => 'Bearer for-upstream' ], port => 5);
    is($r->{status}, 200, 'a location without keys');
    wait_until('its log line', sub { $t->read_file('free.log') =~ /\|/ });
    unlike($t->read_file('server.log'), qr/sk-secret/, 'no key in the log of the server');
    like($t->read_file('server.log'), qr/^broken\|-\|-\|-\|/m, 'which has the broken requests');
};

case 'what is not a key of ours is left alone' => sub {
    my $before = $upstream->count;
    my $r = $t->fetch(POST => '/', headers => [ Authorization => 'Basic dTpw', 'x-api-key' => 'sk-secret-alice' ], body => '{}');
    is($r->{status}, 200, 'let in');
    my ($head) = seen_upstream($before);
    like($head, qr/^Authorization: Basic dTpw$/m, 'Basic stays');
    unlike($head, qr/sk-secret/, 'the key does not');

    $before = $upstream->count;
    $t->fetch(POST => '/open', headers => [ Authorization => 'Bearer for-upstream', 'api-key' => 'too' ], body => '{}');
    ($head) = seen_upstream($before);
    like($head, qr/^Authorization: Bearer for-upstream$/m, 'with llm_api_keys off Authorization passes');
    like($head, qr/^api-key: too$/m, 'and so do others');
};

case 'refused and failed requests' => sub {
    my @tries = (
        [ 401, '/',            'Bearer sk-secret-nobody' ],
        [ 401, '/',            'Bearer sk-secret-late' ],
        [ 401, '/if',          'Bearer sk-secret-nobody' ],
        [ 502, '/down',        'Bearer sk-secret-bob' ],
        [ 400, '/',            'Bearer sk-secret-bob', 'this is not JSON' ],
        [ 413, '/request-log', 'Bearer sk-secret-bob' ],
    );
    for (@tries) {
        my ($status, $uri, $value, $body) = @$_;
        my $r = $t->fetch(POST => $uri, headers => [ Authorization => $value ], body => $body // chat_request());
        is($r->{status}, $status, "$uri $value");
        unlike($r->{head} . $r->{body}, qr/sk-secret/, 'the answer does not repeat the key');
        $t->log_line($r->{id});
    }
};

case 'logs' => sub {
    like($t->read_file('headers.log'), qr/^r\d+\|no\|/m, 'a map sees no key either');
    like($t->read_file('headers.log'), qr/^r\d+\|-\|-\|-\|--\|POST \/request-log/m, 'nor does the log of a request that nginx refuses itself');
    unlike($t->read_file('headers.log'), qr/sk-secret/, 'no key in an access log that prints the headers');
    unlike($t->read_file('access.log'),  qr/sk-secret/, 'nor in the other');
    unlike($t->read_file('error.log'),   qr/sk-secret/, 'nor in the error log');
    ok(length $t->read_file('error.log') > 100, 'which is not empty');
};

case 'the status page' => sub {
    my $r = $t->fetch(GET => '/status');
    unlike($r->{body}, qr/sk-secret|[0-9a-f]{64}/, 'no key and no digest');
};

# What a worker's memory has of a text.
sub times_in_memory {
    my ($pid, $text) = @_;

    open my $maps, '<', "/proc/$pid/maps" or die "maps: $!";
    open my $memory, '<:raw', "/proc/$pid/mem" or die "mem: $!";
    my $times = 0;
    while (<$maps>) {
        m/\A([0-9a-f]+)-([0-9a-f]+) rw/ or next;
        my ($begin, $end) = (hex $1, hex $2);
        sysseek $memory, $begin, 0 or next;
        my $part = '';
        1 while $end > $begin + length $part && sysread $memory, $part, $end - $begin - length $part, length $part;
        $times++ while $part =~ m/\Q$text\E/g;
    }
    return $times;
}

# A sanitized process maps terabytes for itself.
case 'the memory of a worker, once its requests are over' => sub {
    my $secret = 'sk-secret-memory-' . '0123456789' x 3;
    my $own = LLM::Test->gateway(
        keys   => [ { name => 'alice', secret => $secret } ],
        server => 'location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }',
    );
    $own->daemon(1);
    $own->start;
    for my $headers ([ Authorization => "Bearer $secret" ], [ 'x-api-key' => $secret ], [ 'api-key' => $secret, Authorization => $secret ]) {
        is($own->fetch(POST => '/v1/chat/completions', headers => $headers, body => chat_request(user => 'somebody-to-be-found'))->{status}, 200, 'let in');
    }
    my ($worker) = @{ $own->worker_pids->{active} };
    isnt(times_in_memory($worker, 'somebody-to-be-found'), 0, 'there is much in it');
    is(times_in_memory($worker, $secret), 0, 'but no key');
    # It has the sockets of the first one open too.
    $own->check_and_stop;
} if !$ENV{LLM_PRELOAD};

# What nginx has freed is overwritten by malloc then, so that what is found is in memory that somebody holds.
case 'the memory of a worker, once its replies are over' => sub {
    local $ENV{GLIBC_TUNABLES} = 'glibc.malloc.perturb=90:glibc.malloc.tcache_count=0';
    my $own = LLM::Test->gateway(
        keys   => [ { name => 'alice', secret => 'sk-secret-alice' } ],
        server => 'location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }',
    );
    my $up = $own->upstream(1);
    $own->start;
    my $text  = 'words-of-the-model-' . join '', 'a' .. 'm';
    my $said  = qq("choices":[{"index":0,"delta":{"content":"$text"},"finish_reason":null}]);
    my $usage = '"usage":{"prompt_tokens":7,"completion_tokens":3}';
    my @kinds = (
        [ 'a stream'         => 'text/event-stream', map { "data: {$_}\n\n" } ($said) x 3, qq("choices":[],$usage) ],
        [ 'with usage'       => 'text/event-stream', map { "data: {$_}\n\n" } qq($said,$usage), qq($said,"usage":null), qq($said,$usage,"x":"$text") ],
        [ 'in the middle'    => 'text/event-stream', qq(data: {$said}\n\ndata: {"choices":[{"delta":{"content":"$text) ],
        [ 'in a name'        => 'text/event-stream', qq(data: {"choices":[{"delta":{"$text), qq(":"$text"}}]}\n\n) ],
        [ 'in an error'      => 'text/event-stream', qq(data: {"error":"$text"}\n\n) ],
        [ 'of named events'  => 'text/event-stream',
            map { qq(event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"$_"}}\n\n) } ($text) x 3 ],
        [ 'an event\'s name' => 'text/event-stream', "event: $text\n", "data: {}\n\n" ],
        [ 'lines'            => 'application/x-ndjson', map { qq({"message":{"content":"$text"},"done":$_}\n) } qw(false false true) ],
        [ 'JSON'             => 'application/json', qq({"choices":[{"index":0,"message":{"content":"$text"}}],$usage}) ],
        [ 'JSON, scanned'    => 'application/json', qq({"object":"$text","choices":[{"message":{"content":"$text"},"usage":{}}],$usage,"error":"$text) ],
    );
    for (@kinds) {
        my ($kind, $type, @pieces) = @$_;
        my $c = $own->client;
        my $id = $own->new_id;
        $c->request(POST => '/v1/chat/completions', headers => [ $own->bearer('sk-secret-alice') ], body => chat_request(stream => \1), id => $id);
        my $u = $up->take;
        $u->head(type => $type);
        $u->piece($_) for @pieces;
        $u->finish;
        $c->response;
        $c->close;
        $own->log_line($id);
        $u->close;
    }
    my ($worker) = @{ $own->worker_pids->{active} };
    is(times_in_memory($worker, $text), 0, 'no word of a reply');
    $own->check_and_stop;
} if !$ENV{LLM_PRELOAD};

$t->finish;
