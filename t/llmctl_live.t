# Why: in a bad moment an operator types these commands. They must find the gateway, do what they say to the key that is named, and say
# plainly why not, where it does not work. What the screen shows comes from clients, and must not rule the terminal.

use strict;
use warnings;
use utf8;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;

use LLM::Streams;
use LLM::Test;

my $llmctl = $ENV{LLMCTL} || abs_path(dirname(__FILE__) . '/../build/llmctl');
my $odd    = "wén 你好/%2F";
my $json   = JSON::PP->new->utf8;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => $json->encode({ keys => [
            { name => 'alice', user => 'ann', key => 'sk-alice', quota => '100/total' },
            { name => 'bob', key => 'sk-bob' },
            { name => 'ops', key => 'sk-ops-0123456789', admin => JSON::PP::true },
            { name => $odd, key => 'sk-odd' },
        ] }),
        'admin.key' => "sk-ops-0123456789\n",
        'other.key' => "sk-bob\r\n",
        'empty.key' => "\n",
    },
    conf => <<'CONF');
%%HTTP_BEGIN%%
    llm_zone llm:2m;
    llm_usage_inject off;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /v1/ { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /slow/ { proxy_pass http://127.0.0.1:%%PORT_2%%; }
        location = /status { llm_api_keys off; llm_status; }
        location /llm/ {
            location ^~ /llm/admin/ { llm_api_keys off; allow 127.0.0.1; deny all; llm_admin; }
        }
        location /keyed/ { llm_admin; }
        location /denied/ { llm_api_keys off; deny all; llm_admin; }
        location /elsewhere/ { llm_api_keys off; return 404; }
        location /closed/ { llm_api_keys off; llm_error; }
        location /moved/ { return 302 /llm/admin/keys; }
    }
    server {
        listen unix:%%DIR%%/admin.sock;
        location /sock/ { llm_api_keys off; llm_admin; }
    }
}
CONF
$t->daemon(1);
my $up = $t->upstream(2);
$t->start;
# Built with a sanitizer, the module needs its runtime in each nginx that reads the configuration.
my $preload = $ENV{LLM_PRELOAD} ? "LD_PRELOAD='$ENV{LLM_PRELOAD}' ASAN_OPTIONS=detect_leaks=0 " : '';
$t->write_file('nginx', "#!/bin/sh\n${preload}exec @{[ $ENV{LLM_NGINX} || '/usr/sbin/nginx' ]} -p $t->{dir}/ -c $t->{dir}/nginx.conf -e $t->{dir}/check.log \"\$\@\"\n");
chmod 0755, "$t->{dir}/nginx";

my $base = 'http://127.0.0.1:' . $t->port(0);

