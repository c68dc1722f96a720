# Why: each room of src/ may look only into those named here. What a room must not see it cannot come to depend on, and so the core
# stays free of nginx, JSON, TLS and database headers, and includes run one way.

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Find qw(find);
use Test::More;

my $src = dirname(__FILE__) . '/../src';

# A room, and the rooms that it may include from besides itself.
my %may = (
    'core/base'    => [],
    'core/json'    => [qw(core/base)],
    'core/limit'   => [qw(core/base)],
    'core/api'     => [qw(core/base core/limit)],
    'core/shared'  => [qw(core/base core/limit core/api)],
    'core/reply'   => [qw(core/base core/json core/api)],
    'core/request' => [qw(core/base core/json core/api)],
    keys           => [qw(core/*)],
    state          => [qw(core/*)],
    ctl            => [qw(keys state core/*)],
    ngx            => [qw(keys state core/*)],
    'ngx/ops'      => [qw(ngx keys state core/*)],
);

# The files of src/ngx that lead a request into ngx/ops.
my %doors = map { $_ => 1 } qw(ngx/commands.cpp ngx/status.cpp);

# Headers of libraries, and who may include them. All others are the compiler's and the C library's.
my @libraries = (
    [ qr/\Angx_/              => qw(ngx/ngx.hpp ngx/modules.c) ],
    [ qr/\Ajansson\.h\z/      => qw(keys/ ctl/) ],
    [ qr{\Acurl/}             => qw(ctl/http_client.cpp) ],
    [ qr{\Aopenssl/}          => qw(keys/ ctl/) ],
    [ qr/\Asqlite3/           => qw(state/) ],
    [ qr{\A(?:sys|netinet|arpa)/|\A(?:unistd|pthread|fcntl|dlfcn|malloc|signal|poll|dirent)\.h\z} => qw(ngx/ keys/ state/ ctl/) ],
);

sub room_of { my ($file) = @_; return $file =~ m{\A(core/\w+|ngx/ops|\w+)/} ? $1 : '' }

sub allows {
    my ($room, $other) = @_;

    return 1 if $room eq $other;
    return scalar grep { $_ eq $other || (m{\A(.*/)\*\z} && index($other, $1) == 0) } @{ $may{$room} // [] };
}

# What is wrong with an include of this file, or nothing. Paths are below src/.
sub fault {
    my ($file, $form, $header) = @_;

    my $room = room_of($file);
    return "$file: the room \"$room\" is not in the table" if !$may{$room};
    if ($form eq '<') {
        for my $library (@libraries) {
            my ($pattern, @places) = @$library;
            return "$file includes <$header>" if $header =~ $pattern && !grep { index($file, $_) == 0 } @places;
        }
        return;
    }
    my $path = $header =~ m{/} ? $header : dirname($file) . "/$header";
    # nginx.hpp alone sees nginx's headers, which it includes as they include each other.
    return if $file eq 'ngx/ngx.hpp' && $header =~ /\Angx_/;
    return "$file includes \"$header\", which is not there" if !-e "$src/$path";
    my $other = room_of($path);
    return if allows($room, $other) || ($doors{$file} && $other eq 'ngx/ops');
    return "$file includes \"$header\": $room must not see $other";
}

sub faults_of {
    my ($file, $text) = @_;

    my @faults;
    while ($text =~ /^\s*#\s*include\s*([<"])([^>"]+)[>"]/mg) {
        my $fault = fault($file, $1, $2);
        push @faults, $fault if $fault;
    }
    return @faults;
}

sub read_source {
    my ($file) = @_;

    open my $in, '<', "$src/$file" or die "$src/$file: $!\n";
    local $/;
    return scalar <$in>;
}

my @files;
find({ no_chdir => 1, wanted => sub { push @files, $File::Find::name =~ s{\A\Q$src\E/}{}r if /\.(?:h|hpp|cpp|c)\z/ } }, $src);
cmp_ok(scalar @files, '>', 100, 'files');
my @faults;
push @faults, faults_of($_, read_source($_)) for sort @files;
is(join("\n", @faults), '', 'every include is one that the table allows');

