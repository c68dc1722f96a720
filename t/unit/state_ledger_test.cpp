// The ledger by hour, beside the book.
#include "state_files.h"

#include "core/shared/book_export.h"

#include <array>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>

using namespace llm;

namespace {

class state_ledger : public testing::Test {
protected:
    state_ledger() { gone_masters.clear(); }

    temp_dir dir;
    std::string path = dir / "state.db";
};

// By key, user and model: all numbers, as text.
using lines = std::map<std::string, std::string>;

std::string text_of(const std::vector<uint64_t>& numbers)
{
    std::string text;
    for (uint64_t n : numbers) {
        text += std::to_string(n) + ' ';
    }
    return text;
}

lines book_of(gateway& g)
{
    lines all;
    std::array<series_copy, max_slice_of_book> copies;
    book_cursor at;
    while (const size_t n = copy_series(g.zone->counted(), at, 0, copies, g)) {
        for (size_t i = 0; i < n; i++) {
            const series_copy& c = copies[i];
            std::vector<uint64_t> numbers(c.counts.requests.begin(), c.counts.requests.end());
            const token_counts& t = c.counts.tokens;
            for (uint64_t n : {t.prompt, t.cached, t.completion, t.reasoning, t.cache_write, c.counts.cost}) {
                numbers.push_back(n);
            }
            if (text_of(numbers) != text_of(std::vector<uint64_t>(13))) {
                all[std::string(c.key()) + '/' + std::string(c.user()) + '/' + std::string(c.model())] =
                    text_of(numbers);
            }
        }
    }
    return all;
}

lines usage_of(const std::string& path)
{
    lines all;
    for (const auto& r :
         rows_of(path, "SELECT key, user, model, sum(requests_ok), sum(requests_incomplete),"
                       " sum(requests_refused), sum(requests_client_abort),"
                       " sum(requests_upstream_error), sum(requests_cut), sum(requests_lost),"
                       " sum(prompt), sum(cached), sum(completion), sum(reasoning), sum(cache_write),"
                       " sum(cost) FROM usage GROUP BY key, user, model")) {
        std::string& line = all[r[0] + '/' + r[1] + '/' + r[2]];
        for (size_t i = 3; i < r.size(); i++) {
            line += r[i] + ' ';
        }
    }
    return all;
}

std::string sums_of(const lines& all)
{
    std::vector<uint64_t> sum(13);
    for (const auto& [name, line] : all) {
        std::istringstream in(line);
        for (uint64_t& n : sum) {
            uint64_t more = 0;
            in >> more;
            n += more;
        }
    }
    return text_of(sum);
}

} // namespace

TEST_F(state_ledger, has_what_the_book_has)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    std::mt19937 random(5);
    for (int i = 0; i < 500; i++) {
        const char* models[] = {"m", "n", "o", ""};
        if (random() % 5 == 0) {
            const book_names names = a.zone->names_of("key1", "user0", models[random() % 4]);
            a([&] { a.zone->count_refused(names, refusal::quota, a.now); });
        } else {
            lease* l = a.begin(random() % 8, models[random() % 4]);
            a.end(l, {random() % 50, random() % 20, random() % 100, random() % 9, random() % 5},
                  static_cast<outcome>(1 + random() % outcomes));
        }
        if (random() % 10 == 0) {
            a.write();
            EXPECT_EQ(usage_of(path), book_of(a));
        }
        if (random() % 50 == 0) {
            a.start();
        }
        if (random() % 20 == 0) {
            a.now.unix_ms += 1800000;
        }
    }
    a.write();
    EXPECT_EQ(usage_of(path), book_of(a));
    EXPECT_GT(number_of(path, "SELECT count(DISTINCT hour) FROM usage"), 5);
    EXPECT_EQ(number_of(path, "SELECT sum(requests) FROM usage"), 500);
    EXPECT_EQ(number_of(path, "SELECT sum(requests) FROM usage_by_outcome"), 500);
    EXPECT_EQ(number_of(path, "SELECT sum(requests) FROM usage_by_outcome WHERE outcome = 'refused'"),
              number_of(path, "SELECT sum(requests_refused) FROM usage"));
}

TEST_F(state_ledger, an_hour_begins_anew)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.use(0, 1, 2);
    a.write();
    a.now.unix_ms += 3600000;
    a.use(0, 10, 20);
    a.write();
    a.use(0, 100, 200);
    a.write();
    const table_rows rows =
        rows_of(path, "SELECT hour, prompt, completion, requests FROM usage ORDER BY hour");
    const int64_t hour = gateway::noon / 1000;
    EXPECT_EQ(rows, (table_rows{{std::to_string(hour), "1", "2", "1"},
                                {std::to_string(hour + 3600), "110", "220", "2"}}));
}

