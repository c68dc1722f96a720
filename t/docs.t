# Why: a page that leads nowhere, or that names what the code does not have, costs a reader more than no page. What can be checked of
# the pages without reading them is checked here: links, names, and lines of the log.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find;
use File::Spec::Functions qw(canonpath catfile);
use FindBin;
use Test::More;

my $root = abs_path("$FindBin::Bin/..");

sub text_of {
    my ($path) = @_;

    open my $file, '<:encoding(UTF-8)', $path or die "$path: $!\n";
    local $/;
    return scalar <$file>;
}

# Paths below a folder, relative to the root.
sub files_of {
    my ($folder, $pattern) = @_;

    my @found;
    find({ no_chdir => 1, wanted => sub {
        $File::Find::prune = 1 if $_ =~ m{/(?:\.git|node_modules|results|build[^/]*)\z};
        push @found, substr $_, 1 + length $root if -f $_ && /$pattern/;
    } }, catfile($root, $folder));
    return sort @found;
}

my %pages = map { $_ => text_of("$root/$_") } grep { !/node_modules/ }
    ((map { substr $_, 1 + length $root } glob "$root/*.md"), map { files_of($_, qr/\.md\z/) } qw(docs bench t conf-examples));
my %sources = map { $_ => text_of("$root/$_") } files_of('src', qr/\.(?:c|cpp|h|hpp)\z/);

# Without what stands in code, where brackets are no links and `#` is no heading.
sub prose {
    my ($text) = @_;

    $text =~ s/^```.*?^```$//gms;
    $text =~ s/^    .*$//gm;
    return $text;
}

# The names that links may have behind `#`, as the hosting sites make them of headings.
sub anchors_of {
    my ($text) = @_;

    my (%anchors, %seen);
    for my $heading (prose($text) =~ /^#+ +(.*?) *$/gm) {
        $heading =~ s/\[([^]]*)\]\([^)]*\)/$1/g;
        my $name = lc $heading;
        $name =~ s/[^\w\- ]//g;
        $name =~ tr/ /-/;
        $anchors{ $name . ($seen{$name}++ ? '-' . ($seen{$name} - 1) : '') } = 1;
    }
    return \%anchors;
}

my %anchors = map { $_ => anchors_of($pages{$_}) } keys %pages;

