# Why: over HTTP/3 nginx does not say in the way it does over HTTP/1 and 2 that a client has left. What a client did and what it is
# charged must not depend on how it spoke.
#
# curl plays the client. It leaves when another of its transfers fails, or what it writes to is closed: both are for the test to decide.

use strict;
use warnings;

use LLM::Test;

plan(skip_all => 'nginx was built without HTTP/3') if !nginx_has('http_v3_module');
plan(skip_all => 'curl speaks no HTTP/3')          if `curl --version 2>&1` !~ /\bHTTP3\b/;

my $t = LLM::Test->new(
    status => [ 0, '/status' ],
    files  => { 'keys.json' => key_file([ { name => 'key', secret => 'sk-key' } ]) });
my $dir  = $t->dir;
my $said = `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \\
    -keyout $dir/key.pem -out $dir/cert.pem 2>&1`;
die "openssl made no certificate: $said\n" if $?;

# Port 1: the upstream. Port 2: what tells curl to leave. Port 3: TLS, and QUIC.
$t->write_conf(<<'EOF2');
%%HTTP_BEGIN%%
    llm_zone llm:4m;
    llm_api_keys %%DIR%%/keys.json;
    ssl_certificate %%DIR%%/cert.pem;
    ssl_certificate_key %%DIR%%/key.pem;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_3%% ssl;
        listen 127.0.0.1:%%PORT_3%% quic;
        http2 on;
        location / { llm_usage_inject off; proxy_pass http://127.0.0.1:%%PORT_1%%; }
        location /continuous/ { llm_usage_inject continuous; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
        location /buffered/ { llm_usage_inject off; proxy_buffering on; proxy_pass http://127.0.0.1:%%PORT_1%%/; }
        location /drains/ {
            llm_usage_inject off;
            proxy_ignore_client_abort on;
            proxy_pass http://127.0.0.1:%%PORT_1%%/;
        }
        location /drains-buffered/ {
            llm_usage_inject off;
            proxy_ignore_client_abort on;
            proxy_buffering on;
            proxy_pass http://127.0.0.1:%%PORT_1%%/;
        }
        location = /status { llm_api_keys off; llm_status; }
    }
}
EOF2
my $up      = $t->upstream(1);
my $trigger = $t->upstream(2);
$t->start;

my @protocols = qw(http1.1 http2 http3-only);

# The part of curl's command line that is one transfer.
sub transfer {
    my ($protocol, $uri, %o) = @_;

    my $id = $o{id} = $t->new_id;
    return ($id, "--$protocol", '-s', '-k', '-N', '-H', "Authorization: Bearer sk-key", '-H', 'Content-Type: application/json',
        '-H', "X-Test: $id", '-d', $o{request} // chat_request(stream => \1), '-o', $o{to} // '/dev/null',
        'https://127.0.0.1:' . $t->port(3) . $uri);
}

# Starts curl. Returns { pid, out (what it writes to its stdout) }.
sub curl {
    my (@arguments) = @_;

    pipe my $read, my $write or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        open STDOUT, '>&', $write;
        close $read;
        exec 'curl', @arguments or POSIX::_exit(127);
    }
    close $write;
    $read->blocking(0);
    return { pid => $pid, out => $read, got => '' };
}

# Waits until so many bytes have come to curl's stdout.
sub wait_bytes {
    my ($curl, $length) = @_;

    while (length $curl->{got} < $length) {
        wait_readable($curl->{out}, 'what curl writes');
        sysread $curl->{out}, $curl->{got}, 65_536, length $curl->{got} or last;
    }
    return $curl->{got};
}

sub wait_end {
    my ($curl) = @_;

    close $curl->{out} if $curl->{out};
    local $?;
    waitpid $curl->{pid}, 0;
    return $? >> 8;
}

sub said {
    my ($id) = @_;

    my $log = $t->log_line($id);
    return join ' ', map { $_ eq '' ? '-' : $_ } @$log{qw(outcome prompt_tokens completion_tokens usage_source)};
}

