package LLM::Metrics;

# Prometheus's text format 0.0.4 and OpenMetrics 1.0, read more strictly than Prometheus does: every metric with its help and its
# type, in one piece, no series twice; units that end the name; buckets of a histogram that grow, up to its count. Samples of a
# histogram are under their own names: m_bucket, m_sum, m_count.

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

my %endings = (
    text => { gauge => [''], counter => [''], histogram => [qw(_bucket _sum _count)] },
    open => { gauge => [''], counter => [qw(_total _created)], histogram => [qw(_bucket _sum _count _created)] },
);

sub _check_histogram {
    my ($metrics, $name) = @_;

    my (%last, %of);
    for my $sample (@{ $metrics->{"${name}_bucket"}{samples} }) {
        my %labels = %{ $sample->{labels} };
        my $le     = delete $labels{le} // die "a bucket without le: $name\n";
        my $series = join "\0", map { ($_, $labels{$_}) } sort keys %labels;
        my $bound  = $le eq '+Inf' ? 9**9**9 : $le;
        die "buckets that do not grow: $name\n" if $last{$series} && ($bound <= $last{$series}[0] || $sample->{value} < $last{$series}[1]);
        $last{$series} = [ $bound, $sample->{value} ];
    }
    for my $sample (@{ $metrics->{"${name}_count"}{samples} }) {
        my $series = join "\0", map { ($_, $sample->{labels}{$_}) } sort keys %{ $sample->{labels} };
        my $all    = delete $last{$series} // die "a count without buckets: $name\n";
        die "a count that is not that of all buckets: $name\n" if $all->[0] != 9**9**9 || $all->[1] != $sample->{value};
    }
    die "buckets without a count: $name\n" if %last;
    return;
}

# The metrics by the names of their samples, each with type and samples: [ { labels, value } ]; of OpenMetrics also by that of the
# metric. Dies of what is wrong.
sub parse_metrics {
    my ($bytes, $format) = @_;

    $format //= 'text';
    my $text = decode('UTF-8', $bytes, Encode::FB_CROAK);
    die "no line feed at the end\n" if $text !~ /\n\z/;
    die "no end\n" if $format eq 'open' && $text !~ s/^# EOF\n\z//m;
    my (%metrics, $helped, $now, %seen, @histograms, %names);
    for my $line (split /\n/, $text) {
        if ($line =~ /\A# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) \S.*\z/) {
            die "a metric twice: $line\n" if $names{$1}++;
            die "help without a type before: $line\n" if defined $helped;
            ($helped, $now) = ($1, undef);
        } elsif ($line =~ /\A# TYPE (\S+) (counter|gauge|histogram)\z/) {
            my ($name, $type) = ($1, $2);
            die "a type without help: $line\n" if ($helped // '') ne $name;
            die "a counter's name: $line\n" if $type eq 'counter' && ($format eq 'text') != ($name =~ /_total\z/);
            ($helped, $now) = (undef, $name);
            push @histograms, $name if $type eq 'histogram';
            for my $ending (@{ $endings{$format}{$type} }) {
                $metrics{"$name$ending"} = { type => $type, samples => [], family => $name };
            }
        } elsif ($format eq 'open' && $line =~ /\A# UNIT (\S+) (\w+)\z/) {
            my ($name, $unit) = ($1, $2);
            die "a unit of another metric: $line\n" if ($now // '') ne $name;
            die "a unit that is not the end of the name: $line\n" if $name !~ /_$unit\z/;
        } elsif ($line =~ /\A([a-zA-Z0-9_:]+)(?:\{(.+)\})? (\d+(?:\.\d+)?)\z/) {
            my ($name, $labels, $value) = ($1, $2 // '', $3);
            die "a sample that does not stand with its metric: $line\n" if ($now // '') ne ($metrics{$name}{family} // '-');
            my $of  = _labels($labels, $line);
            my $key = join "\0", $name, map { ($_, $of->{$_}) } sort keys %$of;
            die "a series twice: $line\n" if $seen{$key}++;
            push @{ $metrics{$name}{samples} }, { labels => $of, value => $value };
        } else {
            die "not a line of this format: $line\n";
        }
    }
    die "help without a type at the end\n" if defined $helped;
    _check_histogram(\%metrics, $_) for @histograms;
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
