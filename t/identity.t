# Why: who has proved who they are by a certificate, a password or a sign-on needs no second secret. But a name is no secret: it may only
# count where another module has checked it before, and never in place of a key that is wrong.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP;
use MIME::Base64 qw(encode_base64);

use LLM::Test;

my $dn = 'CN=alice\, \"A\",OU=R & D,O=Example';
my @keys = (
    { name => 'alice', user => 'ann' },
    { name => 'bob', secret => 'sk-bob' },
    { name => 'guest', limits => { concurrency => 1 } },
    { name => 'off', enabled => JSON::PP::false },
    { name => 'past', expires => '2020-01-01T00:00:00Z' },
    { name => 'elsewhere', networks => ['192.0.2.0/24'] },
    { name => 'picky', models => ['qwen3-*'] },
    { name => $dn },
    { name => 'root', admin => JSON::PP::true },
    { name => 'app', user_from => 'X-User' },
);
my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    workers => 2,
    files  => {
        'keys.json'  => key_file(\@keys),
        'other.json' => key_file([ { name => 'alice', user => 'someone', secret => 'sk-other' } ]),
        # Of "secret", by crypt().
        passwords => join('', map { "$_:" . crypt('secret', '$6$salt$') . "\n" } qw(alice bob nobody)),
        'html/page.html' => "page <!--#include virtual=\"/inner/keyed\" --> end\n",
    },
    );
my $dir = $t->dir;

sub run { my $said = `$_[0] 2>&1`; die "$_[0]: $said\n" if $?; return }
run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout $dir/key.pem -out $dir/cert.pem");
for my $who ([ 'alice', '/O=Example/OU=R \& D/CN=alice, "A"' ], [ 'stranger', '/O=Example/CN=stranger' ]) {
    my ($name, $subject) = @$who;
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '$subject' -keyout $dir/$name.key -out $dir/$name.csr");
    run("openssl x509 -req -in $dir/$name.csr -CA $dir/cert.pem -CAkey $dir/key.pem -CAcreateserial -days 2 -out $dir/$name.pem");
}

