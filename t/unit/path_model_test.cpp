#include "core/api/api.h"
#include "core/api/path_model.h"

#include <gtest/gtest.h>

using namespace llm;

TEST(path_model, names)
{
    const std::pair<const char*, const char*> paths[] = {
        {"/openai/deployments/gpt-x/chat/completions", "gpt-x"},
        {"/openai/deployments/gpt-x/chat/completions/", "gpt-x"},
        {"/openai/deployments/azure/gpt-x/chat/completions", "azure/gpt-x"},
        {"/openai/deployments/gpt-x/completions", "gpt-x"},
        {"/openai/deployments/gpt-x/extensions/chat/completions", "gpt-x"},
        {"/openai/deployments/gpt-x/audio/transcriptions", "gpt-x"},
        {"/openai/deployments/gpt-x/responses", "gpt-x"},
        {"/openai/deployments/gpt-x/whatever/new", "gpt-x"},
        {"/openai/deployments/gpt-x", "gpt-x"},
        {"/OpenAI/Deployments/gpt-x/chat/completions", "gpt-x"},
        {"/openai/DEPLOYMENTS/GPT-x/responses", "GPT-x"},
        {"/openai/deployments", ""},
        {"/openai/deployments/", ""},
        {"/v1/engines/davinci/completions", "davinci"},
        {"/model/anthropic.claude-v2:1/invoke", "anthropic.claude-v2:1"},
        {"/model/x/invoke-with-response-stream", "x"},
        {"/model/arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x/converse",
         "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x"},
        {"/bedrock/model/x/converse-stream", "x"},
        {"/model/x/other", ""},
        {"/model/invoke", ""},
        {"/v2/models/m/infer", "m"},
        {"/v2/models/m/versions/1/infer", "m"},
        {"/v2/models/m/generate_stream", "m"},
        {"/v2/repository/models/m/load", "m"},
        {"/v2/repository/models/m/unload", "m"},
        {"/v2/repository/index", ""},
        {"/v1beta/models/gemini-pro:generateContent", "gemini-pro"},
        {"/v1beta/models/org/a:b:generateContent", "org/a:b"},
        {"/v1beta/tunedModels/org/a:countTokens", "tunedModels/org/a"},
        {"/v1beta/corpora/a/b:generateContent", ""},
        {"/v1/chat/completions", ""},
        {"/v1/projects/p/locations/l/endpoints/12:predict", "12"},
        {"/v1/projects/p/locations/l/endpoints/e:rawPredict", "e"},
        {"/v1/projects/p/locations/l/endpoints/e:streamRawPredict", "e"},
        {"/v1/endpoints/e:generateContent", "e"},
        {"/v1/endpoints/12/chat/completions", "12"},
        {"/v1beta1/projects/p/locations/l/endpoints/openapi/chat/completions", ""},
        {"/v1beta/dynamic/d:generateContent", "d"},
        {"/serving-endpoints/E/invocations", "E"},
        {"/serving-endpoints/chat/completions", ""},
        {"/serving-endpoints/embeddings", ""},
        {"/endpoints/e/invocations", "e"},
        {"/endpoints/e/invocations-response-stream", "e"},
        {"/endpoints/e/async-invocations", "e"},
        {"/upstream/a/props", "a"},
        {"/upstream/org/a/v1/chat/completions", "org/a"},
        {"/upstream/v1/chat/completions", ""},
        {"/accounts/1/ai/run/@cf/meta/m", "@cf/meta/m"},
        {"/v1/inference/org/m", "org/m"},
        {"/inference/v1/generate", ""},
        {"/MODEL/x/Invoke", "x"},
        {"/Bedrock/Model/X/CONVERSE-STREAM", "X"},
        {"/V2/Models/m/INFER", "m"},
        {"/v1beta/TunedModels/m:GenerateContent", "TunedModels/m"},
    };
    for (const auto& [path, model] : paths) {
        EXPECT_EQ(call_of_path(path).model, model) << path;
        EXPECT_FALSE(call_of_path(path).unclear_model) << path;
        EXPECT_FALSE(call_of_path(path).model_to_make) << path;
    }
    // What is done there is done by that model, and what is read is what is told of it.
    const std::pair<const char*, const char*> made[] = {
        {"/models/Org/m", "Org/m"},
        {"/models/gpt2", "gpt2"},
        {"/hf-inference/models/org/m/pipeline/feature-extraction", "org/m"},
        {"/models/org/m/v1/chat/completions", "org/m"},
        {"/models/apply", "apply"},
        {"/v1/models/m", "m"},
        {"/v1/models/org/a:tag", "org/a:tag"},
        {"/v2/models/m", "m"},
    };
    for (const auto& [path, model] : made) {
        EXPECT_EQ(call_of_path(path).model, model) << path;
        EXPECT_TRUE(call_of_path(path).model_to_make) << path;
    }
    for (const char* path : {"/models/chat/completions", "/models/load", "/models/unload/",
                             "/models/embeddings", "/models/v1/chat/completions", "/models/", "/v1/models"}) {
        EXPECT_EQ(call_of_path(path).model, "") << path;
    }
    std::string longest(3000, 'a');
    longest += "/model/x/invoke";
    EXPECT_TRUE(call_of_path(longest).is_whole);
    longest[3001] = 'M';
    EXPECT_FALSE(call_of_path(longest).is_whole);
    EXPECT_TRUE(call_of_path("/endpoints/e/invocations-response-stream").streams);
    EXPECT_TRUE(call_of_path("/model/x/Converse-Stream").streams);
    EXPECT_TRUE(call_of_path("/openai/deployments/a/openai/deployments/b/chat/completions").unclear_model);
    EXPECT_TRUE(call_of_path("/model/a/model/b/invoke").unclear_model);
    EXPECT_TRUE(call_of_path("/model/x/converse-stream").streams);
    EXPECT_FALSE(call_of_path("/model/x/converse").streams);
}

