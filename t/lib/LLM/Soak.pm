package LLM::Soak;

# The load of t/soak/ and what its books are held against, for tests of it: t/soak.t and t/chaos.t. See LLM::Books for the form of the
# books, and t/soak/soak_load.cpp for the program.

use strict;
use warnings;

use File::Basename qw(dirname);
use FindBin;
use JSON::PP;

use LLM::Books;
use LLM::Metrics;
use LLM::Test;

our @scopes = qw(key user model address zone);
# Requests in flight, of each.
our %limit = (key => 6, user => 9, model => 8, address => 8, zone => 16);

# As t/soak/plan.cpp knows them.
sub keys_of_load {
    return (
        (map { { name => "k$_", user => 'u' . int($_ / 2), secret => "sk-k$_" } } 0 .. 5),
        # Those that are always refused, each for another reason.
        { name => 'off',   secret => 'sk-off',   enabled => JSON::PP::false },
        { name => 'old',   secret => 'sk-old',   expires => '2020-01-01T00:00:00Z' },
        { name => 'some',  secret => 'sk-some',  models  => ['another'] },
        { name => 'few',   secret => 'sk-few',   limits  => { requests => '1r/d', burst => 0 } },
        { name => 'spent', secret => 'sk-spent', limits  => { quota  => '1/total' } },
        # Nobody uses it: the models have their series from the beginning.
        { name => 'names', secret => 'sk-names', models => [ map {"m$_"} 0 .. 3 ] },
    );
}

