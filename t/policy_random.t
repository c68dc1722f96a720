# Why: rules of requests, as many as there are and whatever a body has, leave what a parser would make of it, and every other byte in its
# place: also of bodies that are in a file, that came in chunks or over HTTP/2, and that went to a second upstream after the first had failed.

use strict;
use warnings;

use JSON::PP;

use LLM::Test;

srand($ENV{LLM_SEED} // 20261128);
my $json = JSON::PP->new->allow_nonref->canonical;

sub pick { return $_[ rand @_ ] }

# Some rules for one field at the top, or for what is within it: [ action, field, value ].
sub rules_for {
    my ($name) = @_;

    my $kind = int rand 6;
    return [ drop => $name ] if $kind == 0;
    return [ cap  => $name, pick(5, 50, 1.5) ] if $kind == 1;
    return [ set  => $name, pick('7', '"v"', '[1,{"x":2}]', 'true', 'null', '{"k":1}') ] if $kind == 2;
    return [ default => $name, pick('7', '"a longer text"', '[]', 'false') ] if $kind == 3;
    return ([ cap => $name, 60 ], [ default => $name, pick(1, 60) ]) if $kind == 4;
    return grep { rand() < 0.6 } [ drop => "$name.p" ], [ set => "$name.q", pick('1', '"w"') ], [ cap => "$name.r", 9 ], [ default => "$name.s.t", 3 ];
}

my @names = qw(temperature seed user logit_bias nested a b);

sub random_rules {
    my @rules = map { rand() < 0.5 ? rules_for($_) : () } @names;
    push @rules, map { [ allow => $_ ] } 'messages', grep { rand() < 0.6 } @names if rand() < 0.4;
    push @rules, [ cap => 'max_tokens', 100 ] if rand() < 0.5;
    return @rules ? \@rules : random_rules();
}

my @policies = map { random_rules() } 1 .. 12;

my $locations = '';
for my $i (0 .. $#policies) {
    my $rules = join ' ', map { my ($action, $field, $value) = @$_; "llm_request $action $field" . (defined $value ? " '$value'" : '') . ';' } @{ $policies[$i] };
    $locations .= <<"EOF";
        location /$i/ {
            $rules
            proxy_pass http://127.0.0.1:%%PORT_1%%;
            location /$i/file/ { client_body_buffer_size 1k; proxy_pass http://127.0.0.1:%%PORT_1%%; }
            location /$i/retry/ { proxy_next_upstream error timeout non_idempotent; proxy_pass http://two; }
            location /$i/retry/file/ {
                client_body_buffer_size 1k;
                proxy_next_upstream error timeout non_idempotent;
                proxy_pass http://two;
            }
        }
EOF
}

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => { 'keys.json' => key_file([ { name => 'alice', secret => 'sk-alice' } ]) },
    conf   => <<"EOF");
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    upstream two {
        server 127.0.0.1:%%PORT_3%% max_fails=0;
        server 127.0.0.1:%%PORT_4%% backup;
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_2%% http2;
$locations
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOF
my $up = $t->daemon(1);
my ($first, $second) = ($t->upstream(3), $t->upstream(4));
$t->start;

my @headers = ($t->bearer('sk-alice'), 'Content-Type' => 'application/json');

sub space { return rand() < 0.2 ? pick(' ', "\n", "\t ") : '' }

sub random_value {
    my ($depth) = @_;

    my $kind = int rand($depth > 1 ? 6 : 8);
    return pick(int rand 20, int rand 200, '1.5', '2E1', '-3', '0.25') if $kind < 4;
    return pick('null', 'true', '"text"', '"\\u00e9}\\""', '"' . 'z' x rand(900) . '"') if $kind == 4;
    return '[' . space() . random_value($depth + 1) . ']' if $kind == 5;
    return '{' . join(',', map { space() . qq("$_") . space() . ':' . random_value($depth + 1) . space() } grep { rand() < 0.5 } qw(p q r s t)) . '}';
}

# The text of a body, and where each member's value is: [ name, offset, text ].
sub random_body {
    my $text = space() . '{' . space();
    my @members;
    for my $name (grep { rand() < 0.5 } qw(messages model max_tokens n_predict x), @names) {
        my $written = $name =~ s/([a-z])/rand() < 0.1 ? sprintf '\\u%04x', ord $1 : $1/ger;
        my $value   = $name eq 'model' ? '"m"' : $name =~ /tokens|predict/ ? int rand 300 : $name eq 'messages' ? '"' . 'm' x rand(3000) . '"' : random_value(0);
        $text .= (@members ? ',' : '') . space() . qq("$written") . space() . ':' . space();
        push @members, [ $name, length $text, $value ];
        $text .= $value . space();
    }
    return ($text . '}' . space(), @members);
}

sub is_number { return defined $_[0] && !ref $_[0] && $json->encode($_[0]) =~ /\A[-0-9]/ }

# The object that holds the field, and its last name; made if need be. Nothing if there is none. Dies if the way leads through what is no object.
sub holder {
    my ($object, $field, %o) = @_;

    my @way  = split /\./, $field;
    my $last = pop @way;
    for my $name (@way) {
        return if !defined $object->{$name} && !$o{make};
        $object->{$name} //= {};
        return if ref $object->{$name} ne 'HASH' && $o{lax};
        die "refused\n" if ref $object->{$name} ne 'HASH';
        $object = $object->{$name};
    }
    return ($object, $last);
}

# What the rules are to make of it; undef: it is refused.
sub reference {
    my ($rules, $body) = @_;

    my %of;
    push @{ $of{ $_->[0] } }, $_ for @$rules;
    my $changed = eval {
        if ($of{allow}) {
            my %allowed = map { $_->[1] => 1 } @{ $of{allow} };
            $allowed{$_} || $_ eq 'model' || delete $body->{$_} for keys %$body;
        }
        for (@{ $of{drop} // [] }) {
            my ($in, $name) = holder($body, $_->[1], lax => 1);
            delete $in->{$name} if $in;
        }
        for (@{ $of{set} // [] }, @{ $of{default} // [] }) {
            my ($in, $name) = holder($body, $_->[1], make => 1);
            $in->{$name} = $json->decode($_->[2]) if $_->[0] eq 'set' || !defined $in->{$name};
        }
        for (@{ $of{cap} // [] }) {
            my ($action, $field, $most) = @$_;
            for my $one ($field eq 'max_tokens' ? qw(max_tokens n_predict) : $field) {
                my ($in, $name) = holder($body, $one);
                next if !$in || !defined $in->{$name};
                die "refused\n" if !is_number($in->{$name});
                $in->{$name} = $most if $in->{$name} > $most || ($field eq 'max_tokens' && $in->{$name} < 1);
            }
            $body->{max_tokens} //= $most if $field eq 'max_tokens';
        }
        $body;
    };
    return $changed;
}

# Sends it; what is returned waits for the reply and tells its status.
sub send_body {
    my ($uri, $body, $way) = @_;

    if ($way eq 'h2') {
        my $h2 = $t->client_h2(2);
        my $s  = $h2->request(POST => $uri, headers => \@headers, open => 1);
        $h2->data($s, $body, last => 1);
        return sub { my $r = $h2->response($s); $h2->close; return $r->{status} };
    }
    my $c = $t->client;
    if ($way eq 'chunked') {
        $c->request(POST => $uri, headers => [ @headers, 'Transfer-Encoding' => 'chunked' ]);
        $c->write(sprintf "%x\r\n%s\r\n", length, $_) for $body =~ /(.{1,333})/gs;
        $c->write("0\r\n\r\n");
    } else {
        $c->request(POST => $uri, headers => \@headers, body => $body);
    }
    return sub { my $r = $c->response; $c->close; return $r->{status} };
}

sub check_body {
    my ($name, $got, $want, $was, @members) = @_;

    my $parsed = eval { $json->decode($got) };
    ok($parsed, "$name: parses") or diag($got);
    is($json->encode($parsed), $json->encode($want), "$name: as the reference") or diag($got);
    for (@members) {
        my ($field, $at, $text) = @$_;
        next if !exists $want->{$field} || $json->encode($want->{$field}) ne $json->encode($was->{$field});
        my $there = substr $got, $at, length $text;
        is($there, $text, "$name: the bytes of $field") if $there ne $text;
    }
    return;
}

# A random body for a policy: how to call it in messages, its text, what is to become of it, what it says, and its members, but those that are
# not allowed: another rule may put the same value there again, elsewhere.
sub judged {
    my ($policy) = @_;

    my ($text, @members) = random_body();
    my %allowed = (model => 1, map { $_->[1] => 1 } grep { $_->[0] eq 'allow' } @{ $policies[$policy] });
    @members = grep { $allowed{ $_->[0] } } @members if keys %allowed > 1;
    my $name = "policy $policy (" . join('; ', map { join ' ', @$_ } @{ $policies[$policy] }) . "), body $text";
    return ($name, $text, reference($policies[$policy], $json->decode($text)), $json->decode($text), @members);
}

my @ways = ('at once', 'chunked', 'h2');

case 'as a parser would change it' => sub {
    my %seen;
    for my $round (1 .. 360) {
        my $policy = $round % @policies;
        my ($name, $text, $want, $was, @members) = judged($policy);
        my $before = $up->count;
        my $status = send_body("/$policy" . pick('/', '/file/') . 'v1/chat/completions', $text, pick(@ways))->();
        is($status, $want ? 200 : 400, "$name: status");
        $seen{$status}++;
        my @got = $up->requests;
        is(@got - $before, $want ? 1 : 0, "$name: forwarded or not");
        check_body($name, $got[-1]{body}, $want, $was, @members) if $want && @got > $before;
    }
    cmp_ok($seen{200} // 0, '>', 100, 'many are forwarded');
    cmp_ok($seen{400} // 0, '>', 20,  'and many are refused');
};

case 'to a second upstream' => sub {
    for my $round (1 .. 48) {
        my $policy = $round % @policies;
        my ($name, $text, $want, $was, @members) = judged($policy);
        next if !$want;
        my $status = send_body("/$policy" . pick('/retry/', '/retry/file/') . 'v1/chat/completions', $text, pick(@ways));
        my $one    = $first->accept;
        my $sent   = $one->read_request->{body};
        $one->close;
        my $two = $second->take;
        is($two->request->{body}, $sent, "$name: the same to both");
        check_body($name, $sent, $want, $was, @members);
        $two->reply(chat_reply(7, 10));
        is($status->(), 200, "$name: status");
        $two->close;
    }
};

$t->finish;
