package LLM::Metrics;

# Prometheus's text format 0.0.4, read more strictly than Prometheus does: every metric with its help and its type, in one
# piece, no series twice. What this module writes are whole numbers.

use strict;
use warnings;

use Encode qw(decode);
use Exporter 'import';

our @EXPORT = qw(parse_metrics series sum_of);

my %unescaped = ('\\\\' => '\\', '\\"' => '"', '\\n' => "\n");

sub _labels {
    my ($text, $line) = @_;

    my %labels;
    while ($text =~ /\G([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,(?=.)|\z)/gcs) {
        my ($name, $value) = ($1, $2);
        die "a label twice: $line\n" if exists $labels{$name};
        $labels{$name} = $value =~ s/(\\.)/$unescaped{$1}/gr;
    }
    die "not labels: $line\n" if (pos $text // 0) != length $text;
    return \%labels;
}

# The metrics by their names, each with type and samples: [ { labels, value } ]. Dies of what is wrong.
sub parse_metrics {
    my ($bytes) = @_;

    my $text = decode('UTF-8', $bytes, Encode::FB_CROAK);
    die "no line feed at the end\n" if $text !~ /\n\z/;
    my (%metrics, $helped, $now, %seen);
    for my $line (split /\n/, $text) {
        if ($line =~ /\A# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) \S.*\z/) {
            die "a metric twice: $line\n" if $metrics{$1};
            die "help without a type before: $line\n" if defined $helped;
            ($helped, $now) = ($1, undef);
        } elsif ($line =~ /\A# TYPE (\S+) (counter|gauge|histogram)\z/) {
            die "a type without help: $line\n" if ($helped // '') ne $1;
            ($helped, $now) = (undef, $1);
            $metrics{$now} = { type => $2, samples => [] };
        } elsif ($line =~ /\A([a-zA-Z0-9_:]+)(?:\{(.+)\})? (\d+)\z/) {
            my ($name, $labels, $value) = ($1, $2 // '', $3);
            die "a sample that does not stand with its metric: $line\n" if ($now // '') ne $name;
            my $of  = _labels($labels, $line);
            my $key = join "\0", $name, map { ($_, $of->{$_}) } sort keys %$of;
            die "a series twice: $line\n" if $seen{$key}++;
            push @{ $metrics{$name}{samples} }, { labels => $of, value => $value };
        } else {
            die "not a line of this format: $line\n";
        }
    }
    die "help without a type at the end\n" if defined $helped;
    return \%metrics;
}

# The samples of a metric that have all these labels.
sub series {
    my ($metrics, $name, %labels) = @_;

    return grep {
        my $of = $_->{labels};
        !grep { ($of->{$_} // '') ne $labels{$_} } keys %labels;
    } @{ $metrics->{$name}{samples} };
}

sub sum_of {
    my $sum = 0;
    $sum += $_->{value} for series(@_);
    return $sum;
}

1;