# Runs llmctl; returns { code, out, err }. Options: env.
sub run {
    my ($words, %o) = @_;

    local @ENV{qw(LLM_NGINX LLM_ADMIN LLM_ADMIN_KEY COLUMNS LINES)} = ("$t->{dir}/nginx");
    delete @ENV{qw(LLM_ADMIN LLM_ADMIN_KEY COLUMNS LINES)};
    local @ENV{ keys %{ $o{env} // {} } } = values %{ $o{env} // {} };
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', "$t->{dir}/out";
        open STDERR, '>', "$t->{dir}/err";
        utf8::encode($_) for my @bytes = @$words;
        exec $llmctl, @bytes or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    my %result = (code => $? >> 8, out => $t->read_file('out'), err => $t->read_file('err'));
    utf8::decode($result{$_}) for qw(out err);
    return \%result;
}

sub ask { return $t->fetch(POST => '/v1/chat/completions', key => $_[0], body => chat_request())->{status} }

case 'block and unblock' => sub {
    is(ask('sk-bob'), 200, 'is let in');
    my $r = run([qw(block bob)]);
    is_deeply($r, { code => 0, out => "bob is blocked\n", err => '' }, 'block, found by the configuration');
    is(ask('sk-bob'), 401, 'refused');
    $r = run([qw(unblock bob --json)]);
    is($r->{code}, 0, 'unblock');
    my $bob = JSON::PP->new->decode($r->{out});
    ok($bob->{name} eq 'bob' && !$bob->{blocked}, 'as JSON');
    is(ask('sk-bob'), 200, 'is let in again');
    is(run([ 'block', $odd ])->{out}, "$odd is blocked\n", 'an odd name');
    is(ask('sk-odd'), 401, 'is that key');
    $r = run([ 'unblock', 'nobody', $odd ]);
    is($r->{code}, 1, 'a key that there is not');
    like($r->{err}, qr/nobody: There is no key of this name/, 'is told');
    is(ask('sk-odd'), 200, 'and keeps the others from nothing');
};

case 'reset' => sub {
    ask('sk-alice') for 1 .. 6;
    $t->wait_idle;
    is(ask('sk-alice'), 429, 'the quota is used up');
    is(run([qw(reset --rates alice)])->{code}, 0, 'only rates');
    is(ask('sk-alice'), 429, 'changes nothing');
    is_deeply(run([qw(reset alice)]), { code => 0, out => "alice is reset\n", err => '' }, 'both');
    is(ask('sk-alice'), 200, 'is let in');
};

case 'stop' => sub {
    my $streams = LLM::Streams->open($t, $up, count => 1, uri => '/slow/', key_of => sub { 'sk-bob' });
    $streams->start_replies;
    my $serial = $t->zone->{running}[0]{serial};
    is_deeply(run([ 'stop', $serial ]), { code => 0, out => "$serial is asked to end\n", err => '' }, 'a request');
    is(run([qw(stop 999999)])->{code}, 1, 'one that there is not');
    is(run([qw(stop ../keys)])->{code}, 2, 'no serial');
    $streams->finish(sub { 10 });
    $t->wait_idle;
};

case 'where it is' => sub {
    my $keys = sub { my ($where, @more) = @_; return run([ 'unblock', 'bob', '--url', $where, @more ]) };
    is($keys->("$base/llm/admin/")->{code}, 0, '--url');
    is($keys->("$base/llm/admin")->{code}, 0, 'without its last slash');
    is($keys->("unix:$t->{dir}/admin.sock:/sock/")->{code}, 0, 'a unix socket');
    is(run([qw(unblock bob)], env => { LLM_ADMIN => "$base/keyed/", LLM_ADMIN_KEY => 'sk-ops-0123456789' })->{code}, 0, 'LLM_ADMIN with a key');
    is($keys->("$base/keyed/", '--key-file', "$t->{dir}/admin.key")->{code}, 0, 'the key in a file');

    my $fails = sub {
        my ($name, $pattern, $r) = @_;
        is($r->{code}, 2, "$name: fails");
        like($r->{err}, $pattern, "$name: says why");
        is($r->{out}, '', "$name: and nothing else");
        unlike($r->{err}, qr/sk-/, "$name: no secret");
    };
    my $nobody = $t->port(9);
    $fails->('nobody there', qr{nothing answers at http://127\.0\.0\.1:$nobody/x/: .*}, $keys->("http://127.0.0.1:$nobody/x/"));
    $fails->('no key', qr/You didn't provide an API key.*"admin": true, in LLM_ADMIN_KEY or by --key-file/, $keys->("$base/keyed/"));
    $fails->('another key', qr/may not do this.*"admin": true/, $keys->("$base/keyed/", '--key-file', "$t->{dir}/other.key"));
    $fails->('an empty file', qr/the first line of .*empty\.key is no key/, $keys->("$base/keyed/", '--key-file', "$t->{dir}/empty.key"));
    $fails->('no file', qr/cannot read the key in .*No such file/, $keys->("$base/keyed/", '--key-file', "$t->{dir}/none"));
    $fails->('rules', qr{does not let you in \(status 403\)}, $keys->("$base/denied/"));
    $fails->('another address', qr{is no llm_admin \(status 404\): give its address by --url}, $keys->("$base/elsewhere/"));
    $fails->('one that llm_error closes', qr{is no llm_admin \(status 404\): give its address by --url}, $keys->("$base/closed/"));
    $fails->('a redirect', qr{is no llm_admin \(status 302\)}, $keys->("$base/moved/"));
    $fails->('no address', qr{is no address: expected http://HOST:PORT/PATH/}, $keys->('ftp://x/'));
    $fails->('a wrong path of it', qr/There is no such path/, $keys->("$base/llm/admin/keys/"));
    like(run([qw(block)])->{err}, qr/argument/, 'no name');
};

case 'top, once' => sub {
    my $streams = LLM::Streams->open($t, $up, count => 2, uri => '/slow/', key_of => sub { ('sk-bob', 'sk-odd')[ $_[0] ] });
    $streams->start_replies;
    $streams->progress(sub { 5 });
    my $r = run([qw(top --once)]);
    is($r->{code}, 0, 'exit code');
    my @lines = split /\n/, $r->{out};
    like($lines[0], qr{\A\d+\.\d requests/s  \d+\.\d tokens/s  \d+\.\d refused/s  2 running  4 keys\z}, 'the head');
    like($lines[2], qr/\A +SERIAL KEY +USER +MODEL +PEER +TOKENS +AGE +TTFT\z/, 'titles');
    like($lines[3], qr{\A +\d+ bob .* m .*127\.0\.0\.1:\d+ +12 +\d+\.\ds +\d+\.\ds\z}, 'a request');
    is(scalar(grep { m{\Aalice .* 83/100 quota total\z} } @lines), 1, 'a key with what is left') or diag($r->{out});
    my $wide = run([qw(top --once)], env => { COLUMNS => 200 })->{out};
    like($wide, qr/\Q$odd\E/, 'odd names where there is room');
    my $both = JSON::PP->new->decode(run([qw(top --json)])->{out});
    is(scalar @{ $both->{now}{requests} }, 2, 'as JSON');
    is($both->{keys}[0]{name}, 'alice', 'with keys');
    like(run(['top'])->{err}, qr/needs a terminal/, 'without a terminal');
    $streams->finish(sub { 10 });
    $t->wait_idle;
};

# Runs llmctl top in a terminal of Python's, which sends what it says on stdin a line each: "wait TEXT", "size COLUMNS ROWS", "type KEYS".
my $terminal = <<'PYTHON';
import fcntl, os, pty, select, signal, struct, sys, termios, time
def size(fd, columns, rows): fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
size(fd, 80, 24)
seen, end = b'', time.time() + 20
def read():
    global seen
    if time.time() > end: sys.exit('timed out, seen: %r' % seen[-3000:])
    if select.select([fd], [], [], 0.1)[0]:
        try: part = os.read(fd, 65536)
        except OSError: part = b''
        seen += part
        return bool(part)
    return True
mark = 0
for line in sys.stdin.read().splitlines():
    what, _, rest = line.partition(' ')
    if what == 'wait':
        while rest.encode() not in seen[mark:]:
            if not read(): sys.exit('ended, seen: %r' % seen)
    elif what == 'size':
        mark = len(seen)
        size(fd, *map(int, rest.split()))
        os.kill(pid, signal.SIGWINCH)
        while seen[mark:].count(b'\x1b[J') < 2: read()
    elif what == 'type': os.write(fd, rest.encode())
while read(): pass
status = os.waitpid(pid, 0)[1]
sys.stdout.buffer.write(b'%d\n' % status + seen)
PYTHON

sub in_terminal {
    my @script = @_;

    local @ENV{qw(LLM_NGINX LLM_ADMIN)} = ("$t->{dir}/nginx", "$base/llm/admin/");
    delete local @ENV{qw(COLUMNS LINES)};
    $t->write_file('terminal.py', $terminal);
    $t->write_file('script', join '', map { "$_\n" } @script);
    my $out = `python3 $t->{dir}/terminal.py $llmctl top < $t->{dir}/script 2>&1`;
    my ($status, $seen) = split /\n/, $out, 2;
    utf8::decode($seen);
    return ($status, $seen // '');
}

# The lines of each frame.
sub frames {
    my ($seen) = @_;

    my (undef, @frames) = split /\e\[H/, $seen;
    return map { my $text = s/\e\[J.*//sr =~ s/\e\[K//gr; [ split /\r+\n/, $text ] } @frames;
}

sub width_of { my ($line) = @_; my $wide = () = $line =~ /\p{Han}/g; return $wide + length $line }

case 'top, live' => sub {
    # The model is the client's own: control bytes and all.
    my $c = $t->client;
    my $evil = "m\e]0;owned\a\x{9b}31m\x{202e}";
    $c->request(POST => '/slow/', headers => [ $t->bearer('sk-odd') ], body => $json->encode({ model => $evil, messages => [] }));
    my $u = $up->take;
    my ($status, $seen) = in_terminal('wait 1 running', 'size 60 10', 'size 120 40', 'type q');
    is($status, 0, 'q ends it') or diag($seen);
    like($seen, qr/\A\e\[\?1049h\e\[\?25l/, 'on a screen of its own');
    like($seen, qr/\e\[\?25h\e\[\?1049l\z/, 'which is given back');
    my @frames = frames($seen);
    cmp_ok(scalar @frames, '>=', 3, 'frames');
    my $first = $frames[0];
    cmp_ok(scalar @$first, '<=', 24, 'as many lines as there are');
    is(scalar(grep { width_of($_) > 80 } @$first), 0, 'none is too long') or diag(explain($first));
    like($first->[0], qr/1 running/, 'what runs');
    like(join("\n", @$first), qr/wén/, 'a name in UTF-8');
    my @small = grep { @$_ <= 10 && !grep { width_of($_) > 60 } @$_ } @frames;
    ok(scalar @small, 'smaller after a resize');
    cmp_ok(width_of($frames[-1][2]), '>', 100, 'and larger');
    $seen =~ s/\e\[(?:H|K|J|\?1049[hl]|\?25[hl])//g;
    unlike($seen, qr/[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\x{202e}]/, 'names do not rule the terminal');

    ($status, $seen) = in_terminal('wait 1 running', "type \x03");
    is($status, 0, 'so does an interrupt');
    like($seen, qr/\e\[\?1049l\z/, 'and the screen is given back');
    $u->reply(chat_reply(7, 10));
    $c->response;
    $c->close;
    $t->wait_idle;
};

$t->finish;