TEST(path_model, needs)
{
    const std::pair<const char*, model_need> paths[] = {
        {"/v1/chat/completions", model_need::to_make}, // GET lists what is stored
        {"/openai/v1/chat/completions/", model_need::to_make},
        {"/v1/chat/completions/c1", model_need::to_make},
        {"/v1/embeddings", model_need::to_change},
        {"/v1/realtime", model_need::always},
        {"/health_generate", model_need::always},
        {"/unload", model_need::always},
        {"/v1/audio/transcriptions", model_need::to_change},
        {"/v1/audio/voices", model_need::to_change},
        {"/v1beta/cachedContents/c1", model_need::to_change},
        {"/v1beta/tunedModels", model_need::to_change},
        {"/v1beta/operations/o1", model_need::to_change},
        {"/model_info", model_need::to_change},
        {"/api/v1/credits", model_need::to_change},
        {"/v1/messages", model_need::to_change},
        {"/v1/conversations", model_need::none},
        {"/v1/conversations/c1/items", model_need::none},
        {"/v1/vector_stores/v1/search", model_need::none},
        {"/v1/containers", model_need::none},
        {"/v1/skills", model_need::none},
        {"/v1/threads", model_need::none},
        {"/v1/threads/t1/messages", model_need::none},
        {"/v1/threads/runs", model_need::to_make},
        {"/v1/threads/t1/runs", model_need::to_make},
        {"/v1/threads/t1/runs/r1/submit_tool_outputs", model_need::to_make},
        {"/v1/threads/t1/runs/r1/cancel", model_need::none},
        {"/v1/assistants", model_need::to_make},
        {"/v1/chat/completions/chatcmpl-1", model_need::none},
        {"/v1/chat/completions/batch", model_need::to_make},
        {"/v1/messages/batches/b1/results", model_need::to_make},
        {"/v1/models", model_need::to_make},
        {"/v1/models/org/m", model_need::to_make},
        {"/v1beta/models", model_need::to_make},
        {"/models/org/m", model_need::to_make},
        {"/v1/responses", model_need::to_make},
        {"/v1/responses/r1/input_items", model_need::to_make},
        {"/v1/responses/r1/cancel", model_need::none},
        {"/v1beta/batches/b1:cancel", model_need::none},
        {"/v1/batches", model_need::to_make},
        {"/v1/files", model_need::none},
        {"/v1/files/f1/content", model_need::none},
        {"/openai/v1/files", model_need::none},
        {"/v1/usage", model_need::to_change},
        {"/health", model_need::to_change},
        {"/", model_need::to_change},
        {"/tokenize", model_need::to_change},
        {"/api/chat", model_need::to_change},
        {"/api/show", model_need::to_change},
        {"/api/tags", model_need::none},
        {"/api/version", model_need::none},
        {"/api/ps", model_need::none},
        {"/unknown", model_need::to_change},
    };
    for (const auto& [path, need] : paths) {
        EXPECT_EQ(call_of_path(path).needs_model, need) << path;
    }
}

