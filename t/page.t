# Why: a browser gets a page where programs get JSON. The page shows names that clients and key files choose, so what it may do is
# bounded by its policy, which must fit it to the byte; and no program may get HTML that has always got JSON.

use strict;
use warnings;

use Digest::SHA qw(sha256_base64);
use JSON::PP;

use LLM::Test;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => { 'keys.json' => key_file([ { name => 'alice', secret => 'sk-alice' } ]) },
    conf   => <<'EOF_CONF');
%%HTTP_BEGIN%%
    llm_zone llm:1m;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /status { llm_api_keys off; llm_status; }
        location = /guarded { llm_status; }
        location = /gzip { llm_api_keys off; gzip on; llm_status; }
    }
}
EOF_CONF
$t->start;

my $browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8';

sub ask {
    my ($accept, %more) = @_;

    return $t->fetch($more{method} // 'GET', $more{uri} // '/status', headers => [ map { (Accept => $_) } @$accept ]);
}

sub type_of { return ask(@_)->{headers}{'content-type'} }

case 'the page' => sub {
    for my $uri ('/status', '/status/', '/status/any?view=live') {
        my $r = ask([$browser], uri => $uri);
        is($r->{status}, 200, "$uri: status");
        is($r->{headers}{'content-type'}, 'text/html; charset=utf-8', 'type');
        is($r->{headers}{'content-length'}, length $r->{body}, 'length');
        is($r->{headers}{vary}, 'Accept', 'caches are told that there are two');
        is($r->{headers}{'cache-control'}, 'no-store', 'and keep none');
        is($r->{headers}{'referrer-policy'}, 'no-referrer', 'no referrer');
        is($r->{headers}{'x-content-type-options'}, 'nosniff', 'no guesses at types');
        like($r->{body}, qr/\A<!DOCTYPE html>.*<\/html>\n\z/s, 'whole');
    }
};

case 'its policy' => sub {
    my $r = ask([$browser]);
    my %policy = map { /\A(\S+) (.*)\z/ ? ($1 => $2) : () } split /; /, $r->{headers}{'content-security-policy'};
    my ($style, $script) = map { my $tag = $_; $r->{body} =~ m{<$tag\b[^>]*>(.*?)</$tag>}s ? $1 : '' } qw(style script);
    cmp_ok(length $_, '>', 1000, 'there is one') for $style, $script;
    is_deeply(\%policy, {
        'default-src' => "'none'", 'connect-src' => "'self'", 'style-src' => "'sha256-" . sha256_base64($style) . "='",
        'script-src' => "'sha256-" . sha256_base64($script) . "='", 'base-uri' => "'none'", 'form-action' => "'none'", 'frame-ancestors' => "'none'",
        'require-trusted-types-for' => "'script'", 'trusted-types' => "'none'",
    }, 'allows what is in the page, and no more');
    is(scalar(() = $r->{body} =~ /<$_\b/g), 1, "one $_") for qw(style script);
    # Of JSON a browser makes no page.
    ok(!exists ask(['application/json'])->{headers}{'content-security-policy'}, 'none with JSON');
};

case 'nothing from elsewhere' => sub {
    my $body = ask([$browser])->{body};
    my @addresses = grep { $_ ne 'http://www.w3.org/2000/svg' } $body =~ m{(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s'"]*}gi;
    is_deeply(\@addresses, [], 'no address');
    unlike($body, qr/\b(?:src|href|action|on\w+|style)\s*=\s*["'](?!#)/, 'no attribute that loads or runs something');
    unlike($body, qr/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|localStorage|sessionStorage|cookie/,
        'no text becomes HTML, and nothing is kept');
};

case 'who gets which' => sub {
    my $json = 'application/json';
    is(type_of([]), $json, 'no Accept');
    is(type_of([$_]), $json, $_) for '*/*', '', $json, 'application/json, text/plain, */*', 'text/html, application/json', 'text/html;q=0', 'text/html;q=0.5, */*',
        'nonsense', ';;,,q=', 'text/html;q=nonsense';
    like(type_of([$_]), qr{\Atext/html}, $_) for 'text/html', 'TEXT/HTML, */*;q=0.1', 'text/*', 'application/json;q=0.5, text/html;q=0.6';
    like(type_of([ 'application/json;q=0.1', 'text/html;q=0.2' ]), qr{\Atext/html}, 'two headers are one list');
    my $r = ask([]);
    is($r->{headers}{vary}, 'Accept', 'JSON says that it hangs on Accept, too');
    is(ref decode_json($r->{body})->{zones}, 'ARRAY', 'and is what it was');
};

case 'HEAD, other methods, and keys' => sub {
    my $get  = ask([$browser]);
    my $head = ask([$browser], method => 'HEAD');
    is($head->{body}, '', 'HEAD has no body');
    is($head->{headers}{$_}, $get->{headers}{$_}, "but the $_ of GET") for qw(content-length content-type content-security-policy vary);
    is(ask([$browser], method => 'POST')->{status}, 405, 'POST');
    is(ask([$browser], uri => '/guarded')->{status}, 401, 'where a key is needed there is no page without it');
};

$t->finish;
