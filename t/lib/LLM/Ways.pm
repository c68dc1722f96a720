package LLM::Ways;

# One exchange in the ways that must not differ: as it is, one byte per read, with an HTTP/2 client, and with usage injected. The
# upstream of the test answers; what came to the client and what was logged is returned.

use strict;
use warnings;

use Exporter 'import';
use JSON::PP;

use LLM::Wait;
use LLM::Wire;

our @EXPORT = qw(ways_conf without_injected);

my $json = JSON::PP->new->canonical->allow_nonref;

# For `conf`: servers on ports 0 (HTTP/1.1) and 2 (HTTP/2), the test's upstream on port 1, and /status.
sub ways_conf {
    my $locations = join '', map {
        "        location /$_/ { llm_api_keys %%DIR%%/keys.json; llm_usage_inject $_; proxy_pass http://127.0.0.1:%%PORT_1%%/; }\n"
    } qw(off final continuous);
    $locations .= "        location = /status { llm_status; }\n";
    return join '', map { "    server {\n        listen 127.0.0.1:%%PORT_$_->[0]%%$_->[1];\n$locations    }\n" } [ 0, '' ], [ 2, ' http2' ];
}

sub new {
    my ($class, $t, $upstream, %o) = @_;

    return bless { t => $t, upstream => $upstream, %o }, $class;
}

# Sends a request and answers it. Options: h2; bytes (of the reply one per read, but of a long one the end only); inject (off,
# final, continuous; off); uri, request (the body), slowly (the body one byte per read), send (more headers), key; text; type,
# framing, status, headers, cut (the upstream breaks off).
# Returns { status, body, complete }, the line of the log, and the request as the upstream got it.
sub exchange {
    my ($self, %o) = @_;

    my ($c, $id, $response) = $self->_send(%o);
    my $u = $self->{upstream}->take;
    $u->head(
        status  => $o{status},
        framing => $o{framing},
        length  => length $o{text},
        type    => $o{type} // 'text/event-stream; charset=utf-8',
        headers => $o{headers},
    );
    $self->_write($o{bytes} ? _bytes($o{text}) : [ $o{text} =~ /(.{1,32768})/gs ], sub {
        # Or it would pile up.
        1 while $c->read_some;
        return $u->piece($_[0]);
    });
    $o{cut} ? $u->close : $u->finish;
    my $r = $response->();
    $c->close;
    return ($r, $self->{t}->log_line($id), $u->request);
}

# The same of one that is refused.
sub refused {
    my ($self, %o) = @_;

    my ($c, $id, $response) = $self->_send(%o);
    my $r = $response->();
    $c->close;
    return ($r, $self->{t}->log_line($id));
}

sub _send {
    my ($self, %o) = @_;

    my $t     = $self->{t};
    my $id    = $t->new_id;
    my $uri   = '/' . ($o{inject} // 'off') . ($o{uri} // '/v1/chat/completions');
    my $body  = $o{request} // chat_request(stream => \1);
    my @about = (headers => [ $t->bearer($o{key} // $self->{key}), @{ $o{send} // [] } ], id => $id);
    if ($o{h2}) {
        my $c = $t->client_h2(2);
        my $number = $c->request(POST => $uri, @about, body => $body);
        return ($c, $id, sub { $c->response($number) });
    }
    my $c = $t->client(0);
    if ($o{slowly}) {
        my $whole = $c->format_request(POST => $uri, @about, body => $body);
        $c->expect_response('POST');
        my $head = substr $whole, 0, length($whole) - length $body, '';
        $self->_write([ $head, split //, $whole ], sub { $c->write($_[0]) });
    } else {
        $c->request(POST => $uri, @about, body => $body);
    }
    return ($c, $id, sub { $c->response });
}

sub _bytes {
    my ($text) = @_;

    my $end = length $text > 20_000 ? substr $text, -600, 600, '' : substr $text, 0, length $text, '';
    return [ $text =~ /(.{1,4096})/gs, split //, $end ];
}

# One after the other, when nginx has read the one before.
sub _write {
    my ($self, $pieces, $write) = @_;

    my ($worker) = @{ $self->{t}->wait_workers };
    for my $piece (@$pieces) {
        my $turn = turns_of($worker);
        $write->($piece) or last;
        wait_turn($worker, $turn) if @$pieces > 1;
    }
    return;
}

# How often a process has been given a CPU.
sub turns_of {
    my ($pid) = @_;

    open my $file, '<', "/proc/$pid/schedstat" or die "/proc/$pid/schedstat: $!\n";
    return (split ' ', <$file>)[2];
}

# Waits until a process has run since then and sleeps again: nginx has read what was there for it.
sub wait_turn {
    my ($pid, $turn) = @_;

    wait_until("process $pid to read", sub {
        return 0 if turns_of($pid) == $turn;
        open my $file, '<', "/proc/$pid/stat" or die "/proc/$pid/stat: $!\n";
        return <$file> =~ /\) S /;
    });
    return;
}

# What a client that did not ask for usage has to get of a stream in which the gateway did: by its JSON, and not by the
# module's rules about bytes. Each event is one string: its line ends and comments are left out.
sub without_injected {
    my ($stream, %o) = @_;

    my @events;
    for my $event (split /(?:\r\n|\n|\r){2,}/, $stream =~ s/\A\xef\xbb\xbf//r) {
        my @lines  = split /\r\n|\n|\r/, $event;
        my $data   = join "\n", map { /\Adata(?:: ?(.*))?\z/s ? $1 // '' : () } @lines;
        my @others = grep { !/\A(?:data|event)?(?::|\z)/ } @lines;
        my $value  = eval { $json->decode($data) };
        if (ref $value eq 'HASH') {
            my $usage = delete $value->{usage};
            next if !$o{keeps} && ref $usage eq 'HASH' && ref $value->{choices} eq 'ARRAY' && !@{ $value->{choices} };
            $value->{usage} = $usage if $o{keeps} && exists $value->{usage};
            $data = $json->encode($value);
        }
        push @events, join "\n", @others, $data if $data ne '' || @others;
    }
    return \@events;
}

1;
