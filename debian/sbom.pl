#!/usr/bin/perl
# Writes an SPDX 2.3 document of each binary package into its documentation: which libraries the programs in it load, and what they were built
# with, in the versions that are installed now. The same packages make the same bytes.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Find;
use JSON::PP;
use POSIX qw(strftime);

sub run {
    my (@command) = @_;

    open my $out, '-|', @command or die "$command[0]: $!\n";
    my @lines = <$out>;
    close $out or die "@command failed\n";
    chomp @lines;
    return wantarray ? @lines : $lines[0];
}

# Fields of the packages that a name of dpkg stands for: [name, version, architecture, source].
sub installed {
    my ($name) = @_;

    my @found = grep { $_->[4] =~ /^ii/ }
        map { [split /\t/] } `dpkg-query -W -f '\${Package}\\t\${Version}\\t\${Architecture}\\t\${source:Package}\\t\${db:Status-Abbrev}\\n' '$name' 2>/dev/null`;
    return @found;
}

sub package_of_file {
    my ($file) = @_;

    for my $path ($file, $file =~ m{\A/usr(/lib.*)} ? $1 : "/usr$file") {
        my ($found) = grep { !/^diversion/ } `dpkg-query -S '$path' 2>/dev/null`;
        return $1 if $found && $found =~ /\A([^,\s]+?):? /;
    }
    die "no package has $file\n";
}

# Where the loader finds each library that a program names itself.
sub libraries_of {
    my ($program) = @_;

    my %path = map { /\A\s*(\S+) => (\S+) / ? ($1 => $2) : () } run('ldd', $program);
    my @needed = map { /^\s*NEEDED\s+(\S+)/ ? $1 : () } run('objdump', '-p', $program);
    return map { $path{$_} // die "$program: $_ is not found\n" } grep { !/^ld-linux/ } @needed;
}

my ($version) = run('dpkg-parsechangelog', '-SVersion');
my ($epoch)   = $ENV{SOURCE_DATE_EPOCH} // run('dpkg-parsechangelog', '-STimestamp');
my ($arch)    = run('dpkg-architecture', '-qDEB_HOST_ARCH');
my ($distro)  = map { /^ID="?(\w+)/ ? $1 : () } run('cat', '/etc/os-release');

sub spdx_package {
    my ($name, $version, $arch, %more) = @_;

    (my $id = "SPDXRef-$name") =~ s/[^A-Za-z0-9.-]/-/g;
    (my $in_url = $version) =~ s/([^A-Za-z0-9.~-])/sprintf '%%%02X', ord $1/ge;
    return {
        SPDXID           => $id,
        name             => $name,
        versionInfo      => $version,
        downloadLocation => 'NOASSERTION',
        filesAnalyzed    => JSON::PP::false,
        licenseConcluded => 'NOASSERTION',
        licenseDeclared  => 'NOASSERTION',
        copyrightText    => 'NOASSERTION',
        externalRefs     => [ { referenceCategory => 'PACKAGE-MANAGER', referenceType => 'purl',
            referenceLocator => "pkg:deb/$distro/$name\@$in_url?arch=$arch" } ],
        %more,
    };
}

my $control = do { local (@ARGV, $/) = 'debian/control'; <> };
my ($field) = $control =~ /^Build-Depends:(.*(?:\n\s.*)*)/m;
my @build = map { (my $name = $_) =~ s/[\s:(<].*//s; $name } grep { !/<!nocheck>/ } map { s/\A\s+//r } split /,/, $field;
my @compilers = map { package_of_file((run('readlink', '-f', (run('which', $_))[0]))[0]) } qw(gcc g++ ld);

for my $package (run('dh_listpackages')) {
    my $tree = "debian/$package";
    next if !-d $tree;
    my @programs;
    find(sub { push @programs, $File::Find::name if -f && !-l && m{\.so\z|\Allmctl\z} && `head -c 4 '$_'` eq "\x7fELF" }, $tree);

    my $own = spdx_package($package, $version, $arch, licenseConcluded => 'BSD-2-Clause', licenseDeclared => 'BSD-2-Clause',
        copyrightText => 'Copyright (c) 2026 The nginx-llm authors', primaryPackagePurpose => 'APPLICATION');
    my (%packages, %relations);
    my $add = sub {
        my ($relation, $name) = @_;

        for (installed($name)) {
            my ($name, $version, $arch, $source) = @$_;
            my $of = spdx_package($name, $version, $arch, sourceInfo => "built from the Debian source package $source");
            $packages{ $of->{SPDXID} } = $of;
            my ($from, $to) = $relation eq 'DEPENDS_ON' ? ($own, $of) : ($of, $own);
            $relations{"$relation $of->{SPDXID}"} =
                { spdxElementId => $from->{SPDXID}, relationshipType => $relation, relatedSpdxElement => $to->{SPDXID} };
        }
    };
    $add->('DEPENDS_ON', $_) for map { package_of_file($_) } map { libraries_of($_) } @programs;
    $add->('BUILD_DEPENDENCY_OF', $_) for @build;
    $add->('BUILD_TOOL_OF', $_) for @compilers;

    my $document = {
        spdxVersion   => 'SPDX-2.3',
        dataLicense   => 'CC0-1.0',
        SPDXID        => 'SPDXRef-DOCUMENT',
        name          => "$package-$version",
        creationInfo  => { created => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $epoch), creators => ['Tool: nginx-llm-sbom'] },
        packages      => [ $own, map { $packages{$_} } sort keys %packages ],
        relationships => [ { spdxElementId => 'SPDXRef-DOCUMENT', relationshipType => 'DESCRIBES', relatedSpdxElement => $own->{SPDXID} },
            map { $relations{$_} } sort keys %relations ],
    };
    my $json = JSON::PP->new->canonical->pretty;
    # One name for each content, as SPDX wants it. Nothing is to be found there.
    $document->{documentNamespace} = "https://nginx-llm.invalid/spdx/$package-$version-" . substr sha256_hex($json->encode($document)), 0, 32;

    my $folder = "$tree/usr/share/doc/$package";
    run('mkdir', '-p', $folder);
    open my $file, '>', "$folder/$package.spdx.json" or die "$folder: $!\n";
    print {$file} $json->encode($document);
    close $file or die "$folder: $!\n";
}
