# Why: a mistake in the configuration must be found by `nginx -t`, with the place and what was expected; and the module must
# not add names to the process it is loaded into.

use strict;
use warnings;

use Cwd qw(abs_path);

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json'  => key_file([ { name => 'alice', secret => 'sk-alice' } ]),
        'more.json'  => key_file([ { name => 'bob',   secret => 'sk-bob' } ]),
    },
    conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { llm_api_keys %%DIR%%/keys.json; }
        location = /status { llm_status; }
    }
}
EOF

# A configuration with these lines in http, server and location.
sub conf_with {
    my ($http, $server, $location) = map { $_ // '' } @_[ 0 .. 2 ];

    return <<"EOF";
%%HTTP_BEGIN%%
    $http
    server {
        listen 127.0.0.1:%%PORT_0%%;
        $server
        location / {
            $location
        }
    }
}
EOF
}

my $zone = 'llm_zone llm:4m;';
my $keys = 'llm_api_keys %%DIR%%/keys.json;';

my @good = (
    [ 'nothing of the module', '' ],
    [ 'a zone alone',                $zone ],
    [ 'keys in http',                "$zone $keys" ],
    [ 'keys in server',              $zone, $keys ],
    [ 'keys in location',            $zone, '', $keys ],
    [ 'keys before the zone',        "$keys $zone" ],
    [ 'the zone by name',            $zone, '', 'llm_api_keys %%DIR%%/keys.json zone=llm;' ],
    [ 'two zones, by name',          "$zone llm_zone b:4m;", '', 'llm_api_keys %%DIR%%/keys.json zone=b;' ],
    [ 'one file at many places',     "$zone $keys", $keys, $keys ],
    [ 'two files',                   "$zone $keys", 'llm_api_keys %%DIR%%/more.json;' ],
    [ 'off at every level',          "$zone llm_api_keys off;", 'llm_api_keys off;', 'llm_api_keys off;' ],
    [ 'off without a zone',          'llm_api_keys off;' ],
    [ 'usage_inject at every level', "$zone llm_usage_inject off;", 'llm_usage_inject final;', 'llm_usage_inject continuous;' ],
    [ 'status beside keys',          "$zone $keys", '', 'llm_status;' ],
    [ 'metrics beside keys',         "$zone $keys", '', 'llm_metrics;' ],
    [ 'metrics without a zone',      '', '', 'llm_metrics;' ],
    [ 'errors at every level',       'llm_errors openai;', 'llm_errors anthropic;', 'llm_errors ollama;' ],
    [ 'errors auto and nginx',       'llm_errors auto;', 'llm_errors nginx;' ],
    [ 'an error page, without a zone', '', 'error_page 502 @e; location @e { llm_error; }' ],
    [ 'an error page beside keys',   "$zone $keys", '', "llm_error; $keys" ],
    [ 'a size in kilobytes',         'llm_zone llm:1024k;' ],
    [ 'a path relative to the prefix', $zone, '', 'llm_api_keys keys.json;' ],
);
for (@good) {
    my ($name, @where) = @$_;
    my ($ok, $said) = $t->check_conf(conf_with(@where));
    ok($ok, "accepted: $name") or diag($said);
    unlike($said, qr/\[warn\]|\[emerg\]/, "nothing to say: $name");
}

# Limits that limit nothing.
my $limit = 'llm_limit requests=10r/s;';
for ([ 'in http', "$zone $limit" ], [ 'in server', $zone, $limit ], [ 'in location', $zone, '', $limit ],
    [ 'where keys are off', "$zone $keys", '', "$limit llm_api_keys off;" ], [ 'beside others', "$zone $limit", $keys, "$limit llm_api_keys off;" ]) {
    my ($name, @where) = @$_;
    my ($ok, $said) = $t->check_conf(conf_with(@where));
    ok($ok, "accepted: limits without keys, $name");
    my @warned = $said =~ /\[warn\].*"llm_limit" limits nothing.*check\.conf:\d+/g;
    is(scalar @warned, 1, "with a warning: $name") or diag($said);
}
for ([ "$zone $limit", $keys ], [ "$zone $limit", '', $keys ], [ $zone, $limit, $keys ], [ $zone, $keys, $limit ], [ "$zone $keys", $limit, 'llm_api_keys off;' ]) {
    my ($ok, $said) = $t->check_conf(conf_with(@$_));
    ok($ok, "accepted: @$_");
    unlike($said, qr/\[warn\]/, 'nothing to say');
}

