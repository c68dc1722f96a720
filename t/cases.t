# Why: model servers, clients and other proxies do what no specification says. Each file in t/cases is one such exchange, made from a public
# report, with what is right of it; here all are played, with replies that come whole, and byte by byte.
#
#   LLM_CASES     only these, by their names, with commas between
#   LLM_SPLIT     only with replies that come so many bytes at a time (0: whole)
#   LLM_BUFFERED  with proxy_buffering on, and without the cases whose clients leave: nginx then reads on ahead of them

use strict;
use warnings;

use FindBin;

use LLM::Case;
use LLM::Exchanges;
use LLM::Test;

my %wanted = map { $_ => 1 } split /,/, $ENV{LLM_CASES} // '';
my @cases = map { LLM::Case->load($_) } sort glob "$FindBin::Bin/cases/*.json";
@cases = grep { delete $wanted{ $_->name } } @cases if %wanted;
@cases = grep { !defined $_->{request}{leave_after} } @cases if $ENV{LLM_BUFFERED};
die 'no such case: ' . join(', ', sort keys %wanted) . "\n" if %wanted;

# --- the configuration

# The settings that conf-examples recommend, without those that a case makes itself.
sub settings {
    my ($own) = @_;

    my %own = map { $_ => 1 } grep { !/\A(?:proxy_set_header|add_header|if)\z/ } $own =~ /(?:\A|;)\s*(\w+)/g;
    open my $file, '<', "$FindBin::Bin/../conf-examples/llm_proxy.conf" or die "llm_proxy.conf: $!\n";
    my $text = join '', grep { !/\A(\w+)/ || !$own{$1} } <$file>;
    $text =~ s/^proxy_buffering off;/proxy_buffering on;/m if $ENV{LLM_BUFFERED};
    return $text;
}

# One server for each of the cases' settings. Returns nginx.conf and the port's number for each case's name.
sub configuration {
    my (%server, %port, @servers);
    for my $case (@cases) {
        my $conf = $case->conf;
        my ($inject, $proxy, $server, $limit) = ($conf->{inject} // 'final', map { $conf->{$_} // '' } qw(proxy server limit));
        my $http2 = $conf->{http2} ? ' http2' : '';
        my $n = $port{ $case->name } = $server{"$inject\n$proxy\n$server\n$limit\n$http2"} //= 2 + keys %server;
        next if $servers[$n];
        $servers[$n] = <<"END";
    server {
        listen 127.0.0.1:%%PORT_$n%%$http2;
        $limit
        $server
        error_page 403 404 405 413 494 500 502 503 504 \@llm_error;
        error_page 400 414 /llm_error;
        location = /llm_error { internal; llm_error; }
        location \@llm_error { llm_error; }
        location / {
            llm_usage_inject $inject;
            @{[ settings($proxy) ]}
            $proxy
            proxy_pass http://up;
        }
    }
END
    }
    my $all = join '', map { $_ // () } @servers;
    return (<<"END", \%port);
%%HTTP_BEGIN%%
    llm_zone llm:8m;
    llm_api_keys %%DIR%%/keys.json;
    upstream up { server 127.0.0.1:%%PORT_1%%; }
    server { listen 127.0.0.1:%%PORT_0%%; access_log off; location = /status { llm_api_keys off; llm_status; } }
$all
}
END
}

# --- the game

# The lines of the access log by their id. One that is no UTF-8 counts as none.
sub lines_by_id {
    my ($t) = @_;

    my %lines;
    for (split /\n/, $t->read_file('access.log')) {
        my $line = eval { JSON::PP->new->utf8->decode($_) } or next;
        push @{ $lines{ $line->{id} } }, $line;
    }
    return \%lines;
}

sub play {
    my ($split) = @_;

    my ($conf, $port) = configuration();
    my $t = LLM::Test->new(
        status => [ 0, '/status' ],
        files  => { 'keys.json' => key_file([ map { $_->all_keys } @cases ]) },
        conf   => $conf,
    );
    my $upstream = $t->upstream(1);
    $t->start;
    my $exchanges = LLM::Exchanges->new(upstream => $upstream, worker => $t->wait_workers->[0], split => $split);
    my %job = map {
        my $n = $t->port($port->{ $_->name });
        ($_->name => $exchanges->add($n, $_->exchanges($n)))
    } @cases;
    $exchanges->play;

    my $zone = $t->wait_idle;
    my $count = 0;
    $count += $_->all_lines for @cases;
    eval { wait_until('all lines of the log', sub { ($t->read_file('access.log') =~ tr/\n//) >= $count }) };
    my $lines = lines_by_id($t);
    my $how = $split ? "$split of a reply at a time" : 'whole';
    case $how => sub {
        for my $case (@cases) {
            my ($name, $job) = ($case->name, $job{ $case->name });
            my %is_its = map { $_ => 1 } $case->key_names;
            my %totals = (requests => 0, prompt => 0, completion => 0, in_flight => 0);
            for my $key (grep { $is_its{ $_->{name} } } @{ $zone->{keys} }) {
                $totals{$_} += $key->{$_} for qw(requests in_flight);
                $totals{$_} += $key->{"${_}_tokens"} for qw(prompt completion);
            }
            my @bad = $case->problems(
                response => $job->{response} // {}, lines => $lines->{$name} // [], taught => $lines->{"$name-teach"} // [],
                seen => $job->{seen}, totals => \%totals,
            );
            push @bad, 'it does not end' if $job->{late};
            case "$name: " . $case->why => sub {
                local our $TODO = 'a matter of opinion' if @bad && $case->unsure;
                is(join("\n", @bad), '', 'as it should be');
            };
        }
    };
    $t->check_and_stop;
    return;
}

play($_) for defined $ENV{LLM_SPLIT} ? $ENV{LLM_SPLIT} : (0, 1);

LLM::Test->finish;