TEST(path_model, hides)
{
    using namespace hidden_part;
    const std::pair<const char*, hidden_parts> paths[] = {
        {"/v1/batches", all},
        {"/v1/batches/", all},
        {"/V1/Batches", all},
        {"/v1/batches;x", all},
        {"/openai/v1/batches/b1/requests", all},
        {"/v1/batches/b1/cancel", none},
        {"/v1beta/batches/b1:cancel", none},
        {"/v1beta/batches/b1:updateGenerateContentBatch", all},
        {"/v1/messages/batches", all},
        {"/anthropic/v1/messages/batches/", all},
        {"/v1/messages/batches/b1/cancel", none},
        {"/v1/messages", none},
        {"/v1/messages/count_tokens", none},
        {"/v1/batch/jobs", all},
        {"/v1/projects/p/locations/l/batchPredictionJobs", all},
        {"/v1/accounts/a/batchInferenceJobs", all},
        {"/model-invocation-job", all},
        {"/v1/evals/e1/runs", all},
        {"/v1/fine_tuning/alpha/graders/run", all},
        {"/v1/realtime/client_secrets", all},
        {"/v1/realtime", none},
        {"/endpoints/e/async-invocations", all},
        {"/adapters", models},
        {"/lora-adapters", models},
        {"/v1/model/load", models},
        {"/v1/internal/lora/unload", models},
        {"/update_weights_from_tensor", models},
        {"/v1beta/models/g:batchGenerateContent", all},
        {"/v1/endpoints/e:predict", fields | bound},
        {"/v1beta/models/g:asyncBatchEmbedContent", all},
        {"/v1beta/models/g:batchEmbedContents", fields},
        {"/v1beta/models/g:embedContent", none},
        {"/v1beta/models/g:generateContent", none},
        {"/v1beta/models/g:predict", fields | bound},
        {"/v1/models/g:rawPredict", none},
        {"/v2/models/m/infer", fields | bound},
        {"/v2/models/m/generate", none},
        {"/v1/files", none},
        {"/v1/my-batches", none},
        {"/v1/chat/completions/batch", none},
        {"/v1/chat/completions", none},
        {"/api/chat", none},
    };
    for (const auto& [path, hidden] : paths) {
        EXPECT_EQ(call_of_path(path).hidden, hidden) << path;
    }
}

TEST(path_model, lists)
{
    for (const char* path : {"/v1/models", "/models", "/v1beta/models", "/openai/v1/models/", "/v1/models;x",
                             "/api/tags", "/llm/api/ps", "/V1/Models", "/API/Tags"})
        EXPECT_TRUE(lists_models(path)) << path;
    for (const char* path : {"/", "/v1/models/m", "/v1/models/m:generateContent", "/tags", "/v1/ps",
                             "/v1/my-models", "/api/version"})
        EXPECT_FALSE(lists_models(path)) << path;
}
