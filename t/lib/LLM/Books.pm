package LLM::Books;

# The books that are kept of requests: the access log, llm_metrics, llm_status, and what a load program says that its clients and its
# upstream have seen. All in one form: { requests => { "KEY MODEL OUTCOME" => n }, tokens => { "KEY MODEL TYPE" => n }, cost =>
# { "KEY MODEL" => n }, sources => { SOURCE => n }, refusals => { "KEY REASON" => n } }, without zeros.

use strict;
use warnings;

use Exporter 'import';

use LLM::Metrics;

our @EXPORT = qw(book_of_log book_of_metrics book_less ledger_line log_fields wrong_in);

my @types = qw(prompt completion cached cache_write reasoning);

# --- books

sub _without_zeros {
    my ($book) = @_;

    for my $of (values %$book) {
        delete @$of{ grep { !$of->{$_} } keys %$of };
    }
    return $book;
}

# Refusals make no series: where the key has none of the model they are under `other`. So they are compared by key.
sub _series {
    my ($of, $outcome) = @_;

    $of =~ s/ .*/ */ if $outcome eq 'refused';
    return "$of $outcome";
}

sub log_fields {
    my ($line) = @_;

    my %field = $line =~ /"(\w+)":"([^"]*)"/g;
    return \%field;
}

# Of lines' fields.
sub book_of_log {
    my (@lines) = @_;

    my %book = map { $_ => {} } qw(requests tokens cost sources refusals);
    for my $l (@lines) {
        next if $l->{outcome} eq '';
        my $of = "$l->{key} $l->{model}";
        $book{requests}{ _series($of, $l->{outcome}) }++;
        $book{refusals}{"$l->{key} $l->{refusal}"}++ if $l->{outcome} eq 'refused';
        next if $l->{usage_source} eq '';
        $book{sources}{ $l->{usage_source} }++;
        $book{tokens}{"$of $_"} += $l->{"${_}_tokens"} || 0 for @types;
        $book{cost}{$of} += $l->{cost} || 0;
    }
    return _without_zeros(\%book);
}

sub book_of_metrics {
    my ($metrics) = @_;

    my %book;
    for ([ tokens => 'llm_tokens_total', qw(key model type) ],
        [ cost => 'llm_cost_total', qw(key model) ], [ sources => 'llm_usage_source_total', 'source' ],
        [ refusals => 'llm_refusals_total', qw(key reason) ]) {
        my ($part, $name, @labels) = @$_;
        $book{$part} = {};
        $book{$part}{ join ' ', @{ $_->{labels} }{@labels} } += $_->{value} for series($metrics, $name);
    }
    $book{requests} = {};
    $book{requests}{ _series("$_->{labels}{key} $_->{labels}{model}", $_->{labels}{outcome}) } += $_->{value}
        for series($metrics, 'llm_requests_total');
    return _without_zeros(\%book);
}

# What a book has that an earlier one has not.
sub book_less {
    my ($book, $earlier) = @_;

    my %less;
    for my $part (keys %$book) {
        $less{$part} = { %{ $book->{$part} } };
        $less{$part}{$_} -= $earlier->{$part}{$_} for keys %{ $earlier->{$part} };
    }
    return _without_zeros(\%less);
}

# --- the load's ledger

my @ledger_fields = qw(key model dialect reason status reached received tells ends_badly told_all cached cache_write reasoning p_low
    p_high c_low c_high may_be_none may_be_lost part_p_low part_p_high part_c_low part_c_high prompt completion);

# (id, { what clients and upstream saw }).
sub ledger_line {
    my ($line) = @_;

    my ($id, @fields) = split ' ', $line;
    my %entry;
    @entry{@ledger_fields} = @fields;
    $entry{key} = '' if $entry{key} eq '-';
    return ($id, \%entry);
}

sub _within { my ($n, $low, $high) = @_; return $n >= $low && $n <= $high }

# Of a request that ended well: to the token what the upstream told, and what it did not tell by an estimate.
sub _wrong_in_whole {
    my ($e, $line) = @_;

    return 'nothing has answered it' if !$e->{tells};
    return 'the source' if $line->{usage_source} ne ($e->{told_all} ? 'upstream' : 'estimated');
    for (qw(cached cache_write reasoning)) {
        return "$_ tokens: $e->{$_}" if ($line->{"${_}_tokens"} || 0) != $e->{$_};
    }
    return "prompt tokens: $e->{p_low} to $e->{p_high}"     if !_within($line->{prompt_tokens},     @$e{qw(p_low p_high)});
    return "completion tokens: $e->{c_low} to $e->{c_high}" if !_within($line->{completion_tokens}, @$e{qw(c_low c_high)});
    return '';
}

sub _wrong_in_part {
    my ($e, $line) = @_;

    return $e->{may_be_none} || ($e->{status} >= 400 && !$e->{ends_badly}) ? '' : 'it is not charged' if $line->{usage_source} eq 'none';
    return "prompt tokens: $e->{part_p_low} to $e->{part_p_high}"
        if !_within($line->{prompt_tokens}, @$e{qw(part_p_low part_p_high)});
    return "completion tokens: $e->{part_c_low} to $e->{part_c_high}"
        if !_within($line->{completion_tokens}, @$e{qw(part_c_low part_c_high)});
    return '';
}

# What is wrong with the log's line of a request; empty if nothing is.
sub wrong_in {
    my ($e, $line) = @_;

    my $outcome = $line->{outcome};
    my $well    = $outcome eq 'ok' || $outcome eq 'incomplete';
    return 'it came whole' if $e->{received} && !$e->{ends_badly} && !$well;
    return 'it ended with an error' if $e->{ends_badly} && $well;
    if ($outcome eq 'refused') {
        # All limits are decided at once, and the wrong one of several may be told.
        return "the reason: $e->{reason}"
            if $line->{refusal} ne $e->{reason} && !($line->{refusal} eq 'concurrency' && $e->{reason} =~ /\A(?:-|requests|quota)\z/);
        return "the key: $e->{key}" if $line->{key} ne $e->{key};
        return '';
    }
    # Gone before the decision.
    return $e->{reached} ? 'it was let in' : '' if $line->{usage_source} eq '';
    return "it should be refused: $e->{reason}" if $e->{reason} ne '-';
    return "the key: $e->{key}, the model: $e->{model}" if $line->{key} ne $e->{key} || $line->{model} ne $e->{model};
    return $well ? _wrong_in_whole($e, $line) : _wrong_in_part($e, $line);
}

1;