# A source file does what the header of its name declares, which it includes first, so that the header stands by itself. The others
# have no header: a program, nginx's table, and the further files of two large classes.
my %alone = map { $_ => 1 } qw(ctl/llmctl.cpp ngx/module.cpp core/json/json_scan_names.cpp core/json/json_scan_strict.cpp
    core/json/json_scan_text.cpp core/reply/usage_events.cpp core/reply/usage_parts.cpp core/reply/usage_pass.cpp);

sub wrong_header {
    my ($file, $text) = @_;

    my ($name) = $file =~ m{([^/]+)\.cpp\z};
    return if $alone{$file} || !defined $name;
    my ($first) = $text =~ /^#include\s+["<]([^">]+)/m;
    return ($first // '') eq "$name.h" ? () : "$file does not include $name.h first";
}

is(join("\n", map { wrong_header($_, read_source($_)) } @files), '', 'every source file has its header');
is(wrong_header('ngx/planted.cpp', qq(#include <cstdint>\n#include "planted.h"\n)), 'ngx/planted.cpp does not include planted.h first', 'another is found');

# What is known of a request is written, group by group, by the source file that request.h names for it.
my %writer = (
    reply => [qw(reply_filter reply_edit)], cut => ['reply_cut'], cut_by => ['reply_cut'], account => ['accounting'], end => ['request'], own => ['own_time'],
    decided => [qw(access decide)], held => ['decide'], running => ['running'], names => ['key_check'], credential => ['credentials'], asked => ['request_body'],
    strip => ['request_edit'], edited => ['request_edit'], routed => ['model_choice'], sent => ['model_edit'], refused => ['refuse'], refusal_is_left => ['refuse'], refused_detail => ['refuse'],
);
my $groups = join '|', keys %writer;

sub writes {
    my ($file, $text) = @_;

    my ($name) = $file =~ m{([^/]+)\.\w+\z};
    my @faults;
    while ($text =~ /\bctx(?:\.|->)($groups)\b(?:\.\w+)*\s*(?:[-+|&]?=(?!=)|\+\+|--)/g) {
        my $group = $1;
        push @faults, "$file writes ctx.$group" if !grep { $_ eq $name } @{ $writer{$group} };
    }
    return @faults;
}

is(join("\n", map { writes($_, read_source($_)) } grep {m{\Angx/}} @files), '', 'every field of a request has one writer');
is(scalar writes('ngx/planted.cpp', 'ctx->asked.model = name; if (ctx.held == held) { ctx.cut.granted += 3; }'), 2, 'a second one is found');

# The test itself: a planted include is found in each direction that the table leaves out.
my %header = map { my $file = $_; room_of($file) => $file } grep {/\.h\z/} @files;
for my $room (sort keys %header) {
    for my $other (sort keys %header) {
        my @found = faults_of("$room/planted.cpp", qq(#include <cstdint>\n#include "$header{$other}"\n));
        is(scalar @found, allows($room, $other) ? 0 : 1, "$other in $room");
    }
}
for ([ 'ngx_core.h', 'core/base' ], [ 'ngx_http.h', 'keys' ], [ 'jansson.h', 'core/json' ], [ 'jansson.h', 'ngx' ], [ 'openssl/sha.h', 'core/base' ],
    [ 'openssl/evp.h', 'ngx' ], [ 'sqlite3.h', 'ngx' ], [ 'sqlite3.h', 'core/shared' ], [ 'sys/stat.h', 'core/shared' ], [ 'unistd.h', 'core/reply' ]) {
    my ($header, $room) = @$_;
    is(scalar faults_of("$room/planted.cpp", "#include <$header>\n"), 1, "<$header> in $room");
}
is(scalar faults_of('attic/planted.cpp', "#include <cstdint>\n"), 1, 'a room that is not in the table');

done_testing();
