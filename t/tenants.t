# Why: estimates are charged where nobody tells the tokens. Were they learned from what other keys send, one tenant could make another's
# aborted streams dear and its reservations large; were a key's own lessons believed, it could make itself cheap.

use strict;
use warnings;

use LLM::Test;

my @liars  = map {"liar-$_"} 1 .. 10;
my $budget = 10_000_000_000;

my $t = LLM::Test->gateway(
    keys   => [ map { { name => $_, secret => "sk-$_", limits => { tokens => '1m/d', token_burst => $budget } } } @liars, qw(before after cheap) ],
    zone   => 'llm:1m',
    http   => 'llm_usage_inject off;',
    server => <<'EOF');
    location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }
EOF
my $up = $t->upstream(1);
$t->start;

my $seed = $ENV{TENANTS_SEED} // time;
note("TENANTS_SEED=$seed");
srand $seed;

sub one_of { return $_[ rand @_ ] }

# --- streams of each API: what bounds them, an event for a text, and their end with these counts

sub named { my ($name, $data) = @_; return qq(event: $name\ndata: {"type":"$name",$data}\n\n) }

sub counts { return qq("usage":{"$_[0]":$_[1],"$_[2]":$_[3]}) }

my %apis = (
    chat => {
        uri  => '/v1/chat/completions',
        max  => sub { (max_tokens => $_[0]) },
        text => sub { event(qq({"id":"c","choices":[{"index":0,"delta":{"content":"$_[0]"}}]})) },
        end  => sub { event('{"choices":[],' . counts(prompt_tokens => $_[0], completion_tokens => $_[1]) . '}') . done() },
    },
    completions => {
        uri  => '/v1/completions',
        max  => sub { (max_tokens => $_[0]) },
        text => sub { event(qq({"id":"c","choices":[{"index":0,"text":"$_[0]"}]})) },
        end  => sub { event('{"choices":[],' . counts(prompt_tokens => $_[0], completion_tokens => $_[1]) . '}') . done() },
    },
    messages => {
        uri  => '/v1/messages',
        max  => sub { (max_tokens => $_[0]) },
        text => sub { named(content_block_delta => qq("index":0,"delta":{"type":"text_delta","text":"$_[0]"})) },
        end  => sub { named(message_delta => counts(input_tokens => $_[0], output_tokens => $_[1])) . named(message_stop => '"x":1') },
    },
    responses => {
        uri  => '/v1/responses',
        max  => sub { (max_output_tokens => $_[0]) },
        text => sub { named('response.output_text.delta' => qq("item_id":"i","delta":"$_[0]")) },
        end  => sub {
            named('response.completed' => '"response":{"status":"completed",' . counts(input_tokens => $_[0], output_tokens => $_[1]) . '}');
        },
    },
    ollama => {
        uri  => '/api/chat',
        max  => sub { (options => { num_predict => $_[0] }) },
        type => 'application/x-ndjson',
        text => sub { qq({"model":"m","message":{"role":"assistant","content":"$_[0]"},"done":false}\n) },
        end  => sub { qq({"model":"m","done":true,"prompt_eval_count":$_[0],"eval_count":$_[1]}\n) },
    },
);

sub start {
    my ($api, $key, $body) = @_;

    my $c = $t->client;
    my $id = $t->new_id;
    $c->request(POST => $api->{uri}, headers => [ $t->bearer("sk-$key") ], body => $body, id => $id);
    return ($c, $up->take, $id);
}

# A stream that is whole, or that the client leaves at its end. Returns the log's line.
sub ask {
    my ($api, $key, $body, $stream, %o) = @_;

    my ($c, $u, $id) = start($api, $key, $body);
    $u->head(type => $api->{type});
    $u->piece($stream);
    if ($o{leaves}) {
        die "the stream did not come\n" if length $c->wait_body(length $stream) != length $stream;
        $c->close;
        $u->wait_close;
    } else {
        $u->finish;
        $c->response;
        $c->close;
    }
    return $t->log_line($id);
}

# --- lessons

# Of one to eight letters, as tokens are.
my @words = map { my $n = $_ % 8; join '', map { chr 97 + rand 26 } 0 .. $n } 1 .. 100;

