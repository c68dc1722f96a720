# Why: an upstream lists all of its models, also to keys that may use some of them only. What a key may not use is taken out of the
# list as it passes, however it comes, and all else of it stays as it is.

use strict;
use warnings;

use JSON::PP;

use LLM::Test;
use LLM::Ways;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => {
        'keys.json' => key_file([
            { name => 'alice',  secret => 'sk-alice' },
            { name => 'picky',  secret => 'sk-picky', models => [ 'qwen*', 'org/m:1' ] },
            { name => 'nobody', secret => 'sk-nobody', models => ['nothing'] },
        ]),
    },
    conf => <<'EOC');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_2%% http2;
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /buffered/ { proxy_buffering on; proxy_buffers 8 4k; proxy_buffer_size 4k; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /gzipped/ { gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOC
my $up = $t->upstream(1);
$t->start;

my $json = JSON::PP->new->canonical;

# One list in these pieces, in step with the client. Options: uri, key, method, h2, and of the reply status, type, headers, framing, cut.
sub ask {
    my ($pieces, %o) = @_;

    my $method = $o{method} // 'GET';
    my $uri    = $o{uri} // '/v1/models';
    my @about  = (headers => [ $t->bearer($o{key} // 'sk-picky'), @{ $o{send} // [] } ], id => $t->new_id);
    my $h2     = $o{h2} && $t->client_h2(2);
    my $c      = $h2 || $t->client;
    my $number = $c->request($method => $uri, @about);
    my $u      = $up->take;
    my $framing = $o{framing} // 'length';
    $u->head(status => $o{status}, framing => $framing, length => length join('', @$pieces), type => $o{type} // 'application/json', headers => $o{headers});
    my ($worker) = @{ $t->wait_workers };
    for my $piece ($method eq 'HEAD' ? () : @$pieces) {
        my $turn = LLM::Ways::turns_of($worker);
        $u->piece($piece) or last;
        LLM::Ways::wait_turn($worker, $turn) if @$pieces > 1;
    }
    $o{cut} ? $u->close : $u->finish;
    my $r = $h2 ? $c->response($number) : $c->response;
    $c->close;
    return { %$r, log => $t->log_line($about[-1]) };
}

sub list { return '{"object":"list","data":[' . join(',', @_) . '],"x":"y"}' }

sub model { my ($id, %o) = @_; return qq({"id":"$id","object":"model","permission":[{"id":"modelperm-1"}],"root":"$id"}) }

my @all  = map { model($_) } qw(llama qwen3 gpt-4o qwen3-lora org/m:1 org/m:2);
my $all  = list(@all);
my $some = list(@all[ 1, 3, 4 ]);

case 'what goes' => sub {
    for my $h2 (0, 1) {
        for my $uri ('/v1/models', '/buffered/v1/models', '/v1/models/', '/v1/models?after_id=x') {
            for my $framing ('length', 'chunked', 'close') {
                my $r = ask([$all], uri => $uri, h2 => $h2, framing => $framing);
                is("$r->{status} $r->{body}", "200 $some", "$uri, $framing" . ($h2 ? ', HTTP/2' : ''));
                ok($r->{complete}, 'to its end');
            }
        }
        is(ask([ split //, list(@all[ 0 .. 2 ]) ], h2 => $h2, framing => 'chunked')->{body}, list($all[1]), 'in single bytes');
    }
    is(ask([$all], key => 'sk-nobody')->{body}, list(), 'all of it');
    is(ask([$all], key => 'sk-alice')->{body}, $all, 'nothing, for a key that may use all models');
    is(ask([$all], key => 'sk-alice')->{headers}{'content-length'}, length $all, 'with its length');
    my $r = ask([$all], method => 'HEAD');
    is("$r->{status} $r->{body}", '200 ', 'HEAD');
    ok(!defined $r->{headers}{'content-length'}, 'tells no length, which would be that of the whole list');
    is($t->totals('picky')->{total_tokens} // 0, 0, 'no tokens are charged');
};

case 'lists of other servers' => sub {
    my $tags = sub { return '{"models":[' . join(",\n", map {qq({"name":"$_","model":"$_","size":1,"details":{"families":["qwen3"]}})} @_) . ']}' };
    is(ask([ $tags->('llama3:8b', 'qwen3:8b') ], uri => $_)->{body}, $tags->('qwen3:8b'), "Ollama's $_") for '/api/tags', '/api/ps';
    is(ask(['{"models":[{"name":"models/qwen3","displayName":"Qwen"},{"name":"models/gemini"}]}'], uri => '/v1beta/models')->{body},
        '{"models":[{"name":"models/qwen3","displayName":"Qwen"}]}', "Gemini's");
    is(ask(['{"models":[{"name":"llama","model":"llama"}],"object":"list","data":[{"id":"llama"},{"id":"qwen3"}]}'])->{body},
        '{"models":[],"object":"list","data":[{"id":"qwen3"}]}', "llama.cpp's");
};

case 'a long list' => sub {
    my @names = map { ($_ % 3 ? 'qwen' : 'llama') . "-$_" } 1 .. 3000;
    my $list  = list(map { model($_) } @names);
    for my $uri ('/v1/models', '/buffered/v1/models') {
        my $r = ask([ $list =~ /(.{1,30000})/gs ], uri => $uri);
        is($r->{body}, list(map { model($_) } grep {/qwen/} @names), $uri);
    }
};

case 'what is no list stays' => sub {
    is(ask([ model('llama') ], uri => '/v1/models/llama')->{body}, model('llama'), 'a model');
    is(ask([$all], uri => '/v1/files')->{body}, $all, 'another path');
    is(ask([$all], type => 'text/html')->{body}, $all, 'a page');
    is(ask([$all], status => 404)->{body}, $all, 'an error');
    is(ask(['{"data":{"id":"llama"}}'])->{body}, '{"data":{"id":"llama"}}', 'no list in it');
};

case 'compressed' => sub {
    my $r = ask([$all], headers => [ 'Content-Encoding' => 'gzip' ]);
    is("$r->{status} " . ($r->{body} =~ /llama/ || 0), '502 0', 'by the upstream: refused');
    is(ask([$all], headers => [ 'Content-Encoding' => 'identity' ])->{body}, $some, 'not by the upstream');
    is(ask([$all], headers => [ 'Content-Encoding' => 'gzip' ], key => 'sk-alice')->{body}, $all, 'for a key that may use all models');
    $r = ask([$all], uri => '/gzipped/v1/models', send => [ 'Accept-Encoding' => 'gzip' ]);
    require IO::Uncompress::Gunzip;
    my $text;
    IO::Uncompress::Gunzip::gunzip(\$r->{body} => \$text);
    is($text, $some, 'by nginx');
    ok($t->wait_error_log(qr/\[warn\].*coded as "gzip"/), 'the log says why');
};

case 'what is broken goes no further than to where it is' => sub {
    for my $h2 (0, 1) {
        for my $uri ('/v1/models', '/buffered/v1/models') {
            my $r = ask([ '{"data":[' . model('qwen3') . ',' . model('llama') . ']},x' . $all ], uri => $uri, h2 => $h2);
            unlike($r->{body}, qr/llama|org/, "$uri: no JSON");
            $r = ask([ '{"data":[' . model('qwen3') . ',{"id":"llama"' ], uri => $uri, h2 => $h2, framing => 'close');
            is($r->{body}, '{"data":[' . model('qwen3'), "$uri: it has no end");
            $r = ask([ '{"data":[' . model('qwen3') . ',{"x":"' . 'x' x 70000, '","id":"qwen3"},' . model('llama') . ']}' ], uri => $uri, h2 => $h2);
            is($r->{body}, '{"data":[' . model('qwen3'), "$uri: a model of more than 64 KB");
        }
    }
    ok($t->wait_error_log(qr/list of models is cut off, since $_/), "the log says why: $_")
        for 'it is not JSON', 'it has no end', "one model's entry is too long";
    is(ask([$all])->{body}, $some, 'others do');
};

$t->finish;
