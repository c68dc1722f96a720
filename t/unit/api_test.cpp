#include "core/api/api_table.h"

#include <gtest/gtest.h>

namespace llm {

// The most usual path is not looked up, and says what its row says.
TEST(api, the_short_way_leads_to_the_same)
{
    constexpr std::string_view usual = "/v1/chat/completions";
    for (const std::string_view path : {usual, std::string_view("/v1/../v1/chat/completions")}) {
        EXPECT_EQ(api_of_path(path), api::openai);
        const api_call call = call_of_path(path);
        const api_call row = row_of(api::openai).read_path(path);
        EXPECT_EQ(call.speaks, row.speaks);
        EXPECT_EQ(call.bounds, row.bounds);
        EXPECT_EQ(call.streams, row.streams);
        EXPECT_EQ(call.streams_unasked, row.streams_unasked);
        EXPECT_EQ(call.takes_stream_options, row.takes_stream_options);
        EXPECT_EQ(call.model, row.model);
    }
    for (const api_row& row : api_rows()) {
        EXPECT_FALSE(row.owns && row.owns(usual)) << row.name;
    }
}

TEST(api, vectors_are_made_as_text_is)
{
    for (const std::string_view path :
         {"/v1/embeddings", "/v1/rerank", "/api/embed", "/api/embeddings", "/api/chat", "/api/generate"}) {
        EXPECT_TRUE(call_of_path(path).generates) << path;
    }
    for (const std::string_view path : {"/api/tags", "/api/show", "/api/pull", "/v1/models", "/tokenize"}) {
        EXPECT_FALSE(call_of_path(path).generates) << path;
    }
}

// Where servers cut a path matters only if what is asked for there differs.
TEST(api, paths_that_servers_cut)
{
    for (const char* path : {"/v1/chat/completions/", "/v1/chat/completions;x", "/v1/embeddings?x",
                             "/v1/embeddings#", "/v1/files ", "/v1beta/models/m:generateContent/;x",
                             "/model/m/invoke;x/", "/v1/batches?", "/", ";", ""}) {
        EXPECT_TRUE(call_of_path(path).is_whole) << path;
    }
    for (const char* path : {"/v1/batches;/cancel", "/v1/files?/chat/completions", "/model/a;b/invoke",
                             "/v1beta/models/a;b:generateContent", "/v1/x#/y"}) {
        EXPECT_FALSE(call_of_path(path).is_whole) << path;
    }
    EXPECT_EQ(call_of_path("/v1beta/models/m:generateContent/;x").model, "m");
    EXPECT_EQ(call_of_path("/v1beta/Models/m:generateContent").model, "m");
    EXPECT_EQ(call_of_path("/model/m/invoke?x").model, "m");
    EXPECT_EQ(call_of_path("/v1/batches?").hidden, call_of_path("/v1/batches").hidden);
    EXPECT_NE(call_of_path("/v1/batches ").hidden, 0);
}

} // namespace llm