# The locations that it asks, whose upstream "model" is the load on port 1.
sub locations {
    return <<'END';
        location /direct { proxy_pass http://model; }
        location /off { llm_usage_inject off; proxy_pass http://model; }
        location /continuous { llm_usage_inject continuous; proxy_pass http://model; }
        location /small { client_max_body_size 10; proxy_pass http://model; }
        location /rewritten { rewrite ^/rewritten(.*)$ /direct$1 last; }

        # These come to another location with their lease.
        location /accel { proxy_pass http://model; }
        location /inner { internal; proxy_set_header X-Second 1; proxy_set_header Connection ""; proxy_pass http://model; }
        location /instead { proxy_intercept_errors on; error_page 502 503 = /inner; proxy_pass http://model; }
        location /named { proxy_intercept_errors on; error_page 502 503 = @named; proxy_pass http://model; }
        location @named {
            llm_api_keys %%DIR%%/keys.json;
            proxy_set_header X-Second 1;
            proxy_set_header Connection "";
            proxy_pass http://model;
        }
END
}

# An LLM::Test as the load needs it: its locations on port 0, and a server without limits on port 4, whose upstream is on port 3. Options:
# killed => what may be killed by the test, a pattern; zone => of llm_zone, what follows its size; limits => of the first server, begun
# with what is in flight, see %limit; and, where there are some, locations => more of them; top => text before `http`; files => { name => text }.
sub gateway {
    my (%o) = @_;

    return LLM::Test->new(
        workers => 2,
        status  => [ 0, '/status' ],
        # Workers are killed at any instruction, with the zone's lock in hand too.
        alerts => [ qr/$o{killed} process \d+ exited on signal 9/ ],
        files  => { 'keys.json' => key_file([ keys_of_load() ]), %{ $o{files} // {} } },
        conf   => <<"EOF");
@{[ $o{top} // '' ]}
%%HTTP_BEGIN%%
    llm_zone llm:4m $o{zone};
    llm_api_keys %%DIR%%/keys.json;
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Real-IP;
    upstream model { server 127.0.0.1:%%PORT_1%%; keepalive 8; }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        $o{limits}

@{[ locations() ]}
        @{[ $o{locations} // '' ]}
        location = /status { llm_api_keys off; llm_status; }
        location = /metrics { llm_api_keys off; llm_metrics; }
    }
    server { # without these limits
        listen 127.0.0.1:%%PORT_4%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_3%%; }
    }
}
EOF
}

# Options: test => the LLM::Test; limit => { scope => requests in flight }; seed => number.
sub new {
    my ($class, %o) = @_;

    my ($load) = grep { -x } $ENV{LLM_SOAK_LOAD} // (), ($ENV{LLM_MODULE} ? dirname($ENV{LLM_MODULE}) . '/t/soak/soak_load' : ()),
        "$FindBin::Bin/../build/t/soak/soak_load";
    die "no soak_load: build it (cmake -DLLM_DEV=ON), or set LLM_SOAK_LOAD\n" if !$load;
    return bless { %o, load => $load, log_offset => 0, logged => {}, twice => [] }, $class;
}

# Spends what `few` and `spent` have, on another port without limits, whose upstream is a daemon: the one request of theirs that is let
# in.
sub spend {
    my ($self, $port) = @_;

    $self->{test}->fetch(POST => '/', port => $port, key => "sk-$_", body => chat_request(model => 'once'), reply => { body => chat_reply(7, 5) })
        for qw(few spent);
    return;
}

# A run whose ids begin with this letter. Starts the load; calls disturb(n) after each thousand requests. Returns (what the load saw,
# { id => what became of the request } for all of which so much was sent that they may count).
sub run {
    my ($self, $name, $requests, $disturb) = @_;

    my ($t, $limit) = @$self{qw(test limit)};
    my @arguments = ($t->port(0), $t->port(1), $self->{seed} + ord $name, $name, $requests, map { $limit->{$_} } @scopes);
    open my $out, '-|', $self->{load}, @arguments or die "$self->{load}: $!\n";
    my $n = 0;
    while (my $line = <$out>) {
        last if $line ne "tick\n";
        $disturb->(++$n);
    }
    my $seen = <$out>;
    my %ledger = map { ledger_line($_) } <$out>;
    close $out;
    die "the load failed\n" if !$seen;
    return (JSON::PP->new->decode($seen), \%ledger);
}

sub say_what_happened {
    my ($self, $seen, $more) = @_;

    note sprintf '%d requests reached the upstream in %.1f s (%d of its replies: %d cut, %d given up by nginx); %d clients left, '
        . '%d were cut, %d replies came whole; %d more requests were refused%s', $seen->{reached}, $seen->{milliseconds} / 1000,
        @$seen{qw(replies upstream_cut upstream_given_up clients_left broken whole refused)}, $more;
    note 'most at once: ' . join ', ', map { "$_ $seen->{$_}{peak} of $self->{limit}{$_} ($seen->{$_}{times} times)" } @scopes;
    note "the upstream looked twice $seen->{second_looks} times, for at most $seen->{longest_look_ms} ms";
    return;
}

# The access log as it grows: the fields of all lines of this run's requests, by their ids, and those that came twice.
sub read_log {
    my ($self) = @_;

    open my $log, '<:raw', $self->{test}->dir . '/access.log' or die "access.log: $!\n";
    seek $log, $self->{log_offset}, 0;
    while (my $line = <$log>) {
        last if $line !~ /\n\z/;
        $self->{log_offset} += length $line;
        my $fields = log_fields($line);
        # Without an outcome: one whose header did not come whole, and what the test itself asks.
        next if $fields->{outcome} eq '' || $fields->{id} !~ /\A[a-z]\d+\z/ || $fields->{id} =~ /\Ar/;
        push @{ $self->{twice} }, $fields->{id} if $self->{logged}{ $fields->{id} };
        $self->{logged}{ $fields->{id} } = $fields;
    }
    return;
}

sub logged { return $_[0]{logged} }
# For a run that has nothing to do with the one before.
sub forget_log { $_[0]{logged} = {}; return }

sub metrics { my ($self) = @_; return parse_metrics($self->{test}->fetch(GET => '/metrics')->{body}) }

# Status tells the same as metrics, of each key, of each model and of all.
sub status_agrees {
    my ($self, $zone, $book) = @_;

    my (%of_keys, %of_models, %in_book);
    for my $key (@{ $zone->{keys} }) {
        $of_keys{"$key->{name} $_"} = $key->{"${_}_tokens"} for qw(prompt completion cached cache_write reasoning);
    }
    for my $model (@{ $zone->{models} }) {
        $of_models{"$model->{name} $_"} = $model->{requests}{$_}    for keys %{ $model->{requests} };
        $of_models{"$model->{name} $_"} = $model->{"${_}_tokens"} for qw(prompt completion cached cache_write reasoning);
    }
    for my $part (qw(requests tokens)) {
        for my $of (keys %{ $book->{$part} }) {
            my ($key, $model, $what) = split / /, $of;
            $in_book{key}{"$key $what"}     += $book->{$part}{$of} if $part eq 'tokens';
            $in_book{model}{"$model $what"} += $book->{$part}{$of};
        }
    }
    # Those that were refused may be under `other`, see LLM::Books.
    for my $of (\%of_keys, \%of_models, $in_book{model}) {
        delete @$of{ grep { !$of->{$_} || / refused\z/ } keys %$of };
    }
    is_deeply(\%of_keys,   $in_book{key},   'status and metrics have the same tokens of each key');
    is_deeply(\%of_models, $in_book{model}, 'and the same requests and tokens of each model');
    my %totals = %{ $zone->{totals}{requests} };
    delete @totals{ grep { !$totals{$_} } keys %totals };
    my %outcomes;
    $outcomes{ (split / /)[2] } += $book->{requests}{$_} for keys %{ $book->{requests} };
    is_deeply(\%totals, \%outcomes, 'and as many by outcome in all');
    return;
}

# Every request that is in the log is in it once, as its client and the upstream saw it. Returns those of the ledger that are not
# in it.
sub log_agrees {
    my ($self, $ledger) = @_;

    my ($logged, %seen, %unlogged, %dialects) = ($self->{logged});
    my ($wrong, $told, $charged) = (0, 0, 0);
    for my $id (keys %$ledger) {
        my $e    = $ledger->{$id};
        my $line = $logged->{$id};
        if (!$line) {
            $unlogged{$id} = $e;
            next;
        }
        my $why = wrong_in($e, $line);
        if ($why ne '' && $wrong++ < 5) {
            diag("$id (dialect $e->{dialect}, status $e->{status}): $why; logged: " . join ' ', map {"$_=$line->{$_}"}
                    grep { $line->{$_} ne '' } qw(uri status upstreams key model outcome refusal usage_source prompt_tokens completion_tokens));
        }
        my $how = $line->{outcome} . ($line->{usage_source} eq '' ? '' : " ($line->{usage_source})");
        $seen{$how}[0]++;
        next if $line->{usage_source} eq '';
        $dialects{ $e->{dialect} }++ if $line->{outcome} eq 'ok';
        $seen{$how}[1] += ($line->{prompt_tokens} || 0) + ($line->{completion_tokens} || 0);
        $seen{$how}[2] += $e->{tells} ? $e->{prompt} + $e->{completion} : 0;
    }
    note sprintf '%-28s %6d requests, %8s tokens charged, %8s generated', $_, @{ $seen{$_} }[0], map { $_ // '-' } @{ $seen{$_} }[ 1, 2 ]
        for sort keys %seen;
    is($wrong, 0, 'what is logged is what clients and upstream saw: whole replies to the token, others within the estimate');
    is("@{ $self->{twice} }", '', 'nothing is logged twice');
    my @unknown = grep { !$ledger->{$_} } keys %$logged;
    is("@unknown[0 .. ($#unknown < 5 ? $#unknown : 5)]", '', 'and nothing that was not sent');
    is(scalar keys %dialects, 13, 'requests of all APIs ended well');
    return \%unlogged;
}

# The book has what the log has, and besides those that were in a killed worker, of which there were so many; they are not in the log.
sub killed_agree {
    my ($self, $book, $unlogged, $kills) = @_;

    # A worker that is killed takes with it the lines of its requests.
    my @killed = grep { $_->{reached} } values %$unlogged;
    my @lost   = grep { $_->{received} } values %$unlogged;
    note scalar(@killed) . ' requests that reached the upstream are not in the log, of ' . @lost . ' of which the client has the whole reply';
    cmp_ok(scalar @killed, '<=', $self->{limit}{zone} * $kills, 'no more are missing in the log than can have been with killed workers');
    cmp_ok(scalar @lost,   '<=', $kills, 'of those that came whole at most the one that a worker was killed over');
    is(join("\n", _killed_are_counted($book, book_of_log(values %{ $self->{logged} }), values %$unlogged)), '',
        'the book has what the log has, and besides those whose worker was killed, within what they had');
    return;
}

# What of the book is neither in the log nor can be of requests that are not in it.
sub _killed_are_counted {
    my ($book, $of_log, @unlogged) = @_;

    my (%least, %most, @wrong);
    for my $e (@unlogged) {
        # Its key and model are known of what reached the upstream; what did not may not have been read at all.
        for ('requests', map {"tokens $_"} qw(prompt completion)) {
            $most{"$e->{key} $_"} += /prompt/ ? $e->{part_p_high} : /completion/ ? $e->{part_c_high} : 1;
            next if !$e->{reached};
            my $low = /prompt/ ? $e->{part_p_low} : /completion/ ? $e->{part_c_low} : 1;
            $least{"$e->{key} $_"} += /tokens/ && $e->{may_be_lost} ? 0 : $low;
        }
    }
    my $more = book_less($book, $of_log);
    my %more;
    for my $of (keys %{ $more->{requests} }) {
        my ($key) = split / /, $of;
        $more{"$key requests"} += $more->{requests}{$of};
        push @wrong, "$of: $more->{requests}{$of}" if $more->{requests}{$of} < 0;
    }
    for my $of (keys %{ $more->{tokens} }) {
        my ($key, $model, $type) = split / /, $of;
        $more{"$key tokens $type"} += $more->{tokens}{$of} if $type eq 'prompt' || $type eq 'completion';
        push @wrong, "$of: $more->{tokens}{$of}" if $more->{tokens}{$of} < 0;
    }
    my %names = (%more, %least);
    for my $name (sort keys %names) {
        my ($got, $low, $high) = map { $_->{$name} // 0 } \%more, \%least, \%most;
        push @wrong, "$name: $got more, not $low to $high" if $got < $low || $got > $high;
    }
    return @wrong;
}

1;
