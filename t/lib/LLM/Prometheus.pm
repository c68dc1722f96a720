package LLM::Prometheus;

# A real Prometheus (Debian's package) with a configuration of the test's, and its HTTP API.

use strict;
use warnings;

use JSON::PP;
use POSIX qw(WNOHANG);

use LLM::Client;
use LLM::Wait;

# Starts it on this port of 127.0.0.1, with its data and its log in a directory of its own, and waits until it answers.
sub start {
    my ($class, %o) = @_;

    my ($dir, $port, $config) = @o{qw(dir port config)};
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDERR, '>', "$dir/prometheus.log";
        open STDOUT, '>&', \*STDERR;
        exec 'prometheus', "--config.file=$config", "--storage.tsdb.path=$dir/prometheus", "--web.listen-address=127.0.0.1:$port",
            '--log.level=warn'
            or POSIX::_exit(127);
    }
    my $self = bless { pid => $pid, port => $port, log => "$dir/prometheus.log", parent => $$ }, $class;
    wait_until('Prometheus to be ready', sub {
        die "Prometheus has ended:\n" . $self->log if waitpid($pid, WNOHANG) == $pid;
        (eval { $self->_get('/-/ready') } // { status => 0 })->{status} == 200;
    });
    return $self;
}

# What it has to say: warnings and errors.
sub log {
    my ($self) = @_;

    open my $file, '<', $self->{log} or return '';
    local $/;
    return <$file> // '';
}

sub _get {
    my ($self, $path, %parameters) = @_;

    my $query = join '&', map {
        my $value = $parameters{$_};
        utf8::encode($value);
        "$_=" . $value =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ger;
    } sort keys %parameters;
    my $client = LLM::Client->connect_to($self->{port});
    $client->request(GET => $query eq '' ? $path : "$path?$query");
    my $response = $client->response;
    $client->close;
    return $response;
}

# The `data` of an answer of its API. Dies of what it calls an error: a query that it cannot read, for example.
sub api {
    my ($self, $path, %parameters) = @_;

    my $answer = JSON::PP->new->utf8->decode($self->_get("/api/v1/$path", %parameters)->{body});
    die "Prometheus: $answer->{error}\n" if $answer->{status} ne 'success';
    return $answer->{data};
}

# The samples of an expression, now: [ { labels, value } ], without those that are not numbers.
sub query {
    my ($self, $expression) = @_;

    my $data = $self->api('query', query => $expression);
    my @all  = $data->{resultType} eq 'vector' ? @{ $data->{result} } : { metric => {}, value => $data->{result} };
    return [ map { { labels => $_->{metric}, value => $_->{value}[1] } } grep { $_->{value}[1] !~ /NaN/ } @all ];
}

# The alerts that fire: [ labels ].
sub firing {
    my ($self) = @_;

    return [ map { $_->{labels} } grep { $_->{state} eq 'firing' } @{ $self->api('alerts')->{alerts} } ];
}

sub stop {
    my ($self) = @_;

    return if !$self->{pid} || $self->{parent} != $$;
    local $?;
    kill TERM => $self->{pid};
    my $ended = eval { wait_until('Prometheus to end', sub { waitpid($self->{pid}, WNOHANG) == $self->{pid} }) };
    if (!$ended) {
        kill KILL => $self->{pid};
        waitpid $self->{pid}, 0;
    }
    $self->{pid} = 0;
    return;
}

sub DESTROY { $_[0]->stop; return }

1;
