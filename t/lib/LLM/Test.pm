package LLM::Test;

# Starts the real nginx with the module and one configuration in a directory of its own, and checks at the end that nothing
# is left over: no alerts, no sanitizer reports, no leases.
#
#   LLM_MODULE   the module (default: build/ngx_http_llm_module.so of this tree)
#   LLM_NGINX    the nginx binary (default: /usr/sbin/nginx)
#   LLM_PRELOAD  a sanitizer's runtime to preload into nginx
#   LLM_TIMEOUT  seconds that anything may take (default 30)
#   LLM_KEEP     keep the directory

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter 'import';
use Fcntl qw(:flock);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP;
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(time);

use LLM::Client;
use LLM::ClientH2;
use LLM::Daemon;
use LLM::Upstream;
use LLM::Wait;
use LLM::Wire;

our @EXPORT = (@Test::More::EXPORT, @LLM::Wait::EXPORT, @LLM::Wire::EXPORT, qw(case nginx_has));

my $root   = abs_path(dirname(__FILE__) . '/../../..');
my $module = $ENV{LLM_MODULE} || "$root/build/ngx_http_llm_module.so";
my $nginx  = $ENV{LLM_NGINX}  || '/usr/sbin/nginx';
my $json   = JSON::PP->new;

my @instances;
my @claimed_ports;
my $main_process = $$;
my $next_id      = 1;

$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = $SIG{INT} = sub { exit 1 };

# Nothing may hang for ever, whatever else goes wrong.
$SIG{ALRM} = sub { die "the test file took too long\n" };
alarm 30 * time_limit();

# A subtest in which a timeout or any other exception is one failure and does not end the file.
sub case {
    my ($name, $code) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return subtest $name => sub {
        my $lived = eval { $code->(); 1 };
        fail("$name: " . ($@ || 'died')) if !$lived;
        done_testing();
    };
}

# Whether the nginx of the tests was configured with this, such as http_v3_module.
sub nginx_has {
    my ($part) = @_;

    return scalar `$nginx -V 2>&1` =~ /--with-\Q$part\E\b/;
}

