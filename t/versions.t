# Why: the table that says which versions of nginx were tried is believed. A failed build or test must not look like a good one in it, and
# the source tree that it is pointed at is somebody's own.
#
# The trees here are no nginx: they build what the tests say.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find qw(find);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;

my $root = abs_path(dirname(__FILE__) . '/..');
my $dir  = tempdir('llm-versions-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);

sub spew {
    my ($path, $text, $mode) = @_;

    make_path(dirname($path));
    open my $file, '>', $path or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";
    chmod $mode // 0644, $path;
    return $path;
}

# A source tree. Options: version => text of headers by name; http3 => whether it knows the option; make => what its Makefile does for
# the module.
sub tree {
    my ($name, %o) = @_;

    my $tree = "$dir/$name";
    spew("$tree/src/core/$_.h", $o{headers}{$_}) for keys %{ $o{headers} };
    spew("$tree/auto/options", $o{http3} ? "--with-http_v3_module\n" : "\n");
    my $make = $o{make} // 'cp /bin/true $$OBJS/ngx_http_llm_module.so';
    spew("$tree/auto/configure", <<'END' =~ s/%%MAKE%%/$make/r, 0755);
#!/bin/sh
for option; do case $option in --builddir=*) objs=${option#*=} ;; esac; done
mkdir -p "$objs"
echo "$*" > "$objs/options"
printf 'binary:\n\tcp /bin/true %s/nginx\nmodules:\n\tOBJS=%s; %%MAKE%%\n' "$objs" "$objs" > "$objs/Makefile"
END
    return $tree;
}

# What is in a folder.
sub files_of {
    my ($folder) = @_;

    my @found;
    find({ no_chdir => 1, wanted => sub { push @found, $_ } }, $folder);
    return join "\n", sort @found;
}

spew("$dir/programs/$_", "#!/bin/sh\n", 0755) for qw(llmctl t/soak/soak_load t/soak/names_load);

# Returns (exit status, { "name version built" => the other columns }, all that it said).
sub versions {
    my (@arguments) = @_;

    local $ENV{LLM_VERSIONS} = "$dir/out";
    local $ENV{LLM_PROGRAMS} = "$dir/programs";
    delete local $ENV{LLM_PRELOAD};
    open my $out, '-|', 'sh', '-c', 'exec sh "$@" 2>&1', 'sh', "$root/t/versions.sh", @arguments or die "sh: $!\n";
    local $/;
    my $said = <$out>;
    close $out;
    my $rc = $? >> 8;
    my ($table) = $said =~ /^\|---[^\n]*\n(.*)\z/ms;
    my %rows = map { my ($name, $version, $built, @rest) = split / *\| */, s/^\| //r; ("$name $version $built" => "@rest") } split /\n/, $table // '';
    return ($rc, \%rows, $said);
}

my $good    = spew("$dir/good.t", "use Test::More; ok(1, \$_) for 1 .. 3; SKIP: { skip 'why', 2 } ok(-f \$ENV{LLM_MODULE} && -x \$ENV{LLM_NGINX}); done_testing();\n");
my $skipped = spew("$dir/skipped.t", "use Test::More skip_all => 'why';\n");
my $bad     = spew("$dir/bad.t", "use Test::More tests => 4; ok(\$_ != 2) for 1 .. 4;\n");
my $nginx   = { headers => { nginx => qq{#define NGINX_VERSION      "1.99.1"\n} } };

subtest 'a tree that is good' => sub {
    my $tree = tree('nginx-1.99.1', %$nginx, http3 => 1);
    my $before = files_of($tree);
    my ($rc, $rows, $said) = versions('--nginx', $tree, '--only', 'plain add', '--only', 'http3 add', '--tests', "$good $skipped");
    is($rc, 0, 'well') or diag $said;
    is_deeply($rows, {
        'nginx 1.99.1 plain, --add-dynamic-module'  => '6 0 3',
        'nginx 1.99.1 HTTP/3, --add-dynamic-module' => '6 0 3',
    }, 'passed, failed, skipped');
    is(files_of($tree), $before, 'nothing was written there');
    like($said, qr/^Tests: .*good\.t.*; \d{4}-\d\d-\d\d$/m, 'which tests, and when');
    my ($plain, $http3) = map { open my $file, '<', "$dir/out/nginx-1.99.1/objs-$_/options" or die; scalar <$file> } qw(plain http3);
    unlike($plain, qr/http_v3/, 'one is plain');
    like($http3, qr/--with-http_v3_module/, 'the other is not');
};

subtest 'what has no HTTP/3' => sub {
    my ($rc, $rows) = versions('--nginx', tree('old', %$nginx), '--only', 'http3 add', '--only', 'http3 cmake', '--tests', $good);
    is($rc, 0, 'is no failure');
    is_deeply($rows, { 'nginx 1.99.1 HTTP/3' => 'it has none - -' }, 'and said once');
};

subtest 'other names' => sub {
    my $ver = qq{#define NGINX_VERSION "1.99.1"\n};
    my %tree = (
        'Angie 1.50.0'     => { nginx => $ver, angie => qq{#define ANGIE_VERSION       "1.50.0"\n} },
        'freenginx 1.99.1' => { nginx => qq{#define NGINX_NAME "freenginx"\n$ver} },
        'OpenResty 1.99.1' => { nginx => qq{${ver}#define NGINX_VER "openresty/" NGINX_VERSION ".1"\n} },
    );
    for my $name (sort keys %tree) {
        my ($rc, $rows) = versions('--nginx', tree($name =~ s/ .*//r, headers => $tree{$name}), '--only', 'plain add', '--tests', $good);
        is_deeply([ keys %$rows ], ["$name plain, --add-dynamic-module"], $name);
    }
};

subtest 'what is not good' => sub {
    my $tree = tree('tests', %$nginx);
    my ($rc, $rows) = versions('--nginx', $tree, '--only', 'plain add', '--tests', "$good $bad");
    is($rc, 1, 'a test that fails');
    is_deeply([ values %$rows ], ['9 1 2'], 'is counted');
    my $other = spew("$dir/other.t", "use Test::More tests => 3; ok(\$_ > 2) for 1 .. 3;\n");
    my $ends  = spew("$dir/ends.t", "use Test::More; ok(1); done_testing(); END { \$? = 7 }\n");
    ($rc, $rows) = versions('--nginx', $tree, '--only', 'plain add', '--tests', "$good $bad $other $ends");
    is_deeply([ values %$rows ], ['10 4 2'], 'of all files; one that ends badly is one');
    ($rc, $rows) = versions('--nginx', $tree, '--only', 'plain add', '--tests', "$dir/none.t");
    is($rc, 1, 'no test at all is no good one');

    my $said;
    ($rc, $rows, $said) = versions('--nginx', tree('build', %$nginx, make => 'echo some reason; false'), '--only', 'plain add', '--tests', $good);
    is($rc, 1, 'a module that is not built');
    is_deeply([ values %$rows ], ['**not built** - -'], 'is in the table');
    like($said, qr/^ +some reason$/m, 'with the reason above it');
    ($rc, $rows) = versions('--nginx', tree('warns', %$nginx, make => 'echo x.cpp:1: warning: y; cp /bin/true $$OBJS/ngx_http_llm_module.so'), '--only',
        'plain add', '--tests', $good);
    is($rc, 1, 'one with warnings');
    is_deeply([ keys %$rows ], ['nginx 1.99.1 plain, --add-dynamic-module, with warnings'], 'is in the table');
    for ([ '--nginx', $dir ], ['--nginx'], ['--what'], [ '--nginx', "$dir/nothing" ]) {
        is((versions(@$_))[0], 2, "wrong use: @$_");
    }
};

# A chroot has compilers of its own, and may have no ccache.
subtest 'what a chroot gets of the environment' => sub {
    plan skip_all => 'chroot needs root' if $> != 0;
    local %ENV = (%ENV, map { $_ => 'not-there' } qw(CC CXX CXXFLAGS LDFLAGS CMAKE_C_COMPILER_LAUNCHER CMAKE_CXX_COMPILER_LAUNCHER CMAKE_GENERATOR));
    local $ENV{LLM_TESTS} = 't/a.t';
    my $said = qx(sh -c '. "$root/t/chroot.sh"; unshare() { while [ "\$1" != env ]; do shift; done; "\$@"; }; in_chroot / env');
    is($?, 0, 'it runs');
    unlike($said, qr/not-there/, 'nothing that names programs');
    like($said, qr{^LLM_TESTS=t/a\.t$}m, 'what is for the tests');
};

done_testing();