# Each returns the size of the request, the reply's events, and its counts.
my @lessons = (
    # Hidden reasoning: three events, many tokens.
    sub { my ($api) = @_; return (400, join('', map { $api->{text}->($_) } 'a' .. 'c'), 20, one_of(20_000, 500_000)) },
    # A prompt that is stored elsewhere.
    sub { my ($api) = @_; return (100, $api->{text}->('hi'), one_of(100_000, 1_000_000), 5) },
    # Text without end, and hardly a token.
    sub { my ($api) = @_; return (5000, $api->{text}->('x' x 10_000) x 3, 2, 30) },
    # Logprobs and blanks beside the text.
    sub {
        my ($api) = @_;
        my $more = ',"logprobs":[' . join(',', (0) x 500) . ']' . ' ' x 500;
        return (400, ($api->{text}->('a') =~ s/\}(\n+)\z/$more}$1/r) x 20, 100, 20);
    },
    # Blanks as text.
    sub { my ($api) = @_; return (400, $api->{text}->(' ' x 64) x 20, 100, 20) },
    # Absurd counts.
    sub { my ($api) = @_; return (400, $api->{text}->('a'), map { one_of('36893488147419103232', '1e300', '4294967295', '7') } 1 .. 2) },
);

sub lesson {
    my ($api, $key, $model) = @_;

    my ($bytes, $text, @usage) = one_of(@lessons)->($api);
    return ask($api, $key, chat_request_of($bytes, model => $model, stream => \1), $text . $api->{end}->(@usage))->{status};
}

# --- what an honest key sends, and pays

# Tokens that are reserved for a request, by the header of its reply. It costs nothing: the upstream fails.
sub reserved {
    my ($api, $key, $body) = @_;

    my @left;
    for my $what (chat_request_of(100, model => 'none', $api->{max}->(1)), $body) {
        my ($c, $u) = start($api, $key, $what);
        $u->head(status => 400);
        $u->piece('{}');
        $u->finish;
        my $headers = $c->response->{headers};
        push @left, $headers->{'x-ratelimit-remaining-tokens'} // $headers->{'anthropic-ratelimit-tokens-remaining'};
        $c->close;
        $t->wait_idle;
    }
    return $left[0] + 26 - $left[1];
}

sub honest {
    my ($key) = @_;

    my %paid;
    for my $name (sort keys %apis) {
        my $api = $apis{$name};
        for my $part ([ 300, 40 ], [ 1200, 150 ], [ 5000, 400 ]) {
            my ($bytes, $tokens) = @$part;
            my $body = chat_request_of($bytes, model => $name, stream => \1);
            my $text = join '', map { $api->{text}->($words[ $_ % 100 ]) } 1 .. $tokens;
            my $reserved = reserved($api, $key, $body);
            $paid{"$name, $tokens tokens"} = { %{ ask($api, $key, $body, $text, leaves => 1) }, reserved => $reserved, made => $tokens };
        }
    }
    return \%paid;
}

my ($before, $after);
case 'ten keys that lie' => sub {
    my %statuses;
    $before = honest('before');
    for (1 .. 400) {
        my $name = one_of(sort keys %apis);
        # Of the models of the honest, or of names that are thought up.
        $statuses{ lesson($apis{$name}, one_of(@liars), one_of($name, "$name-" . int rand 1e9)) }++;
    }
    is_deeply(\%statuses, { 200 => 400 }, 'are served');
    $after = honest('after');
};
for my $case (sort keys %{ $before // {} }) {
    case "move nothing of what another key pays: $case" => sub {
        my ($was, $is) = ($before->{$case}, $after->{$case});
        is($is->{status}, 200, 'no 429, no 503');
        is($is->{usage_source}, 'estimated', 'nothing was told');
        for my $what (qw(reserved prompt_tokens completion_tokens)) {
            ok($is->{$what} * 2 >= $was->{$what} && $is->{$what} <= $was->{$what} * 2, "$what: $is->{$what}, was $was->{$what}");
        }
        my $paid = $is->{completion_tokens};
        ok($paid * 2 >= $was->{made} && $paid <= 3 * $was->{made}, "$paid for $was->{made} that were made");
    };
}

# --- a key that lies of itself

for my $name (sort keys %apis) {
    my $api = $apis{$name};
    case "a key cannot make itself cheap or dear: $name" => sub {
        for (1 .. 5) {
            lesson($api, 'cheap', $name) for 1 .. 6;
            my $tokens = 100 + int rand 400;
            # One token an event, and several.
            for my $each (1, 5) {
                my @made = map { one_of(@words) } 1 .. $tokens;
                my $text = '';
                $text .= $api->{text}->(join ' ', splice @made, 0, $each) while @made;
                my $paid = ask($api, 'cheap', chat_request_of(400, model => $name, stream => \1), $text, leaves => 1)->{completion_tokens};
                ok($paid * 2 >= $tokens && $paid <= 3 * $tokens, "$paid for $tokens, $each an event");
                $paid = ask($api, 'cheap', chat_request_of(400, model => $name, stream => \1, $api->{max}->(50)), $text, leaves => 1)
                    ->{completion_tokens};
                cmp_ok($paid, '<=', 50, 'never above its own maximum');
            }
        }
    };
}

$t->finish;