# Options: conf => text of nginx.conf with %%HTTP_BEGIN%% (all up to the inside of http, which the test closes),
# %%DIR%%, %%PORT_0%%...; files => { name => text };
# workers => number; status => [ports's number, uri] of an llm_status location; alerts => patterns of alerts that may occur;
# keys_in_query => 1 where the test puts keys in queries, which logs show;
# uid => the user who starts it, if not the one of the test; module => 0 for a run without the module; adopted => 1 for one whose parent is gone, as a daemon's is: nginx changes its binary only
# then (it is this process's child all the same).
sub new {
    my ($class, %o) = @_;

    my $dir = tempdir('llm-test-XXXXXXXX', TMPDIR => 1);
    chmod 0755, $dir;
    mkdir "$dir/$_" for qw(html san temp);
    chmod 0777, "$dir/san";
    my $self = bless {
        dir     => $dir,
        ports   => [],
        workers => 1,
        module  => 1,
        status  => undef,
        alerts  => [],
        %o,
    }, $class;
    push @instances, $self;
    $self->write_file($_, $o{files}{$_}) for keys %{ $o{files} // {} };
    $self->write_conf($o{conf}) if defined $o{conf};
    return $self;
}

# A gateway as most test files want it: keys, a zone, and a server on the first port that also has an llm_status location.
# Options, besides those of new(): keys => those of keys.json; server => text within that server; listen => what else its
# `listen` says; http => text before it; more => text behind it; zone => name:size.
sub gateway {
    my ($class, %o) = @_;

    my ($keys, $server, $listen, $http, $more, $zone) = delete @o{qw(keys server listen http more zone)};
    return $class->new(
        status => [ 0, '/status' ],
        %o,
        files => { 'keys.json' => key_file($keys), %{ $o{files} // {} } },
        conf  => join "\n", '%%HTTP_BEGIN%%', 'llm_zone ' . ($zone // 'llm:4m') . ';', 'llm_api_keys %%DIR%%/keys.json;', $http // '',
            'server {', 'listen 127.0.0.1:%%PORT_0%% ' . ($listen // '') . ';', 'location = /status { llm_api_keys off; llm_status; }',
            $server, '}', $more // '', "}\n",
    );
}

sub dir { return $_[0]{dir} }

# The number of a free port, below the range that outgoing connections use. It stays reserved among test files that
# run at the same time for as long as this one runs.
sub port {
    my ($self, $n) = @_;

    return $self->{ports}[$n] //= _claim_port();
}

sub _claim_port {
    my $locks = '/tmp/llm-test-ports';
    mkdir $locks;
    chmod 01777, $locks;
    for (1 .. 2000) {
        my $port = 12_000 + int rand 19_000;
        open my $lock, '>>', "$locks/$port" or next;
        flock $lock, LOCK_EX | LOCK_NB or next;
        IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1, ReuseAddr => 1) or next;
        push @claimed_ports, $lock;
        return $port;
    }
    die "no free port\n";
}

sub write_file {
    my ($self, $name, $text) = @_;

    # Renamed into place, as an operator's tools do: nobody reads half a file.
    my $path = "$self->{dir}/$name";
    open my $file, '>:raw', "$path.new" or die "$path: $!\n";
    print $file $text;
    close $file or die "$path: $!\n";
    chmod 0644, "$path.new";
    rename "$path.new", $path or die "$path: $!\n";
    return $path;
}

sub read_file {
    my ($self, $name) = @_;

    open my $file, '<:raw', "$self->{dir}/$name" or return '';
    local $/;
    return <$file> // '';
}

sub write_conf {
    my ($self, $conf) = @_;

    return $self->write_file('nginx.conf', $self->expand($conf));
}

sub expand {
    my ($self, $text) = @_;

    my $dir = $self->{dir};
    my $log = join ',', map { "\"$_->[0]\":\"\$$_->[1]\"" } (
        [ id        => 'http_x_test' ],
        [ status    => 'status' ],
        [ uri       => 'request_uri' ],
        [ upstreams => 'upstream_status' ],
        $self->{module} ? (map { [ $_ => "llm_$_" ] } qw(key user model stream prompt_tokens completion_tokens total_tokens
            cached_tokens cache_write_tokens reasoning_tokens cost usage_source outcome refusal time_to_first_token
            tokens_per_second upstream_model upstream)) : (),
    );
    my $load = $self->{module} ? "load_module $module;" : '';
    # Only root may say as whom workers run.
    my $user = $> == 0 ? 'user nobody nogroup;' : '';
    my $master = ($self->{workers} // 1) == 0 ? 'master_process off;' : '';
    my $begin  = <<"END";
$load
$user
daemon off;
$master
worker_processes @{[ $self->{workers} || 1 ]};
worker_rlimit_core 0;
pid $dir/nginx.pid;
error_log $dir/error.log info;
events { worker_connections 1000; }
http {
log_format llm escape=json '{$log}';
access_log $dir/access.log llm;
client_body_temp_path $dir/temp/body;
proxy_temp_path $dir/temp/proxy;
fastcgi_temp_path $dir/temp/fastcgi;
uwsgi_temp_path $dir/temp/uwsgi;
scgi_temp_path $dir/temp/scgi;
client_max_body_size 64m;
root $dir/html;
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_buffering off;
proxy_buffer_size 16k;
proxy_buffers 4 16k;
END
    $text =~ s{%%HTTP_BEGIN%%}{$begin};
    $text =~ s/%%DIR%%/$dir/g;
    $text =~ s/%%PORT_(\d+)%%/$self->port($1)/ge;
    return $text;
}

# --- the process

sub _environment {
    my ($self) = @_;

    my %env = %ENV;
    if (my $preload = $env{LLM_PRELOAD}) {
        $env{LD_PRELOAD}    = $preload;
        $env{ASAN_OPTIONS}  = "detect_leaks=0:log_path=$self->{dir}/san/asan";
        $env{UBSAN_OPTIONS} = "print_stacktrace=1:log_path=$self->{dir}/san/ubsan";
    }
    return %env;
}

sub start {
    my ($self) = @_;

    # Written by nginx at each start; the one of an earlier start would be taken for a sign of life.
    unlink "$self->{dir}/nginx.pid";
    $self->{pid} = $self->{adopted} ? $self->_adopt : $self->_run;
    wait_until('nginx to start', sub { -s "$self->{dir}/nginx.pid" || $self->_gone });
    die "nginx did not start:\n" . $self->read_file('stderr.log') . $self->read_file('error.log') if !$self->{pid};
    $self->wait_workers;
    return $self;
}

sub _run {
    my ($self) = @_;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    open STDERR, '>>', "$self->{dir}/stderr.log";
    open STDOUT, '>&', \*STDERR;
    %ENV = $self->_environment;
    if (my $uid = $self->{uid}) {
        ($(, $)) = ($uid, "$uid $uid");
        ($<, $>) = ($uid, $uid);
    }
    exec $nginx, '-p', "$self->{dir}/", '-c', "$self->{dir}/nginx.conf", '-e', "$self->{dir}/error.log"
        or POSIX::_exit(127);
}

# Its parent lives until it has started.
sub _adopt {
    my ($self) = @_;

    # PR_SET_CHILD_SUBREAPER
    syscall 157, 36, 1, 0, 0, 0;
    pipe my $in, my $out or die "pipe: $!\n";
    my $parent = fork // die "fork: $!\n";
    if (!$parent) {
        my $pid = $self->_run;
        syswrite $out, "$pid\n";
        wait_until('nginx to start', sub { -s "$self->{dir}/nginx.pid" || waitpid($pid, WNOHANG) == $pid });
        POSIX::_exit(0);
    }
    my $pid = <$in>;
    chomp $pid;
    waitpid $parent, 0;
    return $pid;
}

# True, once, when the master has ended; its status is then in {exit}.
sub _gone {
    my ($self) = @_;

    return 1 if !$self->{pid};
    local $?;
    return 0 if waitpid($self->{pid}, WNOHANG) != $self->{pid};
    $self->{exit} = $?;
    $self->{pid}  = 0;
    return 1;
}

sub master { return $_[0]{pid} }

# Runs nginx -t on a configuration (default: the one in place). Returns (whether it is good, what nginx said).
sub check_conf {
    my ($self, $conf) = @_;

    my $path = "$self->{dir}/nginx.conf";
    $path = $self->write_file('check.conf', $self->expand($conf)) if defined $conf;
    my %env = $self->_environment;
    local @ENV{ keys %env } = values %env;
    my $out = `$nginx -t -p $self->{dir}/ -c $path -e $self->{dir}/check.log 2>&1`;
    return ($? == 0, $out);
}

# The workers and the keeper as /proc shows them: { active => [pids], exiting => [pids], keeper => [pids] }.
sub worker_pids {
    my ($self) = @_;

    my %found = (active => [], exiting => [], keeper => []);
    opendir my $proc, '/proc' or die "/proc: $!\n";
    for my $pid (grep { /\A\d+\z/ } readdir $proc) {
        open my $stat, '<', "/proc/$pid/stat" or next;
        my $line = <$stat> // next;
        my ($state, $parent) = $line =~ /\) (\S) (\d+)/ or next;
        next if $parent != $self->{pid} || $state eq 'Z';
        open my $cmdline, '<', "/proc/$pid/cmdline" or next;
        my $title = <$cmdline> // next;
        push @{ $found{active} },  $pid if $title =~ /worker process(?! is)/;
        push @{ $found{exiting} }, $pid if $title =~ /worker process is shutting down/;
        push @{ $found{keeper} },  $pid if $title =~ /llm keeper/;
    }
    return \%found;
}

sub wait_workers {
    my ($self) = @_;

    return wait_until('all workers', sub {
        my $pids = $self->worker_pids->{active};
        @$pids == $self->{workers} ? $pids : undef;
    });
}

# The pid of the one keeper, which is not one of those in %$old.
sub wait_keeper {
    my ($self, $old) = @_;

    return wait_until('the keeper', sub {
        my $pids = $self->worker_pids->{keeper};
        @$pids == 1 && !$old->{ $pids->[0] } ? $pids->[0] : undef;
    });
}

# Reloads and waits until only new workers accept connections.
sub reload {
    my ($self) = @_;

    my %old = map { $_ => 1 } @{ $self->worker_pids->{active} };
    kill HUP => $self->{pid};
    wait_until('new workers', sub {
        my $active = $self->worker_pids->{active};
        @$active == $self->{workers} && !grep { $old{$_} } @$active;
    });
    return;
}

# Reloads and waits for the line that says why it failed.
sub reload_fails {
    my ($self, $pattern) = @_;

    my $before = $self->worker_pids->{active};
    my $offset = -s "$self->{dir}/error.log";
    kill HUP => $self->{pid};
    my $line = $self->wait_error_log($pattern, $offset);
    is_deeply([ sort @{ $self->worker_pids->{active} } ], [ sort @$before ], 'the old workers go on');
    return $line;
}

# --- logs

sub wait_error_log {
    my ($self, $pattern, $offset) = @_;

    return wait_until("$pattern in error.log", sub {
        my $text = substr $self->read_file('error.log'), $offset // 0;
        $text =~ /^(.*$pattern.*)$/m ? $1 : undef;
    });
}

sub new_id { return 'r' . $next_id++ }

# The access log's line of the request with this X-Test, decoded.
sub log_line {
    my ($self, $id) = @_;

    my $line = wait_until("the log line of $id", sub { $self->_read_access_log; $self->{logged}{$id} });
    return $json->decode($line);
}

sub _read_access_log {
    my ($self) = @_;

    open my $log, '<:raw', "$self->{dir}/access.log" or return;
    seek $log, $self->{log_offset} //= 0, 0;
    while (my $line = <$log>) {
        last if $line !~ /\n\z/;
        $self->{log_offset} += length $line;
        $self->{logged}{$1} = $line if $line =~ /\A\{"id":"([^"]+)"/;
    }
    return;
}

# --- requests

sub client {
    my ($self, $n) = @_;

    return LLM::Client->connect_to($self->port($n // 0));
}

sub client_h2 {
    my ($self, $n) = @_;

    return LLM::ClientH2->connect_to($self->port($n // 0));
}

sub bearer { my ($self, $key) = @_; return (Authorization => "Bearer $key") }

# One request on its own connection; returns the whole response and the {id} for log_line(). Options: key, headers, body,
# port (its number).
sub fetch {
    my ($self, $method, $uri, %o) = @_;

    my $id      = $self->new_id;
    my @headers = @{ $o{headers} // [] };
    push @headers, $self->bearer($o{key})             if defined $o{key};
    push @headers, 'Content-Type', 'application/json' if defined $o{body};
    push @headers, 'X-Reply', json($o{reply})         if $o{reply};
    my $client = $self->client($o{port});
    $client->request($method, $uri, headers => \@headers, body => $o{body}, id => $id);
    my $response = $client->response;
    $client->close;
    return { %$response, id => $id };
}

sub upstream {
    my ($self, $n) = @_;

    return $self->{upstreams}[$n] //= LLM::Upstream->new($self->port($n));
}

sub daemon {
    my ($self, $n) = @_;

    return $self->{daemons}[$n] //= LLM::Daemon->start($self->port($n), "$self->{dir}/daemon_$n.log");
}

# --- live state

# The state as llm_status shows it.
sub status {
    my ($self) = @_;

    my ($n, $uri) = @{ $self->{status} };
    my $client = $self->client($n);
    $client->request(GET => $uri);
    my $response = $client->response;
    $client->close;
    die "llm_status: status $response->{status}\n" if ($response->{status} // 0) != 200;
    return JSON::PP->new->utf8->decode($response->{body});
}

sub zone {
    my ($self, $name) = @_;

    my ($zone) = grep { !defined $name || $_->{name} eq $name } @{ $self->status->{zones} };
    return $zone;
}

# Totals of a key (or user) by its name; zeros if it was not used yet.
sub totals {
    my ($self, $name, $kind) = @_;

    my ($found) = grep { $_->{name} eq $name } @{ $self->zone->{ $kind // 'keys' } };
    return $found // { map { $_ => 0 } qw(in_flight requests prompt_tokens cached_tokens cache_write_tokens completion_tokens
            reasoning_tokens total_tokens) };
}

# Waits until nothing runs, and returns the zone as it is then.
sub wait_idle {
    my ($self) = @_;

    my $zone;
    wait_until('all leases to be settled', sub {
        $zone = $self->zone;
        !_busy($zone);
    });
    return $zone;
}

# Waits for this many leases to run: a reply is whole to its client a moment before its lease is given back. Returns the zone
# as it is then, or when the time is up.
sub wait_running {
    my ($self, $n) = @_;

    my $zone;
    eval { wait_until("$n leases", sub { ($zone = $self->zone)->{leases}{running} == $n }) };
    return $zone;
}

sub _busy {
    my ($zone) = @_;

    return "$zone->{leases}{running} leases run" if $zone->{leases}{running};
    for (@{ $zone->{keys} }, @{ $zone->{users} }) {
        return "$_->{name} has $_->{in_flight} in flight" if $_->{in_flight};
    }
    return '';
}

# --- the end

sub _end {
    my ($self, $signal) = @_;

    return 1 if !$self->{pid};
    kill $signal => $self->{pid};
    return eval { wait_until("nginx to end on $signal", sub { $self->_gone }) };
}

# Stops nginx; by default gracefully, which a request that is never finished would prevent.
sub stop {
    my ($self, $signal) = @_;

    my $ended = $self->_end($signal // 'QUIT');
    ok($ended && $self->{exit} == 0, 'nginx ends in good order')
        or diag(defined $self->{exit} ? "status $self->{exit}" : 'it had to be killed');
    $self->_kill;
    return;
}

sub _kill {
    my ($self) = @_;

    return if !$self->{pid};
    # A master that runs would start new workers meanwhile, which nobody would end.
    kill STOP => $self->{pid};
    my @workers = map { @$_ } values %{ $self->worker_pids };
    kill KILL => $self->{pid}, @workers;
    waitpid $self->{pid}, 0;
    $self->{pid} = 0;
    return;
}

# Keys that stand in what nginx wrote: logs, and the state. Short ones stand in anything.
sub secrets_told {
    my ($self) = @_;

    return if $self->{keys_in_query};
    my @told;
    for my $file (grep { !m{/daemon_[^/]*\z} } map { glob "$self->{dir}/$_" } '*.log', '*/*.log', '*.db*', '*/*.db*') {
        my $text = $self->read_file($file =~ s{\A\Q$self->{dir}\E/}{}r);
        my %seen;
        while ($text =~ m/(sk-[\w.~+\/=-]{5,})/g) {
            push @told, "$file has $1" if $LLM::Wire::secrets{$1} && !$seen{$1}++;
        }
    }
    return @told;
}

sub problems {
    my ($self) = @_;

    my @sanitizer = glob "$self->{dir}/san/*";
    my @lines;
    for my $name ('error.log', 'stderr.log', map { s{.*/}{san/}r } @sanitizer) {
        push @lines, grep { m/\[alert\]|\[emerg\]|Sanitizer|runtime error:/ } split /\n/, $self->read_file($name);
    }
    # Who is killed may have had a zone's lock: that is no alert of its own.
    my %killed = map { /process (\d+) exited on signal 9/ ? ($1 => 1) : () } @lines;
    @lines = grep { !(/shared memory zone "[^"]+" was locked by (\d+)/ && $killed{$1}) } @lines;
    return grep { my $line = $_; !grep { $line =~ $_ } @{ $self->{alerts} } } @lines;
}

# Checks that nothing is left over and stops nginx.
sub check_and_stop {
    my ($self) = @_;

    if ($self->{status} && $self->{pid}) {
        my $zone = eval { $self->wait_idle };
        ok($zone, 'no lease is left over') or diag($@ . ($self->{pid} ? _busy($self->zone) : ''));
    }
    $self->stop if $self->{pid};
    $_->stop for grep { $_ } @{ $self->{daemons} // [] };
    is(join("\n", $self->secrets_told), '', 'no key in what it wrote');
    is(join("\n", $self->problems), '', 'no alerts and no sanitizer reports');
    $self->{checked} = 1;
    return;
}

# To be called at the end of each test file.
sub finish {
    for my $self (@instances) {
        $self->check_and_stop if !$self->{checked};
    }
    done_testing();
    return;
}

END {
    if ($$ == $main_process) {
        local $?;
        for my $self (@instances) {
            fail('every instance of nginx was checked') if !$self->{checked};
            $self->_kill;
            if ($ENV{LLM_KEEP}) {
                diag("kept: $self->{dir}");
            } else {
                remove_tree($self->{dir});
            }
        }
    }
}

1;