# What is wrong, what the message must name, and where.
my @bad = (
    [ 'zone without a size',      qr/llm_zone|zone/,                 'llm_zone llm;' ],
    [ 'zone without a name',      qr/zone/,                          'llm_zone :4m;' ],
    [ 'zone without arguments',   qr/invalid number of arguments/,   'llm_zone;' ],
    [ 'zone with a bad size',     qr/size/,                          'llm_zone llm:lots;' ],
    [ 'zone with a negative size', qr/size/,                         'llm_zone llm:-4m;' ],
    [ 'zone that is too small',   qr/too small|at least/,            'llm_zone llm:8k;' ],
    [ 'the same zone twice',      qr/llm/,                           'llm_zone llm:4m; llm_zone llm:4m;' ],
    [ 'the same zone, other size', qr/llm/,                          'llm_zone llm:4m; llm_zone llm:8m;' ],
    [ 'unknown parameter of a zone', qr/foo=bar/,                    'llm_zone llm:4m foo=bar;' ],
    [ 'zone in server',           qr/not allowed here/,              '', $zone ],
    [ 'zone in location',         qr/not allowed here/,              '', '', $zone ],
    [ 'keys without a zone',      qr/zone/,                          $keys ],
    [ 'keys without a file',      qr/invalid number of arguments/,   "$zone llm_api_keys;" ],
    [ 'keys with an empty name',  qr/\[emerg\]/,                     "$zone llm_api_keys \"\";" ],
    [ 'keys with too much',       qr/invalid number of arguments/,   "$zone llm_api_keys a zone=llm identity=b c;" ],
    [ 'keys with an unknown parameter', qr/foo=bar/,                 "$zone llm_api_keys %%DIR%%/keys.json foo=bar;" ],
    [ 'off with a zone',          qr/\[emerg\]/,                     "$zone llm_api_keys off zone=llm;" ],
    [ 'keys twice at one level',  qr/is duplicate/,                  "$zone $keys $keys" ],
    [ 'keys and off at one level', qr/is duplicate/,                 "$zone $keys llm_api_keys off;" ],
    [ 'an unknown zone',          qr/"nowhere"|nowhere/,             "$zone llm_api_keys %%DIR%%/keys.json zone=nowhere;" ],
    [ 'an empty zone name',       qr/zone/,                          "$zone llm_api_keys %%DIR%%/keys.json zone=;" ],
    [ 'state twice',              qr/duplicate "state=/,             'llm_zone llm:4m state=/tmp/a.db state=/tmp/b.db;' ],
    [ 'state without a file',     qr/state=.*expected state=file/,   'llm_zone llm:4m state=;' ],
    [ 'a time that is none',      qr/keep=lots.*keep=400d/,          'llm_zone llm:4m state=/tmp/a.db keep=lots;' ],
    [ 'keep without state',       qr/"keep=".*needs "state="/,       'llm_zone llm:4m keep=400d;' ],
    [ 'one file of two zones',    qr/state of llm_zone "llm" already/, 'llm_zone llm:4m state=/tmp/a.db; llm_zone b:4m state=/tmp/a.db;' ],
    [ 'two zones and none named', qr/zone=/,                         "$zone llm_zone b:4m; $keys" ],
    [ 'a missing file',           qr/nosuch\.json.*No such file/,    "$zone llm_api_keys %%DIR%%/nosuch.json;" ],
    [ 'a directory',              qr/html/,                          "$zone llm_api_keys %%DIR%%/html;" ],
    [ 'usage_inject without a value', qr/invalid number of arguments/, "$zone llm_usage_inject;" ],
    [ 'usage_inject with too much', qr/invalid number of arguments/, "$zone llm_usage_inject final off;" ],
    [ 'usage_inject with something else', qr/"on".*expected final, continuous or off/, $zone, 'llm_usage_inject on;' ],
    [ 'usage_inject twice at one level', qr/is duplicate/,           $zone, '', 'llm_usage_inject off; llm_usage_inject final;' ],
    [ 'status in http',           qr/not allowed here/,              "$zone llm_status;" ],
    [ 'status in server',         qr/not allowed here/,              $zone, 'llm_status;' ],
    [ 'status with arguments',    qr/invalid number of arguments/,   $zone, '', 'llm_status on;' ],
    [ 'status twice',             qr/is duplicate/,                  $zone, '', 'llm_status; llm_status;' ],
    [ 'metrics in http',          qr/not allowed here/,              "$zone llm_metrics;" ],
    [ 'metrics in server',        qr/not allowed here/,              $zone, 'llm_metrics;' ],
    [ 'metrics with arguments',   qr/invalid number of arguments/,   $zone, '', 'llm_metrics on;' ],
    [ 'metrics twice',            qr/is duplicate/,                  $zone, '', 'llm_metrics; llm_metrics;' ],
    [ 'metrics beside status',    qr/"llm_metrics" cannot stand beside "llm_status"/, $zone, '', 'llm_status; llm_metrics;' ],
    [ 'status beside metrics',    qr/"llm_status" cannot stand beside "llm_metrics"/, $zone, '', 'llm_metrics; llm_status;' ],
    [ 'unknown errors',           qr/"azure" in "llm_errors": expected openai, anthropic, ollama, gemini, auto or nginx/, 'llm_errors azure;' ],
    [ 'errors in upper case',     qr/"OpenAI" in "llm_errors"/,      'llm_errors OpenAI;' ],
    [ 'errors without a value',   qr/invalid number of arguments/,   'llm_errors;' ],
    [ 'errors with two values',   qr/invalid number of arguments/,   'llm_errors openai anthropic;' ],
    [ 'errors twice in http',     qr/is duplicate/,                  'llm_errors auto; llm_errors openai;' ],
    [ 'errors twice in location', qr/is duplicate/,                  '', '', 'llm_errors nginx; llm_errors nginx;' ],
    [ 'errors in if',             qr/not allowed here/,              '', '', 'if ($args) { llm_errors nginx; }' ],
    [ 'an error page in server',  qr/not allowed here/,              '', 'llm_error;' ],
    [ 'an error page with a value', qr/invalid number of arguments/, '', '', 'llm_error on;' ],
    [ 'an error page twice',      qr/is duplicate/,                  '', '', 'llm_error; llm_error;' ],
    [ 'an error page beside status', qr/"llm_error" cannot stand beside "llm_status"/, $zone, '', 'llm_status; llm_error;' ],
    [ 'status beside an error page', qr/"llm_status" cannot stand beside "llm_error"/, $zone, '', 'llm_error; llm_status;' ],
    (map {
        my $d = $_;
        my $why = qr/"$d" cannot stand beside another directive that answers/;
        map { [ "$d: $_", $why, $zone, '', $_ ] } "$d; proxy_pass http://127.0.0.1:1;", "proxy_pass http://127.0.0.1:1; $d;", "$d; stub_status;",
            "location /nosuch/ { $d; fastcgi_pass 127.0.0.1:1; }"
    } qw(llm_error llm_status llm_metrics llm_usage)),
    (map { my $d = $_; [ "$d in if", qr/not allowed here/, $zone, '', "if (\$args) { $d; }" ], [ "$d in limit_except", qr/not allowed here/, $zone, '', "limit_except GET { $d; }" ] }
        qw(llm_error llm_status llm_metrics llm_usage)),
    [ 'usage without keys',       qr/"llm_usage" needs "llm_api_keys"/, $zone, '', 'llm_usage;' ],
    [ 'keys in limit_except',     qr/not allowed here/,              $zone, '', 'limit_except GET { llm_api_keys off; }' ],
    [ 'keys in if',               qr/not allowed here/,              $zone, '', "if (\$args) { $keys }" ],
    (map { my ($parameter) = /(\S+);\z/; [ "quotes that nginx keeps: $_", qr/"\Q$parameter\E" in "llm_\w+": nginx would keep the quotes/, $zone, '', $_ ] }
        'llm_api_keys %%DIR%%/keys.json zone="llm";', 'llm_api_keys %%DIR%%/keys.json identity="$remote_user";', q(llm_limit concurrency=1 per='user';),
        'llm_usage_weights prompt=1 completion="4";', 'llm_admin zone="llm";'),
    [ 'a state in quotes that nginx keeps', qr/"state="x\.db"" in "llm_zone": nginx would keep the quotes/, 'llm_zone llm:4m state="x.db";' ],
    [ 'a variable of ours set',   qr/duplicate/,                     $zone, '', 'set $llm_key x;' ],
);
for (@bad) {
    my ($name, $pattern, @where) = @$_;
    my ($ok, $said) = $t->check_conf(conf_with(@where));
    ok(!$ok, "refused: $name");
    my ($line) = $said =~ /^(.*\[emerg\].*)$/m;
    like($line // '', $pattern, "says what: $name");
    like($line // '', qr/ in \S+check\.conf:\d+/, "says where: $name");
}

case 'a later version\'s directive' => sub {
    my ($ok, $said) = $t->check_conf(conf_with($zone, '', 'llm_fleet;'));
    ok(!$ok, 'is not silently ignored');
    like($said, qr/unknown directive/, 'but unknown');
};

case 'the example' => sub {
    my ($root) = __FILE__ =~ m{\A(.*?)[^/]*\z};
    my $examples = abs_path(($root || './') . '../conf-examples');
    my ($load) = $t->read_file('nginx.conf') =~ /^(load_module \S+;)/m;
    open my $file, '<', "$examples/nginx.conf" or die "$examples/nginx.conf: $!\n";
    my $text = do { local $/; <$file> };
    $text =~ s/^load_module .*/$load/m;
    $text =~ s/^user .*//m if $> != 0;
    $text =~ s{/var/lib/nginx/llm/}{%%DIR%%/state/}g;
    $text =~ s{/etc/nginx/llm/|/var/log/nginx/|/run/}{%%DIR%%/}g;
    $text =~ s/include llm_proxy\.conf/include $examples\/llm_proxy.conf/g;
    my ($ok, $said) = $t->check_conf($text);
    ok($ok, 'is good') or diag($said);
    unlike($said, qr/\[warn\]/, 'nothing to say');
};

case 'exported names' => sub {
    my ($path) = $t->read_file('nginx.conf') =~ /load_module (\S+);/;
    my @names = sort map { (split)[-1] } `nm -D --defined-only $path`;
    # Its own initialisers belong to a sanitizer, not to us.
    @names = grep { !/asan|ubsan|sanitizer/ } @names if $ENV{LLM_PRELOAD};
    is_deeply(\@names, [qw(ngx_module_names ngx_module_order ngx_modules)], 'the three that nginx looks for and no other');
};

case 'it runs' => sub {
    $t->start;
    is($t->fetch(GET => '/')->{status}, 401, 'a key is needed');
    is(ref $t->status->{zones}, 'ARRAY', 'the status is there');
};

case 'without a master' => sub {
    my $single = LLM::Test->new(
        workers => 0,
        status  => [ 0, '/status' ],
        files   => { 'keys.json' => key_file([ { name => 'alice', secret => 'sk-alice' } ]), 'html/x' => 'x' },
        conf    => conf_with($zone, 'location = /status { llm_status; }', $keys),
    );
    $single->start;
    is($single->fetch(GET => '/x')->{status}, 401, 'a key is needed');
    is($single->fetch(GET => '/x', key => 'sk-alice')->{status}, 200, 'a key opens');
    is($single->wait_idle->{keys}[0]{requests}, 1, 'what it does is counted');
    $single->check_and_stop;
};

case 'without a zone status is empty' => sub {
    my $other = LLM::Test->new(conf => conf_with('', '', 'llm_status;'));
    my ($ok, $said) = $other->check_conf;
    if ($ok) {
        $other->start;
        my $r = $other->fetch(GET => '/');
        is($r->{status}, 200, 'answered');
        like($r->{body}, qr/"zones":\s*\[\s*\]/, 'no zones');
    } else {
        like($said, qr/\[emerg\].*zone/, 'or refused, with a reason');
    }
    $other->check_and_stop;
};

$t->finish;
