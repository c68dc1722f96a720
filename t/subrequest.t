# Why: nginx runs no access phase for subrequests. So `auth_request` to a location with keys would let everybody in, and what a page
# includes, or `mirror` copies, would need no key where a request of the client's own needs one.

use strict;
use warnings;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([
            { name => 'alice', user => 'ann', secret => 'sk-alice' }, { name => 'past', secret => 'sk-past', expires => '2020-01-01T00:00:00Z' },
            { name => 'elsewhere', secret => 'sk-elsewhere', networks => ['192.0.2.0/24'] },
        ]),
        'other.json' => key_file([ { name => 'bob', secret => 'sk-bob' }, { name => 'ally', secret => 'sk-alice' } ]),
        'html/open.html'  => "page <!--#include virtual=\"/keyed\" --> end\n",
        'html/shut.html'  => "page <!--#include virtual=\"/shut/part\" --> end\n",
        'html/any.html'   => "page <!--#include virtual=\"/any/part\" --> end\n",
        'html/other.html' => "page <!--#include virtual=\"/keyed\" --> end\n",
    },
    conf => <<'EOC');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    log_format keys '$http_x_test|$http_authorization|$http_x_api_key|$llm_key|$llm_refusal';
    proxy_set_header X-Name $llm_key;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        access_log %%DIR%%/access.log llm;
        access_log %%DIR%%/keys.log keys;
        location = /status { llm_status; }

        location = /auth-return { internal; llm_api_keys %%DIR%%/keys.json; return 204; }
        location = /auth-file { llm_api_keys %%DIR%%/keys.json; }
        location = /auth-upstream {
            llm_api_keys %%DIR%%/keys.json;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location = /auth-limited { llm_api_keys %%DIR%%/keys.json; llm_limit per=address failures=2r/h; return 204; }
        location @said { llm_error; }

        location /return/ { auth_request /auth-return; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /upstream/ { auth_request /auth-upstream; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /limited/ { auth_request /auth-limited; error_page 401 403 @said; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /said/ { auth_request /auth-return; error_page 401 403 @said; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /set/ {
            auth_request /auth-return;
            auth_request_set $name $llm_key;
            proxy_set_header X-Name $name;
            proxy_pass http://127.0.0.1:%%PORT_1%%;
        }
        location /both/ { llm_api_keys %%DIR%%/other.json; auth_request /auth-return; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /same/ { llm_api_keys %%DIR%%/keys.json; auth_request /auth-return; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /any/same/ { satisfy any; llm_api_keys %%DIR%%/keys.json; auth_request /auth-return; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /any/else/ { satisfy any; deny all; auth_request /auth-return; proxy_pass http://127.0.0.1:%%PORT_1%%; }

        location = /keyed { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /open/ { ssi on; alias %%DIR%%/html/; }
        location /shut/ { llm_api_keys %%DIR%%/keys.json; ssi on; alias %%DIR%%/html/; }
        location = /shut/part { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /any/ { llm_api_keys %%DIR%%/keys.json; satisfy any; allow all; ssi on; alias %%DIR%%/html/; }
        location = /any/part { llm_api_keys %%DIR%%/keys.json; proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location /other/ { llm_api_keys %%DIR%%/other.json; ssi on; alias %%DIR%%/html/; }
        location /mirrored/ { mirror /keyed; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
    server {
        listen 127.0.0.1:%%PORT_3%% http2;
        location = /auth { llm_api_keys %%DIR%%/keys.json; return 204; }
        location / { auth_request /auth; proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOC
my ($upstream, $behind) = map { $t->daemon($_) } 1, 2;
$t->start;

# The status, and how many requests came to the upstream.
sub ask {
    my ($uri, $headers, %o) = @_;

    my $before = $upstream->count;
    my $r = $t->fetch(POST => $uri, headers => $headers, body => chat_request(), %o);
    my @got = $upstream->requests;
    return { %$r, got => [ @got[ $before .. $#got ] ] };
}

my @good  = ([ Authorization => 'Bearer sk-alice' ], [ 'x-api-key' => 'sk-alice' ], [ Authorization => 'sk-alice' ]);
my @wrong = ([], [ Authorization => 'Bearer sk-nobody' ], [ 'api-key' => 'sk-nobody' ], [ Authorization => 'Token sk-alice' ], [ Authorization => 'Basic dTpw' ]);

for my $uri ('/return/x', '/upstream/x', '/said/x', '/set/x', '/same/x', '/any/same/x', '/any/else/x') {
    case "auth_request, $uri" => sub {
        for (@good) {
            my $r = ask($uri, $_);
            is($r->{status}, 200, "@$_: let in");
            is(scalar @{ $r->{got} }, 1, 'forwarded');
            unlike($r->{got}[0]{head}, qr/sk-alice|^(?:authorization|x-api-key):/mi, 'without the key');
            is($t->log_line($r->{id})->{key}, 'alice', 'whose name is known');
            like($r->{got}[0]{head}, qr/^X-Name: alice$/m, 'to other directives too') if $uri ne '/upstream/x';
        }
        for (@wrong) {
            my $r = ask($uri, $_);
            is($r->{status}, 401, "@$_: refused");
            is(scalar @{ $r->{got} }, 0, 'not forwarded');
            like($r->{headers}{'www-authenticate'} // '', qr/Bearer/, 'and asked for a key');
            $t->log_line($r->{id});
        }
        for my $key (qw(sk-past sk-elsewhere)) {
            my $r = ask($uri, [ $t->bearer($key) ]);
            is($r->{status}, 401, "$key: refused");
            is(scalar @{ $r->{got} }, 0, 'not forwarded');
        }
    };
}

case 'the error page says why' => sub {
    my $r = ask('/said/x', [ $t->bearer('sk-nobody') ]);
    like($r->{body}, qr/"code":"invalid_api_key"/, 'a wrong key');
    like(ask('/said/x', [])->{body}, qr/"error"/, 'none');
};

case 'two key files' => sub {
    is(ask('/both/x', [ $t->bearer('sk-alice') ])->{status}, 200, 'a key of both');
    is(ask('/both/x', [ $t->bearer('sk-bob') ])->{status}, 401, 'a key of the location alone');
    is(ask('/both/x', [])->{status}, 401, 'none');
};

case 'failures are counted' => sub {
    is(ask('/limited/x', [ $t->bearer('sk-nobody') ])->{status}, 401, 'a guess') for 1, 2;
    is(ask('/limited/x', [ $t->bearer('sk-nobody') ])->{status}, 403, 'one too many');
    is($t->totals('alice')->{in_flight}, 0, 'no lease is left');
};

case 'HTTP/2' => sub {
    my $h = $t->client_h2(3);
    for (@good) {
        my $s = $h->request(POST => '/h2', headers => [ map {lc} @$_ ], body => chat_request(), id => $t->new_id);
        is($h->response($s)->{status}, 200, "@$_: let in");
    }
    my $s = $h->request(POST => '/h2', body => chat_request(), id => $t->new_id);
    is($h->response($s)->{status}, 401, 'without a key');
    $h->close;
};

case 'what a page includes' => sub {
    for ([ '/open/open.html', 1, 0, 1 ], [ '/shut/shut.html', 1, undef, undef ], [ '/any/any.html', 1, 1, 1 ], [ '/other/other.html', 1, undef, undef ]) {
        my ($uri, @seen) = @$_;
        for ([ [ $t->bearer('sk-alice') ], $seen[0] ], [ [], $seen[1] ]) {
            my ($headers, $seen) = @$_;
            my $before = $behind->count;
            my $r = $t->fetch(GET => $uri, headers => $headers);
            is($r->{status}, defined $seen ? 200 : 401, "$uri @$headers");
            is($behind->count - $before, $seen // 0, 'its part');
        }
    }
    my $before = $behind->count;
    is($t->fetch(GET => '/other/other.html', key => 'sk-bob')->{status}, 200, 'a key of the page, but not of its part');
    is($behind->count - $before, 0, 'which is not there');
};

case 'mirror' => sub {
    my $before = $behind->count;
    is(ask('/mirrored/x', [])->{status}, 200, 'the request itself needs no key');
    is(ask('/mirrored/x', [ $t->bearer('sk-alice') ])->{status}, 200, 'with a key');
    wait_until('the copy', sub { $behind->count > $before });
    is($behind->count - $before, 1, 'only that is copied');
};

unlike($t->read_file('keys.log'), qr/sk-/, 'no key in a log');
$t->finish;
