# Why: a stream costs tokens whether or not its client asks how many. So the gateway asks, by a change of the body that must reach
# the upstream right however the body came, wherever nginx keeps it and however often it is sent.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json'  => key_file([ { name => 'alice', secret => 'sk-alice' }, { name => 'picky', secret => 'sk-picky', models => ['good'] } ]),
        'other.json' => key_file([ { name => 'alice', secret => 'sk-alice' }, { name => 'picky', secret => 'sk-picky' } ]),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    keepalive_requests 10000;
    proxy_set_header X-Length $content_length;
    proxy_set_header X-Header-Length $http_content_length;
    upstream two {
        server 127.0.0.1:%%PORT_3%% max_fails=0;
        server 127.0.0.1:%%PORT_4%% backup;
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_2%% http2;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /spilled { client_body_buffer_size 1k; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /in-file { client_body_in_file_only clean; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /single { client_body_in_single_buffer on; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /streamed { proxy_request_buffering off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /final { llm_usage_inject final; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /off {
            llm_usage_inject off;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
            location /off/but { llm_usage_inject continuous; proxy_pass http://127.0.0.1:%%PORT_1%%; }
            location /off/still { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        }
        location /then {
            llm_usage_inject off;
            llm_errors nginx;
            error_page 404 = @second-keys;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location @second-keys { llm_api_keys %%DIR%%/other.json; llm_usage_inject final; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /open { llm_api_keys off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /seen {
            proxy_set_header X-Length $content_length;
            proxy_set_header X-Body $request_body;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /rewritten { rewrite ^ /v1/completions break; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /passed-on { proxy_pass http://127.0.0.1:%%PORT_1%%/v1/completions; }
        location /any { satisfy any; allow all; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /mirrored { mirror /mirror; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /mirrored/spilled { client_body_buffer_size 1k; mirror /mirror; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /mirror { internal; proxy_pass http://127.0.0.1:%%PORT_1%%/mirrored-here; }
        location /retry {
            proxy_next_upstream error timeout non_idempotent;
            proxy_pass http://two;
        }
        location /retry/spilled {
            client_body_buffer_size 1k;
            proxy_next_upstream error timeout non_idempotent;
            proxy_pass http://two;
        }
        location /redirected {
            client_body_buffer_size 1k;
            proxy_intercept_errors on;
            error_page 500 = @second;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location @second {
            llm_api_keys %%DIR%%/other.json;
            llm_usage_inject continuous;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /read-before {
            llm_api_keys off;
            client_body_buffer_size 1k;
            proxy_intercept_errors on;
            error_page 500 = @second;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location = /status { llm_api_keys off; llm_status; }
    }
    server {
        listen 127.0.0.1:%%PORT_5%%;
        listen 127.0.0.1:%%PORT_6%% http2;
        llm_usage_inject continuous;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /spilled { client_body_buffer_size 1k; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOF
my $upstream = $t->daemon(1);
$t->start;

my @json = ('Content-Type' => 'application/json');
my $chat = '/v1/chat/completions';

# Sends a body in one of several ways; port 0 is the default, 5 the server with `continuous`.
sub send_h1 {
    my ($body, %o) = @_;

    my $way     = $o{way} // 'at once';
    my @headers = ($o{no_key} ? () : $t->bearer($o{key} // 'sk-alice'), $o{type} ? () : @json, @{ $o{headers} // [] });
    my @pieces  = $way =~ /bytes/ ? split(//, $body) : $body =~ /(.{1,4000})/gs;
    @pieces = (substr($body, 0, $o{cut}), substr($body, $o{cut}, 200), substr $body, $o{cut} + 200) if $o{cut};
    my $c       = $t->client($o{port});
    if ($way =~ /chunked/) {
        $c->request(POST => $o{uri}, headers => [ @headers, 'Transfer-Encoding' => 'chunked' ], id => $o{id});
        my @chunks = ((map { sprintf "%x\r\n%s\r\n", length, $_ } @pieces), "0\r\n\r\n");
        $c->write($_) for $o{cut} ? join('', @chunks) : @chunks;
    } elsif ($way =~ /bytes/) {
        $c->request(POST => $o{uri}, headers => [ @headers, 'Content-Length' => length $body ], id => $o{id});
        $c->write($_) for @pieces;
    } else {
        $c->request(POST => $o{uri}, headers => \@headers, body => $body, id => $o{id});
    }
    my $r = $c->response;
    $c->close;
    return $r;
}

my %h2;

sub send_h2 {
    my ($body, %o) = @_;

    my $way     = $o{way} // 'at once';
    my @headers = ($t->bearer('sk-alice'), @json);
    push @headers, 'content-length' => length $body if $way !~ /without length/;
    my $port = $o{port} ? 6 : 2;
    my $h2   = $h2{$port};
    $h2 = $h2{$port} = $t->client_h2($port) if !$h2 || $h2->eof || $h2->{goaway};
    my $s = $h2->request(POST => $o{uri}, headers => \@headers, id => $o{id}, open => 1);
    if ($way =~ /bytes/) {
        for (split //, $body) {
            $h2->data($s, $_);
            $h2->sync;
        }
        $h2->data($s, '', last => 1);
    } else {
        $h2->data($s, $body, last => 1);
    }
    return $h2->response($s);
}

my @ways = (
    (map { my $way = $_; map { [ "HTTP/1.1 $way, $_", \&send_h1, $way, $_ ] } '', '/spilled' }
        'at once', 'in bytes', 'chunked', 'chunked in bytes'),
    (map { [ "HTTP/1.1, $_", \&send_h1, 'at once', $_ ] } '/in-file', '/single', '/streamed'),
    (map { [ "HTTP/1.1 chunked, $_", \&send_h1, 'chunked', $_ ] } '/in-file', '/streamed'),
    (map { my $way = $_; map { [ "HTTP/2 $way, $_", \&send_h2, $way, $_ ] } '', '/spilled' }
        'at once', 'in bytes', 'without length', 'without length, in bytes'),
);

# --- what must reach the upstream

my $final   = '"include_usage":true';
my $running = '"continuous_usage_stats":true';

sub parsed { return JSON::PP->new->decode($_[0]) }

# The request that the upstream got, compared with what it should be.
sub forwarded_ok {
    my ($got, $want, $name) = @_;

    is($got->{headers}{'content-length'}, length $want, "$name: Content-Length");
    is($got->{length}, length $want, "$name: length");
    is($got->{sha256}, sha256_hex($want), "$name: the body")
        or diag("got:  " . ($got->{body} // '(long)') . "\nwant: " . substr $want, 0, 4000);
    is($got->{headers}{'x-length'}, length $want, "$name: \$content_length");
    my $header = $got->{headers}{'x-header-length'};
    is($header, length $want, "$name: \$http_content_length") if defined $header && $header ne '';
    return;
}

# A stream that could not be counted reaches nobody.
sub refused_ok {
    my ($name, $send, $body, %o) = @_;

    my $why    = delete $o{why} // qr/"\w+\\" is neither true nor false/;
    my $before = $upstream->count;
    my $id     = $t->new_id;
    my $r      = $send->($body, uri => $chat, id => $id, %o);
    is($r->{status}, 400, "$name: status");
    is($upstream->count, $before, "$name: not forwarded");
    my $error = eval { parsed($r->{body})->{error} } // {};
    is($error->{type}, 'invalid_request_error', "$name: type");
    like($r->{body}, $why, "$name: why");
    my $log = $t->log_line($id);
    is("$log->{outcome} $log->{refusal}", 'refused bad_request', "$name: log");
    return;
}

# One body by one way.
sub try_one {
    my ($name, $send, $body, $want, %o) = @_;

    return refused_ok($name, $send, $body, %o) if $want eq 'refused';
    my $before = $upstream->count;
    my $id     = $t->new_id;
    my $r      = $send->($body, uri => $chat, id => $id, %o);
    is($r->{status}, 200, "$name: status") or diag($r->{body});
    is($t->log_line($id)->{outcome}, 'ok', "$name: outcome") if !$o{no_key};
    my @requests = $upstream->requests;
    is(@requests - $before, 1, "$name: forwarded once");
    forwarded_ok($requests[-1], $want, $name);
    return $requests[-1];
}

sub blank { my ($text) = @_; return ' ' x length $text }

# [ what it is, the body, what the upstream gets with `final`, and with `continuous` ]
sub stream_options {
    my ($what, $options, $with_final, $with_continuous) = @_;

    my $member = qq("stream_options":$options);
    my @bodies = (
        [ 'first',            qq({$member,"model":"m","stream":true}),             '{' . blank("$member,") . '"model":"m","stream":true' ],
        [ 'in the middle',    qq({"model":"m",$member,"stream":true}),             '{"model":"m"' . blank(",$member") . ',"stream":true' ],
        [ 'last',             qq({"model":"m","stream":true,$member}),             '{"model":"m","stream":true' . blank(",$member") ],
        [ 'alone with stream', qq({"stream":true,$member}),                        '{"stream":true' . blank(",$member") ],
        [ 'pretty',           qq({\n  "model": "m",\n  $member,\n  "stream": true\n}\n),
            qq({\n  "model": "m") . blank(",\n  $member") . qq(,\n  "stream": true\n) ],
        [ 'spaced',           qq(\r\n\t{ $member , "stream" : true } \r\n ),       "\r\n\t{ " . blank("$member ,") . ' "stream" : true ' ],
    );
    return map {
        my ($where, $body, $kept) = @$_;
        my @wants = map { !defined $_ ? $body : $_ eq 'refused' ? $_ : qq($kept,"stream_options":$_}) } $with_final, $with_continuous;
        [ "$what, $where", $body, @wants ];
    } @bodies;
}

my @added = map { my $b = $_; [ 'absent: ' . length $b, $b, map { ($b =~ s/\}\s*\z//r) . qq(,"stream_options":{$_}}) } $final, "$final,$running" ] }
    '{"stream":true}', qq(  {"model":"m","stream" : "on"\n}\n\n), qq({"messages":[{"content":"\\"stream_options\\":{}}"}],"stream":1.0} \t\r\n);

my @cases = (
    @added,
    stream_options('null',                  'null',                          "{$final}", "{$final,$running}"),
    stream_options('empty',                 '{}',                            "{$final}", "{$final,$running}"),
    stream_options('other members',         '{"x":[{"}":1}], "y":"\"\u00e9"}', qq({"x":[{"}":1}], "y":"\\"\\u00e9",$final}),
        qq({"x":[{"}":1}], "y":"\\"\\u00e9",$final,$running})),
    stream_options('false',                 '{"include_usage":false}',       "{$final}", "{$final,$running}"),
    stream_options('null within',           '{"a":1, "include_usage" : null }', '{"a":1, "include_usage" : true }',
        qq({"a":1, "include_usage" : true ,$running})),
    stream_options('0',                     '{"include_usage":0,"b":0}',     qq({$final,"b":0}), qq({$final,"b":0,$running})),
    stream_options('asked for',             '{"include_usage":true}',        undef, "{$final,$running}"),
    stream_options('asked for, in words',   '{"include_usage":"True"}',      undef, qq({"include_usage":"True",$running})),
    stream_options('both asked for',        "{$final,$running}",             undef, undef),
    stream_options('only running asked for', "{$running}",                   "{$running,$final}", "{$running,$final}"),
    stream_options('running denied',        '{"include_usage":true,"continuous_usage_stats":false}', undef, "{$final,$running}"),
    stream_options('both denied',           '{"continuous_usage_stats":0,"include_usage":false}',
        '{"continuous_usage_stats":0,"include_usage":true}', "{$running,$final}"),
    (map { my $x = '"x":"' . 'x' x $_ . '"';
        stream_options("with a member of $_",   qq({$x}),                    "{$x,$final}", "{$x,$final,$running}"),
        stream_options("before one of $_",      qq({"include_usage":0,$x}),  "{$final,$x}", "{$final,$x,$running}") } 153, 1000),
    stream_options('much white space',      '{' . ' ' x 3000 . '}',          '{' . ' ' x 3000 . "$final}", '{' . ' ' x 3000 . "$final,$running}"),
    stream_options('unclear running',       '{"continuous_usage_stats":2}',  qq({"continuous_usage_stats":2,$final}), 'refused'),
    (map { [ "stream is $_", qq({"stream":$_}), qq({"stream":$_}), qq({"stream":$_}) ] } 'false', 'null', '0', '"no"'),
    (map { my $b = qq({"stream":$_); [ "stream is $_", "$b}", qq($b,"stream_options":{$final}}), qq($b,"stream_options":{$final,$running}}) ] }
        'true', '1', '"yes"', '"T"', '"on"', '"1"'),
    [ 'no stream', '{"model":"m"}', '{"model":"m"}', '{"model":"m"}' ],
);

# The expectations above are themselves right: the same members, and each asked for once.
case 'the expectations' => sub {
    for (@cases) {
        my ($name, $body, @wants) = @$_;
        for my $want (grep { $_ ne $body && $_ ne 'refused' } @wants) {
            my ($was, $is) = (parsed($body), parsed($want));
            ok($is->{stream_options}{include_usage}, "$name: asks");
            is(() = $want =~ /"stream_options":[^"\\]*\{/g, 1, "$name: once") if $name !~ /absent/;
            $was->{stream_options} //= {};
            delete $_->{stream_options}{include_usage}, delete $_->{stream_options}{continuous_usage_stats} for $was, $is;
            is(json($is), json($was), "$name: else as it was");
        }
    }
};

for (@ways) {
    my ($way_name, $send, $way, $prefix) = @$_;
    next if $way =~ /bytes/;
    case "$way_name: all cases" => sub {
        for (@cases) {
            my ($name, $body, $with_final, $with_continuous) = @$_;
            try_one($name, $send, $body, $with_final, way => $way, uri => "$prefix$chat");
            try_one("continuous, $name", $send, $body, $with_continuous, way => $way, uri => "$prefix$chat", port => 5)
                if $prefix !~ /file|single|streamed/;
        }
    };
}

for (grep { $_->[2] =~ /bytes/ } @ways) {
    my ($way_name, $send, $way, $prefix) = @$_;
    case "$way_name: one byte per write" => sub {
        for (grep { $_->[0] =~ /null, first|false, spaced|denied, pretty|absent|denied, last/ } @cases) {
            my ($name, $body, $with_final) = @$_;
            try_one($name, $send, $body, $with_final, way => $way, uri => "$prefix$chat");
        }
    };
}

# Bodies around the sizes of buffers: what goes and the closing brace come to lie in any place of them.
sub large {
    my ($size, $order) = @_;

    my $member = '"stream_options":{"x":1,"include_usage":false}';
    my $tail   = qq(,"stream":true\n}\n);
    my $merged = ',"stream_options":{"x":1,"include_usage":true}}';
    my $pad    = 'x' x ($size - length(qq({"messages":"",$member$tail)));
    return (qq({$member,"messages":"$pad"$tail), '{' . blank("$member,") . qq("messages":"$pad","stream":true\n$merged)) if $order eq 'first';
    return (qq({"messages":"$pad",$member$tail), qq({"messages":"$pad") . blank(",$member") . qq(,"stream":true\n$merged));
}

for (grep { $_->[2] !~ /bytes/ } @ways) {
    my ($way_name, $send, $way, $prefix) = @$_;
    case "$way_name: bodies of many sizes" => sub {
        for my $size (1000 .. 1003, 1020 .. 1100, 4000, 16_383 .. 16_386, 20_480, 65_536, 3_000_000) {
            for my $order ($size > 2000 ? qw(first last) : 'last') {
                my ($body, $want) = large($size, $order);
                try_one("$size bytes, $order", $send, $body, $want, way => $way, uri => "$prefix$chat");
            }
        }
    };
}

case 'every place in a buffer of 1k' => sub {
    # The first kilobyte may lie with the header; the file is written in pieces.
    for my $size (2000 .. 2200) {
        my ($body, $want) = large($size, 'last');
        try_one("$size bytes", \&send_h1, $body, $want, uri => "/spilled$chat", way => $size % 2 ? 'chunked' : 'at once');
    }
};

case 'every cut between buffers' => sub {
    # nginx puts chunks of more than 128 bytes into buffers of their own.
    my $head = '{"stream":true,"stream_options":{"include_usage":false}';
    my $body = "$head}" . ' ' x 500;
    my $want = '{"stream":true' . blank(',"stream_options":{"include_usage":false}') . qq(,"stream_options":{$final}});
    for my $prefix ('', '/spilled') {
        for my $cut (1 .. 1 + length $head) {
            try_one("cut at $cut", \&send_h1, $body, $want, uri => "$prefix$chat", way => 'chunked', cut => $cut);
        }
    }
};

# --- where, and where not

case 'paths' => sub {
    my $body = '{"model":"m","stream":true}';
    my $want = '{"model":"m","stream":true,"stream_options":{"include_usage":true}}';
    try_one($_, \&send_h1, $body, $want, uri => $_)
        for '/v1/chat/completions', '/v1/completions', '/v1/chat/completions?x=/y', '/x/openai/v1/chat/completions', '/v1/chat/%63ompletions',
        '/final/v1/completions', '/rewritten', '/v1/completions/', '/v1/chat/completions//', '/V1/Chat/Completions', '/v1/chat/completions;x=1/',
        '/v1/chat/x/../completions/.';
    try_one($_, \&send_h1, $body, $body, uri => $_)
        for '/v1/messages', '/v1/responses', '/api/chat', '/api/generate', '/completion', '/generate', '/v1/embeddings',
        '/', '/v1/chat/completions/batch', '/v1/x?y=/v1/completions', '/passed-on', "/off$chat", "/off/still$chat";
    try_one('/open', \&send_h1, $body, $body, uri => "/open$chat", no_key => 1);
    try_one('/off/but', \&send_h1, $body, $want =~ s/true\}\}/true,$running}}/r, uri => "/off/but$chat");
};

# What neither servers nor the gateway can tell the meaning of.
my @doubtful = (
    (map { my $o = $_; [ "options are $o", qq({"stream":true,"stream_options":$o}), qr/"stream_options\\" is not an object/ ] }
        '"x"', '[]', '[{"include_usage":true}]', '1', 'true', 'false', '"{}"', '[' . '1,' x 2000 . '1]'),
    (map { [ "usage is $_", qq({"stream":true,"stream_options":{"include_usage":$_}}), undef ] } '2', '"maybe"', '{}', '[true]'),
    (map { [ "stream is $_", qq({"stream":$_}), undef ], [ "stream is $_, with options", qq({"stream":$_,"stream_options":null}), undef ] }
        '2', '"maybe"', '[]', '{}', '-1', '"sure"'),
    (map { [ "another case: $_", "{$_}", qr/another case/ ] } '"Stream":true', '"stream":true,"Stream_Options":{}', '"stream":false,"STREAM":true',
        '"stream":true,"stream_options":{"Include_Usage":false}', '"stream":true,"stream_options":{"include_usage":true,"include_usagE":false}'),
);

for (@ways) {
    my ($way_name, $send, $way, $prefix) = @$_;
    case "$way_name: what is refused" => sub {
        for (@doubtful) {
            my ($name, $body, $why) = @$_;
            refused_ok($name, $send, $body, why => $why, way => $way, uri => "$prefix$chat") if $way !~ /bytes/ || $name =~ /are \[\]|is "maybe"/;
        }
    };
}

case 'it is refused where it would be asked for, and to those who have a key' => sub {
    for (grep { $_->[0] !~ /case/ } @doubtful) {
        my ($name, $body, $why) = @$_;
        try_one("$name: $_", \&send_h1, $body, $body, uri => $_) for "/off$chat", '/v1/embeddings', '/v1/responses', '/v1/messages';
        try_one("$name: open", \&send_h1, $body, $body, uri => "/open$chat", no_key => 1);
        refused_ok($name, \&send_h1, $body, why => $why, uri => "/off/but$chat");
        is(send_h1($body, uri => $chat, key => 'sk-nobody')->{status}, 401, "$name: a wrong key");
        is(send_h1($body =~ s/\A\{/{"model":"bad",/r, uri => $chat, key => 'sk-picky')->{status}, 400, "$name: another model");
    }
};

case 'a body that was read where nothing is asked for' => sub {
    my $start = '{"model":"bad","stream":true';
    my $before = $upstream->count;
    my $r      = send_h1(qq($start,"stream_options":[]}), uri => "/then$chat", key => 'sk-picky', id => $t->new_id);
    is($r->{status}, 400, 'redirected: status');
    is($upstream->count, $before, 'redirected: not forwarded');
    try_one('redirected, without', \&send_h1, "$start}", qq($start,"stream_options":{$final}}), uri => "/then$chat", key => 'sk-picky');
};

my $letters = join '', map { sprintf '%07d', $_ } 0 .. 150_000;

# An object of any size: kept whole, wherever nginx has it.
for (grep { $_->[2] !~ /bytes/ } @ways) {
    my ($way_name, $send, $way, $prefix) = @$_;
    case "$way_name: a large object" => sub {
        for my $size (900, 4096, 16_384, 70_000, 1_000_000) {
            my $object = '{"include_usage":false,"x":"' . substr($letters, 0, $size) . '","y":[]}';
            my $merged = $object =~ s/false/true/r;
            for my $first (0, 1) {
                my $member = qq("stream_options":$object);
                my ($body, $want) = $first
                    ? (qq({$member,"stream":true}\n), '{' . blank("$member,") . qq("stream":true,"stream_options":$merged}))
                    : (qq({"stream":true,$member} \n), '{"stream":true' . blank(",$member") . qq(,"stream_options":$merged}));
                try_one("$size bytes, " . ($first ? 'first' : 'last'), $send, $body, $want, way => $way, uri => "$prefix$chat");
            }
        }
    };
}

case 'control characters in a path' => sub {
    my $body = '{"model":"m","stream":true}';
    for my $prefix ('', '/off') {
        for my $c (map { sprintf '%%%02x', $_ } 1 .. 31, 127) {
            refused_ok("$prefix, $c", \&send_h1, $body, uri => "$prefix$chat$c", why => qr/path has control characters/);
        }
    }
    refused_ok("at $_", \&send_h1, $body, uri => $_, why => qr/path has control/) for '/%0av1/completions', '/v1%0D%0A/x', '/v1/models%1F?a=b';
    refused_ok("in HTTP/2", \&send_h2, $body, uri => "$chat%0a", why => qr/path has control/);
    is(send_h1($body, uri => "$chat%0a", key => 'sk-nobody')->{status}, 401, 'a wrong key');
    is(send_h1('{', uri => "$chat%0a")->{status}, 400, 'with a fault in the body');
    is($t->fetch(GET => '/v1/models%0a', key => 'sk-alice')->{status}, 400, 'without a body');
    try_one('with keys off', \&send_h1, $body, $body, uri => "/open$chat%0a", no_key => 1);
    # What is none.
    my $want = qq({"model":"m","stream":true,"stream_options":{$final}});
    try_one($_, \&send_h1, $body, $want, uri => $_) for "/%c3%a9%20%80%ff%7e$chat", "$chat?%0a", "/%2e/v1%2fchat//completions";
};

case 'a form that is none' => sub {
    my $body = '{"model":"m","stream":true}';
    my $want = qq({"model":"m","stream":true,"stream_options":{$final}});
    for my $type ('multipart/form-data', 'Multipart/Form-Data; boundary=x') {
        for my $way ('at once', 'chunked') {
            my @as = (way => $way, headers => [ 'Content-Type' => $type ], type => 1);
            for my $space ('', "\r\n ") {
                try_one("$type, $way", \&send_h1, "$space$body", "$space$want", @as);
            }
            refused_ok("$type, $way: $_", \&send_h1, $_, @as, why => qr/cannot be accepted/) for '[]', "\xef\xbb\xbf$body", 'model=m', "\0";
            my $form = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--x--\r\n";
            if ($type =~ /boundary/) {
                try_one("$type, $way: a form", \&send_h1, $form, $form, @as);
                refused_ok("$type, $way: of another boundary", \&send_h1, $form =~ s/--x/--y/r, @as, why => qr/cannot be accepted/);
            }
            else {
                refused_ok("$type, $way: a form without a boundary", \&send_h1, $form, @as, why => qr/cannot be accepted/);
            }
        }
    }
};

case 'what the body is to variables' => sub {
    my $got = try_one('in memory', \&send_h1, '{"stream_options":null,"stream":true} ',
        '{' . ' ' x 22 . qq("stream":true,"stream_options":{$final}}), uri => "/seen$chat");
    is($got->{headers}{'x-body'}, $got->{body}, '$request_body');
};

case 'what stands twice is refused' => sub {
    for my $options ('{},"stream_options":{}', 'null,"stream_opt\u0069ons":null', '{"include_usage":true,"include_usage":true}',
        '{"include_usage":false,"\u0069nclude_usage":true}', '{"continuous_usage_stats":true,"a":1,"continuous_usage_stats":true}') {
        my $before = $upstream->count;
        my $r      = send_h1(qq({"stream":true,"stream_options":$options}), uri => $chat, id => $t->new_id);
        is($r->{status}, 400, "$options: status");
        like($r->{body}, qr/stands twice/, "$options: why");
        is($upstream->count, $before, "$options: not forwarded");
    }
};

case 'an escaped name is the same' => sub {
    my $member = '"stream_opt\u0069ons":{"includ\u0065_usage":false}';
    try_one('one member', \&send_h1, qq({"stream":true,$member}),
        '{"stream":true' . blank(",$member") . ',"stream_options":{"includ\u0065_usage":true}}');
};

case 'a request without a key that another module lets in stays as it is' => sub {
    my $body = '{"stream":true}';
    try_one('satisfy any', \&send_h1, $body, $body, uri => "/any$chat", no_key => 1);
    try_one('with a key', \&send_h1, $body, qq({"stream":true,"stream_options":{$final}}), uri => "/any$chat");
};

case 'many requests on one connection' => sub {
    my $c = $t->client;
    for my $n (1 .. 30) {
        my ($body, $want) = $n % 3 ? large(100 * $n, $n % 2 ? 'first' : 'last') : ('{"stream":true}', qq({"stream":true,"stream_options":{$final}}));
        $c->request(POST => $n % 5 ? $chat : "/spilled$chat", headers => [ $t->bearer('sk-alice'), @json ], body => $body, id => $t->new_id);
        is($c->response->{status}, 200, "request $n");
        forwarded_ok($upstream->last_request, $want, "request $n");
    }
    $c->close;
};

case 'requests that are sent ahead' => sub {
    my $c      = $t->client;
    my $before = $upstream->count;
    my ($bytes, @wants) = '';
    for my $n (0 .. 19) {
        my $body = qq({"stream":true,"n":$n});
        push @wants, qq({"stream":true,"n":$n,"stream_options":{$final}});
        $bytes .= $c->format_request(POST => $chat, headers => [ $t->bearer('sk-alice'), @json ], body => $body, id => $t->new_id);
        $c->expect_response('POST');
    }
    $c->write($bytes);
    is($c->response->{status}, 200, "request $_") for 0 .. 19;
    my @requests = $upstream->requests;
    forwarded_ok($requests[ $before + $_ ], $wants[$_], "request $_") for 0 .. 19;
    $c->close;
};

# --- sent more than once

my ($first, $second) = ($t->upstream(3), $t->upstream(4));

# The first upstream takes this much of the request, or all of it, and goes away without an answer.
sub retried {
    my ($body, $want, $prefix, %o) = @_;

    my $id = $t->new_id;
    my $c  = $t->client;
    my @headers = ($t->bearer('sk-alice'), @json);
    if ($o{chunked}) {
        $c->request(POST => "$prefix$chat", headers => [ @headers, 'Transfer-Encoding' => 'chunked' ], id => $id);
        $c->write(sprintf("%x\r\n%s\r\n", length $body, $body) . "0\r\n\r\n");
    } else {
        $c->request(POST => "$prefix$chat", headers => \@headers, body => $body, id => $id);
    }
    my $one = $first->accept;
    if ($o{early}) {
        $one->read_more('something of the request');
        $one->reset;
    } else {
        is(sha256_hex($one->read_request->{body}), sha256_hex($want), 'the body at the first upstream');
        $one->close;
    }
    my $two = $second->take;
    my $got = $two->request;
    is($got->{headers}{'content-length'}, length $want, 'Content-Length');
    is(sha256_hex($got->{body}), sha256_hex($want), 'the body at the second upstream') or diag(substr $got->{body}, 0, 2000);
    is($two->{in}, '', 'and nothing after it');
    $two->reply(chat_reply(7, 10));
    is($c->response->{status}, 200, 'status');
    $c->close;
    is($t->log_line($id)->{upstreams}, '502, 200', 'two upstreams');
    return;
}

case 'nothing follows the new end' => sub {
    for my $prefix ('/retry', '/retry/spilled') {
        my $want = qq({"stream":true,"stream_options":{$final}});
        my $c    = $t->client;
        # Chunks of more than 128 bytes are buffers of their own: with the brace in one of them, and after it.
        my @chunks = ('{"stream":true', '}' . ' ' x 200, ' ' x 300, ' ' x 400);
        $c->request(
            POST    => "$prefix$chat",
            headers => [ $t->bearer('sk-alice'), @json, 'Transfer-Encoding' => 'chunked' ],
            id      => $t->new_id,
        );
        $c->write(join('', map { sprintf "%x\r\n%s\r\n", length, $_ } @chunks) . "0\r\n\r\n");
        my $u = $first->take;
        is($u->request->{body}, $want, "$prefix: the body");
        # Newer versions of nginx would keep the connection.
        $u->head(framing => 'length', length => 2, type => 'application/json', headers => [ Connection => 'close' ]);
        $u->write('{}');
        $u->wait_close;
        is($u->{in}, '', "$prefix: and nothing after it");
        is($c->response->{status}, 200, "$prefix: status");
        $c->close;
    }
};

for my $prefix ('/retry', '/retry/spilled') {
    for my $size (600, 2000, 20_000, 3_000_000) {
        for my $order ('first', 'last') {
            case "$prefix: $size bytes, $order, sent again" => sub {
                retried(large($size, $order), $prefix);
                retried(large($size, $order), $prefix, chunked => 1);
                retried(large($size, $order), $prefix, early   => 1) if $size > 1_000_000;
            };
        }
    }
    case "$prefix: a small body, sent again" => sub {
        retried('{"stream":true}', qq({"stream":true,"stream_options":{$final}}), $prefix);
        retried('{"stream":true}', qq({"stream":true,"stream_options":{$final}}), $prefix, chunked => 1);
        retried('{"stream":false}', '{"stream":false}', $prefix);
    };
}

case 'mirrored' => sub {
    for my $prefix ('/mirrored', '/mirrored/spilled') {
        for my $size (600, 3000) {
            my ($body, $want) = large($size, 'first');
            my $before = $upstream->count;
            is(send_h1($body, uri => "$prefix$chat", id => $t->new_id)->{status}, 200, 'status');
            wait_until('both requests', sub { $upstream->count == $before + 2 });
            for (($upstream->requests)[ $before, $before + 1 ]) {
                forwarded_ok($_, $want, "$_->{uri}");
            }
        }
    }
};

# Redirected within nginx: to a location that would ask for more, under another key file.
my @fails = (headers => [ 'X-Reply' => '{"status":500}' ]);

case 'edited once' => sub {
    for my $size (0, 600, 3000) {
        my ($body, $want) = $size ? large($size, 'first') : ('{"stream":true}', qq({"stream":true,"stream_options":{$final}}));
        for my $way ('at once', 'chunked') {
            my $before = $upstream->count;
            send_h1($body, uri => "/redirected$chat", id => $t->new_id, way => $way, @fails);
            my @requests = $upstream->requests;
            is(@requests - $before, 2, 'two requests');
            forwarded_ok($requests[-$_], $want, "request -$_, $size bytes, $way") for 2, 1;
        }
    }
};

case 'a body that was read before a key was asked for' => sub {
    for my $size (0, 600, 3000, 200_000) {
        my ($body, $want) = $size ? large($size, 'last') : ('{"stream":true}', qq({"stream":true,"stream_options":{$final,$running}}));
        $want =~ s/true\}\}\z/true,$running}}/ if $size;
        for my $way ('at once', 'chunked') {
            my $before = $upstream->count;
            send_h1($body, uri => "/read-before$chat", id => $t->new_id, way => $way, @fails);
            my @requests = $upstream->requests;
            is(@requests - $before, 2, 'two requests');
            forwarded_ok($requests[-2], $body, "the open location, $size bytes, $way");
            forwarded_ok($requests[-1], $want, "the one with keys, $size bytes, $way");
        }
    }
};

case 'a refused request is not edited' => sub {
    my $before = $upstream->count;
    is(send_h1('{"model":"bad","stream":true}', uri => $chat, key => 'sk-picky', id => $t->new_id)->{status}, 404, 'status');
    is($upstream->count, $before, 'not forwarded');
};

$_->close for values %h2;
$t->finish;
