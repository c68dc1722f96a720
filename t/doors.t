# Why: a directive that answers by itself stands in a location, and what is nested in that location, or reached from it, is another
# door. None of them may open one that the level above keeps shut: without a key nobody reaches the model server.

use strict;
use warnings;

use LLM::Test;

my @directives = qw(llm_error llm_status llm_metrics);

# A location with the directive, and all ways that lead on from it. `%D%` is the directive, `%AT%` its path, `%OWN%` what the location
# says of keys itself.
my $ways = <<'EOW';
        location %AT%/plain { %OWN% %D%; }
        location = %AT%/exact { %OWN% %D%; }
        location ~ ^%AT%/by-regex { %OWN% %D%; }

        location %AT%/prefix/ { %OWN% %D%; location %AT%/prefix/up { proxy_pass http://model; } }
        location %AT%/equal/ { %OWN% %D%; location = %AT%/equal/up { proxy_pass http://model; } }
        location %AT%/first/ { %OWN% %D%; location ^~ %AT%/first/up { proxy_pass http://model; } }
        location %AT%/regex/ { %OWN% %D%; location ~ ^%AT%/regex/up { proxy_pass http://model; } }
        location %AT%/inner/ { %OWN% %D%; location ~ ^%AT%/inner/up(/.*)$ { proxy_pass http://model$1; } }
        location %AT%/deep/ {
            %OWN% %D%;
            location %AT%/deep/er/ { %D%; location %AT%/deep/er/u { location ~ up { proxy_pass http://model; } } }
        }
        location %AT%/file/ { %OWN% %D%; location %AT%/file/up { alias %%DIR%%/html/file; } }

        location %AT%/if/ { %OWN% %D%; if ($arg_up) { proxy_pass http://model; } }
        location %AT%/if-nested/ {
            %OWN% %D%;
            location %AT%/if-nested/up { if ($arg_up) { proxy_pass http://model; } proxy_pass http://model; }
        }
        location %AT%/except/ { %OWN% %D%; limit_except GET { proxy_pass http://model; } }
        location %AT%/except-file/ { %OWN% %D%; limit_except POST { deny 192.0.2.1; } }
        location %AT%/any/ { %OWN% %D%; satisfy any; deny all; location %AT%/any/up { proxy_pass http://model; } }

        location %AT%/rewrite/ { %OWN% %D%; rewrite ^ %AT%/target last; }
        location %AT%/rewrite-if/ { %OWN% %D%; if ($arg_up) { rewrite ^ %AT%/target last; } }
        location %AT%/page-named/ { %OWN% %D%; error_page 401 403 404 405 = @up; deny all; }
        location %AT%/page-uri/ { %OWN% %D%; error_page 401 403 404 405 = %AT%/target; deny all; }
        location %AT%/tries/ { %OWN% %D%; try_files /nothing %AT%/target; }
        location %AT%/tries-named/ { %OWN% %D%; try_files /nothing @up; }
        location %AT%/mirrored/ { %OWN% %D%; mirror %AT%/target; }
        location %AT%/authorized/ { %OWN% %D%; auth_request %AT%/target; }
        location %AT%/after/ { %OWN% %D%; post_action %AT%/target; }
        location %AT%/after-named/ { %OWN% %D%; post_action @up; }
        location %AT%/target { %OWN% proxy_pass http://model; }

        location %AT%/beside/ { %OWN% %D%; }
        location ~ ^%AT%/beside/up { %OWN% proxy_pass http://model; }
EOW

# For all three directives; `$own` is what locations say of keys.
sub ways {
    my ($own) = @_;

    return join '', map { my $d = $_; $ways =~ s/%AT%/\/$d/gr =~ s/%D%/$d/gr =~ s/%OWN%/$own/gr } @directives;
}

my $named = '%OWN% proxy_pass http://model;';
my $t = LLM::Test->new(
    status => [ 3, '/status' ],
    files  => {
        'keys.json'  => key_file([ { name => 'alice', secret => 'sk-alice' } ]),
        'other.json' => key_file([ { name => 'bob',   secret => 'sk-alice' } ]),
        'html/file'  => "a file\n",
        'html/index.html' => "a file\n",
    },
    conf => <<"EOC");
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    log_format seen '\$http_x_test|\$http_authorization|\$http_x_api_key|\$http_api_key';
    upstream model { server 127.0.0.1:%%PORT_1%%; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location \@up { proxy_pass http://model; }
@{[ ways('') ]}
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        llm_api_keys %%DIR%%/other.json;
        location \@up { proxy_pass http://model; }
@{[ ways('') ]}
    }
    server {
        listen 127.0.0.1:%%PORT_3%%;
        llm_api_keys off;
        location \@up { llm_api_keys %%DIR%%/other.json; proxy_pass http://model; }
@{[ ways('llm_api_keys %%DIR%%/other.json;') ]}
        location = /status { llm_status; }
        # A door that the operator opens leads no further than it is open.
        location /leads-on { proxy_pass http://model; }
        location /leads-to { llm_api_keys %%DIR%%/keys.json; proxy_pass http://model; }
    }
    server {
        # What is inherited by the error page's location too.
        listen 127.0.0.1:%%PORT_4%%;
        llm_errors nginx;
        client_max_body_size 1000;
        error_page 401 403 404 413 502 \@error;
        mirror /shadow;
        post_action /afterwards;
        auth_request /who;
        deny 192.0.2.1;
        location \@error { llm_error; }
        location = /error { llm_error; }
        location = /shadow { proxy_pass http://model/shadow; }
        location = /afterwards { proxy_pass http://model/afterwards; }
        location = /who { proxy_pass http://model/who; }
        location / { proxy_pass http://model; }
        location /seen/ { error_page 413 \@seen; proxy_pass http://model; }
        location \@seen { access_log %%DIR%%/seen.log seen; post_action off; llm_error; }
        location /if/ { error_page 413 \@error-if; proxy_pass http://model; }
        location \@error-if { if (\$arg_up) { set \$x 1; } llm_error; }
    }
}
EOC
my $upstream = $t->daemon(1);
$t->start;

# What the upstream has got since; a request with a key goes after the others, so that theirs are there by then.
sub reached {
    my ($before) = @_;

    my $r = $t->fetch(POST => '/llm_error/target', key => 'sk-alice', body => chat_request(user => 'last'));
    is($r->{status}, 200, 'with a key the upstream is reached');
    my @requests = $upstream->requests;
    my @others   = grep { ($_->{body} // '') !~ /"user":"last"/ } @requests[ $before .. $#requests ];
    return join ' ', map { $_->{uri} } @others;
}

# What leads to the upstream, and with which method.
my @doors = (
    (map { [ POST => "/$_/up" ] } qw(prefix equal first regex if-nested any beside)),
    (map { [ POST => "/$_/up?up=1" ] } qw(if-nested if rewrite-if)),
    [ POST => '/inner/up/v1/chat/completions' ],
    [ POST => '/deep/er/up' ],
    [ GET  => '/file/up' ],
    [ POST => '/except/up' ], [ PUT => '/except/up' ],
    [ POST => '/target' ],
    (map { [ POST => "/$_/up" ], [ GET => "/$_/up" ] } qw(rewrite)),
);

# What leads to the directive itself, though something is to happen beside it.
my @beside = (
    (map { my $m = $_; map { [ $m => "/$_/up" ] } qw(page-named page-uri tries tries-named mirrored authorized after after-named) } 'GET', 'POST'),
    [ GET => '/plain' ], [ GET => '/exact' ], [ GET => '/by-regex' ], [ GET => '/prefix/' ], [ GET => '/deep/er/' ], [ GET => '/if/' ],
    # What limit_except makes of other methods answers as the location around it.
    [ GET => '/except-file/up' ], [ GET => '/except-file/' ],
    [ GET => '/rewrite-if/' ], [ GET => '/except/' ], [ GET => '/any/' ],
);

my %level_of = (0 => 'http', 2 => 'server', 3 => 'location');

for my $port (sort keys %level_of) {
    for my $directive (@directives) {
        case "$directive, keys of the level of $level_of{$port}" => sub {
            my $before = $upstream->count;
            for (@doors) {
                my ($method, $uri) = @$_;
                for my $key (undef, 'sk-nobody') {
                    my $r = $t->fetch($method => "/$directive$uri", key => $key, body => chat_request(), port => $port);
                    is($r->{status}, 401, "$method $uri " . ($key // 'without a key'));
                    unlike($r->{body}, qr/a file/, 'no file');
                }
            }
            for (@beside) {
                my ($method, $uri) = @$_;
                my $r = $t->fetch($method => "/$directive$uri", body => chat_request(), port => $port);
                is($r->{status}, $directive eq 'llm_error' ? 404 : 401, "$method $uri without a key")
                    or diag($r->{body});
                like($r->{body}, qr/"error"/, 'an error') if $uri ne '/any/'; # where nginx says it
            }
            is(reached($before), '', 'the upstream has got nothing');

            for (@doors) {
                my ($method, $uri) = @$_;
                next if $uri =~ /file/ || ($uri eq '/except/up' && $method eq 'PUT');
                my $n = $upstream->count;
                my $r = $t->fetch($method => "/$directive$uri", key => 'sk-alice', body => chat_request(), port => $port);
                is($r->{status}, 200, "$method $uri with a key");
                is($upstream->count, $n + 1, 'forwarded');
            }
        };
    }
}

case 'a door that is open leads no further' => sub {
    my $before = $upstream->count;
    for my $to ('/leads-to', '/llm_error/prefix/up', '/llm_status/prefix/up', '/llm_error/target') {
        my $r = $t->fetch(GET => '/leads-on', headers => [ 'X-Reply' => json({ headers => [ 'X-Accel-Redirect', $to ] }) ], port => 3);
        is($r->{status}, 401, "X-Accel-Redirect to $to");
    }
    is(reached($before), join(' ', ('/leads-on') x 4), 'the upstream has got what was open only');
};

case 'what the error page inherits does not happen there' => sub {
    my $before = $upstream->count;
    my $large  = chat_request_of(2000);
    my @tries  = (
        [ 401, '/v1/chat/completions', chat_request() ], [ 413, '/v1/chat/completions', $large ], [ 413, '/if/x?up=1', $large ],
        [ 404, '/error', chat_request() ],
    );
    for (@tries) {
        my ($status, $uri, $body) = @$_;
        my $r = $t->fetch(POST => $uri, body => $body, port => 4);
        is($r->{status}, $status, "$uri: status");
        like($r->{body}, qr/"error":\{"message"/, 'the shape of the API');
    }
    is(reached($before), '', 'the upstream has got nothing');
};

case 'the error page shows no key' => sub {
    my $r = $t->fetch(POST => '/seen/x', body => chat_request_of(2000), port => 4,
        headers => [ Authorization => 'Bearer sk-alice', 'x-api-key' => 'sk-alice', 'api-key' => 'sk-alice' ]);
    is($r->{status}, 413, 'status');
    wait_until('the log', sub { $t->read_file('seen.log') =~ /^$r->{id}\|/m });
    like($t->read_file('seen.log'), qr/^$r->{id}\|-\|-\|-$/m, 'not in the log');
};

$t->finish;