# What is wrong with a link on a page; empty if nothing.
sub fault_of_link {
    my ($page, $link) = @_;

    return '' if $link =~ m{\A[a-z]+://};
    my ($file, $anchor) = $link =~ /\A([^#]*)(?:#(.*))?\z/;
    my $path = $page;
    if (length $file) {
        $path = canonpath(catfile(dirname($page), $file));
        1 while $path =~ s{[^/]+/\.\./}{};
        return 'no such file' if !-e "$root/$path";
    }
    return '' if !defined $anchor;
    return 'not a page' if !$anchors{$path};
    return $anchors{$path}{$anchor} ? '' : 'no such heading';
}

subtest 'links' => sub {
    my $links = 0;
    for my $page (sort keys %pages) {
        my @faults;
        for my $link (prose($pages{$page}) =~ /\]\(([^)\s]+)\)/g) {
            my $fault = fault_of_link($page, $link);
            push @faults, "$link: $fault" if $fault;
            $links++;
        }
        is_deeply(\@faults, [], $page);
    }
    cmp_ok($links, '>', 100, 'links were looked at');
    isnt(fault_of_link('README.md', $_), '', "a wrong one is noticed: $_")
        for 'docs/none.md', 'docs/limits.md#none', '#none', 'LICENSE#none';
    is(fault_of_link('docs/limits.md', $_), '', "a right one is not: $_")
        for '../t/soak.t', '#hard', 'operations.md#sizing-the-zone', '../README.md';
};

# Directives, variables and metrics begin alike.
subtest 'names' => sub {
    my $code = join "\n", values %sources;
    my %is_file = map { $_ => 1 } map { m{(\w+)[^/]*\z} } files_of('conf-examples', qr/./), 't/unit/llm_unit';
    for my $page (sort keys %pages) {
        my %named = map { $_ => 1 } $pages{$page} =~ /(?<![\w\/])(llm_[a-z_]*[a-z])\b/g;
        # Samples of a metric have its name and an ending.
        my @unknown = grep { $code !~ /\b\Q$_\E\b/ && !$is_file{$_} && $code !~ /"\Q@{[ s{_(?:total|bucket|sum|count|created)\z}{}r ]}\E"/ }
            sort keys %named;
        is_deeply(\@unknown, [], "$page names what there is");
    }
    my @known = $code =~ /ngx_string\("(llm_\w+)"\)/g;
    cmp_ok(scalar @known, '>', 20, 'directives and variables were found');
    for my $page (qw(README.md docs)) {
        my $text = join "\n", map { $pages{$_} } grep { m{\A\Q$page\E} } keys %pages;
        my @missing = grep { $text !~ /\b\Q$_\E\b/ } @known;
        is_deeply(\@missing, [], "$page has all directives and variables");
    }
};

# What people use of it: each has its place on its page, and is in a test. All of it is listed from the source, so that nothing new can be
# left out.
subtest 'everything has its page and its test' => sub {
    my $tests = join "\n", map { text_of("$root/$_") } grep { $_ ne 't/docs.t' } files_of('t', qr/\.(?:t|pm)\z/);
    my $of_ctl = join "\n", map { text_of($_) } glob "$root/t/llmctl*.t";
    my $of_admin = text_of("$root/t/admin.t");
    # Which of them LLM::Test logs, without the part of the name that all have.
    my ($logged) = text_of("$root/t/lib/LLM/Test.pm") =~ /"llm_\$_" \] \} qw\((.*?)\)/s;
    my %is_logged = map { $_ => 1 } split ' ', $logged // '';
    my $is_read = sub { my ($field) = @_; return $is_logged{$field} && $tests =~ /[{'( ]\Q$field\E[}') ]/ };
    my $table = sub { my ($file, $pattern) = @_; return $sources{$file} =~ /$pattern/g };

    # Each: what it is, its names, what its page has of it, what a test has of it.
    my (@all, %least);
    my $add = sub {
        my ($kind, $least, $names, $page, $on_page, $in_test) = @_;
        $least{$kind} = $least;
        push @all, map { { kind => $kind, name => $_, page => $page, on_page => $on_page, in_test => $in_test } } @$names;
    };
    my $word = sub { my ($name) = @_; return qr/(?<![\w-])\Q$name\E(?![\w-])/ };
    $add->(directive => 15, [ $table->('src/ngx/commands.cpp', qr/ngx_string\("(llm_\w+)"\)/) ], 'docs/directives.md',
        sub { qr/^## $_[0]$/m }, sub { $tests =~ /^[^#\n]*\b$_[0]\b/m });
    $add->(variable => 15, [ $table->('src/ngx/variables.cpp', qr/ngx_string\("(llm_\w+)"\)/) ], 'docs/variables.md',
        sub { qr/\$$_[0]\b/ }, sub { $tests =~ /\b$_[0]\b/ || $is_read->($_[0] =~ s/^llm_//r) });
    $add->(metric => 15, [ $table->('src/ngx/ops/metrics_page.cpp', qr/\{metric::\w+, "(llm_\w+)"/) ], 'docs/metrics.md',
        sub { qr/^\| `$_[0](?:_total)?` \|/m }, sub { $tests =~ /\b$_[0](?:_total|_bucket|_sum|_count)?\b/ });
    $add->('reason of a refusal' => 15, [ keys %{ { map { $_ => 1 } $table->('src/core/api/refusal.cpp', qr/\{\d{3}, "(\w+)", "/) } } ],
        'docs/refusals.md', sub { qr/`$_[0]`/ }, sub { $tests =~ $word->($_[0]) });
    my @calls = map {
        my ($begin, $segments, $end, $methods) = @$_;
        my $method = $methods eq 'reads' ? 'GET' : $methods =~ s/NGX_HTTP_//r;
        "$method $begin" . ($segments == 1 ? '' : $begin eq 'keys' ? '/NAME' : '/SERIAL') . ($end ? "/$end" : '');
    } do {
        my @rows;
        push @rows, [ $1, $2, $3, $4 ] while $sources{'src/ngx/ops/admin_call.cpp'} =~ /^ *\{"([\w-]+)", (\d), "(\w*)", admin_call::of::\w+, (\w+),/gm;
        @rows;
    };
    $add->('admin call' => 8, \@calls, 'docs/admin.md', sub { qr/^\| `$_[0]` \|/m }, sub {
        my ($method, $path) = split / /, $_[0];
        $path = join '/', map { /^[A-Z]+\z/ ? '[^/\s]+' : quotemeta } split m{/}, $path;
        $of_admin =~ m{\b$method(?: =>|',) ["'](?:/admin/)?$path\b}
    });
    $add->('error of an admin call' => 5, [ map { $sources{$_} =~ /send_admin_error\(r, \w+, "(\w+)"/g } grep { m{/ops/admin} } sort keys %sources ],
        'docs/admin.md', sub { qr/`$_[0]`/ }, sub { $of_admin =~ $word->($_[0]) });
    $add->('command of llmctl' => 15, [ $table->('src/ctl/command_table.cpp', qr/^ *\{"([a-z ]+)", "/m) ], 'docs/llmctl.md',
        sub { qr/\bllmctl $_[0]\b/ },
        sub { my $words = $_[0] =~ s/ /(?:', '| )/r; $of_ctl =~ /\b(?:ctl|run)\((?:\{.*?\}, )?\[? ?(?:qw\(|')$words\b/ });
    my @options;
    for my $file (sort grep { m{^src/ctl/} } keys %sources) {
        push @options, $1 while $sources{$file} =~ /\{"(--[\w-]+)", "[^"]*",/g;
    }
    $add->('option of llmctl' => 15, [ keys %{ { map { $_ => 1 } @options } } ], 'docs/llmctl.md',
        sub { $word->($_[0]) }, sub { $of_ctl =~ $word->($_[0]) });

    # What no test with nginx can bring about.
    my %never = (
        'reason of a refusal reloading' => 'an old worker, in the moment in which a key file is not in force any more; t/unit/refusal_test.cpp has it',
        'error of an admin call zone_full' => 'keys in force have room; t/unit/block_test.cpp has it',
    );
    my (%number, @faults);
    for my $each (@all) {
        $number{ $each->{kind} }++;
        next if delete $never{"$each->{kind} $each->{name}"};
        my $on_page = $each->{on_page}->($each->{name});
        push @faults, "$each->{kind} $each->{name} is not in $each->{page}" if $pages{ $each->{page} } !~ $on_page;
        push @faults, "$each->{kind} $each->{name} is in no test"           if !$each->{in_test}->($each->{name});
    }
    is(join("\n", @faults), '', 'documented and tested');
    is(join(', ', keys %never), '', 'no exception is left over');
    for my $kind (sort keys %least) {
        cmp_ok($number{$kind} // 0, '>=', $least{$kind}, "so many were found: $kind");
    }
};

# Another language's README is a translation: what is no prose is the same.
subtest 'translations of README.md' => sub {
    my $facts = sub {
        my ($text) = @_;
        my @links = map { /\A(?:#|README)/ ? () : $_ } prose($text) =~ /\]\(([^)\s]+)\)/g;
        # The first column of tables, but for its heading and the names of pages; several names are listed by other signs there.
        my @names = map { my @code = /`([^`]*)`/g; "@code" } map { (split / \| /)[0] } prose($text) =~ /^\| (.*) \|$/gm;
        return { code => [ $text =~ /^```.*?^```$/gms ], links => { map { $_ => 1 } @links }, names => [ grep { length } @names ] };
    };
    my $english = $facts->($pages{'README.md'});
    my @others = grep { /\AREADME\..*\.md\z/ } sort keys %pages;
    cmp_ok(scalar @others, '>', 0, 'there is one');
    for my $page (@others) {
        my $other = $facts->($pages{$page});
        is_deeply($other->{code},  $english->{code},  "$page: code");
        is_deeply($other->{names}, $english->{names}, "$page: directives and variables");
        my @missing = grep { !$other->{links}{$_} } sort keys %{ $english->{links} };
        # What was tested is told in English only.
        is_deeply([ grep { !/\At\// } @missing ], [], "$page: links");
    }
};

# A line of the error log that a page shows is one that the code writes.
subtest 'lines of the log' => sub {
    my @formats;
    for my $source (values %sources) {
        (my $joined = $source) =~ s/"\s*\n\s*"//g;
        push @formats, $joined =~ /"((?:[^"\\\n]|\\.)+)"/g;
    }
    s/\\"/"/g for @formats;
    # Fields may be anything; a message that is nothing but fields says nothing here.
    my @patterns = map { my $p = quotemeta; $p =~ s/\\%[a-zA-Z]+/.+/g; qr/\A$p\z/ } grep { /[a-z]{3}.* .*[a-z]{3}/ } @formats;
    my $lines = 0;
    for my $page (sort keys %pages) {
        for my $line ($pages{$page} =~ /^    \[[a-z]+\] (.*)$/gm) {
            ok(scalar(grep { $line =~ $_ } @patterns), "$page: $line");
            $lines++;
        }
    }
    cmp_ok($lines, '>', 2, 'lines were looked at');
    ok(!(grep { 'llm: a limit in dry run would refuse the request' =~ $_ } @patterns), 'another line is noticed');
};

done_testing();
