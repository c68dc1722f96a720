# Why: keys are made and changed by llmctl on a gateway that is in use. It must not lose a change, break a file, or show a secret
# anywhere but in its one place.

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::SHA qw(sha256_hex);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use JSON::PP;

use LLM::Test;

my $root   = abs_path(dirname(__FILE__) . '/..');
my $build  = $ENV{LLM_MODULE} ? dirname($ENV{LLM_MODULE}) : "$root/build";
my $llmctl = -x "$build/llmctl" ? "$build/llmctl" : "$root/build/llmctl";
my $dir    = tempdir('llmctl-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);
my $file   = "$dir/keys.json";
chmod 0755, $dir;
delete @ENV{qw(LLM_STATE LLM_KEYS)};
my $nginx = $ENV{LLM_NGINX} || '/usr/sbin/nginx';
# No nginx of this machine has a say here.
$ENV{LLM_NGINX} = "$dir/nginx";

# Runs llmctl; returns { rc, out, err, json }.
sub ctl {
    my @words = @_;
    my %o = ref $words[0] ? %{ shift @words } : ();

    my ($out, $err) = ("$dir/out.$$", "$dir/err.$$");
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDIN,  '<', $o{in}  // '/dev/null' or die;
        open STDOUT, '>', $o{out} // $out or die;
        open STDERR, '>', $err or die;
        my @as = $o{nobody} ? qw(setpriv --reuid=nobody --regid=nogroup --clear-groups) : ();
        exec @as, $llmctl, @words or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    my $rc = $? & 127 ? -1 : $? >> 8;
    my %r = (rc => $rc, out => slurp($out), err => slurp($err));
    $r{json} = eval { JSON::PP->new->utf8->allow_nonref->decode($r{out}) };
    return \%r;
}

sub slurp {
    my ($path) = @_;

    open my $in, '<:raw', $path or return '';
    local $/;
    return <$in> // '';
}

sub spew {
    my ($path, $text, $mode) = @_;

    open my $out, '>:raw', $path or die "$path: $!\n";
    print $out $text;
    close $out or die;
    chmod $mode // 0640, $path;
    return $path;
}

sub keys_of { return JSON::PP->new->utf8->decode(slurp($_[0] // $file))->{keys} }
sub key_of { my ($name) = @_; return (grep { ($_->{name} // $_->{user}) eq $name } @{ keys_of() })[0] }
sub leftovers { return join ' ', sort map { s{.*/}{}r } glob "$dir/.keys.json*" }

my @secrets;

case 'the first key makes file and folder' => sub {
    my $new = "$dir/a/b/keys.json";
    my $r = ctl(qw(key add alice --file), $new);
    is($r->{rc}, 0, 'well') or diag $r->{err};
    like($r->{out}, qr/\Ask-[\w-]{43}\n\z/, 'stdout is the key alone where it is no terminal');
    my ($key) = $r->{out} =~ /(sk-\S+)/;
    push @secrets, $key;
    like($r->{err}, qr{curl http://127\.0\.0\.1:8080/v1/chat/completions .*Bearer \$KEY}, 'a line to try');
    unlike($r->{err}, qr/\Q$key\E/, 'which has no secret');
    is(keys_of($new)->[0]{sha256}, sha256_hex($key), 'the file has its digest');
    is((stat $new)[2] & 07777, 0640, 'mode');
    unlike(slurp($new), qr/sk-/, 'and no secret');
};

case 'keys are made with all that they may have' => sub {
    my $r = ctl('--json') ;
    is($r->{rc}, 2, 'an option is no command');
    $r = ctl(qw(key add bob --user b --quota 10m/mo --requests 10r/s --burst 20 --concurrency 5 --tokens 100k/m --token_burst 200k
        --models), 'qwen3-*,bge', '--networks', '10.0.0.0/8,::1', qw(--expires 2099-01-01 --admin --disabled --json --file), $file);
    is($r->{rc}, 0, 'well') or diag $r->{err};
    is_deeply([ sort keys %{ $r->{json} } ], [qw(key name)], 'JSON has name and key');
    push @secrets, $r->{json}{key};
    is_deeply(key_of('bob'), {
        name => 'bob', user => 'b', sha256 => sha256_hex($r->{json}{key}), models => [ 'qwen3-*', 'bge' ],
        networks => [ '10.0.0.0/8', '::1' ], expires => '2099-01-01T00:00:00Z', admin => JSON::PP::true, enabled => JSON::PP::false,
        limits => { quota => '10m/mo', requests => '10r/s', burst => 20, concurrency => 5, tokens => '100k/m', token_burst => '200k' },
    }, 'the record');
    my $two = ctl(qw(key add carol dave --json --file), $file);
    is_deeply([ map { $_->{name} } @{ $two->{json} } ], [qw(carol dave)], 'several at once');
    push @secrets, map { $_->{key} } @{ $two->{json} };
};

case 'values and words that look like options' => sub {
    my $odd = "$dir/odd.json";
    # Each option that has a value, of each command.
    my $count = 0;
    for my $command (ctl('--help')->{out} =~ /^  ((?:key )?[a-z]+)/mg) {
        my @words = split / /, $command;
        for (ctl(@words, '--help')->{out} =~ /^  (--[\w-]+ [A-Z].*)/mg) {
            my ($option) = split / /;
            my $r = ctl(@words, qw(x y), $option, '--json');
            is($r->{rc}, 2, "$command $option --json");
            like($r->{err}, qr/\Q$option needs a value\E; .* given as \Q$option=\E/, 'says how it can be given');
            $count++;
        }
    }
    cmp_ok($count, '>', 30, 'options were found');
    ok(!-e $odd, 'nothing was made');
    my $r = ctl(qw(key add a --user=--json --no-secret --file), $odd);
    is($r->{rc}, 0, 'behind = it is a value') or diag $r->{err};
    is(keys_of($odd)->[0]{user}, '--json', 'and nothing else');
    $r = ctl('key', 'add', '--no-secret', '--file', $odd, '--', '--json');
    is(keys_of($odd)->[1]{name}, '--json', 'a name behind --');
    like($r->{out}, qr/^--json: added/, 'is no option either');
};

case 'a key of one\'s own' => sub {
    my $own = spew("$dir/own", "sk-own-0123456789abcdef\n");
    push @secrets, 'sk-own-0123456789abcdef';
    my $r = ctl({ in => $own }, qw(key add own --key-stdin --json --file), $file);
    is_deeply($r->{json}, { name => 'own' }, 'is not shown');
    is(key_of('own')->{sha256}, sha256_hex('sk-own-0123456789abcdef'), 'and is in force');
    is(ctl({ in => $own }, qw(key add a b --key-stdin --file), $file)->{rc}, 2, 'is for one name');
    is(ctl(qw(key add nothing --key-stdin --file), $file)->{rc}, 2, 'no key on stdin');
    $r = ctl({ in => spew("$dir/short", "abc\n") }, qw(key add short --key-stdin --file), $file);
    like($r->{err}, qr/guessed/, 'a short one is warned of');
    is(ctl(qw(key remove short --file), $file)->{rc}, 0, 'removed');
};

case 'list and show have no secret' => sub {
    spew("$dir/plain.json", '{"keys":[{"key":"sk-plain-000000000","user":"user1","quota":10000,"enabled":true}]}');
    my $r = ctl(qw(key list --file), "$dir/plain.json");
    like($r->{out}, qr/user1.*plain.*quota=10k\/total/, 'a plain key is shown as such');
    my $json = ctl(qw(key list --json --file), "$dir/plain.json")->{json};
    is($json->[0]{plain_key}, JSON::PP::true, 'in JSON too');
    $r = ctl(qw(key show bob --json --file), $file);
    is_deeply([ @{ $r->{json} }{qw(name user state expires secrets admin)} ],
        [ 'bob', 'b', 'disabled', '2099-01-01T00:00:00Z', 1, JSON::PP::true ], 'show');
    like(ctl(qw(key show bob --file), $file)->{out}, qr/^models +qwen3-\*, bge$/m, 'for people');
    is(ctl(qw(key show nobody --file), $file)->{rc}, 1, 'no such key');
};

case 'keys without a secret, and users of an application' => sub {
    my $named = "$dir/named.json";
    spew($named, '{"keys":[{"name":"guest"},{"name":"app","key":"sk-0123456789abcdef","user_from":"X-User"}]}', 0640);
    my $r = ctl('check', $named);
    is($r->{rc}, 0, 'check takes them') or diag($r->{err});
    like(ctl(qw(key list --file), $named)->{out}, qr/^guest .*\bnone\b/m, 'the list');
    my ($guest, $app) = @{ ctl(qw(key list --json --file), $named)->{json} };
    is("$guest->{secrets} $app->{user_from}", '0 X-User', 'in JSON');
    like(ctl(qw(key show app --file), $named)->{out}, qr/^user from +X-User$/m, 'one of them');
    is(ctl(qw(key rotate guest --drop-old --file), $named)->{rc}, 1, 'there is none to drop');
    $r = ctl(qw(key rotate app guest --file), $named);
    is($r->{rc}, 1, 'rotate makes none where there was none');
    like($r->{err}, qr/guest has no secret.*--add-secret/, 'and says what would');
    is($r->{out}, '', 'no key is shown');
    like(slurp($named), qr/sk-0123456789abcdef/, 'the other key keeps its own');
    my $new = ctl(qw(key rotate guest --add-secret --json --file), $named)->{json}{key};
    push @secrets, $new;
    like(slurp($named), qr/"name":"guest", ?"sha256":"@{[ sha256_hex($new) ]}"/, 'with --add-secret it gets one');
    is(ctl(qw(key rotate guest --drop-old --add-secret --file), $named)->{rc}, 2, 'which is not for --drop-old');
    my $was = slurp($named);
    $r = ctl(qw(key rotate guest --drop-new --file), $named);
    is($r->{rc}, 1, '--drop-new takes no only secret where nginx is not known');
    like($r->{err}, qr/guest has one secret only, and nginx's configuration is not known \(.+\): --no-secret takes it all the same/, 'says why');
    is(slurp($named), $was, 'the file is as it was');
    is(ctl(qw(key rotate guest --no-secret), $_, '--file', $named)->{rc}, 2, "--no-secret is not for $_") for qw(--drop-old --keep-old --add-secret);
    $r = ctl(qw(key rotate guest --drop-new --no-secret --file), $named);
    is_deeply([ @$r{qw(rc out err)} ], [ 0, "guest: has no secret any more, nginx finds it by its name (identity=)\n", '' ], '--drop-new is the way back');
    is_deeply(keys_of($named)->[0], { name => 'guest' }, 'the record is as it was');
    is(ctl(qw(key rotate guest --drop-new --no-secret --file), $named)->{rc}, 1, 'once');
    is(ctl(qw(key rotate app --drop-new --no-secret --file), $named)->{rc}, 0, 'of a plain key too');
    is_deeply(keys_of($named)->[1], { name => 'app', user_from => 'X-User' }, 'which is gone');

    spew($named, '{"keys":[]}');
    $r = ctl(qw(key add guest visitor --no-secret --requests 10r/m --file), $named);
    is($r->{rc}, 0, 'added without') or diag($r->{err});
    unlike("$r->{out}$r->{err}", qr/sk-|curl/, 'nothing is shown that is not there');
    is_deeply(keys_of($named), [ map { { name => $_, limits => { requests => '10r/m' } } } qw(guest visitor) ], 'the records');
    is_deeply(ctl(qw(key add third --no-secret --json --file), $named)->{json}, { name => 'third' }, 'in JSON');
    is(ctl({ in => spew("$dir/own2", "sk-own-0123456789abcdef\n") }, qw(key add x --no-secret --key-stdin --file), $named)->{rc}, 2, 'with a secret or without');
    like(ctl(qw(key show guest --file), $named)->{out}, qr/^secrets +none\b/m, 'shown');

    push @secrets, ctl(qw(key add app --user_from X-User-Email --json --file), $named)->{json}{key};
    is(keys_of($named)->[3]{user_from}, 'X-User-Email', 'user_from of a new key');
    $r = ctl(qw(key set app user_from=X-Other --file), $named);
    is($r->{rc}, 0, 'set');
    like($r->{err}, qr/\A# The user of a request .* header X-Other names\. .* has to set.*docs\/keys\.md, Users of an application\)\n\z/,
        'what that means is said');
    is(keys_of($named)->[3]{user_from}, 'X-Other', 'to another');
    is(ctl(qw(key set app user_from=X-Other --json --file), $named)->{err}, '', 'but not to programs');
    $r = ctl(qw(key set app user_from= --file), $named);
    is("$r->{rc} $r->{err}", '0 ', 'and cleared');
    $r = ctl(qw(key add app2 --user_from X-User-Email --file), $named);
    push @secrets, $r->{out} =~ /(sk-\S+)/;
    like($r->{err}, qr/^# The user of a request .* header X-User-Email names\./m, 'a new key has the same said');
    ok(!exists keys_of($named)->[3]{user_from}, 'is gone');
    for my $bad ([qw(key set app), 'user_from=X User'], [qw(key add y --user_from X_User)]) {
        $r = ctl(@$bad, '--file', $named);
        is($r->{rc}, 1, "@$bad");
        like($r->{err}, qr/the name of a header/, 'says why');
    }
};

case 'what requests may ask is shown' => sub {
    my $ruled = spew("$dir/ruled.json", '{"plans":{"trial":{"request":{"cap":{"max_tokens":512,"n":1},"drop":["tools"]}}},"keys":['
            . '{"name":"a","plan":"trial","request":{"allow":["messages","max_tokens"],"set":{"chat_template_kwargs.enable_thinking":false}}},'
            . '{"name":"b","plan":"trial"},{"name":"c"}]}');
    my $r = ctl(qw(key show a --file), $ruled);
    is_deeply([ sort $r->{out} =~ /^request +(.*)$/mg ], [ sort 'allow messages max_tokens', 'set chat_template_kwargs.enable_thinking false',
        q(drop tools (its plan's)), q(cap max_tokens 512 (its plan's)), q(cap n 1 (its plan's)) ], 'those of the key and of its plan');
    $r = ctl(qw(key show a --json --file), $ruled)->{json};
    is_deeply($r->{request}, { allow => [qw(messages max_tokens)], set => { 'chat_template_kwargs.enable_thinking' => JSON::PP::false } }, 'in JSON');
    my $of_plan = { cap => { max_tokens => 512, n => 1 }, drop => ['tools'] };
    is_deeply($r->{plan_request}, $of_plan, 'apart from the plan\'s');
    my ($a, $b, $c) = @{ ctl(qw(key list --json --file), $ruled)->{json} };
    is_deeply([ $b->{plan_request}, $b->{request} ], [ $of_plan, undef ], 'a key that has only a plan');
    ok(!exists $c->{request} && !exists $c->{plan_request}, 'one without rules');
};

case 'changes' => sub {
    is(ctl(qw(key set bob user=x quota= concurrency=7 models= --file), $file)->{rc}, 0, 'set');
    is(key_of('bob')->{user}, 'x', 'one field');
    ok(!exists key_of('bob')->{limits}{quota} && !exists key_of('bob')->{models}, 'two that are gone');
    is(ctl(qw(key enable bob --file), $file)->{rc}, 0, 'enable');
    ok(!exists key_of('bob')->{enabled}, 'is as without it');
    is(ctl(qw(key disable bob carol --file), $file)->{rc}, 0, 'disable two');
    ok(!key_of('bob')->{enabled} && !key_of('carol')->{enabled}, 'both');
    my $was = key_of('carol')->{sha256};
    my $new = ctl(qw(key rotate carol --keep-old --json --file), $file)->{json}{key};
    push @secrets, $new;
    is_deeply(key_of('carol')->{sha256}, [ $was, sha256_hex($new) ], 'old and new');
    is(ctl(qw(key rotate carol --drop-old --file), $file)->{rc}, 0, 'the old one goes');
    is(key_of('carol')->{sha256}, sha256_hex($new), 'the new one stays');
    is(ctl(qw(key rotate carol --drop-old --file), $file)->{rc}, 1, 'there is none to drop');
    for my $before (1, 2) {
        my $was = key_of('carol')->{sha256};
        push @secrets, ctl(qw(key rotate carol --keep-old --json --file), $file)->{json}{key};
        like(ctl(qw(key rotate carol --drop-new --file), $file)->{out}, qr/\Acarol: its newest secret is gone$/, "a new one of $before goes");
        is_deeply(key_of('carol')->{sha256}, $was, 'and leaves the file as it was');
        push @secrets, ctl(qw(key rotate carol --keep-old --json --file), $file)->{json}{key};
    }
    is(ctl(qw(key rotate carol --drop-new), $_, '--file', $file)->{rc}, 2, "not with $_") for qw(--drop-old --keep-old --add-secret --key-stdin);
    is(ctl(qw(key rotate carol --drop-old --file), $file)->{rc}, 0, 'the newest alone');
    my $plain = ctl(qw(key rotate user1 --json --file), "$dir/plain.json")->{json}{key};
    push @secrets, $plain;
    is(slurp("$dir/plain.json"), '{"keys":[{"sha256":"' . sha256_hex($plain) . '","user":"user1","quota":10000,"enabled":true}]}',
        'a plain key becomes a digest, and nothing else changes');
    my $late = ctl(qw(key add late --expires 2020-01-01 --file), $file);
    is($late->{rc}, 0, 'a key that has expired');
    like($late->{err}, qr/over: the key is refused/, 'is said to be of no use');
    like(ctl(qw(key set late expires=2021-01-01 --file), $file)->{err}, qr/over/, 'again');
    is(ctl(qw(key set late expires=1d --file), $file)->{err}, '', 'and not, when it is of some');
    is(ctl(qw(key remove late --file), $file)->{rc}, 0, 'removed');
    is(ctl(qw(key remove carol dave --file), $file)->{rc}, 0, 'remove two');
    is_deeply([ map { $_->{name} } @{ keys_of() } ], [qw(bob own)], 'they are gone');
};

case 'what is wrong changes nothing' => sub {
    my $before = slurp($file);
    my @inode = (stat $file)[1];
    for (
        [ 1, qr/there is a key bob already/,  qw(key add new1 bob) ],
        [ 1, qr/quota/,                       qw(key add new1 --quota much) ],
        [ 1, qr/plan/,                        qw(key add new1 --plan gold) ],
        [ 1, qr/10\.0\.0\.0\/99/,             qw(key add new1 --networks 10.0.0.0/99) ],
        [ 1, qr/name/,                        'key', 'add', 'n' x 81 ],
        [ 1, qr/name/,                        'key', 'add', '' ],
        [ 1, qr/there is no key carol/,       qw(key remove bob carol) ],
        [ 1, qr/there is no key carol/,       qw(key rotate carol) ],
        [ 1, qr/there is no key carol/,       qw(key disable carol) ],
        [ 1, qr/concurrency/,                 qw(key set bob concurrency=0) ],
        [ 1, qr/admin: expected yes or no, got maybe/,   qw(key set bob admin=maybe) ],
        [ 1, qr/models: expected .* commas .*, got a,,b/, qw(key set bob), 'models=a,,b' ],
        [ 1, qr/--models: expected .*, got none/, qw(key add new1 --models), '' ],
        [ 2, qr/no command add: did you mean llmctl key add\?/, qw(add x) ],
        [ 2, qr/no command adds: see llmctl --help/, qw(adds x) ],
        [ 2, qr/there is no field name/,      qw(key set bob name=x) ],
        [ 2, qr/FIELD=VALUE/,                 qw(key set bob user) ],
        [ 2, qr/arguments are missing/,       qw(key set bob) ],
        [ 2, qr/unknown option --colour/,     qw(key add x --colour) ],
        [ 2, qr/--user needs a value/,        qw(key add x --user) ],
        [ 2, qr/--user needs a value; .* given as --user=USER/, qw(key add x --user --disabled) ],
        [ 2, qr/--quota needs a value; .* --quota=/,            qw(key add x --quota -- y) ],
        [ 2, qr/no command key frob/,         qw(key frob) ],
    ) {
        my ($rc, $says, @words) = @$_;
        my @file = "@words" eq 'key add x --user' ? () : ('--file', $file);
        my $r = ctl(@words, @file);
        is($r->{rc}, $rc, "@words: exit code") or diag $r->{err};
        like($r->{err}, $says, 'says why');
        is($r->{out}, '', 'and shows no key');
        $r = ctl(@words, '--json', @file);
        like(eval { JSON::PP->new->utf8->decode($r->{err})->{error}{message} } // $r->{err}, $says, 'in JSON too') if "@words" !~ /--user\z/;
    }
    is(slurp($file), $before, 'the file is as it was');
    is((stat $file)[1], $inode[0], 'and is the same one');
    my $bad = spew("$dir/bad.json", qq({"keys": [\n {"name": "a", "sha256": "sk-secret-in-the-wrong-place"}\n]}));
    push @secrets, 'sk-secret-in-the-wrong-place';
    for ([qw(key add x)], [qw(key list)], [qw(key disable a)], [qw(import --format fastapi), $file]) {
        my $r = ctl(@$_, '--file', $bad);
        is($r->{rc}, 1, "@$_: a faulty file is refused");
        like($r->{err}, qr/bad\.json:2:\d+: |format|no JSON|has no "key"/, 'with its place');
    }
    for ([qw(key list)], [qw(key disable a)], [qw(key rotate a)]) {
        my $r = ctl(@$_, '--file', "$dir/none.json");
        is($r->{rc}, 2, "@$_: a file that is not there");
        like($r->{err}, qr/none\.json: .*No such file.*llmctl key add NAME makes the file/, 'and what makes one');
    }
    my $nowhere = ctl(qw(key add a --file), "$file/keys.json");
    is($nowhere->{rc}, 2, 'a file that cannot be there');
    unlike($nowhere->{err}, qr/makes the file/, 'is not made by what has just failed');
    is(ctl(qw(key list --file), $dir)->{rc}, 2, 'a folder');
};

case 'what is kept' => sub {
    my $text = "{\r\n\t\"keys\" : [\r\n\t\t{ \"name\":\"a\" , \"sha256\" : \"" . sha256_hex('a') . "\" }\r\n\t]\r\n}";
    spew("$dir/real.json", $text, 0604);
    chown 65534, 65534, "$dir/real.json";
    symlink "$dir/real.json", "$dir/link.json" or die;
    is(ctl(qw(key add b --file), "$dir/link.json")->{rc}, 0, 'through a link');
    ok(-l "$dir/link.json", 'the link is still one');
    my @stat = stat "$dir/real.json";
    is($stat[2] & 07777, 0604, 'mode');
    SKIP: { skip 'not root', 1 if $>; is("@stat[4,5]", '65534 65534', 'owner and group') }
    my $after = slurp("$dir/real.json");
    is(substr($after, 0, length($text) - 8), substr($text, 0, -8), 'the rest of the text');
    ctl(qw(key remove b --file), "$dir/link.json");
    is(slurp("$dir/real.json"), $text, 'add and remove leave it as it was');
    symlink "$dir/nothing.json", "$dir/dangling.json" or die;
    is(ctl(qw(key add b --file), "$dir/dangling.json")->{rc}, 2, 'a link to nothing is left alone');
    ok(!-e "$dir/nothing.json", 'and makes no file');
};

case 'many at once' => sub {
    my @pids;
    for my $n (1 .. 50) {
        my $pid = fork // die;
        if (!$pid) {
            open STDOUT, '>', '/dev/null';
            open STDERR, '>', '/dev/null';
            exec $llmctl, qw(key add), "many-$n", '--file', $file;
        }
        push @pids, $pid;
    }
    my @bad = grep { waitpid $_, 0; $? } @pids;
    is(scalar @bad, 0, 'each of them is well');
    is(scalar(grep { $_->{name} =~ /^many-/ } @{ keys_of() }), 50, 'none is lost');
    is(leftovers(), '', 'nothing is left behind');
};

case 'killed at any time' => sub {
    for my $n (1 .. 40) {
        my $pid = fork // die;
        if (!$pid) {
            open STDOUT, '>', '/dev/null';
            open STDERR, '>', '/dev/null';
            exec $llmctl, qw(key add), "killed-$n", '--file', $file;
        }
        # Anywhere between its start and its end.
        select undef, undef, undef, rand 0.02;
        kill KILL => $pid;
        waitpid $pid, 0;
    }
    is(ctl('check', $file)->{rc}, 0, 'the file is right');
    is(ctl(qw(key add after --file), $file)->{rc}, 0, 'the next one can write');
    is(leftovers(), '', 'and takes away what was left');
};

case 'without rights' => sub {
    plan skip_all => 'not root' if $>;
    mkdir "$dir/closed";
    chmod 0700, "$dir/closed";
    spew("$dir/closed/keys.json", '{"keys": []}', 0600);
    my $r = ctl({ nobody => 1 }, qw(key add x --file), "$dir/closed/keys.json");
    is($r->{rc}, 2, 'a closed folder');
    like($r->{err}, qr/Permission denied/, 'says so');
    mkdir "$dir/open";
    chmod 0755, "$dir/open";
    spew("$dir/open/keys.json", '{"keys": []}', 0644);
    $r = ctl({ nobody => 1 }, qw(key add x --file), "$dir/open/keys.json");
    is($r->{rc}, 2, 'a folder that only others may write');
    like($r->{err}, qr/Permission denied/, 'says so');
    is($r->{out}, '', 'no key is shown');
    is(slurp("$dir/open/keys.json"), '{"keys": []}', 'nothing has changed');
    is(ctl({ nobody => 1 }, qw(key list --file), "$dir/open/keys.json")->{rc}, 0, 'reading is fine');
    chmod 0777, "$dir/open";
    $r = ctl({ nobody => 1 }, qw(key add x --file), "$dir/open/keys.json");
    is($r->{rc}, 2, 'a file whose owner cannot be kept');
    like($r->{err}, qr/owner/, 'says so');
    is(join(' ', glob "$dir/open/.keys*"), '', 'nothing is left behind');
};

case 'a full disk' => sub {
    plan skip_all => 'not root' if $>;
    mkdir "$dir/small";
    system("mount -t tmpfs -o size=64k none $dir/small 2>/dev/null") == 0 or plan skip_all => 'cannot mount';
    my $text = '{"keys": [' . join(',', map { "{\"name\": \"k$_\", \"sha256\": \"" . sha256_hex("k$_") . '"}' } 1 .. 400) . ']}';
    spew("$dir/small/keys.json", $text);
    my $r = ctl(qw(key add x --file), "$dir/small/keys.json");
    my $after = slurp("$dir/small/keys.json");
    my @left = glob "$dir/small/.keys*";
    system("umount $dir/small");
    is($r->{rc}, 2, 'fails');
    like($r->{err}, qr/No space left/, 'says so');
    is($r->{out}, '', 'no key is shown');
    ok($after eq $text && !@left, 'and nothing has changed');
};

case 'stdout that takes nothing' => sub {
    my $r = ctl({ out => '/dev/full' }, qw(key add unseen --file), $file);
    is($r->{rc}, 2, 'is a failure');
    like($r->{err}, qr/rotate/, 'which says what to do');
};

case 'check warns' => sub {
    spew("$dir/w.json", '{"keys": [{"name": "a", "key": "short-key"}]}', 0644);
    my $r = ctl('check', "$dir/w.json");
    is($r->{rc}, 0, 'the file is right');
    like($r->{err}, qr/"a" has less than 16 characters/, 'a short key');
    like($r->{err}, qr/1 plain key and may be read by others \(mode 644\)/, 'a plain key for all to read');
    is(scalar @{ ctl('check', '--json', "$dir/w.json")->{json}{warnings} }, 2, 'in JSON');
    chmod 0600, "$dir/w.json";
    like(ctl('check', "$dir/w.json")->{err}, qr/workers.*mode 600/, 'a file that workers cannot read');
    my $bad = ctl('check', '--json', spew("$dir/w2.json", "{\n\"keys\": 1}"));
    is_deeply([ $bad->{rc}, @{ $bad->{json} }{qw(ok line)} ], [ 1, JSON::PP::false, 2 ], 'an error with its place');
};

# --- where the key file is

sub nginx_says {
    my ($dump, $rc) = @_;

    spew("$dir/dump", $dump);
    return spew("$dir/nginx", "#!/bin/sh\n[ \"\$1\" = -T ] || { echo 'configure arguments: --conf-path=$dir/conf/nginx.conf' >&2; exit 0; }\ncat $dir/dump\nexit "
            . ($rc // 0) . "\n", 0755);
}

case 'the key file is found' => sub {
    my $conf = "# configuration file $dir/conf/nginx.conf:\nhttp { llm_zone a:1m state=$dir/s.db; llm_api_keys found.json;"
        . " server { listen 8181; location /v1/ { proxy_pass http://x; } } }\n";
    mkdir "$dir/conf";
    nginx_says($conf);
    my $r = ctl(qw(key add here));
    is($r->{rc}, 0, 'by nginx -T') or diag $r->{err};
    is(keys_of("$dir/conf/found.json")->[0]{name}, 'here', 'a relative path is one from nginx.conf');
    like($r->{err}, qr{curl http://127\.0\.0\.1:8181/v1/chat}, 'the address too');
    nginx_says($conf =~ s/found/found2/r, 1);
    spew("$dir/conf/nginx.conf", "http {\n llm_api_keys found3.json;\n include more/*; }");
    is(ctl(qw(key add here))->{rc}, 0, 'by the files, where nginx finds an error in them');
    ok(-e "$dir/conf/found3.json", 'as while there is no key file yet');
    nginx_says($conf =~ s/server/server { llm_api_keys other.json; }\nserver/r);
    $r = ctl(qw(key list));
    is($r->{rc}, 2, 'several are an error');
    like($r->{err}, qr{conf/found\.json \S+/conf/other\.json}, 'that lists them');
    nginx_says($conf);
    $r = ctl(qw(key rotate here --drop-new));
    is($r->{rc}, 1, 'nor does a key lose its only secret');
    like($r->{err}, qr/here has one secret only.*identity=/, 'says why');
    is(ctl(qw(key rotate here --drop-new --no-secret))->{rc}, 1, 'by no means');
    spew("$dir/conf/other_file.json", '{"keys":[{"name":"x","key":"sk-0123456789abcdef"}]}', 0640);
    $r = ctl(qw(key rotate x --drop-new --file), "$dir/conf/other_file.json");
    is($r->{rc}, 1, 'nor in a file that nginx does not name');
    like($r->{err}, qr/x has one secret only, and nginx's configuration does not name \S+other_file\.json: --no-secret/, 'says why');
    is(ctl(qw(key rotate x --drop-new --no-secret --file), "$dir/conf/other_file.json")->{rc}, 0, 'unless that is said');
    for my $at ([], [ '--file', "$dir/conf/../conf/found.json" ]) {
        $r = ctl(qw(key add unknown --no-secret), @$at);
        is($r->{rc}, 1, 'a key that nginx would not take is refused');
        like($r->{err}, qr/identity=/, 'says why');
    }
    is(ctl(qw(key add elsewhere --no-secret --file), "$dir/conf/not_used.json")->{rc}, 0, 'a file of which nothing is known is not');
    nginx_says($conf =~ s/found\.json/found.json identity=\$remote_user/r);
    is(ctl(qw(key add known --no-secret))->{rc}, 0, 'nor one that is used by name');
    is(ctl(qw(key rotate here --drop-new))->{rc}, 0, 'in which a key may lose its only secret');
    local $ENV{LLM_KEYS} = $file;
    is(ctl(qw(key show bob))->{rc}, 0, 'LLM_KEYS comes first');
    like(ctl('check')->{out}, qr/^\Q$file\E: \d+ keys/, 'check finds it, too');
    is(ctl(qw(key show bob --file), "$dir/conf/found.json")->{rc}, 1, '--file before that');
};

case 'from the first key to the first answer' => sub {
    my $t = LLM::Test->new(conf => <<'EOF');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys llm/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /v1/ { proxy_pass http://127.0.0.1:%%PORT_1%%; }
    }
}
EOF
    $t->daemon(1);
    my $conf = $t->dir;
    spew("$dir/nginx", "#!/bin/sh\n[ \"\$1\" = -V ] && { echo '--conf-path=$conf/nginx.conf' >&2; exit; }\n"
            . "exec $nginx -p $conf/ -c $conf/nginx.conf -e $conf/check.log \"\$@\"\n", 0755);
    my $r = ctl(qw(key add alice));
    is($r->{rc}, 0, 'a key is made before nginx can start') or diag $r->{err};
    push @secrets, $r->{out} =~ /(sk-\S+)/;
    $t->start;
    my ($line) = $r->{err} =~ /^(curl .*)$/m;
    local $ENV{KEY} = $secrets[-1];
    like(scalar `$line -s -o /dev/null -w '%{http_code}'`, qr/\A200\z/, 'and the line to try gets an answer');
    like(ctl(qw(key list))->{out}, qr/^alice /m, 'nginx -T finds the file then');
    $t->check_and_stop;
};

# --- other programs' lists

case 'import of plain keys' => sub {
    my $to = "$dir/import.json";
    my @forms = (
        '{"keys":[{"key":"sk-import-1","user":"u1","quota":10000,"enabled":true},{"key":"sk-import-2","user":"u1","enabled":false}]}',
        '{"sk-import-1": {"user": "u1"}, "sk-import-2": {"user": "u1"}}', '{"sk-import-1": "u1", "sk-import-2": "u1"}',
        '["sk-import-1", "sk-import-2"]', "# keys\nsk-import-1 u1\nsk-import-2 u1\n",
    );
    push @secrets, qw(sk-import-1 sk-import-2);
    for my $form (@forms) {
        unlink $to;
        my $from = spew("$dir/from", $form);
        my $dry = ctl(qw(import --format fastapi --dry-run --json), $from, '--file', $to);
        is($dry->{json}{imported}, 2, "$form: two would come");
        ok(!-e $to, 'a dry run makes nothing');
        my $r = ctl(qw(import --format fastapi), $from, '--file', $to);
        is($r->{rc}, 0, 'imported') or diag $r->{err};
        is_deeply([ map { $_->{sha256} } @{ keys_of($to) } ], [ map { sha256_hex("sk-import-$_") } 1, 2 ], 'as digests');
        isnt(keys_of($to)->[0]{name}, keys_of($to)->[1]{name}, 'each has a name of its own');
        is(ctl(qw(import --format fastapi --json), $from, '--file', $to)->{json}{known}, 2, 'again: both are known');
        is(ctl('check', $to)->{rc}, 0, 'the file is right');
    }
    my $before = slurp($to);
    for my $bad ('{"keys":[{"key":"sk-new"},{"user":"x"}]}', '{"keys":[', '[1]', "sk-new\nsk bad\x01key\n\x02", '[{"key":"sk-new","quota":"much"}]', '["sk-new",{"key":"a b"}]') {
        my $r = ctl(qw(import --format fastapi), spew("$dir/from", $bad), '--file', $to);
        is($r->{rc}, 1, 'refused');
        unlike($r->{err}, qr/sk-new/, 'no key is shown');
        is(slurp($to), $before, 'nothing is half imported');
    }
    is(ctl(qw(import --format csv), $to)->{rc}, 2, 'an unknown format');
};

case 'import of LiteLLM\'s table' => sub {
    my @hash = map { sha256_hex("sk-l$_") } 1 .. 5;
    my $csv = "token,key_name,key_alias,spend,expires,models,user_id,max_parallel_requests,blocked,tpm_limit,rpm_limit,max_budget,metadata\r\n"
        . qq($hash[0],sk-...abcd,"team ""a"", b",1.5,2099-01-01 00:00:00.5,"{gpt-4o,""x y""}",u1,5,,100000,60,20.5,"{""a"": ""b""}"\r\n)
        . "$hash[1],,,0,,{},u1,,t,,,,{}\r\n$hash[2],,n,0,,{all-proxy-models},,,f,,,,{}\n$hash[3],,n,0,,{no-default-models},,,f,,0,,{}\n";
    my $json = JSON::PP->new->canonical;
    my @rows = (
        { token => $hash[0], key_alias => 'team "a", b', expires => '2099-01-01T00:00:00.5Z', models => [ 'gpt-4o', 'x y' ], user_id => 'u1',
            max_parallel_requests => 5, blocked => undef, tpm_limit => 100_000, rpm_limit => 60, max_budget => 20.5, metadata => { a => 'b' } },
        { token => $hash[1], models => [], user_id => 'u1', blocked => JSON::PP::true },
        { token => $hash[2], key_alias => 'n', models => ['all-proxy-models'], blocked => JSON::PP::false },
        { token => $hash[3], key_alias => 'n', models => ['no-default-models'], rpm_limit => 0 },
    );
    my @made;
    for my $from ($csv, $json->encode(\@rows), join("\n", map { $json->encode($_) } @rows)) {
        my $to = "$dir/litellm.json";
        unlink $to;
        my $r = ctl(qw(import --format litellm), spew("$dir/from", $from), '--file', $to);
        is($r->{rc}, 0, 'imported') or diag $r->{err};
        like($r->{err}, qr/"max_budget" is not taken over: it is about money.*\(1 key\)/, 'money is said');
        push @made, keys_of($to);
    }
    is_deeply($made[0], [
        { name => 'team "a", b', sha256 => $hash[0], user => 'u1', expires => '2099-01-01T00:00:00.5Z', models => [ 'gpt-4o', 'x y' ],
            limits => { requests => '60r/m', tokens => '100000/m', concurrency => 5 } },
        { name => 'u1', sha256 => $hash[1], user => 'u1', enabled => JSON::PP::false },
        { name => 'n', sha256 => $hash[2] },
        { name => 'n-2', sha256 => $hash[3], enabled => JSON::PP::false },
    ], 'what CSV says');
    is_deeply($made[1], $made[0], 'JSON says the same');
    is_deeply($made[2], $made[0], 'lines of JSON too');
    is(ctl(qw(import --format litellm), spew("$dir/from", "token,models\n$hash[0]\n"), '--file', $file)->{rc}, 1, 'a row that is cut');
    is(ctl(qw(import --format litellm), spew("$dir/from", "token\nabc\n"), '--file', $file)->{rc}, 1, 'a token that is none');
};

# --- usage

case 'usage' => sub {
    plan skip_all => 'no sqlite3' if system('command -v sqlite3 >/dev/null 2>&1');
    my $db = "$dir/state.db";
    my $columns = join ',', qw(hour key user model zone requests requests_refused prompt cached completion reasoning cache_write cost);
    # Hours at the edges of a month: 2026-10-31T23, 2026-11-01T00, 2026-11-30T23, 2026-12-01T00.
    my @hours = (1793487600, 1793491200, 1796079600, 1796083200);
    my $rows = join '', map { "INSERT INTO usage VALUES($_);" } (
        "$hours[0],'a','u','m',1,1,0,1,0,1,0,0,1000000", "$hours[1],'a','u','m',1,2,1,10,4,5,3,2,15", "$hours[1],'b','v','m,\"x',1,1,0,7,0,1,0,0,8",
        "$hours[2],'a','u','n',2,3,0,100,0,50,0,0,150", "$hours[3],'a','u','m',1,1,0,1,0,1,0,0,2000000",
    );
    my $setup = "PRAGMA journal_mode=WAL; PRAGMA application_id=1819045235; PRAGMA user_version=1; CREATE TABLE usage($columns); $rows";
    open my $sqlite, '|-', "sqlite3 $db >/dev/null" or die;
    print $sqlite $setup;
    close $sqlite or die "sqlite3\n";
    my @state = ('--state', $db);
    my $r = ctl(qw(usage --json --from 2026-11 --to 2026-11), @state);
    is($r->{rc}, 0, 'well') or diag $r->{err};
    is_deeply($r->{json}{rows}, [
        { key => 'a', requests => 5, refused => 1, prompt => 110, cached => 4, completion => 55, reasoning => 3, cache_write => 2, cost => 165 },
        { key => 'b', requests => 1, refused => 0, prompt => 7, cached => 0, completion => 1, reasoning => 0, cache_write => 0, cost => 8 },
    ], 'a month, by key');
    is($r->{json}{sum}{cost}, 173, 'the sum');
    is(ctl(qw(usage --json), @state)->{json}{sum}{cost}, 3_000_173, 'all of it');
    is(ctl(qw(usage --json --from 2026-11-30 --to 2026-11-30), @state)->{json}{sum}{cost}, 150, 'a day');
    is(ctl(qw(usage --json --from 2026-11-30T23:00:00Z --to 2026-12-01T00:00:00Z), @state)->{json}{sum}{cost}, 150, 'an hour');
    $r = ctl(qw(usage --json --by), 'day,user,model', qw(--from 2026-11 --to 2026-11), @state);
    is_deeply([ map { "@$_{qw(day user model cost)}" } @{ $r->{json}{rows} } ],
        [ '2026-11-01 u m 15', '2026-11-01 v m,"x 8', '2026-11-30 u n 150' ], 'by day, user and model');
    $r = ctl(qw(usage --csv --by model --to 2026-11), @state);
    is($r->{out}, "model,requests,refused,prompt,cached,completion,reasoning,cache_write,cost\r\nm,3,1,11,4,6,3,2,1000015\r\n"
            . "n,3,0,100,0,50,0,0,150\r\n\"m,\"\"x\",1,0,7,0,1,0,0,8\r\n", 'CSV');
    my @lines = split /\n/, ctl('usage', @state)->{out};
    like($lines[0], qr/^KEY +REQUESTS +REFUSED .* COST$/, 'a table has titles');
    like($lines[-1], qr/^sum .* 3 000 173$/, 'and the sums at its end');
    is(scalar(keys %{ { map { length($_) => 1 } @lines } }), 1, 'with numbers to the right');
    for ([ '--by', 'colour' ], [ '--by', 'key,key' ], [ '--from', 'yesterday' ], [ '--csv', '--json' ]) {
        is(ctl('usage', @$_, @state)->{rc}, 2, "@$_");
    }
    $r = ctl(qw(usage --state), "$dir/none.db");
    is($r->{rc}, 2, 'no such file');
    like($r->{err}, qr/none\.db: No such file/, 'says so');
    ok(!-e "$dir/none.db", 'and makes none');
    like(ctl(qw(usage --state), spew("$dir/no.db", 'x' x 4096))->{err}, qr/is no SQLite database/, 'another file');
    system("sqlite3 $dir/other.db 'create table usage(a)'");
    like(ctl(qw(usage --state), "$dir/other.db")->{err}, qr/another program/, 'another database');
    system("cp $db $dir/newer.db; sqlite3 $dir/newer.db 'pragma user_version=99'");
    like(ctl(qw(usage --state), "$dir/newer.db")->{err}, qr/has format 99/, 'a newer format');
    my $damaged = slurp($db);
    substr($damaged, 4096, length($damaged) - 4096) = 'x' x (length($damaged) - 4096);
    like(ctl(qw(usage --state), spew("$dir/damaged.db", $damaged))->{err}, qr/damaged/, 'a damaged one');
    SKIP: {
        skip 'not root', 2 if $>;
        is(ctl({ nobody => 1 }, qw(usage --json --state), $db)->{rc}, 0, 'one that may only be read') if chmod 0644, $db;
        chmod 0600, $db;
        like(ctl({ nobody => 1 }, qw(usage --state), $db)->{err}, qr/Permission denied/, 'without rights');
    }
};

# --- help

case 'new and hash change no file' => sub {
    my $before = slurp($file);
    my $r = ctl('new', 'erin', 'e');
    is($r->{rc}, 0, 'well');
    my ($key) = $r->{err} =~ /\Akey \(not shown again\): (sk-[\w-]{43})\n\z/;
    ok($key, 'the key is on stderr') or return;
    push @secrets, $key;
    my $record = JSON::PP->new->decode($r->{out});
    is_deeply($record, { name => 'erin', user => 'e', sha256 => sha256_hex($key) }, 'stdout has the record');
    my $json = ctl(qw(new erin --json))->{json};
    is($json->{record}{sha256}, sha256_hex($json->{key}), 'JSON has both');
    push @secrets, $json->{key};
    is(ctl({ in => spew("$dir/one", "sk-one-0123456789\nsecond line\n") }, 'hash')->{out}, sha256_hex('sk-one-0123456789') . "\n", 'the hash of the first line');
    is(ctl({ in => "$dir/one" }, qw(hash --json))->{json}{sha256}, sha256_hex('sk-one-0123456789'), 'in JSON');
    is(ctl('hash')->{rc}, 2, 'of nothing there is none');
    is(slurp($file), $before, 'the key file is as it was');
};

case 'size' => sub {
    my @want = qw(--keys 2000 --users 300 --models 7 --all-models 30 --requests 500 --addresses 100);
    my $r = ctl('size', @want, '--json');
    is($r->{rc}, 0, 'well') or diag $r->{err};
    my %part = map { $_->{part} => $_ } @{ $r->{json}{parts} };
    is($part{counters}{needed}, 2000 + 300 + 130 + 1, 'counters of keys, users and names');
    is($part{series}{needed},   2000 * 8 + 1,         'series of keys and models');
    is($r->{json}{decides}, 'series', 'what decides');
    is($r->{json}{size}, $r->{json}{bytes} / 1024**2 . 'm', 'as llm_zone takes it');
    my @short = grep { $_->{needed} > $_->{room} } @{ $r->{json}{parts} };
    is_deeply(\@short, [], 'there is room');
    like(ctl('size', @want)->{out}, qr/^llm_zone NAME:$r->{json}{size};\n\nPART +NEEDED +ROOM\b.*^series +16 001 .* decides$/ms, 'for people');

    # What nginx makes of such a zone.
    my $t = LLM::Test->gateway(zone => "llm:$r->{json}{size}", keys => [], server => 'location = /metrics { llm_api_keys off; llm_metrics; }');
    $t->start;
    my $metrics = $t->fetch(GET => '/metrics')->{body};
    my %bytes;
    $bytes{$1} += $2 while $metrics =~ /^llm_zone_bytes\{.*part="(\w+)".*\} (\d+)$/mg;
    my %record = (requests => 512, counters => 320, series => 256, clients => 352, models => 608, keys => 1);
    for my $name (sort keys %record) {
        my $room = $bytes{$name} / $record{$name};
        cmp_ok($room, '>=', $part{$name}{room}, "nginx has that room: $name");
        cmp_ok($room, '<=', $part{$name}{room} * 1.05 + 20, 'and not much more');
    }
    $t->check_and_stop;

    my @keys = map { { name => "key-$_", user => 'u' . $_ % 5, sha256 => sha256_hex($_) } } 1 .. 400;
    $r = ctl(qw(size --json --file), spew("$dir/sized.json", JSON::PP->new->encode({ keys => \@keys })));
    %part = map { $_->{part} => $_ } @{ $r->{json}{parts} };
    is($part{counters}{needed}, 400 + 5 + 1 + 1, 'keys and users of a file');
    cmp_ok(abs($part{keys}{needed} / 400 - 120), '<', 30, 'and what their records take');
    is(ctl(qw(size --json --keys 10k))->{json}{bytes}, ctl(qw(size --json --keys 10000))->{json}{bytes}, 'a number with a unit');
    for ([], [qw(--keys ten)], [qw(--keys 10 --used 11)], [qw(--keys 10 --file x)], [qw(--keys -1)], [qw(--keys 99999999999999999999)]) {
        is(ctl('size', @$_)->{rc}, 2, "wrong: @$_");
    }

    # People whom an application names.
    $r = ctl(qw(size --json --keys 10 --used 5 --models 3 --user_from 1000));
    %part = map { $_->{part} => $_ } @{ $r->{json}{parts} };
    is($part{counters}{needed}, 2 * 16 * 1003,    'a key may name a 16th of the half of the counters');
    is($part{clients}{needed},  8 * 1000,         'and an eighth of the clients');
    is($part{series}{needed},   1006 * 4 + 1,     'each has series, and so have all others of the application');
    push @keys, { name => 'app', user_from => 'X-User', sha256 => sha256_hex('app') };
    my $app = spew("$dir/app.json", JSON::PP->new->encode({ keys => \@keys }));
    is(ctl(qw(size --user_from 20 --file), $app)->{rc}, 0, 'by a key of a file');
    for (
        [ qr/^llmctl: --users: 10 keys cannot belong to 11 users; .* --user_from$/,  qw(--keys 10 --users 11) ],
        [ qr/--users: the keys of the file belong to 5 users/,                        '--file', $app, qw(--users 4) ],
        [ qr/--users: 401 keys cannot/,                                               '--file', $app, qw(--users 402) ],
        [ qr/--user_from: no key of the file has user_from/,                          '--file', "$dir/sized.json", qw(--user_from 1) ],
        [ qr/--user_from: no key is used/,                                            qw(--keys 10 --used 0 --user_from 1) ],
        [ qr/--all-models: .* fewer .* than the 5 of one/,                            qw(--keys 10 --models 5 --all-models 4) ],
        [ qr/--all-models: 3 keys that use 2 models each .* at most 6 different/,     qw(--keys 10 --used 3 --models 2 --all-models 7) ],
        [ qr/--used: there are only 10 keys/,                                         qw(--keys 10 --used 11) ],
    ) {
        my ($says, @words) = @$_;
        $r = ctl('size', @words);
        is("$r->{rc} $r->{out}", '2 ', "cannot be: @words");
        like($r->{err}, $says, 'says why');
    }
    is(ctl(qw(size --keys 3 --models 2 --all-models 6))->{rc}, 0, 'what can just be');
    is(ctl(qw(size --keys 10000m --models 10000m --all-models 10000m))->{rc}, 1, 'the largest numbers are only too large');
    is(ctl(qw(size --file), spew("$dir/wrong.json", '{'))->{rc}, 1, 'a key file that is wrong');
    is(ctl(qw(size --keys 1 --requests 9000m))->{rc}, 1, 'too much');
};
case 'help, man page and completion name everything' => sub {
    my $help = ctl('--help');
    is($help->{rc}, 0, 'help');
    my @commands = $help->{out} =~ /^  ((?:key )?[a-z]+)/mg;
    cmp_ok(scalar @commands, '>=', 13, 'commands');
    my $man = slurp("$root/docs/llmctl.1");
    my $doc = slurp("$root/docs/llmctl.md");
    my %completion = map { $_ => slurp("$root/src/ctl/completion/$_") } qw(llmctl.bash _llmctl);
    for my $command (@commands) {
        my $r = ctl(split(/ /, $command), '--help');
        is($r->{rc}, 0, "$command --help");
        my $words = join ' ', map { "Cm $_" } split / /, $command;
        like($man, qr/^\.It $words\b/m, "$command is in the man page");
        like($doc, qr/\bllmctl $command\b/, "$command is in llmctl.md");
        for my $option ($r->{out} =~ /^  (--[\w-]+)/mg) {
            my $name = $option =~ s/^-//r =~ s/-/\\-/gr;
            like($man, qr/Fl \Q$name\E(?!\w)/, "$option is in the man page");
            for (keys %completion) {
                like($completion{$_}, qr/\Q$option\E(?![\w-])/, "$option is in $_") ;
            }
        }
        for (keys %completion) {
            my $last = $command =~ s/.* //r;
            like($completion{$_}, qr/\b\Q$last\E\b/, "$command is in $_");
        }
    }
    is(ctl('--version')->{out} =~ /^llmctl \d+\.\d+\.\d+$/m, 1, 'version');
    is(ctl()->{rc}, 2, 'no command');
    SKIP: {
        skip 'no mandoc', 1 if system('command -v mandoc >/dev/null 2>&1');
        is(`mandoc -T lint -W warning $root/docs/llmctl.1 2>&1`, '', 'mandoc has nothing to say');
    }
    is(system('bash', '-n', "$root/src/ctl/completion/llmctl.bash"), 0, 'bash reads its completion');
    # What bash offers behind these words, of which the last is empty or has begun. Bash makes words of its own of "=".
    local $ENV{PATH} = dirname($llmctl) . ":$ENV{PATH}";
    my $offers = sub {
        my $words = join ' ', map { "'$_'" } @_;
        chomp(my $said = `bash -c '. "\$0"; COMP_WORDS=("\$\@"); COMP_CWORD=\$((\$# - 1)); _llmctl; echo "\${COMPREPLY[*]}"' $root/src/ctl/completion/llmctl.bash $words`);
        return $said;
    };
    like($offers->(qw(llmctl key), ''), qr/\badd\b.*\brotate\b/, 'and completes commands');
    my $named = spew("$dir/offered.json", '{"keys":[{"name":"ann"},{"name":"bea"}]}');
    is($offers->(qw(llmctl key show --file), $named, ''), 'ann bea', 'names of the file that was given');
    is($offers->(qw(llmctl key show --file =), $named, 'b'), 'bea', 'in each way');
    my ($fields) = ctl(qw(key set a x))->{err} =~ /the fields are (.*)/;
    is($offers->(qw(llmctl key set ann), ''), $fields =~ s/, |\z/= /gr =~ s/ \z//r, 'fields');
    is($offers->(qw(llmctl key set ann quota =)), '', 'nothing for a value');
    is($offers->(qw(llmctl key set ann enabled = n)), 'no', 'but for those of which there are few');
    is($offers->(qw(llmctl key add x --us)), '--user --user_from', 'options');
    my $of_set = ctl(qw(key set --help))->{out} =~ s/\s+/ /gr;
    like($of_set, qr/The fields are \Q@{[ $fields =~ s{, (?=\w+\z)}{ and }r ]}\E\./, 'the help of set names the fields');
};

case 'the examples of llmctl.md and operations.md' => sub {
    plan skip_all => 'no script' if system('command -v script >/dev/null 2>&1');
    mkdir "$dir/doc";
    local $ENV{PATH}     = dirname($llmctl) . ":$ENV{PATH}";
    local $ENV{LLM_KEYS} = 'keys.json';
    # What is random in what is printed.
    my $plain = sub { $_[0] =~ s/\r//gr =~ s/sk-[\w-]{43}/sk-KEY/gr };
    local $ENV{LLM_NGINX} = "$dir/none";
    my $count = 0;
    for my $block (map { slurp("$root/docs/$_") =~ /^```console\n(.*?)^```$/msg } qw(llmctl.md operations.md)) {
        for my $step (split /^(?=\$ )/m, $block) {
            my ($command, $expected) = $step =~ /\A\$ (.*?)\n(.*)\z/s or die "no command: $step";
            spew("$dir/doc/step", "$command\n");
            my $said = `cd $dir/doc && script -qec 'sh step' /dev/null </dev/null`;
            is($plain->($said), $plain->($expected), $command);
            $count++;
        }
    }
    cmp_ok($count, '>', 10, 'examples');
};

case 'no secret anywhere' => sub {
    my $found = '';
    for my $path (glob("$dir/*.json"), glob("$dir/*/*.json"), "$dir/err.$$") {
        my $text = slurp($path);
        $found .= "$path " for grep { index($text, $_) >= 0 && $path !~ /bad\.json/ } @secrets;
    }
    is($found, '', 'in a file that llmctl wrote');
    cmp_ok(scalar @secrets, '>', 8, 'secrets looked for');
};

done_testing();