# Calls the code for each protocol; what it returns has to be the same.
sub alike {
    my ($code, $want) = @_;

    my %got;
    for my $protocol (@protocols) {
        $got{$protocol} = $code->($protocol);
        like($got{$protocol}, $want, $protocol);
    }
    is($got{$_}, $got{'http1.1'}, "$_ is like http1.1") for @protocols[ 1 .. $#protocols ];
    $t->wait_idle;
    return;
}

# Two transfers of one curl, of which the other one's failure ends both. The client has the begin of this stream by then, if there is one.
sub leave_by_trigger {
    my ($uri, $protocol, $begin) = @_;

    my ($id, @one) = transfer($protocol, $uri, to => '-');
    my $curl = curl('-Z', '--fail-early', @one, '--next', '-s', '-f', '--http1.1', 'http://127.0.0.1:' . $t->port(2) . '/');
    my $tell = $trigger->take;
    my $u    = $up->take;
    if ($begin) {
        $u->head;
        $u->piece($begin);
        wait_bytes($curl, length(chunk('word')));
    }
    $tell->reply('no', status => 500);
    wait_end($curl);
    $u->wait_close;
    return said($id);
}

case 'a client leaves before the header' => sub {
    alike(sub { leave_by_trigger('/v1/chat/completions', $_[0]) }, qr/\Aclient_abort [1-9]\d* 0 estimated\z/);
};

# The client has got the first events of a stream, and leaves when it gets the next.
sub leave_in_stream {
    my ($uri, $protocol) = @_;

    my ($id, @one) = transfer($protocol, $uri, to => '-');
    my $curl = curl(@one);
    my $u    = $up->take;
    my $head = join '', map { chunk("word $_", usage => usage(9, $_)) } 1 .. 5;
    $u->head;
    $u->piece($head);
    wait_bytes($curl, 20);
    close delete $curl->{out};
    $u->piece(chunk('word 6', usage => usage(9, 6)));
    isnt(wait_end($curl), 0, "$protocol: curl has left");
    $u->wait_close;
    return said($id);
}

case 'a client leaves in a stream' => sub {
    alike(sub { leave_in_stream('/v1/chat/completions', $_[0]) }, qr/\Aclient_abort 9 6 partial\z/);
    alike(sub { leave_in_stream('/continuous/v1/chat/completions', $_[0]) }, qr/\Aclient_abort 9 6 partial\z/);
};

case 'a client leaves a stream that says nothing more' => sub {
    my $begin = chunk('word', usage => usage(9, 3));
    # Of the last, so much that nginx does not keep all of it in its buffers.
    for my $way ([ '', 1 ], [ '/continuous', 1 ], [ '/buffered', 2000 ]) {
        alike(sub { leave_by_trigger("$way->[0]/v1/chat/completions", $_[0], $begin x $way->[1]) },
            qr/\Aclient_abort 9 3 partial\z/);
    }
};

# Two streams of one connection (over HTTP/1 two connections). The client cannot write what comes of the one and gives it up, and goes
# on with the other. Until $seen says that nginx has noticed, more comes of both: nginx notices it when it writes, and curl may tell it
# only with something else that it has to send. $then is called with the upstream of the one that is given up.
sub give_up_one {
    my ($uri, $protocol, $seen, $then) = @_;

    my ($left, @left) = transfer($protocol, $uri, to => '/dev/full');
    my ($kept, @kept) = transfer($protocol, '/v1/chat/completions', to => '-');
    my $curl = curl('-Z', @left, '--next', @kept);
    my %up;
    for (1 .. 2) {
        my $u = $up->take;
        $up{ $u->request->{headers}{'x-test'} } = $u;
    }
    $_->head for values %up;
    # So much that nginx does not keep all of it in its buffers, where it has some. Else little: over HTTP/2 nginx notices nothing while it
    # waits for a client that does not take what there is.
    my $times = $uri =~ /buffered/ ? 100 : 1;
    my $sent  = '';
    wait_until('nginx to notice', sub {
        $up{$left}->piece(chunk('more', usage => usage(9, 3)) x $times);
        $up{$kept}->piece(chunk('one'));
        $sent .= chunk('one');
        wait_bytes($curl, length $sent);
        return $seen->($up{$left});
    });
    $then->($up{$left}) if $then;
    my $said = said($left);
    $up{$kept}->piece(plain_stream(9, 4));
    $up{$kept}->finish;
    $sent .= plain_stream(9, 4);
    is(wait_bytes($curl, length $sent), $sent, "$protocol: the other stream goes on");
    wait_end($curl);
    is(said($kept), 'ok 9 4 upstream', 'to its end');
    return $said;
}

case 'a client gives up one stream of a connection and keeps the other' => sub {
    my $closed = sub { $_[0]->read_some; return $_[0]->eof };
    alike(sub { give_up_one('/v1/chat/completions', $_[0], $closed) }, qr/\Aclient_abort 9 3 partial\z/);
    alike(sub { give_up_one('/continuous/v1/chat/completions', $_[0], $closed) }, qr/\Aclient_abort 9 3 partial\z/);
};

# Lets the upstream end after the client has left.
sub drain {
    my ($uri, $protocol) = @_;

    my $offset = -s $t->dir . '/error.log';
    my $drains = sub { substr($t->read_file('error.log'), $offset) =~ /the upstream is read to its end/ };
    return give_up_one($uri, $protocol, $drains, sub {
        $_[0]->piece(final_usage(9, 70) . done());
        $_[0]->finish;
    });
}

case 'the upstream may end what the client does not wait for' => sub {
    alike(sub { drain('/drains/v1/chat/completions', $_[0]) }, qr/\Aclient_abort 9 70 upstream\z/);
    # Not over HTTP/2, see docs/accounting.md.
    is(drain('/drains-buffered/v1/chat/completions', $_), 'client_abort 9 70 upstream', "buffered, $_") for qw(http1.1 http3-only);
    # nginx ends all that runs on a QUIC connection with it.
    is(leave_in_stream('/drains/v1/chat/completions', 'http3-only'), 'client_abort 9 6 partial', 'but not with the connection');
};

case 'a client that stays' => sub {
    alike(
        sub {
            my ($id, @one) = transfer($_[0], '/v1/chat/completions', to => '-');
            my $curl = curl(@one);
            my $u    = $up->take;
            $u->head;
            $u->piece(plain_stream(9, 4));
            $u->finish;
            wait_bytes($curl, length plain_stream(9, 4));
            is(wait_end($curl), 0, 'curl has all');
            return said($id);
        },
        qr/\Aok 9 4 upstream\z/);
    alike(
        sub {
            my ($id, @one) = transfer($_[0], '/v1/chat/completions');
            my $curl = curl(@one);
            my $u    = $up->take;
            $u->head;
            $u->piece(chunk('word', usage => usage(9, 3)));
            $u->close;
            isnt(wait_end($curl), 0, 'curl sees that something is missing');
            return said($id);
        },
        qr/\Aupstream_error 9 3 partial\z/);
};

$t->finish;
