#!/bin/sh
# What is in the packages of a folder: hardened programs, debug symbols apart, a list of what they were made of, modes. Run by t/package.sh.

set -eu
cd "$1"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
die() { echo "$*"; exit 1; }

for deb in libnginx-mod-http-llm_*.deb llmctl_*.deb; do
    name=${deb%%_*}
    dpkg-deb -x "$deb" "$dir/$name"
    ls "$name"-dbgsym_*.deb >/dev/null || die "$name: no debug symbols"
    program=$(find "$dir/$name" -name '*_module.so' -o -name llmctl -path '*/bin/*')
    echo "$program: $(($(wc -c <"$program") / 1024)) KB"
    readelf -lW "$program" | grep -q GNU_RELRO || die "$name: no RELRO"
    readelf -dW "$program" | grep -qE 'BIND_NOW|FLAGS.*NOW' || die "$name: not bound at its start"
    readelf -lW "$program" | grep -E 'GNU_STACK.*RWE' && die "$name: a stack that is run"
    readelf -hW "$program" | grep -qE 'Type: *DYN' || die "$name: at a fixed place"
    readelf -sW --dyn-syms "$program" | grep -qE '__stack_chk_fail' || die "$name: no stack protector"
    readelf -sW --dyn-syms "$program" | grep -qE '__[a-z]+_chk' || die "$name: not fortified"
    readelf -SW "$program" | grep -q '\.debug_info' && die "$name: debug symbols in it"
    perl -MJSON::PP -e '
        my ($program, $file) = @ARGV;
        local $/;
        open my $in, "<", $file or die "$file: $!\n";
        my $sbom = decode_json(<$in>);
        my %there = map { $_->{SPDXID} => $_ } @{ $sbom->{packages} };
        for (@{ $sbom->{relationships} }) {
            $there{$_->{relatedSpdxElement}} && ($there{$_->{spdxElementId}} || $_->{spdxElementId} eq "SPDXRef-DOCUMENT") or die "a relation to nobody\n";
        }
        my $named = join " ", map { "$_->{name}=$_->{versionInfo}" } @{ $sbom->{packages} };
        print "$named\n";
        for my $needed (qw(libc6 libjansson4 nginx-dev), map { /NEEDED.*(sqlite3|curl)/ ? "lib$1" : () } split /\n/, `objdump -p $program`) {
            $named =~ /\b\Q$needed\E/ or die "no $needed\n";
        }
    ' "$program" "$dir/$name/usr/share/doc/$name/$name.spdx.json" || die "$name: its SPDX document is wrong"
done
case $(dpkg-deb -f libnginx-mod-http-llm_*.deb Depends) in
    *nginx-abi-*) ;;
    *) die "it does not depend on an abi of nginx" ;;
esac
