package LLM::Case;

# One case of t/cases: what its client sends, what its upstream answers, and what of the outcome is not as it should be. What the
# members of a case mean: t/cases/README.md.

use strict;
use warnings;

use Encode qw(decode encode);
use JSON::PP;
use MIME::Base64 qw(decode_base64);

use LLM::Wire;

my $json = JSON::PP->new->utf8;

# What the cases call the figures of the log.
my %logged = (
    (map { $_ => $_ } qw(key model stream outcome refusal)),
    (map { $_ => "${_}_tokens" } qw(prompt completion total cached cache_write reasoning)),
    source => 'usage_source',
);
# Not told and none are the same.
my %may_lack = map { $_ => 1 } qw(cached cache_write reasoning);

sub load {
    my ($class, $path) = @_;

    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    my $self = eval { $json->decode(<$file>) } or die "$path: $@";
    my ($name) = $path =~ m{([^/]+)\.json\z};
    die "$path: its name is not \"$self->{name}\"\n" if $self->{name} ne $name;
    return bless $self, $class;
}

sub name   { return $_[0]{name} }
sub why    { return encode('UTF-8', $_[0]{why}) }
sub conf   { return $_[0]{conf} // {} }
sub unsure { return ($_[0]{judged} // '') eq 'unsure' }

# Each case has a key of its own: what one teaches or uses up is nothing to the others.
sub key  { return "sk-of-$_[0]{name}-0123456789" }
sub all_keys { my ($self) = @_; return ({ name => $self->name, user => 'u', key => $self->key }, @{ $self->conf->{keys} // [] }) }

sub key_names { return map { $_->{name} } $_[0]->all_keys }

# A text, or [[text, times], [text with {n}, times, first n], ...].
sub _text {
    my ($text) = @_;

    return $text if !ref $text;
    return join '', map {
        my ($part, $times, $first) = @$_;
        defined $first ? map({ $part =~ s/\{n\}/$_/gr } $first .. $first + $times - 1) : $part x $times;
    } @$text;
}

sub _bytes_of_reply {
    my ($from) = @_;

    return decode_base64($from->{reply_b64}) if defined $from->{reply_b64};
    return encode('ISO-8859-1', _text($from->{reply} // $from->{reply_raw} // ''));
}

sub reply { return _bytes_of_reply($_[0]) }

# The exchanges of the case, one after the other: { id, request, http2, reply, chunks, end, leave_after }.
sub exchanges {
    my ($self, $port) = @_;

    my $request = $self->{request};
    my @all;
    for my $lesson (@{ $self->{teach} // [] }) {
        my $taught = { %$request, %{ $lesson->{request} // {} }, leave_after => undef };
        push @all, map { {
            id => "$self->{name}-teach", $self->_sent($taught, "$self->{name}-teach", $port), reply => _bytes_of_reply($lesson), chunks => [],
            responses => 1,
        } } 1 .. $lesson->{times};
    }
    push @all, map { {
        id => $self->{name}, $self->_sent($request, $self->{name}, $port), reply => $self->reply, chunks => $self->{chunks} // [],
        end => $self->{upstream_end}, leave_after => $request->{leave_after}, responses => $self->{lines} // 1,
    } } 1 .. $self->{repeat} // 1;
    return @all;
}

sub _sent {
    my ($self, $request, $id, $port) = @_;

    my $method = $request->{method} // 'POST';
    my $named = sub { _text($_[0]) =~ s/\{KEY\}/$self->key/ger =~ s/\{ID\}/$id/gr };
    return (method => $method, bytes => encode('ISO-8859-1', $named->($request->{raw}))) if defined $request->{raw};

    my $body = decode_base64($request->{body_b64} // '');
    $body = encode('UTF-8', _text($request->{body})) if defined $request->{body};
    my @own   = map { [ $_->[0], defined $_->[1] ? encode('ISO-8859-1', $named->($_->[1])) : undef ] } @{ $request->{headers} // [] };
    my %given = map { lc $_->[0] => 1 } @own;
    my @headers;
    push @headers, [ Authorization => 'Bearer ' . $self->key ] if !$request->{no_key} && !grep { $given{$_} } qw(authorization x-api-key api-key);
    push @headers, [ 'Content-Type' => 'application/json' ] if $body ne '' && !$given{'content-type'};
    push @headers, grep { defined $_->[1] } @own;
    my $path = $request->{path} // '/v1/chat/completions';
    return (method => $method, path => $path, headers => \@headers, body => $body, http2 => 1) if $self->conf->{http2};

    unshift @headers, [ Host => "127.0.0.1:$port" ] if !$given{host};
    unshift @headers, [ Connection => 'close' ]     if !$given{connection};
    unshift @headers, [ 'X-Test' => $id ];
    if ($request->{chunked}) {
        push @headers, [ 'Transfer-Encoding' => 'chunked' ];
        my $size = $request->{chunk_size} // 7;
        $body = join('', map { sprintf "%x\r\n%s\r\n", length $_, $_ } unpack "(a$size)*", $body) . "0\r\n\r\n";
    } elsif (($body ne '' || $method eq 'POST') && !$given{'content-length'}) {
        push @headers, [ 'Content-Length' => length $body ];
    }
    return (method => $method, bytes => join("\r\n", "$method $path HTTP/1.1", (map { "$_->[0]: $_->[1]" } @headers), '', $body));
}

# --- what came of it

# The body of a reply as the upstream sent it.
sub _body_of_reply {
    my ($self) = @_;

    my ($head, $body) = $self->reply =~ /\A(.*?\r\n)\r\n(.*)\z/s or return '';
    return $body if $head !~ /^transfer-encoding:.*chunked/mi;
    my $whole = '';
    while ($body =~ s/\A([0-9a-fA-F]+)[^\r\n]*\r\n//) {
        last if !hex $1;
        $whole .= substr $body, 0, hex $1, '';
        $body =~ s/\A\r\n//;
    }
    return $whole;
}

# What is not as the case expects it, one line each. Of: response { status, head, body }, lines (of the log, decoded), taught (lines of the
# requests before), seen (requests as the upstream got them), totals (of the case's keys).
sub problems {
    my ($self, %got) = @_;

    my $expect = $self->{expect};
    my $log    = $got{lines}[-1] // {};
    my @bad;
    push @bad, 'status ' . ($got{response}{status} // 'none') . ", expected $expect->{status}"
        if defined $expect->{status} && ($got{response}{status} // 0) != $expect->{status};
    push @bad, $self->_of_log($log), $self->_of_client($got{response}), $self->_of_upstream($got{seen});
    push @bad, 'lines in the log: ' . @{ $got{lines} } . ', expected ' . $self->lines if @{ $got{lines} } != $self->lines;
    for my $name (qw(prompt completion requests)) {
        my $charged = $got{totals}{$name};
        my $want    = $expect->{sum}{$name};
        push @bad, "$name charged: $charged, expected $want" if defined $want && $charged != $want;
        next if $name eq 'requests';
        my $said = 0;
        $said += $_->{"${name}_tokens"} || 0 for @{ $got{lines} }, @{ $got{taught} };
        push @bad, "$name charged: $charged, but the log says $said" if $charged != $said;
    }
    push @bad, "$got{totals}{in_flight} in flight afterwards" if $got{totals}{in_flight};
    return map { s/[^\x20-\x7e]/./gr } @bad;
}

# How many lines the log is to have of the case.
sub lines { my ($self) = @_; return $self->{lines} // $self->{repeat} // 1 }

sub all_lines {
    my ($self) = @_;

    my $count = $self->lines;
    $count += $_->{times} for @{ $self->{teach} // [] };
    return $count;
}

sub _of_log {
    my ($self, $log) = @_;

    my $expect = $self->{expect};
    my @bad;
    for my $name (sort keys %logged) {
        next if !exists $expect->{$name};
        my $want = $expect->{$name} // '';
        my $have = $log->{ $logged{$name} } // '';
        next if $have eq $want || $may_lack{$name} && $want eq '0' && $have eq '';
        push @bad, "$name \"$have\", expected \"$want\"";
    }
    for my $name (sort keys %{ $expect->{min} // {} }) {
        my $have = $log->{ $logged{$name} } // '';
        push @bad, "$name \"$have\", expected $expect->{min}{$name} at least" if $have eq '' || $have < $expect->{min}{$name};
    }
    for my $name (sort keys %{ $expect->{max} // {} }) {
        my $have = $log->{ $logged{$name} } // '';
        push @bad, "$name \"$have\", expected $expect->{max}{$name} at most" if ($have || 0) > $expect->{max}{$name};
    }
    return @bad;
}

sub _of_client {
    my ($self, $response) = @_;

    my ($want, $body) = ($self->{expect}{client_bytes}, $response->{body} // '');
    my @bad;
    if (!ref $want) {
        push @bad, 'the client got ' . _shown($body) . ', the upstream sent ' . _shown($self->_body_of_reply)
            if defined $want && $body ne $self->_body_of_reply;
    } else {
        push @bad, 'the client got ' . _shown($body) if defined $want->{equals} && $body ne encode('ISO-8859-1', $want->{equals});
        push @bad, map { "the client lacks $_: " . _shown($body) } _missing($body, $want->{contains});
        push @bad, map { "the client has $_: " . _shown($body) } _present($self, $body, $want->{lacks});
    }
    my $head = $response->{head} // '';
    for my $name (sort keys %{ $self->{expect}{client_headers} // {} }) {
        my $have  = $head =~ /^\Q$name\E:[ \t]*(.*?)[ \t]*\r$/mi ? "\"$1\"" : 'none';
        my $value = $self->{expect}{client_headers}{$name};
        $value = defined $value ? "\"$value\"" : 'none';
        push @bad, "header $name: $have, expected $value" if $have ne $value;
    }
    for my $name (sort keys %{ $self->{expect}{client_header_count} // {} }) {
        my $have = () = $head =~ /^\Q$name\E:/mgi;
        my $value = $self->{expect}{client_header_count}{$name};
        push @bad, "header $name: $have times, expected $value" if $have != $value;
    }
    return @bad;
}

sub _of_upstream {
    my ($self, $seen) = @_;

    my $want = $self->{expect}{upstream} // {};
    my $text = join "\n", @$seen;
    my @bad;
    push @bad, 'the upstream was ' . (@$seen ? '' : 'not ') . 'asked' if defined $want->{asked} && !@$seen != !$want->{asked};
    push @bad, map { "the upstream got no $_: " . _shown($text) } _missing($text, $want->{contains});
    push @bad, map { "the upstream got $_" } _present($self, $text, $want->{lacks});
    return @bad;
}

sub _missing {
    my ($text, $parts) = @_;

    return grep { index($text, encode('ISO-8859-1', $_)) < 0 } @{ $parts // [] };
}

sub _present {
    my ($self, $text, $parts) = @_;

    return grep { index($text, encode('ISO-8859-1', $_)) >= 0 } map { s/\{KEY\}/$self->key/ger } @{ $parts // [] };
}

sub _shown { my ($text) = @_; return sprintf '"%s" (%d bytes)', substr($text, 0, 600), length $text }

1;