$t->write_conf(<<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:8m;
    upstream model { server 127.0.0.1:%%PORT_1%%; }
    log_format sso '$http_authorization|$http_x_api_key|$http_x_user';
    map $http_authorization $realm { "~*^basic " "people"; default off; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location = /status { llm_status; }
        location = /plain { llm_api_keys %%DIR%%/keys.json; proxy_pass http://model; }
        location /name { llm_api_keys %%DIR%%/keys.json identity=$arg_who; proxy_pass http://model; }
        location /name/post { llm_api_keys %%DIR%%/keys.json identity=$arg_who; client_body_buffer_size 1k; proxy_pass http://model; }
        location /other { llm_api_keys %%DIR%%/other.json identity=$arg_who; proxy_pass http://model; }
        location /guest { llm_api_keys %%DIR%%/keys.json identity=guest; proxy_pass http://model; }
        location /admin/ { llm_api_keys %%DIR%%/keys.json identity=$arg_who; llm_admin; }
        location = /usage { llm_api_keys %%DIR%%/keys.json identity=$arg_who; llm_usage; }

        location /password {
            auth_basic people;
            auth_basic_user_file %%DIR%%/passwords;
            llm_api_keys %%DIR%%/keys.json identity=$remote_user;
            llm_limit requests=1r/h burst=1;
            proxy_pass http://model;
        }
        location /password-or-key {
            auth_basic $realm;
            auth_basic_user_file %%DIR%%/passwords;
            llm_api_keys %%DIR%%/keys.json identity=$remote_user;
            proxy_pass http://model;
        }
        location /denied { deny all; llm_api_keys %%DIR%%/keys.json identity=guest; proxy_pass http://model; }

        location /sso/ {
            auth_request /check;
            auth_request_set $person $upstream_http_x_user;
            llm_api_keys %%DIR%%/keys.json identity=$person;
            proxy_pass http://model;
        }
        location = /check {
            internal;
            llm_api_keys off;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://127.0.0.1:%%PORT_2%%;
        }
        location /sso-open {
            auth_request /check-with-keys;
            llm_api_keys %%DIR%%/keys.json identity=alice;
            proxy_pass http://model;
        }
        location = /check-with-keys { llm_api_keys %%DIR%%/keys.json identity=alice; return 204; }

        # From one location to another.
        location = /from-guest { llm_api_keys %%DIR%%/keys.json identity=guest; try_files /nothing /plain; }
        location = /from-alice { llm_api_keys %%DIR%%/keys.json identity=alice; try_files /nothing /name/x?who=$arg_who; }
        location = /handed-on { llm_api_keys %%DIR%%/keys.json identity=alice; proxy_pass http://model; }
        location /page { llm_api_keys %%DIR%%/keys.json identity=$arg_who; error_page 401 = @guests; llm_errors nginx; proxy_pass http://model; }
        location /fall {
            llm_api_keys %%DIR%%/keys.json identity=picky;
            llm_errors nginx;
            recursive_error_pages on;
            error_page 404 = @nobody;
            proxy_pass http://model;
        }
        location @nobody {
            llm_api_keys %%DIR%%/keys.json identity=$arg_who;
            recursive_error_pages on;
            error_page 401 = @guests;
            proxy_pass http://model;
        }
        location @guests { llm_api_keys %%DIR%%/keys.json identity=guest; proxy_pass http://model; }
        location = /full { llm_api_keys %%DIR%%/keys.json identity=$arg_first; llm_limit requests=1r/h burst=0; llm_errors nginx; error_page 429 = @again; proxy_pass http://model; }
        location @again { llm_api_keys %%DIR%%/keys.json identity=$arg_who; proxy_pass http://model; }
        location = /full-other { llm_api_keys %%DIR%%/keys.json identity=$arg_who; llm_limit requests=1r/h burst=0; llm_errors nginx; error_page 429 = @other; proxy_pass http://model; }
        location @other { llm_api_keys %%DIR%%/other.json identity=$arg_who; proxy_pass http://model; }
        location = /returned { llm_api_keys %%DIR%%/keys.json; ssi on; default_type text/html; return 200 'page <!--#include virtual="/inner/keyed" --> end'; }
        location /page.html { llm_api_keys %%DIR%%/keys.json identity=alice; ssi on; }
        location /inner/keyed { llm_api_keys %%DIR%%/keys.json; proxy_pass http://model; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        access_log %%DIR%%/sso.log sso;
        location / {
            if ($cookie_session = bob) { add_header X-User bob; return 200; }
            if ($cookie_session = new) { return 200; }
            return 401;
        }
    }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl;
        ssl_certificate %%DIR%%/cert.pem;
        ssl_certificate_key %%DIR%%/key.pem;
        ssl_client_certificate %%DIR%%/cert.pem;
        ssl_verify_client optional;
        llm_api_keys %%DIR%%/keys.json identity=$ssl_client_s_dn;
        location / { proxy_pass http://model; }
    }
}
EOF
my $upstream = $t->daemon(1);
$t->start;

sub basic { my ($who, $password) = @_; return (Authorization => 'Basic ' . encode_base64("$who:$password", '')) }

sub ask {
    my ($uri, %o) = @_;

    my $before = $upstream->count;
    my $r = $t->fetch(POST => $uri, body => chat_request(), %o);
    $r->{contacted} = $upstream->count - $before;
    return $r;
}

sub let_in {
    my ($name, $key, $uri, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my $r = ask($uri, %o);
        is($r->{status},    200, 'status');
        is($r->{contacted}, 1,   'forwarded once');
        is($t->log_line($r->{id})->{key}, $key, 'as this key');
    };
    return;
}

sub refused {
    my ($name, $why, $uri, %o) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    case $name => sub {
        my $r = ask($uri, %o);
        is($r->{status},    401, 'status');
        is($r->{contacted}, 0,   'the upstream is not contacted');
        is($t->log_line($r->{id})->{refusal}, $why, 'why');
    };
    return;
}

# --- a name

let_in('a name without a secret', 'alice', '/name?who=alice');
let_in('a name of a key that has a secret too', 'bob', '/name?who=bob');
let_in('a key where there is no name', 'bob', '/name', key => 'sk-bob');
let_in('a key goes before a name', 'bob', '/name?who=alice', key => 'sk-bob');
let_in('a body that comes in pieces', 'alice', '/name/post?who=alice', body => chat_request(messages => [ { role => 'user', content => 'x' x 100_000 } ]));
let_in('x-api-key', 'bob', '/name?who=alice', headers => [ 'X-Api-Key' => 'sk-bob' ]);
refused('no name and no key', 'no_key', '/name');
refused('an empty name', 'no_key', '/name?who=');
refused('a name that no key has', 'invalid_key', '/name?who=nobody');
refused('another case', 'invalid_key', '/name?who=Alice');
refused('more than a name', 'invalid_key', '/name?who=alice2');
refused('the name of another file\'s key only', 'invalid_key', '/other?who=bob');
refused('a very long name', 'invalid_key', '/name?who=' . 'a' x 4000);
refused('a wrong key beside a good name', 'invalid_key', '/name?who=alice', key => 'sk-wrong');
refused('a wrong x-api-key beside a good name', 'invalid_key', '/name?who=alice', headers => [ 'X-Api-Key' => 'sk-wrong' ]);
refused("\"$_\", a key in no form that is taken, beside a good name", 'no_key', '/name?who=alice', headers => [ Authorization => $_ ])
    for 'Token sk-bob', 'Bearer Bearer sk-bob', 'Bearer sk bob';
refused('the same for guests', 'no_key', '/guest', headers => [ 'X-Api-Key' => 'sk bob' ]);
let_in('an empty header is no key', 'alice', '/name?who=alice', headers => [ 'X-Api-Key' => '' ]);
refused('a name as a key', 'invalid_key', '/name', key => 'alice');
refused('where the file is used by key', 'no_key', '/plain?who=alice');
refused($_, $_ eq 'off' ? 'disabled' : $_ eq 'past' ? 'expired' : 'network', "/name?who=$_") for qw(off past elsewhere);
is(ask('/name?who=picky')->{status}, 404, 'another model than those of the key');

# What is hashed of a name is no secret: no header may say it.
for my $text ("the key with the name\nalice", "the key with the name alice", "the\tkey with the name\talice") {
    my $r = ask('/name', headers => [ 'X-Api-Key' => $text =~ s/\n/\x0b/r ]);
    is($r->{status}, 401, 'a name dressed up as a key');
}
refused('the digest of a name', 'invalid_key', '/name', key => sha256_hex("the key with the name\nalice"));

# --- a constant

let_in('a guest', 'guest', '/guest');
let_in('a key, where others are guests', 'bob', '/guest', key => 'sk-bob');
refused('a wrong key makes no guest', 'invalid_key', '/guest', key => 'sk-wrong');
case 'the limits are the guest\'s' => sub {
    my $c = $t->client;
    $c->request(POST => '/guest', headers => [ 'X-Reply', json({ hold => 'guest' }) ], body => chat_request(), id => $t->new_id);
    $t->wait_running(1) if $t->can('wait_running');
    my $r = ask('/guest');
    is($r->{status}, 429, 'one guest at a time');
    is(ask('/guest', key => 'sk-bob')->{status}, 200, 'others do not wait for guests');
    $upstream->go('guest');
    is($c->response->{status}, 200, 'the first is served');
    $c->close;
};
is(ask('/denied')->{status}, 403, 'nginx\'s own refusals come before');

# --- a password, which is looked at first

refused('no password', '', '/password');
refused('a wrong password', '', '/password', headers => [ basic(alice => 'wrong') ]) for 1 .. 4;
let_in('wrong passwords have touched no limit', 'alice', '/password', headers => [ basic(alice => 'secret') ]);
let_in('nor has', 'alice', '/password', headers => [ basic(alice => 'secret') ]);
is(ask('/password', headers => [ basic(alice => 'secret') ])->{status}, 429, 'the limit is the key\'s');
refused('a good password of somebody without a key', 'invalid_key', '/password', headers => [ basic(nobody => 'secret') ]);
refused('a key alone', '', '/password', key => 'sk-bob');
refused('a wrong key and a good password', 'invalid_key', '/password', headers => [ basic(bob => 'secret'), 'X-Api-Key' => 'sk-wrong' ]);
let_in('password or key: a password', 'alice', '/password-or-key', headers => [ basic(alice => 'secret') ]);
let_in('password or key: a key', 'bob', '/password-or-key', key => 'sk-bob');
refused('password or key: a wrong password', '', '/password-or-key', headers => [ basic(alice => 'wrong') ]);
refused('password or key: a key and a wrong password', '', '/password-or-key', headers => [ basic(alice => 'wrong'), 'X-Api-Key' => 'sk-bob' ]);
refused('password or key: none', 'no_key', '/password-or-key');

# --- a sign-on

let_in('signed on', 'bob', '/sso/', headers => [ Cookie => 'session=bob' ]);
let_in('a header that the client sends itself is nothing', 'bob', '/sso/', headers => [ Cookie => 'session=bob', 'X-User' => 'alice' ]);
refused('not signed on', '', '/sso/');
refused('not signed on, with the header', '', '/sso/', headers => [ 'X-User' => 'alice' ]);
refused('signed on as nobody in particular', 'no_key', '/sso/', headers => [ Cookie => 'session=new', 'X-User' => 'alice' ]);
refused('a key, but not signed on', '', '/sso/', key => 'sk-bob');
let_in('a key, and signed on', 'bob', '/sso/', key => 'sk-bob', headers => [ Cookie => 'session=new' ]);
unlike($t->read_file('sso.log'), qr/sk-/, 'no key gets to where people sign on');
refused('a check that is behind the same keys lets nobody in', 'no_key', '/sso-open');

# --- a certificate

sub by_certificate {
    my ($name, @more) = @_;

    my @with = $name ? ('--cert', "$dir/$name.pem", '--key', "$dir/$name.key") : ();
    open my $curl, '-|', 'curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--cacert', "$dir/cert.pem", @with, @more, '-H', 'X-Test: ' . (my $id = $t->new_id),
        '--resolve', 'localhost:' . $t->port(3) . ':127.0.0.1', '-d', chat_request(), 'https://localhost:' . $t->port(3) . '/v1/chat/completions'
        or die "curl: $!\n";
    my $status = <$curl>;
    close $curl;
    return "$status " . $t->log_line($id)->{key};
}

is(by_certificate('alice'), "200 $dn", 'a certificate, whose name has commas, quotes and spaces');
is(by_certificate('stranger'), '401 ', 'a good certificate that no key is named after');
is(by_certificate(''), '401 ', 'no certificate');
is(by_certificate('', '-H', 'Authorization: Bearer sk-bob'), '200 bob', 'no certificate, but a key');
is(by_certificate('alice', '-H', 'Authorization: Bearer sk-no'), '401 ', 'a certificate, but a wrong key');

# --- from one location to another

refused('who is let in as a guest is nobody where keys are needed', 'no_key', '/from-guest');
refused('nor is who has another name there', 'no_key', '/from-alice?who=bob');
let_in('who has the same name there is', 'alice', '/from-alice?who=alice');
let_in('an error page for guests', 'guest', '/page');
let_in('which those with a name do not see', 'alice', '/page?who=alice');
for my $size (10, 100_000) {
    let_in("one name after another, with a body of $size", 'guest', '/fall', body => chat_request(messages => [ { role => 'user', content => 'x' x $size } ]));
}
case 'what a page includes needs a key of its own' => sub {
    my $before = $upstream->count;
    like($t->fetch(GET => '/page.html')->{body}, qr/page/, 'the page');
    is($upstream->count, $before, 'the upstream is not contacted');
};
case 'nor is it let in by a page that came before anybody looked at keys' => sub {
    my $before = $upstream->count;
    like($t->fetch(GET => '/returned')->{body}, qr/page/, 'the page');
    is($upstream->count, $before, 'the upstream is not contacted');
};
case 'a header that named a user of one key names none of another' => sub {
    is(ask('/full?first=app&who=alice', headers => [ 'X-User' => 'n0' ])->{status}, 200, 'the application\'s only request');
    my $r = ask('/full?first=app&who=alice', headers => [ 'X-User' => 'n1' ]);
    is($r->{status}, 200, 'another key has its own');
    my $line = $t->log_line($r->{id});
    is("$line->{key} $line->{user}", 'alice ann', 'and its own user');
};
case 'the same name in another file is another user\'s' => sub {
    is(ask('/full-other?who=alice')->{status}, 200, 'the only request by the first file');
    my $r = ask('/full-other?who=alice');
    is($r->{status}, 200, 'the other file has no limit');
    my $line = $t->log_line($r->{id});
    is("$line->{key} $line->{user}", 'alice someone', 'whose key and user it is');
};
case 'a reply that leads elsewhere' => sub {
    my $r = ask('/handed-on', reply => { headers => [ 'X-Accel-Redirect' => '/plain' ], body => '' });
    is($r->{status}, 401, 'needs a key there');
};

# --- what operators and owners of keys do

is($t->fetch(GET => '/admin/keys?who=root')->{status}, 200, 'an admin by name');
is($t->fetch(GET => '/admin/keys?who=alice')->{status}, 403, 'who is none');
like($t->fetch(GET => '/usage?who=alice', headers => [ Accept => 'application/json' ])->{body}, qr/"alice"/, 'usage by name');

# --- a key that is taken away

$t->wait_keeper;
case 'a request in flight ends with its key' => sub {
    my $c = $t->client;
    $c->request(POST => '/name?who=alice', headers => [ 'X-Reply', json({ hold => 'gone' }) ], body => chat_request(), id => my $id = $t->new_id);
    wait_until('the request to run', sub { $t->zone->{leases}{used} // $t->zone->{in_flight} // 1 });
    wait_until('the upstream to have it', sub { $upstream->last_request->{uri} =~ /who=alice/ });
    $t->write_file('keys.json', key_file([ grep { $_->{name} ne 'alice' } @keys ]));
    is($c->response->{status}, 401, 'as if it had come now');
    is($t->log_line($id)->{refusal}, 'revoked', 'why');
    $c->close;
    refused('the name is gone', 'invalid_key', '/name?who=alice');
    let_in('another is still there', 'bob', '/name?who=bob');
    $t->write_file('keys.json', key_file(\@keys));
    wait_until('alice is back', sub { ask('/name?who=alice')->{status} == 200 });
    $t->reload;
    let_in('after a reload', 'alice', '/name?who=alice');
    $upstream->go('gone');
};

# --- the configuration

my $conf = <<'EOF';
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    server { listen 127.0.0.1:%%PORT_0%%; location / { HERE return 204; } }
}
EOF
for (
    [ 'llm_api_keys %%DIR%%/keys.json identity=$remote_user;',                   qr/is successful/ ],
    [ 'llm_api_keys %%DIR%%/keys.json identity=guest zone=llm;',                 qr/is successful/ ],
    [ 'llm_api_keys %%DIR%%/keys.json zone=llm identity=guest;',                 qr/is successful/ ],
    [ 'llm_api_keys %%DIR%%/keys.json;',                                         qr/keys\.json:\d+:\d+: this key has neither "sha256" nor "key"[^\n]* in \S+check\.conf:\d+/ ],
    [ 'llm_api_keys %%DIR%%/keys.json identity=;',                               qr/invalid parameter "identity=" in "llm_api_keys": expected zone=name or identity=/ ],
    [ 'llm_api_keys %%DIR%%/keys.json identity=a identity=b;',                   qr/duplicate "identity=b"/ ],
    [ 'llm_api_keys %%DIR%%/keys.json identity=$nothing_such;',                  qr/unknown "nothing_such" variable/ ],
    [ 'llm_api_keys off identity=guest;',                                        qr/"off" takes no other parameter/ ],
    [ 'satisfy any; allow 127.0.0.1; deny all; llm_api_keys %%DIR%%/keys.json identity=$remote_user;', qr/"identity=" in "llm_api_keys" cannot stand under "satisfy any"/ ],
) {
    my ($line, $want) = @$_;
    my ($good, $said) = $t->check_conf($conf =~ s/HERE/$line/r);
    like($said, $want, $line);
}

$t->finish;
