package LLM::Streams;

# Many streams at once between the test's own clients and the test's own upstream, moved in step: after send() every client has
# received what was sent, so that the module has seen it too.

use strict;
use warnings;

use LLM::Wait;
use LLM::Wire;

# Options: count, key_of => code that gives the secret of the n-th, uri, port (nginx's, by its number).
sub open {
    my ($class, $t, $upstream, %o) = @_;

    my %by_id;
    my @streams;
    for my $n (0 .. $o{count} - 1) {
        my $id     = $t->new_id;
        my $key    = $o{key_of}->($n);
        my $client = $t->client($o{port});
        $client->request(
            POST => $o{uri} // '/v1/chat/completions',
            headers => [ $t->bearer($key), 'Content-Type' => 'application/json' ],
            body    => chat_request(stream => \1),
            id      => $id,
        );
        push @streams, $by_id{$id} = { n => $n, id => $id, key => $key, client => $client, text => '', usage => [ 0, 0 ] };
    }
    # They come in any order.
    for (1 .. $o{count}) {
        my $u = $upstream->take;
        $by_id{ $u->{request}{headers}{'x-test'} }{upstream} = $u;
    }
    return bless { streams => \@streams }, $class;
}

sub all { return @{ $_[0]{streams} } }

sub start_replies {
    my ($self) = @_;

    $_->{upstream}->head for $self->all;
    return;
}

# Sends to each stream what the code makes of it; returns when all clients have it.
sub send {
    my ($self, $text_of) = @_;

    for my $s ($self->all) {
        my $text = $text_of->($s);
        $s->{text} .= $text;
        $s->{upstream}->piece($text);
    }
    return scalar grep { $_->{client}->wait_body(length $_->{text}) ne $_->{text} } $self->all;
}

# A chunk with text and the usage so far.
sub progress {
    my ($self, $completion_of) = @_;

    return $self->send(sub {
        my ($s) = @_;
        $s->{usage} = [ 7, $completion_of->($s) ];
        return chunk('x', usage => usage(@{ $s->{usage} }));
    });
}

# Ends all streams with their final usage; returns how many were not received whole.
sub finish {
    my ($self, $completion_of) = @_;

    for my $s ($self->all) {
        $s->{usage} = [ 7, $completion_of->($s) ];
        my $text = final_usage(@{ $s->{usage} }) . done();
        $s->{text} .= $text;
        $s->{upstream}->piece($text);
        $s->{upstream}->finish;
    }
    my $broken = 0;
    for my $s ($self->all) {
        my $r = $s->{client}->response;
        $broken++ if !$r->{complete} || $r->{body} ne $s->{text};
        $s->{client}->close;
    }
    return $broken;
}

# Takes out the streams whose connections nginx has closed, and returns them.
sub take_dead {
    my ($self) = @_;

    my (@dead, @alive);
    for my $s ($self->all) {
        $s->{client}->pump;
        push @{ $s->{client}->eof ? \@dead : \@alive }, $s;
    }
    $self->{streams} = \@alive;
    for (@dead) {
        $_->{client}->close;
        $_->{upstream}->close;
    }
    return @dead;
}

1;
