package LLM::Crowd;

# Many requests at once. Those that nginx lets in are held by the test's own upstream until it replies; the others are answered.
# open() returns when each request is one or the other, so that what was let in is an exact number.

use strict;
use warnings;

use IO::Select;

use LLM::Wait;
use LLM::Wire;

# Options: count; request => code that says for the n-th what Client::request takes: { method (POST), uri, headers, body };
# port (nginx's, by its number); at_once => true if the workers are to stand still until all is sent, and then begin together.
sub open {
    my ($class, $t, $upstream, %o) = @_;

    my $workers = $o{at_once} ? $t->wait_workers : [];
    my $self    = bless { t => $t, upstream => $upstream, all => [] }, $class;
    kill STOP => @$workers;
    my $sent  = eval { $self->_send($_, %o) for 0 .. $o{count} - 1; 1 };
    my $error = $@;
    kill CONT => @$workers;
    die $error if !$sent;
    $self->_sort_out;
    return $self;
}

sub _send {
    my ($self, $n, %o) = @_;

    my $request = $o{request}->($n);
    my $one     = { n => $n, id => $self->{t}->new_id, client => $self->{t}->client($o{port}) };
    push @{ $self->{all} }, $one;
    $one->{client}->request($request->{method} // 'POST', $request->{uri}, %$request, id => $one->{id});
    return;
}

sub _sort_out {
    my ($self) = @_;

    my $listener = $self->{upstream}{listener};
    my %by_id     = map { $_->{id}             => $_ } @{ $self->{all} };
    my %by_socket = map { $_->{client}->socket => $_ } @{ $self->{all} };
    my $select    = IO::Select->new($listener, map { $_->{client}->socket } @{ $self->{all} });
    my $left      = @{ $self->{all} };
    while ($left) {
        my @ready = $select->can_read(time_limit());
        die "timed out waiting for $left requests to be let in or answered\n" if !@ready;
        for my $socket (@ready) {
            my $one = $by_socket{$socket};
            if ($socket == $listener) {
                my $u = $self->{upstream}->take;
                $one = $by_id{ $u->request->{headers}{'x-test'} } or die "a request that is not of this crowd\n";
                $one->{upstream} = $u;
            } else {
                $one->{response} = $one->{client}->pump;
                next if !$one->{response}{complete} && !$one->{client}->eof;
            }
            next if $one->{sorted}++;
            $select->remove($one->{client}->socket);
            $left--;
        }
    }
    $_->{client}->close for $self->refused;
    return;
}

sub let_in  { return grep { $_->{upstream} } @{ $_[0]{all} } }
sub refused { return grep { !$_->{upstream} } @{ $_[0]{all} } }

# Answers all that were let in with this usage; returns how many replies were not received whole.
sub reply {
    my ($self, $prompt, $completion) = @_;

    $_->{upstream}->reply(chat_reply($prompt, $completion)) for $self->let_in;
    my $broken = 0;
    for my $one ($self->let_in) {
        $one->{response} = $one->{client}->response;
        $broken++ if !$one->{response}{complete} || $one->{response}{status} != 200;
        $one->{client}->close;
    }
    return $broken;
}

1;
