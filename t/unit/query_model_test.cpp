#include "core/request/query_model.h"

#include <gtest/gtest.h>

using namespace llm;

namespace {

// "none", "NAME" or "?", behind the name if there is one.
std::string model(std::string_view query)
{
    char room[8];
    const query_model found = model_in_query(query, room, sizeof room);
    std::string said = found.name.data() ? std::string(found.name) : "none";
    return found.unclear ? said + "?" : said;
}

} // namespace

TEST(query_model, says_where_it_is)
{
    char room[64];
    const auto at = [&](std::string_view query) {
        const query_model found = model_in_query(query, room, sizeof room);
        return query.substr(found.begin, found.end - found.begin);
    };
    EXPECT_EQ(at("model=a%20b"), "a%20b");
    EXPECT_EQ(at("x=y&mo%64el=cheap%2F1+x&z"), "cheap%2F1+x");
    EXPECT_EQ(at("deployment=d&x=1"), "d");
    EXPECT_EQ(at("x=1"), "");
}

TEST(query_model, is_decoded)
{
    const std::pair<const char*, const char*> queries[] = {
        {"", "none"},
        {"x=model", "none"},
        {"models=a&amodel=b&mode=c&modell=d&=e&&", "none"},
        {"model=a", "a"},
        {"api-version=1&model=a%2Fb+c", "a/b c"},
        {"mo%64el=a&x", "a"},
        {"deployment=a", "a"},
        {"model=a=b", "a=b"},
        {"x=1;y=2&model=a", "a"},
        {"model=12345678", "12345678"},
        // What servers may read differently.
        {"model=123456789", "none?"},
        {"model=", "none?"},
        {"model", "none?"},
        {"model=a&model=b", "a?"},
        {"model=a&deployment=a", "a?"},
        {"model=&model=b", "b?"},
        {"Model=a", "none?"},
        {"model=a&MODEL=b", "a?"},
        {"x=1;model=a", "none?"},
        {"model=a;x", "a;x?"},
        {"model=a%", "a%?"},
        {"model=a%4", "a%4?"},
        {"model=%zz", "%zz?"},
        {"model=a%00b", "none"},
    };
    for (const auto& [query, expected] : queries) {
        if (std::string_view(query) == "model=a%00b") {
            EXPECT_EQ(model(query), std::string("a\0b?", 4));
            continue;
        }
        EXPECT_EQ(model(query), expected) << query;
    }
}
