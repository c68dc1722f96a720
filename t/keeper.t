# Why: the keeper is nginx's own cache manager, so nginx decides when it starts and ends. Where there is a zone there has to be one
# keeper, whatever happens to it; it must not need a directory, and must not be in the way of a real cache.

use strict;
use warnings;

use File::Find qw(find);
use List::Util qw(min);

use LLM::Test;

my $cached = 'location /cached { llm_api_keys off; proxy_buffering on; proxy_cache files; proxy_cache_valid 1h; proxy_pass http://127.0.0.1:%%PORT_1%%; }';
my $keys   = [ { name => 'alice', secret => 'sk-alice' } ];

sub gateway {
    my (%o) = @_;

    my $server = 'location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }' . (delete $o{cache} ? $cached : '');
    my $t = LLM::Test->gateway(keys => $keys, server => $server, %o);
    $t->daemon(1);
    return $t;
}

sub answers {
    my ($t, $name) = @_;

    return is($t->fetch(POST => '/', key => 'sk-alice', body => chat_request())->{status}, 200, $name // 'it serves');
}

sub uid_of {
    my ($pid) = @_;

    open my $status, '<', "/proc/$pid/status" or return -1;
    local $/;
    return <$status> =~ /^Uid:\s+(\d+)\s+\1\s+\1\s+\1$/m ? $1 : -1;
}

sub nice_of {
    my ($pid) = @_;

    return getpriority 0, $pid;
}

# Every file and directory with its owner and mode.
sub tree {
    my ($t) = @_;

    my %seen;
    find({ no_chdir => 1, wanted => sub { my @s = lstat; $seen{$_} = sprintf '%d %o', @s[ 4, 2 ] if !/\.(?:log|pid)\z/ } }, $t->dir);
    return \%seen;
}

case 'one keeper' => sub {
    my $t = gateway(workers => 2);
    my $before = tree($t);
    $t->start;
    my $keeper = $t->wait_keeper;
    is(uid_of($keeper), uid_of($t->worker_pids->{active}[0]), 'it is the user of the workers');
    is(nice_of($keeper), min(19, nice_of($t->worker_pids->{active}[0]) + 5), 'workers go first');
    answers($t);
    my $after = tree($t);
    is_deeply([ grep { ($before->{$_} // '') ne $after->{$_} && !m{/temp/} } sort keys %$after ], [], 'it needs no directory');

    $t->reload;
    my $second = $t->wait_keeper({ $keeper => 1 });
    answers($t, 'after a reload');

    push @{ $t->{alerts} }, qr/cache manager process \d+ exited on signal 9/;
    my %known = ($keeper => 1, $second => 1);
    for (1 .. 5) {
        kill KILL => my $pid = $t->wait_keeper;
        $known{$pid} = 1;
        $t->wait_keeper(\%known);
    }
    answers($t, 'after kills');
    $t->check_and_stop;
    is_deeply([ grep { kill 0 => $_ } keys %known ], [], 'none is left');
};

case 'no zone, no keeper' => sub {
    my $t = LLM::Test->new(conf => "%%HTTP_BEGIN%%\nserver { listen 127.0.0.1:%%PORT_0%%; }\n}\n")->start;
    is_deeply($t->worker_pids->{keeper}, [], 'there is none');
    unlike($t->read_file('error.log'), qr/start cache manager/, 'nor was there');
    $t->check_and_stop;
};

case 'a quick end' => sub {
    my $t = gateway()->start;
    my $keeper = $t->wait_keeper;
    $t->stop('TERM');
    ok(!kill(0 => $keeper), 'the keeper is gone');
    $t->check_and_stop;
};

case 'a cache in the same configuration' => sub {
    my $t = gateway(cache => 1, http => 'proxy_cache_path %%DIR%%/cache keys_zone=files:1m max_size=64k;');
    $t->start;
    $t->wait_keeper;
    my @managers = $t->read_file('error.log') =~ /start cache manager process (\d+)/g;
    is(scalar @managers, 1, 'one process is both');
    for my $n (1 .. 40) {
        my $reply = $t->fetch(GET => "/cached/$n", reply => { body => 'x' x 3000 });
        is($reply->{status}, 200, "file $n") if $reply->{status} != 200;
    }
    # The manager throws away what is too much.
    my $size = sub {
        my $sum = 0;
        find({ no_chdir => 1, wanted => sub { $sum += -s _ if -f } }, $t->dir . '/cache');
        return $sum;
    };
    ok(wait_until('the manager', sub { my $n = $size->(); $n > 0 && $n <= 80 << 10 }), 'the cache is kept small');
    answers($t);
    $t->check_and_stop;
};

case 'without a master' => sub {
    my $t = gateway(workers => 0);
    $t->start;
    answers($t);
    is(nice_of($t->master), nice_of($$), 'the one process keeps its priority');
    $t->check_and_stop;
};

LLM::Test->finish;
