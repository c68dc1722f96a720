#include "core/base/metric_text.h"

#include <gtest/gtest.h>
#include <string>

using namespace llm;

namespace {

struct text_out {
    std::string text;

    void put(std::string_view more) { text += more; }
    void put(uint64_t number) { text += std::to_string(number); }
};

std::string sample(std::initializer_list<metric_label> labels, uint64_t value)
{
    text_out out;
    metric_text text(out);
    text.begin_gauge("m", "help");
    out.text.clear();
    text.sample(labels, value);
    return out.text;
}

std::string value_as_written(std::string_view value)
{
    std::string line = sample({{"l", value}}, 1);
    EXPECT_TRUE(line.starts_with("m{l=\"") && line.ends_with("\"} 1\n")) << line;
    return line.substr(5, line.size() - 10);
}

} // namespace

TEST(metric_text, a_metric_begins_with_its_help_and_its_type)
{
    text_out out;
    metric_text text(out);
    text.begin_gauge("llm_a", "What it says.");
    text.sample({{"x", "1"}, {"y", "2"}}, 3);
    text.begin_gauge("llm_b", "Another one.");
    text.sample({}, 0);
    EXPECT_EQ(out.text, "# HELP llm_a What it says.\n"
                        "# TYPE llm_a gauge\n"
                        "llm_a{x=\"1\",y=\"2\"} 3\n"
                        "# HELP llm_b Another one.\n"
                        "# TYPE llm_b gauge\n"
                        "llm_b 0\n");
}

TEST(metric_text, numbers_are_whole)
{
    EXPECT_EQ(sample({}, UINT64_MAX), "m 18446744073709551615\n");
}

TEST(metric_text, label_values_are_escaped)
{
    EXPECT_EQ(value_as_written(""), "");
    EXPECT_EQ(value_as_written("plain {a=1,b} # \t"), "plain {a=1,b} # \t");
    EXPECT_EQ(value_as_written("\""), "\\\"");
    EXPECT_EQ(value_as_written("\\n"), "\\\\n");
    EXPECT_EQ(value_as_written("a\nb\"c\\d\"\n"), "a\\nb\\\"c\\\\d\\\"\\n");
}

TEST(metric_text, what_is_utf8_stays_and_other_bytes_are_named)
{
    EXPECT_EQ(value_as_written("\xc3\xa4\xe4\xbd\xa0\xf0\x9f\x98\x80"),
              "\xc3\xa4\xe4\xbd\xa0\xf0\x9f\x98\x80");
    EXPECT_EQ(value_as_written("a\xff\xc3\xa4\xc3"), "a\\\\xff\xc3\xa4\\\\xc3");
    EXPECT_EQ(value_as_written("\xe4\xbd\""), "\\\\xe4\\\\xbd\\\"");
    EXPECT_NE(value_as_written("\xfe"), value_as_written("\xff"));
}

namespace {

std::string all_kinds(metric_format format)
{
    text_out out;
    metric_text text(out, format);
    text.set_common({"zone", "z"});
    text.begin_counter("llm_a", "A counter.");
    text.counter({{"k", "v"}}, 5, 1709164800050);
    text.begin_histogram("llm_b_seconds", "A histogram.", "seconds");
    const uint32_t bounds[] = {300, 1000, 2500};
    const uint64_t counts[] = {1, 0, 2, 4};
    text.histogram({}, 1000, bounds, counts, 12345, 1709164800000);
    text.end();
    return out.text;
}

} // namespace

TEST(metric_text, counters_and_histograms_of_the_text_format)
{
    EXPECT_EQ(all_kinds(metric_format::text), "# HELP llm_a_total A counter.\n"
                                              "# TYPE llm_a_total counter\n"
                                              "llm_a_total{zone=\"z\",k=\"v\"} 5\n"
                                              "# HELP llm_b_seconds A histogram.\n"
                                              "# TYPE llm_b_seconds histogram\n"
                                              "llm_b_seconds_bucket{zone=\"z\",le=\"0.3\"} 1\n"
                                              "llm_b_seconds_bucket{zone=\"z\",le=\"1\"} 1\n"
                                              "llm_b_seconds_bucket{zone=\"z\",le=\"2.5\"} 3\n"
                                              "llm_b_seconds_bucket{zone=\"z\",le=\"+Inf\"} 7\n"
                                              "llm_b_seconds_sum{zone=\"z\"} 12.345\n"
                                              "llm_b_seconds_count{zone=\"z\"} 7\n");
}

TEST(metric_text, and_of_open_metrics)
{
    EXPECT_EQ(all_kinds(metric_format::open_metrics), "# HELP llm_a A counter.\n"
                                                      "# TYPE llm_a counter\n"
                                                      "llm_a_total{zone=\"z\",k=\"v\"} 5\n"
                                                      "llm_a_created{zone=\"z\",k=\"v\"} 1709164800.05\n"
                                                      "# HELP llm_b_seconds A histogram.\n"
                                                      "# TYPE llm_b_seconds histogram\n"
                                                      "# UNIT llm_b_seconds seconds\n"
                                                      "llm_b_seconds_bucket{zone=\"z\",le=\"0.3\"} 1\n"
                                                      "llm_b_seconds_bucket{zone=\"z\",le=\"1.0\"} 1\n"
                                                      "llm_b_seconds_bucket{zone=\"z\",le=\"2.5\"} 3\n"
                                                      "llm_b_seconds_bucket{zone=\"z\",le=\"+Inf\"} 7\n"
                                                      "llm_b_seconds_sum{zone=\"z\"} 12.345\n"
                                                      "llm_b_seconds_count{zone=\"z\"} 7\n"
                                                      "llm_b_seconds_created{zone=\"z\"} 1709164800\n"
                                                      "# EOF\n");
}
