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
