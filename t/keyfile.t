# Why: a key file is edited by hand and by tools, on a gateway that is in use. A mistake in it must be found with its place,
# and must not change who may come in.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use JSON::PP;

use LLM::Test;

my $conf = <<'EOF';
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOF

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    alerts => [ qr/\[emerg\].*keys\.json:\d+:\d+: / ],
    files  => { 'keys.json' => key_file([ { name => 'alice', secret => 'sk-alice' } ]) },
    conf   => $conf,
);
my $upstream = $t->daemon(1);

my $check = $conf =~ s{/keys\.json}{/bad.json}r;
my $digest = sha256_hex('sk-1');
my $other  = sha256_hex('sk-2');

# name, text of the file, line of the mistake (0 = not said here), what the message must tell
my @broken = (
    [ 'empty',               '',                                         1, qr// ],
    [ 'not JSON',            "keys:\n",                                  1, qr// ],
    [ 'a YAML-like comment', "# keys\n{\"keys\": []}\n",                 1, qr// ],
    [ 'cut',                 qq({\n "keys": [\n  {"name": "a",\n),        0, qr// ],
    [ 'a comma too much',    qq({\n "keys": [\n  {"name": "a", "sha256": "$digest"},\n ]\n}\n), 4, qr// ],
    [ 'text after the end',  qq({"keys": []}\n{"keys": []}\n),           2, qr// ],
    [ 'an array',            "[]\n",                                     1, qr/object/ ],
    [ 'keys not an array',   qq({\n "keys": {}\n}\n),                    2, qr/keys.*array|array/ ],
    [ 'no keys member',      qq({}\n),                                   1, qr/keys/ ],
    [ 'an unknown member',   qq({\n "keys": [],\n "kyes": []\n}\n),      3, qr/kyes/ ],
    [ 'a key that is no object', qq({"keys": [\n "sk-1"\n]}\n),          2, qr/object/ ],
    [ 'an unknown field',    qq({"keys": [\n {"name": "a",\n  "sha265": "$digest"}\n]}\n), 0, qr/sha265|sha256/ ],
    [ 'no secret',           qq({"keys": [\n {"name": "a"}\n]}\n),       2, qr/sha256|key/ ],
    [ 'no name',             qq({"keys": [\n {"sha256": "$digest"}\n]}\n), 2, qr/name|user/ ],
    [ 'an empty name',       qq({"keys": [\n {"name": "", "sha256": "$digest"}\n]}\n), 2, qr/name/ ],
    [ 'a name that is no text', qq({"keys": [\n {"name": 7, "sha256": "$digest"}\n]}\n), 2, qr/name/ ],
    [ 'a name that is too long', qq({"keys": [\n {"name": ") . ('n' x 81) . qq(", "sha256": "$digest"}\n]}\n), 2, qr/name/ ],
    [ 'a user that is too long', qq({"keys": [\n {"name": "a", "user": ") . ('n' x 81) . qq(", "sha256": "$digest"}\n]}\n), 2, qr/user/ ],
    [ 'a plain key where its digest belongs', qq({"keys": [\n {"name": "a", "sha256": "sk-1"}\n]}\n), 2, qr/64|hex/ ],
    [ 'a short digest',      qq({"keys": [\n {"name": "a",\n  "sha256": "abc"}\n]}\n), 3, qr/64|hex/ ],
    [ 'a digest with a bad digit', qq({"keys": [\n {"name": "a", "sha256": ") . ('g' x 64) . qq("}\n]}\n), 2, qr/64|hex/ ],
    [ 'a digest that is no text', qq({"keys": [\n {"name": "a", "sha256": 12}\n]}\n), 2, qr/sha256/ ],
    [ 'no digests',          qq({"keys": [\n {"name": "a", "sha256": []}\n]}\n), 2, qr/sha256/ ],
    [ 'a bad second digest', qq({"keys": [\n {"name": "a", "sha256": ["$digest",\n  "x"]}\n]}\n), 3, qr/64|hex/ ],
    [ 'an empty plain key',  qq({"keys": [\n {"name": "a", "key": ""}\n]}\n), 2, qr/key/ ],
    [ 'a name twice',        qq({"keys": [\n {"name": "a", "sha256": "$digest"},\n {"name": "a", "sha256": "$other"}\n]}\n), 3, qr/"?a"?/ ],
    [ 'a digest twice',      qq({"keys": [\n {"name": "a", "sha256": "$digest"},\n {"name": "b", "sha256": "$digest"}\n]}\n), 3, qr// ],
    [ 'a plain key that is another\'s digest', qq({"keys": [\n {"name": "a", "sha256": "$digest"},\n {"name": "b", "key": "sk-1"}\n]}\n), 3, qr// ],
    [ 'a member twice',      qq({"keys": [\n {"name": "a", "name": "b", "sha256": "$digest"}\n]}\n), 2, qr/name|dupl|twice/ ],
    [ 'a bad date',          qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "expires": "tomorrow"}\n]}\n), 3, qr/expires/ ],
    [ 'month 13',            qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "expires": "2027-13-01T00:00:00Z"}\n]}\n), 3, qr/expires/ ],
    [ 'the 30th of February', qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "expires": "2027-02-30T00:00:00Z"}\n]}\n), 3, qr/expires/ ],
    [ 'expires as a list',   qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "expires": []}\n]}\n), 3, qr/expires/ ],
    [ 'a bad network',       qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "networks": ["10.0.0.0/33"]}\n]}\n), 3, qr/10\.0\.0\.0\/33|network/ ],
    [ 'a word for a network', qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "networks": ["home"]}\n]}\n), 3, qr/home|network/ ],
    [ 'networks as text',    qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "networks": "10.0.0.0/8"}\n]}\n), 3, qr/networks/ ],
    [ 'models as text',      qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "models": "m"}\n]}\n), 3, qr/models/ ],
    [ 'a model that is no text', qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "models": [1]}\n]}\n), 3, qr/model/ ],
    [ 'an unknown plan',     qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "plan": "gold"}\n]}\n), 3, qr/gold/ ],
    [ 'enabled as text',     qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "enabled": "yes"}\n]}\n), 3, qr/enabled/ ],
    [ 'a negative quota',    qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "quota": -5}\n]}\n), 3, qr/quota/ ],
    [ 'a bad quota',         qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "quota": "much"}\n]}\n), 3, qr/quota/ ],
    [ 'a bad concurrency',   qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "limits": {"concurrency": "x"}}\n]}\n), 3, qr/concurrency/ ],
    [ 'a bad rate in a plan', qq({"plans": {"p": {\n  "requests": "10"}},\n"keys": []}\n), 2, qr/requests/ ],
    [ 'an unknown field in a plan', qq({"plans": {"p": {\n  "reqests": "10r/s"}},\n"keys": []}\n), 2, qr/reqests/ ],
    [ 'a control character', qq({"keys": [\n {"name": "a\x01", "sha256": "$digest"}\n]}\n), 2, qr// ],
    [ 'bad UTF-8',           qq({"keys": [\n {"name": "a\xff", "sha256": "$digest"}\n]}\n), 2, qr// ],
    [ 'a number too big',    qq({"keys": [\n {"name": "a", "sha256": "$digest",\n  "quota": 99999999999999999999999}\n]}\n), 3, qr// ],
);

for (@broken) {
    my ($name, $text, $line, $tells) = @$_;
    $t->write_file('bad.json', $text);
    my ($ok, $said) = $t->check_conf($check);
    case "broken: $name" => sub {
        ok(!$ok, 'nginx -t fails');
        my ($emerg) = $said =~ /^(.*\[emerg\].*)$/m;
        $emerg //= $said;
        my $place = $line ? $line : qr/\d+/;
        like($emerg, qr/\Q$t->{dir}\E\/bad\.json:$place:\d+: \S.* in \S+check\.conf:\d+/, 'file:line:column: message in conf:line');
        like($emerg, $tells, 'what is wrong');
        unlike($said, qr/sk-1/, 'no plain key in the message');
    };
}

my @fine = (
    [ 'no keys at all',     qq({"keys": []}) ],
    [ 'an escaped member',  qq({"k\\u0065ys": []}) ],
    [ 'CRLF and tabs',      qq({\r\n\t"keys": [\r\n\t]\r\n}\r\n) ],
    [ 'a name of 80 bytes', qq({"keys": [{"name": ") . ('n' x 80) . qq(", "sha256": "$digest"}]}) ],
    [ 'upper case digits',  qq({"keys": [{"name": "a", "sha256": ") . uc($digest) . qq("}]}) ],
    [ 'names beyond ASCII', qq({"keys": [{"name": "\xc3\xa4", "user": "\xe4\xbd\xa0", "sha256": "$digest"}]}) ],
    [ 'IPv6 networks',      qq({"keys": [{"name": "a", "sha256": "$digest", "networks": ["2001:db8::/32", "::1", "10.1.2.3"]}]}) ],
);
for (@fine) {
    my ($name, $text) = @$_;
    $t->write_file('bad.json', $text);
    my ($ok, $said) = $t->check_conf($check);
    ok($ok, "fine: $name") or diag($said);
}

case 'request policies of keys and plans' => sub {
    my @keys = ({ name => 'a', secret => 'sk-1', request => { drop => ['logit_bias'] } }, { name => 'b', secret => 'sk-2', plan => 'pro' });
    my %plan = (requests => '10r/s', request => { cap => { max_tokens => 100 } });
    $t->write_file('bad.json', key_file(\@keys, plans => { pro => \%plan }));
    my ($ok, $said) = $t->check_conf($check);
    ok($ok, 'accepted') or diag($said);
    unlike($said, qr/\[warn\]/, 'without a warning');

    $keys[0]{request} = { set => { model => 'x' } };
    $t->write_file('bad.json', key_file(\@keys, plans => { pro => \%plan }));
    ($ok, $said) = $t->check_conf($check);
    ok(!$ok, 'a rule for the model is refused');
    like($said, qr/bad\.json:\d+:\d+: "request\.set\.model" of key "a": the gateway itself goes by this field/, 'and told');
};

case 'a zone that is too small for the file' => sub {
    my @keys = map { { name => "key-$_", user => "user-$_", sha256 => sha256_hex("sk-$_") } } 1 .. 20_000;
    $t->write_file('bad.json', json({ keys => \@keys }));
    my ($ok, $said) = $t->check_conf($check =~ s/llm:4m/llm:512k/r);
    ok(!$ok, 'nginx -t fails');
    like($said, qr/\[emerg\].*(?:zone|llm)/, 'and names the zone');
    ($ok, $said) = $t->check_conf($check =~ s/llm:4m/llm:40m/r);
    ok($ok, 'a larger one is fine') or diag($said);
};

case 'a file that the workers cannot read' => sub {
    plan skip_all => 'only root can read what its workers cannot' if $> != 0;
    $t->write_file('bad.json', key_file([ { name => 'a', secret => 'sk-1' } ]));
    for my $mode (0600, 0644) {
        chmod $mode, $t->dir . '/bad.json';
        # Of each log a file of its own; without a level it takes errors only.
        for my $level ('', 'warn') {
            my ($ok, $said) = $t->check_conf($t->expand($check) =~ s/error\.log info;/"level$level.log $level;"/er);
            ok($ok, 'nginx -t takes it') or diag($said);
            is(scalar(my @warnings = $said =~ /^.*\[warn\].*bad\.json: the workers' user "\w+" cannot read it, so each change needs a reload/mg),
                $mode == 0600 ? 1 : 0, sprintf 'and warns of mode %o, whatever the log takes: "%s"', $mode, $level);
        }
    }
};

# --- a running nginx

sub status_of {
    my ($key) = @_;

    return $t->fetch(POST => '/', key => $key, body => chat_request())->{status};
}

sub keys_in_force {
    my ($zone) = @_;

    return $zone->{files}[0]{keys};
}

$t->start;
is(status_of('sk-alice'), 200, 'the key is in force');
my $generation = $t->zone->{generation};

case 'a reload with a broken file changes nothing' => sub {
    for my $text ('{"keys": [', qq({"keys": [{"name": "bob", "sha256": "$digest"}, {"name": "bob", "sha256": "$other"}]}), '{}') {
        $t->write_file('keys.json', $text);
        my $line = $t->reload_fails(qr/\[emerg\].*keys\.json:\d+:\d+: /);
        like($line, qr/ in \S+nginx\.conf:\d+/, 'the log says where');
        is(status_of('sk-alice'), 200, 'the old key is in force');
        is(status_of('sk-1'), 401, 'the new one is not');
        is($t->zone->{generation}, $generation, 'the generation is the same');
    }
};

case 'then a good file comes' => sub {
    $t->write_file('keys.json', key_file([ { name => 'bob', secret => 'sk-1' }, { name => 'carol', secret => 'sk-2' } ]));
    $t->reload;
    is(status_of('sk-1'), 200, 'a new key');
    is(status_of('sk-alice'), 401, 'the old one is gone');
    my $zone = $t->zone;
    is(keys_in_force($zone), 2, 'two keys');
    cmp_ok($zone->{generation}, '>', $generation, 'another generation');
    is($t->totals('alice')->{requests}, 4, 'what was counted for the old key is still there');
};

case 'a file that grows beyond the zone while nginx runs' => sub {
    my @keys = map { { name => "key-$_", sha256 => sha256_hex("sk-$_") } } 1 .. 60_000;
    $t->write_file('keys.json', json({ keys => \@keys }));
    push @{ $t->{alerts} }, qr/\[emerg\].*llm/;
    $t->reload_fails(qr/\[emerg\].*(?:zone|llm)/);
    is(status_of('sk-1'), 200, 'the old keys are in force');
};

case 'a key is rotated: its name keeps its count' => sub {
    my $before = $t->totals('bob')->{requests};
    $t->write_file('keys.json', key_file([ { name => 'bob', secret => [ 'sk-1', 'sk-new' ] } ]));
    $t->reload;
    is(status_of('sk-1'), 200, 'the old secret');
    is(status_of('sk-new'), 200, 'the new secret');
    $t->write_file('keys.json', key_file([ { name => 'bob', secret => ['sk-new'] } ]));
    $t->reload;
    is(status_of('sk-1'), 401, 'the old secret is gone');
    is(status_of('sk-new'), 200, 'the new one is there');
    $t->wait_idle;
    is($t->totals('bob')->{requests}, $before + 3, 'one count');
};

case 'many reloads' => sub {
    for my $n (1 .. 10) {
        $t->write_file('keys.json', key_file([ { name => 'bob', secret => 'sk-new' }, { name => "k$n", secret => "sk-k$n" } ]));
        $t->reload;
        is(status_of("sk-k$n"), 200, "key $n") or last;
    }
    is(status_of('sk-k9'), 401, 'an earlier one is gone');
};

$t->finish;
