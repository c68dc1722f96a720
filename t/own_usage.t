# Why: who has a key wants to know what is left of it, also when nothing is. What they see must be true, must be of their key
# alone, and asking must cost nothing.

use strict;
use warnings;

use JSON::PP;
use POSIX qw(strftime);

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => JSON::PP->new->utf8->encode({
            plans => { pro => { quota => '100/total', requests => '60r/m' } },
            keys  => [
                { name => 'alice', user => 'ann', key => 'sk-alice', plan => 'pro', expires => '2031-02-03T04:05:06Z' },
                { name => 'alice-2', user => 'ann', key => 'sk-alice-2' },
                { name => 'bob', key => 'sk-bob' },
                { name => 'off', key => 'sk-off', enabled => JSON::PP::false },
            ] }),
    },
    conf => <<'CONF');
%%HTTP_BEGIN%%
    llm_zone llm:2m;
    llm_api_keys %%DIR%%/keys.json;
    llm_usage_weights completion=2;
    llm_limit per=user tokens=1000/m concurrency=7;
    llm_limit per=address failures=5r/m;
    log_format asked '$uri $status $llm_key $llm_outcome $llm_refusal';
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /v1/ { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /v1/usage { llm_usage; access_log %%DIR%%/asked.log asked; }
        location = /named/usage { llm_api_keys %%DIR%%/keys.json identity=$http_x_who; llm_usage; }
        location = /to-usage { rewrite ^ /v1/usage last; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
CONF
$t->daemon(1);
$t->start;

my $path = '/v1/chat/completions';
my $json = JSON::PP->new->utf8;

sub used_by {
    my ($key, %more) = @_;

    my $r = $t->fetch(GET => $more{uri} // '/v1/usage', key => $key, headers => $more{headers} // []);
    return $r->{status} == 200 ? $json->decode($r->{body}) : $r;
}

sub ask {
    my ($key, $model) = @_;
    return $t->fetch(POST => $path, key => $key, body => $json->encode({ model => $model // 'm1', messages => [] }))->{status};
}

sub limits_of { my ($u) = @_; return { map { ("$_->{per} $_->{limit}" => $_) } @{ $u->{limits} } } }

case 'a key that was never used' => sub {
    my $u = used_by('sk-alice');
    is_deeply([ sort keys %$u ], [qw(expires key limits models month plan today user)], 'members');
    is_deeply([ @$u{qw(key user plan expires)} ], [ 'alice', 'ann', 'pro', '2031-02-03T04:05:06Z' ], 'whose it is');
    is_deeply($u->{models}, [], 'no model');
    is_deeply([ @{ $u->{today} }{qw(requests total_tokens cost)} ], [ 0, 0, 0 ], 'nothing was used');
    is($u->{today}{since}, strftime('%Y-%m-%dT00:00:00Z', gmtime), 'today');
    is($u->{month}{since}, strftime('%Y-%m-01T00:00:00Z', gmtime), 'this month');
    my $limits = limits_of($u);
    is_deeply([ sort keys %$limits ], [ 'key quota', 'key requests', 'user concurrency', 'user tokens' ], 'limits of the key and of its user');
    is_deeply([ @{ $limits->{'key quota'} }{qw(period maximum remaining reset_ms)} ], [ 'total', 100, 100, undef ], 'the quota');
    is_deeply([ @{ $limits->{'user tokens'} }{qw(period maximum remaining)} ], [ '1m', 1000, 1000 ], 'a rate');
};

case 'what it has used' => sub {
    is(ask('sk-alice'),            200, 'a request');
    is(ask('sk-alice', 'm2'),      200, 'of another model');
    is(ask('sk-alice-2', 'm2'),    200, 'of another key of the user');
    is(ask('sk-bob', 'm3'),        200, 'of somebody else');
    $t->wait_idle;
    my $u = used_by('sk-alice');
    is_deeply([ @{ $u->{$_} }{qw(requests prompt_tokens completion_tokens total_tokens cost)} ], [ 2, 14, 20, 34, 54 ], $_) for qw(today month);
    is_deeply({ map { $_->{name} => $_->{today}{requests} } @{ $u->{models} } }, { m1 => 1, m2 => 1 }, 'its own models');
    is($u->{models}[0]{month}{cost}, 27, 'what one cost');
    is(limits_of($u)->{'key quota'}{remaining}, 46, 'less is left of the quota');
    cmp_ok(limits_of($u)->{'user tokens'}{remaining}, '<', 1000 - 54, 'and of what its user has, by both keys');
    is_deeply({ map { $_->{name} => $_->{today}{requests} } @{ used_by('sk-bob')->{models} } }, { m3 => 1 }, 'nobody sees what another used');
    is(used_by('sk-bob')->{user}, '', 'a key without a user');
};

case 'a quota that is spent' => sub {
    is(ask('sk-alice'), 200, 'one more');
    is(ask('sk-alice'), 200, 'and one');
    is(ask('sk-alice'), 429, 'then it is spent');
    my $u = used_by('sk-alice');
    is($u->{today}{requests}, 4, 'it is told what was used, refusals left out');
    is(limits_of($u)->{'key quota'}{remaining}, 0, 'and that nothing is left');
};

case 'asking costs nothing' => sub {
    my $before = $json->decode($t->fetch(GET => '/status')->{body})->{zones}[0];
    my $left   = limits_of(used_by('sk-alice'))->{'key requests'}{remaining};
    used_by('sk-alice') for 1 .. 20;
    my $after = $json->decode($t->fetch(GET => '/status')->{body})->{zones}[0];
    is_deeply($after->{$_}, $before->{$_}, "$_ are the same") for qw(totals refusals keys);
    cmp_ok(limits_of(used_by('sk-alice'))->{'key requests'}{remaining}, '>=', $left, 'no request was taken');
};

case 'who is known without a key' => sub {
    my @html = (Accept => 'text/html');
    my $page = sub { return $t->fetch(GET => $_[0], headers => [ @html, @_[ 1 .. $#_ ] ])->{body} };
    my $plain = $page->('/v1/usage');
    unlike($plain, qr/<body[^>]*data-known/, 'a page that has to ask for a key');
    is($page->('/named/usage'), $plain, 'also where this request has no name');
    my $known = $page->('/named/usage', 'X-Who' => 'bob');
    is($known =~ s/\n<body data-known/\n<body/r, $plain, 'one that need not, and is else the same');
    isnt($known, $plain, 'says so to its script');
    unlike($known, qr/bob/, 'and nothing of whom');
    is(used_by(undef, uri => '/named/usage', headers => [ 'X-Who' => 'bob' ])->{key}, 'bob', 'which then asks without a key');
    is(used_by('sk-alice', uri => '/named/usage', headers => [ 'X-Who' => 'bob' ])->{key}, 'alice', 'or with one, which comes first');
    is(used_by(undef, uri => '/named/usage', headers => [ 'X-Who' => $_ ])->{status}, 401, "nobody is called $_") for 'carol';
};

case 'who may not ask' => sub {
    is(used_by('sk-off')->{status}, 401, 'a disabled key');
    is(used_by('sk-wrong')->{status}, 401, 'a wrong key');
    is($t->fetch(GET => '/v1/usage')->{status}, 401, 'no key');
    is($t->fetch(POST => '/v1/usage', key => 'sk-bob', body => '{}')->{status}, 405, 'POST');
    used_by('sk-wrong') for 1 .. 6;
    is(used_by('sk-wrong')->{status}, 429, 'guesses are slowed as everywhere');
    is(ref used_by('sk-alice')->{limits}, 'ARRAY', 'not those who are known');
};

case 'the page' => sub {
    my $r = $t->fetch(GET => '/v1/usage', headers => [ Accept => 'text/html,application/xhtml+xml,*/*;q=0.8' ]);
    is($r->{status}, 200, 'needs no key');
    like($r->{headers}{'content-type'}, qr{\Atext/html}, 'is HTML');
    like($r->{headers}{'content-security-policy'}, qr/default-src 'none'/, 'with a strict policy');
    unlike($r->{body}, qr/alice/, 'has nothing of anybody in it');
    $r = used_by('sk-bob', headers => [ Accept => 'application/json' ]);
    is($r->{key}, 'bob', 'its script asks for JSON');
    is(used_by('sk-bob', uri => '/to-usage')->{key}, 'bob', 'an internal redirect leads to it too');
};

case 'the log' => sub {
    my @lines = split /\n/, $t->read_file('asked.log');
    ok(scalar(grep { m{\A/v1/usage 200 alice  \z} || m{\A/v1/usage 200 alice - -\z} } @lines), 'has the name of the key') or diag(explain(\@lines));
    ok(scalar(grep { m{\A/v1/usage 401 \S* ?refused invalid_key\z} } @lines), 'and why somebody was refused');
};

$t->finish;
