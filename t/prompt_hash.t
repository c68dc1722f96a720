# Why: a server that has the beginning of a prompt in its cache need not compute it again. So requests that begin alike have to go to the
# same one, however clients write their JSON and however the body arrives; and nobody pays for that who does not want it.

use strict;
use warnings;

use JSON::PP;

use LLM::Test;

my $t = LLM::Test->gateway(
    keys   => [ { name => 'alice', secret => 'sk-alice' } ],
    http   => join("\n", 'upstream pool { hash $llm_prompt_hash consistent;', (map {"server 127.0.0.1:%%PORT_$_%%;"} 1 .. 4), '}'),
    server => <<'EOF',
location / { add_header X-Hash $llm_prompt_hash; proxy_pass http://pool; }
location /spills/ { client_body_buffer_size 1k; add_header X-Hash $llm_prompt_hash; proxy_pass http://pool/; }
EOF
    more => 'server { listen 127.0.0.1:%%PORT_5%% http2; location / { proxy_set_header X-Hash $llm_prompt_hash; proxy_pass http://pool; } }',
);
my @pool = map { $t->daemon($_) } 1 .. 4;
$t->start;

# Returns the hash, and the server that was asked.
sub ask {
    my ($body, %o) = @_;

    my @before = map { $_->count } @pool;
    my $r = $t->fetch(POST => ($o{before} // '') . ($o{uri} // '/v1/chat/completions'), key => 'sk-alice', body => $body, headers => $o{headers});
    is($r->{status}, 200, 'status') if $r->{status} != 200;
    my ($server) = grep { $pool[$_]->count != $before[$_] } 0 .. $#pool;
    return ($r->{headers}{'x-hash'} // '', $server);
}

sub hash_of { my ($hash) = ask(@_); return $hash }

my $words = join ' ', map {"word$_"} 1 .. 300;
my @messages = ({ role => 'system', content => "Be brief. $words" }, { role => 'user', content => 'Hello' });
my ($hash, $server) = ask(chat_request(messages => \@messages));
like($hash, qr/\A[0-9a-f]{16}\z/, 'a hash');

my $compact = JSON::PP->new->canonical;
my %request = (model => 'm', messages => \@messages);
for (
    [ 'compact',                       $compact->encode(\%request) ],
    [ 'pretty',                        JSON::PP->new->canonical->pretty->encode(\%request) ],
    [ 'with other members',            $compact->encode({ %request, temperature => 0.7, user => 'x', seed => 7, metadata => { prompt => 'y' } }) ],
    [ 'as a stream',                   $compact->encode({ %request, stream => \1 }) ],
    [ 'another end',                   $compact->encode({ model => 'm', messages => [ $messages[0], { role => 'user', content => 'And now?' } ] }) ],
) {
    my ($name, $body) = @$_;
    my @found = ask($body);
    is("@found", "$hash $server", "$name: the same hash and server");
    is(hash_of($body, before => '/spills'), $hash, "$name: of a body that does not come at once");
}
isnt(hash_of($compact->encode({ %request, model => 'other' })), $hash, 'another model');
isnt(hash_of($compact->encode({ model => 'm', messages => [ { role => 'system', content => "Be long. $words" }, $messages[1] ] })), $hash, 'another start');
isnt(hash_of($compact->encode({ model => 'm', prompt => 'x' }), uri => '/v1/completions'), '', 'a short prompt of another API has one too');
is(hash_of('{"model":"m"}', uri => '/v1/embeddings'), '', 'none without a prompt');
is(hash_of(undef), '', 'none without a body');

case 'over HTTP/2, in pieces' => sub {
    my $h = $t->client_h2(5);
    my $n = $h->request(POST => '/v1/chat/completions', headers => [ $t->bearer('sk-alice'), 'content-type' => 'application/json' ], body => $compact->encode(\%request), id => $t->new_id);
    is($h->response($n)->{status}, 200, 'status');
    is($pool[$server]->last_request->{headers}{'x-hash'}, $hash, 'the same, and the same server');
    $h->close;
};

case 'chunked, a byte at a time' => sub {
    my $body = $compact->encode(\%request);
    my $c = $t->client;
    my $text = $c->format_request(POST => '/v1/chat/completions', headers => [ $t->bearer('sk-alice'), 'Content-Type' => 'application/json', 'Transfer-Encoding' => 'chunked' ], id => $t->new_id);
    $c->write($text);
    $c->write(join '', map { "1\r\n$_\r\n" } split //, $body);
    $c->write("0\r\n\r\n");
    $c->expect_response('POST');
    is($c->response->{headers}{'x-hash'}, $hash, 'the same');
    $c->close;
};

case 'many prompts use all servers' => sub {
    my %seen;
    $seen{ (ask(chat_request(messages => [ { role => 'user', content => "Question $_" } ])))[1] }++ for 1 .. 60;
    is(join(' ', sort keys %seen), '0 1 2 3', 'each of them') or diag(explain(\%seen));
};

case 'a conversation that grows stays until it passes a boundary' => sub {
    my @talk = { role => 'system', content => $words };
    my %seen;
    for my $turn (1 .. 12) {
        push @talk, { role => 'user', content => "Question $turn" }, { role => 'assistant', content => 'An answer of some length. ' x 4 };
        my ($of, $where) = ask(chat_request(messages => \@talk));
        $seen{$of}{$where}++;
    }
    cmp_ok(scalar keys %seen, '<=', 3, 'few hashes');
    is(scalar(grep { keys %$_ > 1 } values %seen), 0, 'each with one server');
};

$t->finish;