TEST_F(state_ledger, is_kept_for_so_long)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.write();
    // Two days of rows, more than a turn deletes.
    rows_of(path, "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1999)"
                  " INSERT INTO usage SELECT "
                      + std::to_string(gateway::noon / 1000)
                      + " - 3600 * (i / 41), 'key' || i, '', 'm', 0, 1,0,0,0,0,0,0, 1,0,1,0,0,2 FROM n");
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM usage"), 2000);
    a.options.keep_seconds = 86400;
    a.start();
    const state_result r = a.turn();
    EXPECT_TRUE(r.more);
    EXPECT_GE(number_of(path, "SELECT count(*) FROM usage"), 1000);
    a.write();
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM usage"), 25 * 41);
    EXPECT_EQ(number_of(path, "SELECT min(hour) FROM usage"), gateway::noon / 1000 - 86400);
    // An idle one forgets as well.
    a.now.unix_ms += 86400000 + 3600000;
    a.write();
    EXPECT_EQ(number_of(path, "SELECT count(*) FROM usage"), 0);
}

// A zone so small that series of keys that are gone are folded into others all the time.
TEST_F(state_ledger, folds_are_counted_once)
{
    for (unsigned seed = 1; seed <= 4; seed++) {
        const std::string file = dir / std::to_string(seed);
        std::mt19937 random(seed);
        gateway a(file, seed, 0, 4, shared_state::min_bytes);
        a.options.turn_ms = seed % 2 ? 1000 : 0;
        a.start();
        ASSERT_TRUE(a.restore().ok());
        uint64_t requests = 0;
        for (int i = 0; i < 6000; i++) {
            const std::string key = "gone" + std::to_string(random() % 1500);
            const std::string model = "m" + std::to_string(random() % 6);
            const book_names names = a.zone->names_of(key, "", model);
            a([&] {
                if (random() % 4 == 0) {
                    a.zone->count_refused(names, refusal::quota, a.now);
                } else {
                    a.zone->count_undecided(names, {.is = outcome::ok}, a.now);
                }
                const uint32_t client = a.zone->counted().find_client(names);
                if (client != no_index && client > book::none) {
                    a.zone->set_gone(client, a.zone->counted().clients().at(client).serial, true);
                }
            });
            requests++;
            if (random() % 4 == 0) {
                a.use(random() % 4, random() % 9, random() % 9, model);
                requests++;
            }
            if (random() % 50 == 0) {
                ASSERT_TRUE(a.turn().ok());
            }
            if (random() % 300 == 0) {
                a.start();
                a.now.unix_ms += 600000;
            }
        }
        a.write();
        ASSERT_GT(a.zone->counted().folds(), 100u);
        EXPECT_EQ(sums_of(usage_of(file)), sums_of(book_of(a))) << seed;
        EXPECT_EQ(number_of(file, "SELECT sum(requests) FROM usage"), static_cast<int64_t>(requests));
        EXPECT_EQ(number_of(file, "SELECT count(*) FROM series") > 0, true);
        EXPECT_LE(number_of(file, "SELECT count(*) FROM series"), a.zone->counted().series().used());
    }
}

// The example of the docs, by the program that they name.
TEST_F(state_ledger, the_bill_of_the_docs)
{
    std::ifstream in(LLM_SOURCE_DIR "/docs/state.md");
    std::stringstream page;
    page << in.rdbuf();
    const std::string text = page.str();
    const size_t begin = text.find("sqlite3 -readonly");
    ASSERT_NE(begin, std::string::npos);
    std::string command = text.substr(begin, text.find("```", begin) - begin);
    const std::string file = "/var/lib/nginx/llm/state.db";
    ASSERT_NE(command.find(file), std::string::npos);
    command.replace(command.find(file), file.size(), path);

    gateway a(path, 1);
    // 15 November 2026, and at the edges of the month.
    for (const int64_t at : {1794700800000, 1793491199999, 1793491200000, 1796083199999, 1796083200000}) {
        a.now.unix_ms = at;
        if (at == 1794700800000) {
            ASSERT_TRUE(a.restore().ok());
        }
        a.use(0, 10, 20, "m");
        a.use(2, 1, 2, "n");
        a.write();
    }
    FILE* out = popen(command.c_str(), "r");
    std::string said;
    char bytes[4096];
    while (const size_t n = fread(bytes, 1, sizeof bytes, out)) {
        said.append(bytes, n);
    }
    ASSERT_EQ(pclose(out), 0) << said;
    const auto words = [](const std::string& line) {
        std::istringstream in(line);
        std::vector<std::string> all;
        for (std::string w; in >> w;) {
            all.push_back(w);
        }
        return all;
    };
    std::vector<std::vector<std::string>> rows;
    std::istringstream in_lines(said);
    for (std::string line; std::getline(in_lines, line);) {
        if (line.find("--") != 0) {
            rows.push_back(words(line));
        }
    }
    EXPECT_EQ(rows, (std::vector<std::vector<std::string>>{
                        {"key", "user", "model", "requests", "prompt", "cached", "completion", "cost"},
                        {"key0", "user0", "m", "3", "30", "0", "60", "90"},
                        {"key2", "user1", "n", "3", "3", "0", "6", "9"}}))
        << said;
}
